# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is laid over files that the host has: its users and groups, the settings of its sshd, its mail aliases.

Pure functions from texts to texts. What the inventory does not name stays, with its comments and in its order.
Sources: passwd(5), group(5), sshd_config(5), aliases(5).
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import MASTER
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of, printable

_SAFE = "nothing was changed"

GROUP, SSHD, ALIASES = "group", "ssh/sshd_config", "mail/aliases"

#: fields of a line of master.passwd, passwd(5)
_USER = ("name", "password", "uid", "gid", "class", "change", "expire", "gecos", "home", "shell")
_MEMBERS = 3

#: what a new user has that the inventory says nothing of
_DEFAULTS = {
    "password": "*",
    "class": "",
    "change": "0",
    "expire": "0",
    "gecos": "",
    "home": "/nonexistent",
    "shell": "/bin/sh",
}

#: keywords of sshd_config(5) of which each line counts; of all others the first one does
_MANY = ("acceptenv", "allowgroups", "allowusers", "denygroups", "denyusers", "hostkey", "listenaddress", "port")


class Line(NamedTuple):
    """A line of passwd or group: its fields, or the whole of it where it is a comment or empty."""

    raw: str
    fields: Optional[Tuple[str, ...]]


def _lines(text: str, count: int, what: str) -> List[Line]:
    """The lines of a file of colon-separated fields. ``#`` begins a comment, passwd(5).

    :raises Refused: for a line with another number of fields.
    """
    found = []
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip() or raw.startswith("#"):
            found.append(Line(raw, None))
            continue
        fields = tuple(raw.split(":"))
        if len(fields) != count:
            raise Refused(
                "line {0} of {1} has {2} fields, and should have {3}".format(number, what, len(fields), count),
                safe=_SAFE,
                todo="mend it on the host (vipw, `nanozfs save`), and run the play again",
            )
        found.append(Line(raw, fields))
    while found and not found[-1].raw:
        found.pop()
    return found


def _over(base: Sequence[Line], own: Sequence[Line], what: str) -> List[Line]:
    """The lines of the host as they are, with its comments, and those of the image that it does not have.

    :raises Refused: where one that comes in would have the number of another that only the host has.
    """
    if not own:
        return list(base)
    found, mine, theirs = list(own), _by_name(own), _by_name(base)
    taken = {fields[2]: name for name, fields in mine.items() if name not in theirs and fields[2]}
    for each in base:
        if each.fields and each.fields[0] not in mine:
            if each.fields[2] in taken:
                raise Refused(
                    "{0}: {1}, which comes with the image, has the number {2}, and so has {3} of this host".format(
                        what, each.fields[0], each.fields[2], taken[each.fields[2]]
                    ),
                    safe=_SAFE,
                    todo="give {0} another number on the host, and its files to that (find / -user or -group)".format(
                        taken[each.fields[2]]
                    ),
                )
            _add(found, each)
    return found


def _add(lines: List[Line], line: Line) -> None:
    """Add a line; those of NIS (``+``), which stand for all that is not named, stay the last ones."""
    ends = [place for place, each in enumerate(lines) if each.fields and each.fields[0][:1] in ("+", "-")]
    lines.insert(ends[0] if ends else len(lines), line)


def _text(lines: Sequence[Line]) -> str:
    return "".join((each.raw if each.fields is None else ":".join(each.fields)) + "\n" for each in lines)


def _by_name(lines: Sequence[Line]) -> Dict[str, Tuple[str, ...]]:
    return {each.fields[0]: each.fields for each in lines if each.fields}


def _put(lines: List[Line], fields: Tuple[str, ...]) -> None:
    """Replace the line with that name, or add one."""
    for place, each in enumerate(lines):
        if each.fields and each.fields[0] == fields[0]:
            lines[place] = Line("", fields)
            return
    _add(lines, Line("", fields))


def _refuse_taken(lines: Sequence[Line], name: str, number: str, what: str, variable: str) -> None:
    """Refuse a number that another has, or another number than one has: files would get another owner.

    Those that there are may share one, as root and toor do.
    """
    now = _by_name(lines).get(name)
    if now is not None and now[2] != number:
        raise Refused(
            "{0}: {1} {2} has the number {3} on this host, and shall have {4}: files that are there would not be "
            "its own any more".format(variable, what, name, now[2], number),
            safe=_SAFE,
            todo="give the number that it has; or change it on the host, with the owner of its files, and save that",
        )
    if now is not None:
        return
    for each in lines:
        if each.fields and each.fields[2] == number and each.fields[0] != name:
            raise Refused(
                "{0}: {1} {2} shall have the number {3}, which {4} has on this host".format(
                    variable, what, name, number, each.fields[0]
                ),
                safe=_SAFE,
                todo="give another number",
            )


def accounts(
    own: Tuple[str, str], base: Tuple[str, str], users: Mapping[str, Any], groups: Mapping[str, Any]
) -> Tuple[str, str]:
    """master.passwd and group with the users and groups of the inventory, by name.

    :param own: the texts of master.passwd and group of the host, empty where it has none.
    :param base: those of the image: what they have and the host does not, comes in.
    :raises Refused: for a number that another has, a group that nobody has, or a line that cannot be read.
    """
    people = _over(_lines(base[0], len(_USER), MASTER), _lines(own[0], len(_USER), MASTER), MASTER)
    bands = _over(_lines(base[1], _MEMBERS + 1, GROUP), _lines(own[1], _MEMBERS + 1, GROUP), GROUP)
    for name, wish in sorted(groups.items()):
        _group(bands, name, wish)
    for name, wish in sorted(users.items()):
        _user(people, bands, name, wish)
    _refuse_unknown(people, bands, groups)
    return _text(people), _text(bands)


def _group(bands: List[Line], name: str, wish: Mapping[str, Any]) -> None:
    now = _by_name(bands).get(name)
    gid = wish.get("gid", now[2] if now else None)
    if gid is None:
        raise Refused(
            "configure_groups: {0} is new on this host, and has no gid".format(name),
            safe=_SAFE,
            todo="give it one: it must be the same at every start, as files are its own",
        )
    _refuse_taken(bands, name, str(gid), "the group", "configure_groups")
    members = wish.get("members")
    there = now[_MEMBERS] if now else ""
    _put(bands, (name, now[1] if now else "*", str(gid), there if members is None else ",".join(members)))


def _user(people: List[Line], bands: List[Line], name: str, wish: Mapping[str, Any]) -> None:
    now = _by_name(people).get(name)
    values = dict(_DEFAULTS, **dict(zip(_USER, now or ())))
    values.update({key: str(wish[key]) for key in _USER if wish.get(key) is not None})
    values["name"] = name
    if "uid" not in values:
        raise Refused(
            "configure_users: {0} is new on this host, and has no uid".format(name),
            safe=_SAFE,
            todo="give it one: it must be the same at every start, as files are its own",
        )
    _refuse_taken(people, name, values["uid"], "the user", "configure_users")
    group = wish.get("group")
    if group is not None or "gid" not in values:
        values["gid"] = _gid(bands, name, str(name if group is None else group), values["uid"], group is None)
    _put(people, tuple(values[key] for key in _USER))
    for band in wish.get("groups") or ():
        there = _by_name(bands).get(str(band))
        if there is None:
            raise Refused(
                "configure_users: {0} is to be in the group {1}, which is neither on this host nor in "
                "configure_groups".format(name, band),
                safe=_SAFE,
            )
        members = [each for each in there[_MEMBERS].split(",") if each]
        if name not in members:
            _put(bands, (*there[:_MEMBERS], ",".join([*members, name])))


def _gid(bands: List[Line], user: str, group: str, uid: str, own: bool) -> str:
    """The number of a user's group; one of his own name is made with his number."""
    there = _by_name(bands).get(group)
    if there is not None:
        return there[2]
    if not own:
        raise Refused(
            "configure_users: the group {0} of {1} is neither on this host nor in configure_groups".format(group, user),
            safe=_SAFE,
        )
    _refuse_taken(bands, group, uid, "the group of the user", "configure_users")
    _put(bands, (group, "*", uid, ""))
    return uid


def _refuse_unknown(people: Sequence[Line], bands: Sequence[Line], groups: Mapping[str, Any]) -> None:
    known = _by_name(people)
    for name in sorted(groups):
        strangers = [each for each in groups[name].get("members") or () if each not in known]
        if strangers:
            raise Refused(
                "configure_groups: {0} has the member {1}, who is neither on this host nor in configure_users".format(
                    name, strangers[0]
                ),
                safe=_SAFE,
            )


_SETTING = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)[\s=]+(.*)\Z")


#: where the keys of users are that the inventory gives, sshd_config(5)
KEYS_ADDED = ("/etc/ssh/authorized_keys.d/%u",)

#: begins a file that is made here
_SSHD_HEAD = "# Of configure_sshd; what the image has follows, and of most settings the first one counts."


def refuse_lost(
    own: str, base: str, settings: Mapping[str, Sequence[str]], matches: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    """Refuse to replace a sshd_config that somebody made on the host where something in it would be lost.

    :param own: the text that /cfg has, empty where it has none. What is made here may be replaced.
    :param base: the text of the image.
    :param settings: by keyword, what the inventory says: it speaks for whatever the file says of these.
    :param matches: the same by the criteria of ``Match``.
    :raises Refused: with the settings.
    """
    if not own or own.startswith(_SSHD_HEAD):
        return
    known = {" ".join(raw.split()).lower() for raw in base.split("\n")}
    spoken = {key.lower() for key in settings}
    criteria = {" ".join(each.split()).lower() for each in matches}
    lost, inside = [], False
    for raw in own.split("\n"):
        found = _SETTING.match(raw)
        if not found:
            continue
        key, line = found.group(1).lower(), " ".join(raw.split())
        if key == "match":
            inside = True
            asked = " ".join(found.group(2).split()).lower() in criteria
        else:
            asked = not inside and key in spoken
        if not asked and line.lower() not in known and (key == "match" or not inside):
            lost.append(line)
    if lost:
        raise Refused(
            "{0} in /cfg was made on the host, and says what neither the image nor the inventory does: {1}".format(
                SSHD, first_of([printable(each) for each in lost], 5)
            ),
            safe=_SAFE,
            todo="say that in configure_sshd or configure_sshd_match; or take it out of the file on the host, and "
            "`nanozfs save` it",
        )


#: where sshd looks for keys when nobody says it: what the controller puts before its own place
KEYS_DEFAULT = ".ssh/authorized_keys"


def _with_keys(base: str, settings: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """The settings, in which the places of keys that the image has stay where only a place of ours was to be added."""
    name = "AuthorizedKeysFile"
    if list(settings.get(name) or []) != [" ".join([KEYS_DEFAULT, *KEYS_ADDED])]:
        return settings
    for raw in base.split("\n"):
        found = _SETTING.match(raw)
        if found and found.group(1).lower() == "match":
            break
        if found and found.group(1).lower() == name.lower():
            theirs = [word for word in found.group(2).partition("#")[0].split() if word != "none"]
            return dict(settings, **{name: [" ".join([*theirs, *(each for each in KEYS_ADDED if each not in theirs)])]})
    return settings


def sshd(base: str, settings: Mapping[str, Sequence[str]], matches: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """sshd_config: the settings of the inventory, then the file of the image, then what holds for some only.

    Of most keywords the first one that is read counts, so those of the inventory come first and the rest of the file
    stays what the image has. Of those of which each line counts, and of a subsystem that is set twice, the line of the
    image is left out. FreeBSD's own file (seen: 15.0) includes no folder of further files.

    :param base: the text of the image.
    :param settings: by keyword the values, a line each.
    :param matches: the same by the criteria of ``Match``.
    """
    given = {key.lower() for key in settings}
    systems = {value.split()[0].lower() for key in settings if key.lower() == "subsystem" for value in settings[key]}
    kept, inside = [], False
    for raw in base.split("\n"):
        found = _SETTING.match(raw)
        key = found.group(1).lower() if found else ""
        inside = inside or key == "match"
        twice = key in given and key in _MANY
        if found and key == "subsystem" and found.group(2).split()[:1]:
            twice = found.group(2).split()[0].lower() in systems
        if inside or not twice:
            kept.append(raw)
    settings = _with_keys(base, settings)
    head = ["{0} {1}".format(key, value) for key in sorted(settings) for value in settings[key]]
    tail = []
    for criteria in sorted(matches):
        tail.append("Match {0}".format(criteria))
        tail += [
            "    {0} {1}".format(key, each) for key in sorted(matches[criteria]) for each in matches[criteria][key]
        ]
    parts = [_SSHD_HEAD, *head]
    return "\n".join([*parts, "", "\n".join(kept).strip("\n"), *tail]).rstrip("\n") + "\n"


_ALIAS = re.compile(r"([^#\s:][^:]*?)\s*:")


def aliases(base: str, wanted: Mapping[str, Sequence[str]]) -> str:
    """mail/aliases with those of the inventory in the place of those with the same name.

    A line that begins with a blank continues the one before, aliases(5).

    :param base: the text that is there.
    :param wanted: who gets what is sent to a name.
    """
    names = {each.lower() for each in wanted}
    kept, dropping = [], False
    for raw in base.split("\n"):
        if not raw[:1].isspace() or not raw.strip():
            found = _ALIAS.match(raw)
            dropping = found is not None and found.group(1).strip('"').lower() in names
        if not dropping:
            kept.append(raw)
    lines = ["{0}: {1}".format(name, ", ".join(wanted[name])) for name in sorted(wanted)]
    return "\n".join([*"\n".join(kept).rstrip("\n").split("\n"), *lines]).lstrip("\n") + "\n"
