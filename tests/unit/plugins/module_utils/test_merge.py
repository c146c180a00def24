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


def _lines(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


class TestUsers:
    """master.passwd and group."""

    ROOT = "root::0:0::0:0:Charlie &:/root:/bin/csh"
    WWW = "www:*:80:80::0:0:World Wide Web Owner:/nonexistent:/usr/sbin/nologin"

    def test_a_field_of_each_side(self) -> None:
        ours = self.ROOT.replace("::0:0:", ":$6$secret:0:0:", 1)
        outcome = merge("master.passwd", _lines(self.ROOT), _lines(self.ROOT.replace("csh", "sh")), _lines(ours))
        assert outcome[:2] == ("merged", _lines(ours.replace("csh", "sh")))

    def test_new_users_come_behind_those_that_they_stand_behind_in_the_base(self) -> None:
        new = "ntpd:*:123:123::0:0:NTP Daemon:/var/db/ntp:/usr/sbin/nologin"
        site = "alice:$6$x:1001:1001::0:0:Alice:/home/alice:/bin/sh"
        outcome = merge(
            "master.passwd", _lines(self.ROOT, self.WWW), _lines(self.ROOT, new, self.WWW), _lines(self.ROOT, self.WWW, site)
        )
        assert outcome[:2] == ("merged", _lines(self.ROOT, new, self.WWW, site))

    def test_a_number_that_the_site_has_taken(self) -> None:
        new = "hast:*:845:845::0:0:HAST:/var/empty:/usr/sbin/nologin"
        site = "shop:$6$verysecret:845:845::0:0:Shop:/home/shop:/bin/sh"
        outcome = merge("master.passwd", _lines(self.WWW), _lines(self.WWW, new), _lines(self.WWW, site))
        assert outcome.kind == "conflict"
        assert outcome.content == _lines(self.WWW, site)
        assert outcome.theirs == _lines(self.WWW, new, site)
        (conflict,) = outcome.conflicts
        assert conflict.where == "user hast" and "user shop" in conflict.why
        assert "verysecret" not in str(outcome.conflicts)

    def test_a_number_that_the_base_changed(self) -> None:
        site = "alice:*:1001:1001::0:0:A:/home/alice:/bin/sh"
        outcome = merge(
            "master.passwd", _lines(self.WWW), _lines(self.WWW.replace(":80:80:", ":81:80:")), _lines(self.WWW, site)
        )
        assert outcome.kind == "conflict" and outcome.conflicts[0].where == "user www, uid"
        assert outcome.content == _lines(self.WWW, site)

    def test_members_are_a_set(self) -> None:
        outcome = merge("group", b"wheel:*:0:root,old\n", b"wheel:*:0:root,new\n", b"wheel:*:0:root,old,alice\n")
        assert outcome[:2] == ("merged", b"wheel:*:0:root,new,alice\n")
