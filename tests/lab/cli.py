# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab from the command line; ``lab --help`` says what it can do."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import List

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, EXAMPLE, Site, buy, copy, make_site
from ansible_collections.nanozfs.fleet.tests.lab.vault import ADDRESSES as VAULTS
from ansible_collections.nanozfs.fleet.tests.lab.vault import Vault
from ansible_collections.nanozfs.fleet.tests.site import PlayFailed

_ABOUT = """A fleet of FreeBSD-like hosts on this machine. Each checkout has its own lab, the one here is called {0};
NANOZFS_LAB in the environment names another one.""".format(paths.LAB.name)


def _of_site(name: str) -> str:
    """The name of a host that the lab's site has or can have."""
    if name not in ADDRESSES:
        raise argparse.ArgumentTypeError("{0} is none of web-1 to web-{1}".format(name, len(ADDRESSES)))
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=_ABOUT)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text)

    verb("up", "set the lab up, without hosts")
    verb("down", "take everything away")
    site = verb("site", "set the lab up, with a site in its folder and images 1.0, 1.1 and 1.2 (which does not work)")
    site.add_argument("--hosts", type=int, default=len(EXAMPLE), help="how many its inventory has, of sites of five")
    verb("hosts", "give the site's inventory so many hosts").add_argument("count", type=int)
    fresh = verb("fresh", "replace hosts of the site by new machines with a medium, switched on")
    fresh.add_argument("host", nargs="+", type=_of_site)
    fresh.add_argument("--version", default="1.0")
    fresh.add_argument("--stick", action="store_true", help="the medium is a stick, da0; ada0 is an empty disk")
    fresh.add_argument("--kept", action="store_true", help="as they were kept, where they were; installed then")
    keep = verb("keep", "keep hosts as they are now, for `fresh --kept`; once")
    keep.add_argument("host", nargs="+")
    copies = verb("copy", "replace hosts of the site by installed ones like a kept one, with identities of their own")
    copies.add_argument("original", type=_of_site, help="the host that was kept")
    copies.add_argument("host", nargs="+", type=_of_site)
    verb("status", "list the hosts")
    verb("leftovers", "say what the lab has left behind after its end; exit status 1 if anything")
    verb("home", "say in which folder the lab is; its site is below that")
    add = verb("add", "add a host with data disks, without a medium")
    add.add_argument("host")
    add.add_argument("number", type=int, help="last part of its address 10.77.0.N")
    add.add_argument("--disks", type=int, default=3)
    add.add_argument("--size", type=int, default=512, help="of each data disk, in MiB")
    insert = verb("insert", "put an OS medium in")
    insert.add_argument("host")
    insert.add_argument("image")
    eject = verb("eject", "take the OS medium out")
    eject.add_argument("host")
    eject.add_argument("--disk", default="ada0")
    for name, text in (("on", "switch hosts on"), ("cut", "cut the power of hosts"), ("wait", "wait for their ssh")):
        verb(name, text).add_argument("host", nargs="+")
    stutter = verb("stutter", "switch a host on until it comes up, the power failing in each early boot")
    stutter.add_argument("host")
    stutter.add_argument(
        "commands",
        type=int,
        help="how many commands that change a dataset the first boot may do; each later one does one more",
    )
    until = verb("await", "wait until a host runs from a slice in state normal, without asking it")
    until.add_argument("host")
    until.add_argument("slice")
    for name, text in (("pull", "pull data disks out"), ("plug", "put data disks back")):
        each = verb(name, text)
        each.add_argument("host")
        each.add_argument("disk", nargs="+")
    link = verb("link", "plug a network cable in or pull it")
    link.add_argument("host")
    link.add_argument("state", choices=["up", "down"])
    vault = verb("vault", "a backup host: a Linux machine with rsnapshot and dirvish, and a disk of its own for sets")
    vault.add_argument(
        "state", choices=["fresh", "on", "cut", "gone"], help="fresh: a new one, in the inventory; gone: none"
    )
    vault.add_argument("host", nargs="?", default="vault", choices=sorted(VAULTS))
    verb("console", "show what is on a host's console").add_argument("host")
    verb("serve", "publish a folder at http://10.77.0.1:8080/").add_argument("folder")
    run = verb("run", "run a command within the network of the lab")
    run.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _status(lab: Lab) -> None:
    for host in lab.hosts:
        kenv = host.kenv() if host.is_on else {}
        print(
            "{0:<12} {1:<12} {2:<4} {3:<12} {4}".format(
                host.name,
                host.address,
                "on" if host.is_on else "off",
                kenv.get("nanozfs.slice", ""),
                kenv.get("nanozfs.state", ""),
            )
        )


def _vault(vault: Vault, state: str) -> None:
    site = Site(os.path.join(paths.HOME, "site"))
    if state == "cut":
        vault.cut()
        return
    if state in ("fresh", "gone"):
        vault.scrap()
    if state == "gone":
        site.remove_backup_hosts()
        return
    if not vault.exists:
        vault.build(site.public("admin"))
        site.add_backup_host(vault.name, vault.address)
    vault.on()
    vault.wait()


def _host_verb(host: Host, options: argparse.Namespace) -> None:
    if options.verb == "insert":
        host.insert(os.path.abspath(options.image))
    elif options.verb == "eject":
        host.eject(options.disk)
    elif options.verb == "pull":
        host.pull(*options.disk)
    elif options.verb == "plug":
        host.plug(*options.disk)
    elif options.verb == "link":
        host.link(options.state == "up")
    else:
        print(host.console(), end="")


def main(argv: List[str]) -> int:
    """Entry point."""
    options = _parser().parse_args(argv)
    lab = Lab()
    try:
        if options.verb in ("up", "down"):
            getattr(lab, options.verb)()
        elif options.verb == "site":
            make_site(lab, options.hosts)
        elif options.verb == "hosts":
            Site(os.path.join(paths.HOME, "site")).enlist(options.count)
        elif options.verb == "copy":
            copy(lab, options.original, options.host)
        elif options.verb == "fresh":
            site = Site(os.path.join(paths.HOME, "site"))
            for name in options.host:
                lab.discard(name)
            site.hang_up()
            restored = [name for name in options.host if options.kept and lab.restore(name)]
            for name in restored:
                lab.host(name).on()
            medium = site.medium(options.version)
            buy(lab, [name for name in options.host if name not in restored], medium, options.stick)
            lab.wait(restored)
        elif options.verb == "vault":
            _vault(Vault(options.host), options.state)
        elif options.verb == "keep":
            for name in options.host:
                lab.keep(name)
        elif options.verb == "status":
            _status(lab)
        elif options.verb == "home":
            print(paths.HOME)
        elif options.verb == "leftovers":
            found = lab.leftovers()
            print("".join(each + "\n" for each in found), end="")
            return 1 if found else 0
        elif options.verb == "add":
            Host(options.host).create(options.number, options.disks, options.size << 20)
        elif options.verb == "serve":
            lab.serve(os.path.abspath(options.folder))
        elif options.verb == "run":
            argv = ["nsenter", "--net=/run/netns/" + paths.NETNS, *options.command]
            return subprocess.run(argv, check=False).returncode
        elif options.verb in ("on", "cut"):
            for name in options.host:
                getattr(lab.host(name), options.verb)()
        elif options.verb == "stutter":
            print(lab.stutter(options.host, options.commands))
        elif options.verb == "await":
            lab.wait_for_slice(options.host, options.slice)
        elif options.verb == "wait":
            lab.wait(options.host)
        else:
            _host_verb(lab.host(options.host), options)
    except (LabError, PlayFailed) as error:
        print("lab: {0}".format(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
