# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Firmware and boot loader of a lab host: gptboot(8)'s choice on the real partition table, then the loader's.

Source: ``stand/libsa/gpt.c`` (gptread, gptbootconv, gptfind, gptbootfailed), gptboot(8), loader(8).
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _gpt
from ansible_collections.nanozfs.fleet.tests.lab import slices
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

UFS = _gpt.TYPES["freebsd-ufs"]
ME, ONCE, FAILED = (_gpt.ATTRIBUTES[name] for name in ("bootme", "bootonce", "bootfailed"))

Say = Callable[[str], None]


class Stopped(Exception):
    """The machine stands still: no medium, a prompt that nobody answers."""


class GptBoot:
    """gptboot's walk over a partition table. Every change of it is written to the disk at once."""

    def __init__(self, image: str, sectors: int) -> None:
        self._image = image
        with open(image, "rb") as file:
            self.table = _gpt.read_table(file, sectors)
        self._once = True
        self._current = 0
        self._first = True
        tried = [entry for entry in self.table.entries.values() if entry.attributes & (ME | ONCE | FAILED) == ONCE]
        for entry in tried:
            # tried before and not committed: gptbootconv
            entry.attributes = entry.attributes & ~ONCE | FAILED
        if tried:
            self._write()

    def _write(self) -> None:
        corrupt = self.table.corrupt
        with open(self._image, "r+b") as file:
            _gpt.write_table(file, self.table)
        self.table.corrupt = corrupt

    def _ufs(self) -> List[int]:
        return [index for index, entry in sorted(self.table.entries.items()) if entry.kind == UFS]

    def next(self) -> Optional[int]:
        """The index of the next partition to try."""
        first, self._first = self._first, False
        if self._once:
            for index in self._ufs():
                entry = self.table.entries[index]
                if index > self._current and entry.attributes & ME and entry.attributes & ONCE:
                    self._current = index
                    entry.attributes &= ~ME
                    self._write()
                    return index
            self._once, self._current = False, 0
        for index in self._ufs():
            attributes = self.table.entries[index].attributes
            if index > self._current and attributes & ME and not attributes & ONCE:
                self._current = index
                return index
        return next(iter(self._ufs()), None) if first else None

    def failed(self, index: int) -> None:
        """Nothing to boot in that partition."""
        entry = self.table.entries[index]
        if entry.attributes & ONCE:
            entry.attributes = entry.attributes & ~ONCE | FAILED
            self._write()


@dataclass(frozen=True)
class Booted:
    """What the loader hands to the kernel."""

    disk: str
    index: int
    root: str
    kenv: Dict[str, str]


_LUA = """
local env = {}
loader = {
  getenv = function(name) return env[name] end,
  setenv = function(name, value) env[name] = value end,
  perform = function(command) print("perform\\t" .. command) end,
}
for line in io.lines(arg[1]) do
  local name, value = line:match("^([^\\t]+)\\t(.*)$")
  env[name] = value
end
dofile(arg[2])
for name, value in pairs(env) do print("env\\t" .. name .. "\\t" .. value) end
"""


def _loader_conf(text: str) -> Dict[str, str]:
    return dict(re.findall(r'^([\w.]+)="([^"]*)"', text, re.MULTILINE))


def run_local_lua(script: bytes, env: Dict[str, str], scratch: str) -> Dict[str, str]:
    """Run the image's ``local.lua`` as the loader does; the environment after it."""
    files = {name: os.path.join(scratch, name) for name in ("stub.lua", "env", "local.lua")}
    with open(files["stub.lua"], "w", encoding="utf-8") as file:
        file.write(_LUA)
    with open(files["env"], "w", encoding="utf-8") as file:
        file.writelines("{0}\t{1}\n".format(*pair) for pair in env.items())
    with open(files["local.lua"], "wb") as raw:
        raw.write(script)
    done = subprocess.run(
        ["lua5.4", files["stub.lua"], files["env"], files["local.lua"]], capture_output=True, text=True, check=True
    )
    after = {}
    for line in done.stdout.splitlines():
        kind, _tab, rest = line.partition("\t")
        if kind == "perform" and rest == "reboot":
            raise Stopped("the loader asked for a reboot")
        if kind == "env":
            name, _tab, value = rest.partition("\t")
            after[name] = value
    return after


def boot(machine: Machine, say: Say) -> Booted:
    """From power-on to the kernel.

    :raises Stopped: when the machine gets no further.
    """
    for disk in sorted(machine.hardware["disks"]):
        if not machine.has_image(disk):
            continue
        sectors = machine.hardware["disks"][disk]["size"] // _gpt.SECTOR
        try:
            gptboot = GptBoot(machine.image(disk), sectors)
        except _gpt.GptError:
            continue
        return _boot_disk(machine, disk, gptboot, say)
    raise Stopped("no bootable device")


def _boot_disk(machine: Machine, disk: str, gptboot: GptBoot, say: Say) -> Booted:
    while True:
        index = gptboot.next()
        if index is None:
            raise Stopped("gptboot: no UFS partition could be booted; it asks for one and waits")
        entry = gptboot.table.entries[index]
        filesystem = slices.open_slice(machine.image(disk), entry.first * 512, entry.sectors * 512)
        if slices.has_file(filesystem, "/boot/loader"):
            break
        say("gptboot: no /boot/loader on 0:ad(0p{0})".format(index))
        gptboot.failed(index)
    say("gptboot: booting partition {0} ({1})".format(index, entry.label))
    env = {"loaddev": "disk0p{0}:".format(index), "currdev": "disk0p{0}:".format(index)}
    env.update(_loader_conf(slices.read_file(filesystem, "/boot/loader.conf").decode("utf-8", "replace")))
    script = slices.read_file(filesystem, "/boot/lua/local.lua")
    if script:
        env = run_local_lua(script, env, machine.home)
    if not slices.has_file(filesystem, "/boot/kernel/kernel"):
        raise Stopped("loader: can't load 'kernel'; it waits at its prompt")
    for wanted in env.get("vfs.root.mountfrom", "").split():
        say("kernel: trying to mount root from {0}".format(wanted))
        root = wanted.partition(":")[2]
        if _is_mountable(machine, disk, gptboot, root):
            return Booted(disk, index, root, env)
        say("kernel: mounting from {0} failed".format(wanted))
    raise Stopped("kernel: no root file system could be mounted; it waits at mountroot>")


def _is_mountable(machine: Machine, disk: str, gptboot: GptBoot, root: str) -> bool:
    """Whether a GPT label of the disk holds a file system (``vfs_mountroot.c``: the list is tried in order)."""
    for entry in gptboot.table.entries.values():
        if root == "/dev/gpt/" + entry.label:
            return slices.open_slice(machine.image(disk), entry.first * 512, entry.sectors * 512) is not None
    return False
