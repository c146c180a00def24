# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play costs the controller, and how that grows with the fleet; see bench/README.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.bench.fleet import limits, plays, report
from ansible_collections.nanozfs.fleet.bench.image import limits as machine
from ansible_collections.nanozfs.fleet.bench.image.report import ReportError, plotter
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, Site, buy, copy, make_site

#: the host that all others are copies of; it is not measured itself
ORIGINAL = list(ADDRESSES)[-1]

SIZES = (10, 50, 200)


def say(text: str) -> None:
    """A line for who waits."""
    print("{0} {1}".format(time.strftime("%H:%M:%S"), text), file=sys.stderr, flush=True)


def prepare() -> Lab:
    """A lab with one installed host that is kept."""
    lab = Lab()
    site = make_site(lab, len(ADDRESSES))
    buy(lab, [ORIGINAL], site.medium("1.0"))
    site.play("deploy", "-l", ORIGINAL)
    lab.keep(ORIGINAL)
    lab.discard(ORIGINAL)
    return lab


def fill(lab: Lab, count: int) -> Dict[str, float]:
    """So many new hosts with 1.0, in the place of those that are there; what they took.

    :returns: seconds of wall time and MiB of memory for each.
    """
    for host in lab.hosts:
        lab.discard(host.name)
    Site(os.path.join(paths.HOME, "site")).enlist(count)
    start, before = time.monotonic(), limits.here(paths.HOME, 0)["memory"]
    copy(lab, ORIGINAL, list(ADDRESSES)[:count])
    took = before - limits.here(paths.HOME, 0)["memory"]
    return {"start": (time.monotonic() - start) / count, "memory": took / limits.MIB / count}


def run(count: int, upgrade: bool = True, profile: str = "") -> List[plays.Figures]:
    """Measure everything with so many hosts.

    :param upgrade: whether that too. The upgrades of many hosts at once are much work for the lab's machine.
    :param profile: a folder, to be told there where the time goes as well.
    """
    site = Site(os.path.join(paths.HOME, "site"))
    found = []
    for kind in (plays.NOTHING, plays.CHECK, plays.UPGRADE) if upgrade else (plays.NOTHING, plays.CHECK):
        say("{0} hosts: {1}".format(count, kind))
        folder = os.path.join(profile, report.slug(kind)) if profile else ""
        found.append(plays.measure(site, kind, count, profile=folder))
    if not profile:
        say("{0} hosts: bare".format(count))
        found += plays.floors(site, count, found)
    return found


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default="/var/tmp/nanozfs-bench/fleet", help="where results and plots are kept")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="how many hosts, one after the other")
    parser.add_argument("--profile", type=int, default=10, metavar="HOSTS", help="of how many hosts; 0 for none")
    parser.add_argument("--upgrades", type=int, default=max(SIZES), metavar="HOSTS", help="upgrade up to so many")
    parser.add_argument("--load", default="", help="what else the machine is doing, for the report")
    options = parser.parse_args(argv)
    os.makedirs(options.cache, exist_ok=True)
    found = report.Run(time.strftime("%Y-%m-%d %H:%M"), machine.machine(), options.load)
    try:
        lab = prepare()
        if options.profile:
            folder = os.path.join(options.cache, "profile-" + time.strftime("%Y%m%dT%H%M%S"))
            fill(lab, options.profile)
            found.profile.update(report.profiles(folder, options.profile, run(options.profile, profile=folder)))
        for count in map(int, options.sizes.split(",")):
            has = limits.here(paths.HOME, len(ADDRESSES) - 1)
            why = limits.lacking(count, has)
            if why:
                found.left_out.append("{0} hosts cannot be held at once here: {1}".format(count, "; ".join(why)))
                say(found.left_out[-1])
                continue
            say("{0} hosts: making them".format(count))
            found.hosts[count] = fill(lab, count)
            found.figures += run(count, count <= options.upgrades)
            if count > options.upgrades:
                found.left_out.append("{0} hosts were not upgraded: --upgrades {1}".format(count, options.upgrades))
            found.loads[count] = os.getloadavg()[1]
            # what there is, should a larger fleet fail
            report.write(found, options.cache)
        report.write(found, options.cache)
        report.plot(plotter(os.path.dirname(options.cache)), options.cache)
    except (LabError, plays.Failed, ReportError) as error:
        print("bench: {0}".format(error), file=sys.stderr)
        return 1
    print(report.markdown(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
