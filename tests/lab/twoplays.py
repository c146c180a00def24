# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two plays at once against one host, the second begun at random moments of the first: ``twoplays.py ROUNDS [SEED]``.

Whatever the moment is, it must end as if one of the two had been refused: the host runs the version, its data is
there, and nobody holds a lease. Plays on the lab that ``tools/lab site`` has made; takes web-1.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from typing import Any, Dict, List, Tuple

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.site import Site
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe

HOST = "web-1"

#: what the play that is refused says
REFUSED = (
    "another play is at work on this host",
    "was restarted since it was looked at",
    "has lost its lease",
    "this host is not fit for an upgrade",  # it was restarting, or on trial
    "gives no answer",  # it was restarting: the look ends there
    ": unreachable: ",
)


def rounds(site: Site, count: int, chance: random.Random, longest: float) -> List[Tuple[float, str]]:
    """Play them; the moments, and how each has ended.

    :param longest: seconds that one play takes alone: the second one is begun within them.
    :raises NotAsItShouldBe: when it did not end as if one had been refused.
    """
    ends = []
    for number in range(count):
        marker = "round {0}".format(number)
        site.ssh(HOST, "echo '{0}' >> /var/db/marker; echo '{0}' >> /var/log/marker".format(marker))
        offset = chance.uniform(0, longest)
        arguments = ["-l", HOST, "-e", "upgrade_version=1.1"]
        first = site.start("upgrade", *arguments)
        time.sleep(offset)
        second = site.start("upgrade", *arguments)
        said = [process.communicate()[0] for process in (first, second)]
        codes = [first.returncode, second.returncode]
        ends.append((offset, judge(site, marker, codes, said)))
        site.play("rollback", "-l", HOST, "-e", "rollback_data=restore")
        sys.stdout.write("{0:3} at {1:5.1f} s: {2}\n".format(number + 1, *ends[-1]))
        sys.stdout.flush()
    return ends


def judge(site: Site, marker: str, codes: List[int], said: List[str]) -> str:
    """How a round has ended.

    :raises NotAsItShouldBe: when that is not as if one had been refused.
    """
    host: Dict[str, Any] = site.look(HOST)[HOST]
    found = (host["running"]["version"], host["state"], host["journal"]["phase"], host["journal"]["lease"])
    problems = []
    if found != ("1.1", "normal", "committed", None):
        problems.append("the host is {0}".format(found))
    if marker not in site.ssh(HOST, "cat /var/db/marker"):
        problems.append("its data is gone")
    if sorted(codes)[0] != 0:
        problems.append("both plays failed")
    for code, text in zip(codes, said):
        plain = re.sub(r"\s+", " ", text)
        if code != 0 and not any(words in plain for words in REFUSED):
            problems.append("the other play failed with something else")
    if problems:
        raise NotAsItShouldBe("; ".join(problems) + "\n\n" + "\n\n".join(said))
    return "both had their way, one after the other" if codes == [0, 0] else "one was refused"


def main(arguments: List[str]) -> int:
    """Entry point."""
    count = int(arguments[0])
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 16)
    site = Site(os.path.join(paths.HOME, "site"))
    site.play("deploy", "-l", HOST)
    began = time.monotonic()
    site.play("upgrade", "-l", HOST, "-e", "upgrade_version=1.1")
    longest = time.monotonic() - began
    site.play("rollback", "-l", HOST, "-e", "rollback_data=restore")
    sys.stdout.write("one play alone took {0:.0f} s; seed {1}\n".format(longest, seed))
    try:
        ends = rounds(site, count, random.Random(seed), longest)
    except (NotAsItShouldBe, subprocess.SubprocessError) as problem:
        sys.stderr.write("FAILED: {0}\n".format(problem))
        return 1
    refused = sum(end == "one was refused" for _offset, end in ends)
    sys.stdout.write("{0} rounds as they should be; one play was refused in {1}\n".format(len(ends), refused))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
