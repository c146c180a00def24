# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Version, changelog and what is in the collection say the same."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, Set, Tuple

import pytest
import yaml

COLLECTION = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def text_of(*path: str) -> str:
    """A file of the repository."""
    with open(os.path.join(COLLECTION, *path), encoding="utf-8") as file:
        return file.read()


def number(version: str) -> Tuple[int, ...]:
    """A version, to compare."""
    return tuple(int(word) for word in version.split("."))


VERSION = yaml.safe_load(text_of("galaxy.yml"))["version"]
RELEASES: Dict[str, Dict[str, Any]] = yaml.safe_load(text_of("changelogs", "changelog.yaml"))["releases"]
NEWEST = max(RELEASES, key=number)


def test_version() -> None:
    """That of the newest release, or one that will be newer."""
    match = re.fullmatch(r"(\d+\.\d+\.\d+)(-dev0)?", VERSION)
    assert match, VERSION
    assert number(match.group(1)) > number(NEWEST) if match.group(2) else VERSION == NEWEST


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CHANGELOG.rst"])
def test_changelog_has_every_release(name: str) -> None:
    headings = re.findall(r"(?m)^(?:## )?v(\d\S+)$", text_of(name).replace("\\", ""))
    assert headings == sorted(RELEASES, key=number, reverse=True)


def test_a_release_leaves_no_fragments() -> None:
    """What they say would be in no changelog."""
    left = set(os.listdir(os.path.join(COLLECTION, "changelogs", "fragments"))) - {".keep"}
    assert VERSION != NEWEST or not left, (
        "take them into the release, or begin the next version (CONTRIBUTING.md, Releases)"
    )


def contents() -> Iterator[Tuple[str, str, Set[str]]]:
    """Kind, name and ``version_added`` of what the collection has for plays."""
    for name in os.listdir(os.path.join(COLLECTION, "plugins", "modules")):
        if not name.endswith(".py"):
            continue
        yield "module", name[:-3], set(re.findall(r"(?m)^version_added: (\S+)", text_of("plugins", "modules", name)))
    for name in os.listdir(os.path.join(COLLECTION, "roles")):
        specs = yaml.safe_load(text_of("roles", name, "meta", "argument_specs.yml"))["argument_specs"]
        # an entry point that comes later is no new role
        yield "role", name, {min((str(spec["version_added"]) for spec in specs.values()), key=number)}
    for name in os.listdir(os.path.join(COLLECTION, "playbooks")):
        if name.endswith(".yml"):
            yield "playbook", name[:-4], set()


def told() -> Iterator[Tuple[str, str, str]]:
    """Kind, name and version of what the changelog says is new."""
    for version, release in RELEASES.items():
        for kind, entries in {"module": release.get("modules", []), **release.get("objects", {})}.items():
            for entry in entries:
                yield kind, entry["name"], version


def test_changelog_has_what_is_new() -> None:
    """Playbooks only have a version there: a fragment names them, in ``add object.playbook``."""
    known = {(kind, name): version for kind, name, version in told()}
    coming: Set[str] = set()
    for name in os.listdir(os.path.join(COLLECTION, "changelogs", "fragments")):
        fragment = yaml.safe_load(text_of("changelogs", "fragments", name)) or {}
        coming |= {entry["name"] for entry in fragment.get("add object.playbook", [])}
    for kind, name, added in contents():
        if (kind, name) in known:
            assert added <= {known[kind, name]}, name
        elif kind == "playbook":
            assert name in coming, name
        else:
            (version,) = added
            assert number(version) > number(NEWEST), name
