# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a backup host is told of the fleet: ``fleet.json``, written by the module ``backup_vault``, read by
``nanozfs-backup``. Both judge it by the same functions here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._hours import Window, parse
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

FORMAT = 1

RSNAPSHOT, DIRVISH, SEND, NONE = "rsnapshot", "dirvish", "send", "none"
METHODS = (RSNAPSHOT, DIRVISH, SEND)

#: how long sets are kept: how many of each kind, the shortest first
KINDS = ("daily", "weekly", "monthly")
RETAIN = {"daily": 7, "weekly": 4, "monthly": 6}

#: the most of a kind
MOST = 1000

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: a name or an address of either kind; never an option for ssh
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9:._%-]{0,252}")
#: no blank and nothing that a shell, rsnapshot or dirvish would read as anything but a path
_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+")
#: below a pool; a part of what ZFS takes, which needs no quotes anywhere
_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")

_SAFE = "nothing was changed"


def _wrong(what: str) -> Refused:
    return Refused(what, safe=_SAFE, todo="correct it in the inventory, and run backup.yml")


@dataclass(frozen=True)
class Host:
    """A host that is backed up.

    :param name: in the inventory.
    :param address: where ssh finds it, with its port.
    :param line: the site; of each only one host is pulled at a time.
    :param method: one of :data:`METHODS`.
    :param retain: how many sets are kept, by :data:`KINDS`.
    :param window: when a pull may be begun, and has to end; at any time where it is empty.
    :param zone: of that window; that of this machine where it is empty.
    :param bandwidth: the most to pull in a second, in bytes; 0 for no limit.
    :param excludes: patterns of rsync(1), from the top of the tree.
    :param previous: names that it had before.
    :param verify_every: after how many days one of its sets is looked into anew; 0 for never by itself.
    """

    name: str
    address: str
    port: int = 22
    line: str = ""
    method: str = RSNAPSHOT
    retain: Mapping[str, int] = field(default_factory=lambda: dict(RETAIN))
    window: str = ""
    zone: str = ""
    bandwidth: int = 0
    excludes: Tuple[str, ...] = ()
    previous: Tuple[str, ...] = ()
    verify_every: int = 0

    @property
    def hours(self) -> Optional[Window]:
        """The window."""
        return parse(self.window, "window for backups") if self.window else None


@dataclass(frozen=True)
class Fleet:
    """All that a backup host is told.

    :param label: what the hosts call this backup host.
    :param root: the folder of all sets.
    :param reserve: percent of its file system that must stay free.
    :param lines: how many hosts are pulled at a time, of as many sites.
    :param dataset: of this machine, below which the method ``send`` has its datasets; empty where no host has it.
    :param user: who receives there; empty for root.
    """

    label: str
    root: str
    reserve: int
    lines: int
    hosts: Mapping[str, Host]
    dataset: str = ""
    user: str = ""

    @property
    def tree(self) -> str:
        """Where a host exposes its files to this backup host (``_backup/exposure.py``)."""
        return "/var/run/nanozfs/backup/{0}/tree".format(self.label)


def is_label(text: str) -> bool:
    """Whether hosts can know a backup host by this name."""
    return bool(_LABEL.fullmatch(text)) and ".." not in text


def is_host(text: str) -> bool:
    """Whether a folder may have the name of this host."""
    return bool(_HOST.fullmatch(text))


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not re.fullmatch(r"\d{1,18}", str(value)):
        raise _wrong("{0} must be a whole number".format(name))
    if not least <= int(value) <= most:
        raise _wrong("{0} is {1}, and must be between {2} and {3}".format(name, value, least, most))
    return int(value)


def _text(value: Any, name: str, fits: Callable[[str], Any], what: str) -> str:
    if not isinstance(value, str) or not fits(value):
        raise _wrong("{0} is {1!r}, which is no {2}".format(name, printable(str(value))[:80], what))
    return value


def _list(value: Any, name: str) -> Tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise _wrong("{0} must be a list of texts".format(name))
    return tuple(value)


def _retain(value: Any, whose: str) -> Dict[str, int]:
    if not isinstance(value, Mapping) or not set(value) <= set(KINDS):
        raise _wrong("backup_retain of {0} must say how many of {1} are kept".format(whose, ", ".join(KINDS)))
    found = {
        kind: _whole(value.get(kind, 0), "backup_retain of {0}, {1},".format(whose, kind), 0, MOST) for kind in KINDS
    }
    if not found["daily"]:
        raise _wrong("backup_retain of {0} must keep one daily set at least".format(whose))
    if found["daily"] == 1 and found["weekly"]:  # rsnapshot would refuse it every night
        raise _wrong("backup_retain of {0} keeps weekly sets, and must keep two daily ones at least".format(whose))
    if found["monthly"] and not found["weekly"]:
        raise _wrong(
            "backup_retain of {0} keeps monthly sets, which become of weekly ones, and none of those".format(whose)
        )
    return found


def host_of(name: str, said: Mapping[str, Any]) -> Host:
    """A host as ``fleet.json`` has it.

    :raises Refused: when something of it cannot be.
    """
    shown = printable(name)[:80]
    _text(name, "the name of a host", is_host, "name that a folder can have (letters, digits, . _ -; 64 at most)")
    excludes = _list(said.get("excludes", ()), "backup_excludes of {0}".format(shown))
    for each in excludes:
        if not each.strip() or not each.isprintable():
            raise _wrong("backup_excludes of {0} has {1!r}, which is no pattern".format(shown, printable(each)))
    previous = _list(said.get("previous", ()), "backup_previous_names of {0}".format(shown))
    for each in previous:
        _text(each, "backup_previous_names of {0}".format(shown), is_host, "name of a host")
        if each == name:
            raise _wrong("backup_previous_names of {0} has the name that it has now".format(shown))
    window = said.get("window") or ""
    if window:
        parse(str(window), "window for backups")
    zone = said.get("zone") or ""
    if zone:
        _text(zone, "fleet_time_zone of {0}".format(shown), _ZONE.fullmatch, "time zone, as Europe/Berlin is one")
    return Host(
        name,
        _text(said.get("address"), "backup_address or ansible_host of " + shown, _ADDRESS.fullmatch, "name or address"),
        _whole(said.get("port", 22), "backup_port or ansible_port of " + shown, 1, 65535),
        _text(said.get("line", ""), "the site of {0}".format(shown), str.isprintable, "name of a site")
        if said.get("line")
        else "",
        _text(
            said.get("method"),
            "backup_method of {0}".format(shown),
            METHODS.__contains__,
            "method: " + ", ".join(METHODS),
        ),
        _retain(said.get("retain", RETAIN), shown),
        str(window),
        str(zone),
        _whole(said.get("bandwidth", 0), "backup_bandwidth of {0}".format(shown), 0, 1 << 50),
        excludes,
        previous,
        _whole(said.get("verify_every", 0), "backup_verify_every of {0}".format(shown), 0, MOST),
    )


def fleet_of(said: Any) -> Fleet:
    """All of ``fleet.json``.

    :raises Refused: when something of it cannot be, or was written by a collection that this program does not know.
    """
    if not isinstance(said, Mapping) or said.get("format") != FORMAT:
        raise Refused(
            "fleet.json is of another format than this nanozfs-backup reads",
            safe=_SAFE,
            todo="run backup.yml, which brings both",
        )
    hosts = said.get("hosts")
    if not isinstance(hosts, Mapping) or not all(isinstance(each, Mapping) for each in hosts.values()):
        raise _wrong("the hosts of fleet.json are no mapping")
    found = {str(name): host_of(str(name), each) for name, each in sorted(hosts.items())}
    heirs: Dict[str, str] = {}
    for host in found.values():
        for previous in host.previous:
            if previous in found:
                raise _wrong("{0} was called {1} before, and there is a host of that name".format(host.name, previous))
            if heirs.setdefault(previous, host.name) != host.name:
                raise _wrong("{0} and {1} were both called {2} before".format(heirs[previous], host.name, previous))
    taken: Dict[str, str] = {}
    for name in found:  # file systems that do not tell A from a are none of Debian's or FreeBSD's; people do not either
        if taken.setdefault(name.lower(), name) != name:
            raise _wrong("{0} and {1} cannot be told apart".format(taken[name.lower()], name))
    dataset, user = said.get("dataset") or "", said.get("user") or ""
    if dataset:
        _text(dataset, "backup_dataset", _is_dataset, "dataset below a pool, as tank/backups (letters, digits, . _ -)")
    if user:
        _text(user, "backup_user", _USER.fullmatch, "name of a user")
    sending = [name for name, host in found.items() if host.method == SEND]
    if sending and not dataset:
        raise _wrong("backup_method of {0} is send, and no backup_dataset is said for it".format(sending[0]))
    return Fleet(
        _text(said.get("label"), "the name of this backup host", is_label, "label (a-z, 0-9, . _ -; 40 at most)"),
        _text(
            said.get("root"), "backup_root", _is_root, "folder for sets: an absolute path of letters, digits, . _ + -"
        ),
        _whole(said.get("reserve", 5), "backup_reserve", 0, 90),
        _whole(said.get("lines", 4), "backup_lines", 1, 64),
        found,
        str(dataset),
        str(user),
    )


def _is_dataset(text: str) -> bool:
    # with the names of a host, of one of its datasets and of a snapshot it must be one of 255 (zfssend.called)
    return len(text) <= 40 and bool(_DATASET.fullmatch(text))


def _is_root(text: str) -> bool:
    return bool(_PATH.fullmatch(text)) and not {".", ".."} & set(text.split("/"))


def dumped(said: Mapping[str, Any]) -> str:
    """The text of ``fleet.json``."""
    return json.dumps(dict(said, format=FORMAT), indent=1, sort_keys=True) + "\n"


def load(path: str) -> Fleet:
    """Read ``fleet.json``.

    :raises Refused: when it is not there or not right.
    """
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
    except FileNotFoundError:
        raise Refused("{0} is not there".format(path), safe=_SAFE, todo="run backup.yml on the controller")
    except (OSError, ValueError) as error:
        raise Refused(
            "{0} cannot be read: {1}".format(path, error), safe=_SAFE, todo="run backup.yml on the controller"
        )
    return fleet_of(said)
