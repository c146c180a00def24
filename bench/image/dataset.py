# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three images that the benchmark updates between, out of Debian's packages.

No FreeBSD release can be fetched by every machine that should be able to run this, Debian's packages can. What is in
the files decides about the figures, not whose files they are: a kernel with its modules, a database, interpreters,
servers; a.img with what a point release has, b.img ("release") with a new kernel and much else, c.img ("patch") with
security updates of a few packages. The file system is made by the collection's own code.

``packages.in`` says which packages, ``packages.lock`` which versions of them exactly.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import FORMAT, IMAGE_JSON
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = "/var/tmp/nanozfs-bench"

MIRROR = "http://deb.debian.org/"
#: where the packages of image A come from, and those that replace them: archive and suite
POINT_RELEASE = ("debian", "bookworm")
SECURITY = ("debian-security", "bookworm-security")

#: of an image, in bytes
SIZE = 1 << 30
#: UFS fragments are this large, so whatever moves within an image moves by a multiple of it (bytes)
GRID = 4096

#: Debian keeps these as links into /usr; its packages do not all know that
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
#: what no image for servers has
LEFT_OUT = ("usr/share/doc",)

#: changes whenever the same packages would make another image
RECIPE = "1"


class DatasetError(FleetError):
    """The images cannot be made."""


@dataclass(frozen=True)
class Image:
    """One of the three: file name, its letter in the lock, version, seq, and time of the build in seconds."""

    file: str
    letter: str
    version: str
    seq: int
    epoch: int


#: the times are those of Debian 12.15 and of two later builds: a build that keeps its time would flatter the figures
IMAGES = (
    Image("a.img", "A", "1.0", 10, 1783764997),
    Image("b.img", "B", "2.0", 20, 1795500000),
    Image("c.img", "C", "1.1", 11, 1788000000),
)


@dataclass(frozen=True)
class Locked:
    """A package file: the letters of the images that have it, what it is, where it is; size in bytes."""

    letters: str
    name: str
    version: str
    path: str
    sha256: str
    size: int


# which packages


@dataclass(frozen=True)
class Wanted:
    """A line of packages.in: pattern of the name in A, of the name of what replaces it, and where it is replaced."""

    name: str
    newer: str
    letters: str
    added: bool


def parse_wanted(text: str) -> List[Wanted]:
    """The lines of packages.in.

    :raises DatasetError: when one is none of the described kinds.
    """
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, marks = words[0], dict(word.partition("=")[::2] for word in words[1:])
        if set(marks) - {"release", "patch", "added"}:
            raise DatasetError("packages.in has the line {0!r}".format(line))
        letters = "".join(letter for mark, letter in (("release", "B"), ("patch", "C")) if mark in marks)
        newer = next((value for value in marks.values() if value), name)
        found.append(Wanted(name, newer, letters, "added" in marks))
    return found


def fields(paragraph: str) -> Dict[str, str]:
    """The fields of a package in a Packages index (deb-control(5)), only those of one line."""
    lines = (line.partition(": ") for line in paragraph.split("\n") if line[:1] not in (" ", ""))
    return {key: value for key, _colon, value in lines}


def newer(one: str, other: str) -> bool:
    """Whether the Debian version *one* is greater than *other*."""
    return subprocess.run(["dpkg", "--compare-versions", one, "gt", other], check=False).returncode == 0


def compare(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """The order of two packages by their versions."""
    return newer(one["Version"], other["Version"]) - newer(other["Version"], one["Version"])


def fetch_index(archive: str, suite: str) -> List[Dict[str, str]]:
    """The packages that a suite has at present."""
    url = "{0}{1}/dists/{2}/main/binary-amd64/Packages.xz".format(MIRROR, archive, suite)
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = lzma.decompress(answer.read()).decode("utf-8")
    return [dict(fields(paragraph), Archive=archive) for paragraph in text.split("\n\n") if paragraph.strip()]


def choose(index: Sequence[Mapping[str, str]], pattern: str) -> Optional[Mapping[str, str]]:
    """The newest package whose name matches."""
    found = [entry for entry in index if fnmatch.fnmatchcase(entry["Package"], pattern)]
    return max(found, key=functools.cmp_to_key(compare)) if found else None


def resolve(
    wanted: Sequence[Wanted], old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]
) -> List[Locked]:
    """The package files of all three images.

    :raises DatasetError: when a package is gone, or what should replace it is not newer.
    """

    def locked(letters: str, entry: Mapping[str, str]) -> Locked:
        path = entry["Archive"] + "/" + entry["Filename"]
        return Locked(letters, entry["Package"], entry["Version"], path, entry["SHA256"], int(entry["Size"]))

    found = []
    for each in wanted:
        replacement = choose(new, each.newer) if each.letters else None
        if each.letters and replacement is None:
            raise DatasetError("{0} has no {1}".format(SECURITY[1], each.newer), todo="correct packages.in")
        if each.added:
            assert replacement is not None
            found.append(locked(each.letters, replacement))
            continue
        base = choose(old, each.name)
        if base is None:
            raise DatasetError("{0} has no {1}".format(POINT_RELEASE[1], each.name), todo="correct packages.in")
        found.append(locked("".join(letter for letter in "ABC" if letter not in each.letters), base))
        if replacement is not None:
            if not newer(replacement["Version"], base["Version"]):
                raise DatasetError(
                    "{0} is no newer in {1} than in {2}".format(each.name, SECURITY[1], POINT_RELEASE[1]),
                    todo="a point release has taken it in; choose other packages in packages.in",
                )
            found.append(locked(each.letters, replacement))
    return found


def write_lock(packages: Sequence[Locked]) -> str:
    """The text of packages.lock."""
    head = "# The packages of the benchmark's images: letters of the images, name, version, path, SHA-256, bytes.\n"
    head += "# Made by `bench/image/run --relock` from packages.in and what {0} then had.\n".format(MIRROR)
    rows = ("{0.letters} {0.name} {0.version} {0.path} {0.sha256} {0.size}\n".format(each) for each in packages)
    return head + "".join(rows)


def parse_lock(text: str) -> List[Locked]:
    """The packages of packages.lock."""
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [Locked(row[0], row[1], row[2], row[3], row[4], int(row[5])) for row in rows]


def relock() -> List[Locked]:
    """Choose the packages anew."""
    with open(os.path.join(HERE, "packages.in"), encoding="utf-8") as file:
        wanted = parse_wanted(file.read())
    packages = resolve(wanted, fetch_index(*POINT_RELEASE), fetch_index(*SECURITY))
    with open(os.path.join(HERE, "packages.lock"), "w", encoding="utf-8") as file:
        file.write(write_lock(packages))
    return packages


def read_lock() -> List[Locked]:
    """The packages that were chosen."""
    with open(os.path.join(HERE, "packages.lock"), encoding="utf-8") as file:
        return parse_lock(file.read())


# fetching


def sha256_of(path: str) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            total.update(piece)
    return total.hexdigest()


def _get(url: str) -> bytes:
    last: Exception = OSError("never tried")
    for attempt in range(4):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise DatasetError(
                    "{0} is gone from the mirror".format(url),
                    todo="a newer version has replaced it: run with --relock; figures then are of other images",
                )
            last = error
        except OSError as error:
            last = error
        time.sleep(2**attempt)
    raise DatasetError("{0} cannot be fetched: {1}".format(url, last))


def fetch(package: Locked, folder: str) -> str:
    """The path of the package file, fetched unless it is there.

    :raises DatasetError: when it cannot be fetched or is not what was locked.
    """
    path = os.path.join(folder, package.sha256[:16] + "-" + os.path.basename(package.path))
    if os.path.exists(path):
        return path
    content = _get(MIRROR + package.path)
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise DatasetError("{0} is not the file that packages.lock names".format(package.path))
    with open(path + ".partial", "wb") as file:
        file.write(content)
    os.rename(path + ".partial", path)
    return path


# making images


def unpack(debs: Sequence[str], scratch: str) -> Tree:
    """The tree that the packages make together."""
    tree = Tree()
    for path, target in MERGED.items():
        tree.link(path, target)
    for number, deb in enumerate(debs):
        archive = os.path.join(scratch, "{0}.tar".format(number))
        with open(archive, "wb") as out:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], stdout=out, check=True)
        tree.add_archive(archive, scratch)
        os.unlink(archive)
    for path in LEFT_OUT:
        tree.remove(path)
    return tree


def identify(tree: Tree, image: Image) -> None:
    """Put into the tree what the image says of itself, as ``layout.py`` does it for images that can boot."""
    values: Dict[str, object] = {"format": FORMAT, "name": "bench", "version": image.version, "seq": image.seq}
    values.update(min_seq=0, arch="amd64", abi="FreeBSD:14:amd64", pool="tank")
    tree.date(image.epoch)
    values["build"] = hashlib.sha256((image.version + tree.identity()).encode("utf-8")).hexdigest()[:16]
    tree.write(IMAGE_JSON, json.dumps(values, indent=1, sort_keys=True) + "\n")
    tree.date(image.epoch)


def make(image: Image, debs: Sequence[str], out: str) -> Dict[str, int]:
    """Make one image; returns how many files and bytes of content it has."""
    scratch = tempfile.mkdtemp(prefix="image-", dir=os.path.dirname(out))
    try:
        tree = unpack(debs, scratch)
        identify(tree, image)
        folder = os.path.join(scratch, "makefs")
        os.mkdir(folder)
        ufs.make(tree, folder, out + ".partial", SIZE, image.epoch)
        files = {node.group or path: node for path, node in tree.nodes.items() if node.kind == FILE}
        sizes = [os.path.getsize(node.source) if node.source else len(node.data or b"") for node in files.values()]
    finally:
        shutil.rmtree(scratch)
    os.rename(out + ".partial", out)
    return {
        "packages": len(debs),
        "files": len(files),
        "links and folders": len(tree.nodes) - len(files),
        "bytes": sum(sizes),
    }


# what they have in common


def blocks(path: str, grid: int = GRID) -> Iterator[bytes]:
    """A short digest of each block that is not all zeros."""
    zeros = bytes(grid)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(grid), b""):
            if block != zeros:
                yield hashlib.blake2b(block, digest_size=12).digest()


def share_new(path: str, known: Set[bytes]) -> Tuple[int, int]:
    """How many blocks of an image are nowhere in another one, and how many it has (zeros not counted)."""
    missing = total = 0
    for digest in blocks(path):
        total += 1
        missing += digest not in known
    return missing, total


def statistics(cache: str, made: Mapping[str, Mapping[str, int]]) -> str:
    """What there is to know of the images, as text."""
    lines = []
    for image in IMAGES:
        counts = ", ".join("{0:,} {1}".format(value, key) for key, value in made[image.file].items())
        lines.append("{0} (bench-{1}): {2}".format(image.file, image.version, counts))
    known = set(blocks(os.path.join(cache, "a.img")))
    for image in IMAGES[1:]:
        missing, total = share_new(os.path.join(cache, image.file), known)
        text = "{0}: {1:.1f} % of its 4 KiB blocks are nowhere in a.img: {2:,} of {3:,} ({4:.1f} MB)"
        lines.append(text.format(image.file, 100 * missing / total, missing, total, missing * GRID / 1e6))
    lines += ["{0}: SHA-256 {1}".format(image.file, sha256_of(os.path.join(cache, image.file))) for image in IMAGES]
    return "\n".join(lines) + "\n"


def prepare(cache: str, packages: Sequence[Locked]) -> None:
    """Make those of the images, and the statistics, that are not there yet."""
    folder = os.path.join(cache, "debs")
    os.makedirs(folder, exist_ok=True)
    record = os.path.join(cache, "images.json")
    made: Dict[str, Dict[str, int]] = {}
    keys: Dict[str, str] = {}
    if os.path.exists(record):
        with open(record, encoding="utf-8") as file:
            keys, made = json.load(file)
    changed = False
    for image in IMAGES:
        chosen = [package for package in packages if image.letter in package.letters]
        words = [RECIPE, repr(image), str(FORMAT)] + ufs.command("", "", "", SIZE, image.epoch)
        key = hashlib.sha256("\n".join(words + [package.sha256 for package in chosen]).encode("utf-8")).hexdigest()
        out = os.path.join(cache, image.file)
        if keys.get(image.file) == key and os.path.exists(out):
            continue
        sys.stderr.write("making {0} of {1} packages\n".format(out, len(chosen)))
        made[image.file] = make(image, [fetch(package, folder) for package in chosen], out)
        keys[image.file] = key
        changed = True
        with open(record, "w", encoding="utf-8") as file:
            json.dump([keys, made], file)
    stats = os.path.join(cache, "STATS.txt")
    if changed or not os.path.exists(stats):
        with open(stats, "w", encoding="utf-8") as file:
            file.write(statistics(cache, made))


def main(argv: Sequence[str]) -> int:
    """Make the images and say what they are."""
    parser = argparse.ArgumentParser(prog="dataset", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", default=CACHE, help="folder for packages and images (%(default)s)")
    parser.add_argument("--relock", action="store_true", help="choose the versions of all packages anew")
    options = parser.parse_args(argv)
    try:
        prepare(options.cache, relock() if options.relock else read_lock())
    except FleetError as error:
        sys.stderr.write("{0}\n".format(error))
        return 1
    with open(os.path.join(options.cache, "STATS.txt"), encoding="utf-8") as file:
        sys.stdout.write(file.read())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
