# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the model's pools do beyond what they print: contents, disks that go and come, space that runs out."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import plan
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

MIB = 1 << 20
HOSTID = 0xA8251093


class Recording(Kernel):
    """A kernel that remembers what it was asked to mount."""

    def __init__(self) -> None:
        self.calls: List[Tuple[Any, ...]] = []

    def bind(self, source: str, target: str, readonly: bool) -> None:
        self.calls.append(("bind", source, target, readonly))

    def remount(self, target: str, readonly: bool) -> None:
        self.calls.append(("remount", target, readonly))

    def unmount(self, target: str, force: bool) -> bool:
        self.calls.append(("unmount", target))
        return True


class Host:
    """A machine, and short ways to say things to it."""

    def __init__(self, machine: Machine, kernel: Recording) -> None:
        self.machine = machine
        self.kernel = kernel

    @classmethod
    def create(cls, folder: str, shelf: str, disks: Sequence[str] = ("ada1", "ada2", "ada3")) -> Host:
        kernel = Recording()
        machine = Machine.create(folder, shelf, kernel)
        for name in disks:
            machine.add_disk(name, 512 * MIB)
        host = cls(machine, kernel)
        host.boot(HOSTID)
        return host

    def boot(self, hostid: int) -> None:
        """Lose power and start again."""
        with self.machine.locked() as machine:
            machine.start({}, hostid)
            machine.running["sysctl"]["kern.hostname"] = "alpha"

    def ok(self, command: str) -> str:
        """Run a command that must succeed; what it prints."""
        output = self.machine.run(command.split(" "))
        assert output.rc == 0, (command, output)
        return output.out

    def no(self, command: str) -> str:
        """Run a command that must fail; its message."""
        output = self.machine.run(command.split(" "))
        assert output.rc != 0, (command, output)
        return output.err

    def path(self, dataset: str, name: str = "") -> str:
        self.machine.load()
        folder = pools.folder(self.machine, dataset)
        return os.path.join(folder, name) if name else folder

    def write(self, dataset: str, name: str, content: str) -> None:
        with open(self.path(dataset, name), "w", encoding="utf-8") as file:
            file.write(content)

    def read(self, dataset: str, name: str) -> str:
        with open(self.path(dataset, name), encoding="utf-8") as file:
            return file.read()

    def value(self, key: str, name: str) -> str:
        return self.ok("zfs get -Hp -o value {0} {1}".format(key, name)).rstrip("\n")

    def names(self, kinds: str = "filesystem") -> List[str]:
        return self.ok("zfs list -H -t {0} -o name".format(kinds)).split()

    def pull(self, name: str) -> Dict[str, Any]:
        self.machine.load()
        return self.machine.remove_disk(name)

    def plug(self, disk: Dict[str, Any], name: Optional[str] = None) -> None:
        self.machine.load()
        self.machine.attach_disk(disk, name)


@pytest.fixture
def host(tmp_path: Any) -> Host:
    """A host with a raidz pool."""
    host = Host.create(str(tmp_path / "host"), str(tmp_path / "shelf"))
    host.ok("zpool create -o cachefile=none -O mountpoint=none tank raidz ada1 ada2 ada3")
    return host


# contents


def _furnish(folder: str) -> None:
    os.makedirs(os.path.join(folder, "sub", "empty"))
    for name, mode in (("plain", 0o644), ("secret", 0o600), ("tool", 0o4755)):
        with open(os.path.join(folder, "sub", name), "w", encoding="utf-8") as file:
            file.write(name)
        os.chmod(os.path.join(folder, "sub", name), mode)
    os.symlink("/nowhere", os.path.join(folder, "link"))
    os.link(os.path.join(folder, "sub", "plain"), os.path.join(folder, "second"))
    with open(os.path.join(folder, "holes"), "wb") as holes:
        holes.truncate(8 * MIB)
    if os.geteuid() == 0:
        os.lchown(os.path.join(folder, "link"), 12, 34)
        os.chown(os.path.join(folder, "sub", "secret"), 12, 34)
    os.utime(os.path.join(folder, "sub"), ns=(1, 1_000_000_007))


def _look(folder: str) -> Dict[str, Tuple[Any, ...]]:
    found = {}
    for top, directories, files in os.walk(folder):
        for name in directories + files + [""]:
            path = os.path.join(top, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
            found[os.path.relpath(path, folder)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                target,
                content,
            )
    return found


def test_rollback_brings_everything_back(host: Host) -> None:
    host.ok("zfs create tank/data")
    folder = host.path("tank/data")
    _furnish(folder)
    before, inode = _look(folder), os.stat(folder).st_ino
    host.ok("zfs snapshot tank/data@s")
    assert host.value("written", "tank/data") == "0"
    shutil.rmtree(os.path.join(folder, "sub"))
    os.unlink(os.path.join(folder, "link"))
    host.write("tank/data", "new", "new")
    assert host.value("written", "tank/data") != "0"
    host.ok("zfs rollback tank/data@s")
    assert _look(folder) == before
    assert os.stat(folder).st_ino == inode
    assert os.stat(os.path.join(folder, "second")).st_nlink == 2
    assert os.stat(os.path.join(folder, "holes")).st_blocks * 512 < MIB
    assert host.value("written", "tank/data") == "0"


def test_rollback_keeps_mountpoints_and_mounts(host: Host) -> None:
    host.ok("zfs create -o mountpoint=/data tank/data")
    host.ok("zfs snapshot tank/data@s")
    mounts = host.ok("mount -p")
    host.write("tank/data", "new", "new")
    host.ok("zfs rollback tank/data@s")
    assert host.ok("mount -p") == mounts
    assert os.listdir(host.path("tank/data")) == []


def test_clones_and_snapshots_are_apart(host: Host) -> None:
    host.ok("zfs create tank/a")
    host.write("tank/a", "f", "one")
    host.ok("zfs snapshot tank/a@s")
    host.ok("zfs clone tank/a@s tank/b")
    host.write("tank/b", "f", "two")
    host.write("tank/a", "f", "three")
    assert (host.read("tank/a", "f"), host.read("tank/b", "f")) == ("three", "two")
    host.ok("zfs promote tank/b")
    assert host.names("snapshot") == ["tank/b@s"]
    assert host.value("origin", "tank/a") == "tank/b@s"
    host.ok("zfs rollback tank/b@s")
    assert host.read("tank/b", "f") == "one"
    assert host.no("zfs rollback tank/a@s") == "cannot open 'tank/a@s': dataset does not exist\n"
    host.ok("zfs destroy tank/a")
    host.ok("zfs destroy -r tank/b")
    assert host.names() == ["tank"]


def test_rename_takes_the_subtree_along(host: Host) -> None:
    host.ok("zfs create -p tank/a/b/c")
    host.write("tank/a/b/c", "f", "here")
    host.ok("zfs snapshot -r tank/a@s")
    host.ok("zfs create tank/x")
    host.ok("zfs rename tank/a tank/x/y")
    assert host.names() == ["tank", "tank/x", "tank/x/y", "tank/x/y/b", "tank/x/y/b/c"]
    assert host.names("snapshot") == ["tank/x/y@s", "tank/x/y/b@s", "tank/x/y/b/c@s"]
    assert host.read("tank/x/y/b/c", "f") == "here"


def test_what_a_killed_command_left_is_not_taken_over(host: Host) -> None:
    host.ok("zfs create tank/a")
    pool = pools.Pools(host.machine).by_name("tank")
    assert pool is not None
    stray = pool.path("snap", str(pool.record["next"]))
    os.makedirs(os.path.join(stray, "half"))
    host.ok("zfs snapshot tank/a@s")
    host.write("tank/a", "f", "x")
    host.ok("zfs rollback tank/a@s")
    assert os.listdir(host.path("tank/a")) == []


def test_a_change_within_a_clock_tick_is_seen(host: Host) -> None:
    host.ok("zfs create tank/a")
    host.write("tank/a", "f", "old")
    status = os.stat(host.path("tank/a", "f"))
    host.ok("zfs snapshot tank/a@s")
    host.write("tank/a", "f", "new")
    os.utime(host.path("tank/a", "f"), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert host.value("written@s", "tank/a") != "0"


# plans


ASIDE, LEFTOVER = "tank/nanozfs/failed/0001", "tank/nanozfs/undone/0001"
VAR = "tank/nanozfs/var"


class Cut(Exception):
    """The power fails."""


def _cut_after(machine: Machine, commands: int) -> Callable[[Sequence[str], Optional[str]], Tuple[int, str, str]]:
    """Run commands until so many of them have changed something, then no more."""
    left = [commands]

    def execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[1] in ("create", "inherit", "rename", "clone", "promote", "set"):
            if not left[0]:
                raise Cut
            left[0] -= 1
        return machine.execute(argv, stdin)

    return execute


@pytest.fixture
def before(tmp_path: Any) -> Host:
    """A host as it is when an upgrade is to be taken back: a snapshot, and what was written since."""
    host = Host.create(str(tmp_path / "base" / "host"), str(tmp_path / "base" / "shelf"))
    host.ok("zpool create -o cachefile=none -O mountpoint=none tank raidz ada1 ada2 ada3")
    host.ok("zfs create -o canmount=off tank/nanozfs")
    host.ok("zfs create -o mountpoint=legacy tank/nanozfs/cfg")
    host.ok("zfs create -o mountpoint=legacy -o compression=lz4 " + VAR)
    host.ok("zfs create -o nanozfs:rollback=keep {0}/log".format(VAR))
    host.ok("zfs create {0}/db".format(VAR))
    host.ok("zfs create -o quota=64m {0}/db/mail".format(VAR))
    for dataset in (VAR, VAR + "/log", VAR + "/db", VAR + "/db/mail"):
        host.write(dataset, "f", "old")
    host.ok("zfs snapshot -r tank/nanozfs@nz-1")
    host.ok("zfs hold -r nanozfs tank/nanozfs@nz-1")
    for dataset in (VAR, VAR + "/log", VAR + "/db", VAR + "/db/mail"):
        host.write(dataset, "f", "new")
    host.ok("zfs create {0}/later".format(VAR))
    host.write(VAR + "/later", "f", "later")
    return host


def _again(host: Host, folder: str) -> Host:
    """The same host once more, to do something else with it."""
    shutil.copytree(os.path.dirname(host.machine.home), folder, symlinks=True)
    kernel = Recording()
    machine = Machine(os.path.join(folder, "host"), os.path.join(folder, "shelf"), kernel)
    machine.load()
    return Host(machine, kernel)


def _restart(host: Host) -> None:
    """Start again after a power cut and import the pool as the early hook does."""
    host.boot(0)
    host.ok("zpool import -f -N -o cachefile=none tank")


def _zfs(host: Host) -> Zfs:
    return Zfs(Runner(host.machine.execute))


def _branches(host: Host) -> List[plan.Branch]:
    return [plan.branch_of(_zfs(host), VAR, "nz-1")]


def _state(host: Host) -> Dict[str, Any]:
    """Everything about the datasets that a person could see, but for guids and times."""
    found: Dict[str, Any] = {}
    for name in host.names():
        local = host.ok("zfs get -Hp -o property,value -s local all " + name)
        content = {each: host.read(name, each) for each in sorted(os.listdir(host.path(name)))}
        found[name] = (local, host.value("origin", name), content)
    rows = host.ok("zfs list -H -t snapshot -o name,userrefs").splitlines()
    found["snapshots"] = rows
    return found


def _contents(host: Host, top: str) -> Dict[str, str]:
    return {
        name[len(top) :]: host.read(name, "f") for name in host.names() if name == top or name.startswith(top + "/")
    }


def test_put_back_and_undo(before: Host) -> None:
    at_first = _contents(before, VAR)
    branches = _branches(before)
    steps = plan.put_back(branches, "nz-1", ASIDE)
    assert plan.perform(_zfs(before), steps) == len(steps)
    assert _contents(before, VAR) == {"": "old", "/db": "old", "/db/mail": "old", "/log": "new"}
    assert _contents(before, ASIDE + "/var") == {"": "new", "/db": "new", "/db/mail": "new", "/later": "later"}
    assert before.value("quota", VAR + "/db/mail") == str(64 * MIB)
    assert before.value("origin", ASIDE + "/var") == VAR + "@nz-1"
    assert before.value("userrefs", VAR + "@nz-1") == "1"
    assert before.value("nanozfs:rollback", VAR + "/log") == "keep"
    assert plan.perform(_zfs(before), steps) == 0
    back = plan.undo(branches, "nz-1", ASIDE, LEFTOVER)
    predicted = Runner(before.machine.execute, check_mode=True)
    plan.perform(Zfs(predicted), back)
    really = Runner(before.machine.execute)
    plan.perform(Zfs(really), back)
    assert predicted.actions == really.actions
    assert _contents(before, VAR) == at_first
    assert plan.perform(_zfs(before), back) == 0


def _commands(host: Host, steps: Sequence[plan.Step]) -> int:
    """Do a plan; how many commands changed something."""
    runner = Runner(host.machine.execute)
    plan.perform(Zfs(runner), steps)
    return len(runner.actions)


def test_put_back_after_every_cut(before: Host, tmp_path: Any) -> None:
    steps = plan.put_back(_branches(before), "nz-1", ASIDE)
    whole = _again(before, str(tmp_path / "whole"))
    total = _commands(whole, steps)
    _restart(whole)
    expected = _state(whole)
    for commands in range(total):
        host = _again(before, str(tmp_path / "cut{0}".format(commands)))
        with pytest.raises(Cut):
            plan.perform(Zfs(Runner(_cut_after(host.machine, commands))), steps)
        _restart(host)
        assert _commands(host, steps) == total - commands
        assert _state(host) == expected, commands


def test_undo_after_every_cut(before: Host, tmp_path: Any) -> None:
    """Whatever point putting back reached, undoing it gives what was there; also when it is cut off itself."""
    branches = _branches(before)
    forth = plan.put_back(branches, "nz-1", ASIDE)
    back = plan.undo(branches, "nz-1", ASIDE, LEFTOVER)
    at_first = _state(before)
    whole = _again(before, str(tmp_path / "whole"))
    total, undoing = _commands(whole, forth), _commands(whole, back)
    for reached in range(total + 1):
        half = _again(before, str(tmp_path / "half{0}".format(reached)))
        with suppress(Cut):
            plan.perform(Zfs(Runner(_cut_after(half.machine, reached))), forth)
        for commands in range(reached % 3, undoing, 3):
            host = _again(half, str(tmp_path / "half{0}cut{1}".format(reached, commands)))
            try:
                plan.perform(Zfs(Runner(_cut_after(host.machine, commands))), back)
            except Cut:
                _restart(host)
                plan.perform(_zfs(host), back)
            now = _state(host)
            for name, was in at_first.items():
                if name != "snapshots":
                    assert now[name] == was, (reached, commands)
            assert not [name for name in host.names() if name.startswith(ASIDE + "/")], (reached, commands)


# mounts


def test_legacy_mounts(host: Host) -> None:
    host.ok("zfs create -o mountpoint=legacy tank/var")
    assert host.no("mount -t zfs tank/none /var") == "mount: tank/none: No such file or directory\n"
    host.ok("mount -t zfs tank/var /var")
    assert host.kernel.calls[-1] == ("bind", host.path("tank/var"), "/var", False)
    assert host.no("mount -t zfs tank/var /elsewhere") == "mount: tank/var: Device busy\n"
    assert host.no("zfs mount tank/var") == (
        "cannot mount 'tank/var': legacy mountpoint\nuse mount(8) to mount this filesystem\n"
    )
    assert host.value("mounted", "tank/var") == "yes"
    host.ok("zfs create tank/var/log")
    host.ok("mount -t zfs -o ro tank/var/log /var/log")
    assert host.ok("zfs get -H -o value,source readonly tank/var/log") == "on\ttemporary\n"
    assert host.no("umount /var") == "umount: unmount of /var failed: Device busy\n"
    host.ok("zfs rename tank/var tank/old")
    assert host.ok("mount -p").splitlines()[-1] == "tank/old/log\t\t/var/log\t\tzfs\tro,nfsv4acls \t0 0"
    host.ok("umount /var/log")
    host.ok("umount tank/old")
    assert host.ok("mount -p") == ""


def test_mounts_follow_properties(host: Host) -> None:
    host.ok("zfs create -o mountpoint=/srv tank/srv")
    host.ok("zfs create tank/srv/web")
    calls = host.kernel.calls
    del calls[:]
    host.ok("zfs set readonly=on tank/srv")
    assert calls == [("remount", "/srv", True), ("remount", "/srv/web", True)]
    del calls[:]
    host.ok("zfs set mountpoint=/web tank/srv")
    web, srv = host.path("tank/srv/web"), host.path("tank/srv")
    assert calls == [
        ("unmount", "/srv/web"),
        ("unmount", "/srv"),
        ("bind", srv, "/web", True),
        ("bind", web, "/web/web", True),
    ]
    host.ok("zfs set mountpoint=none tank/srv")
    assert host.ok("zfs mount") == ""
    host.ok("zpool export tank")
    host.ok("zpool import -o cachefile=none -R /mnt tank")
    host.ok("zfs inherit mountpoint tank/srv")
    host.ok("zfs set mountpoint=/srv tank/srv")
    assert host.ok("zfs mount").split() == ["tank/srv", "/mnt/srv", "tank/srv/web", "/mnt/srv/web"]


def test_a_snapshot_can_be_mounted(host: Host) -> None:
    host.ok("zfs create -o mountpoint=legacy tank/a")
    host.write("tank/a", "f", "then")
    host.ok("zfs snapshot tank/a@s")
    host.ok("mount -t zfs tank/a@s /mnt")
    source = host.kernel.calls[-1][1]
    with open(os.path.join(source, "f"), encoding="utf-8") as file:
        assert file.read() == "then"
    host.ok("umount /mnt")


# properties


def test_set_is_all_or_nothing(host: Host) -> None:
    host.ok("zfs set nanozfs:phase=armed nanozfs:reason= tank")
    assert host.ok("zfs get -H -o property,value -s local all tank") == (
        "mountpoint\tnone\nnanozfs:phase\tarmed\nnanozfs:reason\t\n"
    )
    message = host.no("zfs set nanozfs:phase=trial compression=none tank")
    assert message.startswith("cannot set property for 'tank': 'compression' must be one of")
    assert host.value("nanozfs:phase", "tank") == "armed"
    host.ok("zfs inherit nanozfs:reason tank")
    assert host.value("nanozfs:reason", "tank") == "-"


def test_a_value_that_is_too_long_does_not_keep_the_others_back(host: Host) -> None:
    """As the kernel does it: zfs_set_prop_nvlist sets as many as it can."""
    host.ok("zfs set a:b={0} tank".format(8191 * "x"))
    message = host.no("zfs set a:b={0} a:c=1 tank".format(8192 * "x"))
    assert message == "cannot set property for 'tank': property value too long\n"
    assert (len(host.value("a:b", "tank")), host.value("a:c", "tank")) == (8191, "1")


def test_user_properties_are_inherited_by_snapshots(host: Host) -> None:
    host.ok("zfs create -o a:b=above tank/a")
    host.ok("zfs snapshot -o a:c=own tank/a@s")
    rows = host.ok("zfs get -H -o property,value,source a:b,a:c tank/a@s").splitlines()
    assert rows == ["a:b\tabove\tinherited from tank/a", "a:c\town\tlocal"]


# disks


def test_pulling_disks_of_an_imported_pool(host: Host) -> None:
    first = host.pull("ada3")
    assert host.ok("zpool list -H -o health").strip() == "DEGRADED"
    assert "    ada3    REMOVED      0     0     0\n" in host.ok("zpool status tank")
    host.ok("zfs create tank/a")
    host.plug(first)
    assert "REMOVED" in host.ok("zpool status tank")
    host.ok("zpool online tank ada3")
    assert host.ok("zpool status -x") == "all pools are healthy\n"
    host.pull("ada2")
    assert host.ok("zpool list -H -o health").strip() == "DEGRADED"
    host.pull("ada3")
    assert host.ok("zpool list -H -o health").strip() == "SUSPENDED"
    assert host.no("zfs create tank/b") == "cannot create 'tank/b': pool I/O is currently suspended\n"
    assert host.no("zfs set a:b=c tank") == "cannot set property for 'tank': pool I/O is currently suspended\n"


def test_openers_of_an_imported_pool(host: Host) -> None:
    host.machine.add_disk("ada0", 64 * MIB, table=True)
    confxml = host.ok("sysctl -n kern.geom.confxml")
    assert confxml.count("<name>zfs::vdev</name>") == 3
    host.pull("ada2")
    host.ok("zpool list")
    assert host.ok("sysctl -n kern.geom.confxml").count("<name>zfs::vdev</name>") == 2
    host.ok("zpool export tank")
    assert "zfs::vdev" not in host.ok("sysctl -n kern.geom.confxml")


def test_moving_a_pool_to_another_machine(host: Host, tmp_path: Any) -> None:
    other = Host.create(str(tmp_path / "other"), str(tmp_path / "shelf"), ["da0"])
    other.boot(0x1234)
    host.ok("zfs create tank/data")
    host.write("tank/data", "f", "moved")
    guid = host.ok("zpool list -H -o guid").strip()
    host.boot(HOSTID)
    for number, name in enumerate(("ada1", "ada2", "ada3"), start=1):
        other.plug(host.pull(name), "da{0}".format(number))
    assert host.machine.run(["zpool", "import"]).err == "no pools available to import\n"
    assert "last accessed by another system" in other.ok("zpool import")
    message = other.no("zpool import -N tank")
    assert message.startswith(
        "cannot import 'tank': pool was previously in use from another system.\n"
        "Last accessed by alpha (hostid={0:x}) at ".format(HOSTID)
    )
    other.ok("zpool import -f -N -o cachefile=none " + guid)
    assert other.read("tank/data", "f") == "moved"
    assert "    da1     ONLINE" in other.ok("zpool status")
    assert "    hostid: {0}\n".format(0x1234) in other.ok("zdb -l /dev/da1")
    other.ok("zpool export tank")
    for number in (1, 2):
        host.plug(other.pull("da{0}".format(number)), "ada{0}".format(number))
    host.ok("zpool import -N -o cachefile=none tank")
    assert host.ok("zpool list -H -o health").strip() == "DEGRADED"
    assert host.read("tank/data", "f") == "moved"


def test_a_pool_of_a_host_without_hostid(host: Host, tmp_path: Any) -> None:
    """The early hook imports while the hostid is 0; the label has none then.

    It is never listed as in use elsewhere, and the same host imports it again. One with a hostid needs -f all the same:
    zpool compares its hostid with the 0 of the label (zfs_force_import_required).
    """
    host.ok("zpool export tank")
    host.boot(0)
    host.ok("zpool import -f -N -o cachefile=none tank")
    host.boot(0)
    assert "another system" not in host.ok("zpool import")
    host.ok("zpool import -N -o cachefile=none tank")
    assert "hostid" not in host.ok("zdb -l /dev/ada1")
    host.boot(HOSTID)
    assert "another system" not in host.ok("zpool import")
    assert "Last accessed by alpha (hostid=0) at " in host.no("zpool import -N tank")


def test_readonly_import_writes_nothing(host: Host) -> None:
    host.ok("zpool export tank")
    label = host.ok("zdb -l /dev/ada1")
    host.ok("zpool import -N -o readonly=on -o cachefile=none tank other")
    assert host.no("zfs create other/a") == "cannot create 'other/a': pool is read-only\n"
    host.boot(HOSTID)
    assert host.ok("zdb -l /dev/ada1") == label


# space


def test_used_and_written(host: Host) -> None:
    base = 31372
    host.ok("zfs create tank/a")
    for name in ("one", "two"):
        host.write("tank/a", name, MIB * name[0])
    one = (int(host.value("referenced", "tank/a")) - base) // 2
    assert MIB <= one < MIB * 1.02
    host.ok("zfs snapshot tank/a@s")
    os.unlink(host.path("tank/a", "two"))
    assert host.value("referenced", "tank/a") == str(base + one)
    assert host.value("used", "tank/a@s") == str(base + one)
    assert host.value("used", "tank/a") == str(2 * base + 2 * one)
    assert host.value("written", "tank/a") == str(base)
    host.ok("zfs clone tank/a@s tank/b")
    assert host.value("used", "tank/b") == "0"
    host.write("tank/b", "three", MIB * "3")
    assert host.value("used", "tank/b") == str(base + one)
    assert host.value("written@s", "tank/a") == str(base)
    host.ok("zfs promote tank/b")
    assert host.value("used", "tank/a") == str(base)
    assert host.value("used", "tank/b") == str(2 * base + 3 * one)


def test_full_pool(host: Host) -> None:
    """What zfs can still do is a matter of the slop: some changes must leave all of it, some half, some a quarter."""
    host.ok("zfs create tank/a")
    host.ok("zfs snapshot tank/a@s")
    pools.fill(host.machine, "tank", 0)
    assert host.value("available", "tank/a") == "0"
    assert host.no("zfs create tank/b") == "cannot create 'tank/b': out of space\n"
    assert host.no("zfs clone tank/a@s tank/b") == "cannot create 'tank/b': out of space\n"
    assert host.no("zfs snapshot tank/a@t") == "cannot create snapshots : out of space\n"
    assert host.no("zfs snapshot -r tank@t") == "cannot create snapshots : out of space\nno snapshots were created\n"
    host.ok("zfs set nanozfs:phase=reverting tank")
    host.ok("zfs rename tank/a tank/c")
    host.ok("zfs rollback tank/c@s")
    pools.fill(host.machine, "tank", -80 * MIB)
    message = "cannot set property for 'tank': out of space\n"
    assert host.no("zfs set nanozfs:phase=reverted a:b=c tank") == 2 * message
    assert host.value("nanozfs:phase", "tank") == "reverting"
    assert host.no("zfs rename tank/c tank/a") == "cannot rename 'tank/c': out of space\n"
    assert host.no("zfs hold x tank/c@s") == "cannot hold: out of space\n"
    host.ok("zfs destroy tank/c@s")
    pools.fill(host.machine, "tank", MIB)
    host.ok("zfs create tank/b")


def test_a_reservation_is_room_for_later(host: Host) -> None:
    host.ok("zfs create -o reservation=8m tank/spare")
    host.ok("zfs create tank/a")
    host.ok("zfs snapshot tank/a@s")
    pools.fill(host.machine, "tank", 0)
    assert host.value("available", "tank/a") == "0"
    assert host.no("zfs clone tank/a@s tank/b") == "cannot create 'tank/b': out of space\n"
    host.ok("zfs set reservation=none tank/spare")
    host.ok("zfs clone tank/a@s tank/b")


def test_recursive_hold_is_all_or_nothing(host: Host) -> None:
    host.ok("zfs create tank/a")
    host.ok("zfs snapshot -r tank@s")
    host.ok("zfs hold x tank/a@s")
    assert host.no("zfs hold -r x tank@s") == ("cannot hold snapshot 'tank/a@s': tag already exists on this dataset\n")
    assert host.value("userrefs", "tank@s") == "0"


def test_full_dataset(host: Host) -> None:
    host.ok("zfs create -o quota=1m tank/a")
    host.write("tank/a", "f", MIB * "x")
    assert host.value("available", "tank/a") == "0"
    assert int(host.value("available", "tank")) > 0
    host.ok("zfs snapshot tank/a@s")
    assert host.no("zfs set quota=512k tank/a") == (
        "cannot set property for 'tank/a': size is less than current used or reserved space\n"
    )
    host.ok("zfs set quota=none tank/a")
    assert int(host.value("available", "tank/a")) > 0
