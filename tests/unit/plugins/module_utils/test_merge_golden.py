# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the overrides of three sites between two releases: results that somebody has read and judged right.

tests/fixtures/etc/README.md says what the files are.
"""

from __future__ import annotations

import json
import os
from typing import Iterator, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge import kinds
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import merge
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Lines, Unfit

ETC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "fixtures", "etc")


def _read(*path: str) -> bytes:
    with open(os.path.join(ETC, *path), "rb") as file:
        return file.read()


def _files(folder: str) -> Iterator[str]:
    for where, _folders, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(where, name), folder)


OVERRIDES: List[Tuple[str, str]] = [
    (site, path) for site in ("web", "mail", "jail") for path in sorted(_files(os.path.join(ETC, "sites", site)))
]


@pytest.mark.parametrize(("site", "path"), OVERRIDES)
def test_result(site: str, path: str) -> None:
    outcome = merge(path, _read("13.2", path), _read("15.0", path), _read("sites", site, path))
    conflicts = json.loads(_read("merged", site + ".conflicts.json")).get(path, [])
    assert (outcome.content or b"").decode() == _read("merged", site, path).decode()
    assert [list(conflict) for conflict in outcome.conflicts] == conflicts
    assert outcome.kind == ("conflict" if conflicts else "merged")


def test_there_is_something_to_see() -> None:
    assert len(OVERRIDES) > 20
    assert len({path for _site, path in OVERRIDES}) > 15
    secrets = [b"rootrootroot", b"annaanna"]
    conflicts = b"".join(_read("merged", site + ".conflicts.json") for site in ("web", "mail", "jail"))
    assert any(secret in _read("sites", "web", "master.passwd") for secret in secrets)
    assert not any(secret in conflicts for secret in secrets)


@pytest.mark.skipif(not os.environ.get("NANOZFS_ETC"), reason="NANOZFS_ETC names no /etc of a real FreeBSD")
def test_real_files_are_read_by_their_grammar() -> None:
    folder = os.environ["NANOZFS_ETC"]
    seen = 0
    for path in _files(folder):
        grammar = kinds.grammar_of(path)
        if isinstance(grammar, Lines) or not os.path.isfile(os.path.join(folder, path)):
            continue
        with open(os.path.join(folder, path), encoding="latin-1", newline="") as file:
            text = file.read()
        try:
            tokens = grammar.parse(text)
        except Unfit:
            assert path.startswith("defaults/"), path  # scripts with code in them
            continue
        assert "".join(token.text for token in tokens) == text
        assert all(token.key is None or token.key[0] or len(token.key) == 1 or "pam" in path for token in tokens), path
        # what the site adds at the end comes through any change of the base, and nothing else changes
        half = "".join(token.text for token in tokens[::2])
        both = merge(path, half.encode("latin-1"), text.encode("latin-1"), (half + "\n").encode("latin-1"))
        assert both.kind in ("merged", "kept", "follows"), (path, both.conflicts)
        seen += 1
    assert seen > 5, "these are not the files of an /etc"
