# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How a host is, in numbers for Prometheus: text that the textfile collector of node_exporter reads.

Source: the exposition format (https://prometheus.io/docs/instrumenting/exposition_formats/), text version 0.0.4. What
cannot be told has no sample; what is one of several words is one sample for each of them, of which one is 1.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import RESULTS, VERIFICATIONS
from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import BEHIND, CONDITIONS, SILENT, summary
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import preflight
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import PHASES

PREFIX = "nanozfs_"

#: characters of a label's value; names and versions are short, and what is not stays out of a time series
LONGEST = 120

#: health of a pool. Source: ``zpool_state_to_name()`` in ``libzfs_pool.c``, and ``zpool_prop_get()`` there (SUSPENDED)
HEALTH = ("ONLINE", "DEGRADED", "FAULTED", "OFFLINE", "REMOVED", "UNAVAIL", "SUSPENDED")

#: what a host can tell of itself: not that it gives no answer, nor what it should run
CONDITIONS_HERE = tuple(word for word in CONDITIONS if word not in SILENT and word != BEHIND)

STATES = (preflight.NORMAL, preflight.RECOVERY, preflight.TRIAL, preflight.UNKNOWN)

Labels = Mapping[str, str]


class Metric(NamedTuple):
    """A metric with its samples; all of them are gauges.

    :param name: without the prefix.
    """

    name: str
    help: str
    samples: Sequence[Tuple[Labels, float]]


def _one(name: str, words: str, value: Optional[float], labels: Optional[Labels] = None) -> Metric:
    """A metric with one sample, or none where its value cannot be told."""
    return Metric(name, words, [] if value is None else [(labels or {}, value)])


def _choice(
    name: str, words: str, label: str, choices: Sequence[str], value: Optional[str], labels: Optional[Labels] = None
) -> Metric:
    """One of several words. One that is none of the choices is a sample of its own."""
    if value is None:
        return Metric(name, words, [])
    every = list(choices) + ([value] if value not in choices else [])
    return Metric(name, words, [(dict(labels or {}, **{label: each}), float(each == value)) for each in every])


def metrics(status: Mapping[str, Any], now: float) -> List[Metric]:
    """All that there is to say of a host.

    :param status: :func:`status.collect`.
    :param now: seconds since the epoch.
    """
    host = status["host"]
    running = host["running"] or {}
    write = status["write"]
    unsaved = status["unsaved"]
    image = {key: str(running.get(key) or "") for key in ("name", "version", "build", "slice")}
    return [
        _one("info", "What runs.", 1, dict(image, release=str(host["release"] or ""))),
        _choice(
            "condition",
            "The condition of the host; behind what it should run is known to the controller only.",
            "condition",
            CONDITIONS_HERE,
            summary(host)[0],
        ),
        _choice("state", "The state that the host was started in.", "state", STATES, host["state"]),
        *_transaction(host["journal"]),
        *_bad(host),
        _one("trial_seconds_left", "Until a trial goes back by itself.", status["seconds_left"]),
        _one("write_ratio", "How far the write of an image is.", _ratio(write.get("percent")) if write else None),
        *_pool(host, status["hung"]),
        *_disks(host["disks"]),
        *_backups(host["backups"]),
        _one(
            "failed_states", "Failed states that are kept on the pool.", len(host["failed"]) if host["pool"] else None
        ),
        _one(
            "revived",
            "Whether this start was the first from a medium that was new to the pool.",
            int(status["revived"]),
        ),
        _one("unsaved_files", "Files in /etc that a restart would take.", _changed(unsaved)),
        _one("stale_files", "Files in /cfg made against another image.", _many(status["stale"])),
        _one("warnings", "Warnings of nanozfs status.", len(host["warnings"])),
        _one("attention", "Whether nanozfs status says that somebody should do something.", int(status["attention"])),
        _one("metrics_timestamp_seconds", "When these metrics were made.", int(now)),
    ]


def _ratio(percent: Any) -> float:
    return round(float(percent or 0) / 100, 4)


def _changed(unsaved: Optional[Sequence[Mapping[str, Any]]]) -> Optional[int]:
    return None if unsaved is None else sum(each["kind"] == "changed" for each in unsaved)


def _many(found: Optional[Sequence[str]]) -> Optional[int]:
    return None if found is None else len(found)


def _transaction(journal: Optional[Mapping[str, Any]]) -> List[Metric]:
    if journal is None:
        return []
    labels = {
        "txn": journal["txn"] or "",
        "kind": journal["kind"] or "",
        "from": (journal["from"] or {}).get("version", ""),
        "to": (journal["to"] or {}).get("version", ""),
    }
    began = {each["phase"]: each["at"] for each in journal["times"]}
    return [
        _choice("transaction_phase", "The phase of the last transaction.", "phase", PHASES, journal["phase"]),
        Metric("transaction_info", "The last transaction.", [(labels, 1.0)] if journal["txn"] else []),
        Metric(
            "transaction_phase_timestamp_seconds",
            "When the last transaction came to a phase, by the host's clock.",
            [({"phase": phase}, float(at)) for phase, at in began.items()],
        ),
        _one(
            "transaction_fetched_bytes",
            "What the image of the last transaction cost.",
            journal["fetched"] if journal["txn"] else None,
        ),
    ]


def _bad(host: Mapping[str, Any]) -> List[Metric]:
    """Its own list counts, and what runs although the fleet has it on its list."""
    own, running = (host["journal"] or {}).get("bad"), host["running"] or {}
    fleets = bool(running.get("bad")) and running.get("id") not in (own or ())
    if own is None and not fleets:
        return []
    help_text = "Images on the host's list of bad ones, and the one that runs if it is on the fleet's."
    return [_one("bad_images", help_text, len(own or ()) + int(fleets))]


def _pool(host: Mapping[str, Any], hung: bool) -> List[Metric]:
    pool: Dict[str, Any] = host["pool"] or {}
    name = {"pool": pool.get("name", "")}
    return [
        _one("pool_imported", "Whether the system pool is imported.", int(bool(pool))),
        _one(
            "pool_import_hung", "Whether an import hangs in the kernel; nothing else is known of pools then.", int(hung)
        ),
        _choice("pool_health", "The health of the system pool.", "health", HEALTH, pool.get("health"), name),
        _one("pool_size_bytes", "Size of the system pool.", pool.get("size"), name),
        _one("pool_allocated_bytes", "What of the system pool is in use.", pool.get("allocated"), name),
        _one("pool_capacity_ratio", "How full the system pool is.", _ratio(pool["capacity"]) if pool else None, name),
        _one("pool_readonly", "Whether the system pool is read-only.", int(pool["readonly"]) if pool else None, name),
    ]


def _disks(disks: Optional[Mapping[str, Any]]) -> List[Metric]:
    found = disks or {"errors": []}
    samples = [
        ({"disk": str(each["name"]), "kind": kind}, float(each[kind]))
        for each in found["errors"]
        for kind in ("read", "write", "checksum")
    ]
    return [
        _one("disks", "Data disks of the system pool that are there.", found.get("found")),
        _one("disks_expected", "Data disks that the system pool should have.", found.get("expected")),
        Metric("disk_errors", "Errors of a disk since they were last cleared; disks without have no sample.", samples),
    ]


def _backups(backups: Mapping[str, Mapping[str, Any]]) -> List[Metric]:
    """The last backup by each backup host. What was never so has no sample."""
    known = {label: each for label, each in sorted(backups.items()) if each["result"]}

    def samples(key: str, of: Mapping[str, Mapping[str, Any]] = known) -> List[Tuple[Labels, float]]:
        return [({"backup_host": label}, float(each[key])) for label, each in of.items()]

    good = {label: each for label, each in known.items() if each["good"]}
    looked = [
        ({"backup_host": label, "kind": look["kind"]}, look)
        for label, each in known.items()
        for look in (each["verified"], each["machine"])
        if look
    ]
    results = [
        ({"backup_host": label, "result": word}, float(each["result"] == word))
        for label, each in known.items()
        for word in RESULTS
    ]
    looks = [
        (dict(labels, result=word), float(look["result"] == word)) for labels, look in looked for word in VERIFICATIONS
    ]
    return [
        Metric("backup_last_success_timestamp_seconds", "When the last good backup began.", samples("good", good)),
        Metric("backup_last_timestamp_seconds", "When the last backup ended.", samples("ended")),
        Metric("backup_last_result", "How the last backup went.", results),
        Metric("backup_duration_seconds", "How long the last backup took.", samples("seconds")),
        Metric("backup_bytes", "What the last backup holds.", samples("bytes")),
        Metric("backup_sent_bytes", "What of the last backup came over the line.", samples("sent")),
        Metric("backup_running", "Whether a backup host reads now.", samples("running", dict(sorted(backups.items())))),
        Metric("backup_verified_result", "How the last look into a backup went, at files or at a whole host.", looks),
        Metric(
            "backup_verified_timestamp_seconds",
            "When that was.",
            [(labels, float(look["at"])) for labels, look in looked],
        ),
    ]


def _escaped(value: str) -> str:
    """A label's value: backslash, quote and line end are escaped, and nothing that a terminal would obey is left."""
    text = printable(value)[:LONGEST]
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _sample(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join('{0}="{1}"'.format(key, _escaped(str(each))) for key, each in sorted(labels.items()))
    number = "{0:d}".format(int(value)) if value == int(value) else repr(float(value))
    return "{0}{1} {2}".format(name, "{" + pairs + "}" if pairs else "", number)


def render(found: Sequence[Metric]) -> str:
    """The text; a metric without a sample is not mentioned."""
    lines: List[str] = []
    for each in found:
        if each.samples:
            name = PREFIX + each.name
            lines += ["# HELP {0} {1}".format(name, each.help), "# TYPE {0} gauge".format(name)]
            lines += [_sample(name, labels, value) for labels, value in each.samples]
    return "\n".join(lines) + "\n"
