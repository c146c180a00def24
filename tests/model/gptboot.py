# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gptboot(8)'s choice, on a real partition table.

Source: ``stand/libsa/gpt.c`` (gptread, gptbootconv, gptfind, gptbootfailed), gptboot(8).
"""

from __future__ import annotations

from typing import List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt

UFS = gpt.TYPES["freebsd-ufs"]
ME, ONCE, FAILED = (gpt.ATTRIBUTES[name] for name in ("bootme", "bootonce", "bootfailed"))


class GptBoot:
    """gptboot's walk over a partition table. Every change of it is written to the disk at once."""

    def __init__(self, image: str, sectors: int) -> None:
        self._image = image
        with open(image, "rb") as file:
            self.table = gpt.read_table(file, sectors)
        self._once = True
        self._current = 0
        self._first = True
        tried = [entry for entry in self.table.entries.values() if entry.attributes & (ME | ONCE | FAILED) == ONCE]
        for entry in tried:
            # tried before and not committed: gptbootconv
            entry.attributes = entry.attributes & ~ONCE | FAILED
        if tried:
            self._write()

    def _write(self) -> None:
        corrupt = self.table.corrupt
        with open(self._image, "r+b") as file:
            gpt.write_table(file, self.table)
        self.table.corrupt = corrupt

    def _ufs(self) -> List[int]:
        return [index for index, entry in sorted(self.table.entries.items()) if entry.kind == UFS]

    def next(self) -> Optional[int]:
        """The index of the next partition to try."""
        first, self._first = self._first, False
        if self._once:
            for index in self._ufs():
                entry = self.table.entries[index]
                if index > self._current and entry.attributes & ME and entry.attributes & ONCE:
                    self._current = index
                    entry.attributes &= ~ME
                    self._write()
                    return index
            self._once, self._current = False, 0
        for index in self._ufs():
            attributes = self.table.entries[index].attributes
            if index > self._current and attributes & ME and not attributes & ONCE:
                self._current = index
                return index
        return next(iter(self._ufs()), None) if first else None

    def failed(self, index: int) -> None:
        """Nothing to boot in that partition."""
        entry = self.table.entries[index]
        if entry.attributes & ONCE:
            entry.attributes = entry.attributes & ~ONCE | FAILED
            self._write()
