# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What choosing packages costs with a catalogue as large as FreeBSD's; see bench/README.md."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.bench.image import measure
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import choose
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.choose import Place, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.resolver import System
from ansible_collections.nanozfs.fleet.tests.unit.repositories import Made, record

MODULE = "ansible_collections.nanozfs.fleet.bench.packages.cli"

#: as many as FreeBSD's repository for amd64 has
PACKAGES = 35000
WANTED = ("nginx", "postgresql17-server", "python312")

#: what choosing must not take with the catalogue in the cache: seconds of one core, and MiB
SECONDS, MEMORY = 3.0, 300.0

#: of the letters of a description; with it a record has the 1.7 kB that one of a real catalogue has
DESCRIPTION = 700


def records(number: int) -> List[Dict[str, Any]]:
    """A catalogue that is always the same: each package needs up to eight of those before it, and two libraries."""
    chance = random.Random(1)
    names = ["lib{0:05d}".format(each) for each in range(number - len(WANTED))]
    found = []
    for place, name in enumerate([*names, *WANTED]):
        below = names[: min(place, 4000)]  # what others need is a small part of all
        needs = sorted(set(chance.choices(below, k=chance.randrange(9)))) if below else []
        if name in WANTED:
            needs = sorted(chance.sample(names[:400], 12))
        annotations = {
            "FreeBSD_version": "1403000",
            "build_timestamp": "2026-01-{0:02d}T01:20:06+0000".format(1 + place % 28),
            "built_by": "poudriere-git-3.4.4",
            "port_git_hash": "{0:040x}".format(chance.getrandbits(160)),
            "ports_top_git_hash": "e0a7a5a2edafbcf1649bbeec0d8904d9de277aec",
        }
        found.append(
            record(
                name,
                version="{0}.{1}_{2}".format(chance.randrange(20), chance.randrange(100), chance.randrange(9)),
                origin="devel/" + name,
                abi="FreeBSD:14:amd64",
                sum="{0:064x}".format(chance.getrandbits(256)),
                pkgsize=chance.randrange(1000, 10000000),
                repopath="All/Hashed/{0}.pkg".format(name),
                comment="a package of the benchmark",
                desc="".join(chance.choices("abcdefghij ", k=DESCRIPTION)),
                deps={need: {"origin": "devel/" + need, "version": "1.0"} for need in needs},
                shlibs_required=["libc.so.7", *(need + ".so.1" for need in needs[:2])],
                shlibs_provided=[name + ".so.1"],
                annotations=annotations,
            )
        )
    return found


def make(folder: Path, number: int) -> None:
    """The repository, signed, with nothing in it but its catalogue."""
    made = Made(folder / "repository")
    made.trust(folder / "keys")
    made.records = records(number)
    made.publish()


def resolve(folder: Path) -> None:
    """Choose, as a build does that moves the lock on. What it took is printed as JSON, without Python's start."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    place = Place("r", str(folder / "repository"), "fingerprints", str(folder / "keys"))
    wish = Wish(WANTED, [place], str(folder / "web.packages.lock.json"), update=True)
    system = System("FreeBSD:14:amd64", "14.3-RELEASE", frozenset(["libc.so.7"]))
    begun = time.monotonic()
    choice = choose.choose(wish, system, (), str(folder / "cache"), lambda text: None, lambda text: None)
    took = time.monotonic() - begun
    chosen = len(choice.after.packages) if choice is not None else 0
    (folder / "took.json").write_text(json.dumps({"seconds": took, "packages": chosen}))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print what it takes; 1 when that is more than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=PACKAGES, help="how many there are (%(default)s)")
    parser.add_argument("--resolve", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.resolve:
        resolve(Path(options.resolve))
        return 0
    failed = False
    with tempfile.TemporaryDirectory(prefix="nanozfs-bench-") as name:
        folder = Path(name)
        make(folder, options.packages)
        size = (folder / "repository" / "data.pkg").stat().st_size
        print("{0} packages, {1:.1f} MB as fetched".format(options.packages, size / 1e6))
        print("| | seconds | of the whole process | memory, MiB | packages |\n|---|---:|---:|---:|---:|")
        for title in ("catalogue read and judged", "catalogue in the cache"):
            command = [sys.executable, "-m", MODULE, "--resolve", name]
            usage = measure.run_all([command], name)
            took = json.loads((folder / "took.json").read_text())
            print(
                "| {0} | {1:.2f} | {2:.2f} | {3:.0f} | {4} |".format(
                    title, took["seconds"], usage.wall, usage.rss, took["packages"]
                )
            )
            failed = took["seconds"] > SECONDS or usage.rss > MEMORY
    if failed:
        print("with the catalogue in the cache it may take {0} s and {1} MiB".format(SECONDS, MEMORY))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
