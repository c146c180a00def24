# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit says: of published images, of hosts, in a build, in the report, and to scanners."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _fleet_audit
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import exceptions, look, match, result, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._fleet_audit import System
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import sbom
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts, holes, page
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, document, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.history import NOTHING
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.hosts import support_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.table import table
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, host
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import document as listed
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import package, vuln

ENTERED = "2026-11-25"

LIST = listed(
    vuln(1, package(["curl"], "lt 8.4.0"), topic="curl -- SOCKS5 heap overflow", cves=["CVE-2023-38545"]),
    vuln(2, package(["curl", "wget"], "lt 8.2"), topic="curl -- two", cves=["CVE-2026-2", "CVE-2026-3"]),
    vuln(3, package(["FreeBSD-kernel"], "ge 13.2 lt 13.2_5"), topic="FreeBSD -- kernel", entered=ENTERED),
    vuln(4, package(["other"], "ge 0")),
)

WICKED = "<script>alert(1)</script>\x1b[31m\n\u202e"


def order(folder: Path, raw: bytes = LIST, *accepted: object, **terms: Any) -> look.Order:
    (folder / "vuln.xml").write_bytes(raw)
    given = source.Terms(where=str(folder / "vuln.xml"), cache=str(folder / "cache"), **terms)
    return look.Order(given, exceptions.parse(accepted))


def system(title: str, *packages: str, release: str = "13.2-RELEASE-p4", kernel: str = "13.2-RELEASE-p4") -> System:
    given = [(each.rpartition("-")[0], each.rpartition("-")[2]) for each in packages]
    return System(match.subject(title, release, kernel, given), build="build of " + title)


def audit(folder: Path, systems: Sequence[System], *accepted: object, raw: bytes = LIST) -> result.Audit:
    return _fleet_audit.run(systems, order(folder, raw, *accepted), NOW, lambda _text: None)


def runs(name: str = "web", version: str = "1.1", packages: Sequence[str] = (), **changes: Any) -> Dict[str, Any]:
    """What a host says."""
    origin = {
        "method": "sets",
        "release": "13.2-RELEASE-p4",
        "revision": "",
        "options": {},
        "package_count": len(packages),
        "packages": [dict(zip(("name", "version"), each.rsplit("-", 1))) for each in packages],
    }
    running = {"name": name, "version": version, "slice": "nz-a", "build": "b", "origin": dict(origin, **changes)}
    return {"host": host(running=running, release="13.2-RELEASE-p4")}


# the lines


def test_lines(tmp_path: Path) -> None:
    found = audit(
        tmp_path,
        [system("web-1.0", "curl-8.1.0", "wget-1.2"), system("web-1.1", "curl-8.1.0"), system("web-1.2", "curl-9")],
        "CVE-2023-38545 2027-06-30 no proxy here",
    )
    lines = result.lines(found)
    assert lines[0].split() == ["SYSTEM", "FREEBSD", "KERNEL", "PACKAGES", "HOLES", "ACCEPTED", "SUPPORT"]
    assert lines[1].split() == ["web-1.0", *["13.2-RELEASE-p4"] * 2, "2", "3", "1", "ended", "2024-06-30"]
    assert lines[3].split() == ["web-1.2", *["13.2-RELEASE-p4"] * 2, "1", "1", "0", "ended", "2024-06-30"]
    text = "\n".join(lines)
    assert (
        "kernel 13.2-RELEASE-p4:\n"
        "  FreeBSD -- kernel (00000003-b996-11f1-ad2b-40b034429ecf); not in 13.2_5 any more "
        "[web-1.0, web-1.1, web-1.2]\n"
        "curl 8.1.0:\n"
    ) in text
    assert "  curl -- two (CVE-2026-2, CVE-2026-3); not in 8.2 any more [web-1.0, web-1.1]\n" in text
    assert (
        "(CVE-2023-38545); not in 8.4.0 any more; accepted until 2027-06-30: no proxy here [web-1.0, web-1.1]" in text
    )
    assert "web-1.0, web-1.1, web-1.2: support of 13.2-RELEASE-p4 ended on 2024-06-30" in text
    assert lines[-2].startswith("compared with 4 entries of ") and lines[-2].endswith(
        "the newest of 2026-11-25, 5 days ago"
    )
    assert lines[-1] == "3 systems: 6 known, 2 accepted, 3 past the end of life"


def test_lines_fit_the_terminal(tmp_path: Path) -> None:
    raw = listed(
        vuln(1, package(["a"], "lt 2"), topic="a -- " + "many words " * 20, cves=["CVE-2026-1"], entered=ENTERED)
    )
    found = audit(tmp_path, [system("web-1.0", "a-1")], raw=raw)
    wide, narrow = result.lines(found), result.lines(found, 80)
    # where the list is may be longer than a line, and is not broken
    assert max(map(len, wide)) > 120 and max(len(line) for line in narrow if str(tmp_path) not in line) <= 80
    assert " ".join("\n".join(wide[2:]).split()) == " ".join("\n".join(narrow[2:]).split()), "nothing is lost"


def test_nothing_gets_to_the_terminal_as_it_is(tmp_path: Path) -> None:
    """Neither names of packages and hosts, nor what the list says."""
    raw = listed(vuln(1, package([WICKED.replace("\n", "")], "lt 2"), topic=WICKED, cves=[WICKED], entered=ENTERED))
    raw = raw.replace(b"\x1b", b"")  # XML has no such character
    name = WICKED.replace("\n", "").replace("\x1b", "")
    wicked = System(match.subject(WICKED, WICKED, WICKED, [(name, "1\u202e"), (WICKED, "1")]), hosts=[WICKED])
    found = audit(tmp_path, [wicked, system("x", name + "-1")], "x 2027-01-01 " + WICKED.replace("\n", ""), raw=raw)
    assert found.counts["known"] == 2
    for text in [*result.lines(found), *result.lines(found, 80)]:
        assert text.isprintable()
    assert result.metrics(found, NOW).replace("\n", "").isprintable()
    assert json.dumps(result.document(found), ensure_ascii=False).isprintable()


def test_counts_and_exit(tmp_path: Path) -> None:
    unknown = System(match.Subject("odd", (), doubts=("it does not say where it comes from",)))
    found = audit(tmp_path, [system("web-1.0", "curl-8.1.0"), unknown])
    assert found.counts == {"systems": 2, "known": 3, "accepted": 0, "end_of_life": 1, "unknown": 1}
    assert result.lines(found)[2].split() == ["odd", "?", "?", "0", "?", "unknown"]
    assert [each.words for each in found.systems] == [
        "3 known holes in 1 package and the kernel",
        "nothing is known of it",
    ]
    assert result.failing(found, ["none"]) == ""
    assert result.failing(found, ["known"]) == "3 known holes in 1 system"
    assert result.failing(found, ["end_of_life"]) == "1 system past the end of life"
    assert result.failing(found, ["unknown"]) == "1 system of which not everything is known"
    assert result.failing(found, ["known", "unknown"]).count(";") == 1
    with pytest.raises(Refused, match="none, and known"):
        result.check_fail(["none", "known"])
    result.check_fail(["none"])
    sound = audit(tmp_path, [system("new-1", "curl-9", release="15.1-RELEASE", kernel="15.1-RELEASE")])
    assert not any(result.failing(sound, [each]) for each in result.FAIL)


def test_nothing_compared_is_no_success(tmp_path: Path) -> None:
    """Where everything is unknown, or what is published is, no known holes are no reason to be content."""
    unknown = System(match.Subject("odd", (), doubts=("it does not say where it comes from",)))
    found = audit(tmp_path, [unknown])
    assert "nothing could be compared" in result.failing(found, ["known"]) and not result.failing(found, ["none"])
    assert "what is not known" in result.advice(found, ["known"])
    old = audit(tmp_path, [system("web-1.0", "curl-8.1.0"), unknown])
    assert "audit_ignore" in result.advice(old, ["known", "end_of_life"])
    assert "has support" in result.advice(old, ["end_of_life", "unknown"])
    sound = audit(tmp_path, [system("new-1", "curl-9", release="15.1-RELEASE", kernel="15.1-RELEASE")])
    assert result.failing(sound, ["known"], "no index") == "what is published is not known: no index"
    assert not result.failing(sound, ["none"], "no index")


def test_document(tmp_path: Path) -> None:
    found = result.document(audit(tmp_path, [system("web-1.0", "curl-8.1.0")], "CVE-2023-38545 2027-06-30 no proxy"))
    assert found["list"]["entries"] == 4 and found["list"]["newest"] == ENTERED and found["support_as_of"]
    (web,) = found["systems"]
    assert (web["known"], web["accepted"], web["support"], web["support_until"]) == (2, 1, "ended", "2024-06-30")
    first, *_others, last = web["findings"]
    assert (first["kind"], first["version"], first["fixed"]) == ("kernel", "13.2-RELEASE-p4", "13.2_5")
    assert last["accepted"] == {"until": "2027-06-30", "reason": "no proxy", "justification": ""}
    json.dumps(found)


def test_metrics(tmp_path: Path) -> None:
    lines = result.metrics(audit(tmp_path, [system('web-"1.0\\', "curl-8.1.0")]), NOW).splitlines()
    assert 'nanozfs_known_holes{system="web-\\"1.0\\\\",kind="package"} 2' in lines
    assert 'nanozfs_known_holes{system="web-\\"1.0\\\\",kind="kernel"} 1' in lines
    assert "nanozfs_holes_audited_seconds {0:.0f}".format(NOW) in lines
    assert "nanozfs_holes_list_seconds 1795564800" in lines


def test_metrics_have_no_name_twice_and_no_number_of_what_is_not_known(tmp_path: Path) -> None:
    unknown = [System(match.Subject(title, (), doubts=("x",))) for title in ("web-1", "(not known)", "(not known)")]
    systems = [system("web-1", "curl-9"), system("web-1", "curl-8.1.0"), *unknown]
    lines = [each for each in result.metrics(audit(tmp_path, systems), NOW).splitlines() if not each.startswith("#")]
    names = [each.rpartition(" ")[0] for each in lines]
    assert len(set(names)) == len(names) and not any("known_holes" in each and "(not known)" in each for each in names)
    assert 'nanozfs_known_holes{system="web-1",kind="package"} 2' in lines
    assert (
        'nanozfs_holes_unknown{system="web-1"} 1' in lines and 'nanozfs_holes_unknown{system="(not known)"} 1' in lines
    )


def test_nothing_to_audit_is_no_sound_fleet(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is nothing to audit"):
        audit(tmp_path, [])


# hosts


def test_hosts() -> None:
    """What runs a published image is a host of it; others are systems of their own; who says nothing is told."""
    systems = [system("web-1.0", "curl-8.1.0"), system("web-1.1", "curl-9")]
    systems[1].build = "b"
    _fleet_audit.add_hosts(
        systems,
        {
            "web-10": runs(packages=["curl-9"]),
            "web-2": runs(packages=["curl-9"]),
            "web-3": runs(packages=["curl-8.1.0"]),
            "web-4": {"unreachable": True, "msg": "No route to host\x1b[31m"},
            "web-5": None,
            "web-6": {"host": host(running={"name": "web", "version": "1.1", "slice": "nz-a"}, release="13.2-RELEASE")},
            "web-7": runs(packages=["curl-9"], package_count=3),
        },
    )
    assert [(each.subject.title, each.hosts) for each in systems] == [
        ("web-1.0", []),
        ("web-1.1", ["web-2", "web-10"]),
        ("web-1.1", ["web-3"]),
        ("web-1.1", ["web-6"]),
        ("web-1.1", ["web-7"]),
        ("(not known)", ["web-4"]),
        ("(not known)", ["web-5"]),
    ]
    doubts = [each.subject.doubts for each in systems]
    assert not any(doubts[:3])
    assert doubts[3][0] == "it does not say which packages it has"
    assert doubts[4] == ("it has 3 packages, and says the names of 1",)
    assert "No route to host" in doubts[5][0] and "\x1b" not in doubts[5][0] and "not looked at" in doubts[6][0]


def test_the_kernel_of_a_host_is_the_one_that_runs(tmp_path: Path) -> None:
    systems: List[System] = []
    patched = runs()
    patched["host"]["release"] = "13.2-RELEASE-p5"
    _fleet_audit.add_hosts(systems, {"web-1": runs(), "web-2": patched})
    found = audit(tmp_path, systems)
    assert [len(each.open) for each in found.systems] == [1, 0]


@pytest.mark.parametrize(
    ("kernel", "untold", "rows"), [("", 0, 1), ("13.2-RELEASE-p4", 0, 1), ("13.2-RELEASE-p4", 1, 2)]
)
def test_a_row_says_nothing_less_than_the_host(tmp_path: Path, kernel: str, untold: int, rows: int) -> None:
    """An image that does not say its kernel is in doubt, also for who asks for what is unknown."""
    subject = match.subject("web-1.1", "13.2-RELEASE-p4", kernel, [("curl", "8.1.0")])
    systems = [System(subject, build="b")]
    said = runs(packages=["curl-8.1.0"], package_count=1 + untold)
    _fleet_audit.add_hosts(systems, {"web-1": said})
    found = audit(tmp_path, systems)
    assert len(systems) == rows and systems[-1].hosts == ["web-1"]
    assert bool(result.failing(found, ["unknown"])) == bool(untold or not kernel)


# published images, and a build


def publish(images: Images, folder: Path, version: str, seq: int, **terms: Any) -> Dict[str, Any]:
    """An image with curl, in a folder of its own."""
    values = manifest("curl", version="8.1.0", origin="ftp/curl", annotations={"flavor": "gnutls"})
    (folder / version).mkdir()
    path = make(folder / version, values)
    return images.build(
        version,
        seq,
        terms=images.terms(output=str(folder / "out"), **terms),
        packages=[path],
        media=(),
    )


def test_published_images(images: Images, tmp_path: Path) -> None:
    built = publish(images, tmp_path, "2.0", 20, sbom=False)
    publish(images, tmp_path, "2.1", 21, sbom=False)
    broken = publish(images, tmp_path, "2.2", 22, sbom=False)
    os.unlink(str(tmp_path / "out" / (broken["image"]["id"] + ".files.xz")))
    systems = _fleet_audit.published(str(tmp_path / "out"))
    assert [each.subject.title for each in systems] == ["web-2.0", "web-2.1", "web-2.2"]
    assert systems[0].ident == built["image"]["id"] and systems[0].subject.kernel == "13.2-RELEASE-p4"
    found = audit(tmp_path, systems)
    assert [len(each.open) for each in found.systems] == [3, 3, 0]
    assert found.systems[2].subject.doubts and found.counts["unknown"] == 1
    assert "holes" not in " ".join(built["says"]), "there is no list"
    assert built["says"][-1] == "support of 13.2-RELEASE-p4 ended on 2024-06-30"
    with pytest.raises(FleetError):
        _fleet_audit.published(str(tmp_path / "nowhere"))


def test_another_list_of_files_is_no_sound_image(images: Images, tmp_path: Path) -> None:
    """What is published of one image does not stand for another one."""
    one, other = (publish(images, tmp_path, version, 20, sbom=False)["image"]["id"] for version in ("2.0", "2.1"))
    shutil.copy(str(tmp_path / "out" / (one + ".files.xz")), str(tmp_path / "out" / (other + ".files.xz")))
    found = _fleet_audit.published(str(tmp_path / "out"))[1].subject
    assert not found.things and re.search("does not match the signed manifest|is larger than", found.doubts[0])


def test_a_build_says_it(images: Images, tmp_path: Path) -> None:
    holes_ = order(tmp_path, LIST, "CVE-2023-38545 2027-06-30 no proxy", max_age=0)
    says = publish(images, tmp_path, "2.0", 20, holes=holes_, sbom=False)["says"]
    assert says[-3].startswith(
        "web-2.0: 2 known holes in 1 package and the kernel, 1 accepted: kernel 13.2-RELEASE-p4 (00000003-"
    )
    assert "curl 8.1.0 (CVE-2026-2, CVE-2026-3)" in says[-3]
    assert says[-2].startswith("compared with 4 entries of ")
    assert says[-1] == "support of 13.2-RELEASE-p4 ended on 2024-06-30"


def test_a_bad_list_is_said_and_ends_no_build(images: Images, tmp_path: Path) -> None:
    bad = order(tmp_path, LIST[:-30], max_age=0)
    says = publish(images, tmp_path, "2.0", 20, holes=bad, sbom=False)["says"]
    assert says[-2].startswith("known holes were not looked for: ") and "not all of it is there" in says[-2]


# for scanners


def test_sbom(images: Images, tmp_path: Path) -> None:
    """The bill of materials has the holes where that is asked for, and is not made without a list."""
    accepted = {
        "id": "CVE-2023-38545",
        "until": "2099-06-30",
        "reason": "no proxy",
        "justification": "code_not_reachable",
    }
    terms = {"holes": order(tmp_path, LIST, accepted, max_age=0), "sbom": True, "sbom_vex": True}
    built = publish(images, tmp_path, "2.0", 20, **terms)
    with open(built["files"]["sbom"], encoding="utf-8") as file:
        bom = json.load(file)
    assert {each["bom-ref"]: each["purl"] for each in bom["components"]}["package:curl"] == (
        "pkg:generic/freebsd/curl@8.1.0?arch=FreeBSD:13:amd64&flavor=gnutls&origin=ftp/curl"
    )
    those = {each["id"]: each for each in bom["vulnerabilities"]}
    assert set(those) == {"CVE-2023-38545", "CVE-2026-2", "CVE-2026-3", "00000003-b996-11f1-ad2b-40b034429ecf"}
    assert those["CVE-2023-38545"]["analysis"] == {
        "state": "not_affected",
        "justification": "code_not_reachable",
        "detail": "no proxy (until 2099-06-30)",
    }
    assert those["CVE-2026-2"]["analysis"]["state"] == "in_triage"
    assert those["CVE-2026-2"]["affects"] == [{"ref": "package:curl"}]
    assert those["00000003-b996-11f1-ad2b-40b034429ecf"]["affects"] == [{"ref": "system"}]
    none = look.Order(source.Terms(cache=str(tmp_path / "empty"), fetch=False))
    with pytest.raises(Refused, match="image_sbom_vex needs the list of known holes"):
        publish(images, tmp_path, "2.1", 21, **{**terms, "holes": none})


def test_vex_of_now(images: Images, tmp_path: Path) -> None:
    built = publish(images, tmp_path, "2.0", 20, sbom=True)
    systems = _fleet_audit.published(str(tmp_path / "out"))
    systems.append(replace(systems[0], ident="0" * 64, subject=match.Subject("x", (), doubts=("x",))))
    found = audit(tmp_path, systems)
    (path,) = _fleet_audit.write_vex(str(tmp_path / "vex"), systems, found, NOW)
    with open(path, encoding="utf-8") as file:
        vex = json.load(file)
    with open(built["files"]["sbom"], encoding="utf-8") as file:
        serial = json.load(file)["serialNumber"]
    assert os.path.basename(path) == built["image"]["id"] + ".vex.cdx.json" and vex["serialNumber"] != serial
    link = serial.replace("urn:uuid:", "urn:cdx:") + "/1#"
    refs = {each["id"]: each["affects"][0]["ref"] for each in vex["vulnerabilities"]}
    assert refs["CVE-2026-2"] == link + "package:curl"
    assert refs["00000003-b996-11f1-ad2b-40b034429ecf"] == link + "system"


def test_accepted_is_not_unaffected(tmp_path: Path) -> None:
    """Who lives with a hole and does not say why it does no harm tells no scanner that it is none."""
    found = audit(tmp_path, [system("x", "curl-8.1.0")], "CVE-2023-38545 2027-06-30 no time before the holidays")
    said = json.loads(sbom.vex(("x", "1"), "0" * 64, found.systems[0], NOW))["vulnerabilities"]
    (analysis,) = [each["analysis"] for each in said if each["id"] == "CVE-2023-38545"]
    assert analysis == {"state": "in_triage", "detail": "accepted: no time before the holidays (until 2027-06-30)"}


def test_vex_needs_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "_FOUND", False)
    with pytest.raises(Refused, match="cyclonedx-python-lib"):
        _fleet_audit.write_vex(str(tmp_path), [], audit(tmp_path, [system("x")]), NOW)


# the report


def report(folder: Path, results: Dict[str, Any], *accepted: object, degraded: bool = False) -> Fleet:
    answers = {name: facts.answer(each) for name, each in results.items()}
    found = holes.compare(answers, order(folder, LIST, *accepted), degraded, NOW, lambda _text: None)
    hosts = [
        host_of(name, "", each, None, holes=found.hosts.get(name), degraded=degraded) for name, each in answers.items()
    ]
    return fleet_of(hosts, found.remarks, NOW, holes=found)


def test_report(tmp_path: Path) -> None:
    results = {
        "web-1": runs(packages=["curl-8.1.0"]),
        "web-2": runs(packages=["curl-8.1.0"]),
        "web-3": runs(packages=["curl-9"], package_count=2),
        "web-4": {"unreachable": True, "msg": "down"},
    }
    fleet = report(tmp_path, results, "CVE-2023-38545 2026-12-01 no proxy")
    lines = table(fleet)
    column = lines[0].index("HOLES")
    assert [each[column:] for each in lines[1:5]] == ["2", "2", "1?", "?"]
    assert any(
        each.startswith("web-1, web-2: 2 known holes in 1 package and the kernel, 1 accepted: ") for each in lines
    )
    assert "web-3: it has 2 packages, and says the names of 1" in lines
    assert any(each.startswith("web-3: 1 known hole in the kernel, and not everything is known: ") for each in lines)
    assert any("ends on 2026-12-01" in each for each in lines) and any("compared with 4" in each for each in lines)
    assert fleet.counts == {"no answer": 1, "normal": 3}
    told = document(fleet)
    assert told["holes"]["known"] == 2 and told["holes"]["hosts"] == 3 and told["holes"]["unknown"] == 1
    assert [each["holes"] and each["holes"]["known"] for each in told["hosts"]] == [2, 2, 1, None]
    text = page.render(fleet, NOTHING, support_of({}), "x")
    assert "Known holes" in text and "CVE-2026-2, CVE-2026-3" in text
    assert report(tmp_path, results, degraded=True).counts == {"degraded": 3, "no answer": 1}


def test_a_report_without_an_audit() -> None:
    fleet = fleet_of([host_of("web-1", "", facts.answer(runs()), None)], [], NOW)
    assert "HOLES" not in table(fleet)[0] and document(fleet)["holes"] is None
    assert "Known holes" not in page.render(fleet, NOTHING, support_of({}), "x")


def test_a_page_has_it_as_text(tmp_path: Path) -> None:
    raw = listed(vuln(1, package(["<b>"], "lt 2"), topic=WICKED.replace("\x1b", ""), entered=ENTERED))
    answers = {"web-1": facts.answer(runs(packages=["<b>-1"]))}
    found = holes.compare(answers, order(tmp_path, raw), False, NOW, lambda _text: None)
    fleet = fleet_of([host_of("web-1", "", answers["web-1"], None, holes=found.hosts["web-1"])], [], NOW, holes=found)
    text = page.render(fleet, NOTHING, support_of({}), "x")
    assert "<b>" not in text and "&lt;script&gt;alert(1)" in text and "<script>alert" not in text


def test_what_a_task_says_of_a_list(tmp_path: Path) -> None:
    arguments: Dict[str, Any] = {"vuxml": "", "cache": "c", "vuxml_max_age": -3, "vuxml_ignore": ["x 2027-01-01 y"]}
    found = look.order_of(arguments, lambda given: given)
    assert found.terms == source.Terms(cache="c", max_age=0) and found.accepted[0].name == "x"
    assert not found.here.terms.fetch and found.terms.fetch
    assert replace(found.here, terms=found.terms) == found
