# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts should run, as the repository's signed statements say, and which are behind."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import BEHIND, Finding
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys, keys_of_lines
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Limits, open_repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import shown_address
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Known
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import plain

#: how long a report waits for a repository (seconds); it is of use without
LIMITS = Limits(timeout=10.0, retries=1, deadline=30.0)


class Wish(NamedTuple):
    """What a host is to run, by its variables.

    :param wanted: ``ring:stable``, a version, an id, ``latest``; empty where nothing says it.
    :param name: of the image; empty for that of the one that runs.
    :param repository: empty where none is known.
    """

    wanted: str = ""
    name: str = ""
    repository: str = ""


@dataclass(frozen=True)
class Target:
    """The image that a wish means, or why that cannot be told.

    :param wish: with the name of the image.
    """

    wish: Wish
    id: str = ""
    build: str = ""
    version: str = ""
    seq: int = 0
    signer: str = ""
    problem: str = ""

    @property
    def title(self) -> str:
        """What it is, in words."""
        return plain("{0} of {1}".format(self.wish.wanted, self.wish.name) if self.wish.name else self.wish.wanted)


Find = Callable[[Wish], Target]


def finder(
    runner: Runner, signers: Sequence[str], revoked: Sequence[str], now: Callable[[], float] = time.time
) -> Find:
    """How to find out what a wish means: once for each, verified as a host does it.

    :param signers: whom to trust, lines of ALLOWED SIGNERS (ssh-keygen(1)).
    """
    known: Dict[Wish, Target] = {}

    def find(wish: Wish) -> Target:
        if wish not in known:
            try:
                known[wish] = _ask(runner, wish, signers, revoked, now())
            except FleetError as error:
                known[wish] = Target(wish, problem=plain(error.what))
        return known[wish]

    return find


def _ask(runner: Runner, wish: Wish, signers: Sequence[str], revoked: Sequence[str], now: float) -> Target:
    if not wish.repository:
        return Target(wish, problem="no repository is known (nanozfs_repository, upgrade_repository)")
    if not signers:
        return Target(wish, problem="whose signatures count is not known (image_signers, report_signers)")
    with tempfile.TemporaryDirectory(prefix="nanozfs-report-") as folder:
        keys: Keys = keys_of_lines(signers, revoked, folder)
        repository = open_repository(wish.repository, LIMITS)
        try:
            found = find_image(runner, repository, wish.wanted, keys, wish.name or None, now)
        except OSError as error:
            raise FleetError("{0}: {1}".format(shown_address(wish.repository), error.strerror or error))
    image = found.manifest
    return Target(wish, image.id, image.build, plain(image.version), image.seq, plain(found.signer))


def target_of(wish: Wish, known: Optional[Known], find: Find) -> Optional[Target]:
    """What a host should run; ``None`` where nothing says it.

    :param known: what the host says of itself.
    """
    if not wish.wanted:
        return None
    name = wish.name or (known.running.name if known else "")
    if not name:
        return Target(wish, problem="the name of its image is not known") if known else None
    return find(wish._replace(name=name))


def judge(known: Known, target: Optional[Target]) -> Optional[Finding]:
    """Whether a host is behind what it should run."""
    if target is None or target.problem or not known.running.name:
        return None
    running = known.running
    same = running.id == target.id if running.id else running.build == target.build
    if same:
        return None
    wanted = "{0} is {1}".format(target.title, target.version)
    if target.wish.wanted == target.version:
        wanted = "it should run {0}".format(target.version)
    words = "{0}, and it runs {1}".format(wanted, running.version)
    if target.id in known.bad:
        words += "; {0} is on its list of bad images".format(target.version)
    elif running.seq > target.seq:
        words += ", which is newer"
    elif running.version == target.version:
        words += " of another build"
    return Finding(BEHIND, plain(words))


def problems(targets: Iterable[Optional[Target]]) -> Sequence[str]:
    """What could not be found out, a sentence for each repository."""
    found: Dict[Tuple[str, str], str] = {}
    for each in targets:
        if each is not None and each.problem:
            place = shown_address(each.wish.repository) if each.wish.repository else ""
            found.setdefault((place, each.problem), each.title)
    return [
        plain("what hosts should run ({0}) cannot be told: {1}".format(title, problem))
        for (_place, problem), title in sorted(found.items())
    ]
