# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an image could not do, told before it is published: a trial would find out after hours, on a host.

Sources: elf(5) (``sys/sys/elf_common.h`` for the machines), ``usr.bin/uname``'s names of them, newvers.sh;
sshd_config(5) and FreeBSD's default of PermitRootLogin, which is ``no`` (``crypto/openssh/servconf.c``).
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from typing import List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.features import KERNEL, ZFS, features_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.guards import Guarded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree

SHELL = "bin/sh"
LOCALE = "usr/share/locale/C.UTF-8/LC_CTYPE"

#: ``e_machine`` of an ELF file, by what ``uname -p`` says
_MACHINES: Mapping[str, int] = {
    "amd64": 62,
    "i386": 3,
    "aarch64": 183,
    "arm64": 183,
    "armv7": 40,
    "riscv64": 243,
    "powerpc64": 21,
    "powerpc64le": 21,
}

#: machines that are started from our media
STARTED = ("amd64", "i386")

#: names that are another one's (machine(1) against ``uname -p``)
_ALIASES = ("arm64",)

_PERMIT_ROOT = re.compile(r"^\s*PermitRootLogin[ \t=]+\"?([\w-]+)", re.IGNORECASE | re.MULTILINE)
_MATCH = re.compile(r"^\s*Match\s", re.IGNORECASE | re.MULTILINE)


def check(tree: Tree, arch: str, abi: str, release: str) -> None:
    """See that a finished tree could come up, and is what its manifest will say.

    :param arch: what the manifest will say, as ``hw.machine_arch`` has it.
    :param abi: likewise, as pkg(8) has it.
    :param release: what the tree says that it is; empty where it does not.
    :raises Guarded: with the first thing that is wrong.
    """
    if KERNEL not in tree:
        raise Guarded(
            "the image has no kernel ({0})".format(KERNEL),
            todo="give kernel.txz of the release among image_sources, or take a kernel in image_base that lies there: "
            "generic does, FreeBSD has others of its own (minimal) in folders beside it",
        )
    if ZFS not in tree and features_of(tree) is None:
        raise Guarded(
            "the image has no ZFS ({0}), so no host that runs it would find its data".format(ZFS),
            todo="take a kernel.txz with its modules, or add zfs to image_kernel_modules",
        )
    major = _major(release)
    wanted = _major_of_abi(abi)
    if major and wanted and major != wanted:
        raise Guarded(
            "the system is FreeBSD {0}, and image_abi says {1}".format(release, abi),
            todo="correct image_abi: packages for another release would not run",
        )
    machine = _machine(tree)
    known = _MACHINES.get(arch)
    if machine is not None and known is not None and machine != known:
        names = ", ".join(name for name, number in _MACHINES.items() if number == machine) or str(machine)
        raise Guarded(
            "the programs of the system are for {0}, and image_arch says {1}".format(names, arch),
            todo="correct image_arch, or take the sets of that architecture",
        )


def settled(identity: Identity, tree: Tree, release: str) -> Identity:
    """An identity with the architecture and the ABI that the system has, where it does not say them itself.

    :param tree: with all sources in it.
    :param release: what the tree says that it is; empty where it does not.
    :raises Guarded: when that cannot be told.
    """
    arch = identity.arch or _architecture(tree)
    if not arch:
        raise Guarded(
            "for which architecture the system is cannot be told: {0} is no program of one that is known".format(SHELL),
            todo="say it (image_arch), or see what image_sources has",
        )
    major = _major(release)
    if not identity.abi and not major:
        raise Guarded(
            "the ABI of the system cannot be told: it does not say which release it is (bin/freebsd-version)",
            todo="say it (image_abi, as FreeBSD:15:{0}), or see what image_sources has".format(arch),
        )
    return replace(identity, arch=arch, abi=identity.abi or "FreeBSD:{0}:{1}".format(major, arch))


def refuse_foreign(arch: str) -> None:
    """Refuse an architecture whose machines could not be started from a medium of ours.

    Media have the code of a BIOS (pmbr, gptboot, boot0: ``stand/i386``), and an EFI system partition with
    ``BOOTX64.EFI``. FreeBSD builds gptboot.efi for all machines with EFI (``stand/efi/Makefile``), but a medium with
    that alone, under the name of another machine, was never made or started here.

    :raises Guarded: with what is missing.
    """
    if arch not in STARTED:
        raise Guarded(
            "images for {0} are not made: media for it would need an EFI system partition with another name and no "
            "code of a BIOS, which nobody has tried".format(arch),
            todo="take the sets of {0}; README.md says what works on which machines".format(STARTED[0]),
        )


def _major(release: str) -> str:
    found = re.match(r"(\d+)\.", release)
    return found.group(1) if found else ""


def _major_of_abi(abi: str) -> str:
    parts = abi.split(":")
    return parts[1] if len(parts) > 1 and parts[1].isdigit() else ""


def _head(tree: Tree) -> bytes:
    """How the shell begins; empty where it is no ELF file."""
    node = tree.follow(SHELL) if SHELL in tree else None
    head = node.content()[:20] if node is not None and node.kind == FILE else b""
    return head if head[:4] == b"\x7fELF" and len(head) == 20 else b""


def _is_big(head: bytes) -> bool:
    """Whether a file is for a machine with the big end first (``EI_DATA``)."""
    return head[5] == 2


def _machine(tree: Tree) -> Optional[int]:
    """For which machine the shell was compiled; ``None`` where it is no ELF file."""
    head = _head(tree)
    return int(struct.unpack(">H" if _is_big(head) else "<H", head[18:20])[0]) if head else None


def _architecture(tree: Tree) -> str:
    """The architecture that the shell was compiled for, as ``uname -p`` says it; empty where that is not known."""
    machine = _machine(tree)
    names = [name for name, number in _MACHINES.items() if number == machine and name not in _ALIASES]
    if len(names) > 1:  # powerpc64 and powerpc64le
        names = [name for name in names if name.endswith("le") != _is_big(_head(tree))]
    return names[0] if names else ""


def python_problems(tree: Tree) -> List[str]:
    """Why Ansible could not work there; a sentence each.

    A module of Ansible asks Python for a locale first, and fails with the words "unsupported locale setting" where
    there is none (``WITHOUT_LOCALES`` in src.conf(5) leaves them out).
    """
    if _machine(tree) is None or LOCALE in tree:
        return []
    return [
        "the image has no locale C.UTF-8 ({0}), without which no module of Ansible runs: build it with locales, or "
        "bring that file by an overlay".format(LOCALE)
    ]


def login_problems(tree: Tree) -> List[str]:
    """Why nobody could log in over the network to a host in recovery mode; a sentence each.

    On a host that is itself the keys come from /cfg, which deploy sees to.
    """
    found = []
    keys = _recovery_text(tree, "rootssh/authorized_keys")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in keys.splitlines()):
        found.append("no key may log in as root (image_recovery_ssh_keys)")
    said = _PERMIT_ROOT.search(_MATCH.split(_recovery_text(tree, "ssh/sshd_config"))[0])
    if said is None or said.group(1).lower() in ("no", "forced-commands-only"):
        found.append(
            "its sshd does not let root in (PermitRootLogin prohibit-password belongs into etc/ssh/sshd_config of an "
            "overlay)"
        )
    if not found:
        return []
    return [
        "in recovery mode this image lets nobody in over the network, unless another user can: {0}; somebody would "
        "have to go to the console of a host that lost its pool".format("; and ".join(found))
    ]


def _recovery_text(tree: Tree, path: str) -> str:
    """A file of /etc as recovery mode has it."""
    for place in ("conf/recovery/etc/", "etc/"):
        node = tree.follow(place + path) if place + path in tree else None
        if node is not None and node.kind == FILE:
            return node.content().decode("utf-8", "replace")
    return ""
