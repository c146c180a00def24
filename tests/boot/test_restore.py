# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that is being restored, and the early boot: from whatever point it was broken off at it comes up for recovery,
and as itself after the last command.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.bare import Bare
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import Description, parse
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.grounds import HOST, Record
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal
from ansible_collections.nanozfs.fleet.tests.boot.stage import Stage
from ansible_collections.nanozfs.fleet.tests.boot.test_hook import is_itself, is_recovery

TOP = "tank/nanozfs-restoring"


class Cut(Exception):
    """The power fails."""


def described() -> Description:
    def dataset(name: str, path: Optional[str], **properties: str) -> Dict[str, Any]:
        return {"name": name, "path": path, "properties": properties}

    members = [
        dataset("nanozfs", None, canmount="off", mountpoint="none"),
        dataset("nanozfs/cfg", "cfg", mountpoint="legacy"),
        dataset("nanozfs/var", "var", mountpoint="legacy", quota="64M"),
        dataset("nanozfs/var/log", "var/log", **{"nanozfs:rollback": "keep"}),
        dataset("srv", "srv", mountpoint="/srv", readonly="on"),
    ]
    return parse({"format": 1, "host": "web-1", "taken": 1, "pool": {"name": "tank"}, "datasets": members})


def bare(stage: Stage, allowed: List[int], tree: str) -> Bare:
    """The restore, with as many changing commands as are allowed before the power fails."""

    def execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[0] == "zfs" and argv[1] in ("set", "inherit", "create", "rename"):
            allowed[0] -= 1
            if allowed[0] < 0:
                raise Cut
        return stage.machine.execute(argv, stdin)

    return Bare(Runner(execute), described(), Record("0123abcd", HOST, "daily.0", "vault", "web-1", 1), tree)


def attempt(stage: Stage, commands: int, tree: str) -> bool:
    """Make, fill and finish, from wherever the last one came to; whether that was the end."""
    allowed = [commands]
    restore = bare(stage, allowed, tree)
    try:
        restore.make([], {})
        stage.write(TOP + "/cfg", "rc.conf", 'hostname="web-1"\n')
        stage.write(TOP + "/var", "data", "old\n")
        restore.finish(Journal(), 1, [])
    except Cut:
        return False
    return True


def test_only_a_host_that_is_complete_comes_up(stage: Stage, tmp_path: Any) -> None:
    stage.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "raidz", *stage.data)
    stage.remember(guid=stage.guid())
    done, commands = False, 1
    while not done:
        done = attempt(stage, commands, str(tmp_path / "tree"))
        up = stage.boot()
        if done:
            break
        assert is_recovery(up), (commands, up.console)
        assert "nanozfs" in up.reason
        commands += 2
        assert commands < 60
    assert commands >= 8, "too few commands were cut"
    assert is_itself(up), up.console
    assert stage.command("zfs", "get", "-H", "-o", "value", "readonly", "tank/srv").strip() == "on"
