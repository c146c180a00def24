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
    :param release: recordings of other releases are compared without this rule; empty for all.
    """

    reason: str
    command: str
    pattern: str
    replacement: Replacement
    release: str = ""

    def apply(self, command: str, text: str, release: str) -> str:
        if not re.search(self.command, command) or self.release not in ("", release):
            return text
        return re.sub(self.pattern, self.replacement, text, flags=re.MULTILINE)


def _sorted_lines(match: re.Match[str]) -> str:
    return "".join(sorted(match.group(0).splitlines(True)))


def _sorted_pools(match: re.Match[str]) -> str:
    blocks = re.split(r"^(?= +pool:)", match.group(0), flags=re.MULTILINE)
    return "\n\n".join(sorted(block.rstrip("\n") for block in blocks if block)) + "\n"


#: fields of ``zpool list``, by their place in its lines
_LIST = r"^(\S+(?:\t| +)[\d.]+[KMG](?:\t| +))[\d.]+[KMG]((?:\t| +))[\d.]+[KMG]((?:\t| +)-(?:\t| +)-)(?:\t| +)\d+%"

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
    Rule("the clock of the model stands still", r"zfs", r"\b1795\d{6}\b", "<seconds>"),
    Rule(
        "transaction groups and objects are counted, but more of them go by in a real pool",
        r"zdb|zfs get|createtxg",
        r"(txg: |\s(?:createtxg|objsetid)\s+|^\S+@\S+\t<guid>\t|^\S+#\S+\t)\d+ *",
        r"\1<number>",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool list",
        _LIST,
        r"\1<size>\2<size>\3 <percent>",
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
        r"((?:^|\t| )(?:free|allocated)(?:\t| +))\S+( *)",
        r"\1<size>",
    ),
    Rule(
        "a pool's own dataset takes what the pool keeps for itself",
        r"zfs list",
        r"^(tank(?:\t<guid>\tfilesystem\t| +))\S+",
        r"\1<size>",
    ),
    Rule(
        "a pool's own dataset takes what the pool keeps for itself, which in the model is as much as it was on 13.2",
        r"zfs list",
        r"^(rz(?:\t<guid>\tfilesystem\t| +))\S+",
        r"\1<size>",
        "15.0",
    ),
    Rule(
        "a pool that was just made is in pieces on 15.0",
        r"zpool get",
        r"((?:^|\t| )fragmentation(?:\t| +))\d+(%?) *",
        r"\1<number>\2 ",
        "15.0",
    ),
    Rule(
        "what a pool keeps for itself grows with its history; in the model it is a constant",
        r"zpool list -Hp -o name,guid,health,size,allocated,free",
        r"^(\S+\t<guid>\t[A-Z]+\t\d+\t)[1-9]\d*\t\d+",
        r"\1<size>\t<size>",
        "15.0",
    ),
    Rule(
        "what is left of a pool is less what it keeps for itself; these are bytes of those that were recorded",
        r"zfs list -Hp",
        r"\b(?:848[6-9]|122[5-7])\d{5}\b",
        "<size>",
        "15.0",
    ),
    Rule(
        "transaction groups are counted, but more of them go by in a real pool",
        r"zfs list -Hp .*origin,createtxg",
        r"^(.*\t(?:yes|no)\t\S+\t)\d+",
        r"\1<number>",
        "15.0",
    ),
    Rule(
        "objects are counted, but a real pool makes more of them",
        r"zdb",
        r"(metaslab_array: )\d+",
        r"\1<number>",
        "15.0",
    ),
    Rule(
        "user properties are listed in the order of a hash table",
        r"zfs get -Hp",
        r"(?:^\S+\t[a-z.]+:\S+\t.*\n)+",
        _sorted_lines,
        "15.0",
    ),
    Rule(
        "a pool's own dataset takes what the pool keeps for itself",
        r"zfs list -Hp -o name,used",
        r"^(tank\t)\d+",
        r"\1<size>",
        "15.0",
    ),
    Rule(
        "what a pool keeps for itself grows with its history, and one that was just made is in pieces on 15.0",
        r"zpool list -Hpv",
        r"^(\t?\S+\t\d+\t)\d+\t\d+(\t-\t-\t)\d+",
        r"\1<size>\t<size>\2<number>",
        "15.0",
    ),
    Rule(
        "a pool that was just made is in pieces on 15.0",
        r"zpool list -v",
        r"^(\s+raidz1-0\s.*-\s+)\d+(%\s+[\d.]+%)",
        r"\1<number>\2",
        "15.0",
    ),
    Rule(
        "what is left of a pool is less what it keeps for itself",
        r"zfs get -Hp.* all",
        r"((?:^|\t)available\t)\d+",
        r"\1<size>",
    ),
    Rule(
        "the recorded datasets held compressible files, the model does not compress",
        r"zfs get -Hp.* all",
        r"((?:^|\t)(?:(?:ref)?compressratio|logical\w+)\t)[\d.]+",
        r"\1<number>",
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
        r"\A +pool:[\s\S]*",
        _sorted_pools,
    ),
    Rule(
        "snapshots and children are listed in the order of hash tables",
        r"zfs (?:snapshot -r|rollback)",
        r"(?:^cannot (?:create snapshot|destroy) .*\n|^tank/data@\w+\n)+",
        _sorted_lines,
    ),
]


def normalise(command: str, text: str, release: str) -> str:
    """A text without the differences that do not count.

    :param release: on which it was recorded.
    """
    for rule in RULES:
        text = rule.apply(command, text, release)
    return text
