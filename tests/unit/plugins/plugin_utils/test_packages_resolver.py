# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packages belong together, and the lock that says so."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import catalogue, index, lock, resolver
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.lock import From, Lock, Locked
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.repository import Repository
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.resolver import ASKED, Chosen, Source, System
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import Signed, Trust
from ansible_collections.nanozfs.fleet.tests.unit.repositories import record

SYSTEM = System("FreeBSD:13:amd64", "13.2-RELEASE-p4", frozenset(["libc.so.7", "libgcc_s.so.1"]))

#: records of one repository
Records = Sequence[Dict[str, Any]]


def needs(*names: str) -> Dict[str, Any]:
    return {"deps": {name: {"origin": "x/" + name, "version": "0"} for name in names}}


@contextlib.contextmanager
def sources(*repositories: Tuple[int, Records]) -> Iterator[List[Source]]:
    """Repositories with their priorities."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        found = []
        for number, (priority, records) in enumerate(repositories):
            path = str(Path(folder) / str(number))
            content = json.dumps({"expired_packages": [{"name": "gone", "replaced_by": "a"}], "packages": records})
            index.make(path, Signed("", "", {}), io.BytesIO(content.encode()), False, "x")
            made = index.Index(path)
            stack.callback(made.close)
            found.append(Source(Repository("r{0}".format(number), "file:///r", Trust("none"), priority), made))
        yield found


def choose(
    *repositories: Tuple[int, Records], wanted: Sequence[str] = ("a",), system: System = SYSTEM
) -> Tuple[Dict[str, Chosen], List[str]]:
    warned: List[str] = []
    with sources(*repositories) as found:
        chosen = resolver.resolve(dict.fromkeys(wanted, ASKED), found, system, warned.append)
    return {each.record.name: each for each in chosen}, warned


def names(*records: Dict[str, Any], **more: Any) -> List[str]:
    return sorted(choose((0, records), **more)[0])


class TestWanted:
    """What a definition may write."""

    RECORDS: Records = (
        record("a", origin="x/a", version="1.0"),
        record("a", origin="x/a", version="2.0"),
        record("py39-p", origin="devel/py-p", annotations={"flavor": "py39"}),
        record("py311-p", origin="devel/py-p", annotations={"flavor": "py311"}),
        record("one-two", origin="x/one"),
    )

    @pytest.mark.parametrize(
        "written, found",
        [
            ("a", "a-2.0"),
            ("a-1.0", "a-1.0"),
            ("x/a", "a-2.0"),
            ("one-two", "one-two-1.2_3,1"),
            ("one-two-1.2_3,1", "one-two-1.2_3,1"),
            ("devel/py-p@py311", "py311-p-1.2_3,1"),
        ],
    )
    def test_forms(self, written: str, found: str) -> None:
        (chosen,) = choose((0, self.RECORDS), wanted=[written])[0].values()
        assert chosen.record.title == found and (chosen.because, chosen.why) == ("", ASKED)

    @pytest.mark.parametrize(
        "written, said",
        [
            ("py*", "is a pattern"),
            ("none", "no repository has a package none"),
            ("py31", r"\(there is py311-p\)"),
            ("a-3.0", "no repository has a-3.0; of a there is 1.0, 2.0"),
            ("x/none", "no repository has a package of the port x/none"),
            ("devel/py-p", r"is several packages: py311-p \(@py311\), py39-p \(@py39\)"),
            ("devel/py-p@py27", "it has the flavours @py311, @py39"),
            ("gone", "any more: a"),
        ],
    )
    def test_what_there_is_not(self, written: str, said: str) -> None:
        with pytest.raises(RepositoryError, match=said):
            choose((0, self.RECORDS), wanted=[written])

    def test_two_versions_of_one(self) -> None:
        with pytest.raises(RepositoryError, match=r"asks for a-2\.0 and for a-1\.0|asks for a-1\.0 and for a-2\.0"):
            choose((0, self.RECORDS), wanted=["a", "a-1.0"])


class TestNeeds:
    """Dependencies."""

    def test_all_that_they_need(self) -> None:
        found, warned = choose(
            (0, [record("a", **needs("b", "c")), record("b", **needs("c")), record("c"), record("d")])
        )
        assert sorted(found) == ["a", "b", "c"] and warned == []
        assert found["c"].why == "needed by a" and found["c"].because == "a"

    def test_what_is_missing(self) -> None:
        with pytest.raises(RepositoryError, match=r"no repository has: a \(asked for\) → b → zlib-ng"):
            names(record("a", **needs("b")), record("b", **needs("zlib-ng")))
        there = replace(SYSTEM, packages=frozenset(["zlib-ng"]))
        assert names(record("a", **needs("zlib-ng")), system=there) == ["a"]

    def test_cycles_end_and_are_told(self) -> None:
        found, warned = choose((0, [record("a", **needs("b")), record("b", **needs("c")), record("c", **needs("b"))]))
        assert sorted(found) == ["a", "b", "c"]
        assert warned == ["packages need each other: b → c → b; the repository has an error"]

    def test_conflicts(self) -> None:
        records = [
            record("a", **needs("b")),
            record("b", conflicts=["c"]),
            record("c"),
            record("d", **needs("c")),
        ]
        assert names(*records) == ["a", "b"]
        with pytest.raises(
            RepositoryError, match=r"b and c cannot be in one image: a \(asked for\) → b; d \(asked for\) → c"
        ):
            names(*records, wanted=["a", "d"])

    @pytest.mark.parametrize(
        "values, said",
        [
            ({"abi": "FreeBSD:14:amd64"}, "it is for FreeBSD:14:amd64, and the image is FreeBSD:13:amd64"),
            ({"abi": "FreeBSD:13:aarch64"}, "aarch64"),
            ({"annotations": {"FreeBSD_version": "1303000"}}, "was built on FreeBSD 13.3, and the image is 13.2"),
            (
                {"annotations": {"FreeBSD_version": "1301000"}, "categories": ["net", "kld"]},
                "is a kernel module for FreeBSD 13.1",
            ),
        ],
    )
    def test_what_does_not_fit(self, values: Dict[str, Any], said: str) -> None:
        with pytest.raises(RepositoryError, match=said):
            names(record("a", **values))
        with pytest.raises(RepositoryError, match=said + r".*; a \(asked for\) → b"):
            names(record("a", **needs("b")), record("b", **values))
        # what does fit is taken, though its version is lower
        found, _warned = choose((0, [record("a", version="9", **values), record("a", version="1")]))
        assert found["a"].record.version == "1"

    @pytest.mark.parametrize(
        "values",
        [
            {"abi": "FreeBSD:13:*"},
            {"annotations": {"FreeBSD_version": "1302001"}},
            {"annotations": {"FreeBSD_version": "1301000"}},
            {"annotations": {"FreeBSD_version": "1302001"}, "categories": ["kld"]},
        ],
    )
    def test_what_fits(self, values: Dict[str, Any]) -> None:
        assert names(record("a", **values)) == ["a"]

    @pytest.mark.parametrize(
        "release, place",
        [
            ("15.0-RELEASE-p3", r"15\.0 are in .*/kmods_quarterly_0: add it to image_pkg_repository"),
            ("14.3-RELEASE", r"14\.3 are in .*/kmods_quarterly_3"),
            ("14.2-RELEASE", r"built on 14\.2-RELEASE, by poudriere"),
        ],
    )
    def test_modules_of_another_minor_release(self, release: str, place: str) -> None:
        major = release[:2]
        system = replace(SYSTEM, abi="FreeBSD:{0}:amd64".format(major), release=release)
        values = {"categories": ["graphics", "kld"], "abi": system.abi}
        for each in (
            record("drm-66-kmod", annotations={"FreeBSD_version": major + "01000"}, **values),
            record("drm-66-kmod", version="6.6.25.{0}01000_8".format(major), annotations={}, **values),
        ):
            with pytest.raises(
                RepositoryError, match=r"is a kernel module for FreeBSD {0}\.1, and".format(major)
            ) as caught:
                names(each, wanted=["drm-66-kmod"], system=system)
            assert re.search(place, caught.value.todo or "")
        # the right one is taken out of whatever repository has it, although the other one has a higher number
        version = "6.6.25.{0}0{1}000_8".format(major, release[3])
        found, _warned = choose(
            (0, [record("drm-66-kmod", version="9", annotations={"FreeBSD_version": major + "01000"}, **values)]),
            (0, [record("drm-66-kmod", version=version, annotations={}, **values)]),
            wanted=["drm-66-kmod"],
            system=system,
        )
        assert found["drm-66-kmod"].record.version == version

    def test_a_module_that_does_not_say_its_release(self) -> None:
        with pytest.raises(RepositoryError, match=r"module for a release that it does not say, and the image is 13\.2"):
            names(record("a", annotations={}, categories=["kld"]))

    def test_without_a_known_release(self) -> None:
        newer = record("a", annotations={"FreeBSD_version": "1303000"})
        assert names(newer, system=replace(SYSTEM, release="")) == ["a"]


class TestLibraries:
    """Shared libraries."""

    def test_the_system_has_it(self) -> None:
        gcc = record("gcc14", shlibs_provided=["libgcc_s.so.1"])
        assert names(record("a", shlibs_required=["libc.so.7", "libgcc_s.so.1", "libc.so.7:32"]), gcc) == ["a"]

    def test_a_package_has_it_that_nobody_names(self) -> None:
        records = [
            record("a", shlibs_required=["libb.so.1"]),
            record("b", shlibs_provided=["libb.so.1"], **needs("c")),
            record("c", shlibs_required=["libd.so.1"]),
            record("d", shlibs_provided=["libd.so.1"]),
        ]
        found, _warned = choose((0, records))
        assert sorted(found) == ["a", "b", "c", "d"]
        assert (found["b"].because, found["b"].why) == ("a", "has libb.so.1, for a")

    def test_several_have_it(self) -> None:
        records = [record("a", shlibs_required=["l.so"]), *(record(name, shlibs_provided=["l.so"]) for name in "bc")]
        with pytest.raises(RepositoryError, match=r"a \(asked for\) needs the library l.so, which several .*: b, c"):
            names(*records)
        assert names(*records, wanted=["a", "c"]) == ["a", "c"]

    def test_nobody_has_it(self) -> None:
        with pytest.raises(RepositoryError, match=r"a \(asked for\) → b needs the library x.so, which neither"):
            names(record("a", **needs("b")), record("b", shlibs_required=["x.so"]))

    def test_an_older_version_had_it(self) -> None:
        records = [
            record("a", shlibs_required=["l.so.1"]),
            record("b", version="1", shlibs_provided=["l.so.1"]),
            record("b", version="2", shlibs_provided=["l.so.2"]),
        ]
        with pytest.raises(RepositoryError, match="which neither the system nor any package has"):
            names(*records)

    def test_other_things(self) -> None:
        found, warned = choose((0, [record("a", requires=["x", "y"]), record("b", provides=["x"])]))
        assert sorted(found) == ["a", "b"]
        assert warned == ["a (asked for) requires y, which no package provides; pkg would not mind"]


class TestSeveralRepositories:
    """Priorities."""

    def test_the_highest_version_of_the_highest_priority(self) -> None:
        def taken(*priorities: int) -> str:
            versions = ("1", "3", "2")
            given = [(priority, [record("a", version=each)]) for priority, each in zip(priorities, versions)]
            (chosen,) = choose(*given)[0].values()
            return "{0} of {1}".format(chosen.record.version, chosen.repository.name)

        assert taken(0, 0, 0) == "3 of r1"
        assert taken(0, 0, 5) == "2 of r2"
        assert taken(7, 0, 5) == "1 of r0"

    def test_of_equal_ones_the_first(self) -> None:
        (chosen,) = choose((0, [record("a")]), (0, [record("a")]))[0].values()
        assert chosen.repository.name == "r0"

    def test_one_has_what_another_needs(self) -> None:
        found, _warned = choose((5, [record("a", **needs("b"))]), (0, [record("b"), record("a", version="9")]))
        assert {name: each.repository.name for name, each in found.items()} == {"a": "r0", "b": "r1"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_repository(data: st.DataObject) -> None:
    """What is chosen is complete, nothing of it is there for no reason, and no order decides."""
    every = ["p{0}".format(number) for number in range(data.draw(st.integers(1, 9)))]
    some = st.lists(st.sampled_from(every), max_size=3, unique=True)
    graph: Mapping[str, List[str]] = {name: data.draw(some) for name in every}
    wanted = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True))
    records = [record(name, **needs(*graph[name])) for name in every]
    expected: Set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in expected:
            expected.add(name)
            pending += graph[name]
    found, _warned = choose((0, records), wanted=wanted)
    assert set(found) == expected
    shuffled = records[:]
    random.Random(data.draw(st.integers())).shuffle(shuffled)
    again, _warned = choose((0, shuffled), wanted=wanted[::-1])
    assert again == found
    for name, each in found.items():
        assert (name in wanted) == (each.because == "") and (not each.because or name in graph[each.because])


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), unique=True)))
def test_cycles(graph: Dict[str, List[str]]) -> None:
    """There is one exactly where a package can be reached from itself."""

    def reachable(start: str) -> Set[str]:
        seen: Set[str] = set()
        pending = list(graph.get(start, []))
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += graph.get(name, [])
        return seen

    found = list(resolver.cycles(graph))
    assert bool(found) == any(name in reachable(name) for name in graph)
    for way in found:
        assert way[0] == way[-1] and all(other in graph[one] for one, other in zip(way, way[1:]))


def test_only_what_is_needed_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is counted here, and not time: it does not grow with the catalogue."""
    chosen = [record("a", **needs("b", "c")), record("b", shlibs_required=["l.so"]), record("c")]
    others = [record("x{0}".format(number)) for number in range(2000)]
    counted: List[str] = []
    plain = catalogue.from_json

    def counting(text: str) -> catalogue.Record:
        counted.append(text)
        return plain(text)

    with sources((0, [*others, *chosen, record("d", shlibs_provided=["l.so"])])) as found:
        monkeypatch.setattr(catalogue, "from_json", counting)
        assert len(resolver.resolve({"a": ASKED}, found, SYSTEM, print)) == 4
    assert len(counted) < 20


def locked(name: str, **values: Any) -> Locked:
    usual: Dict[str, Any] = {
        "version": "1",
        "origin": "x/" + name,
        "repository": "r",
        "path": "All/{0}.pkg".format(name),
        "size": 5,
        "sum": "0" * 64,
        "sha256": "0" * 64,
        "why": ASKED,
    }
    return Locked(name, **dict(usual, **values))


def made(*packages: Locked) -> Lock:
    return Lock("FreeBSD:13:amd64", ("a",), (From("r", "https://h/r", "1" * 64, "2026"),), packages)


class TestLock:
    """The file that pins them."""

    def test_there_and_back(self, tmp_path: Path) -> None:
        one = made(locked("a"), locked("b", why="needed by a", privileged=("/usr/local/bin/b 4755",)))
        lock.write(str(tmp_path / "new" / "lock.json"), one)
        assert lock.read(str(tmp_path / "new" / "lock.json")) == one and lock.read(str(tmp_path / "none")) is None
        assert made(*one.packages[::-1]).encode() == one.encode(), "no order decides"
        assert (tmp_path / "new" / "lock.json").read_bytes() == one.encode()

    @pytest.mark.parametrize(
        "change",
        [
            {"format": 2},
            {"packages": [{}]},
            {"packages": 5},
            {"repositories": [{"name": "x"}]},
            {"packages": [dict(vars(locked("a")), path="../../etc/passwd")]},
            {"packages": [dict(vars(locked("a")), sum="x")]},
            {"packages": [dict(vars(locked("a")), surprise=1)]},
            {"packages": [vars(locked("a")), vars(locked("a"))]},
        ],
    )
    def test_what_is_none(self, tmp_path: Path, change: Dict[str, Any]) -> None:
        (tmp_path / "l").write_text(json.dumps(dict(json.loads(made(locked("a")).encode()), **change)))
        with pytest.raises(RepositoryError):
            lock.read(str(tmp_path / "l"))

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "l").write_bytes(made(locked("a")).encode()[:-20])
        with pytest.raises(RepositoryError, match="cannot be read"):
            lock.read(str(tmp_path / "l"))

    def test_changes(self) -> None:
        before = made(locked("a"), locked("b"), locked("c"), locked("d"))
        after = made(
            locked("a"),
            locked("b", version="2"),
            locked("c", sum="1" * 64, privileged=("/usr/local/bin/c 4755",)),
            locked("e", why="needed by a"),
        )
        assert lock.changes(before, after) == [
            "b 1 -> 2",
            "c 1 built anew",
            "c has new files that run as somebody else: /usr/local/bin/c 4755",
            "d 1 removed",
            "e 1 added (needed by a)",
        ]
        assert lock.changes(before, before) == [] and len(lock.changes(None, after)) == 4
