# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of known holes as it is read, compared, and lived with; and until when releases have support."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import lzma
import random
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, Package
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol, exceptions, match, vuxml
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.vuxml import BadVuxml, Database
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import version
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import HEAD, TAIL, document, package, vuln

TODAY = datetime.date(2026, 11, 30)


def every(_name: str) -> bool:
    return True


def read(raw: bytes, wanted: Any = every) -> Database:
    return vuxml.read(vuxml.unpacked(io.BytesIO(raw), "vuln.xml"), "vuln.xml", wanted, TODAY)


def holes(raw: bytes, *packages: str, release: str = "13.2-RELEASE-p4", kernel: str = "13.2-RELEASE-p3") -> List[str]:
    """What is found: the thing, and the last digits of the entry's number."""
    given = [(each.rpartition("-")[0], each.rpartition("-")[2]) for each in packages]
    subject = match.subject("x", release, kernel, given)
    found = match.Matcher(read(raw, match.wanted([subject]))).findings(subject)
    return ["{0} {1}".format(each.thing.name, int(each.advisory.vid[:8])) for each in found]


# reading


def test_what_is_read() -> None:
    raw = document(
        vuln(
            1,
            package(["p5-A", "p5-A-devel"], "lt 13.54", "ge 14 le 14.2,1"),
            package(["b"], "eq 3"),
            topic="A & B -- <holes>",
            cves=["CVE-2026-1", "CVE-2026-2"],
        ),
        '<vuln vid="00000002-b996-11f1-ad2b-40b034429ecf"><cancelled superseded="x"/></vuln>\n',
        vuln(3, package(["FreeBSD"], "ge 9.1 lt 9.1_4", element="system"), entered="2013-05-01"),
    )
    found = read(raw)
    assert found.count == 2 and found.newest == datetime.date(2026, 11, 20)
    one, three = found.advisories
    assert one.vid == "00000001-b996-11f1-ad2b-40b034429ecf" and one.topic == "A & B -- <holes>"
    assert one.cves == ("CVE-2026-1", "CVE-2026-2") and one.entered == "2026-11-20"
    assert one.affected[0].names == ("p5-A", "p5-A-devel")
    assert [each.bounds for each in one.affected[0].ranges] == [(("lt", "13.54"),), (("ge", "14"), ("le", "14.2,1"))]
    assert one.affected[1].ranges[0].bounds == (("eq", "3"),)
    assert three.affected[0].system and not one.affected[0].system
    assert one.url.endswith(one.vid + ".html") and three.names == (three.vid,)


def test_only_what_is_wanted_is_kept() -> None:
    raw = document(*(vuln(number, package(["p{0}".format(number)], "lt 2")) for number in range(100)))
    found = read(raw, lambda name: name == "p7")
    assert found.count == 100 and [each.affected[0].names for each in found.advisories] == [("p7",)]


@pytest.mark.parametrize("pack", [bytes, lzma.compress, bz2.compress, gzip.compress])
def test_packed(pack: Any) -> None:
    raw = document(vuln(1, package(["a"], "lt 2")))
    packed = pack(raw)
    assert read(packed).count == 1
    for cut in (len(packed) // 2, len(packed) - 8):
        with pytest.raises(BadVuxml, match=r"not all of it is there|damaged"):
            read(packed[:cut])
    if pack is not bytes:
        damaged = bytearray(packed)
        damaged[len(damaged) // 2] ^= 255
        with pytest.raises(BadVuxml):
            read(bytes(damaged))


def test_several_streams() -> None:
    raw = document(vuln(1, package(["a"], "lt 2")))
    assert read(lzma.compress(raw[:200]) + b"\0" * 8 + lzma.compress(raw[200:])).count == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "damaged"),
        (b"<html><body>404</body></html>", "no VuXML"),
        (b'<vuxml xmlns="http://example.org/"></vuxml>', "no VuXML"),
        ((HEAD + TAIL).encode(), "no entries"),
        ((HEAD + '<vuln vid="x"><cancelled/></vuln>' + TAIL).encode(), "no entries"),
        (document(vuln(1, package(["a"], "lt 2"), entered="2099-01-01")), "no entries"),
        (document(vuln(1, package(["a"], "lt 2")))[: -len(TAIL) - 5], "not all of it is there"),
        ((HEAD + "&vuln-2025;" + TAIL).encode(), "refers to"),
        ((HEAD + "<vuln>&nobody;</vuln>" + TAIL).encode(), "refers to|undefined"),
        (HEAD.replace("<vuxml", "<vuxml" * 2).encode(), "damaged"),
        (b'<?xml version="1.0" encoding="klingon"?><vuxml/>', "cannot be read|damaged"),
        ((HEAD + "<a>" * 100 + "</a>" * 100 + TAIL).encode(), "nested"),
        ((HEAD + '<vuln vid="' + "x" * (3 << 20) + '"/>' + TAIL).encode(), "longer than"),
        (document(vuln(1, package(["a"] * 20001, "lt 2"))), "more than"),
    ],
)
def test_what_is_none(raw: bytes, words: str) -> None:
    with pytest.raises(BadVuxml, match=words):
        read(raw)


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">',
        '<!ENTITY % p "x">',
        '<!ENTITY passwd SYSTEM "file:///etc/passwd">',
        '<!ENTITY % remote SYSTEM "http://192.0.2.1/x.dtd"> %remote;',
    ],
)
def test_entities(declared: str) -> None:
    """Neither bombs nor what would have to be fetched."""
    raw = "<!DOCTYPE vuxml [{0}]>\n".format(declared) + HEAD.split("]>\n")[1] + "<vuln>&passwd;&c;</vuln>" + TAIL
    with pytest.raises(BadVuxml, match=r"declares the entity|refers to|undefined"):
        read(raw.encode())


def test_a_bomb_of_xz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vuxml, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(BadVuxml, match="unpacks to more than 1 MiB"):
        read(lzma.compress(HEAD.encode() + b" " * (8 << 20)))
    monkeypatch.setattr(vuxml, "XZ_MEMORY", 1 << 20)
    with pytest.raises(BadVuxml, match=r"[Mm]emory"):
        read(lzma.compress(HEAD.encode() + b" " * 100, preset=9))


#: reads a list of so many entries in a process of its own, and says what that took
_MEASURED = """
import datetime, re, resource, sys, time
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import match, vuxml
subject = match.subject("x", "14.3-RELEASE-p2", "", [("p%d" % number, "2.0") for number in range(300)])
began = time.process_time()
with open(sys.argv[1], "rb") as file:
    found = vuxml.read(vuxml.unpacked(file, "x"), "x", match.wanted([subject]), datetime.date(2026, 11, 30))
match.Matcher(found).findings(subject)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.platform == "linux":  # there that has what the parent had when it forked
    with open("/proc/self/status") as file:
        memory = int(re.search(r"VmHWM:\\s+(\\d+)", file.read()).group(1))
print(found.count, time.process_time() - began, memory)
"""


def test_it_takes_little(tmp_path: Any) -> None:
    """A list of 100 MiB, several times what FreeBSD's is."""
    chance = random.Random(1)
    words = " ".join("word{0}".format(chance.randrange(1000)) for _number in range(150))
    entry = vuln(1, package(["p%d", "q%d"], "ge 1 lt 3_%d,1"), cves=["CVE-2026-%d"]).replace("Its", words)
    path = tmp_path / "vuln.xml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD)
        for number in range((100 << 20) // len(entry)):
            file.write(entry.replace("%d", str(number % 5000)).replace("00000001-", "{0:08d}-".format(number)))
        file.write(TAIL)
    done = subprocess.run([sys.executable, "-c", _MEASURED, str(path)], capture_output=True, text=True, check=True)
    count, seconds, memory = done.stdout.split()
    assert int(count) > 40000 and float(seconds) < 60 and int(memory) < 300 << (10 if sys.platform == "linux" else 20)


# comparing


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("lt 2.0", ["1.9", "1.9_5", "2.0.b1"], ["2.0", "2.0_1", "1.0,1"]),
        ("le 1.19_2,1", ["1.19_2,1", "1.19_1,1", "3"], ["1.19_3,1", "1.20,1"]),
        ("eq 3.0.b1", ["3.0.b1"], ["3.0.b2", "3.0"]),
        ("gt 1 le 2", ["1.1", "2"], ["1", "2.0.1"]),
        ("ge 8.2.0 lt 8.2.3", ["8.2.0", "8.2.2_9"], ["8.1", "8.2.3"]),
        ("ge 0", ["0", "99"], []),
        ("ge 2.* lt 2.4_1", ["2.0", "2.4"], ["1.9", "2.4_1"]),
        ("ge 1 lt 9 gt 3", ["4"], ["2"]),
    ],
)
def test_ranges(span: str, inside: Sequence[str], outside: Sequence[str]) -> None:
    raw = document(vuln(1, package(["a"], span)))
    assert [each for each in [*inside, *outside] if holes(raw, "a-" + each)] == list(inside)


def test_several_ranges_and_names() -> None:
    raw = document(
        vuln(1, package(["gitlab-ce", "gitlab-ee"], "ge 19.4.0 lt 19.4.1", "ge 13.11.0 lt 19.2.7")),
        vuln(2, package(["py3*-requests"], "lt 3")),
        vuln(3, package(["[ab]"], "lt 3"), package(["a"], "lt 3")),
    )
    assert holes(raw, "gitlab-ee-19.4.0") == ["gitlab-ee 1"] and holes(raw, "gitlab-ce-13.12") == ["gitlab-ce 1"]
    assert holes(raw, "gitlab-ce-19.3.0", "gitlab-1") == []
    assert holes(raw, "py311-requests-2.31.0", "py27-requests-1", "Py311-requests-1") == ["py311-requests 2"]
    assert holes(raw, "a-1", "b-1", "c-1") == ["a 3", "b 3"], "each entry once for each thing"


def test_userland_and_kernel_apart() -> None:
    """Each by its own patch level, under the names of ``package`` and of ``system``."""
    raw = document(
        vuln(1, package(["FreeBSD-kernel"], "ge 13.2 lt 13.2_4", "ge 14.0 lt 14.0_1")),
        vuln(2, package(["FreeBSD"], "ge 13.2 lt 13.2_4")),
        vuln(3, package(["FreeBSD"], "ge 13.2 lt 13.2_5", element="system")),
    )
    assert holes(raw) == ["FreeBSD 3", "FreeBSD-kernel 1"]
    assert holes(raw, kernel="13.2-RELEASE-p4") == ["FreeBSD 3"]
    assert holes(raw, release="13.2-RELEASE", kernel="13.2-RELEASE") == ["FreeBSD 2", "FreeBSD 3", "FreeBSD-kernel 1"]
    assert holes(raw, release="14.0-RELEASE", kernel="") == ["FreeBSD-kernel 1"], "that of the userland"
    assert holes(raw, release="14.3-STABLE", kernel="14.3-STABLE") == []
    assert holes(document(vuln(1, package(["FreeBSD"], "lt 9", element="system"))), "FreeBSD-1") == []


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        ("13.2-RELEASE-p4", "13.2_4"),
        ("15.0-RELEASE", "15.0"),
        ("14.3-RELEASE-p0", "14.3"),
        ("15.0-RELEASE-p10", "15.0_10"),
        ("16.0-CURRENT", ""),
        ("14.3-STABLE", ""),
        ("15.0-RC1", ""),
        ("", ""),
        ("13.2-RELEASE-p4\n", ""),
        ("1" * 300 + ".0-RELEASE", ""),
    ],
)
def test_releases_in_vuxml(release: str, wanted: str) -> None:
    assert match.base_version(release) == wanted


def test_what_cannot_be_compared_is_said() -> None:
    subject = match.subject("x", "14.3-STABLE", "", [("", "1"), ("a", ""), ("b", "9" * 5000), ("c", "1")])
    assert [each.name for each in subject.things] == ["c"] and subject.packages == 4
    assert len([each for each in subject.doubts if "no usable name and version" in each]) == 3
    assert any("userland is 14.3-STABLE" in each for each in subject.doubts)
    assert any("taken to be that of 14.3-STABLE" in each for each in subject.doubts)
    assert match.subject("x", "", "", []).doubts == (
        "it does not say which FreeBSD its userland is",
        "it does not say which FreeBSD its kernel is",
    )


def test_packages_of_the_base_are_no_packages() -> None:
    """Their versions would compare as higher than those of the base (15.0p1 and 15.0_9)."""
    origin = Origin(
        "sets",
        release="15.0-RELEASE-p1",
        kernel_release="15.0-RELEASE-p1",
        packages=(Package("FreeBSD-runtime", "15.0p1"), Package("FreeBSD-kernel", "15.0p1"), Package("curl", "8")),
    )
    subject = match.subject_of("x", origin)
    assert [(each.kind, each.name) for each in subject.things] == [
        ("userland", "FreeBSD"),
        ("kernel", "FreeBSD-kernel"),
        ("package", "curl"),
    ]


def test_no_versions_and_unreadable_ones_are_in_doubt() -> None:
    subject = match.subject("x", "13.2-RELEASE", "", [("a", "1"), ("b", "1")])
    raw = document(vuln(1, package(["a"])), vuln(2, package(["b"], "lt " + "9" * 200)), vuln(3, package(["b"], "gt 5")))
    found = match.Matcher(read(raw)).findings(subject)
    assert [(each.thing.name, each.doubt) for each in found] == [
        ("a", "the entry names no versions"),
        ("b", "a version in the entry is unreadable"),
    ]


def test_nonsense_never_raises() -> None:
    chance = random.Random(7)
    letters = "0123456789.,_-+*abrcp~ é\x1b[{"
    words = ["".join(chance.choice(letters) for _length in range(chance.randrange(1, 40))) for _number in range(60)]
    spans = [vuxml.Range(((kind, word),)) for kind in vuxml.BOUNDS for word in words]
    for word in words:
        assert all(match.contains(span, word) in (True, False) for span in spans)


def test_summary() -> None:
    raw = document(
        vuln(1, package(["a", "b"], "lt 2")),
        vuln(2, package(["FreeBSD-kernel"], "lt 20")),
        vuln(3, package(["a"], "lt 2")),
    )
    subject = match.subject("x", "13.2-RELEASE", "", [("a", "1"), ("b", "1")])
    found = match.Matcher(read(raw)).findings(subject)
    assert match.summary(found) == "3 known holes in 2 packages and the kernel"
    assert match.summary(found[:1]) == "1 known hole in the kernel" and match.summary([]) == "no known holes"


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("py311-x", "py3[^0-9]*", False),
        ("pya-x", "py[^0-9]*", True),
        ("py3-x", "py[!0-9]*", False),
        ("gtk+", "gtk\\+", True),
        ("a*", "a\\*", True),
        ("ab", "a\\*", False),
        ("Curl", "curl*", False),
        ("a[1]", "a[1]", True),
    ],
)
def test_patterns_are_those_of_fnmatch(name: str, pattern: str, fits: bool) -> None:
    raw = document(vuln(1, package([pattern], "lt 2")))
    subject = match.subject("x", "13.2-RELEASE", "", [(name, "1")])
    assert bool(match.Matcher(read(raw, match.wanted([subject]))).findings(subject)) is fits


def test_a_package_of_many_systems_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = document(*(vuln(number, package(["a*"], "lt {0}".format(number))) for number in range(1, 30)))
    subjects = [match.subject("x", "13.2-RELEASE", "", [("abc", "9"), ("zzz", "1")]) for _each in range(20)]
    asked: List[str] = []

    def compare(one: str, other: str) -> int:
        asked.append(one)
        return version.compare(one, other)

    monkeypatch.setattr(match, "version", SimpleNamespace(compare=compare))
    matcher = match.Matcher(read(raw))
    found = [matcher.findings(each) for each in subjects]
    assert {len(each) for each in found} == {20} and len(asked) == 29


@pytest.mark.parametrize("word", ["name", "cvename", "freebsdsa"])
def test_half_a_name_is_none(word: str) -> None:
    text = HOLED.decode().replace("<cvename>CVE-2026-2<", "<freebsdsa>SA-26:18.x</freebsdsa><cvename>CVE-2026-2<")
    assert read(text.encode())
    with pytest.raises(vuxml.BadVuxml, match="there is an element in a " + word):
        read(text.replace("</{0}>".format(word), "<b/></{0}>".format(word), 1).encode())


def test_packages_of_the_base_that_were_left_behind() -> None:
    """One package at the newest patch level does not vouch for the others."""
    given = [("FreeBSD-runtime", "15.0p9"), ("FreeBSD-openssl", "15.0p5"), ("FreeBSD-kernel-generic", "15.0p7")]
    found = match.subject("x", "15.0-RELEASE-p9", "15.0-RELEASE-p7", given)
    assert found.doubts == ("its userland is 15.0-RELEASE-p9, and parts of it are older: FreeBSD-openssl 15.0p5",)
    found = match.subject("x", "15.0-RELEASE-p10", "15.0-RELEASE-p10", [("FreeBSD-kernel-generic", "15.0p9")])
    assert found.doubts == ("its kernel is 15.0-RELEASE-p10, and parts of it are older: FreeBSD-kernel-generic 15.0p9",)
    assert not match.subject(
        "x", "15.0-RELEASE-p9", "15.0-RELEASE-p9", [(name, "15.0p9") for name, _of in given]
    ).doubts


# exceptions


def sorted_out(raw: bytes, entries: Sequence[object], today: datetime.date = TODAY) -> Dict[str, Any]:
    subject = match.subject("x", "13.2-RELEASE", "", [("a", "1")])
    found = match.Matcher(read(raw)).findings(subject)
    given = exceptions.parse(entries)
    result = exceptions.sort(found, given, today)
    return {
        "open": [int(each.advisory.vid[:8]) for each in result.open],
        "accepted": [int(each.advisory.vid[:8]) for each, _why in result.accepted],
        "remarks": exceptions.remarks(found, given, today),
    }


HOLED = document(
    vuln(1, package(["a"], "lt 2"), cves=["CVE-2026-1"]),
    vuln(2, package(["a"], "lt 2"), cves=["CVE-2026-2", "CVE-2026-3"]),
    vuln(3, package(["a"], "lt 2")),
)


def test_exceptions() -> None:
    given: List[object] = [
        {"id": "cve-2026-1", "until": "2027-06-30", "reason": "not reachable", "justification": "code_not_reachable"},
        "CVE-2026-2 2027-06-30 not built in",
        {"id": "00000003-b996-11f1-ad2b-40b034429ecf", "until": datetime.date(2026, 12, 5), "reason": "x"},
    ]
    found = sorted_out(HOLED, given)
    assert found["open"] == [2] and found["accepted"] == [1, 3], "one CVE of two says nothing of the other"
    assert found["remarks"] == ["the exception for 00000003-b996-11f1-ad2b-40b034429ecf ends on 2026-12-05: x"]
    assert sorted_out(HOLED, [*given, "CVE-2026-3 2027-01-01 likewise"])["open"] == []


@pytest.mark.parametrize("name", ["SA-26:18.x", "FreeBSD-SA-26:18.x", "freebsd-sa-26:18.x"])
def test_an_advisory_of_freebsd(name: str) -> None:
    text = HOLED.decode().replace("<cvename>CVE-2026-2<", "<freebsdsa>SA-26:18.x</freebsdsa><cvename>CVE-2026-2<")
    assert sorted_out(text.encode(), [name + " 2027-06-30 x"])["accepted"] == [2]


def test_a_notice_of_several_says_nothing_of_the_others() -> None:
    notices = "<freebsdsa>SA-26:18.x</freebsdsa><freebsdsa>SA-26:19.y</freebsdsa><cvename>CVE-2026-2<"
    raw = HOLED.decode().replace("<cvename>CVE-2026-2<", notices).encode()
    given = ["SA-26:18.x 2027-06-30 no x here"]
    assert sorted_out(raw, given)["accepted"] == []
    assert sorted_out(raw, [*given, "FreeBSD-SA-26:19.y 2027-06-30 no y here"])["accepted"] == [2]


@pytest.mark.parametrize(("other", "justification"), [("", ""), ("code_not_reachable", "code_not_reachable")])
def test_a_justification_is_of_all_or_of_none(other: str, justification: str) -> None:
    """What is true of one CVE of an entry is not said of the other one."""
    given = exceptions.parse(
        [
            {"id": "CVE-2026-2", "until": "2027-01-01", "reason": "not built", "justification": "code_not_reachable"},
            {"id": "CVE-2026-3", "until": "2027-06-30", "reason": "no time", "justification": other},
        ]
    )
    found = match.Matcher(read(HOLED)).findings(match.subject("x", "13.2-RELEASE", "", [("a", "1")]))
    ((_finding, why),) = exceptions.sort(found, given, TODAY).accepted
    assert (why.until.isoformat(), why.reason, why.justification) == ("2027-01-01", "not built; no time", justification)


def test_exceptions_end() -> None:
    given = ["CVE-2026-1 2026-11-30 for now", "CVE-2026-99 2027-11-30 not here"]
    assert sorted_out(HOLED, given)["accepted"] == [1], "the last day counts"
    found = sorted_out(HOLED, given, datetime.date(2026, 12, 1))
    assert found["accepted"] == [] and found["remarks"] == [
        "the exception for cve-2026-1 ended on 2026-11-30: for now",
        "the exception for cve-2026-99 is of no use: nothing here has that hole",
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("CVE-2026-1", "lacks its end"),
        ("CVE-2026-1 2026-12-31", "lacks its end"),
        ("CVE-2026-1 soon because", "no day"),
        ({"id": "CVE-2026-1", "reason": "x"}, "no day"),
        ({"id": "CVE-2026-1", "until": "2026-12-31"}, "lacks its id or its reason"),
        ({"id": "x", "until": "2026-12-31", "reason": "x", "why": "x"}, "more than"),
        ({"id": "x", "until": "2026-12-31", "reason": "x", "justification": "because"}, "none of"),
        (7, "lacks its end"),
    ],
)
def test_exceptions_that_are_none(entry: object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        exceptions.parse([entry])


# support


@pytest.mark.parametrize(
    ("release", "state", "words"),
    [
        ("13.2-RELEASE-p4", "ended", "support of 13.2-RELEASE-p4 ended on 2024-06-30"),
        ("14.4-RELEASE", "supported", "support of 14.4-RELEASE ends on 2026-12-31"),
        ("15.1-RELEASE-p3", "supported", ""),
        ("14.5-RELEASE", "supported", ""),
        ("14.5-STABLE", "supported", ""),
        ("15-STABLE", "supported", ""),
        ("10.4-STABLE", "ended", "support of 10.4-STABLE ended"),
        ("15-RELEASE", "unknown", "not known"),
        ("13.5-STABLE", "ended", "support of 13.5-STABLE ended on 2026-04-30"),
        ("9.3-RELEASE", "ended", "support of 9.3-RELEASE ended"),
        ("16.0-RELEASE", "unknown", "whether 16.0-RELEASE has support is not known: the table of 2026-11-28"),
        ("14.9-RELEASE", "unknown", "not known"),
        ("16.0-CURRENT", "unknown", "not known"),
        ("", "unknown", "a FreeBSD of unknown release"),
        ("\x1b[31m", "unknown", "?[31m"),
    ],
)
def test_support(release: str, state: str, words: str) -> None:
    assert eol.table().of(release, TODAY).state == state
    told = eol.table().told(release, TODAY)
    assert words in told and bool(words) == bool(told) and "\x1b" not in told


def test_an_old_table_knows_nothing_of_what_was_open() -> None:
    later = datetime.date(2027, 9, 1)
    assert eol.table().of("14.5-RELEASE", later).state == "unknown"
    assert eol.table().of("15.1-RELEASE", later).state == "ended"
    better = eol.table().corrected(
        {"14.5-RELEASE": "2027-09-30", "16.0-RELEASE": datetime.date(2028, 9, 30), "own": "2030-01-01"}
    )
    assert better.of("14.5-RELEASE-p2", later).state == better.of("16.0-RELEASE", later).state == "supported"
    assert better.of("own", later).state == "supported" and better.of("9.0-RELEASE", later).state == "ended"


def test_the_table_is_sound() -> None:
    table = eol.table()
    assert table.as_of <= datetime.date.today() and len(table.until) > 20
    for name, until in table.until.items():
        assert eol._key(name) == name and (until is None or isinstance(until, datetime.date))
