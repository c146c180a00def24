# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kit as one encrypted file: a tar archive in a vault of Ansible, so that what opens it is needed next anyway.

What was written is read back and opened before the one of before is replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit.contents import FILE, FOLDER, LINK, Member

#: the folder that everything of a kit is in, and what describes it
TOP, LIST, README = "nanozfs-kit", "kit.json", "README.txt"

FORMAT = 1

#: characters of a passphrase: whoever has the kit can try as long as he likes
SHORTEST = 16

#: what is behind the name of a kit in that of the text beside it
BESIDE = ".txt"

_ID = "kit"
_KINDS = {FILE: tarfile.REGTYPE, LINK: tarfile.SYMTYPE, FOLDER: tarfile.DIRTYPE}
_SAFE = "a kit that was there is as it was"


class Opened(NamedTuple):
    """A kit that could be opened: what it has, by name, as :func:`fingerprints` tells it."""

    description: Mapping[str, Any]
    prints: Dict[str, str]


def fingerprints(members: Sequence[Member]) -> Dict[str, str]:
    """What makes each member what it is, by its name; two kits with the same are the same kit."""
    return {
        each.name: "{0} {1:o} {2}".format(each.kind, each.mode, hashlib.sha256(each.content).hexdigest())
        for each in members
    }


def _secret(passphrase: str) -> VaultSecret:
    """:raises Refused: when it is too short."""
    if len(passphrase) < SHORTEST:
        raise Refused(
            "the passphrase of a kit must have {0} characters at least".format(SHORTEST),
            safe="no kit was written; one that was there is as it was",
            todo="take some words that people can remember, and write down nowhere near the kit",
        )
    return VaultSecret(passphrase.encode("utf-8"))


def _archive(members: Sequence[Member], texts: Mapping[str, str], made: int) -> bytes:
    """The archive.

    :param texts: further files, by their name.
    :param made: when, in seconds since the epoch: the time of all files.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        written = [Member(name, "", FILE, 0o600, text.encode("utf-8")) for name, text in sorted(texts.items())]
        for each in [*written, *members]:
            info = tarfile.TarInfo("{0}/{1}".format(TOP, each.name))
            info.type, info.mode, info.mtime = _KINDS[each.kind], each.mode, made
            if each.kind == LINK:
                info.linkname = os.fsdecode(each.content)
            info.size = len(each.content) if each.kind == FILE else 0
            archive.addfile(info, io.BytesIO(each.content) if each.kind == FILE else None)
    return out.getvalue()


def write_beside(path: str, text: str) -> None:
    """Write the text that lies beside a kit in the clear.

    :raises FleetError: when it cannot be written.
    """
    try:
        with arriving(path + BESIDE) as (_partial, file):
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise FleetError(
            "{0} cannot be written: {1}".format(path + BESIDE, error.strerror),
            safe="the kit itself is written",
            todo="see that the folder has room, and run this again",
        )


def open_kit(path: str, passphrase: str) -> Opened:
    """What a kit has.

    :raises FleetError: when it cannot be read or opened, or is no kit.
    """
    try:
        with open(path, "rb") as file:
            raw = VaultLib([(_ID, _secret(passphrase))]).decrypt(file.read())
        members: List[Member] = []
        description: Dict[str, Any] = {}
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:xz", errors="surrogateescape") as archive:
            for info in archive:
                name = info.name[len(TOP) + 1 :]
                extracted = archive.extractfile(info) if info.isreg() else None
                content = extracted.read() if extracted else os.fsencode(info.linkname) if info.issym() else b""
                kind = FILE if info.isreg() else LINK if info.issym() else FOLDER
                if name == LIST:
                    description = json.loads(content)
                elif name != README:
                    members.append(Member(name, "", kind, info.mode, content))
    except (OSError, AnsibleError, tarfile.TarError, ValueError, EOFError) as error:
        why = "with another passphrase, perhaps" if isinstance(error, AnsibleError) else str(error)
        raise FleetError("{0} cannot be opened as a kit: {1}".format(path, why), safe="it is as it was")
    if description.get("format") != FORMAT:
        raise FleetError("{0} is a kit of another format".format(path), safe="it is as it was")
    return Opened(description, fingerprints(members))


def differences(before: Optional[Opened], now: Mapping[str, str]) -> Dict[str, List[str]]:
    """The names of what is new, other and gone."""
    old = before.prints if before else {}
    return {
        "new": sorted(set(now) - set(old)),
        "changed": sorted(name for name in set(now) & set(old) if now[name] != old[name]),
        "gone": sorted(set(old) - set(now)),
    }


def write(
    path: str, passphrase: str, members: Sequence[Member], description: Mapping[str, Any], readme: str, made: int
) -> int:
    """Write a kit, and see that it can be opened and has everything, before it takes the place of the one of before.

    :param description: for programs; of what ``kit.json`` says.
    :param readme: for people, in the kit.
    :returns: how large it is, in bytes.
    :raises FleetError: when that fails.
    """
    secret = _secret(passphrase)
    texts = {LIST: json.dumps(dict(description, format=FORMAT, made=made), indent=1, sort_keys=True), README: readme}
    raw = VaultLib().encrypt(_archive(members, texts, made), secret=secret, vault_id=_ID)
    try:
        with arriving(path, 0o600) as (partial, file):
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            if open_kit(partial, passphrase).prints != fingerprints(members):
                raise FleetError("what was read back of {0} is not what was written".format(path), safe=_SAFE)
    except OSError as error:
        raise FleetError(
            "{0} cannot be written: {1}".format(path, error.strerror),
            safe=_SAFE,
            todo="see that the folder is there, can be written to, and has room for {0} MB".format(
                len(raw) // 1000000 + 1
            ),
        )
    return len(raw)
