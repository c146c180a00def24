# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users, groups, keys, sshd and what users may do: judged here, laid over the host's own files there.

Sources: passwd(5), group(5), sshd_config(5), sudoers(5), doas.conf(5), aliases(5).
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import overlay
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure.texts import (
    HEAD,
    line,
    lines,
    listed,
    mapping,
    number,
    wrong,
)

#: where keys are that may log in as a user: his home may be on no dataset yet, or be encrypted
KEYS = "ssh/authorized_keys.d"
_FIND = " ".join([overlay.KEYS_DEFAULT, *overlay.KEYS_ADDED])

#: pw(8) takes these; MAXLOGNAME of sys/param.h is 33 with the end
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?\Z")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_HIGHEST = 2**31 - 1

_TEXTS = ("class", "gecos", "home", "shell", "change", "expire", "group")
_FIELDS = ("uid", "groups", "password", "keys", *_TEXTS)

#: a hash of crypt(3), or one that fits no password; what is in no such form is a password that somebody forgot to hash
_HASH = re.compile(r"(\$[0-9a-z]+\$[^:\s]{8,}|\*(LOCKED\*(\$[^:\s]*)?)?)\Z")


def _name(value: Any, variable: str) -> str:
    if not isinstance(value, str) or not _USER.match(value):
        raise wrong(variable, "{0!r} is no name".format(value))
    return value


def _number(value: Any, variable: str, what: str) -> int:
    value = number(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _HIGHEST:
        raise wrong(variable, "{0} must be a number, and is {1!r}".format(what, value))
    return value


def _field(value: Any, variable: str, what: str) -> str:
    text = "" if value == "" else line(value, variable, what)
    if ":" in text:
        raise wrong(variable, "{0} has a colon, which ends a field".format(what))
    return text


def groups(value: Any) -> Dict[str, Dict[str, Any]]:
    """Groups by their names: ``gid`` and ``members``."""
    found = {}
    for name, each in mapping(value, "groups").items():
        given = mapping(each or {}, "groups", ("gid", "members"))
        told: Dict[str, Any] = {}
        if given.get("gid") is not None:
            told["gid"] = _number(given["gid"], "groups", "gid of {0}".format(name))
        if given.get("members") is not None:
            told["members"] = [_name(member, "groups") for member in listed(given["members"], "groups")]
        found[_name(name, "groups")] = told
    _refuse_shared(found, "groups", "gid")
    return found


def users(value: Any) -> Dict[str, Dict[str, Any]]:
    """Users by their names, as :func:`overlay.accounts` takes them."""
    found = {}
    for name, each in mapping(value, "users").items():
        given = mapping(each or {}, "users", _FIELDS)
        told: Dict[str, Any] = {}
        if given.get("uid") is not None:
            told["uid"] = _number(given["uid"], "users", "uid of {0}".format(name))
        for key in _TEXTS:
            if given.get(key) is not None:
                told[key] = _field(given[key], "users", "{0} of {1}".format(key, name))
        if given.get("groups") is not None:
            told["groups"] = [_name(group, "users") for group in listed(given["groups"], "users")]
        if given.get("password") is not None:
            if not isinstance(given["password"], str) or not _HASH.match(given["password"]):
                raise wrong(
                    "users",
                    "password of {0} must be a hash, as the filter password_hash makes one, or * for none".format(name),
                )
            told["password"] = given["password"]
        found[_name(name, "users")] = told
    _refuse_shared(found, "users", "uid")
    return found


def _refuse_shared(found: Mapping[str, Mapping[str, Any]], variable: str, key: str) -> None:
    taken: Dict[int, str] = {}
    for name, each in found.items():
        number = each.get(key)
        if number is not None and number in taken:
            raise wrong(variable, "{0} and {1} have the same {2}".format(taken[number], name, key))
        if number is not None:
            taken[number] = name


def keys(value: Any) -> List[Entry]:
    """Files with the public keys of users."""
    found = []
    for name, each in mapping(value, "users").items():
        texts = lines_of(mapping(each or {}, "users").get("keys"))
        if texts is None:
            continue
        if name == "root":
            raise wrong("users", "keys of root are deploy_authorized_keys")
        text = "".join(row.strip() + "\n" for row in lines(texts, "users", "keys of {0}".format(name)))
        found.append(Entry("{0}/{1}".format(KEYS, name), text.encode("utf-8"), 0o644, source="configure_users"))
    return found


def _settings(value: Any, variable: str) -> Dict[str, List[str]]:
    found = {}
    seen: Dict[str, str] = {}
    for key, each in mapping(value, variable).items():
        if not isinstance(key, str) or not _KEYWORD.match(key) or key.lower() in ("match", "include"):
            raise wrong(variable, "{0!r} is no keyword that can be set here".format(key))
        if key.lower() in seen:
            raise wrong(variable, "{0} and {1} are one keyword".format(seen[key.lower()], key))
        seen[key.lower()] = key
        many = each if isinstance(each, (list, tuple)) else [each]
        words = [("yes" if one else "no") if isinstance(one, bool) else one for one in many]
        found[key] = lines(words, variable, key)
    return found


def sshd(value: Any, with_keys: bool) -> Dict[str, List[str]]:
    """Settings of sshd_config.

    :param with_keys: there are users whose keys are in a place that sshd has to know.
    """
    found = _settings(value, "sshd")
    if not with_keys:
        return found
    name = next((key for key in found if key.lower() == "authorizedkeysfile"), "")
    if not name:
        return dict(found, AuthorizedKeysFile=[_FIND])
    if "/etc/{0}/%u".format(KEYS) not in found[name][0].split():
        raise wrong("sshd", "{0} does not have /etc/{1}/%u, where the keys of configure_users are".format(name, KEYS))
    return found


def sshd_match(value: Any) -> Dict[str, Dict[str, List[str]]]:
    """The same for some only, by the criteria of Match."""
    return {
        line(criteria, "sshd_match", "a criterion"): _settings(each, "sshd_match")
        for criteria, each in mapping(value, "sshd_match").items()
    }


def sudoers(value: Any) -> List[Entry]:
    """Files of sudo, by their names; sudo leaves out those with a dot."""
    found = []
    for name, text in mapping(value, "sudoers").items():
        if not isinstance(name, str) or not re.match(r"[A-Za-z0-9_-]+\Z", name) or not isinstance(text, str):
            raise wrong("sudoers", "{0!r} must be a name of letters, digits, - and _, with a text".format(name))
        content = (HEAD + text.rstrip("\n") + "\n").encode("utf-8")
        found.append(Entry("local/sudoers.d/" + name, content, 0o440, source="configure_sudoers"))
    return found


def doas(value: Any) -> List[Entry]:
    """doas.conf, as it is given."""
    if not isinstance(value, str):
        raise wrong("doas", "it must be text")
    content = (HEAD + value.rstrip("\n") + "\n").encode("utf-8")
    return [Entry("local/doas.conf", content, 0o600, source="configure_doas")]


def aliases(value: Any) -> Dict[str, List[str]]:
    """Mail aliases."""
    found = {}
    for name, each in mapping(value, "aliases").items():
        if not isinstance(name, str) or not re.match(r"[A-Za-z0-9_.+-]+\Z", name):
            raise wrong("aliases", "{0!r} is no name".format(name))
        found[name] = lines(each, "aliases", name)
    return found
