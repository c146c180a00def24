# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program ``nanozfs-backup``, packed to be brought to a backup host: one file that a Python runs as it is.

It is what ``module_utils/_vault/cli.py`` imports, and nothing of Ansible's. The same sources give the same bytes: names
are sorted, times are fixed and nothing is compressed, as that would depend on the version of zlib.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import os
import zipfile
from typing import Dict, List, Set

_PLUGINS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGE = "ansible_collections.nanozfs.fleet.plugins"

#: what is run
ENTRY = "module_utils/_vault/cli.py"

_MAIN = """import sys

from {0}.module_utils._vault.cli import main

sys.exit(main())
""".format(_PACKAGE)

#: the earliest time that a zip file can have
_TIME = (1980, 1, 1, 0, 0, 0)


def _read(path: str) -> bytes:
    with open(os.path.join(_PLUGINS, path), "rb") as file:
        return file.read()


def _imported(source: bytes) -> List[str]:
    """The files of the collection that one imports, relative to plugins/."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(_PACKAGE + "."):
            continue
        base = str(node.module)[len(_PACKAGE) + 1 :].replace(".", "/")
        for path in [base + ".py", *("{0}/{1}.py".format(base, each.name) for each in node.names)]:
            if os.path.isfile(os.path.join(_PLUGINS, path)):
                found.append(path)
    return found


def parts() -> Dict[str, bytes]:
    """All files of the program, by their names in it."""
    found: Dict[str, bytes] = {}
    left: List[str] = [ENTRY]
    while left:
        path = left.pop()
        if path not in found:
            found[path] = _read(path)
            left += _imported(found[path])
    base = _PACKAGE.replace(".", "/")
    files = {"{0}/{1}".format(base, path): data for path, data in found.items()}
    folders: Set[str] = set()
    for path in files:
        folder = os.path.dirname(path)
        while folder:
            folders.add(folder)
            folder = os.path.dirname(folder)
    files.update({folder + "/__init__.py": b"" for folder in folders})
    files["__main__.py"] = _MAIN.encode("ascii")
    return files


@functools.lru_cache(maxsize=1)
def pack() -> bytes:
    """The file (python(1) runs a zip file with ``__main__.py`` in it)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(parts().items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # whatever system this is
            archive.writestr(entry, data)
    return packed.getvalue()


def digest() -> str:
    """Its SHA-256."""
    return hashlib.sha256(pack()).hexdigest()
