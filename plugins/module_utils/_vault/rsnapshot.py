# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""rsnapshot, as the method of a host: https://rsnapshot.org, Debian's and FreeBSD's package of that name.

``sync`` brings the files into ``.sync``, linked to the newest set where they are the same; then ``.sync`` becomes
``daily.0``. With ``link_dest`` that is a rename(2) (sub rotate_lowest_snapshots), and without it links by cp: rsync
would then change owners and times of the files of older sets as well, which are the same inodes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import sets, transfer
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import KINDS, RSNAPSHOT, SEND, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.execute import Long
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.method import LEFTOVERS, Method
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.retention import rotations
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import OK, Pull, write_json

#: exit status that rsnapshot takes for a warning, and keeps what has come
_WARNING = "23"

SYNC = ".sync"


def config(fleet: Fleet, host: Host, places: Places, links: Sequence[str] = ()) -> str:
    """The configuration of a host. Between words there are tabs, or rsnapshot does not read it.

    :param links: see :func:`transfer.rsync_options`.
    """
    options = transfer.rsync_options(host, places, links)
    lines: List[Tuple[str, ...]] = [
        ("config_version", "1.2"),
        ("snapshot_root", sets.folder_of(fleet, RSNAPSHOT, host.name) + "/"),
        ("no_create_root", "1"),
        ("cmd_rm", "/bin/rm"),
        ("cmd_rsync", places.rsync),
        ("cmd_ssh", places.ssh),
        ("ssh_args", " ".join(transfer.ssh_argv(fleet, host, places)[1:])),
        ("link_dest", "1"),
        ("sync_first", "1"),
        ("verbose", "2"),
        ("loglevel", "3"),
        ("lockfile", places.lock(host.name + ".rsnapshot")),
        ("rsync_short_args", options[0]),
        ("rsync_long_args", " ".join(options[1:])),
        *(("retain", kind, str(host.retain[kind])) for kind in KINDS if host.retain[kind]),
        ("backup", "root@{0}:{1}/".format(host.name, fleet.tree), sets.TREE + "/"),
    ]
    head = "# Written by nanozfs.fleet (backup_vault) for {0}; changes are lost.\n".format(host.name)
    return head + "".join("\t".join(line) + "\n" for line in lines)


class Rsnapshot(Method):
    """Pulling one host with it."""

    name = RSNAPSHOT

    def __init__(self, fleet: Fleet, host: Host, places: Places, run: Long) -> None:
        super().__init__(fleet, host, places, run)
        self._sync = os.path.join(self._folder, SYNC)

    def _configure(self, links: Sequence[str] = ()) -> str:
        """Write what rsnapshot is told this time; where. The file in the configuration is for people."""
        folder = self._places.run(self._host.name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, "rsnapshot.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config(self._fleet, self._host, self._places, links))
        return path

    def _call(self, word: str, config_file: str, seconds: Optional[float]) -> Tuple[int, str]:
        variables = {"NANOZFS_BACKUP_RUN": self._places.run(self._host.name), "NANOZFS_BACKUP_FAILED": _WARNING}
        rc, out, err = self._run(["rsnapshot", "-c", config_file, word], None, seconds, variables)
        return rc, transfer.first_line(err) or transfer.first_line(out) or ""

    def prepare(self, tag: str) -> None:
        """See to what earlier tries have left.

        A set that is complete and was not rotated in is so now. All else is put aside, and linked to: its files are
        those of older sets, and where one has come again with another owner, mode or time, rsync would give it these in
        place. Of the same snapshot they are the same, but that is only what the host says.

        :param tag: of the snapshot that is pulled.
        :raises FleetError: when a rotation fails, or another rsnapshot is at work on it: one whose program was killed.
        :raises OSError: when there is no room.
        """
        self._refuse_another(self._places.lock(self._host.name + ".rsnapshot"))
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if not os.path.isdir(self._sync):
            return
        record = sets.record_in(self._sync)
        if record is not None and record.result == OK and record.tag != tag:
            self._rotate()
        else:
            stamp = record.id if record is not None else "00000000T000000Z"
            aside = os.path.join(self._folder, ".partial-" + stamp)
            if os.path.isdir(aside):
                self._remove([aside])
            os.rename(self._sync, aside)
        self._forget(kept=LEFTOVERS)

    def pull(self, pull: Pull, seconds: Optional[float]) -> Tuple[transfer.Pulled, bool]:
        """Bring the files.

        :param pull: what is known of it before, which is noted so that the next try knows whose files these are.
        :param seconds: that it may take.
        :returns: how rsync ended, and whether it was because time was over.
        :raises FleetError: when rsnapshot cannot be run.
        :raises OSError: when there is no room.
        """
        links = [os.path.join(each, sets.TREE) for each in sets.leftovers(self._folder, RSNAPSHOT)]
        other = sets.newest_good(self._fleet, self._host.name)
        if other is not None and other.pull.method not in (RSNAPSHOT, SEND):
            links.append(other.path)
        os.makedirs(self._sync, mode=0o755, exist_ok=True)
        write_json(os.path.join(self._sync, sets.RECORD), asdict(pull))
        folder = self._places.run(self._host.name)
        transfer.prepare(folder)
        rc, said = self._call("sync", self._configure(links), seconds)
        found = transfer.result_in(folder)
        if rc == 127:
            raise FleetError("rsnapshot is not installed here", todo="run backup.yml, which installs it")
        if rc != 0 and found.code in (0, transfer.UNKNOWN):  # it was not rsync that failed
            found = found._replace(code=transfer.UNKNOWN, said=found.said or said)
        return found, rc == TIMED_OUT

    def keep(self, pull: Pull, _trusted: bool) -> List[str]:
        """Make a set of what has come; what is to be said of that.

        :raises FleetError: when a rotation fails.
        """
        write_json(os.path.join(self._sync, sets.RECORD), asdict(pull))
        self._rotate()
        self._forget()
        return []

    def fail(self, pull: Pull, full: bool) -> None:
        """What has come stays for the next try, unless it is in the way of all others."""
        if full:
            self._remove([self._sync])
            self._forget()
            return
        with contextlib.suppress(FleetError):
            write_json(os.path.join(self._sync, sets.RECORD), asdict(pull))

    def _taken(self) -> Dict[str, float]:
        found: Dict[str, float] = {}
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name.partition(".")[0] in KINDS and os.path.isdir(path):
                record = sets.record_in(path)
                found[name] = record.tried if record is not None else os.stat(path).st_mtime
        return found

    def _rotate(self) -> None:
        path = self._configure()
        for interval in rotations(self._host.retain, self._taken()):
            rc, said = self._call(interval, path, None)
            if rc != 0:
                raise FleetError(
                    "`rsnapshot {0}` ended with {1}: {2}".format(interval, rc, said or "it said nothing"),
                    safe="the new set is complete, in .sync",
                    todo="see what is wrong; the next run goes on there",
                )
        if os.path.isdir(self._sync):
            raise FleetError("rsnapshot has not taken the new set in", safe="the new set is complete, in .sync")
