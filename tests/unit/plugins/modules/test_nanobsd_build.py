# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nanobsd_build, with a stand-in for nanobsd.sh and, where NANOZFS_FREEBSD_SRC names a source tree, with its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from dataclasses import replace
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import origin
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import build_line
from ansible_collections.nanozfs.fleet.tests.unit.builder import SOURCE, BuildHost
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

if shutil.which("flock") is None:
    pytest.skip("flock(1) of util-linux is not installed", allow_module_level=True)

SCRIPTS = [
    {"name": "motd", "content": "echo 'it''s ours' > etc/motd.template\n"},
    {"name": "no-ftpd.sh", "content": "test -x usr/local/sbin/nginx\nrm usr/bin/sh\n"},
]


def full(**changes: Any) -> Dict[str, Any]:
    """A build with everything."""
    values: Dict[str, Any] = {
        "packages": ["nginx", "python39"],
        "repository": "file:///usr/local/poudriere/data/packages/13amd64-default",
        "signature_type": "none",
        "scripts": SCRIPTS,
        "kernel_lines": ["nodevice sound"],
        "world_options": {"WITHOUT_LPR": True, "WITHOUT_TESTS": False},
        "make_conf": {"CPUTYPE?": "haswell"},
        "install_options": {"WITHOUT_DEBUG_FILES": True},
        "jobs": 2,
    }
    return dict(values, **changes)


@pytest.fixture
def host(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> BuildHost:
    """A build host where nothing was built yet."""
    return BuildHost(str(tmp_path), monkeypatch)


def built(result: Dict[str, Any]) -> str:
    """The parts that were built."""
    return " ".join(each["part"] for each in result["parts"] if each["build"])


def reason(result: Dict[str, Any], part: str) -> str:
    """Why a part was built or not."""
    return str({each["part"]: each["reason"] for each in result["parts"]}[part])


def tree_of(result: Dict[str, Any], tmp_path: Any) -> Tree:
    """What is in the archive, as the image build reads it."""
    tree = Tree()
    scratch = str(tmp_path / "scratch-{0}".format(time.monotonic_ns()))
    os.mkdir(scratch)
    tree.add_archive(result["archive"], scratch)
    return tree


def check_tree(tree: Tree) -> None:
    """The tree of a full build."""
    assert tree.get("boot/kernel/kernel").content() == b"NZ_WEB\n"
    assert tree.get("boot/kernel/modules").content() == b"all\n"
    assert tree.get("etc/motd.template").content() == b"its ours\n"
    assert tree.get("usr/bin/vi").mode == 0o4555 and tree.get("tmp").mode == 0o1777
    assert tree.get("usr/bin/vi").group is not None
    assert tree.get("usr/bin/vi").group == tree.get("usr/bin/ex").group
    assert "usr/obj" in tree and "dev" in tree and "usr/bin/sh" not in tree
    assert not [path for path in tree.paths() if path.startswith(("conf", "etc/diskless", "made-by", "_.p"))]
    assert {path: node.mtime for path, node in tree.nodes.items() if path and node.mtime} == {
        "usr/local/bin/python3": 1577836800  # as its package has it
    }
    text = tree.get(origin.ORIGIN_JSON).content().decode()
    found = origin.parse(text)
    assert found.encode() == text, "the builder writes the file just as the controller would"
    assert (found.method, found.release) == ("nanobsd", "13.2-RELEASE-p4")
    options = dict(found.options)
    assert options["src.conf:WITHOUT_LPR"] == "yes" and "src.conf:WITHOUT_TESTS" not in options
    assert options["src.conf:WITH_REPRODUCIBLE_BUILD"] == "yes" and options["kernel:lines"] == "nodevice sound"
    assert [each.name for each in found.packages] == ["libdep", "nginx", "pkg", "python39"]
    nginx = found.packages[1]
    assert (nginx.version, nginx.origin, nginx.licenses) == ("1.0", "test/nginx", ("BSD2CLAUSE",))
    assert nginx.options == (("DOCS", "off"),) and len(nginx.sha256) == 64


class TestWhole:
    """A build from nothing to the archive."""

    def test_everything(self, host: BuildHost, tmp_path: Any) -> None:
        predicted = host.build(check=True, **full())
        assert predicted["changed"] and predicted["sha256"] is None and not os.path.exists(host.folder)
        assert built(predicted) == "packages world kernel tree" and "WITHOUT_LPR=yes" in predicted["diff"]["after"]
        result = host.build(**full())
        assert result["changed"] and result["parts"] == predicted["parts"] and result["diff"] == predicted["diff"]
        assert result["release"] == "13.2-RELEASE-p4" and result["packages"][1] == "nginx-1.0"
        check_tree(tree_of(result, tmp_path))
        assert "options: -j 2 buildworld" in host.read_file("obj", "_.bw")
        assert "stray" not in host.read_file("obj", "_.bw")

    def test_the_environment(self, host: BuildHost, monkeypatch: pytest.MonkeyPatch) -> None:
        """make(1) takes variables from there, so nothing is handed on but the way to the net."""
        monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
        monkeypatch.setenv("CPUTYPE", "stray")
        host.build(scripts=[{"name": "look", "content": "env > etc/environment\n"}])
        found = host.read_file("obj", "_.w", "etc", "environment").splitlines()
        assert "http_proxy=http://proxy.example.org:3128" in found and not [each for each in found if "stray" in each]

    def test_nothing_to_do(self, host: BuildHost) -> None:
        first = host.build(**full())
        for check in (True, False):
            again = host.build(check=check, **full())
            assert not again["changed"] and again["actions"] == [] and built(again) == ""
            assert again["sha256"] == first["sha256"] and again["size"] == os.path.getsize(first["archive"])
            assert "diff" not in again or again["diff"] == {"before": "", "after": ""}

    def test_the_same_tree_gives_the_same_bytes(self, host: BuildHost) -> None:
        first = host.build(**full())
        os.unlink(first["archive"])
        again = host.build(**full())
        assert reason(again, "tree") == "its result is gone" and built(again) == "tree"
        assert again["sha256"] == first["sha256"]

    def test_the_archive_becomes_an_image(self, host: BuildHost, images: Images, tmp_path: Any) -> None:
        result = host.build(**full())
        made = images.definition("9.0", 90, sources=[result["archive"]], recovery=[])
        scratch = tmp_path / "image"
        scratch.mkdir()
        tree, _build = build.plan(made, str(scratch), print)
        assert origin.parse(tree.get(origin.ORIGIN_JSON).content().decode()).method == "nanobsd"


class TestParts:
    """What is built again, and why."""

    @pytest.mark.parametrize(
        "changes, parts, part, why",
        [
            ({"jobs": 3}, "", "world", "unchanged"),
            ({"install_options": {}}, "tree", "tree", "changed: install:WITHOUT_DEBUG_FILES"),
            ({"modules": ["zfs", "if_em"]}, "tree", "tree", "changed: modules"),
            ({"scripts": SCRIPTS[:1]}, "tree", "tree", "changed: customise 2 no-ftpd.sh"),
            ({"kernel_lines": []}, "kernel tree", "kernel", "changed: kernel lines"),
            ({"packages": ["nginx"]}, "packages tree", "packages", "changed: packages"),
            ({"refresh": True}, "packages tree", "packages", "asked for"),
            (
                {"packages": [], "scripts": []},
                "tree",
                "tree",
                "changed: customise 1 motd, customise 2 no-ftpd.sh, parts",
            ),
            ({"world_options": {}}, "world kernel tree", "world", "changed: src.conf:WITHOUT_LPR"),
            ({"make_conf": {}}, "world kernel tree", "kernel", "new: world"),
        ],
    )
    def test_only_what_it_concerns(
        self, host: BuildHost, changes: Dict[str, Any], parts: str, part: str, why: str
    ) -> None:
        host.build(**full())
        predicted = host.build(check=True, **full(**changes))
        result = host.build(**full(**changes))
        assert built(result) == built(predicted) == parts and reason(result, part) == why
        assert result["changed"] == predicted["changed"] == bool(parts)
        log = host.read_file("state", "build.log")
        if parts:
            assert ("run buildworld" in log, "build kernel" in log) == ("world" in parts, "kernel" in parts)
        assert not host.build(**full(**dict(changes, refresh=False)))["changed"]

    def test_the_source(self, host: BuildHost, monkeypatch: pytest.MonkeyPatch) -> None:
        """By version control where there is one, with what differs from it."""
        for name in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv("GIT_{0}_NAME".format(name), "a")
            monkeypatch.setenv("GIT_{0}_EMAIL".format(name), "a@example.org")
        file = os.path.join(host.source, "Makefile")
        assert host.build()["revision"] == ""
        touched = time.time() + 5
        os.utime(os.path.join(host.source, "sys", "amd64", "conf", "GENERIC"), (touched, touched))
        assert reason(host.build(check=True), "world") == "changed: source"
        for argv in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
            subprocess.run(["git", "-C", host.source, *argv], check=True)
        clean = host.build()["revision"]
        assert len(clean) == 40 and not host.build()["changed"]
        seen = set()
        for text in ("all:\n", "all: world\n"):
            with open(file, "w", encoding="utf-8") as out:
                out.write(text)
            result = host.build()
            assert reason(result, "world") == "changed: source" and result["revision"] == clean + "-dirty"
            assert not host.build()["changed"]
            seen.add(host.read_file("state", "world.done"))
        assert len(seen) == 2, "two states of the same changed file are not the same"
        os.unlink(file)
        assert host.build()["revision"] == clean

    def test_a_kernel_of_the_owner(self, host: BuildHost, tmp_path: Any) -> None:
        path = tmp_path / "MINE"
        path.write_text("include GENERIC\nident MINE\n")
        result = host.build(kernel=str(path))
        assert tree_of(result, tmp_path).get("boot/kernel/kernel").content() == b"MINE\n"
        path.write_text("include GENERIC\nident MINE\nnodevice sound\n")
        assert reason(host.build(kernel=str(path)), "kernel") == "changed: kernel file"


class TestFailures:
    """A step that fails is told, what ended well is kept, and nothing is left half done."""

    def test_the_log_of_the_step(self, host: BuildHost) -> None:
        result = host.fails(world_options={"STAND_IN_BROKEN": True})
        assert result["phase"] == "run buildworld" and result["log"] == host.path("obj", "_.bw")
        assert result["errors"][0] == "main.c:12:1: error: unknown type name 'in'"
        assert result["tail"][-1] == "*** [main.o] Error code 1" == result["errors"][-1]
        assert "'run buildworld' (exit status 2): *** [main.o]" in result["msg"] and "nothing yet" in result["msg"]
        assert not os.path.exists(host.path("tree.tar.xz"))

    @pytest.mark.parametrize(
        "step, left, done",
        [
            ('early customize "nz_packages"', "packages world kernel tree", "nothing yet"),
            ("run buildworld", "world kernel tree", "packages"),
            ("build kernel ({0})", "kernel tree", "packages, world"),
            ("installworld", "tree", "packages, world, kernel"),
            ('customize "nz_02_no_ftpd_sh"', "tree", "packages, world, kernel"),
        ],
    )
    def test_what_ended_well_is_kept(self, host: BuildHost, step: str, left: str, done: str) -> None:
        step = step.format(host.path("state", "kernel", "NZ_WEB"))
        host.set("fail", step)
        result = host.fails(**full())
        assert result["phase"] == step and "is kept ({0})".format(done) in result["msg"]
        assert host.fails(**full())["phase"] == step
        host.set("fail", "")
        assert built(host.build(**full())) == left
        assert not host.build(**full())["changed"]

    def test_a_world_goes_on(self, host: BuildHost) -> None:
        """The folder of objects is emptied before a new world, and not before the rest of one."""
        host.set("fail", "run buildworld")
        host.fails()
        with open(host.path("obj", "half.o"), "w", encoding="utf-8"):
            pass
        host.fails()
        assert os.path.exists(host.path("obj", "half.o"))
        host.fails(world_options={"WITHOUT_LPR": True})
        assert not os.path.exists(host.path("obj", "half.o"))

    def test_packages_that_cannot_be_had(self, host: BuildHost) -> None:
        host.build(**full())
        before = sorted(os.listdir(host.path("packages")))
        result = host.fails(**full(repository="https://unreachable.example.org"))
        assert "No address record" in result["msg"] and result["phase"] == 'early customize "nz_packages"'
        assert sorted(os.listdir(host.path("packages"))) == before
        assert not [name for name in before if "~" in name] and "libdep-1.0.pkg" in before

    def test_a_script_that_fails(self, host: BuildHost) -> None:
        result = host.fails(scripts=[{"name": "bad", "content": "false\ntouch not-reached\n"}])
        assert result["phase"] == 'customize "nz_01_bad"' and not os.path.exists(host.path("obj", "_.w", "not-reached"))

    def test_a_folder_with_something_else_in_it(self, host: BuildHost) -> None:
        os.mkdir(host.folder)
        with open(host.path("thesis"), "w", encoding="utf-8"):
            pass
        message = host.fails()["msg"]
        assert "is not empty and no folder of a build" in message and os.listdir(host.folder) == ["thesis"]
        os.makedirs(host.path("state", "mine"))
        assert "is not empty and no folder of a build" in host.fails()["msg"], "others have folders of that name too"

    def test_scripts_are_for_nobody_else(self, host: BuildHost) -> None:
        """They stand in the diff of the record, and the shell tells in the logs what they do."""
        host.build(scripts=[{"name": "key", "content": "echo secret > etc/key\n"}])
        (record,) = [name for name in os.listdir(os.path.join(host.tmpdir, "run")) if name.endswith(".json")]
        for path in (os.path.join(host.tmpdir, "run", record), host.path("state"), host.path("log")):
            assert os.stat(path).st_mode & 0o077 == 0, path

    def test_a_kernel_behind_a_link(self, host: BuildHost) -> None:
        kernel, link = os.path.join(host.tmpdir, "KERNEL-1"), os.path.join(host.tmpdir, "KERNEL")
        for text in ("include GENERIC\n", "include GENERIC\nnodevice sound\n"):
            with open(kernel, "w", encoding="utf-8") as file:
                file.write(text)
            if not os.path.islink(link):
                os.symlink(kernel, link)
            parts = {each["part"]: each["build"] for each in host.build(kernel=link)["parts"]}
            assert parts["kernel"], text
        assert not host.build(kernel=link)["changed"]

    @pytest.mark.parametrize(
        "changes, said",
        [
            ({"source": "/nowhere"}, "no source tree of FreeBSD with NanoBSD"),
            ({"kernel": "NONE"}, "no kernel configuration NONE"),
            ({"folder": "/tmp/a b"}, "cannot be the folder"),
            ({"folder": "/"}, "cannot be the folder"),
            ({"folder": "relative"}, "cannot be the folder"),
            ({"folder": "/tmp/../etc"}, "cannot be the folder"),
            ({"name": "a b"}, "is no name of a build"),
            ({"arch": "$(id)"}, "is no architecture"),
            ({"kernel": "../x"}, "is no kernel configuration"),
            ({"modules": ["-x"]}, "is no kernel module"),
            ({"kernel_lines": ["a\nb"]}, "more than one line"),
            ({"packages": ["-y"]}, "no name of a package"),
            ({"packages": ["pkg-provides"]}, "NanoBSD takes the last"),
            ({"scripts": [{"name": "../x", "content": ""}]}, "no usable customise script"),
            ({"jobs": 0}, "must be more than 0"),
            ({"world_options": {"WITHOUT LPR": True}}, "is no name of an option"),
            ({"world_options": {"SHELL!": "x"}}, "is no name of an option"),
            ({"make_conf": {"A": "a\nB=b"}}, "beyond its line"),
            ({"make_conf": {"A": "a\\"}}, "beyond its line"),
        ],
    )
    def test_refusals(self, host: BuildHost, changes: Dict[str, Any], said: str) -> None:
        assert said in host.fails(**changes)["msg"] and not os.path.exists(host.folder)

    def test_a_source_tree_around_the_build(self, host: BuildHost) -> None:
        assert "must lie beside" in host.fails(folder=os.path.join(host.source, "obj"))["msg"]


class TestGoingOn:
    """A build in a process of its own: it goes on when the controller dies, and the next play takes it over."""

    def test_says_how_far_it_is(self, host: BuildHost) -> None:
        host.set("hold", "yes")
        first = host.build(detach=True, wait=0)
        assert not first["finished"] and first["changed"]
        host.until("obj", "_.bw")
        second = host.build(detach=True, wait=2, job=first["job"])
        assert second["progress"]["phase"] == "run buildworld" and second["progress"]["step"] == "stage 1.1: legacy"
        assert build_line(second["progress"]).startswith("run buildworld, 0:0")
        adopted = host.build(detach=True, wait=0)
        assert adopted["job"] == first["job"] and not adopted["finished"]
        predicted = host.build(check=True)
        assert predicted["changed"] and not predicted["finished"] and predicted["job"] == first["job"]
        message = host.fails(detach=True, wait=0, modules=["zfs"])["msg"]
        assert host.folder + " is being built with web (" in message and "that build goes on" in message
        assert "an earlier play still builds" in host.fails()["msg"]
        host.set("hold", "")
        result = host.follow(first["job"])
        assert result["changed"] and built(result) == "world kernel tree" and not host.build()["changed"]

    def test_a_failure_is_told(self, host: BuildHost) -> None:
        host.set("fail", "installworld")
        result = host.module(host.arguments(detach=True, wait=30))
        assert result["failed"] and result["phase"] == "installworld" and result["tail"]

    def test_whoever_looks_after_it_is_killed(self, host: BuildHost) -> None:
        """nanobsd.sh goes on by itself, nothing is started beside it, and what it finishes counts."""
        host.set("hold", "yes")
        first = host.build(detach=True, wait=0)
        host.until("obj", "_.bw")
        record = host.build(detach=True, wait=0, job=first["job"])
        os.kill(record["progress"]["pid"], signal.SIGKILL)
        host.until_free()
        message = host.fails(detach=True, wait=0)["msg"]
        assert "nanobsd.sh is still at work" in message and "what it finishes counts" in message
        host.set("hold", "")
        host.until_alone()
        result = host.build()
        assert built(result) == "tree" and reason(result, "world") == "unchanged"


def test_the_nanobsd_of_a_source_tree(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    """The same with nanobsd.sh of FreeBSD, from its start to its end, and an image of what comes out."""
    source = os.environ.get(SOURCE)
    if not source:
        pytest.skip("{0} does not say where a source tree of FreeBSD is (docs/lab.md)".format(SOURCE))
    host = BuildHost(str(tmp_path), monkeypatch, source)
    result = host.build(**full())
    tree = tree_of(result, tmp_path)
    check_tree(tree)
    log = host.read_file("state", "build.log")
    assert "## run buildworld" in log and "disk image" not in log and "code slice" not in log
    conf = host.read_file("obj", "make.conf.build").splitlines()
    assert conf[0] == "TARGET_ARCH=amd64" and "WITHOUT_LPR=yes" in conf and "CPUTYPE?=haswell" in conf
    assert "WITHOUT_DEBUG_FILES=yes" in host.read_file("obj", "make.conf.install").splitlines()
    assert not host.build(**full())["changed"]
    less = full()
    less["install_options"] = {}
    again = host.build(**less)
    assert built(again) == "tree" and "Skipping buildworld" in host.read_file("state", "build.log")
    less["world_options"] = {"STAND_IN_BROKEN": True}
    broken = host.fails(**less)
    assert broken["phase"] == "run buildworld" and broken["errors"][-1] == "*** [main.o] Error code 1"
    assert not os.path.exists(host.path("obj", "kernel.o")), "a new world begins in an empty folder"

    made = images.definition("9.1", 91, sources=[result["archive"]], size=8 << 20)
    published = build.run(images_apart(made, str(tmp_path / "published")), Runner(local_execute), lambda _text: None)
    assert published["changed"] and published["image"]["version"] == "9.1"


def images_apart(definition: build.Definition, output: str) -> build.Definition:
    """The same definition, published somewhere else."""
    return replace(definition, terms=replace(definition.terms, output=output))


def test_archives_can_be_read_by_anything(host: BuildHost) -> None:
    """Numbers instead of names, sorted."""
    with tarfile.open(host.build()["archive"]) as tar:
        members = tar.getmembers()
    assert {(each.uname, each.gname) for each in members} == {("", "")}
    assert {(each.uid, each.gid) for each in members} == {(os.getuid(), os.getgid())}
    assert [each.name for each in members if each.isdir()] == sorted(each.name for each in members if each.isdir())
