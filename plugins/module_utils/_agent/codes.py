# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Six characters that say over the telephone how a host is, and the digits that confirm a step.

The read-back code holds the state, the disks, the slice and the kind of the reason, with a check sum, so that a
character that was heard wrong is noticed. No two of its characters look alike: there is no 0 O Q, 1 I L,
2 Z, 5 S, 8 B, U.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

ALPHABET = "34679ACDEFGHJKMNPRTVWXY"
LENGTH = 6

#: digits only, whatever keyboard layout the console has; no 0 and 1, which look like letters
CONFIRMING = "23456789"

STATES = ("unknown", "normal", "recovery", "trial")
SLICES = ("unknown", "nz-recovery", "nz-a", "nz-b")

#: kinds of reasons, in the order of their numbers in the code: new ones go to the end. With each, words by which it is
#: recognised in what the early boot hook says; the first that fits counts. "no such pool or dataset" is what zpool
#: says of a pool that it found, but that lacks too many disks (transcript ``zpool-crossboot/018-2missing-do``)
REASONS: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
    ("no reason", ()),
    ("another reason", ()),
    ("no pool of that name was found", ("no such pool available", "no pool", "no disks of")),
    ("the import of the pool hangs", ("did not come up", "did not end", "hangs")),
    ("two pools have the name", ("several pools", "more than one")),
    (
        "disks are missing or damaged",
        (
            "no such pool or dataset",
            "one or more devices",
            "insufficient replicas",
            "unavail",
            "corrupted",
            "i/o error",
        ),
    ),
    ("the pool was last used by another host", ("another system", "currently imported")),
    ("the recovery slice was booted", ("booted from the recovery slice",)),
    ("the kernel of the slice did not start", ("the kernel is from", "the kernel of")),
    ("the configuration does not fit into /etc", ("does not fit into /etc",)),
    ("the configuration (cfg) cannot be used", ("nanozfs/cfg", "/cfg/", "the configuration has")),
    ("the data (var) cannot be mounted", ("nanozfs/var",)),
    ("the data could not be put back", ("could not be put back",)),
    ("the trial could not begin", ("the trial could not begin",)),
    ("the pool was left alone after starts that failed", ("starts in a row",)),
    ("the image does not name its pool", ("does not say which pool",)),
)

#: the number of the reason that is known without the early boot hook's words
HANGS = 3

_MOST = 15
_PAYLOAD_BITS = 16
_CHECK_BITS = 11


class Facts(NamedTuple):
    """What a read-back code says. More than 15 disks count as 15."""

    state: str
    slice: str
    found: int
    expected: int
    reason: int

    def describe(self) -> str:
        """In plain words."""
        disks = "{0} of {1} data disks found".format(self.found, self.expected)
        return "state {0}, slice {1}, {2}, {3}".format(
            self.state, self.slice, disks if self.expected else "data disks unknown", REASONS[self.reason][0]
        )


def reason_number(reason: str) -> int:
    """The kind of a reason, as a number for the code."""
    if not reason:
        return 0
    text = reason.lower()
    for number, (_name, words) in enumerate(REASONS):
        if any(word in text for word in words):
            return number
    return 1


def _check(payload: int) -> int:
    return binascii.crc_hqx(payload.to_bytes(2, "big"), 0xFFFF) >> (16 - _CHECK_BITS)


def encode(facts: Facts) -> str:
    """The code, without the blank in the middle that :func:`spaced` adds."""
    payload = STATES.index(facts.state) if facts.state in STATES else 0
    payload = payload << 2 | (SLICES.index(facts.slice) if facts.slice in SLICES else 0)
    payload = payload << 4 | min(facts.found, _MOST)
    payload = payload << 4 | min(facts.expected, _MOST)
    payload = payload << 4 | facts.reason
    number = _check(payload) << _PAYLOAD_BITS | payload
    text = ""
    for _place in range(LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text


def spaced(code: str) -> str:
    """The code as it is shown and read out: in two halves."""
    return code[: LENGTH // 2] + " " + code[LENGTH // 2 :]


def decode(text: str) -> Facts:
    """What a code says. Case, blanks and hyphens do not matter.

    :raises FleetError: when it is no code, or was heard or typed wrong.
    """
    code = "".join(text.upper().replace("-", " ").split())
    wrong = sorted(set(code) - set(ALPHABET))
    if wrong:
        raise FleetError(
            "{0!r} is no code: it never has the character {1}".format(text, ", ".join(wrong)),
            todo="ask for it again; its characters are {0}".format(" ".join(ALPHABET)),
        )
    if len(code) != LENGTH:
        raise FleetError(
            "{0!r} has {1} characters and not {2}".format(text, len(code), LENGTH), todo="ask for it again"
        )
    number = 0
    for character in code:
        number = number * len(ALPHABET) + ALPHABET.index(character)
    payload, check = number & ((1 << _PAYLOAD_BITS) - 1), number >> _PAYLOAD_BITS
    if check != _check(payload):
        raise FleetError(
            "{0!r} does not fit together: a character of it is wrong".format(text), todo="ask for it again"
        )
    return Facts(
        state=STATES[payload >> 14],
        slice=SLICES[payload >> 12 & 3],
        found=payload >> 8 & 15,
        expected=payload >> 4 & 15,
        reason=payload & 15,
    )
