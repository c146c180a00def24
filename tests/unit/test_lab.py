# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a lab is called, and what is its own by that."""

from __future__ import annotations

from typing import Dict

import pytest

from ansible_collections.nanozfs.fleet.tests.lab.paths import places


def test_a_checkout_has_a_lab_of_its_own() -> None:
    here, there = places({}, "/home/me/fleet"), places({}, "/home/you/fleet")
    assert here.name.startswith("fleet-") and there.name.startswith("fleet-")
    assert not {here.name, here.home, here.memory, here.netns} & {there.name, there.home, there.memory, there.netns}
    assert here == places({}, "/home/me/fleet")
    assert here.home == "/var/tmp/nanozfs-lab-" + here.name
    assert here.memory == "/run/nanozfs-lab-" + here.name


@pytest.mark.parametrize(
    "checkout, begins",
    [
        ("/", "lab-"),
        ("/srv/-- ! --", "lab-"),
        ("/srv/ansible_collections/Fleet of mine", "fleet-of-min-"),
        ("/srv/" + "long-name-" * 20, "long-name-lo-"),
        ("/srv/flott\udce9", "flott-"),
    ],
)
def test_any_checkout_makes_a_name_that_can_be_given_as_well(checkout: str, begins: str) -> None:
    found = places({}, checkout)
    assert found.name.startswith(begins) and len(found.name) <= 32
    assert places({"NANOZFS_LAB": found.name}, "/other") == found


def test_whoever_is_told_finds_the_same_lab() -> None:
    """As hosts and their supervisors do, whose code is a copy in another folder."""
    lab = places({"NANOZFS_LAB": "x", "NANOZFS_LAB_FOLDER": "/data/", "NANOZFS_LAB_MEMORY": "/mnt/ram"}, "/a")
    assert (lab.home, lab.memory, lab.netns) == ("/data/nanozfs-lab-x", "/mnt/ram/nanozfs-lab-x", "nzlab.x")
    assert places(lab.environment, "/b") == lab
    assert places(places({}, "/a").environment, "/b") == places({}, "/a") != places({}, "/b")


def test_no_lab_takes_what_is_of_another_one_for_its_own() -> None:
    """What stands behind the name of a network cannot be in a name: web and web-1, with a host 1, are two."""
    one, two = places({"NANOZFS_LAB": "web"}, "/a"), places({"NANOZFS_LAB": "web-1"}, "/a")
    assert not (two.netns + ".1").startswith(one.netns + ".")
    assert not (two.home + "/hosts").startswith(one.home + "/")


@pytest.mark.parametrize(
    "environment",
    [
        {"NANOZFS_LAB": "/var/tmp/lab"},
        {"NANOZFS_LAB": "a.b"},
        {"NANOZFS_LAB": ".."},
        {"NANOZFS_LAB": "-a"},
        {"NANOZFS_LAB": "a\n"},
        {"NANOZFS_LAB": "a" * 33},
        {"NANOZFS_LAB_FOLDER": "tmp"},
        {"NANOZFS_LAB_FOLDER": "/my disk"},
        {"NANOZFS_LAB_FOLDER": "/" + "long/" * 10},
        {"NANOZFS_LAB_MEMORY": "/a:b"},
    ],
)
def test_what_cannot_be_is_said(environment: Dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"NANOZFS_LAB|the path of a lab"):
        places(environment, "/home/me/fleet")


def test_an_empty_variable_is_none() -> None:
    empty = {"NANOZFS_LAB": "", "NANOZFS_LAB_FOLDER": "", "NANOZFS_LAB_MEMORY": ""}
    assert places(empty, "/home/me/fleet") == places({}, "/home/me/fleet")
