# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FreeBSD packages to test with."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import zstandard

ABI = "FreeBSD:13:amd64"


def manifest(name: str, **values: Any) -> Dict[str, Any]:
    """What pkg writes into a package, as far as it matters here."""
    made: Dict[str, Any] = {
        "name": name,
        "origin": "lang/" + name,
        "version": "1.2_3,1",
        "abi": ABI,
        "arch": "freebsd:13:x86:64",
        "prefix": "/usr/local",
        "licenselogic": "single",
        "licenses": ["PSFL"],
        "options": {"IPV6": "on", "DEBUG": "off"},
        "files": {"/usr/local/bin/{0}{1}".format(name, end): "1$" + "0" * 64 for end in ("", "-1")},
    }
    return dict(made, **values)


#: a member of a package: its full path, its content, and fields of its :class:`tarfile.TarInfo`
Member = Tuple[str, bytes, Dict[str, Any]]


def bundle(folder: Path, values: Dict[str, Any], members: Sequence[Member]) -> str:
    """A package of these members, with a manifest that names them as pkg 2 does.

    :param values: gets the files and folders.
    """
    values.update(files={}, directories={})
    for name, data, fields in members:
        about = {
            "uname": "root",
            "gname": fields.get("gname", "wheel"),
            "perm": "{0:05o}".format(fields.get("mode", 0o644)),
        }
        if fields.get("type") == tarfile.DIRTYPE:
            values["directories"][name] = about
        else:
            values["files"][name] = dict(about, sum="1$" + hashlib.sha256(data).hexdigest(), mtime=5)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, fields in [("+MANIFEST", json.dumps(values).encode(), {}), *members]:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime, info.uname, info.gname = len(data), 0o644, 5, "root", "wheel"
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    path = folder / "{0}-{1}.pkg".format(values["name"], values["version"])
    path.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))
    return str(path)


def make(folder: Path, values: Dict[str, Any], codec: str = "zstd", owner: Tuple[str, str] = ("root", "wheel")) -> str:
    """A package with one program, a hard link to it and a directory."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, data: bytes = b"", **fields: Any) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid, info.mtime = len(data), 12345, 12345, 5
            info.uname, info.gname = owner
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        add("+COMPACT_MANIFEST", b"{}")
        add("+MANIFEST", json.dumps(values).encode())
        name = "/usr/local/bin/" + values["name"]
        add(name, b"program of " + values["name"].encode(), mode=0o4755)
        add(name + "-1", type=tarfile.LNKTYPE, linkname=name)
        add("/usr/local/share/{0}/".format(values["name"]), type=tarfile.DIRTYPE, mode=0o750)
    packed = {"zstd": zstandard.ZstdCompressor().compress, "xz": lzma.compress}[codec](raw.getvalue())
    path = folder / "{0}-{1}.pkg".format(values["name"], values["version"])
    path.write_bytes(packed)
    return str(path)
