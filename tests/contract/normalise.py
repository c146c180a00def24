# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In what the model may differ from a transcript, and why. Everything else is compared word for word."""

from __future__ import annotations

import re
from typing import Callable, List, NamedTuple, Union

Replacement = Union[str, Callable[["re.Match[str]"], str]]


class Rule(NamedTuple):
    """A difference that does not count.

    :param reason: why the model cannot or need not give the same.
    :param command: a pattern; commands that do not have it are compared without this rule.
    :param pattern: what is replaced, on both sides.
    """

    reason: str
    command: str
    pattern: str
    replacement: Replacement

    def apply(self, command: str, text: str) -> str:
        if not re.search(self.command, command):
            return text
        return re.sub(self.pattern, self.replacement, text, flags=re.MULTILINE)


def _sorted_lines(match: re.Match[str]) -> str:
    return "".join(sorted(match.group(0).splitlines(True)))


def _sorted_pools(match: re.Match[str]) -> str:
    blocks = ("   pool:" + block.rstrip("\n") for block in match.group(0).split("   pool:")[1:])
    return "\n\n".join(sorted(blocks)) + "\n"


#: fields of ``zpool list``, by their place in its lines
_LIST = r"^(\S+(?:\t| +)[\d.]+[KMG](?:\t| +))[\d.]+[KMG]((?:\t| +))[\d.]+[KMG]((?:\t| +)-(?:\t| +)-(?:\t| +))\d+%"

RULES: List[Rule] = [
    Rule(
        "the configuration is as wide as the longest guid, which may have one digit more or less",
        r"^zpool|^.*; ?zpool",
        r"^\t.*\b\d{16,20}\b.*$|^\t(?:NAME|\w+) {12,}\w.*$|^\t +\w[\w-]* {10,}\w.*$",
        lambda match: re.sub(r"(?<=\S) {2,}", "  ", match.group(0)),
    ),
    Rule("guids are drawn at random", r"", r"\b\d{15,20}\b(?<!18446744073709551615)(?: {2,})?", "<guid>"),
    Rule("uuids of partitions are drawn at random", r"gpart", r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    Rule(
        "the clock of the model stands still",
        r"zpool|zfs",
        r"\w{3} \w{3} [ \d]\d [ \d]\d:\d\d(?::\d\d)? \d{4}",
        "<date>",
    ),
    Rule("the clock of the model stands still", r"zfs", r"\b17954\d{5}\b", "<seconds>"),
    Rule(
        "transaction groups and objects are counted, but more of them go by in a real pool",
        r"zdb|zfs get|createtxg",
        r"(txg: |\s(?:createtxg|objsetid)\s+|^\S+@\S+\t<guid>\t)\d+ *",
        r"\1<number>",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool list",
        _LIST,
        r"\1<size>\2<size>\3<percent>",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool list -Hp",
        r"^(.*\t\d+\t)\d+\t\d+$",
        r"\1<size>\t<size>",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool list -v",
        r"^(\s+raidz1-0\s+[\d.]+G\s+)[\d.]+K(\s+)",
        r"\1<size>\2",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool get",
        r"((?:\t| )(?:free|allocated)(?:\t| +))\S+( *)",
        r"\1<size>",
    ),
    Rule(
        "a pool's own dataset takes what the pool keeps for itself",
        r"zfs list",
        r"^(tank(?:\t<guid>\tfilesystem\t| +))\S+",
        r"\1<size>",
    ),
    Rule(
        "what is left of a pool is less what it keeps for itself",
        r"zfs get -Hp all",
        r"\tavailable\t\d+",
        "\tavailable\t<size>",
    ),
    Rule(
        "the recorded datasets held compressible files, the model does not compress",
        r"zfs get -Hp all",
        r"\t((?:ref)?compressratio|logical\w+)\t[\d.]+",
        r"\t\1\t<number>",
    ),
    Rule(
        "how much is resilvered or repaired, and how long it takes, depends on the data",
        r"zpool",
        r"(resilvered|repaired) [\d.]+[BKM] in \d\d:\d\d:\d\d",
        r"\1 <size> in <time>",
    ),
    Rule(
        "how many blocks a scrub finds damaged depends on the data",
        r"zpool (?:scrub|status)",
        r"(ONLINE +0 +0 )  \d\d\d$",
        r"\1<count>",
    ),
    Rule(
        "pools are listed as fast as their disks are read",
        r"zpool import(?: -D)?$",
        r"\A   pool:[\s\S]*",
        _sorted_pools,
    ),
    Rule(
        "snapshots and children are listed in the order of hash tables",
        r"zfs (?:snapshot -r|rollback)",
        r"(?:^cannot (?:create snapshot|destroy) .*\n|^tank/data@\w+\n)+",
        _sorted_lines,
    ),
]


def normalise(command: str, text: str) -> str:
    """A text without the differences that do not count."""
    for rule in RULES:
        text = rule.apply(command, text)
    return text
