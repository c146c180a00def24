# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit is of: the images that are published, and what hosts run, each system once.

A published image says what is in it in the list of its files, which the manifest has the digest of; a host reads the
same out of its slice. Whoever says nothing is no sound system, but one of which nothing is known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    MAX_SMALL_FILE,
    Manifest,
    parse_index,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository, open_repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import INDEX, check_named, manifest_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol, look, match, result, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import Subject
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audit, Audited
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import sbom
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.compare import subject_of as listed
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import natural, write_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.holes import subject_of

Say = Callable[[str], None]

#: what a row is called whose hosts say nothing
SILENT = "(not known)"


@dataclass
class System:
    """A system that is audited.

    :param ident: the id of the published image; empty for what is only known from hosts.
    :param name: and ``version``, of that.
    :param hosts: that run it; ``None`` where none were asked.
    """

    subject: Subject
    build: str = ""
    ident: str = ""
    name: str = ""
    version: str = ""
    hosts: Optional[List[str]] = field(default=None)


def _published(repository: Repository, ident: str, name: str) -> System:
    """An image, by its list; one without is one of which nothing is known."""
    manifest: Optional[Manifest] = None
    try:
        manifest = parse_manifest(repository.fetch(manifest_name(ident), MAX_SMALL_FILE))
        check_named(manifest, ident, ident, None)
        origin = listed(repository, manifest).origin
        title = "{0}-{1}".format(manifest.name, manifest.version)
        if origin is None:
            subject = Subject(title, (), doubts=("it does not say where it comes from",))
        else:
            subject = match.subject_of(title, origin)
    except FleetError as error:
        title = "{0}-{1}".format(manifest.name, manifest.version) if manifest else name
        subject = Subject(title, (), doubts=(plain(error.what),))
    if manifest is None:
        return System(subject, ident=ident)
    return System(subject, manifest.build, ident, manifest.name, manifest.version)


def unknown(title: str, why: str) -> System:
    """Something of which nothing is known, and why."""
    return System(Subject(title, (), doubts=(plain(why),)))


def published(where: str) -> List[System]:
    """The images in a repository, in the order of its index.

    :param where: its folder or address.
    :raises FleetError: when it has no index.
    """
    repository = open_repository(where)
    index = parse_index(repository.fetch(INDEX, MAX_SMALL_FILE))
    names = [plain("{0}-{1}".format(each.get("name", "?"), each.get("version", "?"))) for each in index]
    return [_published(repository, str(each["id"]), name) for each, name in zip(index, names)]


def add_hosts(systems: List[System], results: Mapping[str, object]) -> None:
    """Add what hosts run: to the image that it is, or as a system of its own.

    :param results: of ``host_info`` with packages, by host; none for one that was not looked at.
    """
    for each in systems:
        each.hosts = []
    silent: Dict[str, List[str]] = {}
    for name in sorted(results, key=natural):
        answer = facts.answer(results[name])
        if answer.known is None:
            silent.setdefault("{0}: {1}".format(answer.silent, answer.reason), []).append(name)
            continue
        subject, build = subject_of(answer.known), answer.known.running.build
        same = (each for each in systems if each.build == build and _is_same(each.subject, subject))
        found = next(same, None)
        if found is None:
            found = System(subject, build, hosts=[])
            systems.append(found)
        found.hosts = [*(found.hosts or []), name]
    for reason, names in silent.items():
        systems.append(System(Subject(SILENT, (), doubts=(reason,)), hosts=names))


def _is_same(one: Subject, other: Subject) -> bool:
    """Whether what a host runs is that image, so that its row says nothing less than the host's own would."""
    same = (one.title, set(one.things)) == (other.title, set(other.things))
    return same and (bool(one.doubts) or not other.doubts)


def run(systems: Sequence[System], order: look.Order, now: float, say: Say) -> Audit:
    """Compare systems with the list of known holes.

    :param now: in seconds since the epoch.
    :param say: told what is being done.
    :raises FleetError: when there is no list that may be believed, or nothing to compare.
    """
    if not systems:
        raise Refused(
            "there is nothing to audit: no image is published, and no host was looked at",
            safe="nothing was found to be sound",
            todo="say where images are published (audit_repository), or leave out the limit",
        )
    loaded = source.load(order.terms, match.wanted([each.subject for each in systems]), now, say)
    subjects: List[Tuple[Subject, Optional[Sequence[str]]]] = [(each.subject, each.hosts) for each in systems]
    return result.audit(subjects, loaded, order.accepted, eol.table(), look.day_of(now))


def write_vex(folder: str, systems: Sequence[System], audit: Audit, at: float) -> List[str]:
    """Write the known holes of each published image to a file of its own, for scanners.

    :returns: the paths; there is none of an image of which nothing is known, which would say that it has no holes.
    :raises FleetError: when it cannot be written.
    """
    sbom.check_available()
    paths = []
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise FleetError(
            "audit_vex: {0} cannot be made: {1}".format(folder, error.strerror), todo="name a folder that can be"
        )
    found: Mapping[int, Audited] = dict(enumerate(audit.systems))
    for number, each in enumerate(systems):
        if each.ident and each.subject.things:
            path = os.path.join(folder, each.ident + ".vex.cdx.json")
            write_file(path, sbom.vex((each.name, each.version), each.ident, found[number], at), "the VEX")
            paths.append(path)
    return paths


def returned(audit: Audit) -> Dict[str, Any]:
    """What a task returns."""
    return dict(result.as_mapping(audit))
