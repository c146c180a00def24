# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The command line of a virtual machine, and which network a host has to find itself in.

Pure functions: nothing is started here. The FreeBSD lane (``tests/guest``) starts its guests by the same ones. Source
of the options: qemu-system-x86_64(1).
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

PROGRAM = "qemu-system-x86_64"

TCG, KVM = "tcg", "kvm"
ACCELERATORS = (TCG, KVM)

#: Drivers of FreeBSD by the start of their interfaces' names, and what QEMU has for them: em(4) drives the 82540, and
#: calls those of the 82576 igb; vtnet(4), vmx(4). QEMU has the igb from 8.0 on.
MODELS = {"vtnet": "virtio-net-pci", "em": "e1000", "igb": "igb", "vmx": "vmxnet3"}

#: what has an address by DHCP has it here where nothing else is known (the usual one of QEMU's user network)
USUAL = "10.0.2.15"

#: the most interfaces of one driver that are put in front of the one that is wanted
_MOST = 4

_INTERFACE = re.compile(r"ifconfig_(DEFAULT|[a-z]+\d+)\Z")
_NAME = re.compile(r"([a-z]+)(\d+)\Z")
_SETTING = re.compile(
    r"""^[ \t]*([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"`$\\]*)"|'([^']*)'|([^\s"'`$\\;#]*))[ \t]*(?:#.*)?$""", re.MULTILINE
)
_INET = re.compile(r"(?:^|\s)(?:inet\s+)?(\d+\.\d+\.\d+\.\d+)(?:/(\d{1,2})|\s+netmask\s+(\S+))?")
_DHCP = re.compile(r"(?:^|\s)(?:no|)(?:sync|)dhcp(?=\s|$)", re.IGNORECASE)

_UNWANTED = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|[^\x20-\x7e\t]")


class Net(NamedTuple):
    """The one network interface of a machine, and the network that it finds.

    :param model: what QEMU calls it.
    :param unit: its number among those of its driver; the ones before it are there, and lead nowhere.
    :param address: that the host has, or is given by DHCP.
    :param network: with how long it is, as ``192.0.2.0/24``.
    :param router: the address of whoever connects to it.
    """

    model: str
    unit: int
    address: str
    network: str
    router: str


def settings(text: str) -> Mapping[str, str]:
    """The variables that a rc.conf(5) sets, as far as they are plain texts."""
    found = {}
    for name, *values in _SETTING.findall(text):
        found[name] = "".join(values)
    return found


def _prefix(length: str, mask: str) -> int:
    """How long the network part of an address is; 24 bits where nothing is said, or nothing that makes sense."""
    try:
        if length:
            return int(length)
        text = str(ipaddress.IPv4Address(int(mask, 16))) if mask.startswith("0x") else mask
        return ipaddress.ip_network("0.0.0.0/" + text).prefixlen if text else 24
    except ValueError:
        return 24


def _net(model: str, unit: int, address: str, prefix: int, router: str) -> Net:
    """A network that has the host's own address, and one more in it for whoever connects.

    One that is too small for that is made larger: the host does not notice.
    """
    network = ipaddress.ip_network("{0}/{1}".format(address, min(prefix, 24)), strict=False)
    gate = next(
        str(each)
        for each in itertools.chain(_addresses([router]), network.hosts())
        if each in network and str(each) != address
    )
    return Net(model, unit, address, str(network), gate)


def _addresses(texts: Iterable[str]) -> List[ipaddress.IPv4Address]:
    found = []
    for text in texts:
        try:
            found.append(ipaddress.IPv4Address(text))
        except ValueError:
            continue
    return found


def net_of(values: Mapping[str, str], known: str) -> Net:
    """The interface that a host must find, to be reached under the address that it has.

    :param values: its variables of rc.conf; what sets no interface leaves that to the image, which asks by DHCP.
    :param known: the address that the inventory has of it.
    :raises Refused: when it has none that QEMU has as well.
    """
    here = next(map(str, _addresses([known])), "")
    found, strange = [], []
    for name, value in values.items():
        match = _INTERFACE.match(name)
        said, dhcp = _INET.search(value), bool(_DHCP.search(value))
        if match is None or not (said or dhcp):
            continue
        if said and not _addresses([said.group(1)]):
            continue
        at = _NAME.match(match.group(1))
        if match.group(1) == "DEFAULT":
            model, unit = MODELS["vtnet"], 0
        elif at and at.group(1) in MODELS and int(at.group(2)) < _MOST:
            model, unit = MODELS[at.group(1)], int(at.group(2))
        else:
            strange.append(match.group(1))
            continue
        address = said.group(1) if said else here or USUAL
        prefix = _prefix(said.group(2) or "", said.group(3) or "") if said else 24
        # first the one that the host is known by, then those that need no answer from anybody
        order = (address != here, not said, match.group(1) == "DEFAULT", name)
        found.append((order, _net(model, unit, address, prefix, values.get("defaultrouter", ""))))
    if found:
        return min(found)[1]
    if strange or any(name.startswith("ifconfig_") and _INTERFACE.match(name) for name in values):
        raise Refused(
            "the network of the host is on {0}, and QEMU has none that it would find there".format(
                ", ".join(sorted(strange)) or "no interface with an IPv4 address"
            ),
            safe="nothing was started",
            todo="give rc.conf of the host one more line, which counts for nothing where there is no such interface: "
            'ifconfig_vtnet0="SYNCDHCP" (deploy_rc_conf), and back it up',
        )
    return _net(MODELS["vtnet"], 0, here or USUAL, 24, "")


def board(memory: int, cpus: int, accel: str, console: int) -> List[str]:
    """What every machine has: a board without anything that nobody asked for, and a console.

    :param memory: in MiB.
    :param accel: one of :data:`ACCELERATORS`.
    :param console: descriptor of the socket for the serial line.
    """
    # the memory for translated code is limited: without that a guest's process grows to some gigabytes
    argv = [PROGRAM, "-nodefaults", "-display", "none", "-machine", "q35"]
    argv += ["-accel", "tcg,thread=multi,tb-size=256" if accel == TCG else accel]
    argv += ["-cpu", "host" if accel == KVM else "max", "-smp", str(cpus), "-m", str(memory)]
    argv += ["-chardev", "socket,id=console,fd={0}".format(console), "-serial", "chardev:console"]
    return argv + ["-device", "virtio-rng-pci"]


def drive(number: int, path: str, more: str = "") -> List[str]:
    """A disk, which FreeBSD calls ``vtbd`` with its number (virtio_blk(4)); its serial number is ``NZ`` with that.

    :param path: of a raw file.
    :param more: further properties of the device.
    """
    # unsafe: a power cut ends QEMU, not this machine, so what QEMU was given is not lost and need not be flushed
    argv = ["-drive", "if=none,id=drive{0},format=raw,cache=unsafe,file={1}".format(number, path)]
    return [*argv, "-device", "virtio-blk-pci,id=disk{0},drive=drive{0},serial=NZ{0}{1}".format(number, more)]


def forward(port: int, there: int, address: str = "") -> str:
    """A port of 127.0.0.1 that leads to one of the machine, as a property of its network.

    :param address: of the machine in it; the first that DHCP gives where there is none.
    """
    return ",hostfwd=tcp:127.0.0.1:{0}-{1}:{2}".format(port, address, there)


def sealed(net: Net, port: int, there: int) -> List[str]:
    """A network with no route out: ``restrict`` drops all that a machine sends which is no answer to who has connected.

    :param port: of 127.0.0.1, which leads to port *there* of the machine.
    """
    argv = [word for _before in range(net.unit) for word in ("-device", net.model)]
    names = next(str(each) for each in ipaddress.ip_network(net.network).hosts() if str(each) not in net)
    user = "user,id=net,ipv6=off,restrict=on,net={0},host={1},dns={2},dhcpstart={3}".format(
        net.network, net.router, names, net.address
    )
    argv += ["-netdev", user + forward(port, there, net.address)]
    return [*argv, "-device", "{0},netdev=net".format(net.model)]


class Copy(NamedTuple):
    """A machine for a copy of a host.

    :param name: of the host.
    :param memory: in MiB.
    :param uuid: of the host's board, which its hostid is made of (rc.d/hostid; FreeBSD's loader has it from SMBIOS,
        ``stand/libsa/smbios.c``); empty for none.
    :param sandbox: QEMU was built with seccomp, as Debian's is; FreeBSD has none.
    """

    name: str
    net: Net
    port: int
    ssh: int
    memory: int
    cpus: int
    accel: str
    sandbox: bool
    uuid: str = ""


def copy_argv(copy: Copy, drives: Sequence[int], console: int) -> List[str]:
    """The command for a machine in which a copy of a host comes up.

    It has no route out (:func:`sealed`), no monitor, and nothing of this machine but the files that are opened for it.

    :param drives: descriptors of its disks, which QEMU itself may not open.
    """
    argv = board(copy.memory, copy.cpus, copy.accel, console) + ["-name", "nanozfs-" + copy.name]
    argv += ["-no-user-config", *(["-uuid", copy.uuid] if copy.uuid else [])]
    if copy.sandbox:
        argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    for number, descriptor in enumerate(drives):
        argv += ["-add-fd", "fd={0},set={1}".format(descriptor, number + 1)]
        # without auto-read-only=off QEMU opens it for reading first, with which it would have to be given another one
        argv += drive(number, "/dev/fdset/{0},auto-read-only=off".format(number + 1))
    return argv + sealed(copy.net, copy.port, copy.ssh)


def clean(raw: bytes) -> str:
    """What a terminal would show of a line: without escape sequences, and with what was overwritten gone."""
    text = raw.decode("utf-8", "replace")
    shown: List[str] = []
    for each in text:  # in one go: a guest could have thousands of them one after the other
        if each != "\b":
            shown.append(each)
        elif shown:
            shown.pop()
    return _UNWANTED.sub("", "".join(shown).rstrip("\r").rpartition("\r")[2])


def last_lines(raw: bytes, most: int, longest: int = 200) -> List[str]:
    """The last lines of a console that say something.

    :param longest: characters of each that are kept.
    """
    lines = [clean(each).strip() for each in raw.split(b"\n")]
    return [each[:longest] for each in lines if each][-most:]


def version_of(text: str) -> Optional[str]:
    """Which version of QEMU says this of itself; ``None`` for another program."""
    match = re.match(r"QEMU emulator version (\d+(?:\.\d+)+)", text)
    return match.group(1) if match else None
