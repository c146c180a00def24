# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as a page for people: one file with all that it needs, in which what hosts say is nothing but text.

The template is ``page.html.j2``, filled with autoescape. Style and script are allowed by their hashes and nothing
else is (CSP), so what should get past the escaping would not run either.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from typing import Any, Dict, List, Mapping, Sequence, Set, Tuple

import jinja2

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import FAILED, HOST, OK
from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import CONDITIONS, NORMAL
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import backups, holes, plots
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Known, Transaction, Verified
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.history import History
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.hosts import Support
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import duration, moment, plain, size

_HERE = os.path.dirname(os.path.abspath(__file__))

#: what a condition is shown with besides its colour
GLYPHS: Dict[str, str] = {
    "normal": "✓",
    "behind": "↓",
    "trial": "◐",
    "half way": "…",
    "degraded": "!",
    "unknown": "?",
    "recovery": "✚",
    "nonsense": "≠",
    "not asked": "·",
    "failed": "✕",
    "no answer": "∅",
}

#: characters of an image's id that are shown where its whole is elsewhere
SHORT = 12


def _read(name: str) -> str:
    with open(os.path.join(_HERE, name), encoding="utf-8") as file:
        return file.read()


def allowed(text: str) -> str:
    """How a policy allows a style or a script: by its hash (CSP level 3, 2.3.1)."""
    return "'sha256-{0}'".format(base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii"))


class Piece:
    """A part of a bar: its class, where it begins and how long it is (of 100), and what it is."""

    def __init__(self, css: str, start: float, share: float, label: str) -> None:
        self.css, self.start, self.share, self.label = css, round(start, 2), round(share, 2), label


def pieces(parts: Sequence[Tuple[str, float, str]]) -> List[Piece]:
    """A bar of parts: class, amount and name of each."""
    whole = sum(amount for _css, amount, _label in parts) or 1
    found, start = [], 0.0
    for css, amount, label in parts:
        found.append(Piece(css, start, 100 * amount / whole, label))
        start += 100 * amount / whole
    return found


def conditions_of(hosts: Sequence[Host]) -> List[Piece]:
    """The conditions of some hosts as a bar, the worst first."""
    parts = []
    for word in reversed(CONDITIONS):
        count = sum(host.condition == word for host in hosts)
        if count:
            parts.append((plots.css(word), float(count), "{0} {1}".format(count, word)))
    return pieces(parts)


def timeline(transaction: Transaction) -> List[Dict[str, Any]]:
    """The phases of a transaction, when they began, how long they took. Where a clock went back that is no time."""
    found = []
    times = list(transaction.times)
    for number, (phase, at) in enumerate(times):
        following = times[number + 1][1] if number + 1 < len(times) else at
        took = max(0, following - at) if following - at < 10**7 else 0
        last = number + 1 == len(times)
        found.append({"phase": phase, "at": moment(at), "took": "" if last else duration(took), "seconds": took})
    return found


def _phases(found: Sequence[Mapping[str, Any]]) -> List[Piece]:
    """The same as a bar; what took no time at all still has a line."""
    whole = sum(each["seconds"] for each in found)
    if not whole:
        return []
    parts = [
        ("p{0}".format(number % 4), each["seconds"], "{0}: {1}".format(each["phase"], each["took"]))
        for number, each in enumerate(found[:-1])
    ]
    return pieces(parts)


def _bad_on(known: Known) -> Set[str]:
    """The ids of the images that are bad on a host: by its own list, or the one that runs by the fleet's."""
    return {*known.bad, *([known.running.id] if known.running.bad and known.running.id else [])}


def _images(fleet: Fleet, support: Support, today: datetime.date) -> List[Dict[str, Any]]:
    """The images that run, with where they come from and until when there is support; the oldest first."""
    found: Dict[Tuple[str, str, str], Dict[str, Any]] = {}
    bad: Dict[str, int] = {}
    for host in fleet.hosts:
        for ident in _bad_on(host.known) if host.known else ():
            bad[ident] = bad.get(ident, 0) + 1
    for host in fleet.hosts:
        known = host.known
        if known is None or not known.running.name:
            continue
        running = known.running
        image = found.setdefault(
            (running.title, running.id, running.build),
            {"title": running.title, "id": running.id, "build": running.build, "seq": running.seq, "hosts": 0},
        )
        image["hosts"] += 1
        image.setdefault("release", known.origin.release if known.origin else known.release)
        image.setdefault("packages", known.origin.package_count if known.origin else None)
        image.setdefault("method", known.origin.method if known.origin else "")
        until = support.date(known.system)
        image.setdefault("until", until.isoformat() if until else "")
        image.setdefault("past", bool(until and until < today))
        image["bad"] = bad.pop(running.id, 0) if running.id in bad else image.get("bad", 0)
        if running.bad and not running.id:  # not hashed: known by its build
            image["bad"] += 1
    others = [
        {
            "title": "",
            "id": ident,
            "build": "",
            "seq": -1,
            "hosts": 0,
            "bad": count,
            "release": "",
            "until": "",
            "past": False,
        }
        for ident, count in sorted(bad.items())[:100]
    ]
    return sorted(found.values(), key=lambda each: (each["title"].rpartition("-")[0], each["seq"])) + others


def _host(number: int, host: Host, support: Support, today: datetime.date) -> Dict[str, Any]:
    known = host.known
    shown: Dict[str, Any] = {
        "key": "h{0}".format(number),
        "name": plain(host.name),
        "site": host.site,
        "condition": host.condition,
        "css": plots.css(host.condition),
        "glyph": GLYPHS[host.condition],
        "rank": list(CONDITIONS).index(host.condition),
        "findings": list(dict.fromkeys((each.condition, each.reason) for each in host.findings)),
        "remarks": host.remarks,
        "target": host.target,
        "known": known,
        "holes": plain(host.holes.words) if host.holes else "",
    }
    if known is not None:
        shown.update(_facts(known, support, today))
    return shown


def _facts(known: Known, support: Support, today: datetime.date) -> Dict[str, Any]:
    until = support.date(known.system)
    transaction = known.transaction
    phases = timeline(transaction) if transaction else []
    return {
        "release": known.system,
        "until": until.isoformat() if until else "",
        "past": bool(until and until < today),
        "fill": min(100, known.pool.capacity) if known.pool else 0,
        "phases": phases,
        "bar": _phases(phases),
        "took": duration(transaction.seconds) if transaction and transaction.seconds is not None else "",
        "ended": phases[-1]["at"] if phases else "",
    }


def _look(look: Verified, at: float) -> Dict[str, str]:
    """A look into a backup."""
    ago = backups.since(look, at)
    return {
        "result": look.result + (" as a whole host" if look.kind == HOST else ""),
        "at": moment(look.at),
        "ago": "{0} ago".format(duration(ago)) if ago is not None else "",
    }


def _backups(fleet: Fleet, keys: Mapping[str, str]) -> List[Dict[str, Any]]:
    """The backups of all hosts, a line for each backup host; those that somebody should see to come first."""
    found = []
    for host in fleet.hosts:
        if host.known is None:
            continue
        shown: Dict[str, Any] = {"key": keys[host.name], "host": plain(host.name)}
        for each in host.known.backups:
            old = backups.age(each, fleet.at)
            stale = old is None or backups.is_too_old(old, fleet.terms)
            failed = any(look.result == FAILED for look in backups.looks(each))
            ago = backups.looked(each, fleet.at)
            late = ago is None or backups.is_look_too_old(ago, fleet.terms)
            found.append(
                dict(
                    shown,
                    backup=each,
                    result=backups.WORDS.get(each.result, "?"),
                    age=duration(old) if old is not None else "never",
                    took=duration(each.seconds),
                    stale=stale,
                    looks=[_look(look, fleet.at) for look in backups.looks(each)],
                    css="bad" if failed else "warn" if late else "",
                    rank=(failed, stale, each.result != OK, late),
                )
            )
        if fleet.backup_hours and not host.known.backups:
            found.append(dict(shown, backup=None, rank=(False, True, True, True)))
    return sorted(found, key=lambda each: each["rank"], reverse=True)


def _targets(fleet: Fleet, keys: Mapping[str, str]) -> List[Dict[str, Any]]:
    found = []
    for target, hosts in fleet.targets:
        behind = [host for host in hosts if host.behind]
        silent = [host for host in hosts if host.known is None]
        right = len(hosts) - len(behind) - len(silent)
        found.append(
            {
                "target": target,
                "hosts": len(hosts),
                "right": right,
                "bar": pieces(
                    [
                        ("c-normal", right, "{0} run it".format(right)),
                        ("c-behind", len(behind), "{0} behind".format(len(behind))),
                        ("c-no-answer", len(silent), "{0} unknown".format(len(silent))),
                    ]
                ),
                "behind": [(keys[host.name], plain(host.name)) for host in behind[:12]],
                "more": max(0, len(behind) - 12),
                "silent": len(silent),
            }
        )
    return found


def render(fleet: Fleet, past: History, support: Support, title: str) -> str:
    """The page.

    :param past: what the history has of the fleet.
    """
    today = datetime.datetime.fromtimestamp(fleet.at, datetime.timezone.utc).date()
    style, script = _read("page.css"), _read("page.js")
    worst_first = sorted(enumerate(fleet.hosts), key=lambda each: (-list(CONDITIONS).index(each[1].condition), each[0]))
    hosts = [_host(number, host, support, today) for number, host in worst_first]
    keys = {host.name: "h{0}".format(number) for number, host in enumerate(fleet.hosts)}
    names = [host.name for host in fleet.hosts]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(size=size, counted=counted)
    return environment.from_string(_read("page.html.j2")).render(
        title=plain(title),
        made=moment(fleet.at),
        style=style,
        script=script,
        allow_style=allowed(style),
        allow_script=allowed(script),
        hosts=hosts,
        counts=[
            (word, plots.css(word), GLYPHS[word], fleet.counts[word], CONDITIONS[word])
            for word in reversed(CONDITIONS)
            if word in fleet.counts
        ],
        bar=conditions_of(fleet.hosts),
        sites=[
            (site, len(those), sum(host.condition != NORMAL for host in those), conditions_of(those))
            for site, those in fleet.sites.items()
        ],
        targets=_targets(fleet, keys),
        images=_images(fleet, support, today),
        holes=holes.shown(fleet.holes),
        backups=_backups(fleet, keys),
        remarks=fleet.remarks,
        plots=plots.over_time(past, names, fleet.at) + plots.of_upgrades(past, names, fleet.at),
        canvas=plots,
        short=SHORT,
    )
