# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three-way merge of configuration files: what becomes of an override, and every kind of file by its grammar."""

from __future__ import annotations

import random
import re
import time

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import Conflict, made_from, merge


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
            "master.passwd",
            _lines(self.ROOT, self.WWW),
            _lines(self.ROOT, new, self.WWW),
            _lines(self.ROOT, self.WWW, site),
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

    def test_a_number_that_the_site_took_from_a_user_it_removed(self) -> None:
        site = "shop:*:0080:80::0:0:Shop:/home/shop:/bin/sh"
        outcome = merge("master.passwd", _lines(self.WWW), _lines(self.WWW.replace("Web", "W")), _lines(site))
        assert outcome.content == _lines(site)
        assert "user shop" in outcome.conflicts[0].why

    def test_two_of_the_base_may_share_a_number(self) -> None:
        toor = "toor:*:0:0::0:0:T:/root:"
        ours = self.ROOT.replace("csh", "sh")
        outcome = merge("master.passwd", _lines(self.ROOT), _lines(self.ROOT, toor), _lines(ours))
        assert (outcome.kind, outcome.content) == ("merged", _lines(ours, toor))

    def test_members_are_a_set(self) -> None:
        outcome = merge("group", b"wheel:*:0:root,old\n", b"wheel:*:0:root,new\n", b"wheel:*:0:root,old,alice\n")
        assert outcome[:2] == ("merged", b"wheel:*:0:root,new,alice\n")


class TestClasses:
    """login.conf."""

    def test_capabilities_are_merged_one_by_one(self) -> None:
        old = b"default:\\\n\t:umask=022:\\\n\t:openfiles=100:\\\n\t:tc=x:\n"
        new = b"default:\\\n\t:umask=022:\\\n\t:openfiles=100:\\\n\t:lang=C.UTF-8:\\\n\t:tc=x:\n"
        ours = b"default:umask=027:openfiles=100:tc=x:\n"
        outcome = merge("login.conf", old, new, ours)
        assert outcome[:2] == (
            "merged",
            b"default:\\\n\t:umask=027:\\\n\t:openfiles=100:\\\n\t:lang=C.UTF-8:\\\n\t:tc=x:\n",
        )

    def test_how_it_is_laid_out_is_no_change(self) -> None:
        outcome = merge("login.conf", b"a:\\\n\t:x=1:\n", b"a:\\\n\t:x=2:\n", b"a:x=1:\n")
        assert outcome[:2] == ("merged", b"a:\\\n\t:x=2:\n")


class TestTables:
    """Files with an entry on a line."""

    def test_a_comment_never_swallows_a_name(self) -> None:
        outcome = merge("services", b"a 1/tcp\n", b"a 1/tcp b\n", b"a 1/tcp # mine\nc 2/tcp\n")
        assert outcome.content == b"a 1/tcp b # mine\nc 2/tcp\n"

    def test_an_owner_that_the_base_adds_to_a_log(self) -> None:
        old, new = b"/var/log/m 640 7 * @T00 JC\n", b"/var/log/m root:mail 640 7 * @T00 JC\n"
        outcome = merge("newsyslog.conf", old, new, b"/var/log/m 640  30\t*\t@T00\tJC\n")
        assert outcome.content == b"/var/log/m\troot:mail 640  30\t*\t@T00\tJC\n"

    def test_included_logs_are_entries_of_their_own(self) -> None:
        outcome = merge("newsyslog.conf", b"<include> /a\n", b"<include> /a\n<include> /b\n", b"<include> /c\n")
        assert outcome.content == b"<include> /c\n<include> /b\n"

    def test_a_terminal_by_its_flags(self) -> None:
        old, new = b'ttyv0 "g Pc" xterm on secure\n', b'ttyv0 "g Pc" xterm onifexists secure\n'
        assert merge("ttys", old, new, b'ttyv0 "g Pc" xterm on insecure\n').content == (
            b'ttyv0 "g Pc" xterm onifexists insecure\n'
        )

    def test_when_a_job_runs(self) -> None:
        old, new = b"1 3 * * * root periodic daily\n", b"5 3 * * * root periodic daily\n"
        outcome = merge("crontab", old, new, b"9 9 * * * root periodic daily\nA = b\n")
        assert outcome.kind == "conflict" and outcome.conflicts[0].where == "job of root: periodic daily"
        assert merge("crontab", old, new, old + b"@daily www x=1\n").content == new + b"@daily www x=1\n"

    def test_an_alias_over_several_lines(self) -> None:
        outcome = merge("mail/aliases", b"a: b\n", b"a: b\nc: d\n", b"a: x,\n\ty\n# mine\n")
        assert outcome.content == b"a: x,\n\ty\nc: d\n# mine\n"


class TestOrder:
    """Files in which the order of entries means something."""

    def test_both_add_a_rule_in_one_place(self) -> None:
        rules = [b"a : ALL : allow\n", b"z : ALL : deny\n"]
        outcome = merge(
            "hosts.allow", b"".join(rules), b"n : ALL : allow\n".join(rules), b"o : ALL : deny\n".join(rules)
        )
        assert outcome.kind == "conflict"
        assert outcome.content == b"o : ALL : deny\n".join(rules)
        assert outcome.theirs == b"n : ALL : allow\n".join(rules)

    def test_what_the_base_moved_and_the_site_removed(self) -> None:
        outcome = merge(
            "pam.d/su", b"auth a x\nauth a y\nauth a z\n", b"auth a y\nauth a z\nauth a x\n", b"auth a y\nauth a z\n"
        )
        assert outcome.kind == "conflict"
        assert outcome.content == b"auth a y\nauth a z\n"

    def test_control_and_arguments(self) -> None:
        outcome = merge(
            "pam.d/su", b"auth required m a b=1\n", b"auth required m a b=2\n", b"auth sufficient m a b=1 c\n"
        )
        assert outcome.content == b"auth sufficient m a b=2 c\n"


class TestSettings:
    """rc.conf and its like, ssh, syslog, pkg."""

    def test_values_over_several_lines(self) -> None:
        outcome = merge("rc.conf", b'a="1"\nb="x\n y"\n', b'a="2"\nb="x\n y"\nn=1\n', b"a=1\nb='z'\n# mine\n")
        assert outcome.content == b"a=\"2\"\nb='z'\nn=1\n# mine\n"

    def test_a_script_is_merged_by_lines(self) -> None:
        code = b"if true; then\n\ta=1\nfi\n"
        outcome = merge("rc.conf", b"b=1\n\n\n" + code, b"b=2\n\n\n" + code, b"b=1\n\n\n" + code + b"c=$(hostname)\n")
        assert outcome.content == b"b=2\n\n\n" + code + b"c=$(hostname)\n"
        assert merge("rc.conf", b"b=1\n" + code, b"b=2\n" + code, b"b=3\n" + code).conflicts[0].where == "line 1"

    def test_an_option_in_any_case_and_in_its_block(self) -> None:
        old = b"UseDNS yes\nMatch User a\n\tX11Forwarding no\n"
        new = b"UseDNS no\nPermitTTY yes\nMatch User a\n\tX11Forwarding no\n"
        ours = b"usedns yes\nMatch User a\n\tX11Forwarding no\n\tPermitTTY no\n"
        outcome = merge("ssh/sshd_config", old, new, ours)
        assert outcome.content == b"UseDNS no\nPermitTTY yes\nMatch User a\n\tX11Forwarding no\n\tPermitTTY no\n"
        assert not outcome.conflicts

    def test_a_block_that_the_site_removed(self) -> None:
        outcome = merge("syslog.conf", b"!ppp\n*.* /a\n", b"!ppp\n*.info /a\n", b"*.* /b\n")
        assert (outcome.kind, outcome.content, outcome.theirs) == (
            "conflict",
            b"*.* /b\n",
            b"*.* /b\n!ppp\n*.info /a\n",
        )
        assert outcome.conflicts[0].where == "block !ppp"

    def test_a_ruleset_with_a_number_that_is_taken(self) -> None:
        old, new = b"[a=1]\nadd hide\n", b"[a=1]\nadd hide\n[n=7]\nadd unhide\n"
        outcome = merge("devfs.rules", old, new, old + b"[own=7]\nadd path zfs unhide\n")
        assert outcome.kind == "conflict" and "ruleset own" in outcome.conflicts[0].why
        assert merge("devfs.rules", old, old.replace(b"=1", b"=2"), old + b"# mine\n").conflicts[0].old == "[a=1]"

    def test_an_object_on_one_line(self) -> None:
        old = b'R: {\n  url: "a",\n  enabled: yes\n}\n'
        ours = b'R: { url: "a", enabled: no }\n'
        outcome = merge("pkg/R.conf", old, old.replace(b'"a"', b'"b"'), ours)
        assert outcome[:3] == ("merged", b'R: {  url: "b",\n enabled: no }\n', ())
        outcome = merge("pkg/R.conf", old, old.replace(b"yes", b"yes,\n  n: 1"), ours)
        assert outcome[:3] == ("merged", b'R: { url: "a", enabled: no,   n: 1\n}\n', ())

    def test_an_object_that_is_not_read_is_merged_by_lines(self) -> None:
        old = b"R: {\n  a: 1\n}\n"
        outcome = merge("pkg/R.conf", old, b"/* x */\n" + old, old + b"# mine\n")
        assert outcome.content == b"/* x */\n" + old + b"# mine\n"


class TestRemarks:
    """Comments and empty lines."""

    @pytest.mark.parametrize(
        ("path", "line"),
        [("rc.conf", 'a="{0}" # mine\n'), ("sysctl.conf", "a = {0}\t# mine\n"), ("loader.conf", 'a="{0}"  #m\n')],
    )
    def test_a_comment_behind_a_value_stays(self, path: str, line: str) -> None:
        old, new = [re.sub("[ \t]*#.*", "", line.replace(" = ", "=")).format(each) for each in (1, 2)]
        outcome = merge(path, old.encode(), new.encode(), line.format(1).encode())
        assert outcome.content == line.format(2).encode()

    def test_a_comment_that_both_changed_stays_as_the_site_has_it(self) -> None:
        outcome = merge("shells", b"# old\n/a\n", b"# new\n/a\n/b\n", b"# ours\n/a\n")
        assert outcome == ("merged", b"# ours\n/a\n/b\n", (), b"# ours\n/a\n/b\n")

    def test_a_setting_that_was_a_comment(self) -> None:
        outcome = merge(
            "ssh/sshd_config", b"#Port 22\n#UseDNS yes\n", b"#Port 22\n#UseDNS no\n", b"Port 2222\n#UseDNS yes\n"
        )
        assert outcome.content == b"Port 2222\n#UseDNS no\n"

    def test_an_entry_that_the_site_commented_out(self) -> None:
        same = merge("rc.conf", b"a=1\nb=1\n", b"a=1\nb=2\n", b"#a=1\nb=1\n")
        assert same[:2] == ("merged", b"#a=1\nb=2\n")
        assert (
            merge("rc.conf", b"a=1\n", b"a=2\n", b"#a=1\n").conflicts[0].why == "removed here, and changed in the base"
        )


class TestBytes:
    """Line ends, odd bytes, long files."""

    def test_line_ends_of_dos_stay(self) -> None:
        assert merge("shells", b"/a\n", b"/a\n/b\n", b"/a\r\n/c\r\n").content == b"/a\r\n/b\r\n/c\r\n"

    def test_a_last_line_without_an_end(self) -> None:
        assert merge("shells", b"/a\n", b"/a\n/b\n", b"/a\n/c").content == b"/a\n/b\n/c"
        assert merge("motd", b"a\n\nz", b"A\n\nz", b"a\n\nz\nmine\n").content == b"A\n\nz\nmine\n"

    def test_bytes_of_no_encoding_stay(self) -> None:
        assert (
            merge("motd", b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\n\xff\xfe\x0b\x85\n").content
            == b"A\nb\n\xff\xfe\x0b\x85\n"
        )

    @pytest.mark.parametrize("line", ["", "x", "line {0}"])
    def test_long_files_take_seconds(self, line: str) -> None:
        lines = [line.format(number) for number in range(100_000)]
        old = _lines(*lines)
        new, ours = _lines("base", *lines), _lines(*lines[:50_000], "site", *lines[50_000:])
        began = time.process_time()
        outcome = merge("motd", old, new, ours)
        assert time.process_time() - began < 20
        assert outcome.content is not None and outcome.content.startswith(b"base\n") and b"\nsite\n" in outcome.content

    def test_reshuffled_lines_take_seconds(self) -> None:
        lines = [str(number) for number in range(30_000)]
        some = random.Random(16)
        began = time.process_time()
        versions = [_lines(*some.sample(lines, len(lines))) for _each in range(3)]
        assert merge("motd", *versions).kind == "conflict"
        assert time.process_time() - began < 20


class TestSshd:
    """What of an option that may come several times must not come unasked, as it shuts people out, or lets them in."""

    @pytest.mark.parametrize(
        ("old", "new", "ours"),
        [
            ("AllowUsers root", "AllowUsers root admin", ""),  # taken out here: everybody may come
            ("AllowUsers root", "AllowUsers root\nAllowUsers admin", ""),
            ("AllowUsers root", "AllowUsers root admin", "AllowUsers anna"),  # root may not
            ("AllowUsers root", "AllowUsers admin", "AllowUsers anna"),
            ("ListenAddress 0.0.0.0", "ListenAddress ::", "ListenAddress 10.0.0.1"),
        ],
    )
    def test_is_asked_about(self, old: str, new: str, ours: str) -> None:
        three = ["X a\n{0}\nY b\n".format(each).encode() for each in (old, new, ours)]
        outcome = merge("ssh/sshd_config", *three)
        assert outcome.kind == "conflict" and outcome.content == three[2]
        assert outcome.theirs is not None and new.rsplit(maxsplit=1)[-1].encode() in outcome.theirs
        (conflict,) = outcome.conflicts
        assert (conflict.old, conflict.ours) == (old, ours) and conflict.new in new

    @pytest.mark.parametrize(
        ("old", "new", "ours", "expected"),
        [
            ("AllowUsers root", "AllowUsers root admin", "AllowUsers root anna", "root admin|root anna"),
            ("", "AllowUsers admin", "AllowUsers anna", "admin|anna"),
            ("AllowUsers root", "AllowUsers root admin", "AllowUsers root", "root admin"),
            ("Port 22", "Port 22\nPort 2200", "Port 222", "2200|222"),
        ],
    )
    def test_what_takes_nothing_away_comes(self, old: str, new: str, ours: str, expected: str) -> None:
        outcome = merge("ssh/sshd_config", *["X a\n{0}\n".format(each).encode() for each in (old, new, ours)])
        text = (outcome.content or b"").decode()
        assert not outcome.conflicts and "|".join(each.partition(" ")[2] for each in text.split("\n")[1:-1]) == expected


class TestScripts:
    """rc.conf with code in it is merged by lines, of which the last that sets a variable counts."""

    def test_a_variable_that_is_set_elsewhere_is_asked_about(self) -> None:
        old = b"a=1\nb=1\nc=1\n"
        new = b'a=1\nsshd_enable="NO"\nb=1\nc=1\n'
        ours = b'sshd_enable="YES"\na=1\nb=1\nc=1\n[ -f /x ] && . /x\n'
        outcome = merge("rc.conf", old, new, ours)
        assert outcome.kind == "conflict" and outcome.content == ours
        assert outcome.theirs == b'a=1\nsshd_enable="NO"\nb=1\nc=1\n[ -f /x ] && . /x\n'
        (conflict,) = outcome.conflicts
        assert conflict[:4] == ("variable sshd_enable", "", 'sshd_enable="NO"', 'sshd_enable="YES"')

    def test_one_that_is_not_comes(self) -> None:
        outcome = merge("rc.conf", b"a=1\nb=1\n", b"a=1\nd=1\nb=1\n", b"a=1\nb=1\nc=2\n. /x\n")
        assert outcome[:3] == ("merged", b"a=1\nd=1\nb=1\nc=2\n. /x\n", ())


class TestWhatIsNotKnown:
    """An override whose old base is not known, or whose base is gone."""

    def test_users_come_and_nothing_else_changes(self) -> None:
        users = b"www:*:80:80::0:0:W:/nonexistent:/usr/sbin/nologin\n", b"n:*:81:81::0:0:N:/:/bin/sh\n"
        ours = b"www:*:80:80::0:0:Ours:/www:/bin/sh\n"
        outcome = merge("master.passwd", None, users[0] + users[1], ours)
        assert outcome[:3] == ("merged", ours + users[1], ())

    def test_a_number_that_is_taken_is_asked_about(self) -> None:
        outcome = merge("group", None, b"n:*:80:\n", b"www:*:80:\n")
        assert (outcome.kind, outcome.content, outcome.theirs) == ("conflict", b"www:*:80:\n", b"www:*:80:\nn:*:80:\n")

    def test_other_files_stay(self) -> None:
        assert merge("rc.conf", None, b"a=1\n", b"b=1\n") == ("kept", b"b=1\n", (), b"b=1\n")
        assert merge("motd", None, b"a\0\n", b"b\0\n")[:2] == ("kept", b"b\0\n")

    def test_an_override_that_says_that_there_is_nothing(self) -> None:
        assert merge("motd", b"a\n", b"b\n", b"")[:2] == ("kept", b"")

    @pytest.mark.parametrize(("path", "source"), [("passwd", "master.passwd"), ("mail/aliases.db", "mail/aliases")])
    def test_what_a_program_makes(self, path: str, source: str) -> None:
        assert merge(path, b"a\n", b"b\n", b"c\n")[:2] == ("kept", b"c\n")
        assert made_from(path) == source and made_from(source) is None


class TestSecrets:
    """What no conflict may say."""

    SECRET = "$6$kQ7/verysecret"

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("master.passwd", "root:{0}:0:0"),
            ("master.passwd", "+root:{0}:::::::"),
            ("group", "wheel:{0}"),
            ("rc.conf", 'mail_password="{0}"'),
            ("local/app.conf", "db_password = {0}"),
            ("local/app.yml", "  api-key: {0}"),
            ("local/my.cnf", "url=mysql://shop:{0}@db/shop"),
            ("ppp/ppp.conf", " set authkey {0}"),
            ("ssh/ssh_host_ed25519_key", "{0}"),
            ("local/tls/server.key", "{0}"),
            ("pkg/R.conf", 'R: {{ url: "https://u:{0}@pkg.example/" }}'),
            ("mail/aliases", 'a: "|/bin/x password {0}"'),
        ],
    )
    def test_is_not_shown(self, path: str, line: str) -> None:
        texts = [line.format(self.SECRET + str(number)) + "\n" for number in range(3)]
        outcome = merge(path, *[text.encode() for text in texts])
        said = str(outcome.conflicts)
        assert outcome.kind == "conflict" and "(not shown)" in said
        assert "verysecret" not in said

    def test_not_even_as_the_name_of_a_job(self) -> None:
        job = "{0} 0 * * * root /bin/x --token " + self.SECRET + "\n"
        outcome = merge("crontab", *[job.format(hour).encode() for hour in range(3)])
        assert outcome.conflicts[0].where == "(not shown)" and "verysecret" not in str(outcome.conflicts)

    def test_a_user_that_goes(self) -> None:
        line = "anna:{0}:5:5::0:0:{1}:/:/bin/sh\n"
        outcome = merge(
            "master.passwd", line.format(self.SECRET, "A").encode(), b"", line.format("$6$verysecret2", "B").encode()
        )
        assert outcome.conflicts and "verysecret" not in str(outcome.conflicts)

    def test_an_empty_password_never_comes_from_the_base(self) -> None:
        line = "root:{0}:0:0::0:0:C:/root:{1}\n"
        versions = [line.format(*each).encode() for each in (("*", "/a"), ("", "/b"), (self.SECRET, "/a"))]
        outcome = merge("master.passwd", *versions)
        expected = line.format(self.SECRET, "/b").encode()
        assert outcome == ("merged", expected, (), expected)

    @pytest.mark.parametrize("new", ["*", "$6$otherhash", "*LOCKED*$6$kQ7", ""])
    def test_one_that_was_set_here_stays(self, new: str) -> None:
        """With no policy: a password is what lets the owner in."""
        line = "root:{0}:0:0::0:0:C:/root:/bin/sh\n"
        ours = line.format(self.SECRET).encode()
        for old in (line.format("").encode(), line.format("$6$ofthebase").encode(), None):
            assert merge("master.passwd", old, line.format(new).encode(), ours) == ("kept", ours, (), ours)

    def test_one_that_was_not_follows(self) -> None:
        """A base that takes its own password away does so."""
        versions = ["root:{0}:0:0::0:0:{1}:/root:/bin/sh\n".format(*each) for each in (("$6$a", "A"), ("*", "A"))]
        versions.append(versions[0].replace(":A:", ":B:"))
        outcome = merge("master.passwd", *[each.encode() for each in versions])
        assert outcome[:3] == ("merged", versions[1].replace(":A:", ":B:").encode(), ())

    def test_what_a_terminal_would_obey(self) -> None:
        outcome = merge("motd", b"a\n", b"b\x1b[2J\n", b"c\x07\xff\n")
        assert all(text.isprintable() for text in outcome.conflicts[0])
