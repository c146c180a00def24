# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The codes that are read out over the telephone."""

from __future__ import annotations

import itertools
import os
import random
import re

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import codes
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.codes import Facts, decode, encode, reason_number
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.tests.unit.conftest import CHECKOUT

SAMPLE = Facts("recovery", "nz-b", 3, 4, 5)


def test_every_state_of_a_host_survives_the_telephone() -> None:
    seen = set()
    disks = [(0, 0), (0, 3), (2, 3), (3, 4), (15, 15)]
    for state, place, (found, expected), reason in itertools.product(
        codes.STATES, codes.SLICES, disks, range(len(codes.REASONS))
    ):
        facts = Facts(state, place, found, expected, reason)
        code = encode(facts)
        assert len(code) == codes.LENGTH and not set(code) - set(codes.ALPHABET)
        assert decode(codes.spaced(code).lower()) == facts == decode(code[:3] + "-" + code[3:])
        seen.add(code)
    assert len(seen) == len(codes.STATES) * len(codes.SLICES) * len(disks) * len(codes.REASONS)


def test_more_disks_than_the_code_can_say() -> None:
    assert decode(encode(Facts("normal", "nz-a", 24, 24, 0)))[2:4] == (15, 15)


def test_a_character_that_was_heard_wrong_is_noticed() -> None:
    chance, missed, tried = random.Random(1), 0, 0
    for _try in range(200):
        facts = Facts(chance.choice(codes.STATES), chance.choice(codes.SLICES), *(chance.randrange(16) for _x in "abc"))
        code = encode(facts)
        for place in range(codes.LENGTH):
            for other in codes.ALPHABET:
                if other == code[place]:
                    continue
                tried += 1
                try:
                    missed += decode(code[:place] + other + code[place + 1 :]) is not None
                except FleetError:
                    continue
    assert missed < tried / 1000


@pytest.mark.parametrize(
    "text, said",
    [("", "0 characters"), ("K7M", "3 characters"), ("O7M9XC", "never has the character O"), ("333333", "is wrong")],
)
def test_what_is_no_code(text: str, said: str) -> None:
    with pytest.raises(FleetError, match=said) as error:
        decode(text)
    assert "ask for it again" in str(error.value)


@pytest.mark.parametrize(
    "reason, kind",
    [
        ("", "no reason"),
        ("cannot import 'tank': no such pool available", "no pool of that name was found"),
        ("no disks of the pool tank were found", "no pool of that name was found"),
        ("the pool tank did not come up in 600 seconds", "the import of the pool hangs"),
        ("there are several pools tank: 123 456", "two pools have the name"),
        (
            "two starts in a row ended while the pool was imported; it is left alone this time",
            "the pool was left alone after starts that failed",
        ),
        ("the kernel of nz-b cannot be loaded", "the kernel of the slice did not start"),
        ("the configuration has no rc.conf", "the configuration (cfg) cannot be used"),
        ("/cfg/rc.conf is broken: /cfg/rc.conf: 3: Syntax error", "the configuration (cfg) cannot be used"),
        ("cannot import 'tank': no such pool or dataset", "disks are missing or damaged"),
        ("cannot import 'mi': I/O error", "disks are missing or damaged"),
        ("booted from the recovery slice", "the recovery slice was booted"),
        (
            "the kernel is from nz-a, the root file system from nz-recovery",
            "the kernel of the slice did not start",
        ),
        ("the dataset tank/nanozfs/cfg cannot be mounted", "the configuration (cfg) cannot be used"),
        ("the configuration does not fit into /etc", "the configuration does not fit into /etc"),
        ("there is no dataset tank/nanozfs/var", "the data (var) cannot be mounted"),
        ("the data could not be put back", "the data could not be put back"),
        ("the trial could not begin", "the trial could not begin"),
        ("the image does not say which pool is its own (/boot/nanozfs/image.conf)", "the image does not name its pool"),
        ("the moon is full", "another reason"),
    ],
)
def test_kinds_of_reasons(reason: str, kind: str) -> None:
    """What the early boot hook says, and what zpool says through it."""
    assert codes.REASONS[reason_number(reason)][0] == kind


def test_the_words_for_a_code() -> None:
    assert SAMPLE.describe() == ("state recovery, slice nz-b, 3 of 4 data disks found, disks are missing or damaged")
    assert "data disks unknown" in Facts("recovery", "nz-a", 0, 0, 2).describe()
    assert codes.REASONS[codes.HANGS][0] == "the import of the pool hangs"


def test_the_example_in_the_manual_is_a_real_one() -> None:
    with open(os.path.join(CHECKOUT, "docs", "agent.md"), encoding="utf-8") as file:
        manual = file.read()
    shown = re.findall(r"  CODE       (.*)\n", manual)
    assert [decode(code) for code in shown] == [Facts("recovery", "nz-a", 2, 4, 5)]
    assert "decode {0}`".format(shown[0]) in manual
