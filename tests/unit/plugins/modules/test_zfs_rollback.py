# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_rollback: both ways, what they cost, and going on after a cut."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

DATA = "tank/nanozfs/var"
ASIDE = "tank/aside/1"


@pytest.fixture
def host(pooled: ModuleHost) -> ModuleHost:
    """A snapshot of /var and what is below it; then everything was written to once more."""
    for name in ("", "/db", "/log"):
        pooled.write(DATA + name, "f", "old")
    pooled.command("zfs", "snapshot", "-r", DATA + "@s")
    for name in ("", "/db", "/log"):
        pooled.write(DATA + name, "f", "new")
    return pooled


def files(host: ModuleHost, top: str = DATA) -> List[Any]:
    return [host.read(top + name, "f") for name in ("", "/db", "/log")]


class TestInPlace:
    def test_one_dataset(self, host: ModuleHost) -> None:
        result = host.same_in_check_mode("zfs_rollback", snapshot=DATA + "@s")
        assert result["actions"] == ["zfs rollback {0}@s".format(DATA)]
        assert result["would_destroy"][0]["written"] > 0
        assert files(host) == ["old", "new", "new"]
        assert not host.same_in_check_mode("zfs_rollback", snapshot=DATA + "@s")["changed"]

    def test_all_below(self, host: ModuleHost) -> None:
        result = host.same_in_check_mode("zfs_rollback", snapshot=DATA + "@s", recursive=True)
        assert files(host) == ["old", "old", "old"] and len(result["actions"]) == 3
        assert not host.ok("zfs_rollback", snapshot=DATA + "@s", recursive=True)["changed"]

    def test_by_guid(self, host: ModuleHost) -> None:
        guid = host.command("zfs", "get", "-Hp", "-o", "value", "guid", DATA + "@s").strip()
        message = host.refused("zfs_rollback", snapshot=DATA + "@s", guid="123")
        assert "has guid {0}, not 123: it is another snapshot of the same name".format(guid) in message
        assert host.ok("zfs_rollback", snapshot=DATA + "@s", guid=guid)["changed"]

    def test_newer_snapshots_and_bookmarks(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", DATA + "@later")
        host.command("zfs", "bookmark", DATA + "@later", DATA + "#mark")
        message = host.refused("zfs_rollback", snapshot=DATA + "@s")
        assert "destroys what is newer: {0}@later, {0}#mark".format(DATA) in message and "method=clone" in message
        result = host.same_in_check_mode("zfs_rollback", snapshot=DATA + "@s", destroy_newer=True)
        assert result["would_destroy"][0]["snapshots"] == [DATA + "@later"]
        assert host.names("snapshot,bookmark") == [DATA + "@s", DATA + "/db@s", DATA + "/log@s"]

    def test_clones_must_be_named(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", DATA + "@later")
        host.command("zfs", "clone", DATA + "@later", "tank/copy")
        host.command("zfs", "create", "tank/copy/below")
        arguments: Dict[str, Any] = {"snapshot": DATA + "@s", "destroy_newer": True}
        message = host.refused("zfs_rollback", destroy_clones=["tank/copy"], **arguments)
        assert "cloned from newer snapshots: tank/copy/below" in message
        host.ok("zfs_rollback", destroy_clones=["tank/copy", "tank/copy/below"], **arguments)
        assert "tank/copy" not in host.names("filesystem")

    def test_holds_are_respected(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", DATA + "@later")
        host.command("zfs", "hold", "backup", DATA + "@later")
        message = host.refused("zfs_rollback", snapshot=DATA + "@s", destroy_newer=True)
        assert "snapshots that are held: {0}@later".format(DATA) in message

    def test_all_are_looked_at_before_the_first_is_touched(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", DATA + "/log@later")
        assert DATA + "/log@later" in host.refused("zfs_rollback", snapshot=DATA + "@s", recursive=True)
        assert files(host) == ["new", "new", "new"]

    def test_mounted(self, host: ModuleHost) -> None:
        host.command("mount", "-t", "zfs", DATA, "/var")
        assert "is mounted" in host.refused("zfs_rollback", snapshot=DATA + "@s")
        assert host.ok("zfs_rollback", snapshot=DATA + "@s", allow_mounted=True)["changed"]

    @pytest.mark.parametrize("name", [DATA + "@none", "tank/none@s", DATA, DATA + "@s@s"])
    def test_nonsense(self, host: ModuleHost, name: str) -> None:
        assert "nothing was changed" in host.refused("zfs_rollback", snapshot=name)


class TestByClone:
    ARGUMENTS: ClassVar[Dict[str, Any]] = {"snapshot": DATA + "@s", "method": "clone", "aside": ASIDE}

    def test_nothing_is_lost(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", DATA + "@later")
        host.command("zfs", "hold", "backup", DATA + "@later")
        result = host.same_in_check_mode("zfs_rollback", **self.ARGUMENTS)
        guid = host.command("zfs", "get", "-Hp", "-o", "value", "guid", ASIDE + "/var").strip()
        assert result["plan"][:2] == ["create " + ASIDE, "rename {0} {1} {2}/var".format(guid, DATA, ASIDE)]
        assert files(host) == ["old", "old", "new"], "log is to be kept"
        assert [host.read(ASIDE + "/var" + name, "f") for name in ("", "/db")] == ["new", "new"]
        assert ASIDE + "/var@later" in host.names("snapshot")
        assert host.command("zfs", "get", "-H", "-o", "value", "mountpoint", DATA).strip() == "legacy"
        assert not host.same_in_check_mode("zfs_rollback", **self.ARGUMENTS)["changed"]

    def test_nothing_to_do(self, host: ModuleHost) -> None:
        host.command("zfs", "snapshot", "-r", DATA + "@t")
        result = host.same_in_check_mode("zfs_rollback", **dict(self.ARGUMENTS, snapshot=DATA + "@t"))
        assert not result["changed"] and result["plan"] == []

    def test_mounted(self, host: ModuleHost) -> None:
        host.command("mount", "-t", "zfs", DATA + "/db", "/var/db")
        assert "mounted: {0}/db".format(DATA) in host.refused("zfs_rollback", **self.ARGUMENTS)

    def test_a_mountpoint_of_its_own(self, host: ModuleHost) -> None:
        host.command("zfs", "set", "mountpoint=/db", DATA + "/db")
        host.command("zfs", "unmount", DATA + "/db")
        message = host.refused("zfs_rollback", **self.ARGUMENTS)
        assert "mountpoint of its own (/db)" in message and "mountpoint=legacy" in message

    def test_goes_on_after_every_cut(self, host: ModuleHost) -> None:
        """The commands fail from some point on, as they do when the connection or the power goes."""
        execute = host.machine.run
        total = len(host.ok("zfs_rollback", check=True, **self.ARGUMENTS)["actions"])
        for cut in range(total):
            left = 1

            def cutting(argv: Any, stdin: Any = None) -> Any:
                nonlocal left
                changing = argv[0] == "zfs" and argv[1] in ("create", "rename", "clone", "promote", "set")
                if changing and not left:
                    return execute(["zfs", "nosuch"])
                left -= changing
                return execute(argv, stdin)

            host.monkeypatch.setattr(host.machine, "run", cutting)
            result = host.run("zfs_rollback", **self.ARGUMENTS)
            host.monkeypatch.setattr(host.machine, "run", execute)
            assert result["failed"] == (cut < total - 1), (cut, result)
        assert files(host) == ["old", "old", "new"]
        assert not host.ok("zfs_rollback", **self.ARGUMENTS)["changed"]

    def test_guid(self, host: ModuleHost) -> None:
        assert "not 123" in host.refused("zfs_rollback", guid="123", **self.ARGUMENTS)

    def test_aside_of_another_rollback(self, host: ModuleHost) -> None:
        host.ok("zfs_rollback", **self.ARGUMENTS)
        host.command("zfs", "snapshot", "-r", DATA + "@t")
        host.write(DATA, "file", "newer")
        message = host.refused("zfs_rollback", **dict(self.ARGUMENTS, snapshot=DATA + "@t"))
        assert "is there already, from another rollback" in message and "under another name" in message
        assert host.ok("zfs_rollback", **dict(self.ARGUMENTS, snapshot=DATA + "@t", aside=ASIDE + "-t"))["changed"]

    def test_aside_is_needed_and_checked(self, host: ModuleHost) -> None:
        assert "aside" in host.refused("zfs_rollback", snapshot=DATA + "@s", method="clone")
        message = host.refused("zfs_rollback", snapshot=DATA + "@s", method="clone", aside="-p")
        assert "no valid dataset name" in message
