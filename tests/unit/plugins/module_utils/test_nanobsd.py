# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration for nanobsd.sh, what is read from its output, and when a part is built again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd import config, parts, phases
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import (
    Definition,
    Options,
    Place,
    Repository,
    Script,
    check,
    options_of,
    reproducible,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import Source
from ansible_collections.nanozfs.fleet.tests.unit.builder import NANOBSD, SOURCE

PLACE = Place("/usr/obj/nanozfs/web")
SMALL = Definition("web", "/usr/src", "amd64", "FreeBSD:13:amd64")
FULL = replace(
    SMALL,
    kernel_lines=("nodevice sound", "options IPFIREWALL"),
    modules=("zfs", "if_em"),
    world=options_of({"WITHOUT_LPR": True, "WITH_REPRODUCIBLE_BUILD": True}, "world_options"),
    make_conf=options_of({"CPUTYPE?": "haswell", "CFLAGS+": "-O2 -DNAME='it is # mine'"}, "make_conf"),
    build=options_of({"WITH_CCACHE_BUILD": True}, "build_options"),
    install=options_of({"WITHOUT_DEBUG_FILES": True}, "install_options"),
    packages=("nginx", "lang/python39"),
    repository=Repository("file:///usr/local/poudriere/data/packages/13amd64-default", "none", ""),
    scripts=(Script("motd.sh", "echo ours > etc/motd.template\n"), Script("users", "CR 'pw useradd op'\n")),
    jobs=8,
)

#: what the configuration may call: functions of defaults.sh, here without an effect
FUNCTIONS = "early_customize_cmd() { :; }; customize_cmd() { :; }; late_customize_cmd() { :; }\n"


def told(definition: Definition, place: Place, names: List[str], before: str = FUNCTIONS) -> Tuple[str, ...]:
    """The values that variables have after sh(1) has read the configuration."""
    program = (
        "set -e\nexec 4>&1\n{0}\n. {1}\nfor name in {2}; do eval 'printf \"%s\\0\" \"$'$name'\"' >&4; done".format(
            before, place.config, " ".join(names)
        )
    )
    done = subprocess.run(["sh", "-c", program], capture_output=True, check=False, cwd=place.folder)
    assert done.returncode == 0, done.stderr
    return tuple(done.stdout.decode("utf-8").split("\0")[:-1])


def written(definition: Definition, folder: str) -> Place:
    """The place in a folder of this machine, with all files of the configuration in it."""
    place = Place(folder)
    for path, text in config.files(definition, place).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return place


class TestConfiguration:
    """Golden files, and what sh(1) makes of hostile values."""

    @pytest.mark.parametrize("name, definition", [("small", SMALL), ("full", FULL)])
    def test_golden(self, name: str, definition: Definition) -> None:
        """The whole text; look at the difference, then make it anew by NANOZFS_GOLDEN=yes."""
        text = "".join(
            "==> {0} <==\n{1}".format(path, text) for path, text in sorted(config.files(definition, PLACE).items())
        )
        path = os.path.join(NANOBSD, "golden", name + ".txt")
        if os.environ.get("NANOZFS_GOLDEN"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        with open(path, encoding="utf-8") as file:
            assert text == file.read()

    values = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\0"), max_size=30).filter(
        lambda text: not text.endswith("\\")
    )
    hostile = st.one_of(
        values,
        st.sampled_from(
            ["'; touch pwned; '", "$(touch pwned)", "`touch pwned`", '"', "'", "\\'", "-n", "*", "~", "${HOME}"]
        ),
    )
    options = st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}[+?]?", fullmatch=True), hostile, max_size=4)

    @settings(max_examples=40, deadline=None)
    @given(options, options, options, options)
    def test_a_value_is_a_value(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        world: Dict[str, str],
        make: Dict[str, str],
        build: Dict[str, str],
        install: Dict[str, str],
    ) -> None:
        found = [options_of(each, "options") for each in (world, make, build, install)]
        definition = replace(SMALL, world=found[0], make_conf=found[1], build=found[2], install=found[3])
        folder = str(tmp_path_factory.mktemp("conf"))
        place = written(definition, folder)
        said = told(definition, place, ["CONF_WORLD", "CONF_BUILD", "CONF_INSTALL", "NANO_MODULES"])
        both = [config.make_lines(each) for each in (found[1], found[0])]
        assert said == (
            "\n".join(each for each in both if each),
            config.make_lines(found[2]),
            config.make_lines(found[3]),
            "default",
        )
        assert sorted(os.listdir(folder)) == ["state"] and "pwned" not in os.listdir(place.state)

    @settings(max_examples=25, deadline=None)
    @given(
        hostile, hostile, st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+,@/~-]{0,9}", fullmatch=True), max_size=3)
    )
    def test_packages_and_scripts(
        self, tmp_path_factory: pytest.TempPathFactory, url: str, content: str, packages: List[str]
    ) -> None:
        """Addresses and scripts are in files of their own, and so cannot reach the configuration at all."""
        definition = replace(
            SMALL, packages=tuple(packages), repository=Repository(url), scripts=(Script("x", content + "\n"),)
        )
        place = written(definition, str(tmp_path_factory.mktemp("conf")))
        told(definition, place, ["NANO_NAME"])
        if packages:
            with open(place.at("repos", "nanozfs.conf"), encoding="utf-8") as file:
                assert json.load(file)["nanozfs"]["url"] == url
        other = replace(definition, scripts=(Script("x", "true\n"),), repository=Repository("https://other"))
        assert config.config(definition, place) == config.config(other, place)

    @settings(max_examples=25, deadline=None)
    @given(values.filter(lambda text: "$" not in text and text == text.strip() and text.isprintable()))
    def test_make_reads_the_same(self, value: str) -> None:
        """But for ``$``, which is make's: a variable in a value is the owner's wish."""
        bmake = shutil.which("bmake")
        if bmake is None:
            pytest.skip("bmake is not installed; `make test` installs it")
        text = config.make_lines((("NAME", value), ("OTHER", "x"))) + "\n"
        argv = [bmake, "-r", "-f", "-", "-V", "NAME", "-V", "OTHER"]
        done = subprocess.run(argv, input=text.encode(), capture_output=True, check=True, cwd="/")
        assert done.stdout.decode() == "{0}\nx\n".format(value)

    def test_the_defaults_of_a_source_tree(self, tmp_path: Any) -> None:
        """nanobsd.sh reads its defaults, then the configuration, then sets what neither has set."""
        source = os.environ.get(SOURCE)
        if not source:
            pytest.skip("{0} does not say where a source tree of FreeBSD is (docs/lab.md)".format(SOURCE))
        definition = replace(FULL, source=source)
        place = written(definition, str(tmp_path))
        programs = os.path.join(NANOBSD, "bin")
        before = "PATH={0}:$PATH\n. {1}/defaults.sh\n. {1}/legacy.sh\n".format(programs, definition.tools)
        names = ["NANO_PMAKE", "NANO_CUSTOMIZE", "NANO_EARLY_CUSTOMIZE", "NANO_LATE_CUSTOMIZE", "NANO_PACKAGE_DIR"]
        assert told(definition, place, names, before) == (
            "make -j 8",
            " cust_pkgng nz_query nz_01_motd_sh nz_02_users",
            " nz_packages",
            " nz_query",
            place.packages,
        )
        program = (
            before + ". {0}\nexec 3>&4\nset_defaults_and_export\necho $MAKEOBJDIRPREFIX $NANO_WORLDDIR $NANO_TOOLS >&4"
        )
        done = subprocess.run(
            ["sh", "-c", "set -e; exec 4>&1\n" + program.format(place.config)],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        assert done.stdout.splitlines()[-1].split() == [place.obj, place.world, definition.tools]
        for name in ("setup_nanobsd_etc", "setup_nanobsd", "prune_usr", "cust_pkgng"):
            with open(os.path.join(definition.tools, "defaults.sh"), encoding="utf-8") as file:
                assert "\n{0} ( ) (".format(name) in file.read(), "there is nothing of that name to override any more"


class TestDefinition:
    """What options mean."""

    def test_options(self) -> None:
        assert options_of({"B": True, "A": "x", "C": False, "D": None, "E": 3}, "x") == (
            ("A", "x"),
            ("B", "yes"),
            ("E", "3"),
        )

    def test_reproducible_unless_somebody_has_decided(self) -> None:
        assert reproducible((), []) == (("WITH_REPRODUCIBLE_BUILD", "yes"),)
        mine: Options = (("WITHOUT_REPRODUCIBLE_BUILD", "yes"),)
        assert reproducible(mine, []) == mine and reproducible((), [mine]) == ()

    def test_repositories(self) -> None:
        default = json.loads(SMALL.repository.encode())["nanozfs"]
        assert default["mirror_type"] == "srv" and default["fingerprints"] == "/usr/share/keys/pkg"
        signed = json.loads(Repository("https://x/${ABI}", "pubkey", "/root/key.pub").encode())["nanozfs"]
        assert signed["pubkey"] == "/root/key.pub" and signed["mirror_type"] == "none" and "fingerprints" not in signed
        assert len(json.loads(Repository("https://x", "none").encode())["nanozfs"]) == 4

    def test_these_are_fine(self) -> None:
        check(SMALL, PLACE)
        check(FULL, PLACE)


class TestPhases:
    """What nanobsd.sh prints."""

    #: as a nanobsd.sh of FreeBSD 13.2 prints it
    TEXT = """00:00:00 ### Exporting NanoBSD variables
00:00:00 ### Setting variable: NANO_NAME="web"
00:00:00 # NanoBSD image web build starting
00:00:00 ## run early customize scripts
00:00:00 ## early customize "nz_packages"
00:00:00 ### log: /w/log/_.early_cust.nz_packages
00:00:07 ## Clean and create object directory (/w/obj)
00:00:09 ## Construct build make.conf (/w/obj/make.conf.build)
00:00:09 ## run buildworld
00:00:09 ### log: /w/obj/_.bw
"""

    def test_where_it_is(self) -> None:
        course = phases.parse(self.TEXT)
        assert course.last == phases.Phase("run buildworld", 9, "/w/obj/_.bw")
        assert (course.done, course.begun) == ({"packages"}, {"packages", "world"}) and not course.completed

    def test_a_step_is_done_when_another_one_comes(self) -> None:
        more = self.TEXT + "01:40:00 ## build kernel (GENERIC)\n01:40:00 ### log: /w/obj/_.bk\n"
        course = phases.parse(more)
        assert course.done == {"packages", "world"} and course.phases[-1].began == 6000
        assert phases.parse(more + "01:50:00 ## installworld\n").done == {"packages", "world", "kernel"}
        assert phases.parse(more + "01:50:00 # NanoBSD image web completed\n").completed

    def test_what_make_says_does_not_count(self) -> None:
        assert phases.parse("build kernel (x)\n## run buildworld\n00:00:00 ####### x\n") == phases.Course()

    def test_nothing_there(self) -> None:
        assert phases.read("/nowhere") == phases.Course() and phases.step_of("/nowhere") == ""
        assert phases.tail("/nowhere") == {"tail": [], "errors": []}

    def test_the_error_far_above_the_end(self, tmp_path: Any) -> None:
        """Other jobs of make go on for a while when one has failed."""
        lines = [">>> stage 4.2: building libraries", "a.c:1:2: error: expected ';'"] + [
            "cc -c b{0}.c".format(n) for n in range(90)
        ]
        path = tmp_path / "_.bw"
        path.write_text("\n".join([*lines, "make[2]: stopped in /usr/src", ""]))
        found = phases.tail(str(path))
        assert found["errors"] == ["a.c:1:2: error: expected ';'", "make[2]: stopped in /usr/src"]
        assert len(found["tail"]) == phases.TAIL_LINES and phases.step_of(str(path)) == "stage 4.2: building libraries"


class TestParts:
    """When a part is built, besides what the module's tests show."""

    def test_every_input_counts(self) -> None:
        """No two definitions that differ in anything but the number of jobs have the same identity."""
        source = Source("abc", "abc")
        changed = [
            replace(FULL, arch="aarch64"),
            replace(FULL, abi="FreeBSD:13:aarch64"),
            replace(FULL, kernel="MINIMAL"),
            replace(FULL, kernel_lines=()),
            replace(FULL, modules=()),
            replace(FULL, world=()),
            replace(FULL, make_conf=()),
            replace(FULL, build=()),
            replace(FULL, install=()),
            replace(FULL, packages=("nginx",)),
            replace(FULL, packages=()),
            replace(FULL, repository=Repository("https://other")),
            replace(FULL, scripts=FULL.scripts[:1]),
            replace(FULL, scripts=FULL.scripts[::-1]),
            replace(FULL, name="mail"),
        ]
        seen = {parts.identity(parts.inputs_of(each, source)) for each in [FULL, *changed]}
        assert len(seen) == 1 + len(changed)
        assert parts.identity(parts.inputs_of(FULL, Source("abc", "abc-dirty"))) not in seen
        assert parts.identity(parts.inputs_of(replace(FULL, jobs=1), source)) in seen

    @pytest.mark.parametrize(
        "building, resume, found",
        [
            ("packages world kernel tree", False, "-f"),
            ("world kernel tree", True, "-f -n"),
            ("kernel tree", True, "-f -w"),
            ("packages tree", False, "-f -w -k"),
        ],
    )
    def test_options_of_nanobsd(self, building: str, resume: bool, found: str) -> None:
        decisions = [parts.Decision(part, part in building.split(), "") for part in parts.AFTER]
        assert parts.flags(decisions, resume) == found.split()
