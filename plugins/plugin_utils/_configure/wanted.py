# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that an inventory says of the configuration of one host, judged and made files of."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import MASTER
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import overlay
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.effects import matches
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import Wish
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry, check_path, given, merged
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure import network, people, texts

_SAFE = "nothing was changed"

#: the settings that a wish is made of: variables without their prefix
NAMES = (
    *texts.KINDS,
    "rc_conf",
    "network",
    "users",
    "groups",
    "sshd",
    "sshd_match",
    "sudoers",
    "doas",
    "aliases",
    "files",
    "folders",
    "checks",
    "services",
    "trial",
    "show",
)

#: files made of fields in which somebody may have put a secret: a rule, a command, a key
_HIDDEN = ("pf.conf", "local/doas.conf", "local/sudoers.d/*", "cron.d/*", "syslog.d/*")

#: files that are laid over the host's own, by the variable
_LAID = {
    "users": (MASTER, overlay.GROUP),
    "groups": (overlay.GROUP,),
    "sshd": (overlay.SSHD,),
    "sshd_match": (overlay.SSHD,),
    "aliases": (overlay.ALIASES,),
}


def wish(
    settings: Mapping[str, Any],
    absent: Sequence[str],
    deployed: Mapping[str, str],
    deploy_rc_conf: Mapping[str, Any],
    others: Mapping[str, network.Network],
    folders: Callable[[Sequence[Any]], List[Entry]],
) -> Wish:
    """What a host shall have.

    :param settings: by their names, see :data:`NAMES`; those that are empty or ``None`` mean nothing.
    :param absent: paths that are taken out.
    :param deployed: the files that deploy writes, with the variables that they come from.
    :param deploy_rc_conf: its settings.
    :param others: the networks of other hosts.
    :param folders: gives the files of folders of the controller.
    :raises Refused: with the first that is wrong.
    """
    strange = sorted(set(settings) - set(NAMES))
    if strange:
        raise Refused("there is no setting {0}".format(", ".join(strange)), safe=_SAFE)
    set_ones = {key: value for key, value in settings.items() if value not in (None, "", {}, [])}
    entries = _entries(set_ones, deploy_rc_conf, others)
    more = given(texts.mapping(set_ones.get("files", {}), "files"), "configure_files")
    more += folders(texts.listed(set_ones.get("folders", []), "folders"))
    _refuse_twice(entries, more)
    with_keys = people.keys(set_ones.get("users", {}))
    files = merged([*more, *entries, *with_keys], "configure_files and configure_folders")
    laid = {path: "configure_" + key for key in _LAID if key in set_ones for path in _LAID[key]}
    sshd_match = people.sshd_match(set_ones.get("sshd_match", {}))
    sshd = people.sshd(set_ones.get("sshd", {}), bool(with_keys))
    if sshd:
        laid.setdefault(overlay.SSHD, "configure_sshd")
    out = [check_path(path, "configure_absent") for path in texts.listed(absent, "absent")]
    _refuse_conflicts({**{each.path: each.source for each in files}, **laid}, deployed, out)
    _refuse_both_ways(files, laid)
    return Wish(
        files=files,
        users=people.users(set_ones.get("users", {})),
        groups=people.groups(set_ones.get("groups", {})),
        sshd=sshd,
        sshd_match=sshd_match,
        aliases=people.aliases(set_ones.get("aliases", {})),
        absent=out,
        known=sorted(deployed),
        checks=_rows(set_ones.get("checks", []), "checks", ("path", "command"), ("path",)),
        services=_rows(set_ones.get("services", []), "services", ("path", "settings", "command"), ()),
        trial=texts.listed(set_ones.get("trial", []), "trial"),
        shown=[
            *sorted({each.path for each in (*entries, *with_keys) if not matches(each.path, _HIDDEN)} | set(laid)),
            *texts.listed(set_ones.get("show", []), "show"),
        ],
    )


def _entries(
    settings: Mapping[str, Any], deploy_rc_conf: Mapping[str, Any], others: Mapping[str, network.Network]
) -> List[Entry]:
    """The files that are made of fields."""
    found: Dict[str, str] = {}
    lines: Dict[str, str] = {}
    if "network" in settings:
        mine = network.read(settings["network"])
        lines = network.settings(mine)
        network.refuse_both(sorted(set(lines) & set(texts.mapping(settings.get("rc_conf", {}), "rc_conf"))))
        _refuse_network(mine, lines, deploy_rc_conf, others)
    sources: Dict[str, str] = {}
    for key, make in texts.KINDS.items():
        if key in settings:
            made = make(settings[key])
            found.update(made)
            sources.update(dict.fromkeys(made, "configure_" + key))
    found.update(texts.rc_conf(settings.get("rc_conf", {}), lines))
    entries = [
        Entry(
            path,
            text.encode("utf-8"),
            0o600 if path == "pf.conf" else 0o644,
            source=sources.get(path, "configure_rc_conf"),
        )
        for path, text in found.items()
    ]
    if "sudoers" in settings:
        entries += people.sudoers(settings["sudoers"])
    if "doas" in settings:
        entries += people.doas(settings["doas"])
    return entries


def _refuse_network(
    mine: network.Network,
    lines: Mapping[str, str],
    deploy_rc_conf: Mapping[str, Any],
    others: Mapping[str, network.Network],
) -> None:
    problems = network.twice(mine, others)
    left = network.leftovers(mine, deploy_rc_conf, lines)
    if left:
        problems.append(
            "{0} in deploy_rc_conf would be added to what configure_network says of that interface".format(
                ", ".join(left)
            )
        )
    if problems:
        raise Refused(
            "{0}: {1}".format(network.VARIABLE, "; ".join(problems)), safe=_SAFE, todo="correct that in the inventory"
        )


def _refuse_twice(made: Sequence[Entry], more: Sequence[Entry]) -> None:
    """Refuse a file that is made of fields, and given as a file besides."""
    sources = {each.path: each.source for each in made}
    for each in more:
        if each.path in sources:
            raise Refused(
                "{0} is given by {1} and by {2}".format(each.path, sources[each.path], each.source),
                safe=_SAFE,
                todo="give it once",
            )


def _refuse_both_ways(files: Sequence[Entry], laid: Mapping[str, str]) -> None:
    for each in files:
        if each.path in laid:
            raise Refused(
                "{0} is given by {1} and by {2}".format(each.path, each.source, laid[each.path]),
                safe=_SAFE,
                todo="give it once",
            )


def _refuse_conflicts(mine: Mapping[str, str], deployed: Mapping[str, str], absent: Sequence[str]) -> None:
    """Refuse what two playbooks would write in turn, or one writes and the other takes out."""
    for path, source in sorted({**mine, **dict.fromkeys(absent, "configure_absent")}.items()):
        if path in deployed:
            raise Refused(
                "{0} is given by {1} and by {2}: each playbook would undo what the other one did".format(
                    path, source, deployed[path]
                ),
                safe=_SAFE,
                todo="give it once",
            )
        if path in absent and path in mine:
            raise Refused(
                "{0} is given by {1}, and in configure_absent".format(path, mine[path]), safe=_SAFE, todo="decide"
            )


def _rows(value: Any, variable: str, keys: Sequence[str], needed: Sequence[str]) -> List[Dict[str, Any]]:
    """Rows of a table of the site."""
    found = []
    if not isinstance(value, (list, tuple)):
        raise texts.wrong(variable, "it must be a list")
    for each in value:
        row = texts.mapping(each, variable, keys)
        command = row.get("command")
        if not isinstance(command, (list, tuple)) or not command or any(not row.get(key) for key in needed):
            raise texts.wrong(
                variable, "each needs {0} and command, a list of words".format(" ".join(needed) or "path")
            )
        if not row.get("path") and not row.get("settings"):
            raise texts.wrong(variable, "each needs path or settings")
        found.append(dict(row, command=[str(word) for word in command]))
    return found
