# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building images: what goes in, what is refused, and that the same inputs give the same bytes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from dissect.ffs import FFS

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import read_table
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import parse_manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, parse
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import guards, layout, ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.settings import Settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, LINK, Node, Tree, TreeError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Terms
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest

MIB = 1 << 20


def filesystem(images: Images, version: str) -> FFS:
    return FFS(io.BytesIO(images.content(version)))


def text(fs: FFS, path: str) -> str:
    return fs.get(path).open().read().decode()


def unpack(node: Any, target: str) -> None:
    """A folder of an image, as files."""
    os.makedirs(target)
    for name, child in node.listdir().items():
        if name in (".", ".."):
            continue
        if child.is_dir():
            unpack(child, os.path.join(target, name))
        else:
            with open(os.path.join(target, name), "wb") as file:
                file.write(child.open().read())


class TestImage:
    """The image as an independent reader sees it."""

    def test_layout(self, images: Images) -> None:
        fs = filesystem(images, "1.1")
        assert fs.get("/conf/default/etc/extract").mode & 0o7777 == 0o755
        assert text(fs, "/conf/base/etc/md_size") == "2048\n"
        assert "/ " not in text(fs, "/etc/fstab") and "tmpfs\t/tmp" in text(fs, "/etc/fstab")
        assert fs.get("/usr/local/etc").link == "../../etc/local"
        assert fs.get("/root/.ssh").link == "../etc/rootssh"
        assert fs.get("/etc/rootssh").mode & 0o7777 == 0o700
        assert fs.get("/tmp").mode & 0o7777 == 0o1777
        assert text(fs, "/conf/recovery/etc/rc.conf").startswith("# Recovery mode")
        assert 'gptboot_enable="NO"' in text(fs, "/etc/defaults/vendor.conf")
        assert 'zfs_load="YES"' in text(fs, "/boot/loader.conf")
        assert fs.get("/etc/diskless").size == 0
        for path in ("/conf/base/var", "/conf/default/var"):
            with pytest.raises(Exception):  # noqa: B017 - dissect has its own kinds
                fs.get(path)

    def test_recovery_mode_says_what_to_type(self, images: Images) -> None:
        fs = filesystem(images, "1.1")
        assert "nanozfs recovery" in text(fs, "/conf/recovery/etc/motd.template")
        assert 'update_motd="YES"' in text(fs, "/conf/recovery/etc/rc.conf")

    def test_conf_base_is_etc(self, images: Images) -> None:
        """Files in both places are one file: hard links cost no space."""
        fs = filesystem(images, "1.1")
        assert fs.get("/etc/rc").inum == fs.get("/conf/base/etc/rc").inum

    def test_says_what_it_is(self, images: Images) -> None:
        inside = json.loads(text(filesystem(images, "1.1"), "/boot/nanozfs/image.json"))
        built = images.built["1.1"]
        assert inside["build"] == built["build"] and inside["version"] == "1.1" and inside["pool"] == "tank"
        assert "NZ_POOL=tank\nNZ_BUILD={0}\n".format(built["build"]) in text(
            filesystem(images, "1.1"), "/boot/nanozfs/image.conf"
        )
        assert images.signer in text(filesystem(images, "1.1"), "/boot/nanozfs/allowed_signers")

    def test_the_agent_is_on_it_and_needs_nothing_else(self, images: Images, tmp_path: Any) -> None:
        """Without site-packages there is no Ansible to import; every module of the agent must do without."""
        fs = filesystem(images, "1.1")
        assert 'nanozfs_enable="YES"' in text(fs, "/etc/defaults/vendor.conf")
        for path in ("/etc/rc.d/nanozfs", "/etc/rc.d/nanozfs_relay", "/usr/local/sbin/nanozfs"):
            assert fs.get(path).mode & 0o7777 == 0o755
        unpack(fs.get("/usr/local/lib/nanozfs"), str(tmp_path / "lib"))
        names = [
            os.path.relpath(os.path.join(folder, name), str(tmp_path / "lib"))
            for folder, _folders, files in os.walk(str(tmp_path / "lib"))
            for name in files
        ]
        assert [name for name in names if not name.endswith(".py")] == ["digest"]
        names.remove("digest")
        assert not any(name.endswith(("_module.py", "_release/mbr.py")) for name in names)
        modules = [name[:-3].replace("/", ".") for name in names if name not in ("nanozfs.py",)]
        assert "ansible_collections.nanozfs.fleet.plugins.module_utils._agent.recovery" in modules
        script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
        script += "print([name for name in sys.modules if name.split('.')[0] == 'ansible'])"
        python = [sys.executable, "-S", "-s", "-E", "-B"]
        done = subprocess.run(
            python + ["-c", script] + modules, cwd=str(tmp_path / "lib"), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
        program = [str(tmp_path / "lib" / "nanozfs.py"), "decode", "FJJ6PN"]
        done = subprocess.run(python + program, cwd="/", capture_output=True, text=True, check=False)
        assert "state normal" in done.stdout, done.stderr

    def test_the_launcher_finds_a_python_or_says_that_there_is_none(self, images: Images, tmp_path: Any) -> None:
        (tmp_path / "bin").mkdir()
        launcher = tmp_path / "nanozfs"
        launcher.write_text(
            text(filesystem(images, "1.1"), "/usr/local/sbin/nanozfs")
            .replace("/usr/local", str(tmp_path))
            .replace("/var/run", str(tmp_path / "run"))
        )

        def run() -> subprocess.CompletedProcess[str]:
            argv = ["sh", str(launcher), "status", "a b"]
            return subprocess.run(argv, capture_output=True, text=True, check=False)

        done = run()
        assert done.returncode == 3 and "there is no Python" in done.stderr and "Next: " in done.stderr
        for name in ("python3.9", "python3.11", "python3"):  # the later ones are preferred
            (tmp_path / "bin" / name).write_text('#!/bin/sh\necho {0} "$@"\n'.format(name))
            (tmp_path / "bin" / name).chmod(0o755)
            assert run().stdout == "{0} -s -E -B {1}/lib/nanozfs/nanozfs.py status a b\n".format(name, tmp_path)
        # what was compiled is kept where there is a place for it, by the agent's digest
        unpack(filesystem(images, "1.1").get("/usr/local/lib/nanozfs"), str(tmp_path / "lib" / "nanozfs"))
        digest = (tmp_path / "lib" / "nanozfs" / "digest").read_text()
        assert " -B " in run().stdout
        (tmp_path / "run").mkdir()
        kept = "-Xpycache_prefix={0}/run/nanozfs-pycache/{1}".format(tmp_path, digest.strip())
        assert kept in run().stdout and len(digest) == 17
        assert (tmp_path / "run" / "nanozfs-pycache").stat().st_mode & 0o777 == 0o700
        os.remove(str(tmp_path / "bin" / "python3"))
        os.symlink(sys.executable, str(tmp_path / "bin" / "python3"))
        done = subprocess.run(["sh", str(launcher), "decode", "FJJ6PN"], capture_output=True, text=True, check=False)
        assert "state normal" in done.stdout, done.stderr
        assert list((tmp_path / "run" / "nanozfs-pycache" / digest.strip()).rglob("*/_agent/cli.*.pyc"))

    def test_id_is_the_digest_of_its_bytes(self, images: Images) -> None:
        for version, built in images.built.items():
            assert hashlib.sha256(images.content(version)).hexdigest() == built["id"]

    def test_medium_holds_it_twice(self, images: Images) -> None:
        path = os.path.join(images.repository, images.built["1.1"]["id"] + ".disk.img.xz")
        with lzma.open(path) as packed:
            file = io.BytesIO(packed.read())
        table = read_table(file, len(file.getvalue()) // 512)
        for entry in table.entries.values():
            file.seek(entry.first * 512)
            content = file.read(2 * MIB)
            if entry.label in ("nz-recovery", "nz-a"):
                assert content == images.content("1.1")
            if entry.label == "nz-b":
                assert content.count(0) == len(content)
            if entry.label == "nz-boot":
                assert content.startswith(b"test\n")

    @pytest.mark.parametrize("kind", ["pack", "disk.img.xz"])
    def test_xz_reads_what_is_published(self, images: Images, kind: str) -> None:
        """In the worst case somebody writes it to a medium with nothing but xz and dd."""
        path = os.path.join(images.repository, images.built["1.1"]["id"] + "." + kind)
        content = subprocess.run(["xz", "-dc", path], capture_output=True, check=True).stdout
        assert images.content("1.1") in content


class TestReproducible:
    """One definition, one id."""

    def test_again_elsewhere_and_later(self, images: Images, tmp_path: Any) -> None:
        first = images.built["1.1"]
        now = time.time()
        for root, _folders, files in os.walk(os.path.join(images.folder, "tree")):
            for name in files:
                os.utime(os.path.join(root, name), (now, now))
        result = images.build("1.1", 11, terms=images.terms(output=str(tmp_path / "again")))
        assert result["changed"] and result["image"]["id"] == first["id"]

    def test_published_before(self, images: Images, tmp_path: Any) -> None:
        terms = images.terms(output=str(tmp_path / "again"))
        assert images.build("1.0", 10, terms=terms)["changed"] and images.build("1.1", 11, terms=terms)["changed"]
        published = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
        again = images.build("1.1", 11, terms=terms)
        assert not again["changed"] and [offer["kind"] for offer in again["offers"]] == ["pack", "delta"]
        assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == published

    def test_check_mode_tells_the_build(self, images: Images, tmp_path: Any) -> None:
        definition = images.definition("1.1", 11, terms=images.terms(output=str(tmp_path / "none")))
        result = build.run(definition, Runner(local_execute, check_mode=True), lambda text: None)
        assert result["changed"] and result["build"] == images.built["1.1"]["build"]
        assert not os.path.exists(str(tmp_path / "none"))

    def test_what_check_mode_says_is_what_a_run_then_does(self, images: Images, tmp_path: Any) -> None:
        """Rings, removals, deltas and media; and nothing is written before."""
        terms = images.terms(output=str(tmp_path / "shop"), keep=2)
        for version, seq in (("1.0", 10), ("1.1", 11)):
            images.build(version, seq, terms=replace(terms, rings=(("canary", version),)))
        terms = replace(terms, rings=(("canary", "1.2"),))
        before = {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()}
        definition = images.definition("1.2", 12, terms=terms)
        told = build.run(definition, Runner(local_execute, check_mode=True), lambda text: None)
        assert {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()} == before
        done = images.build("1.2", 12, terms=terms)
        assert told["says"][0] == "web-1.2: build {0} would be made and published".format(done["build"])
        ways = [
            "delta from {0} ({1})".format(each["from"], each["codec"])
            if each["from"]
            else "pack ({0})".format(each["codec"])
            for each in done["offers"]
        ]
        said = [re.sub(r" \([0-9a-f]{12}\) \(", " (", each) for each in told["says"][1].split("; ")]
        assert sorted(said) == sorted([*ways, "medium (GPT)"])
        assert told["says"][2] == "rings: canary: 1.2"
        assert len(done["removed"]) == 1 and told["says"][3] == "removed: 1.0 ({0})".format(done["removed"][0][:12])
        again = build.run(definition, Runner(local_execute, check_mode=True), lambda text: None)
        assert not again["changed"] and again["image"]["id"] == done["image"]["id"]

    def test_check_mode_counts_what_is_replaced_no_more(self, images: Images, tmp_path: Any) -> None:
        terms = images.terms(output=str(tmp_path / "shop"), keep=2)
        for version, seq in (("1.0", 10), ("1.1", 11)):
            images.build(version, seq, terms=replace(terms, rings=(("canary", version),)))
        definition = images.definition("1.1", 11, terms=replace(terms, replace=True, rings=(("canary", "1.1"),)))
        extra = tmp_path / "extra" / "etc"
        extra.mkdir(parents=True)
        (extra / "motd").write_text("other\n")
        definition = replace(definition, overlays=[*definition.overlays, str(tmp_path / "extra")])
        told = build.run(definition, Runner(local_execute, check_mode=True), lambda text: None)
        assert not [line for line in told["says"] if line.startswith("removed")], told["says"]
        assert any(line.startswith("rings: canary: 1.1") for line in told["says"])
        done = build.run(definition, Runner(local_execute), lambda text: None)
        assert [each["version"] for each in Folder(terms.output).index()] == ["1.0", "1.1"], done["says"]
        again = images.definition("1.2", 12, terms=replace(terms, rings=(("canary", "1.1"),)))
        told = build.run(again, Runner(local_execute, check_mode=True), lambda text: None)
        assert not [line for line in told["says"] if line.startswith("rings")], "it is there already"

    def test_check_mode_refuses_what_a_run_would(self, images: Images, tmp_path: Any) -> None:
        extra = tmp_path / "etc"
        extra.mkdir()
        (extra / "motd").write_text("other\n")
        definition = images.definition("1.1", 11)
        definition = replace(definition, overlays=[*definition.overlays, str(tmp_path)])
        checking = Runner(local_execute, check_mode=True)
        with pytest.raises(FleetError, match=r"web-1\.1 was published already with other contents") as refused:
            build.run(definition, checking, lambda text: None)
        assert "image_replace=true" in str(refused.value.todo)
        terms = replace(definition.terms, replace=True)
        told = build.run(replace(definition, terms=terms), checking, lambda text: None)
        assert told["says"][1] == "replaced: 1.1 ({0})".format(images.built["1.1"]["id"][:12])
        terms = replace(terms, rings=(("canary", "7.0"),))
        with pytest.raises(FleetError, match=r"7\.0"):
            build.run(replace(definition, terms=terms), checking, lambda text: None)

    def test_any_change_is_another_build(self, images: Images, tmp_path: Any) -> None:
        extra = tmp_path / "extra"
        (extra / "etc").mkdir(parents=True)
        (extra / "etc" / "motd").write_text("hello\n")
        seen = {images.built["1.1"]["build"]}
        for mode in (0o644, 0o755):
            (extra / "etc" / "motd").chmod(mode)
            definition = images.definition("1.1", 11)
            definition = images.definition("1.1", 11, overlays=[*definition.overlays, str(extra)])
            _tree, name = build.plan(definition, str(tmp_path), print)
            seen.add(name)
        assert len(seen) == 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("/dev/gpt/data\t/mnt\tufs\trw\t2\t2\n# ours\n", ""),
        ("/dev/ada0p2 / ufs rw 1 1\n", "mounts /dev/ada0p2 on /,"),
        ("tank/var /var/ zfs rw 0 0\n", "mounts tank/var on /var/,"),
        ("tmpfs //tmp tmpfs rw 0 0\n", "mounts tmpfs on //tmp,"),
        ("/dev/x /. ufs rw 0 0\n", "mounts /dev/x on /.,"),
        ("md /tmp mfs rw,-s64m 0 0", "mounts md on /tmp,"),
    ],
)
def test_an_fstab_of_the_owner_is_kept(text: str, said: str) -> None:
    if not said:
        assert layout.fstab_lines(text) == text
        return
    with pytest.raises(guards.Guarded, match=said):
        layout.fstab_lines(text)


class TestContents:
    """What the definition names, put together."""

    USERS = "root::0:0::0:0::/root:/bin/sh\n"

    def plan(self, images: Images, tmp_path: Any, **changes: Any) -> Tuple[Tree, List[str]]:
        warnings: List[str] = []
        source = tmp_path / "etc" / "etc"
        source.mkdir(parents=True)
        (source / "master.passwd").write_text(self.USERS)
        (source / "spwd.db").write_text("made of it")
        values = {"sources": [os.path.join(images.folder, "tree"), str(tmp_path / "etc")], **changes}
        tree, _build = build.plan(images.definition("1.1", 11, **values), str(tmp_path), print, warnings.append)
        return tree, warnings

    def test_packages(self, images: Images, tmp_path: Any) -> None:
        """Their users are those of the overlays; what cannot be done is a warning; the image says what is in it."""
        overlay = tmp_path / "overlay"
        (overlay / "etc").mkdir(parents=True)
        (overlay / "etc" / "master.passwd").write_text(self.USERS + "redis:*:535:535::0:0::/:/nologin\n")
        (overlay / "etc" / "group").write_text("redis:*:535:\n")
        values = manifest("redis", users=["redis"], scripts={"post-install": "x"})
        path = make(tmp_path, values, owner=("redis", "redis"))
        archive = str(tmp_path / "more.tar")
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo("bin/freebsd-version"))
        base = images.definition("1.1", 11)
        tree, warnings = self.plan(
            images, tmp_path, packages=[path], overlays=[*base.overlays, str(overlay)], sources=[*base.sources, archive]
        )
        assert (tree.get("usr/local/bin/redis").uid, tree.get("usr/local/bin/redis").gid) == (535, 535)
        assert any("redis has a script that was not run (post-install" in text for text in warnings)
        origin = parse(tree.get(ORIGIN_JSON).content().decode())
        assert [(each.name, each.version) for each in origin.packages] == [("redis", "1.2_3,1")]
        assert [(each.name, len(each.sha256)) for each in origin.inputs] == [("more.tar", 64)]

    def test_users_that_a_package_brings_outlive_an_overlay(self, images: Images, tmp_path: Any) -> None:
        overlay = tmp_path / "overlay"
        (overlay / "etc").mkdir(parents=True)
        (overlay / "etc" / "master.passwd").write_text(self.USERS + "joe:*:1001:0::0:0::/:/bin/sh\n")
        line = "redis:*:535:535:daemon:0:0::/:/nologin"
        path = make(tmp_path, manifest("redis", users=[{"redis": line}], groups={"redis": "redis:*:535:"}))
        base = images.definition("1.1", 11)
        tree, _warnings = self.plan(images, tmp_path, packages=[path], overlays=[*base.overlays, str(overlay)])
        users = tree.get("etc/master.passwd").content().decode().splitlines()
        assert [each.split(":")[0] for each in users] == ["root", "joe", "redis"]
        assert "NZ_ACCOUNTS=stale\n" in tree.get("boot/nanozfs/image.conf").content().decode()

    @pytest.mark.parametrize("changed", [False, True])
    def test_users_that_the_database_does_not_know(self, images: Images, tmp_path: Any, changed: bool) -> None:
        overlay = tmp_path / "overlay"
        (overlay / "etc").mkdir(parents=True)
        (overlay / "etc" / "master.passwd").write_text(
            self.USERS.replace("/bin/sh", "/bin/csh" if changed else "/bin/sh")
        )
        base = images.definition("1.1", 11)
        tree, _warnings = self.plan(images, tmp_path, overlays=[*base.overlays, str(overlay)])
        assert ("NZ_ACCOUNTS=stale\n" in tree.get("boot/nanozfs/image.conf").content().decode()) == changed

    def test_settings(self, images: Images, tmp_path: Any) -> None:
        """Ours come last, where the later one of two counts."""
        wanted = Settings(
            rc_conf={"sshd_enable": True},
            loader_conf={"beastie_disable": True},
            recovery_root_hash="$6$a$b",
            metrics="/var/tmp/node_exporter/nanozfs.prom",
        )
        tree, _warnings = self.plan(images, tmp_path, settings=wanted)
        for path, line, last in (
            ("etc/defaults/vendor.conf", 'sshd_enable="YES"', 'zfs_enable="YES"'),
            ("boot/loader.conf", 'beastie_disable="YES"', 'zfs_load="YES"'),
        ):
            lines = tree.get(path).content().decode().splitlines()
            assert lines.index(line) < lines.index(last)
        assert tree.get("conf/recovery/etc/master.passwd").content().startswith(b"root:$6$a$b:0:0")
        assert b"nanozfs metrics --write /var/tmp/node" in tree.get("conf/base/etc/cron.d/nanozfs").content()
        assert tree.get("conf/base/etc/master.passwd").content().decode() == self.USERS

    def test_a_login_conf_of_an_overlay_counts(self, images: Images, tmp_path: Any) -> None:
        """login_cap(3) goes by login.conf.db where there is one, and base.txz has one, of its own login.conf."""
        source = tmp_path / "login" / "etc"
        source.mkdir(parents=True)
        (source / "login.conf").write_text("default:\\\n\t:umask=027:\n")
        (source / "login.conf.db").write_text("of another login.conf")
        tree, _warnings = self.plan(
            images, tmp_path, overlays=[*images.definition("1.1", 11).overlays, str(tmp_path / "login")]
        )
        assert "027" in tree.get("conf/base/etc/login.conf").content().decode()
        assert "etc/login.conf.db" not in tree and "conf/base/etc/login.conf.db" not in tree

    def test_what_the_layout_rests_on_is_read_last(self, images: Images, tmp_path: Any) -> None:
        tree, _warnings = self.plan(images, tmp_path)
        vendor = tree.get("conf/base/etc/defaults/vendor.conf").content().decode()
        assert 'rc_conf_files="/etc/rc.conf /etc/rc.conf.local /etc/defaults/nanozfs.conf"' in vendor
        assert 'root_rw_mount="NO"' in tree.get("conf/base/etc/defaults/nanozfs.conf").content().decode()

    def test_metalog(self, images: Images, tmp_path: Any) -> None:
        folder = tmp_path / "kernel"
        folder.mkdir()
        (folder / "METALOG").write_text("./k type=file uname=root gname=wheel mode=0555\n")
        (folder / "k").write_text("x")
        tree, _warnings = self.plan(images, tmp_path, sources=[os.path.join(images.folder, "tree"), str(folder)])
        assert tree.get("k").mode == 0o555 and "METALOG" not in tree

    def test_settings_are_looked_at_before_anything_is_fetched(self, images: Images) -> None:
        wanted = Settings(rc_conf={"gptboot_enable": "YES"})
        with pytest.raises(FleetError, match="gptboot_enable in image_rc_conf is set by the layout"):
            build.check(
                images.definition("1.1", 11, settings=wanted, sources=["http://x.invalid/base.txz"]),
                Runner(local_execute),
            )


class TestPublishing:
    """The folder that hosts fetch from."""

    def test_a_version_is_not_replaced_unasked(self, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        with pytest.raises(FleetError, match="published already with other contents"):
            images.build("1.1", 13, terms=images.terms(output=repository))
        before = images.built["1.1"]
        result = images.build("1.1", 13, terms=images.terms(output=repository, replace=True))
        images.built["1.1"] = before
        with open(os.path.join(repository, "index.json"), encoding="utf-8") as file:
            entries = {each["version"]: each["id"] for each in json.load(file)["images"]}
        assert entries["1.1"] == result["image"]["id"] != before["id"]

    def test_nothing_half_is_left(self, images: Images) -> None:
        assert not [name for name in os.listdir(images.repository) if name.endswith(".part")]

    def test_manifest_names_everything(self, images: Images) -> None:
        with open(os.path.join(images.repository, images.built["1.1"]["id"] + ".manifest.json"), "rb") as file:
            manifest = parse_manifest(file.read())
        for artefact in manifest.published():
            with open(os.path.join(images.repository, artefact.name), "rb") as file:
                content = file.read()
            assert len(content) == artefact.size and hashlib.sha256(content).hexdigest() == artefact.sha256


class TestRefusals:
    """What must not become an image."""

    @pytest.mark.parametrize(
        "path, said",
        [
            ("etc/ssh/ssh_host_rsa_key", "every host would have the same key"),
            ("etc/zfs/zpool.cache", "import pools past the early hook"),
            ("boot/zfs/zpool.cache", "import pools past the early hook"),
        ],
    )
    def test_dangerous_files(self, images: Images, tmp_path: Any, path: str, said: str) -> None:
        extra = tmp_path / "extra"
        (extra / path).parent.mkdir(parents=True)
        (extra / path).write_text("x")
        definition = images.definition("1.1", 11)
        with pytest.raises(FleetError, match=said):
            build.plan(images.definition("1.1", 11, overlays=[*definition.overlays, str(extra)]), str(tmp_path), print)

    def test_no_freebsd(self, images: Images, tmp_path: Any) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(FleetError, match="no FreeBSD system"):
            build.plan(images.definition("1.1", 11, sources=[str(tmp_path / "empty")]), str(tmp_path), print)

    def test_no_hook(self, images: Images, tmp_path: Any) -> None:
        with pytest.raises(FleetError, match="early boot hook is missing"):
            build.plan(images.definition("1.1", 11, overlays=[]), str(tmp_path), print)

    def test_too_small(self, images: Images, tmp_path: Any) -> None:
        with pytest.raises(FleetError, match="raise image_size"):
            images.build("1.1", 11, size=256 << 10, terms=images.terms(output=str(tmp_path / "out")))

    @pytest.mark.parametrize(
        "changes, said",
        [
            ({"size": 2 * MIB + 1}, "multiple of 4096"),
            ({"sources": []}, "no tree or archive"),
            ({"sources": ["/nowhere"]}, "no tree or archive /nowhere"),
            ({"signers": []}, "trust nobody"),
            ({"terms": Terms("/nowhere", "/nowhere")}, "no signing key"),
            ({"identity": Identity("a/b", "1", 1, 0, "amd64", "x", "tank")}, "no usable name"),
        ],
    )
    def test_bad_definitions(self, images: Images, changes: Any, said: str) -> None:
        with pytest.raises(FleetError, match=said):
            images.build("1.1", 11, **changes)

    def test_a_medium_without_boot_code(self, images: Images, tmp_path: Any) -> None:
        source = str(tmp_path / "tree")
        tree = Tree()
        tree.add_folder(os.path.join(images.folder, "tree"))
        tree.remove("boot/gptboot")
        os.mkdir(source)
        tree.stage(source)
        os.chmod(os.path.join(source, "usr", "local", "bin", "python3.11"), 0o755)
        with pytest.raises(FleetError, match="no boot code"):
            images.build("1.1", 11, sources=[source], terms=images.terms(output=str(tmp_path / "out")))


class TestTree:
    """Laying sources over each other."""

    def test_an_archive_keeps_owners_modes_and_hard_links(self, tmp_path: Any) -> None:
        archive = str(tmp_path / "base.txz")
        with tarfile.open(archive, "w:xz") as tar:

            def add(name: str, **values: Any) -> None:
                info = tarfile.TarInfo(name)
                data = values.pop("data", b"")
                info.size = len(data)
                for key, value in values.items():
                    setattr(info, key, value)
                tar.addfile(info, io.BytesIO(data))

            add("./usr", type=tarfile.DIRTYPE, mode=0o755)
            add("./usr/su", data=b"su", mode=0o4555, uid=0, gid=0, mtime=5)
            add("./usr/mail", data=b"m", mode=0o600, uid=26, gid=6, mtime=5)
            add("./usr/su2", type=tarfile.LNKTYPE, linkname="./usr/su")
            add("./usr/l", type=tarfile.SYMTYPE, linkname="su")
            add("./dev/null", type=tarfile.CHRTYPE)
        tree = Tree()
        tree.add_archive(archive, str(tmp_path))
        assert tree.get("usr/su").mode == 0o4555 and tree.get("usr/mail").uid == 26
        assert tree.get("usr/su").group is not None
        assert tree.get("usr/su").group == tree.get("usr/su2").group
        assert tree.get("usr/l").target == "su" and "dev/null" not in tree
        assert "./usr/mail type=file uid=26 gid=6 mode=0600 time=5.0" in list(tree.lines(digests=False))

    def test_what_was_unpacked_is_not_copied_again_and_the_image_is_the_same(self, tmp_path: Any) -> None:
        made = []
        for name in ("unpacked", "elsewhere"):
            scratch = tmp_path / name
            scratch.mkdir()
            (scratch / "file").write_bytes(b"content")
            tree = Tree()
            for path in ("a", "b"):
                tree.put(path, Node(FILE, 0o644, source=str(scratch / "file")))
            place = tmp_path / "unpacked" if name == "unpacked" else tmp_path / "place"
            place.mkdir(exist_ok=True)
            ufs.make(tree, str(place), str(tmp_path / (name + ".img")), 1 << 20, 1704067200)
            assert ((place / "stage" / "a").stat().st_nlink > 1) is (name == "unpacked")
            made.append((tmp_path / (name + ".img")).read_bytes())
        assert made[0] == made[1]

    @pytest.mark.parametrize(
        "exact, expected",
        [(True, (0o4555, 0o640, 0o600, 0o711)), (False, (0o755, 0o644, 0o600, 0o755))],
    )
    def test_modes_of_a_folder(self, tmp_path: Any, exact: bool, expected: Any) -> None:
        for name, mode in (("su", 0o4555), ("group", 0o640), ("master.passwd", 0o600)):
            (tmp_path / name).write_text("x")
            (tmp_path / name).chmod(mode)
        (tmp_path / "dir").mkdir(mode=0o711)
        tree = Tree()
        tree.add_folder(str(tmp_path), exact)
        assert tuple(tree.get(name).mode for name in ("su", "group", "master.passwd", "dir")) == expected

    @pytest.mark.parametrize("name", ["../x", "a/../../x"])
    def test_an_archive_may_not_lead_out(self, tmp_path: Any, name: str) -> None:
        archive = str(tmp_path / "bad.tar")
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(TreeError, match="leads out"):
            Tree().add_archive(archive, str(tmp_path))

    def test_which_names_are_one_file_is_part_of_what_it_is(self) -> None:
        trees = []
        for groups in (("x", "x", None), ("x", None, "x"), ("y", "y", None)):
            tree = Tree()
            for name, group in zip("abc", groups):
                tree.put(name, Node(FILE, 0o644, data=b"1", group=group))
            trees.append(tree.identity())
        assert trees[0] == trees[2] != trees[1]

    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
    def test_a_damaged_archive(self, tmp_path: Any, pack: Any) -> None:
        """Also where only the sum at the end of what was packed tells it, which is behind the end of the archive."""
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            member = tarfile.TarInfo("a")
            member.size = 1 << 20
            tar.addfile(member, io.BytesIO(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1 << 15))))
        packed = bytearray(pack(raw.getvalue()))
        Path(tmp_path / "a.tar").write_bytes(packed)
        Tree().add_archive(str(tmp_path / "a.tar"), str(tmp_path))
        packed[len(packed) // 2] ^= 0xFF
        Path(tmp_path / "a.tar").write_bytes(packed)
        with pytest.raises(TreeError, match="cannot be read"):
            Tree().add_archive(str(tmp_path / "a.tar"), str(tmp_path))

    def test_names_of_one_file_stay_together_when_another_takes_one(self, tmp_path: Any) -> None:
        """Whichever archive or folder that comes from, and under /conf/base too."""

        def archive(name: str, text: bytes, *names: str) -> str:
            path = str(tmp_path / name)
            with tarfile.open(path, "w") as tar:
                member = tarfile.TarInfo(names[0])
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
                for each in names[1:]:
                    link = tarfile.TarInfo(each)
                    link.type, link.linkname = tarfile.LNKTYPE, names[0]
                    tar.addfile(link)
            return path

        tree = Tree()
        tree.add_archive(archive("1.tar", b"old", "etc/a", "etc/b", "bin/a", "bin/b"), str(tmp_path))
        tree.add_archive(archive("2.tar", b"new", "etc/a", "etc/c"), str(tmp_path))
        (tmp_path / "overlay" / "bin").mkdir(parents=True)
        (tmp_path / "overlay" / "bin" / "a").write_text("mine")
        tree.add_folder(str(tmp_path / "overlay"))
        tree.append("etc/c", "more\n")
        tree.copy("etc", "conf/base/etc")
        (tmp_path / "stage").mkdir()
        tree.stage(str(tmp_path / "stage"))
        found = {name: (tmp_path / "stage" / name).read_text() for name in tree.paths() if tree.get(name).kind == FILE}
        etc = {"etc/a": "new", "etc/b": "old", "etc/c": "new\nmore\n"}
        assert found == {"bin/a": "mine", "bin/b": "old", **etc, **{"conf/base/" + key: etc[key] for key in etc}}

    def test_lines_are_added_to_files_only(self) -> None:
        tree = Tree()
        tree.put("etc/master.passwd", Node(FILE, 0o600, data=b"bj\xf6rn"))
        tree.append("etc/master.passwd", "x\n")
        assert tree.get("etc/master.passwd").content() == b"bj\xf6rn\nx\n"
        tree.link("boot/loader.conf", "loader.conf.site")
        with pytest.raises(TreeError, match=r"boot/loader\.conf is a link"):
            tree.append("boot/loader.conf", "x")

    def test_links_in_the_way_of_links(self) -> None:
        tree = Tree()
        tree.put("data/home", Node(DIR, 0o755))
        tree.link("usr", "./disk/../data")
        tree.link("home", "/usr/home")
        tree.write("home/x", "1")
        assert "data/home/x" in tree
        tree.link("a", "b/c")
        tree.link("b", "a")
        with pytest.raises(TreeError, match="without end"):
            tree.write("a/x", "1")

    def test_a_broken_archive(self, tmp_path: Any) -> None:
        (tmp_path / "bad.txz").write_bytes(b"\xfd7zXZ\0garbage")
        with pytest.raises(TreeError, match="cannot be read"):
            Tree().add_archive(str(tmp_path / "bad.txz"), str(tmp_path))

    def test_goes_through_links_to_directories(self) -> None:
        tree = Tree()
        tree.put("usr/bin", Node(DIR, 0o755))
        tree.link("bin", "usr/bin")
        tree.write("bin/sh", "x")
        assert tree.get("usr/bin/sh").kind == FILE

    def test_directories_behind_a_link_keep_what_they_are(self, tmp_path: Any) -> None:
        tree = Tree()
        tree.put("usr/home/joe", Node(DIR, 0o700, uid=1001))
        tree.link("usr/home/ann", "joe")
        tree.link("home", "usr/home")
        (tmp_path / "overlay" / "home" / "joe").mkdir(parents=True)
        (tmp_path / "overlay" / "home" / "ann").mkdir()
        (tmp_path / "overlay" / "home" / "ann" / "x").write_text("x")
        tree.add_folder(str(tmp_path / "overlay"))
        other = Tree()
        other.put("home/ann", Node(DIR, 0o755))
        tree.add_tree(other)
        assert tree.get("usr/home/joe") == Node(DIR, 0o700, uid=1001) and "usr/home/joe/x" in tree
        assert tree.get("usr/home/ann").kind == LINK and tree.get("home").kind == LINK

    def test_a_file_in_the_way(self) -> None:
        tree = Tree()
        tree.write("a", "x")
        with pytest.raises(TreeError, match="no directory"):
            tree.write("a/b", "x")
        tree.write("d/e", "x")
        with pytest.raises(TreeError, match="cannot be replaced"):
            tree.write("d", "x")


def test_makefs_missing(images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ufs.check_program()  # where Debian has it is not in the path of its users
    monkeypatch.setitem(ENVIRONMENT, "PATH", str(tmp_path))
    with pytest.raises(ufs.MakefsError, match="package makefs"):
        ufs.make(Tree(), str(tmp_path), str(tmp_path / "out"), 2 * MIB, 1)
    said: List[str] = []
    definition = images.definition("1.1", 11, sources=["/nonexistent"])
    with pytest.raises(ufs.MakefsError, match="package makefs"):
        build.run(definition, Runner(local_execute), said.append)
    assert said == [], "it began before it had looked"
