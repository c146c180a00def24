# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a fleet as text."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file

TITLES = ("HOST", "STATE", "RUNS", "FROM", "OTHER", "POOL", "JOURNAL")

#: characters of one cell or remark; what a host says has no limit of its own
LONGEST = 300

#: states of a host that could not be asked, or gave no sensible answer
SILENT = NO_ANSWER, FAILED, NOT_ASKED, NONSENSE = "no answer", "failed", "not asked", "nonsense"

#: remarks of one host that are shown
REMARKS = 20


def plain(text: object) -> str:
    """What a host says, on one line, without what a terminal would obey, and not for ever."""
    line = " ".join(str(text).split())
    shown = printable(line[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def answer(result: object) -> Mapping[str, Any]:
    """What is known of a host, from the result of ``host_info`` for it.

    :param result: as it was registered; none where nothing was.
    :returns: what ``host_info`` says of it; for a host that could not be asked only ``state``, one of :data:`SILENT`,
        and ``reason``.
    """
    if not isinstance(result, Mapping):
        return {"state": NOT_ASKED, "reason": "it was not looked at in this run"}
    if result.get("unreachable"):
        return {"state": NO_ANSWER, "reason": plain(result.get("msg") or "it cannot be reached")}
    host = result.get("host")
    if result.get("failed") or not isinstance(host, Mapping):
        return {"state": FAILED, "reason": plain(result.get("msg") or "it could not be looked at")}
    try:
        table({"": host}, packages=True)
        known: Mapping[str, Any] = json.loads(json.dumps(host))
    except Exception as problem:
        # a module of another version, or a host that lies, in whatever way: the others have their rows
        return {"state": NONSENSE, "reason": "what it says of itself cannot be read: {0}".format(plain(repr(problem)))}
    return known


def nothing_told(hosts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there are hosts, and not one of them could be asked.

    :param hosts: what :func:`answer` says, by host; a host need not say its state.
    """
    return bool(hosts) and all(host.get("state") in SILENT for host in hosts.values())


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Write a report to a file, which is the old one or the new one at any time.

    :raises FleetError: when it cannot be written.
    """
    try:
        replace_file(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    except OSError as error:
        raise FleetError("the report cannot be written to {0}: {1}".format(path, error.strerror))


def _version(image: Optional[Mapping[str, Any]]) -> str:
    return "{0}-{1}".format(image["name"], image["version"]) if image and image.get("name") else "-"


def _pool(host: Mapping[str, Any]) -> str:
    if "pool" not in host:
        return "-"
    pool = host["pool"]
    if pool:
        return "{0} {1} {2}%".format(pool["name"], pool["health"], pool["capacity"])
    seen = ", ".join("{0} {1}".format(each["name"], each["state"]) for each in host.get("importable") or [])
    return "none" + (" ({0})".format(seen) if seen else "")


def _other(host: Mapping[str, Any]) -> str:
    medium = host.get("medium") or {}
    label = medium.get("inactive")
    if not label:
        return "-"
    slice_ = medium["slices"][label]
    flags = ",".join(slice_["flags"])
    return "{0} {1}{2}".format(label, _version(slice_["image"]), " [{0}]".format(flags) if flags else "")


def remarks(host: Mapping[str, Any]) -> List[str]:
    """What there is to say about a host besides its line in the table."""
    warnings = host.get("warnings") or []
    if not isinstance(warnings, list):
        raise TypeError("its warnings are no list")
    found: List[str] = [str(each) for each in warnings]
    if host.get("reason"):
        found.append(host["reason"])
    journal = host.get("journal") or {}
    if journal.get("revived"):
        found.append("revived by a new medium at {0}".format(journal["revived"]))
    if journal.get("reason"):
        found.append("last taken back: {0}".format(journal["reason"]))
    kept = len(host.get("failed") or [])
    if kept:
        found.append("{0} failed state{1} kept".format(kept, "" if kept == 1 else "s"))
    if len(found) > REMARKS:
        found[REMARKS:] = ["and {0} more".format(len(found) - REMARKS)]
    return found


def _journal(host: Mapping[str, Any]) -> str:
    journal = host.get("journal")
    if not journal:
        return "-"
    return journal["phase"] + (" " + journal["txn"] if journal.get("txn") else "")


def row(name: str, host: Mapping[str, Any]) -> List[str]:
    """One line of the table, as cells."""
    running = host.get("running") or {}
    cells = (
        name,
        host.get("state", "-"),
        _version(running),
        running.get("slice", "-"),
        _other(host),
        _pool(host),
        _journal(host),
    )
    return [plain(cell) for cell in cells]


def _counted(count: int, noun: str) -> str:
    return "{0} {1}{2}".format(count, noun, "" if count == 1 else "s")


def _origin(origin: Optional[Mapping[str, Any]]) -> str:
    """Where an image comes from, in a few words."""
    if not origin:
        return "the image does not say where it comes from"
    parts = ["{0} from {1}".format(origin["release"] or "a FreeBSD of unknown release", origin["method"])]
    if origin["revision"]:
        parts.append(origin["revision"])
    parts.append(_counted(origin["package_count"], "package"))
    if origin["options"]:
        parts.append(_counted(len(origin["options"]), "option"))
    return ", ".join(parts)


def origins(hosts: Mapping[str, Mapping[str, Any]], packages: bool) -> List[str]:
    """Where the images come from that run in the fleet: a line for each of them.

    :param packages: with a line for each of its packages, where the hosts were asked for them.
    """
    images: Dict[Tuple[str, str, str], Tuple[Mapping[str, Any], List[str]]] = {}
    for name, host in sorted(hosts.items()):
        running = host.get("running") or {}
        if running.get("name") and "origin" in running:
            key = (_version(running), str(running.get("build", "")), json.dumps(running["origin"], sort_keys=True))
            images.setdefault(key, (running, []))[1].append(name)
    versions = [version for version, _build in {(version, build) for version, build, _origin in images}]
    builds = [(version, build) for version, build, _origin in images]
    lines: List[str] = []
    for (version, build, _text), (image, names) in sorted(images.items(), key=lambda each: each[0]):
        # one version in two builds is what somebody should see; and so is one build that two hosts tell differently
        title = "{0} ({1})".format(version, build) if versions.count(version) > 1 else version
        if builds.count((version, build)) > 1:
            title += " as {0} says".format(", ".join(names))
        lines.append(plain("{0}: {1}".format(title, _origin(image["origin"]))))
        if packages:
            known = (image["origin"] or {}).get("packages") or []
            lines += ["  " + plain("{0} {1}".format(each["name"], each["version"])) for each in known]
    return lines


def totals(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """How many hosts there are, and how many of them in which state."""
    counts = Counter(plain(host.get("state", "-")) for host in hosts.values())
    states = ", ".join("{0} {1}".format(count, state) for state, count in sorted(counts.items()))
    return "{0}: {1}".format(_counted(len(hosts), "host"), states)


def table(hosts: Mapping[str, Mapping[str, Any]], packages: bool = False) -> List[str]:
    """The state of hosts as lines of text: a table, a line for each remark, one for each image that runs, and totals.

    :param hosts: what :func:`answer` says, by host.
    :param packages: list the packages of the images.
    """
    rows = [list(TITLES)] + [row(name, hosts[name]) for name in sorted(hosts)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows]
    lines += ["{0}: {1}".format(name, plain(text)) for name in sorted(hosts) for text in remarks(hosts[name])]
    return [*lines, *origins(hosts, packages), totals(hosts)]
