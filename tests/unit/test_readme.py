# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The READMEs as Galaxy shows them: without the files beside them."""

from __future__ import annotations

import os
import re
from typing import List

import pytest

COLLECTION = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

#: where the files of the repository are shown
SHOWN = re.compile(r"https://github\.com/nanozfs/fleet/(?:blob|tree)/main/([^#]*)(?:#(.+))?")

READMES = ["README.md"] + sorted(
    os.path.join("roles", role, "README.md") for role in os.listdir(os.path.join(COLLECTION, "roles"))
)


def text_of(path: str) -> str:
    """A file of the repository, without what stands in blocks of code."""
    with open(os.path.join(COLLECTION, path), encoding="utf-8") as file:
        return re.sub(r"(?ms)^```.*?^```", "", file.read())


def links_of(text: str) -> List[str]:
    """What links and pictures lead to, as Markdown and HTML write them."""
    ways = r"\]\(\s*<?([^)\s>]+)", r"(?m)^\s*\[[^\]]+\]:\s*(\S+)", r"(?:href|src)=[\"']([^\"']+)"
    return [link for way in ways for link in re.findall(way, text)]


def anchors_of(text: str) -> List[str]:
    """What GitHub calls the headings."""
    return [
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ +(.+?) *$", text)
    ]


def broken(text: str) -> List[str]:
    """The links that lead nowhere, or only where the files are beside this one."""
    found = []
    for link in links_of(text):
        shown = SHOWN.fullmatch(link)
        if shown:
            path, anchor = shown.groups()
            good = os.path.exists(os.path.join(COLLECTION, path))
            good = good and (not anchor or anchor in anchors_of(text_of(path)))
        elif link.startswith("#"):
            good = link[1:] in anchors_of(text)
        else:
            good = link.startswith(("https://", "mailto:"))
        if not good:
            found.append(link)
    return found


@pytest.mark.parametrize("path", READMES)
def test_links(path: str) -> None:
    text = text_of(path)
    assert links_of(text)
    assert not broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/lab.md)",
        "![a](/docs/benchmarks.svg)",
        "[a][b]\n\n[b]: ../docs/lab.md",
        '<img src="docs/benchmarks.svg">',
        "[a](#nowhere)",
        "[a](https://github.com/nanozfs/fleet/blob/main/docs/nothing.md)",
        "[a](https://github.com/nanozfs/fleet/blob/main/docs/layout.md#nothing)",
    ],
)
def test_what_is_found(text: str) -> None:
    assert len(broken(text)) == 1


def test_a_heading_by_its_name() -> None:
    assert not broken(
        "[a](https://github.com/nanozfs/fleet/blob/main/docs/layout.md#with-an-mbr) [b](#who-is-it)\n# Who *is* it?"
    )


def test_what_galaxy_asks_for() -> None:
    wanted = "description requirements installation use-cases testing support-and-contributing release-notes licence"
    assert set(wanted.split()) <= set(anchors_of(text_of("README.md")))
