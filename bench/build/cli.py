# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What building an image costs, next to other tools of the field in the same run; see bench/README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.bench.build import ours, tree
from ansible_collections.nanozfs.fleet.bench.image import measure
from ansible_collections.nanozfs.fleet.bench.image.measure import Usage

OURS = "ansible_collections.nanozfs.fleet.bench.build.ours"


@dataclass(frozen=True)
class Contender:
    """One way to make something.

    :param group: those of a group make the same kind of thing; the first of it is what the others are compared with.
    :param commands: what is run, one after the other, in an empty folder; ``{archive}`` and ``{tree}`` are what it is
        made from, ``{image}`` a finished image.
    """

    group: str
    title: str
    commands: Sequence[Sequence[str]]


def contenders() -> List[Contender]:
    """All of them."""
    makefs = ["makefs", "-t", "ffs", "-B", "little"]
    makefs += ["-o", "version=1,bsize=32768,fsize=4096,minfree=0,optimization=space,density=16384"]
    makefs += ["-s", str(ours.SIZE), "plain", "unpacked"]
    module = [sys.executable, "-m", OURS]
    return [
        Contender("image", "ours: plan, digests, makefs", [[*module, "image", "{archive}", "."]]),
        Contender(
            "image",
            "tar -x, plain makefs",
            [["mkdir", "unpacked"], ["tar", "-x", "-f", "{archive}", "-C", "unpacked"], makefs],
        ),
        Contender("release", "ours: all of a build, signed", [[*module, "publish", "{archive}", "."]]),
        Contender(
            "release", "xz -6 -T2 of a finished image", [["sh", "-c", 'xz -6 -T2 -c "$1" > i.xz', "sh", "{image}"]]
        ),
        Contender(
            "release",
            "tar and xz -6 -T2 of the tree",
            [["sh", "-c", 'tar -c -C "$1" . | xz -6 -T2 > t.xz', "sh", "{tree}"]],
        ),
        Contender(
            "release",
            "mksquashfs, xz",
            [["mksquashfs", "{tree}", "s.img", "-comp", "xz", "-processors", "2", "-no-progress", "-quiet"]],
        ),
    ]


@dataclass(frozen=True)
class Result:
    """How one did. ``failed`` says why there are no figures. Sizes say nothing, because the content is made up."""

    group: str
    title: str
    usage: Usage
    failed: str = ""


def compete(contender: Contender, given: Dict[str, str], key: str, cache: str) -> Result:
    """Run one in an empty folder and measure it."""
    program = contender.commands[-1][0]
    if shutil.which(program) is None:
        return Result(contender.group, contender.title, Usage(), failed="{0} is not installed".format(program))
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as folder:
        for name in ("key", "key.pub"):
            shutil.copy(os.path.join(key, name), folder)
        known = {"{" + name + "}": path for name, path in given.items()}
        commands = [[known.get(word, word) for word in argv] for argv in contender.commands]
        try:
            usage = measure.run_all(commands, folder)
        except measure.Failed as error:
            return Result(contender.group, contender.title, Usage(), failed=str(error))
        return Result(contender.group, contender.title, usage)


def prepared(cache: str) -> Dict[str, str]:
    """What contenders start with; made when it is not there yet."""
    given = {name: os.path.join(cache, name) for name in ("archive", "tree", "image", "key")}
    if not os.path.exists(given["archive"]):
        tree.make(given["archive"])
    if not os.path.exists(given["tree"]):
        os.mkdir(given["tree"] + ".part")
        subprocess.run(["tar", "-x", "-f", given["archive"], "-C", given["tree"] + ".part"], check=True)
        os.rename(given["tree"] + ".part", given["tree"])
    os.makedirs(given["key"], exist_ok=True)
    if not os.path.exists(os.path.join(given["key"], "key")):
        target = os.path.join(given["key"], "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", target], check=True)
    if not os.path.exists(given["image"]):
        with tempfile.TemporaryDirectory(prefix="image-", dir=cache) as folder:
            for name in ("key", "key.pub"):
                shutil.copy(os.path.join(given["key"], name), folder)
            ours.main(["image", given["archive"], folder])
            os.rename(os.path.join(folder, "image"), given["image"])
    return given


def table(results: Sequence[Result]) -> List[str]:
    """The figures in Markdown, each with its ratio to ours of the same group."""
    lines = [
        "| | tool | wall time, s | CPU, s | memory, MiB | written, MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    first: Dict[str, Result] = {}
    for result in results:
        base = first.setdefault(result.group, result)
        if result.failed:
            lines.append("| {0} | {1} | {2} | | | |".format(result.group, result.title, result.failed))
            continue
        pairs = [(each.usage.wall, each.usage.cpu, each.usage.rss, each.usage.written / 1e6) for each in (result, base)]
        cells = [
            "{0:,.{1}f}".format(value, digits)
            + ("" if result is base or not reference else " ({0:.2g}\u00d7)".format(value / reference))
            for value, reference, digits in zip(*pairs, (1, 1, 0, 0))
        ]
        lines.append("| {0} | {1} | {2} |".format(result.group, result.title, " | ".join(cells)))
    return lines


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default="/var/tmp/nanozfs-bench/build", help="where everything is kept (5 GB)")
    parser.add_argument("--only", choices=["image", "release"], help="only this group")
    options = parser.parse_args(argv)
    os.makedirs(options.cache, exist_ok=True)
    given = prepared(options.cache)
    results = []
    for contender in contenders():
        if options.only in (None, contender.group):
            print("running: " + contender.title, file=sys.stderr, flush=True)
            results.append(compete(contender, given, given["key"], options.cache))
    with open(os.path.join(options.cache, "results.json"), "w", encoding="ascii") as file:
        json.dump([asdict(each) for each in results], file, indent=1)
    print("\n".join(table(results)))
    return int(any(result.failed for result in results if result.title.startswith("ours")))


if __name__ == "__main__":
    sys.exit(main())
