# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One definition, one id, whoever builds it wherever; and a file system that is right in itself nevertheless."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import struct
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from dissect.ffs import FFS

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, Node, Tree
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

MIB = 1 << 20

#: Debian's user without rights
NOBODY = 65534


class Place(NamedTuple):
    """Where and how somebody builds."""

    umask: int
    zone: str
    locale: str
    user: int
    folder: str
    backwards: bool
    touched: int


def copy(source: str, target: str, place: Place) -> None:
    """A copy of a folder for somebody else: other times, made in another order, with the modes that a umask leaves."""
    for folder, folders, files in os.walk(source):
        folders.sort(reverse=place.backwards)
        made = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(made, exist_ok=True)
        for name in sorted(files, reverse=place.backwards):
            full = os.path.join(made, name)
            shutil.copyfile(os.path.join(folder, name), full)
            os.chmod(full, os.stat(os.path.join(folder, name)).st_mode & ~place.umask & 0o777)
            os.utime(full, (place.touched, place.touched))


def backwards(walk: Any) -> Any:
    """As :func:`os.walk`, on a file system that stores what is in a folder the other way round."""

    def walked(top: str, *arguments: Any, **options: Any) -> Iterator[Tuple[str, List[str], List[str]]]:
        for folder, folders, files in walk(top, *arguments, **options):
            folders.reverse()
            yield folder, folders, sorted(files, reverse=True)

    return walked


def built_by(place: Place, definition: build.Definition, work: str) -> str:
    """What somebody in a process of their own gets: the build, and the digest of the image."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it did not end"
        try:
            os.close(reading)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(place.user)
                os.setuid(place.user)
            os.umask(place.umask)
            os.environ.update(TZ=place.zone, LC_ALL=place.locale, LANG=place.locale, HOME=work)
            time.tzset()
            os.chdir(place.folder)
            if place.backwards:
                os.walk = backwards(os.walk)
            with tempfile.TemporaryDirectory(dir=work) as scratch:
                tree, name = build.plan(definition, scratch, print)
                out = os.path.join(scratch, "out")
                ufs.make(tree, scratch, out, definition.size, definition.epoch)
                with open(out, "rb") as file:
                    said = "{0} {1}".format(name, hashlib.sha256(file.read()).hexdigest())
        except Exception as error:
            said = repr(error)
        finally:
            with suppress(OSError):
                os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder on another file system than that of the tests, which stores in another order."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to build on as on another machine")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


def test_one_definition_one_id(images: Images, memory: str, tmp_path: Path) -> None:
    """Whoever builds: umask, time zone, locale, user, folder, order of what is in folders, times of sources."""
    somebody = NOBODY if os.geteuid() == 0 else os.geteuid()
    work = str(tmp_path / "work")
    places = {
        work: Place(0o022, "UTC", "C", os.geteuid(), "/", False, 1000000000),
        memory: Place(0o077, "Asia/Kathmandu", "tr_TR.UTF-8", somebody, memory, True, 1900000000),
    }
    base = images.definition("1.1", 11)
    found: Dict[str, str] = {}
    for folder, place in places.items():
        os.makedirs(folder, exist_ok=True)
        sources = [str(images.folder) + "/tree", *base.overlays, *base.recovery]
        copies = ["{0}/{1}".format(folder, number) for number in range(len(sources))]
        for source, target in zip(sources, copies):
            # what the system is made of keeps its modes; in the folders of people they are those of their umask
            copy(source, target, place._replace(umask=0 if target == copies[0] else place.umask & 0o022))
        definition = images.definition("1.1", 11, sources=copies[:1], overlays=copies[1:-1], recovery=copies[-1:])
        if place.user != os.geteuid():
            os.chown(folder, place.user, place.user)
        found[folder] = built_by(place, definition, folder)
    assert found[work] == found[memory]
    assert re.match(r"[0-9a-f]{16} [0-9a-f]{64}\Z", found[work]), found[work]


def test_private_to_its_owner_stays_so_under_any_umask(tmp_path: Path) -> None:
    """The one thing that a mode says: so a umask of 077 makes another image, and nobody finds out by a leak."""
    (tmp_path / "a").write_text("x")
    modes = []
    for mode in (0o600, 0o640, 0o644, 0o664):
        (tmp_path / "a").chmod(mode)
        tree = Tree()
        tree.add_folder(str(tmp_path))
        modes.append(tree.get("a").mode)
    assert modes == [0o600, 0o644, 0o644, 0o644]


class Checked(NamedTuple):
    """What a file system says of its inodes, counted: in directories, in the map, in the sums."""

    links: bool
    map: bool
    free: List[int]


def check(raw: bytes) -> Checked:
    """Look at the inodes of a UFS1 file system, as fsck_ffs(8) does in its phases 4 and 5."""
    fs = Ufs(lambda offset, length: raw[offset : offset + length])
    sb, at = fs.superblock, 8192
    used: Dict[int, Tuple[int, int]] = {}
    bits: Dict[int, bool] = {}
    free: List[int] = []
    (groups,) = struct.unpack_from("<I", raw, at + 44)
    (cblkno,) = struct.unpack_from("<i", raw, at + 12)
    (csaddr,) = struct.unpack_from("<q", raw, at + 1096)
    for group in range(groups):
        cg = (sb.group_at(group) + cblkno) * sb.fsize
        (iusedoff,) = struct.unpack_from("<I", raw, cg + 92)
        for index in range(sb.inodes_per_group):
            number = group * sb.inodes_per_group + index
            mode, links = struct.unpack_from("<Hh", raw, sb.inode_at(number))
            bits[number] = bool(raw[cg + iusedoff + index // 8] & 1 << index % 8)
            if mode:
                used[number] = (mode, links)
        here = sum(not bits[group * sb.inodes_per_group + index] for index in range(sb.inodes_per_group))
        said = [struct.unpack_from("<i", raw, where)[0] for where in (cg + 32, csaddr * sb.fsize + group * 16 + 8)]
        free += [here] + said
    total = sum(not taken for taken in bits.values())
    free += [total, struct.unpack_from("<q", raw, at + 1024)[0], struct.unpack_from("<i", raw, at + 200)[0]]
    counted: Counter = Counter()
    waiting = [FFS(io.BytesIO(raw)).root]
    while waiting:
        for name, child in waiting.pop().listdir().items():
            counted[child.inum] += 1
            if child.is_dir() and name not in (".", ".."):
                waiting.append(child)
    return Checked(
        links={number: links for number, (_mode, links) in used.items()} == dict(counted),
        map={number for number, taken in bits.items() if taken} - {0, 1} == set(used),
        free=free,
    )


def tree_with_links() -> Tree:
    """Several groups of inodes, several blocks of a directory, long links, names that are not ASCII."""
    tree = Tree()
    for number in range(1500):
        tree.write("etc/a name of some length {0:04}".format(number), "content {0}\n".format(number))
    tree.write("rescue/ä", "x" * 300000)
    tree.copy("rescue", "bin")
    tree.copy("etc", "conf/base/etc")
    tree.link("l", "etc/a")
    tree.link("long", "z" * 200)
    tree.put("tmp", Node(DIR, 0o1777))
    tree.date(1000)
    return tree


def test_hard_links(tmp_path: Path, memory: str) -> None:
    """The names of a file are one file again, and all that counts inodes agrees."""
    made = {}
    for folder in (str(tmp_path), memory):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            ufs.make(tree_with_links(), scratch, scratch + "/out", 64 * MIB, 1000)
            made[folder] = Path(scratch, "out").read_bytes()
    raw = made[memory]
    assert made[str(tmp_path)] == raw
    fs = FFS(io.BytesIO(raw))
    assert fs.get("/conf/base/etc/a name of some length 1499").inum == fs.get("/etc/a name of some length 1499").inum
    assert fs.get("/etc/a name of some length 1499").open().read() == b"content 1499\n"
    assert fs.get("/bin/ä").inum == fs.get("/rescue/ä").inum and fs.get("/bin/ä").open().read() == b"x" * 300000
    assert (fs.get("/l").link, fs.get("/long").link) == ("etc/a", "z" * 200)
    found = check(raw)
    assert found.links and found.map
    # of each group what the map, the group and the summary say, then the same of all of them together
    *groups, total, said, old = found.free
    assert total == said == old
    assert groups[0::3] == groups[1::3] == groups[2::3] and sum(groups[0::3]) == total


def test_as_freebsd_makes_it(tmp_path: Path) -> None:
    """From the folder itself, with the hard links that makefs finds there."""
    ufs._make_from_folder(tree_with_links(), str(tmp_path), str(tmp_path / "out"), 64 * MIB, 1000)
    raw = (tmp_path / "out").read_bytes()
    fs = FFS(io.BytesIO(raw))
    assert fs.get("/bin/ä").inum == fs.get("/rescue/ä").inum and fs.get("/tmp").mode & 0o7777 == 0o1777
    assert check(raw).links and check(raw).map


def test_the_check_finds_what_is_wrong(images: Images) -> None:
    """An image of the build passes; one with a link too many does not."""
    raw = bytearray(images.content("1.1"))
    assert check(bytes(raw)).links and check(bytes(raw)).map
    number = FFS(io.BytesIO(bytes(raw))).get("/etc/rc").inum
    at = Ufs(lambda offset, length: bytes(raw[offset : offset + length])).superblock.inode_at(number)
    struct.pack_into("<h", raw, at + 2, 3)
    assert not check(bytes(raw)).links


@pytest.mark.parametrize(
    "size, said", [(MIB, "larger than the maxsize.*raise image_size"), (24 * MIB, "free inodes.*are required")]
)
def test_makefs_that_ends_early(tmp_path: Path, size: int, said: str) -> None:
    """After it has asked for the specification; that it is not installed is in test_image."""
    with pytest.raises(ufs.MakefsError, match=said):
        ufs.make(tree_with_links(), str(tmp_path), str(tmp_path / "out"), size, 1000)


#: how many fragments the largest cylinder group has that makefs makes, by the fragments for each inode (measured)
LARGEST_GROUP = {4: 189440, 5: 196592, 6: 201600, 7: 205464}


def test_every_size_can_be_checked() -> None:
    """No cylinder group has more inodes than FreeBSD's fsck can count, and none has fewer than it could have."""
    chosen = []
    for size in range(MIB, 65536 * MIB + 1, MIB):
        each = ufs.density(size) // 4096
        inodes = -(-min(size // 4096, LARGEST_GROUP[each]) // each // 256) * 256
        assert inodes <= 32767, size
        chosen.append(each)
    assert sorted(set(chosen)) == [4, 5, 6, 7] and chosen == sorted(chosen)
    assert [chosen.index(each) for each in (5, 6, 7)] == [508, 635, 762], "in MiB, less one"


@pytest.mark.parametrize("size, groups, inodes", [(508, 1, 32512), (635, 1, 32512), (1024, 2, 29440)])
def test_cylinder_groups_as_they_are_made(tmp_path: Path, size: int, groups: int, inodes: int) -> None:
    out = tmp_path / "out"
    ufs.make(tree_with_links(), str(tmp_path), str(out), size * MIB, 1000)
    with open(out, "r+b") as image:
        image.seek(8192)
        block = image.read(1376)
        assert struct.unpack_from("<I", block, 44) == (groups,) and struct.unpack_from("<I", block, 184) == (inodes,)
        ufs.check_groups(image)
        # as 15.0's fsck said of an image with more (transcript mount/028): "-18176" != "47360"
        first = struct.unpack_from("<i", block, 12)[0] * 4096
        image.seek(first + 18)
        image.write(struct.pack("<h", -18176))
        with pytest.raises(ufs.MakefsError, match="check: cylinder group 0 has {0} inodes".format(inodes)):
            ufs.check_groups(image)
    out.unlink()  # a temporary folder may be in memory, and stays until all tests are done


def test_makefs_that_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before it opens the specification."""
    program = tmp_path / "bin" / "makefs"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho makefs: no such option >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent) + ":" + os.environ["PATH"])
    with pytest.raises(ufs.MakefsError, match="makefs failed: no such option"):
        ufs.make(Tree(), str(tmp_path), str(tmp_path / "out"), MIB, 1000)


def test_files_of_an_archive_keep_their_times(tmp_path: Path) -> None:
    """Also those that are newer than the image's own: by its time Python knows what a module was compiled from."""
    epoch, newer, older = 1704067200, 1764547200, 1600000000
    archive = tmp_path / "python.tar"
    with tarfile.open(archive, "w") as tar:
        for name, at in (("usr/a.py", newer), ("usr/b.py", older)):
            member = tarfile.TarInfo(name)
            member.mtime = at
            tar.addfile(member, io.BytesIO())
    tree = Tree()
    tree.add_archive(str(archive), str(tmp_path))
    tree.write("usr/c.py", "")
    tree.date(epoch)
    out = str(tmp_path / "out")
    ufs.make(tree, str(tmp_path), out, 8 * MIB, epoch)
    with open(out, "rb") as file:
        image = FFS(file)
        times = {name: int(image.get("usr/" + name).mtime.timestamp()) for name in ("a.py", "b.py", "c.py")}
    assert times == {"a.py": newer, "b.py": older, "c.py": epoch}
