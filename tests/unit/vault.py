# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host to test with: a root folder of its own, and stand-ins for what it runs."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import config
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import Fleet
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places

#: Monday, 30 November 2026, 22:30 UTC
NOW = 1796077800

#: a key in the form that ssh knows
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"


def said(root: str, **hosts: Mapping[str, Any]) -> Dict[str, Any]:
    """What a backup host is told."""
    usual = {"method": "rsnapshot", "window": "22:00-05:00", "zone": "UTC", "line": "site-a"}
    found: Dict[str, Any] = {}
    for name, more in hosts.items():
        found[name.replace("_", "-")] = {"address": "192.0.2.11", **usual, **more}
    return {"format": config.FORMAT, "label": "vault", "root": root, "reserve": 0, "lines": 4, "hosts": found}


class Machine:
    """A backup host whose commands are stand-ins, which do in the file system what the real ones would.

    :param base: an empty folder.
    """

    def __init__(self, base: str, **hosts: Mapping[str, Any]) -> None:
        self.places = Places("Linux", base)
        self.root = os.path.join(base, "srv")
        self.now = float(NOW)
        self.told = said(self.root, **hosts)
        #: exit statuses of rsync to come, by host; 0 when there are no more
        self.rsync: Dict[str, List[int]] = {}
        #: what rsync complains of then
        self.complaint = "rsync: connection unexpectedly closed"
        #: what ssh answers instead of the gate, by host: exit status and errors
        self.gate: Dict[str, Tuple[int, str]] = {}
        #: how far the clocks of the hosts are ahead of the one here (seconds)
        self.apart = 0
        #: what the gate answers instead when it is asked how it stands, by host: exit status and answer
        self.lost: Dict[str, Tuple[int, Any]] = {}
        self.open: Dict[str, Dict[str, Any]] = {}
        self.ended: List[Tuple[str, Dict[str, Any]]] = []
        self.calls: List[List[str]] = []
        #: what the host's files are, by host
        self.files: Dict[str, Dict[str, str]] = {}
        #: what rsnapshot was told to link to in the last pull, by host
        self.links: Dict[str, List[str]] = {}
        #: what ps(1) says: exit status and output
        self.processes: Tuple[int, str] = (1, "")
        #: the folders that the hosts show, and when their snapshots were taken; what looks into backups have found
        self.shown: Dict[str, Tuple[str, int]] = {}
        self.verified: List[Tuple[str, Dict[str, Any]]] = []
        #: exit statuses of rsnapshot's rotations to come
        self.rotations: List[int] = []
        os.makedirs(self.root)
        with open(os.path.join(self.root, ".nanozfs-backup"), "w", encoding="ascii"):
            pass

    @property
    def fleet(self) -> Fleet:
        return config.fleet_of(self.told)

    def clock(self) -> float:
        return self.now

    def run(
        self, argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
    ) -> Tuple[int, str, str]:
        """One command."""
        self.calls.append(list(argv))
        program = os.path.basename(argv[0])
        if program == "ssh":
            return self._ssh(argv, stdin)
        if program == "rm":
            shutil.rmtree(argv[-1])
            return 0, "", ""
        if program == "ps":
            return (*self.processes, "")
        if program == "rsnapshot":
            return self._rsnapshot(argv, more)
        if program == "dirvish":
            return self._dirvish(argv, more)
        assert program == "dirvish-expire", argv
        return 0, "", ""

    def _ssh(self, argv: Sequence[str], stdin: Optional[str]) -> Tuple[int, str, str]:
        host, word = argv[-2], argv[-1]
        if host in self.gate:
            rc, err = self.gate[host]
            return rc, "", err
        if word == "nanozfs-backup begin":
            resumed = host in self.open
            tag = "nanozfs-backup-vault-{0}".format(int(self.now))
            tree = self.open.setdefault(host, {"tag": tag, "begun": int(self.now + self.apart)})
            answer = dict(tree, root=self.fleet.tree, resumed=resumed, trial=False, left_out=[], notes=[])
            return 0, json.dumps(dict(answer, host={"name": host, "version": "1.0"})), ""
        if word == "nanozfs-backup status":
            if host in self.lost:
                rc, answer = self.lost[host]
                return rc, json.dumps(answer), "ssh: connection closed" if rc else ""
            shown = self.open.get(host)
            return 0, json.dumps({"exposure": dict(shown, problem="", gone="") if shown else None, "record": None}), ""
        if word == "nanozfs-backup digests" and stdin is not None:
            folder, begun = self.shown[host]
            rows = digests.look(folder, digests.wanted(stdin))
            return 0, json.dumps({"tag": "x", "begun": begun, "trial": False, "notes": [], "files": rows}), ""
        if word == "nanozfs-backup verified" and stdin is not None:
            self.verified.append((host, json.loads(stdin)))
            return 0, "{}", ""
        assert word == "nanozfs-backup end" and stdin is not None, argv
        result = json.loads(stdin)
        self.ended.append((host, result))
        if not result.get("keep"):
            self.open.pop(host, None)
        return 0, "{}", ""

    def _bring(self, host: str, tree: str, more: Mapping[str, str]) -> int:
        os.makedirs(tree, exist_ok=True)
        for name, text in self.files.get(host, {"cfg": "of " + host}).items():
            with open(os.path.join(tree, name), "w", encoding="utf-8") as file:
                file.write(text)
        folder = more["NANOZFS_BACKUP_RUN"]
        queue = self.rsync.get(host, [])
        code = queue.pop(0) if queue else 0
        if code == TIMED_OUT:
            return code
        texts = {
            "status": str(code),
            "errors": self.complaint if code else "",
            "output": "Number of files: 1,234 (reg: 1)\nTotal file size: 5,678 bytes\n"
            "Total bytes sent: 10\nTotal bytes received: 90\n",
        }
        for name, text in texts.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        return int(more["NANOZFS_BACKUP_FAILED"]) if code else 0

    def _rsnapshot(self, argv: Sequence[str], more: Mapping[str, str]) -> Tuple[int, str, str]:
        with open(argv[2], encoding="utf-8") as file:
            lines = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
        root = next(line[1] for line in lines if line[0] == "snapshot_root")
        host = root.rstrip("/").rsplit("/", 1)[1]
        if argv[3] == "sync":
            told = next(line[1] for line in lines if line[0] == "rsync_long_args").split()
            self.links[host] = [word for word in told if word.startswith("--link-dest")]
            rc = self._bring(host, os.path.join(root, ".sync", "tree"), more)
            return (rc if rc == TIMED_OUT else 2 if rc else 0), "", ""
        if self.rotations:
            return self.rotations.pop(0), "", "ERROR: no"
        kinds = [(line[1], int(line[2])) for line in lines if line[0] == "retain"]
        number = [kind for kind, _count in kinds].index(argv[3])
        kind, count = kinds[number]
        source = ".sync" if number == 0 else "{0}.{1}".format(kinds[number - 1][0], kinds[number - 1][1] - 1)
        oldest = os.path.join(root, "{0}.{1}".format(kind, count - 1))
        if os.path.isdir(oldest):
            shutil.rmtree(oldest)
        for each in range(count - 2, -1, -1):
            path = os.path.join(root, "{0}.{1}".format(kind, each))
            if os.path.isdir(path):
                os.rename(path, os.path.join(root, "{0}.{1}".format(kind, each + 1)))
        os.rename(os.path.join(root, source), os.path.join(root, kind + ".0"))
        return 0, "", ""

    def _dirvish(self, argv: Sequence[str], more: Mapping[str, str]) -> Tuple[int, str, str]:
        host, image = argv[argv.index("--vault") + 1], argv[argv.index("--image") + 1]
        folder = os.path.join(self.root, "dirvish", host, image)
        if os.path.exists(folder):
            return 224, "", "ERROR: image already exists"
        os.makedirs(folder)
        with open(os.path.join(folder, "summary"), "w", encoding="utf-8") as file:
            file.write("client: root@{0}\nvault: {0}\nImage: {1}\nStatus: success\n".format(host, image))
        rc = self._bring(host, os.path.join(folder, "tree"), more)
        return (rc if rc == TIMED_OUT else 149 if rc else 0), "", ""
