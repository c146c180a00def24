# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark from the command line; ``bench/image/run --help`` says what it can do."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.bench.image import dataset, limits, measure, report, server
from ansible_collections.nanozfs.fleet.bench.image.contender import Contender, Pair, target
from ansible_collections.nanozfs.fleet.bench.image.peers import PEERS
from ansible_collections.nanozfs.fleet.bench.image.report import Result, Run
from ansible_collections.nanozfs.fleet.bench.image.scratch import scratch
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

OURS = __package__ + ".ours"
PAIRS = {"release": "b.img", "patch": "c.img"}


class BenchError(FleetError):
    """The benchmark cannot be run."""


def say(text: str) -> None:
    """Tell what is done; the report goes elsewhere."""
    sys.stderr.write("{0} {1}\n".format(time.strftime("%H:%M:%S"), text))
    sys.stderr.flush()


def everybody() -> List[Contender]:
    """All contenders, ours first. Without ours.py there are only the others."""
    ours: List[Contender] = []
    if importlib.util.find_spec(OURS) is not None:
        ours = list(importlib.import_module(OURS).CONTENDERS)
    return ours + list(PEERS)


def chosen(only: Optional[str], slow: bool) -> List[Contender]:
    """Those that take part.

    :raises BenchError: when a name is unknown.
    """
    everyone = everybody()
    if only is None:
        return [each for each in everyone if slow or not each.slow]
    names = only.split(",")
    unknown = set(names) - {each.name for each in everyone}
    if unknown:
        raise BenchError(
            "there is no contender {0}".format(", ".join(sorted(unknown))),
            todo="there are: {0}".format(", ".join(each.name for each in everyone)),
        )
    return [each for each in everyone if each.name in names]


def install(packages: Sequence[str]) -> None:
    """Install Debian packages that are missing. None of them starts a service."""
    state = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}"]
    missing = [
        name
        for name in packages
        if not subprocess.run(state + [name], capture_output=True, check=False).stdout.startswith(b"ii")
    ]
    if not missing:
        return
    say("installing " + " ".join(missing))
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
    argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=quiet)


def version_of(packages: Sequence[str]) -> str:
    """The versions of Debian packages, the first of which is what a contender is about."""
    if not packages:
        return ""
    argv = ["dpkg-query", "--show", "--showformat=${Package} ${Version}", packages[0]]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def size_of(folder: str) -> int:
    """Bytes of all files in a folder, links followed."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _below, names in os.walk(folder) for name in names)


def empty(folder: str) -> str:
    """Make a folder, without what was in it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def publish(each: Contender, pair: Pair, folder: str, version: str) -> Dict[str, Any]:
    """Have a contender publish, unless it has already done the very same.

    :returns: what it took, the bytes that it made, when it was, and whether it was in an earlier run.
    :raises Failed: when it fails.
    """
    words = [each.recipe(), version, pair.old_id, pair.new_id, repr(each.publish(pair, "FOLDER"))]
    key = hashlib.sha256("\n".join(words).encode("utf-8")).hexdigest()
    record = folder + ".json"
    if os.path.exists(record):
        with open(record, encoding="utf-8") as file:
            found: Dict[str, Any] = json.load(file)
        if found["key"] == key:
            return dict(found, kept=True)
        os.unlink(record)
    say("{0}, {1}: publishing".format(each.title, pair.name))
    usage = measure.run_all(each.publish(pair, empty(folder)), folder)
    found = {"key": key, "usage": usage.__dict__, "size": size_of(folder), "at": time.strftime("%Y-%m-%d %H:%M")}
    with open(record + ".partial", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(record + ".partial", record)
    return dict(found, kept=False)


def updates(each: Contender, pair: Pair, web: server.Server, folder: str, work: str, times: int) -> Dict[str, Any]:
    """The update of several that took the least CPU time: what else runs on a machine can only add to it."""
    found = []
    for _time in range(times):
        with scratch(work):
            found.append(update(each, pair, web, folder, work))
    return min(found, key=lambda figures: figures["client"].cpu)


def update(each: Contender, pair: Pair, web: server.Server, folder: str, work: str) -> Dict[str, Any]:
    """Have a client update, and compare what it made.

    :raises Failed: when it fails, or made something else.
    """
    for argv in each.prepare(pair, folder, work):
        measure.run(argv, work)
    dataset.sha256_of(pair.old)  # what a host runs from is in its cache
    os.sync()
    url = web.url + os.path.basename(folder) + "/"
    say("{0}, {1}: updating".format(each.title, pair.name))
    web.reset()
    client = measure.run_all(each.client(pair, url, work), work)
    requests, received = web.totals()
    made = target(work)
    if not os.path.exists(made):
        raise measure.Failed("it made no image")
    if dataset.sha256_of(made) != pair.new_id:
        raise measure.Failed("it made another image than the one that was published")
    staged = max(client.written - os.stat(made).st_blocks * 512, 0)
    return {"client": client, "requests": requests, "received": received, "staged": staged}


def compete(each: Contender, pair: Pair, web: server.Server, cache: str, times: int) -> Result:
    """One contender with one pair, whether it succeeds or not."""
    name = "{0}-{1}".format(each.name, pair.name)
    folder, work = os.path.join(cache, "published", name), os.path.join(cache, "work")
    version = version_of(each.needs)
    base = Result(each.name, each.title, pair.name, each.note, version)
    try:
        done = publish(each, pair, folder, version)
        figures = updates(each, pair, web, folder, work, times)
    except (measure.Failed, FleetError) as error:
        say("{0}, {1}: FAILED: {2}".format(each.title, pair.name, error))
        return replace(base, failed=str(error))
    return replace(
        base,
        publisher=measure.Usage(**done["usage"]),
        published=done["size"],
        published_at=done["at"],
        kept=done["kept"],
        **figures,
    )


def pair_of(name: str, cache: str) -> Pair:
    """An update by its name."""
    old, new = os.path.join(cache, "a.img"), os.path.join(cache, PAIRS[name])
    return Pair(name, old, new, dataset.sha256_of(old), dataset.sha256_of(new))


def bench(contenders: Sequence[Contender], pairs: Sequence[str], cache: str, times: int) -> Run:
    """Measure everything."""
    say("measuring the machine")
    rates = dict(limits.disk_rates(cache), sha256=limits.sha256_rate())
    floor = measure.run(["true"], cache)
    os.makedirs(os.path.join(cache, "published"), exist_ok=True)
    results = []
    with server.Server(server.unpack(cache), os.path.join(cache, "published"), os.path.join(cache, "web")) as web:
        for name in pairs:
            pair = pair_of(name, cache)
            results += [compete(each, pair, web, cache, times) for each in contenders]
    with open(os.path.join(cache, "STATS.txt"), encoding="utf-8") as file:
        text = file.read()
    return Run(time.strftime("%Y-%m-%d %H:%M"), limits.machine(), text, rates, floor, times, results)


def write(run: Run, out: str, cache: str) -> str:
    """Write the report, the figures and the plot; returns the path of the report."""
    os.makedirs(out, exist_ok=True)
    figures, text = os.path.join(out, "results.json"), os.path.join(out, "results.md")
    with open(figures, "w", encoding="utf-8") as file:
        json.dump(run.as_json(), file, indent=1)
        file.write("\n")
    with open(text, "w", encoding="utf-8") as file:
        file.write(report.markdown(run))
    report.plot(report.plotter(cache), figures, out)
    return text


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="bench/image/run",
        description="Compares ways to update a 1 GiB image: what is fetched, and what it costs hosts and publishers.",
    )
    parser.add_argument("--only", metavar="NAMES", help="contenders, with commas between (see --list)")
    parser.add_argument("--pair", choices=[*PAIRS, "both"], default="both", help="which update (%(default)s)")
    parser.add_argument(
        "--repeat", metavar="N", type=int, default=1, help="updates of each, the one that took least counts"
    )
    parser.add_argument("--slow", action="store_true", help="the slow contenders as well")
    parser.add_argument("--out", metavar="DIR", help="folder for the results (results in the cache)")
    parser.add_argument("--cache", default=dataset.CACHE, help="folder for all else, 20 GB (%(default)s)")
    parser.add_argument("--relock", action="store_true", help="choose the packages of the images anew")
    parser.add_argument("--list", action="store_true", help="say which contenders there are")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; the report is what is printed."""
    options = parse(argv)
    cache = os.path.abspath(options.cache)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # mounts and nginx are taken away
    try:
        contenders = chosen(options.only, options.slow or options.list)
        if options.list:
            for each in contenders:
                sys.stdout.write("{0:12}{1}{2}\n".format(each.name, each.title, " (--slow)" if each.slow else ""))
            return 0
        if os.geteuid() != 0:
            raise BenchError("the benchmark mounts file systems of its own", todo="run it as root")
        os.makedirs(cache, exist_ok=True)
        with open(os.path.join(cache, "lock"), "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BenchError("the benchmark already runs in {0}".format(cache))
            install(sorted({name for each in contenders for name in each.needs}))
            dataset.prepare(cache, dataset.relock() if options.relock else dataset.read_lock())
            pairs = list(PAIRS) if options.pair == "both" else [options.pair]
            run = bench(contenders, pairs, cache, max(options.repeat, 1))
            text = write(run, os.path.abspath(options.out or os.path.join(cache, "results")), cache)
    except FleetError as error:
        sys.stderr.write("{0}\n".format(error))
        return 1
    with open(text, encoding="utf-8") as file:
        sys.stdout.write(file.read())
    say("written to {0}".format(os.path.dirname(text)))
    return 1 if any(each.failed for each in run.results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
