# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is true of every merge, whatever stands in the files: tried with hypothesis, for each kind of file."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Dict, Hashable, Iterable, List, Optional, Set, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge import kinds
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.align import align
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import Outcome, merge
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.forms import Sections
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Lines, Unfit

#: for each kind of file: its entries, each with ways in which it may be written or changed
POOLS: Dict[str, List[List[str]]] = {
    "motd.template": [["one", "One"], ["two", "2"], ["three", "3"], ["four", "4"], ["five", "5"]],
    "master.passwd": [
        [
            "root:$6$a:0:0::0:0:Charlie:/root:/bin/sh",
            "root:$6$b:0:0::0:0:Charlie:/root:/bin/csh",
            "root::0:0::0:0:C:/:/bin/sh",
        ],
        ["www:*:80:80::0:0:W:/nonexistent:/usr/sbin/nologin", "www:*:80:80::0:0:W:/www:/bin/sh"],
        ["alice:$6$c:1001:1001::0:0:A:/home/alice:/bin/sh", "alice:$6$c:1001:1001:staff:0:0:A:/home/alice:/bin/tcsh"],
        ["ntpd:*:123:123::0:0:N:/var/db/ntp:/usr/sbin/nologin", "ntpd:*:123:123::0:0:NTP:/:/usr/sbin/nologin"],
        ["+:::::::::", "+@admins:::::::::"],
    ],
    "group": [
        ["wheel:*:0:root", "wheel:*:0:root,alice", "wheel:*:0:", "wheel:*:0:bob,root"],
        ["www:*:80:", "www:*:80:alice", "www:*:80:alice,bob"],
        ["staff:*:20:root", "staff:$6$x:20:root"],
        ["audit:*:77:", "audit:*:77:bob"],
    ],
    "login.conf": [
        [
            "default:\\\n\t:umask=022:\\\n\t:path=/bin /sbin:\\\n\t:mail@:",
            "default:\\\n\t:umask=027:\\\n\t:lang=C.UTF-8:",
            "default:",
        ],
        [
            "daemon:\\\n\t:mail@:\\\n\t:memorylocked=128M:\\\n\t:tc=default:",
            "daemon:\\\n\t:memorylocked=64M:\\\n\t:tc=default:",
        ],
        ["standard:\\\n\t:tc=default:", "standard:\\\n\t:x:tc=default:"],
        ["russian|Russian Users:charset=UTF-8:tc=default:", "russian|Russians:\\\n\t:tc=default:"],
    ],
    "services": [
        ["ssh\t22/tcp\t# Secure Shell", "ssh 2222/tcp", "ssh\t22/tcp"],
        ["http\t80/tcp\twww www-http #World Wide Web", "http\t80/tcp\twww", "http\t80/tcp"],
        ["http\t80/udp\twww"],
        ["shop\t8080/tcp", "shop\t8081/tcp\tshop-alt"],
        ["domain\t53/tcp\t# DNS", "domain 53/tcp dns"],
    ],
    "protocols": [["ip\t0\tIP\t# internet", "ip 0 IP IPv4"], ["tcp\t6\tTCP", "tcp 6"], ["own 250", "own 251 OWN"]],
    "hosts": [
        ["::1\tlocalhost localhost.my.domain", "::1 localhost"],
        ["127.0.0.1\tlocalhost", "127.0.0.1\tlocalhost loghost"],
        ["192.0.2.7 shop.example shop", "192.0.2.7 shop.example"],
    ],
    "rc.conf": [
        ['sshd_enable="YES"', "sshd_enable=NO", "sshd_enable=YES # yes"],
        ['hostname="a.example"', 'hostname="b.example"'],
        ['jail_list="a \\\n b"', "jail_list='a\n b'"],
        ["ifconfig_em0=DHCP", 'ifconfig_em0="inet 192.0.2.7/24"'],
    ],
    "periodic.conf": [['daily_output="/var/log/daily.log"', "daily_output=root"], ["x_enable=YES", "x_enable=NO"]],
    "sysctl.conf": [
        ["kern.maxfiles=1000", "kern.maxfiles = 2000"],
        ["net.inet.ip.forwarding=1", "net.inet.ip.forwarding=0"],
    ],
    "newsyslog.conf": [
        ["/var/log/messages\t\t644  5\t1000 @0101T JC", "/var/log/messages 600 9 * @T00 J /var/run/x.pid 30"],
        [
            "/var/log/maillog root:mail 640 7 * @T00 JC",
            "/var/log/maillog 640 7 * @T00 JC",
            "/var/log/maillog 640 7 * @T00",
        ],
        ["/var/log/shop.log www:www 640 3 100 * JC /var/run/shop.pid SIGUSR1"],
        ["<include> /etc/newsyslog.conf.d/[!.]*.conf"],
    ],
    "syslog.conf": [
        ["*.notice\t/var/log/messages", "*.notice;kern.debug /var/log/messages"],
        ["mail.info\t/var/log/maillog"],
        ["!ppp\n*.*\t/var/log/ppp.log", "!ppp\n*.info\t/var/log/ppp.log\n*.err @loghost"],
        ["!*\ninclude /etc/syslog.d", "!*\ninclude /etc/syslog.d\ninclude /usr/local/etc/syslog.d"],
        ["+loghost\n*.* /var/log/hosts.log", "+loghost\n*.err /var/log/hosts.log"],
    ],
    "crontab": [
        ["SHELL=/bin/sh", "SHELL = /bin/csh"],
        ["1\t3\t*\t*\t*\troot\tperiodic daily", "15 2 * * * root periodic daily"],
        ["@reboot www /usr/local/bin/shop --start", "@daily www /usr/local/bin/shop --start"],
        ["0 * * * * root newsyslog", "*/5 * * * * root newsyslog"],
    ],
    "ttys": [
        [
            'ttyv0\t"/usr/libexec/getty Pc"\txterm\tonifexists secure',
            'ttyv0 "/usr/libexec/getty Pc" xterm off insecure',
        ],
        [
            'ttyu0\t"/usr/libexec/getty 3wire"\tvt100\toff secure',
            'ttyu0 "/usr/libexec/getty std.115200" vt100 on secure',
        ],
        ["ttyv8 none unknown off"],
    ],
    "inetd.conf": [
        [
            "ftp\tstream\ttcp\tnowait\troot\t/usr/libexec/ftpd\tftpd -l",
            "ftp stream tcp nowait root /usr/libexec/ftpd ftpd -l -A",
        ],
        ["ssh stream tcp nowait root /usr/sbin/sshd sshd -i"],
    ],
    "hosts.allow": [
        ["ALL : ALL : allow", "ALL : ALL : deny"],
        ["sshd : 192.0.2.0/24 : allow", "sshd : 192.0.2.0/24 : deny"],
        ["ALL : [::1] : allow"],
        ["fingerd : ALL \\\n\t: spawn (echo x) & \\\n\t: deny", "fingerd : ALL : deny"],
    ],
    "pam.d/sshd": [
        [
            "auth\trequired\tpam_unix.so\tno_warn try_first_pass",
            "auth sufficient pam_unix.so no_warn",
            "auth required pam_unix.so nullok",
        ],
        ["auth\tsufficient\tpam_krb5.so\tno_warn", "auth optional pam_krb5.so"],
        ["account\trequired\tpam_nologin.so"],
        ["session include system"],
    ],
    "ssh/sshd_config": [
        ["Port 22"],
        ["PermitRootLogin no", "permitrootlogin yes", "PermitRootLogin=prohibit-password"],
        ["Subsystem\tsftp\t/usr/libexec/sftp-server", "Subsystem sftp internal-sftp"],
        ["Match User git\n\tX11Forwarding no", "Match User git\n\tX11Forwarding yes\n\tPermitTTY no"],
        ["Match all\n\tMaxSessions 5", "Match all\n\tMaxSessions 6"],
    ],
    "devfs.rules": [
        ["[hide=1]\nadd hide", "[hide=1]\nadd hide\nadd path null unhide"],
        ["[jail=4]\nadd include $hide\nadd path zfs unhide", "[jail=4]\nadd include $hide"],
        ["[own=100]\nadd path 'bpf*' unhide", "[own=101]\nadd path 'bpf*' unhide"],
    ],
    "pkg/FreeBSD.conf": [
        [
            'FreeBSD: {\n  url: "pkg+https://pkg.FreeBSD.org/${ABI}/latest",\n  enabled: yes\n}',
            "FreeBSD: { enabled: no }",
        ],
        [
            'FreeBSD-base: {\n  url: "pkg+https://a.example/b",\n  enabled: no\n}',
            'FreeBSD-base: {\n  url: "https://c.example/b",\n  enabled: yes;\n}',
        ],
        ["own = { url = https://own.example/pkg; priority = 5 }", "own: { priority: 6 }"],
    ],
    "mail/aliases": [
        ["root:\troot@example.org", "root: alice,\n\tbob"],
        ["MAILER-DAEMON: postmaster", "mailer-daemon: root"],
        ["postmaster: root"],
    ],
    "shells": [["/bin/sh"], ["/bin/csh"], ["/usr/local/bin/bash"], ["/bin/tcsh"]],
    "ftpusers": [["root"], ["toor"], ["www"], ["alice"]],
}

REMARKS = ["", "# a remark", "# another one", "#", "\t# indented"]

_CHECKS = settings(
    max_examples=int(os.environ.get("MERGE_EXAMPLES", "120")), deadline=None, suppress_health_check=list(HealthCheck)
)

_Doc = List[Tuple[int, str]]


def _text(document: _Doc) -> bytes:
    return "".join(text + "\n" for _number, text in document).encode()


@st.composite
def _edited(draw: Any, pool: List[List[str]], document: _Doc) -> _Doc:
    """A document with some of its entries changed, removed or added, and remarks as well."""
    found = list(document)
    for _each in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, max(len(found) - 1, 0)))
        what = draw(st.sampled_from(["change", "remove", "add", "remark"]))
        if what == "remark":
            found.insert(place, (-1, draw(st.sampled_from(REMARKS))))
        elif what == "add":
            free = [number for number in range(len(pool)) if number not in {each for each, _text in found}]
            if free:
                number = draw(st.sampled_from(free))
                found.insert(place, (number, draw(st.sampled_from(pool[number]))))
        elif found and what == "remove":
            del found[place]
        elif found and found[place][0] >= 0:
            number = found[place][0]
            found[place] = (number, draw(st.sampled_from(pool[number])))
    return found


@st.composite
def versions(draw: Any) -> Tuple[str, bytes, bytes, bytes]:
    """A path with an old base, a new base and an override that were made from it."""
    path = draw(st.sampled_from(sorted(POOLS)))
    pool = POOLS[path]
    document: _Doc = []
    for number, variants in enumerate(pool):
        document += [(-1, each) for each in draw(st.lists(st.sampled_from(REMARKS), max_size=1))]
        if draw(st.booleans()):
            document.append((number, draw(st.sampled_from(variants))))
    new, ours = draw(_edited(pool, document)), draw(_edited(pool, document))
    return path, _text(document), _text(new), _text(ours)


ANYTHING = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="ab1 \t\n\r\\\"'#:=,;{}[]/!+-*@.|<>(", max_size=60).map(str.encode),
)

PATHS = st.sampled_from(sorted(POOLS) + ["local/etc/x.conf", "pam.conf", "nsswitch.conf", "loader.conf"])


def facts(grammar: Grammar, text: str) -> Dict[Tuple[Hashable, ...], Hashable]:
    """What a text says, part by part, without any merging: each part's keys, and its value."""
    found: Dict[Tuple[Hashable, ...], Hashable] = {}
    for token in grammar.parse(text):
        if token.key:
            inner = grammar.inner(token)
            found[(token.key,)] = "here"
            if inner is None:
                found[(token.key, "value")] = grammar.value(token)
            else:
                _deeper(found, token.key, inner.grammar, inner.tokens)
    return found


def _deeper(found: Dict[Tuple[Hashable, ...], Hashable], at: Hashable, grammar: Grammar, tokens: List[Any]) -> None:
    for token in tokens:
        if token.key and not token.soft:
            inner = grammar.inner(token)
            if inner is None:
                found[(at, token.key)] = grammar.value(token)
            else:
                found[(at, token.key)] = "here"
                _deeper(found, (at, token.key), inner.grammar, inner.tokens)


@_CHECKS
@given(PATHS, ANYTHING)
def test_what_is_read_is_what_is_written(path: str, data: bytes) -> None:
    text = data.decode("latin-1")
    grammar = kinds.grammar_of(path)
    try:
        tokens = grammar.parse(text)
    except Unfit:
        tokens = Lines().parse(text)
    assert "".join(token.text for token in tokens) == text


@_CHECKS
@given(PATHS, ANYTHING, ANYTHING)
def test_an_unchanged_side_is_the_identity(path: str, one: bytes, other: bytes) -> None:
    kept = merge(path, one, one, other)
    assert (kept.kind, kept.content, kept.theirs) == ("kept", other, other)
    if one.strip():
        outcome = merge(path, one, other, one)
        assert outcome.content == other
        assert outcome.kind == ("kept" if one == other else "follows")


@_CHECKS
@given(PATHS, st.one_of(st.none(), ANYTHING), st.one_of(st.none(), ANYTHING), ANYTHING)
def test_whatever_stands_in_files(path: str, old: Any, new: Any, ours: bytes) -> None:
    outcome = merge(path, old, new, ours)
    assert (outcome.kind == "conflict") == bool(outcome.conflicts)
    if outcome.kind != "conflict":
        assert outcome.content == outcome.theirs
    for conflict in outcome.conflicts:
        assert all(text.isprintable() for text in conflict)
        assert (
            len(set(conflict[1:4])) > 1
            or "(not shown)" in conflict
            or "bytes" in conflict.ours
            or "\ufffd" in str(conflict)
        )
    if outcome.content is not None and old is not None and b"\0" not in ours:
        assert merge(path, new, new, outcome.content).content == outcome.content


@_CHECKS
@given(versions())
def test_nothing_is_lost_and_nothing_is_missing(files: Tuple[str, bytes, bytes, bytes]) -> None:
    path, old, new, ours = files
    outcome = merge(path, old, new, ours)
    if not ours.strip() or (path == "motd.template" and _repeated([old, new, ours])):
        return  # of lines that come again, only diff knows which one is which
    grammar = kinds.grammar_of(path)
    before, after, here = [facts(grammar, each.decode()) for each in (old, new, ours)]
    result = facts(grammar, (outcome.content or b"").decode())
    theirs = facts(grammar, (outcome.theirs or b"").decode())
    for fact in set(before) | set(after) | set(here):
        was, base, site, now = [each.get(fact) for each in (before, after, here, result)]
        if site != was:
            assert now == site or (base == site and now == base), (fact, outcome)
        elif base != was and not outcome.conflicts:
            assert now == base or _kept_password(fact, base), (fact, outcome)
        elif base != was and was is None and len(fact) == 1:
            assert now == base or theirs.get(fact) == base or outcome.conflicts


def _kept_password(fact: Tuple[Hashable, ...], base: Hashable) -> bool:
    return fact[-1] == ("password",) and base == ""


def _told_apart(files: Tuple[str, bytes, bytes, bytes], data: Optional[bytes]) -> List[bytes]:
    """The lines of a file but for remarks that stand in a version twice, of which nobody can say which one is which.

    Where there are sections, none: a remark that comes in above a head belongs to that from then on.
    """
    path, *texts = files
    twice = {line for line in _repeated([*texts, data or b""]) if path == "motd.template" or line.decode() in REMARKS}
    if isinstance(kinds.grammar_of(path), Sections):
        twice = {each.encode() for each in REMARKS}
    if path == "motd.template" and twice:
        return []
    return [line for line in (data or b"").split(b"\n") if line and line not in twice]


def _repeated(texts: Iterable[bytes]) -> Set[bytes]:
    return {line for text in texts for line, times in Counter(text.split(b"\n")).items() if times > 1}


@_CHECKS
@given(versions())
def test_merging_again_changes_nothing(files: Tuple[str, bytes, bytes, bytes]) -> None:
    path, old, new, ours = files
    first = merge(path, old, new, ours)
    if first.content and first.content.strip():
        assert merge(path, new, new, first.content).content == first.content
        again: Outcome = merge(path, old, new, first.content)
        assert _told_apart(files, again.content) == _told_apart(files, first.content)
    if first.theirs and first.theirs.strip():
        again = merge(path, old, new, first.theirs)
        assert _told_apart(files, again.theirs) == _told_apart(files, first.theirs)


@_CHECKS
@given(st.lists(st.integers(0, 6), max_size=40), st.lists(st.integers(0, 6), max_size=40))
def test_alignment(left: List[int], right: List[int]) -> None:
    pairs = align(left, right)
    assert all(left[first] == right[second] for first, second in pairs)
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in zip(pairs, pairs[1:]))
    if left == right:
        assert len(pairs) == len(left)


@pytest.mark.parametrize("path", sorted(POOLS))
def test_every_kind_knows_its_own_entries(path: str) -> None:
    """What the pools have are entries to their grammar: otherwise the other tests would try nothing."""
    grammar = kinds.grammar_of(path)
    assert isinstance(grammar, Lines) == (path == "motd.template")
    for number, variants in enumerate(POOLS[path]):
        keys = {tuple(token.key for token in grammar.parse(each + "\n")[-1:]) for each in variants}
        assert None not in keys
        assert len(keys) == 1 or path in ("motd.template", "master.passwd"), (number, keys)
