# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's own knobs: sysctl(8), kenv(1), kldload(8), and the commands that end it."""

from __future__ import annotations

import time
from typing import Callable, Dict, List, Optional

from ansible_collections.nanozfs.fleet.tests.model import geom, releases
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output

READ_ONLY: Dict[str, Callable[[Machine], str]] = {
    "hw.machine": lambda machine: str(machine.hardware["arch"]),
    "hw.machine_arch": lambda machine: str(machine.hardware["arch"]),
    "kern.boot_id": lambda machine: str(machine.running["boot_id"]),
    "kern.boottime": lambda machine: _boottime(machine.running["boottime"]),
    "kern.disks": lambda machine: " ".join(reversed(list(machine.hardware["disks"]))),
    "kern.geom.confxml": lambda machine: geom.Confxml(machine).text(),
    "kern.osreldate": lambda machine: releases.of(machine).osreldate,
    "kern.osrelease": lambda machine: releases.of(machine).system,
    "kern.ostype": lambda machine: "FreeBSD",
    "machdep.bootmethod": lambda machine: str(machine.hardware["method"]),
    "security.jail.jailed": lambda machine: "0",
    "vfs.nfs.diskless_valid": lambda machine: "0",
    "vfs.root_mount_hold": lambda machine: "",
}


def _boottime(seconds: float) -> str:
    return "{{ sec = {0}, usec = {1} }} {2}".format(
        int(seconds), round(seconds % 1 * 1000000), time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(seconds))
    )


def sysctl(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``sysctl [-binqx] NAME[=VALUE] ...``."""
    options = "".join(word[1:] for word in argv if word.startswith("-"))
    out, err = "", ""
    for word in (word for word in argv if not word.startswith("-")):
        name, equals, value = word.partition("=")
        settable = machine.running["sysctl"]
        if name not in READ_ONLY and name not in settable:
            if "i" not in options:
                err += "sysctl: unknown oid '{0}'\n".format(name)
            continue
        old = READ_ONLY[name](machine) if name in READ_ONLY else settable[name]
        if equals:
            if name in READ_ONLY:
                err += "sysctl: oid '{0}' is read only\n".format(name)
                continue
            settable[name] = str(int(value, 0)) if value[:2] == "0x" else value
            out += "{0}: {1} -> {2}\n".format(name, old, settable[name]) if "n" not in options else ""
            continue
        if name == "kern.boot_id":
            old = "Format: Length:16 Dump:0x{0}".format(old) if "x" in options else ""
        out += old if "b" in options else "{0}{1}\n".format("" if "n" in options else name + ": ", old)
    if err:
        raise Fail(err, out=out)
    return Output(0, out)


def kenv(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``kenv [-q] [-u] [NAME[=VALUE]]``."""
    quiet = "-q" in argv
    words = [word for word in argv if not word.startswith("-")]
    values = machine.running["kenv"]
    if not words:
        return Output(0, "".join('{0}="{1}"\n'.format(*pair) for pair in sorted(values.items())))
    if len(words) > 1:
        raise Fail("usage: kenv [-hNq]\n       kenv [-qv] variable[=value]\n       kenv [-q] -u variable\n")
    name, equals, value = words[0].partition("=")
    if equals:
        if len(name) > 127 or len(value) > 127:
            raise Fail("kenv: unable to set {0} to {1}".format(name, value), rc=255)
        values[name] = value
        return Output(0, '{0}="{1}"\n'.format(name, value))
    if "-u" in argv:
        if name not in values:
            raise Fail("" if quiet else "kenv: unable to unset {0}".format(name), rc=255)
        del values[name]
        return Output()
    if name not in values:
        raise Fail("" if quiet else "kenv: unable to get {0}".format(name), rc=255)
    return Output(0, values[name] + "\n")


def kldload(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``kldload -n zfs``: the module is in the kernel."""
    name = next((word for word in argv if not word.startswith("-")), "")
    if name != "zfs":
        raise Fail("kldload: can't load {0}: No such file or directory".format(name))
    if "-n" not in argv:
        raise Fail("kldload: can't load zfs: module already loaded or in kernel")
    return Output()


def watchdog(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``watchdog -t SECONDS``, on a machine with or without a hardware watchdog.

    Source: transcript ``boot/026-b6-before``; ``err(EX_OSERR, "patting the dog")`` in ``watchdogd.c`` and
    ``kern_watchdog.c`` (EOPNOTSUPP when no driver has answered).
    """
    if not machine.hardware.get("watchdog"):
        raise Fail("watchdog: patting the dog: Operation not supported", rc=71)
    machine.running["watchdog"] = int(argv[argv.index("-t") + 1])
    return Output()


def kldstat(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``kldstat -q -m zfs``."""
    if argv[-1:] == ["zfs"]:
        return Output()
    raise Fail("", rc=1)


def freebsd_version(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``freebsd-version``."""
    return Output(0, releases.of(machine).system + "\n")


def uname(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``uname [-s|-r|-m|-p|-n|-K]``."""
    values = {
        "-s": "FreeBSD",
        "-r": releases.of(machine).system,
        "-m": machine.hardware["arch"],
        "-p": machine.hardware["arch"],
        "-n": machine.running["sysctl"]["kern.hostname"],
        "-K": releases.of(machine).osreldate,
        "-U": releases.of(machine).osreldate,
    }
    return Output(0, " ".join(str(values.get(word, "")) for word in argv or ["-s"]) + "\n")


def _check_letters(name: str, argv: List[str], known: str) -> None:
    """Refuse what getopt(3) does not take."""
    for letter in "".join(word[1:] for word in argv if word.startswith("-")):
        if letter not in known:
            raise Fail("{0}: illegal option -- {1}".format(name, letter))


def shutdown(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``shutdown -r|-p|-h TIME [MESSAGE]``: at once, whatever the time says, as soon as it is no nonsense."""
    _check_letters("shutdown", argv, releases.of(machine).shutdown)
    words = [word for word in argv if not word.startswith("-")]
    if not words or not (words[0] == "now" or words[0].startswith("+")):
        raise Fail("shutdown: bad time format")
    machine.save()
    if "-r" in argv:
        machine.kernel.reboot()
    else:
        machine.kernel.power_off()
    return Output()


def reboot(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``reboot [-q]``."""
    _check_letters("reboot", argv, releases.of(machine).reboot)
    machine.save()
    machine.kernel.reboot()
    return Output()


def halt(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``halt [-p]``."""
    machine.save()
    machine.kernel.power_off()
    return Output()
