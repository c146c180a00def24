# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Making a machine a backup host: its key, its program, what it is told of the fleet, and its schedule."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import (
    config,
    dirvish,
    root,
    rsnapshot,
    sets,
    transfer,
    zfssend,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import DIRVISH, RSNAPSHOT, SEND, Fleet
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import read_known

AUTO, CRON, SYSTEMD, NONE = "auto", "cron", "systemd", "none"
SCHEDULES = (AUTO, CRON, SYSTEMD, NONE)

#: a public key as a host says it: kind and key, and no more of the line
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: .*)?")

_LAUNCHER = """#!/bin/sh
# nanozfs-backup of the collection nanozfs.fleet; written by backup_vault.
for python in /usr/local/bin/python3 /usr/local/bin/python3.[0-9][0-9] /usr/local/bin/python3.[0-9] /usr/bin/python3; do
    if [ -x "$python" ]; then
        exec "$python" -s -E -B {program} "$@"
    fi
done
echo "nanozfs-backup: there is no Python. Safe now: nothing was done. Next: install python3." >&2
exit 3
"""

#: cron(8) of Debian and of FreeBSD reads these files alike; what it prints is mailed
_CRON = """# Written by nanozfs.fleet (backup_vault); changes are lost. The program itself knows who is due.
PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin
*/15 * * * * root {launcher} run --quiet
"""

_SERVICE = """# Written by nanozfs.fleet (backup_vault); changes are lost.
[Unit]
Description=Backups of the fleet: pull the hosts that are due
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart={launcher} run
TimeoutStartSec=infinity
# the program ends what it has begun, and tells the hosts
KillMode=mixed
TimeoutStopSec=120
"""

_TIMER = """# Written by nanozfs.fleet (backup_vault); changes are lost.
[Unit]
Description=Backups of the fleet, every quarter of an hour; the program itself knows who is due

[Timer]
OnCalendar=*:0/15

[Install]
WantedBy=timers.target
"""


class File(NamedTuple):
    """A file of ours, as it should be."""

    path: str
    text: str
    mode: int


@dataclass(frozen=True)
class Wish:
    """What a backup host shall be.

    :param said: the content of ``fleet.json``.
    :param keys: the ssh keys of hosts, lines by name; those of others are left.
    :param schedule: one of :data:`SCHEDULES`.
    :param digest: SHA-256 of the program; empty for whatever is there.
    :param program: where that lies, if it was brought.
    """

    said: Mapping[str, Any]
    keys: Mapping[str, Sequence[str]]
    schedule: str
    digest: str = ""
    program: str = ""


def programs(methods: Iterable[str]) -> Set[str]:
    """The programs that hosts are pulled by. They have the names of their packages, but for zfs, which is the system's
    own or its administrator's.
    """
    return {"zfs" if method == SEND else method for method in methods}


def known_keys(places: Places) -> Dict[str, List[str]]:
    """The ssh keys of hosts that are known here, by name."""
    found: Dict[str, List[str]] = {}
    for line in _text_of(places.known_hosts).splitlines():
        name, _blank, key = line.partition(" ")
        if key and not line.startswith("#"):
            found.setdefault(name, []).append(key)
    return found


def is_key(text: str) -> bool:
    """Whether a text is a public key in the form that ssh knows."""
    return len(text) < 9000 and _KEY.fullmatch(text.strip()) is not None


def known_hosts_text(
    names: Sequence[str], known: Mapping[str, Sequence[str]], told: Mapping[str, Sequence[str]]
) -> str:
    """What ``known_hosts`` shall have: of each host what was told now, or else what was known.

    :raises Refused: when a key is none.
    """
    lines = ["# Written by nanozfs.fleet (backup_vault); changes are lost.\n"]
    for name in sorted(names):
        for each in told.get(name) or known.get(name) or ():
            match = _KEY.fullmatch(each.strip())
            if match is None:
                raise Refused(
                    "{0} did not say its ssh key in a form that ssh knows".format(name), safe="nothing was changed"
                )
            lines.append("{0} {1} {2}\n".format(name, *match.groups()))
    return "".join(lines)


def _text_of(path: str) -> str:
    """What is in a file; nothing where there is none.

    :raises FleetError: when it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FleetError("{0} cannot be read: {1}".format(path, error.strerror), safe="nothing was changed")


def foreign_master(fleet: Fleet, places: Places) -> str:
    """Why dirvish's own configuration will not do; empty where it does, or there is none."""
    text = _text_of(places.dirvish_master)
    bank = dirvish.bank_of(fleet)
    if not text or text.startswith(dirvish.MARK) or bank in text.split():
        return ""
    return "{0} is the site's own, and its list of banks has no {1}".format(places.dirvish_master, bank)


def chosen(schedule: str, places: Places) -> str:
    """What :data:`AUTO` means here: systemd where it runs (sd_booted(3))."""
    if schedule != AUTO:
        return schedule
    return SYSTEMD if os.path.isdir(places.at("/run/systemd/system")) else CRON


def _schedule_files(schedule: str, places: Places) -> List[File]:
    launcher = places.launcher
    if schedule == CRON:
        return [File(places.cron, _CRON.format(launcher=launcher), 0o644)]
    if schedule == SYSTEMD:
        return [
            File(places.service, _SERVICE.format(launcher=launcher), 0o644),
            File(places.timer, _TIMER, 0o644),
        ]
    return []


def wanted(wish: Wish, fleet: Fleet, places: Places) -> List[File]:
    """All files of ours but the program.

    :raises Refused: when a key is none.
    """
    names = sorted(fleet.hosts)
    found = [
        File(places.launcher, _LAUNCHER.format(program=places.program), 0o755),
        File(places.rsync, transfer.WRAPPER, 0o755),
        File(places.fleet, config.dumped(wish.said), 0o600),
        File(places.known_hosts, known_hosts_text(names, known_keys(places), wish.keys), 0o600),
    ]
    for name in names:
        host = fleet.hosts[name]
        found.append(File(places.excludes(name), transfer.excludes_text(host), 0o600))
        if host.method == RSNAPSHOT:
            found.append(File(places.rsnapshot(name), rsnapshot.config(fleet, host, places), 0o600))
    if any(host.method == DIRVISH for host in fleet.hosts.values()):
        text = _text_of(places.dirvish_master)
        if not text or text.startswith(dirvish.MARK):
            found.append(File(places.dirvish_master, dirvish.master(fleet), 0o644))
    return found + _schedule_files(chosen(wish.schedule, places), places)


def _unwanted(wanted_files: Sequence[File], places: Places) -> List[str]:
    """Files of ours that nobody wants any more: of hosts that are gone, of another schedule."""
    keep = {file.path for file in wanted_files}
    candidates = [places.cron, places.service, places.timer]
    for folder in (os.path.dirname(places.excludes("x")), os.path.dirname(places.rsnapshot("x"))):
        with contextlib.suppress(FileNotFoundError):
            candidates += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in candidates if path not in keep and os.path.isfile(path)]


def _write(path: str, data: bytes, mode: int) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with arriving(path, mode) as (_partial, file):
            file.write(data)
    except OSError as error:
        raise FleetError("{0} cannot be written: {1}".format(path, error.strerror), todo="make room, or see why")


def _mode(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_mode & 0o7777
    except OSError:
        return None


class Change(NamedTuple):
    """What was, or would be, changed.

    :param diff: as Ansible shows it, of what is no secret.
    """

    changed: bool
    diff: List[Dict[str, str]]


def _secure_conf(places: Places, check_mode: bool) -> bool:
    """The folder of key and configuration, for root alone."""
    if os.path.isdir(places.conf) and _mode(places.conf) == 0o700:
        return False
    if not check_mode:
        try:
            os.makedirs(places.conf, mode=0o700, exist_ok=True)
            os.chmod(places.conf, 0o700)
        except OSError as error:
            raise FleetError("{0} cannot be made: {1}".format(places.conf, error.strerror), todo="see why")
    return True


def make_key(runner: Runner, places: Places, label: str) -> Tuple[bool, str]:
    """The key of this backup host, made where there is none: whether it was, and its public part (empty in check mode
    where there would be a new one).

    :raises Refused: when hosts could not call it by its label.
    :raises FleetError: when it cannot be made or read.
    """
    if not config.is_label(label):
        raise Refused(
            "{0!r} is no name for a backup host (a-z, 0-9, . _ -; 40 at most)".format(printable(label)),
            safe="nothing was changed",
            todo="call it otherwise in the inventory, or set backup_label",
        )
    changed = _secure_conf(places, runner.check_mode)
    if not os.path.exists(places.key):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nanozfs-backup@" + label, "-f", places.key]
        runner.change(argv, "make a key")
        changed = True
    if not os.path.exists(places.key):  # check mode
        return True, ""
    public = runner.ask(["ssh-keygen", "-y", "-f", places.key], "read the key").out.strip()
    match = _KEY.fullmatch(public)
    if match is None:
        raise FleetError("ssh-keygen does not say the public key of {0}".format(places.key), todo="see why")
    return changed, "{0} {1} nanozfs-backup@{2}".format(match.group(1), match.group(2), label)


def _root(fleet: Fleet, places: Places, check_mode: bool) -> bool:
    """The folder of all sets, marked as such.

    :raises Refused: when it is empty and was not before: its file system is not mounted; or it is another's.
    """
    marker = os.path.join(fleet.root, sets.MARKER)
    if os.path.isfile(marker):
        root.mounted(fleet)
        return False
    had = [name for name in fleet.hosts if read_known(places.host_state(name)).good is not None]
    if had:
        raise Refused(
            "{0} has no {1}, and there were sets of {2} here".format(fleet.root, sets.MARKER, printable(had[0])),
            safe="nothing was changed",
            todo="mount its file system; where the sets are given up, remove {0}".format(
                os.path.dirname(places.host_state("x"))
            ),
        )
    if not check_mode:
        try:
            os.makedirs(fleet.root, mode=0o700, exist_ok=True)
        except OSError as error:
            raise FleetError("{0} cannot be made: {1}".format(fleet.root, error.strerror), todo="see why")
        _write(marker, "{0}\n".format(fleet.label).encode("ascii"), 0o600)
    return True


def program_is(places: Places, digest: str) -> bool:
    """Whether the program that is there has this digest."""
    with contextlib.suppress(OSError):
        return not digest or digest_file(places.program) == digest
    return False


def _bring(wish: Wish, places: Places, check_mode: bool) -> bool:
    """The program.

    :raises FleetError: when what was brought is not what was sent.
    """
    if program_is(places, wish.digest):
        return False
    if check_mode:
        return True
    if not wish.program or digest_file(wish.program) != wish.digest:
        raise FleetError(
            "the program did not arrive as it was sent", safe="the one that was there is there", todo="run it again"
        )
    with open(wish.program, "rb") as file:
        _write(places.program, file.read(), 0o644)
    return True


def _systemd(runner: Runner, files_changed: bool, schedule: str) -> bool:
    """Have systemd(1) know and run the timer; whether anything was to be done."""
    changed = files_changed
    if files_changed:
        runner.change(["systemctl", "daemon-reload"], "have systemd read its units")
    if schedule != SYSTEMD:
        return changed
    unit = os.path.basename(Places().timer)
    ready = all(runner.query(["systemctl", verb, "--quiet", unit]).rc == 0 for verb in ("is-enabled", "is-active"))
    if not ready:
        runner.change(["systemctl", "enable", "--now", unit], "have systemd run the timer")
        changed = True
    return changed


def present(runner: Runner, places: Places, wish: Wish) -> Change:
    """Make it a backup host.

    :raises Refused: when what it is told cannot be.
    :raises FleetError: when something cannot be written.
    """
    fleet = config.fleet_of(dict(wish.said, format=config.FORMAT))
    for host in fleet.hosts.values():
        zone_is_there(host.zone, places)
    why = foreign_master(fleet, places) if any(each.method == DIRVISH for each in fleet.hosts.values()) else ""
    if why:
        raise Refused(why, safe="nothing was changed", todo="add that line to the list bank: there")
    files = wanted(wish, fleet, places)
    changed = any(host.method == SEND for host in fleet.hosts.values()) and zfssend.provide(Zfs(runner), fleet)
    changed |= _root(fleet, places, runner.check_mode)
    changed |= _secure_conf(places, runner.check_mode)
    changed |= _bring(wish, places, runner.check_mode)
    diff, units = [], False
    for file in files:
        before = _text_of(file.path)
        if before == file.text and _mode(file.path) == file.mode:
            continue
        changed = True
        units |= file.path in (places.service, places.timer)
        if before != file.text:
            diff.append(_difference(file.path, before, file.text))
        if not runner.check_mode:
            _write(file.path, file.text.encode("utf-8"), file.mode)
    gone = _unwanted(files, places)
    diff += _take_away(runner, gone, places)
    changed |= bool(gone)
    units |= _has_units(gone, places)
    if units or chosen(wish.schedule, places) == SYSTEMD:
        changed |= _systemd(runner, units, chosen(wish.schedule, places))
    return Change(changed, diff)


def zone_is_there(zone: str, places: Places) -> None:
    """See that this machine knows a time zone.

    :raises Refused: when it does not.
    """
    if zone and not os.path.isfile(places.at("/usr/share/zoneinfo/" + zone)):
        raise Refused(
            "this backup host knows no time zone {0!r}".format(zone),
            safe="nothing was changed",
            todo="name one as IANA does (Europe/Berlin), or install tzdata there",
        )


def _difference(path: str, before: str, after: str) -> Dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def _has_units(paths: Sequence[str], places: Places) -> bool:
    """Whether one of these files is systemd's."""
    return places.service in paths or places.timer in paths


def _take_away(runner: Runner, paths: Sequence[str], places: Places) -> List[Dict[str, str]]:
    """Take files away, a timer once it is stopped.

    :returns: what that is, for a diff.
    """
    diff = []
    for path in paths:
        diff.append(_difference(path, _text_of(path), ""))
        if path == places.timer:
            runner.change(["systemctl", "disable", "--now", os.path.basename(path)], "stop the timer")
        if not runner.check_mode:
            os.unlink(path)
    return diff


def absent(runner: Runner, places: Places) -> Change:
    """Make it none any more: program, configuration, key and schedule go. Sets, and what is known of them, stay."""
    files = [places.timer, places.service, places.cron, places.launcher]
    if _text_of(places.dirvish_master).startswith(dirvish.MARK):
        files.append(places.dirvish_master)
    gone = [path for path in files if os.path.isfile(path)]
    diff = _take_away(runner, gone, places)
    changed = bool(gone)
    for folder in (places.library, places.conf):
        if os.path.isdir(folder):
            changed = True
            if not runner.check_mode:
                shutil.rmtree(folder)
    if _has_units(gone, places):
        _systemd(runner, True, NONE)
    return Change(changed, diff)
