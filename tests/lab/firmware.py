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
import tempfile
from dataclasses import dataclass
from typing import Callable, Dict, Optional

from dissect.ffs import FFS

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.tests.lab import slices
from ansible_collections.nanozfs.fleet.tests.model.gptboot import UFS, GptBoot
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

#: what the loader reads of a slice
_LOADER_FILES = ("/boot/nanozfs/image.conf", "/boot/kernel/kernel", "/boot/lua/local.lua")

Say = Callable[[str], None]


class Stopped(Exception):
    """The machine stands still: no medium, a prompt that nobody answers."""


class Restarted(Exception):
    """The machine restarts by itself, before its system is up."""


@dataclass(frozen=True)
class Booted:
    """What the loader hands to the kernel."""

    disk: str
    index: int
    root: str
    kenv: Dict[str, str]


#: What the stock loader's scripts do around local.lua, as far as it touches them: stand/lua/{loader,config,core}.lua. A
#: slice is a folder ``p<index>`` with what the loader would find in it.
_LUA = """
local env, home = {}, arg[1]
local function here(path) return home .. "/p" .. (env.currdev:match("[ps](%d+)a?:?$") or "") .. path end
local open = io.open
io.open = function(path) return open(here(path)) end
io.read = function(file) return file:read("a"), 0 end
io.close = function(file) file:close() end
loader = {
  getenv = function(name) return env[name] end,
  setenv = function(name, value) env[name] = value end,
  delay = function() end,
  perform = function(command)
    if command == "reboot" then print("reboot") os.exit(0) end
    if command == "unload" then env.kernelname = nil end
  end,
}
package.preload.color = function() return {highlight = function(text) return text end} end
package.preload.core = function()
  return {MENU_ENTRY = "entry", boot = function() require("config").loadelf() end,
    isMenuSkipped = function() return (env.beastie_disable or ""):lower() == "yes" end}
end
package.preload.menu = function()
  return {welcome = {entries = function() return {"boot", "single", "prompt", "reboot"} end}}
end
package.preload.config = function()
  return {loadelf = function()
    local file = open(here("/boot/kernel/kernel"))
    if file then file:close() env.kernelname = "/boot/kernel/kernel" end
    return file ~= nil
  end}
end
for line in open(home .. "/env"):lines() do
  local name, value = line:match("^([^\\t]+)\\t(.*)$")
  env[name] = value
end
dofile(arg[2])
local chosen = arg[3] and require("menu").welcome.entries()
for _, entry in ipairs(chosen or {}) do
  if type(entry) == "table" and entry.alias[1] == arg[3] then entry.func() end
end
if not chosen then require("config").loadelf() end
for name, value in pairs(env) do print("env\\t" .. name .. "\\t" .. value) end
"""


def _loader_conf(text: str) -> Dict[str, str]:
    return dict(re.findall(r'^([\w.]+)="([^"]*)"', text, re.MULTILINE))


def run_loader(script: str, env: Dict[str, str], home: str, key: str = "") -> Dict[str, str]:
    """Run an image's ``local.lua`` as the loader does, and load a kernel as it does then; the environment after it.

    :param script: path of the script.
    :param home: a folder with a folder ``p<index>`` for every slice, which holds what the loader needs of it.
    :param key: what somebody presses in the menu.
    :raises Restarted: when the script asks for a restart.
    """
    with open(os.path.join(home, "env"), "w", encoding="utf-8") as file:
        file.writelines("{0}\t{1}\n".format(*pair) for pair in env.items())
    stub = os.path.join(home, "stub.lua")
    with open(stub, "w", encoding="utf-8") as file:
        file.write(_LUA)
    argv = ["lua5.4", stub, home, script] + ([key] if key else [])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stopped("loader: {0}; it waits at its prompt".format(done.stderr.strip()))
    after = {}
    for line in done.stdout.splitlines():
        if line == "reboot":
            raise Restarted("the loader restarts the machine")
        if line.startswith("env\t"):
            name, _tab, value = line[4:].partition("\t")
            after[name] = value
    return after


def boot(machine: Machine, say: Say) -> Booted:
    """From power-on to the kernel.

    :raises Stopped: when the machine gets no further.
    :raises Restarted: when it starts anew by itself.
    """
    for disk in sorted(machine.hardware["disks"]):
        if not machine.has_image(disk):
            continue
        sectors = machine.hardware["disks"][disk]["size"] // gpt.SECTOR
        try:
            gptboot = GptBoot(machine.image(disk), sectors)
        except gpt.GptError:
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
    with tempfile.TemporaryDirectory(dir=machine.home) as home:
        for number, each in gptboot.table.entries.items():
            if each.kind == UFS:
                _lay_out(
                    slices.open_slice(machine.image(disk), each.first * 512, each.sectors * 512),
                    os.path.join(home, "p{0}".format(number)),
                )
        script = os.path.join(home, "p{0}/boot/lua/local.lua".format(index))
        if os.path.exists(script):
            env = run_loader(script, env, home)
        elif os.path.exists(os.path.join(home, "p{0}/boot/kernel/kernel".format(index))):
            env["kernelname"] = "/boot/kernel/kernel"
    if "kernelname" not in env:
        raise Stopped("loader: can't load 'kernel'; it waits at its prompt")
    for wanted in env.get("vfs.root.mountfrom", "").split():
        if wanted.startswith("."):
            raise Restarted("panic: mountroot: unable to (re-)mount root.")
        say("kernel: trying to mount root from {0}".format(wanted))
        root = wanted.partition(":")[2]
        if _is_mountable(machine, disk, gptboot, root):
            return Booted(disk, index, root, env)
        say("kernel: mounting from {0} failed".format(wanted))
    raise Stopped("kernel: no root file system could be mounted; it waits at mountroot>")


def _lay_out(filesystem: Optional[FFS], folder: str) -> None:
    """What the loader needs of a slice, as files."""
    for path in _LOADER_FILES:
        if slices.has_file(filesystem, path):
            os.makedirs(os.path.dirname(folder + path), exist_ok=True)
            with open(folder + path, "wb") as file:
                file.write(b"" if path.endswith("kernel") else slices.read_file(filesystem, path))


def _is_mountable(machine: Machine, disk: str, gptboot: GptBoot, root: str) -> bool:
    """Whether a GPT label of the disk holds a file system (``vfs_mountroot.c``: the list is tried in order)."""
    for entry in gptboot.table.entries.values():
        if root == "/dev/gpt/" + entry.label:
            return slices.open_slice(machine.image(disk), entry.first * 512, entry.sectors * 512) is not None
    return False
