# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's stand-in for QEMU on a backup host: a machine of the lab with the disks of a command line.

On the backup host, ``qemu-system-x86_64`` is a script that hands its arguments and the files that were opened for it to
this process, which is outside of the backup host's namespaces, and waits. A command line is judged word by word: what
QEMU would do otherwise than the machine here is refused, and above all a machine that could reach anybody. The machine
has a network of its own that is connected to nothing; the one port of the backup host that leads to it is this
process's. It ends with the script.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Sequence

from ansible_collections.nanozfs.fleet.tests.lab import paths, syscalls
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab, sh
from ansible_collections.nanozfs.fleet.tests.lab.supervisor import Clock, netns
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

#: the socket, in the folder of a backup host and on it
SOCKET, INSIDE = "emulator", paths.INSIDE + "/room"

#: what stands for QEMU; nothing that it could not do as ``nobody`` is done by it
SCRIPT = """#!/usr/bin/python3 -IS
import json, os, re, socket, sys
if sys.argv[1:] == ["--version"]:
    print("QEMU emulator version 7.2.22 (the lab's stand-in)")
    sys.exit(0)
fds = [int(number) for word in sys.argv for number in re.findall(r"\\bfd=(\\d+)", word)]
link = socket.socket(socket.AF_UNIX)
link.connect({0!r})
socket.send_fds(link, [json.dumps(sys.argv).encode()], fds)
for fd in fds:
    os.close(fd)
said = link.recv(1 << 16).decode()
sys.stderr.write("qemu-system-x86_64: " + said + "\\n" if said != "off" else "")
sys.exit(said != "off")
""".format(INSIDE + "/" + SOCKET)

#: what goes before a value that is one of these, and nothing else
_FIXED = {
    "-display": r"none",
    "-machine": r"q35",
    "-accel": r"tcg,thread=multi,tb-size=\d+",
    "-cpu": r"max",
    "-smp": r"\d+",
    "-m": r"\d+",
    "-serial": r"chardev:console",
    "-chardev": r"socket,id=console,fd=\d+",
    "-uuid": r"[0-9a-f-]{36}",
    "-name": r"nanozfs-[A-Za-z0-9._-]+",
    "-sandbox": r"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-add-fd": r"fd=\d+,set=\d+",
    "-drive": r"if=none,id=drive\d+,format=raw,cache=unsafe,file=/dev/fdset/\d+,auto-read-only=off",
    "-device": r"virtio-rng-pci|virtio-blk-pci,id=disk(\d+),drive=drive\1,serial=NZ\1|virtio-net-pci,netdev=net",
    "-netdev": r"user,id=net,.*",
}
_ALONE = ("-nodefaults", "-no-user-config")
_FORWARD = re.compile(r"tcp:127\.0\.0\.1:(\d+)-([\d.]+):(\d+)")


class Refusal(Exception):
    """A command line that is not what it should be."""


class Order(NamedTuple):
    """What a command line asks for.

    :param disks: how many.
    :param port: of 127.0.0.1 on the backup host, which leads to port *ssh* of the machine.
    :param address: that DHCP gives the machine, with how long its network is.
    """

    name: str
    disks: int
    port: int
    ssh: int
    address: str
    uuid: str


def ordered(argv: Sequence[str]) -> Order:
    """What a command line asks for.

    :raises Refusal: when QEMU would not do the same, or the machine could reach somebody.
    """
    found: Dict[str, List[str]] = {}
    words = list(argv[1:])
    while words:
        option = words.pop(0)
        if option in _ALONE:
            found[option] = [""]
            continue
        if option not in _FIXED or not words:
            raise Refusal("{0}: invalid option".format(option))
        value = words.pop(0)
        if not re.fullmatch(_FIXED[option], value):
            raise Refusal("{0} {1}: not for this machine".format(option, value))
        found.setdefault(option, []).append(value)
    missing = sorted({*_FIXED, *_ALONE} - set(found))
    if missing:
        raise Refusal("{0} is missing".format(", ".join(missing)))
    several = [key for key in found if len(found[key]) > 1 and key not in ("-add-fd", "-drive", "-device")]
    sets = [re.findall(r"set=(\d+)", each)[0] for each in found["-add-fd"]]
    files = [re.findall(r"fdset/(\d+)", each)[0] for each in found["-drive"]]
    if several or sets != files or len(found["-device"]) != len(files) + 2:
        raise Refusal("its disks or other parts do not belong together")
    net: Dict[str, str] = {}
    for each in found["-netdev"][0].split(",")[1:]:
        key, _equals, value = each.partition("=")
        if key in net or key not in ("id", "ipv6", "restrict", "net", "host", "dns", "dhcpstart", "hostfwd"):
            raise Refusal("-netdev {0}: not for this machine".format(each))
        net[key] = value
    if (net.get("restrict"), net.get("ipv6")) != ("on", "off"):
        raise Refusal("the machine could reach others: -netdev {0}".format(found["-netdev"][0]))
    forward = _FORWARD.fullmatch(net.get("hostfwd", ""))
    try:
        network = ipaddress.ip_network(net["net"])
        inside = [ipaddress.ip_address(net[key]) for key in ("host", "dns", "dhcpstart")]
    except (KeyError, ValueError) as error:
        raise Refusal("its network makes no sense: {0}".format(error))
    if len(set(inside)) != 3 or not all(each in network for each in inside) or not forward:
        raise Refusal("its network makes no sense: {0}".format(found["-netdev"][0]))
    if forward.group(2) != net["dhcpstart"]:
        raise Refusal("its port leads to {0}, and it has {1}".format(forward.group(2), net["dhcpstart"]))
    return Order(
        found["-name"][0][len("nanozfs-") :],
        len(files),
        int(forward.group(1)),
        int(forward.group(3)),
        "{0}/{1}".format(net["dhcpstart"], network.prefixlen),
        found["-uuid"][0],
    )


def within(space: str, work: Callable[[], Any]) -> Any:
    """Do something in another network namespace, in a thread of its own: what it opens stays there."""
    found: List[Any] = []

    def there() -> None:
        with open("/run/netns/" + space, encoding="ascii") as file:
            syscalls.setns(file.fileno(), syscalls.NEWNET)
        with suppress(OSError):
            found.append(work())

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    if not found:
        raise OSError("it cannot be reached")
    return found[0]


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        for piece in iter(lambda: source.recv(1 << 16), b""):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Emulated:
    """One machine.

    :param vault: the backup host that it is on.
    :param disks: descriptors of what is on them, the medium first.
    :param console: descriptor of the socket that its console goes to.
    """

    def __init__(self, vault: str, order: Order, disks: Sequence[int], console: int) -> None:
        self.order = order
        self.host = Host("copy-" + order.name)
        self._vault, self._disks, self._console = vault, disks, socket.socket(fileno=console)
        self._over = threading.Event()

    def run(self, link: socket.socket) -> str:
        """Have it until it switches itself off or the script is gone; what there is to say."""
        self._build()
        address, port = self.order.address.split("/")[0], self.order.ssh
        listener = within(
            netns(self._vault), lambda: socket.create_server(("127.0.0.1", self.order.port), reuse_port=False)
        )
        self.host.on()
        threading.Thread(target=self._tell, daemon=True).start()
        threading.Thread(target=self._serve, args=(listener, address, port), daemon=True).start()
        link.settimeout(0.2)
        try:
            while self.host.is_on:
                with suppress(socket.timeout):
                    if not link.recv(1):
                        return "gone"
            return "off"
        finally:
            self._over.set()
            listener.close()
            Lab().discard(self.host.name)

    def _build(self) -> None:
        Lab().discard(self.host.name)
        machine = Machine.create(self.host.home, paths.SHELF, Clock(), seed=self.order.port)
        machine.hardware["uuid"] = self.order.uuid
        for number, descriptor in enumerate(self._disks):
            path = "/proc/self/fd/{0}".format(descriptor)
            if number:
                machine.add_disk("vtbd{0}".format(number), os.path.getsize(path))
            else:
                machine.insert_disk("vtbd0", path, "NZ0")
        for name, text in (("address", self.order.address), ("link", "none")):
            with open(os.path.join(self.host.home, name), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        space = netns(self.host.name)
        sh("ip", "netns", "add", space)
        # the other end of its cable is in nothing
        sh("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", "nowhere")
        sh("ip", "-n", space, "link", "set", "lo", "up")

    def _tell(self) -> None:
        """Hand its console on."""
        seen = 0
        while not self._over.wait(0.1):
            said = self.host.console().encode("utf-8")
            with suppress(OSError):
                self._console.sendall(said[seen:])
            seen = len(said)

    def _serve(self, listener: socket.socket, address: str, port: int) -> None:
        """The port that leads to it."""
        while True:
            try:
                near, _peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near, address, port), daemon=True).start()

    def _connect(self, near: socket.socket, address: str, port: int) -> None:
        try:
            far = within(netns(self.host.name), lambda: socket.create_connection((address, port), 5))
        except OSError:  # it is not up yet; QEMU's own takes the connection as well, and drops it
            near.close()
            return
        far.settimeout(None)
        threading.Thread(target=_pump, args=(near, far), daemon=True).start()
        _pump(far, near)
        near.close()
        far.close()


def _answer(vault: str, link: socket.socket) -> None:
    """One script."""
    with link:
        _pid, uid, _gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        data, fds, _flags, _address = socket.recv_fds(link, 1 << 16, 16)
        try:
            if uid == 0:
                raise Refusal("it runs as root")
            argv = json.loads(data)
            order = ordered(argv)
            numbers = [int(number) for word in argv for number in re.findall(r"\bfd=(\d+)", word)]
            console = numbers.index(int(re.findall(r"id=console,fd=(\d+)", " ".join(argv))[0]))
            disks = [fd for at, fd in enumerate(fds) if at != console]
            said = Emulated(vault, order, disks, fds[console]).run(link)
        except (Refusal, OSError) as error:
            said = str(error)
        for fd in fds:
            with suppress(OSError):
                os.close(fd)
        with suppress(OSError):
            link.sendall(said.encode("utf-8"))


def main(argv: List[str]) -> NoReturn:
    """Entry point."""
    (name,) = argv
    room = os.path.join(paths.VAULTS, name, "room")
    os.makedirs(room, exist_ok=True)
    path = os.path.join(room, SOCKET)
    with suppress(FileNotFoundError):
        os.unlink(path)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen(8)
    while True:
        link, _peer = listener.accept()
        threading.Thread(target=_answer, args=(name, link), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
