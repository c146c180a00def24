# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three-way merge of configuration files: what becomes of an override, and every kind of file by its grammar."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import Conflict, merge


class TestByLine:
    """Files of which nothing is known."""

    def test_an_unchanged_base_leaves_the_override(self) -> None:
        assert merge("motd", b"a\n", b"a\n", b"x")[:2] == ("kept", b"x")
        assert merge("motd", None, None, b"x")[:2] == ("kept", b"x")

    def test_an_override_that_is_the_old_base_follows(self) -> None:
        assert merge("motd", b"a\n", b"b\n", b"a\n")[:2] == ("follows", b"b\n")
        assert merge("motd", b"a\n", None, b"a\n")[:2] == ("follows", None)

    def test_an_override_that_is_the_new_base(self) -> None:
        assert merge("motd", b"a\n", b"b\n", b"b\n")[:2] == ("same", b"b\n")

    def test_both_changes_are_in_the_result(self) -> None:
        outcome = merge("motd", b"a\nb\nc\nd\n", b"A\nb\nc\nd\n", b"a\nb\nc\nD\n")
        assert outcome == ("merged", b"A\nb\nc\nD\n", (), b"A\nb\nc\nD\n")

    def test_the_same_line_is_a_conflict(self) -> None:
        outcome = merge("motd", b"a\nb\nc\n", b"a\nnew\nc\n", b"a\nours\nc\n")
        assert outcome.kind == "conflict"
        assert (outcome.content, outcome.theirs) == (b"a\nours\nc\n", b"a\nnew\nc\n")
        why = "both changed what stands here, and its order means something"
        assert outcome.conflicts == (Conflict("line 2", "b", "new", "ours", why),)

    def test_a_file_that_the_base_gave_up(self) -> None:
        outcome = merge("motd", b"a\n", None, b"b\n")
        assert (outcome.kind, outcome.content, outcome.theirs) == ("conflict", b"b\n", None)
        assert outcome.conflicts[0].where == "the file"

    def test_bytes_that_are_no_text(self) -> None:
        outcome = merge("motd", b"a\0\n", b"b\0\n", b"c\0\n")
        assert (outcome.kind, outcome.content, outcome.theirs) == ("conflict", b"c\0\n", b"b\0\n")
