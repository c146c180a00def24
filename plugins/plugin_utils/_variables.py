# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of a role, judged by its argument specification before anything is looked at.

Ansible's own validation knows nothing of a name that is mistyped, and tells what is wrong together with the whole
specification. A survey of AWX and ``-e name=value`` give text whatever the type is; what can be turned into its type
is right, because every module turns it in the same way.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
from typing import Any, Iterable, List, Mapping, Optional, Sequence

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: what the playbooks take besides the variables of roles; a test looks for others there
PLAYBOOKS = frozenset(
    [
        "fleet_builder",
        "fleet_canary",
        "fleet_exclusive",
        "fleet_hosts",
        "fleet_site",
        "fleet_site_limit",
        "fleet_source_builder",
        "fleet_take_over",
        "fleet_time_zone",
        "nanozfs_own_variables",
        "nanozfs_pool",
        "nanozfs_relay",
        "nanozfs_repository",
        "rollback_max_failures",
        "rollback_serial",
        "upgrade_max_failures",
        "upgrade_preflight",
        "upgrade_revert_wave",
        "upgrade_serial",
        "upgrade_window",
    ]
)

#: how like each other two names are where one is taken for the other, mistyped: between 0 and 1, as difflib has it. One
#: letter that is wrong, missing or too many in a name of eight and more is nearer than that
NEAR = 0.9

#: what is said of a type, by its name in a specification
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "str": "text",
    "path": "a path",
}

#: what Ansible says of an element that is of another type than it should be
_ELEMENT = "Elements value for option"

Specification = Mapping[str, Mapping[str, Any]]


def read(role: str) -> Mapping[str, Mapping[str, Any]]:
    """The specification of a role: the options of each of its entry points. It is read once in a process.

    :param role: the folder of the role.
    :raises Refused: when it has none.
    """
    return _read(os.path.realpath(role))


@functools.lru_cache(maxsize=None)
def _read(role: str) -> Mapping[str, Mapping[str, Any]]:
    path = os.path.join(role, "meta", "argument_specs.yml")
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise Refused("{0}: {1}".format(path, error.strerror), safe="nothing was changed")
    return {name: dict(entry.get("options", {})) for name, entry in found["argument_specs"].items()}


def read_ahead(roles: str) -> None:
    """Read the specifications of all roles, for the processes that are forked from this one.

    Ansible has one for every task of every host, and each would read all of them: half of what it takes to judge the
    variables of a host. What is wrong with one is told where it is wanted.

    :param roles: the folder of the roles.
    """
    with contextlib.suppress(OSError, Refused, yaml.YAMLError, KeyError):
        known_names(roles)


def options_of(role: str, entry: str) -> Mapping[str, Any]:
    """The options of one entry point.

    :raises Refused: when the role has no such.
    """
    found = read(role)
    if entry not in found:
        raise Refused("{0} has no entry point {1}".format(role, entry), safe="nothing was changed")
    return found[entry]


def names_of(*roles: str) -> List[str]:
    """The names of the variables of some roles, and of those of playbooks; sorted.

    :param roles: their folders.
    """
    names = set(PLAYBOOKS)
    for role in roles:
        for options in read(role).values():
            names.update(options)
    return sorted(names)


def known_names(roles: str) -> List[str]:
    """The names of all variables of the collection; sorted.

    :param roles: the folder of its roles.
    """
    return names_of(*(os.path.join(roles, role) for role in os.listdir(roles)))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what Ansible 2.18 decrypts only when it is asked (``!vault``) is text."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _shown(value: Any, option: Mapping[str, Any]) -> str:
    """What is there instead, where that may be shown."""
    if option.get("no_log") or isinstance(value, (dict, list)):
        return ""
    return ", and is {0!r}".format(printable(str(value))[:60])


def _wrong(name: str, option: Mapping[str, Any], value: Any, said: Sequence[str]) -> str:
    """One sentence about a value that does not fit.

    :param said: what Ansible says.
    """
    kind = str(option.get("type", "str"))
    if option.get("choices") and isinstance(value, (str, int)):
        many = " or ".join(str(each) for each in option["choices"])
        return "{0} must be {1}{2}".format(name, many, _shown(value, option))
    if kind in ("int", "float", "bool", "dict") or (kind == "list" and isinstance(value, (bool, dict))):
        return "{0} must be {1}{2}".format(name, _KINDS[kind], _shown(value, option))
    if kind == "list" and any(_ELEMENT in each for each in said):
        return "each of {0} must be {1}".format(name, _KINDS.get(str(option.get("elements")), "something else"))
    if option.get("no_log"):
        return "{0} does not fit its type".format(name)
    return "{0}: {1}".format(name, printable("; ".join(dict.fromkeys(said))))


def _empty(name: str, option: Mapping[str, Any], value: Any) -> str:
    """What is wrong with a variable without a value; empty where that is the same as one that is not set."""
    if option.get("required"):
        return "{0} is empty, and must be set".format(name)
    kind = option.get("type", "str")
    if kind in ("list", "dict") and value == "":  # to Ansible this would be a list of one empty text
        return "{0} is empty text: leave it out, or give {1}".format(name, "[]" if kind == "list" else "{}")
    if kind in ("int", "float", "bool"):
        default = " to have {0}".format(option["default"]) if "default" in option else ""
        return "{0} is empty: leave it out{1}".format(name, default)
    return ""


def problems(
    specification: Specification, values: Mapping[str, Any], broken: Optional[Mapping[str, str]] = None
) -> List[str]:
    """What is wrong with variables, a sentence each.

    :param specification: the options of an entry point.
    :param values: those variables of it that are set.
    :param broken: why others have no value.
    """
    found, broken = [], broken or {}
    for name, option in sorted(specification.items()):
        value = plain(values.get(name))
        if name in broken:
            said = "{0}: {1}".format(name, printable(broken[name].rstrip(". ")))
        elif name not in values:
            said = "{0} is not set".format(name) if option.get("required") else ""
        elif value is None or value == "":
            said = _empty(name, option, value)
        else:
            judged = ArgumentSpecValidator({name: dict(option)}).validate({name: value})
            said = _wrong(name, option, value, judged.error_messages) if judged.error_messages else ""
        if said:
            found.append(said)
    return found


def mistyped(names: Iterable[str], known: Sequence[str], meant: Optional[Sequence[str]] = None) -> List[str]:
    """Names that are none of the collection, and so like one that they are taken for it; a sentence each.

    :param names: of all variables that a host has.
    :param known: those of the collection.
    :param meant: those that one can stand for; by default all.
    """
    meant = known if meant is None else meant
    prefixes = {name.partition("_")[0] for name in meant}
    found = []
    for name in sorted(set(names) - set(known)):
        # nobody mistypes beginning, end and length at once, and a host has hundreds of variables
        if "_" not in name or not any(_alike(name.partition("_")[0], prefix) for prefix in prefixes):
            continue
        near = difflib.get_close_matches(name, meant, 1, NEAR)
        if near:
            found.append("{0} is no variable of this collection (did you mean {1}?)".format(printable(name), near[0]))
    return found


def _alike(one: str, other: str) -> bool:
    return one == other or (abs(len(one) - len(other)) < 2 and difflib.SequenceMatcher(None, one, other).ratio() > 0.7)


def check(
    specification: Specification, values: Mapping[str, Any], broken: Mapping[str, str], names: Iterable[str], role: str
) -> None:
    """Refuse variables that are wrong. See :func:`problems` and :func:`mistyped`.

    :param role: the folder of the role.
    :raises Refused: with all that is wrong.
    """
    # where a role is at work a mistyped name can stand for one of its own, or of a playbook's
    wrong = problems(specification, values, broken)
    wrong += mistyped(names, known_names(os.path.dirname(role)), names_of(role))
    if wrong:
        raise Refused(
            "; ".join(wrong),
            safe="nothing was looked at or changed",
            todo="correct that in the inventory, in the survey, or after -e"
            + (", or list a variable of your own in nanozfs_own_variables" if "did you mean" in wrong[-1] else ""),
        )
