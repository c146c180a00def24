# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mount(8), umount(8) and mdmfs(8)."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ansible_collections.nanozfs.fleet.tests.model import geom, pools, releases, zmounts
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output

_SIZES = {"": 512, "b": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _parse(argv: List[str]) -> Dict[str, Any]:
    """Options of mount: read-only, update, type, what and where."""
    found: Dict[str, Any] = {"type": "ufs", "readonly": False, "update": False, "words": [], "p": False, "options": []}
    words = iter(argv)
    for word in words:
        if word == "-t":
            found["type"] = next(words)
        elif word == "-o":
            found["options"] += next(words).split(",")
        elif word == "-r":
            found["readonly"] = True
        elif word == "-u":
            found["update"] = True
        elif word == "-p":
            found["p"] = True
        elif word == "-w":
            found["options"].append("rw")
        elif word.startswith("-"):
            raise Fail("usage: mount [-t fstype] [-o options] target_fs mount_point")
        else:
            found["words"].append(word)
    if "ro" in found["options"]:
        found["readonly"] = True
    found["rw"] = "rw" in found["options"]
    return found


def _filled(text: str, columns: int) -> str:
    """A field of ``mount -p``: filled with tabs to a number of columns that are 8 wide, or else with a blank."""
    size = len(text)
    tabs = "".join("\t" if size < 8 * column else "" for column in range(1, columns))
    return text + tabs + ("\t" if size < 8 * columns else " ")


def listing(machine: Machine) -> str:
    """What ``mount -p`` prints."""
    out = ""
    for mount in machine.running["mounts"]:
        options = ",".join(["ro" if mount["readonly"] else "rw"] + mount.get("shown", []))
        passes = ("1 1" if mount["on"] == "/" else "2 2") if mount["type"] == "ufs" else "0 0"
        out += "{0}{1}{2}\t{3}\t{4}\n".format(
            _filled(mount["from"], 3), _filled(mount["on"], 3), mount["type"], _filled(options, 1), passes
        )
    return out


#: what plain ``mount`` calls the flags of ``mount -p``, in its order
_WORDS = (("noatime", "noatime"), ("noexec", "noexec"), ("nosuid", "nosuid"), ("nfsv4acls", "nfsv4acls"))


def described(machine: Machine, kind: str = "") -> str:
    """What ``mount`` prints, of all file systems or of one type."""
    out = ""
    for mount in machine.running["mounts"]:
        if kind and mount["type"] != kind:
            continue
        words = [mount["type"]] + ([] if mount["type"] == "devfs" else ["local"])
        words += [word for flag, word in _WORDS[:3] if flag in mount.get("shown", [])]
        words += ["read-only"] if mount["readonly"] else []
        words += [word for flag, word in _WORDS[3:] if flag in mount.get("shown", [])]
        out += "{0} on {1} ({2})\n".format(mount["from"], mount["on"], ", ".join(words))
    return out


def mount(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command."""
    call = _parse(argv)
    if call["p"]:
        return Output(0, listing(machine))
    if not call["words"]:
        return Output(0, described(machine, call["type"] if "-t" in argv else ""))
    if call["update"]:
        return _update(machine, call)
    if len(call["words"]) != 2:
        raise Fail("mount: {0}: unknown special file or file system".format(call["words"][0]))
    what, where = call["words"]
    if not machine.kernel.is_directory(where):
        raise Fail("mount: {0}: No such file or directory".format(where))
    handler = {"ufs": _mount_ufs, "zfs": _mount_zfs, "tmpfs": _mount_tmpfs}.get(call["type"])
    if handler is None:
        raise Fail("mount: {0}: Invalid fstype: Invalid argument".format(what))
    handler(machine, call, what, where)
    return Output()


def _record(machine: Machine, what: str, where: str, kind: str, readonly: bool, **more: Any) -> None:
    machine.running["mounts"].append(dict({"from": what, "on": where, "type": kind, "readonly": readonly}, **more))


def _mount_ufs(machine: Machine, call: Dict[str, Any], what: str, where: str) -> None:
    place = geom.find(machine, what)
    if place is None or not _is_ufs(machine, place):
        raise Fail("mount: {0}: {1}".format(what, releases.of(machine).no_file_system))
    if any(each["type"] == "ufs" and each["from"] == what for each in machine.running["mounts"]):
        raise Fail("mount: {0}: Device busy".format(what))
    folder = machine.kernel.unpack(machine.image(place.disk), place.offset, place.size)
    machine.kernel.bind(folder, where, True)
    _record(machine, what, where, "ufs", call["readonly"])


#: where a superblock may be, and the magic number in it: UFS1, UFS2
_SUPERBLOCKS = ((8192, 0x00011954), (65536, 0x19540119))


def _is_ufs(machine: Machine, place: geom.Place) -> bool:
    """Whether a provider holds a UFS."""
    with open(machine.image(place.disk), "rb") as file:
        for offset, magic in _SUPERBLOCKS:
            file.seek(place.offset + offset + 1372)
            if file.read(4) == magic.to_bytes(4, "little"):
                return True
    return False


def _mount_tmpfs(machine: Machine, call: Dict[str, Any], what: str, where: str) -> None:
    size, mode = 0, 0o755
    for option in call["options"]:
        key, _equals, value = option.partition("=")
        if key == "size":
            size = size_of(value)
        elif key == "mode":
            mode = int(value, 8)
    machine.kernel.tmpfs(where, size, mode)
    _record(machine, "tmpfs", where, "tmpfs", False)


def _mount_zfs(machine: Machine, call: Dict[str, Any], what: str, where: str) -> None:
    pools.mount_legacy(machine, what, where, call["readonly"])


def _update(machine: Machine, call: Dict[str, Any]) -> Output:
    where = call["words"][-1]
    for each in machine.running["mounts"]:
        if each["on"] == where:
            readonly = call["readonly"] if not call["rw"] else False
            machine.kernel.remount(where, readonly)
            each["readonly"] = readonly
            if each["type"] == "zfs":
                each["option_ro"] = readonly
            return Output()
    raise Fail("mount: {0}: not currently mounted".format(where))


def umount(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``umount [-f] WHAT ...``, and ``umount [-f] -A -t TYPE``: all of a type, the last one first (``umount.c``)."""
    if "-A" in argv:
        kind = argv[argv.index("-t") + 1]
        words = [str(each["on"]) for each in reversed(machine.running["mounts"]) if each["type"] == kind]
    else:
        words = [word for word in argv if not word.startswith("-")]
    for word in words:
        found = [each for each in machine.running["mounts"] if word in (each["on"], each["from"])]
        if not found:
            raise Fail("umount: {0}: not a file system root directory".format(word))
        force = "-f" in argv
        busy = zmounts.busy_below(machine, found[-1]) and not force
        if busy or not machine.kernel.unmount(found[-1]["on"], force):
            raise Fail("umount: unmount of {0} failed: Device busy".format(found[-1]["on"]))
        machine.running["mounts"].remove(found[-1])
    return Output()


def size_of(text: str) -> int:
    """A size as mdmfs and tmpfs take it; without a unit, blocks of 512 bytes."""
    match = re.fullmatch(r"(\d+)([bkmg]?)", text.lower())
    if match is None:
        raise Fail("mdmfs: {0}: invalid size".format(text))
    return int(match.group(1)) * _SIZES[match.group(2)]


def mdmfs(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``mdmfs -s SIZE auto|md DIRECTORY``."""
    words, size = [], 0
    rest = iter(argv)
    for word in rest:
        if word == "-s":
            size = size_of(next(rest))
        elif not word.startswith("-"):
            words.append(word)
    if len(words) != 2:
        raise Fail("usage: mdmfs -s size md-device mount-point")
    machine.kernel.tmpfs(words[1], size, 0o755)
    _record(machine, "tmpfs", words[1], "tmpfs", False)
    return Output()
