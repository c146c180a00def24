# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the modules of the collection, unchanged, against the model of a FreeBSD host."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from ansible.module_utils import basic

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device, DeviceError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job, statement
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import medium
from ansible_collections.nanozfs.fleet.tests.model import geom, pools
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

MIB = 1 << 20
PACKAGE = "ansible_collections.nanozfs.fleet.plugins.modules."


class Ended(Exception):
    """A module called exit_json or fail_json."""

    def __init__(self, result: Dict[str, Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


class WindowDevice(Device):
    """A provider of the model: a part of the image file of a disk."""

    def __init__(self, machine: Machine, path: str, writable: bool) -> None:
        place = geom.find(machine, path)
        if place is None:
            raise DeviceError("{0} cannot be opened for reading: No such file or directory".format(path))
        super().__init__(machine.image(place.disk), writable)
        self.path = path
        self.place = place
        self.written: List[Tuple[int, int]] = []

    def read_into(self, offset: int, view: memoryview) -> int:
        assert offset % 512 == 0 and len(view) % 512 == 0, "a disk device takes whole sectors only"
        there = max(0, min(len(view), self.place.size - offset))
        return super().read_into(self.place.offset + offset, view[:there])

    def write(self, offset: int, data: Union[bytes, memoryview]) -> None:
        assert offset % 512 == 0 and len(data) % 512 == 0, "a disk device takes whole sectors only"
        assert offset + len(data) <= self.place.size, "written past the end of the provider"
        self.written.append((offset, len(data)))
        super().write(self.place.offset + offset, data)


class ModuleHost:
    """A model host that modules can be run on."""

    def __init__(self, machine: Machine, tmpdir: str, monkeypatch: Any) -> None:
        self.machine = machine
        self.tmpdir = tmpdir
        self.monkeypatch = monkeypatch
        self.opened: List[WindowDevice] = []
        monkeypatch.setattr(
            "ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device.open_device", self.open_device
        )
        monkeypatch.setattr(job, "RUN_DIR", os.path.join(tmpdir, "run"))
        monkeypatch.setattr(statement, "FOLDER", os.path.join(tmpdir, "db"))

    def open_device(self, path: str, writable: bool = False) -> Device:
        if os.path.isfile(path):  # a file of this machine: an image that is being published
            return Device(path, writable)
        device = WindowDevice(self.machine, path, writable)
        if writable:
            self.opened.append(device)
        return device

    def _run_command(self, argv: Sequence[str], data: Optional[str] = None, **kwargs: Any) -> Any:
        assert not isinstance(argv, str), "a module must never hand over a shell string"
        assert kwargs["environ_update"]["LC_ALL"] == "C"
        if argv[0] == "ssh-keygen":
            done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, done.stderr
        return self.machine.execute(argv, data)

    @contextmanager
    def _arguments(self, arguments: Dict[str, Any]) -> Iterator[None]:
        try:
            from ansible.module_utils.testing import patch_module_args  # noqa: PLC0415 - since ansible-core 2.19
        except ImportError:
            self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
            yield
        else:
            with patch_module_args(arguments):
                yield

    def run(self, name: str, /, check: bool = False, **arguments: Any) -> Dict[str, Any]:
        """Run a module; its result, with ``failed`` where it failed, and what it warned of."""
        warned: List[str] = []

        def leave(failed: bool) -> Any:
            def end(_module: Any, **result: Any) -> None:
                raise Ended(dict(result, failed=failed, warnings=warned))

            return end

        self.monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave(False))
        self.monkeypatch.setattr(basic.AnsibleModule, "fail_json", leave(True))
        self.monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warned.append(text))
        self.monkeypatch.setattr(basic.AnsibleModule, "run_command", self._run_command)
        special = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": self.tmpdir}
        special["_ansible_tmpdir"] = self.tmpdir
        module = importlib.import_module(PACKAGE + name)
        with self._arguments(dict(arguments, **special)):
            try:
                module.main()
            except Ended as ended:
                return ended.result
        raise AssertionError("the module ended without a result")

    def ok(self, name: str, /, check: bool = False, **arguments: Any) -> Dict[str, Any]:
        """Run a module that must succeed."""
        result = self.run(name, check, **arguments)
        assert not result["failed"], result["msg"]
        return result

    def refused(self, name: str, /, **arguments: Any) -> str:
        """Run a module that must fail and change nothing; its message."""
        before = self.fingerprint()
        result = self.run(name, **arguments)
        assert result["failed"], result
        assert self.fingerprint() == before, "a refused call changed something"
        return str(result["msg"])

    def same_in_check_mode(self, name: str, /, **arguments: Any) -> Dict[str, Any]:
        """Run a module in check mode, see that it changed nothing, then for real, and see that it said the truth."""
        before = self.fingerprint()
        predicted = self.ok(name, check=True, **arguments)
        assert self.fingerprint() == before, "check mode changed something"
        result = self.ok(name, **arguments)
        assert predicted["changed"] == result["changed"]
        assert predicted.get("actions") == result.get("actions")
        return result

    def fingerprint(self) -> Dict[str, Any]:
        """Everything about the machine that a module could change."""
        self.machine.load()
        disks = {}
        for disk in self.machine.hardware["disks"]:
            # one that was only read has an image without anything in it
            if self.machine.has_image(disk) and os.stat(self.machine.image(disk)).st_blocks:
                with open(self.machine.image(disk), "rb") as file:
                    disks[disk] = hash(file.read())
        pools = {}
        for pool in sorted(os.listdir(self.machine.shelf)):
            path = os.path.join(self.machine.shelf, pool, "pool.json")
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    pools[pool] = file.read()
        return {"hardware": self.machine.hardware, "running": self.machine.running, "disks": disks, "pools": pools}

    def command(self, *argv: str) -> str:
        """Run a command of the host that must succeed; what it prints."""
        output = self.machine.run(argv)
        assert output.rc == 0, (argv, output)
        return output.out

    def write(self, dataset: str, name: str, content: str) -> None:
        """Put a file into a dataset."""
        self.machine.load()
        with open(os.path.join(pools.folder(self.machine, dataset), name), "w", encoding="utf-8") as file:
            file.write(content)

    def read(self, dataset: str, name: str) -> Optional[str]:
        """A file of a dataset, or ``None``."""
        self.machine.load()
        path = os.path.join(pools.folder(self.machine, dataset), name)
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            return file.read()

    def names(self, kind: str, *fields: str) -> List[str]:
        """The names of all datasets of a kind, or other fields of them."""
        return self.command("zfs", "list", "-H", "-t", kind, "-o", ",".join(fields or ("name",))).splitlines()

    def flags(self) -> Dict[str, List[str]]:
        """Boot attributes by label."""
        return {part.label or part.name: part.flags for part in geom.layouts(self.machine)["ada0"].parts}


def make_medium(machine: Machine, slice_size: int, images: Dict[str, bytes], active: str = "nz-a") -> None:
    """Put an OS medium into a machine.

    :param images: content of the slices by label.
    """
    table = medium.table_for(medium.layout(slice_size), "test", active)
    machine.add_disk("ada0", table.sectors * gpt.SECTOR, "OSMEDIUM")
    with open(machine.image("ada0"), "r+b") as file:
        file.write(gpt.protective_mbr(table.sectors))
        gpt.write_table(file, table)
        for entry in table.entries.values():
            if entry.label in images:
                file.seek(entry.first * gpt.SECTOR)
                file.write(images[entry.label])


def boot0(mark: int = 0x1AE, flags: int = 0xCF) -> bytes:
    """A boot0 as boot0cfg(8) recognises it: its first instructions, and the string at the place of its version."""
    raw = bytearray(b"\x90" * 510 + b"\x55\xaa")
    raw[:12] = bytes.fromhex("fc31c08ec08ed88ed0bc007c")
    raw[mark : mark + 6] = b"Drive "
    raw[mark + 9] = flags
    return bytes(raw)


def make_mbr_medium(machine: Machine, slice_size: int, images: Dict[str, bytes]) -> None:
    """Put an OS medium with an MBR into a machine; slice A is the active one, and boot0's default.

    :param images: content of the slices by label.
    """
    path = os.path.join(machine.home, "medium")
    with open(path, "w+b") as file:
        places = medium.lay(file, medium.Form("mbr"), {"boot": bytes(8192), "boot0": boot0()}, slice_size, "test")
        for label, content in images.items():
            file.seek(places[label])
            file.write(content)
    machine.insert_disk("ada0", path, "OSMEDIUM")
    machine.hardware["disks"]["ada0"]["boot0"] = 2
    machine.save()


def boot_mbr(machine: Machine, label: str) -> None:
    """Like :func:`boot`, from a medium with an MBR. On a trial the early hook has made the old slice active again."""
    boot(machine, label)
    machine.running["mounts"][0]["from"] = "/dev/label/" + label
    machine.save()


def boot(machine: Machine, label: str, on_trial: bool = False) -> None:
    """Let a machine run from a slice, in state normal."""
    machine.start({"nanozfs.state": "normal", "nanozfs.slice": label})
    machine.running["sysctl"]["kern.hostname"] = "web-1"
    machine.running["mounts"] = [
        {"from": "/dev/gpt/" + label, "on": "/", "type": "ufs", "readonly": True},
        {"from": "devfs", "on": "/dev", "type": "devfs", "readonly": False},
    ]
    machine.save()
    if on_trial:
        index = str({"nz-recovery": 3, "nz-a": 4, "nz-b": 5}[label])
        machine.run(["gpart", "set", "-a", "bootonce", "-i", index, "ada0"])
        machine.run(["gpart", "unset", "-a", "bootme", "-i", index, "ada0"])
