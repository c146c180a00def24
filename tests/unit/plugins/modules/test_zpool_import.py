# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zpool_import: the states that a pool can be in, told apart; and the pool module that makes one."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost

ELSEWHERE = 0xA8251093


def crash(host: ModuleHost, hostid: int = ELSEWHERE) -> None:
    """Lose power with the pool imported by a host of that hostid; start again with another one."""
    host.machine.load()
    host.machine.running["sysctl"]["kern.hostid"] = str(hostid)
    host.machine.running["sysctl"]["kern.hostname"] = "web-9"
    host.machine.save()
    host.command("zpool", "export", "tank")
    host.command("zpool", "import", "-N", "-o", "cachefile=none", "tank")
    start(host)


def start(host: ModuleHost) -> None:
    """Switch on, past rc.d/hostid."""
    mounts = [each for each in host.machine.running["mounts"] if each["type"] != "zfs"]
    host.machine.start({"nanozfs.state": "normal"}, hostid=0x1234)
    host.machine.running["mounts"] = mounts
    host.machine.save()


def pull(host: ModuleHost, *disks: str) -> None:
    host.machine.load()
    for disk in disks:
        host.machine.remove_disk(disk)


def second_pool(host: ModuleHost) -> str:
    """Another pool that is named tank as well; its guid."""
    host.command("zpool", "export", "tank")
    host.machine.load()
    host.machine.add_disk("ada9", 512 * MIB)
    host.command("zpool", "create", "-o", "cachefile=none", "tank", "ada9")
    guid = host.command("zpool", "list", "-Hp", "-o", "guid", "tank").strip()
    host.command("zpool", "export", "tank")
    return guid


def guid_of(host: ModuleHost) -> str:
    return host.command("zpool", "list", "-Hp", "-o", "guid", "tank").strip()


def values(host: ModuleHost) -> Dict[str, str]:
    fields = "readonly,altroot,cachefile,health"
    row = host.command("zpool", "list", "-Hp", "-o", fields, "tank").rstrip("\n").split("\t")
    return dict(zip(fields.split(","), row))


class TestImport:
    def test_by_name(self, pooled: ModuleHost) -> None:
        guid = guid_of(pooled)
        pooled.command("zpool", "export", "tank")
        result = pooled.same_in_check_mode("zpool_import", name="tank")
        assert result["changed"] and result["pool"]["guid"] == guid and result["pool"]["health"] == "ONLINE"
        assert result["actions"] == ["zpool import -N -o cachefile=none " + guid]
        assert (result["diff"]["before"]["state"], result["diff"]["after"]["state"]) == ("exported", "imported")
        assert values(pooled)["cachefile"] == "none"
        assert "tank/nanozfs" not in pooled.command("mount", "-p")
        again = pooled.same_in_check_mode("zpool_import", name="tank")
        assert not again["changed"] and again["pool"]["guid"] == guid and again["actions"] == []

    def test_by_guid(self, pooled: ModuleHost) -> None:
        guid = guid_of(pooled)
        pooled.command("zpool", "export", "tank")
        assert pooled.ok("zpool_import", guid=guid)["pool"]["name"] == "tank"
        assert not pooled.ok("zpool_import", guid=guid, name="tank")["changed"]

    def test_guid_and_name_must_belong_together(self, pooled: ModuleHost) -> None:
        guid = guid_of(pooled)
        assert "12345" in pooled.refused("zpool_import", name="tank", guid="12345")
        pooled.command("zpool", "export", "tank")
        message = pooled.refused("zpool_import", name="tonk", guid=guid)
        assert "is named tank, not tonk" in message and "nothing was changed" in message

    def test_readonly_under_another_root(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        pooled.ok("zpool_import", name="tank", readonly=True, altroot="/mnt/look")
        assert values(pooled) == {"readonly": "on", "altroot": "/mnt/look", "cachefile": "none", "health": "ONLINE"}
        message = pooled.refused("zpool_import", name="tank")
        assert "read-only and under /mnt/look" in message and "state=exported" in message
        assert not pooled.ok("zpool_import", name="tank", readonly=True, altroot="/mnt/look")["changed"]

    def test_mount_and_cachefile(self, pooled: ModuleHost) -> None:
        pooled.command("zfs", "set", "mountpoint=/data", "tank/nanozfs/var/db")
        pooled.command("zpool", "export", "tank")
        result = pooled.ok("zpool_import", name="tank", mount=True, cachefile="/boot/other.cache")
        assert "-N" not in result["actions"][0].split()
        assert values(pooled)["cachefile"] == "/boot/other.cache"
        assert "\t/data\t" in pooled.command("mount", "-p")

    def test_search_dirs(self, pooled: ModuleHost, tmp_path: Any) -> None:
        pooled.command("zpool", "export", "tank")
        message = pooled.refused("zpool_import", name="tank", search_dirs=[str(tmp_path)])
        assert "there is no pool tank" in message
        result = pooled.ok("zpool_import", name="tank", search_dirs=["/dev"])
        assert "-d /dev" in result["actions"][0]

    def test_degraded_is_imported(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        pull(pooled, "ada3")
        assert pooled.ok("zpool_import", name="tank")["pool"]["health"] == "DEGRADED"


class TestNotImportable:
    def test_absent(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        message = pooled.refused("zpool_import", name="tonk")
        assert "there is no pool tonk to import; there is: tank (guid" in message
        assert "camcontrol devlist" in message

    def test_faulted(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        pull(pooled, "ada2", "ada3")
        message = pooled.refused("zpool_import", name="tank")
        assert "cannot be imported: One or more devices are missing from the system" in message
        assert "nothing was written to it" in message and "Attach the missing devices" in message

    def test_two_pools_of_one_name(self, pooled: ModuleHost) -> None:
        guid = guid_of(pooled)
        other = second_pool(pooled)
        message = pooled.refused("zpool_import", name="tank")
        assert "there are 2 pools named tank" in message and guid in message and other in message
        assert "none of them was imported" in message
        assert sorted(pooled.run("zpool_import", name="tank")["guids"]) == sorted([guid, other])
        assert pooled.ok("zpool_import", guid=other)["pool"]["guid"] == other

    def test_in_use_elsewhere(self, pooled: ModuleHost) -> None:
        crash(pooled)
        result = pooled.run("zpool_import", name="tank")
        assert result["failed"] and (result["hostid"], result["hostname"]) == ("a8251093", "web-9")
        message = pooled.refused("zpool_import", name="tank")
        assert "was last in use on web-9 (hostid a8251093) and was not exported there" in message
        assert "nothing was written to it" in message and "force_hostid=a8251093" in message

    def test_another_hostid_does_not_release_it(self, pooled: ModuleHost) -> None:
        crash(pooled)
        message = pooled.refused("zpool_import", name="tank", force_hostid="deadbeef")
        assert "hostid a8251093, not deadbeef" in message

    @pytest.mark.parametrize("release", ["a8251093", "0xA8251093", "any"])
    def test_taken_over(self, pooled: ModuleHost, release: str) -> None:
        crash(pooled)
        result = pooled.same_in_check_mode("zpool_import", name="tank", force_hostid=release)
        assert result["changed"] and result["actions"][0].startswith("zpool import -f -N")

    def test_left_by_an_early_boot(self, pooled: ModuleHost) -> None:
        """The early hook imports before there is a hostid. The listing hides that, the import minds it."""
        crash(pooled, hostid=0)
        assert "last accessed" not in pooled.command("zpool", "import")
        message = pooled.refused("zpool_import", name="tank")
        assert "may have been this one" in message and "force_hostid=0" in message
        assert pooled.ok("zpool_import", name="tank", force_hostid="0")["changed"]

    def test_crashed_here(self, pooled: ModuleHost) -> None:
        crash(pooled, hostid=0x1234)
        assert "-f" not in pooled.ok("zpool_import", name="tank")["actions"][0].split()


class TestExport:
    def test_export(self, pooled: ModuleHost) -> None:
        result = pooled.same_in_check_mode("zpool_import", name="tank", state="exported")
        assert result["changed"] and result["actions"] == ["zpool export tank"] and result["pool"] is None
        assert not pooled.same_in_check_mode("zpool_import", name="tank", state="exported")["changed"]

    def test_busy(self, pooled: ModuleHost) -> None:
        pooled.command("mount", "-t", "zfs", "tank/nanozfs/var", "/var")
        pooled.monkeypatch.setattr(pooled.machine.kernel, "unmount", lambda _target, force: force)
        result = pooled.run("zpool_import", name="tank", state="exported")
        assert result["failed"] and "still imported; no data is lost" in result["msg"] and "fstat" in result["msg"]
        assert pooled.ok("zpool_import", name="tank", state="exported", force_export=True)["changed"]

    def test_the_wrong_one_is_not_exported(self, pooled: ModuleHost) -> None:
        assert "was asked for" in pooled.refused("zpool_import", name="tank", guid="1", state="exported")


class TestCreate:
    VDEVS = ({"type": "raidz", "disks": ["ada1", "ada2", "ada3"]},)

    def test_create(self, host: ModuleHost) -> None:
        arguments = {"name": "tank", "vdevs": list(self.VDEVS), "filesystem_properties": {"mountpoint": "none"}}
        result = host.same_in_check_mode("zpool_create", **arguments)
        assert result["changed"]
        assert host.command("zfs", "get", "-H", "-o", "value", "mountpoint", "tank").strip() == "none"
        assert "raidz1-0" in host.command("zpool", "status", "tank")
        assert not host.same_in_check_mode("zpool_create", **arguments)["changed"]

    def test_on_and_off_as_yaml_reads_them(self, host: ModuleHost) -> None:
        """As zfs_dataset takes them."""
        on = {"autoexpand": True}
        off = {"mountpoint": "none", "canmount": False, "atime": False, "compression": True}
        result = host.ok("zpool_create", name="tank", vdevs=list(self.VDEVS), properties=on, filesystem_properties=off)
        argv = result["actions"][0].split()
        assert {"autoexpand=on", "canmount=off", "atime=off", "compression=on"} <= set(argv)

    def test_never_over_another_pool(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        message = pooled.refused("zpool_create", name="other", vdevs=list(self.VDEVS))
        assert "ada1 is in use by the ZFS pool with guid" in message and "nothing was changed" in message

    @pytest.mark.parametrize(
        "offset, content, what",
        [
            (512 * MIB - 512, b"GEOM::ELI\0\0\0\0\0\0\0\7\0\0\0", "an encrypted disk (GELI)"),
            (512 * MIB - 512, b"GEOM::MIRROR\0", "a disk of a GEOM class (MIRROR)"),
            (65536 + 1372, (0x19540119).to_bytes(4, "little"), "a UFS file system"),
            (1000, b"?", "data at its beginning"),
        ],
    )
    def test_never_over_what_nobody_has_in_use(self, host: ModuleHost, offset: int, content: bytes, what: str) -> None:
        with open(host.machine.image("ada2"), "r+b") as file:
            file.seek(offset)
            file.write(content)
        message = host.refused("zpool_create", name="tank", vdevs=list(self.VDEVS))
        assert "ada2 holds " + what in message and "see whether it is the disk that you mean" in message

    def test_never_over_a_disk_twice(self, host: ModuleHost) -> None:
        message = host.refused("zpool_create", name="tank", vdevs=[{"type": "mirror", "disks": ["ada1", "/dev/ada1"]}])
        assert "ada1 and /dev/ada1 are the same disk" in message

    def test_never_beside_one_of_the_name(self, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        pooled.machine.load()
        pooled.machine.add_disk("ada9", 512 * MIB)
        message = pooled.refused("zpool_create", name="tank", vdevs=[{"disks": ["ada9"]}])
        assert "tank" in message and "zpool_import" in message

    @pytest.mark.parametrize(
        "vdevs, said",
        [
            ([], "vdev"),
            ([{"type": "raidz9", "disks": ["ada1"]}], "raidz9"),
            ([{"type": "raidz", "disks": []}], "without disks"),
            ([{"type": "raidz", "disks": ["ada1", "ada2", "ada7"]}], "ada7"),
        ],
    )
    def test_nonsense(self, host: ModuleHost, vdevs: Any, said: str) -> None:
        assert said in host.refused("zpool_create", name="tank", vdevs=vdevs)


class TestDataset:
    def test_create_and_change(self, pooled: ModuleHost) -> None:
        arguments: Dict[str, Any] = {"name": "tank/nanozfs/var/mail", "properties": {"quota": "64M", "atime": False}}
        assert pooled.same_in_check_mode("zfs_dataset", **arguments)["created"]
        assert not pooled.same_in_check_mode("zfs_dataset", **arguments)["changed"]
        arguments["properties"]["quota"] = "none"
        result = pooled.same_in_check_mode("zfs_dataset", **arguments)
        assert result["diff"] == {"before": {"quota": str(64 * MIB)}, "after": {"quota": "none"}}
        assert not pooled.ok("zfs_dataset", **arguments)["changed"]

    @pytest.mark.parametrize("name", ["tank/a@b", "-r", "tank//x", "/tank", "tank/x;y"])
    def test_names(self, pooled: ModuleHost, name: str) -> None:
        assert "no valid dataset name" in pooled.refused("zfs_dataset", name=name)
