# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How a host is, in plain words, with one next step; for people at the console, over ssh and on the telephone.

Nothing here fails because a part of the host is broken: what cannot be told is said.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import codes
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import WIDTH, wrapped
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import records
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.drift import STALE, overrides
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import spelled
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import PUBLIC_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places, notes, unsaved
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv, sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._host import STARTED, import_hung, survey
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job as jobs
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, RECOVERY, TRIAL

#: how many files of /etc are named before it is only said how many there are
_NAMED = 8

_BOOTED = re.compile(r"sec = (\d+)")

Status = Dict[str, Any]


def _dig(report: Any, *keys: str) -> Any:
    """A value deep in the report, ``None`` where anything on the way is missing."""
    for key in keys:
        report = report.get(key) if isinstance(report, dict) else None
    return report


def seconds_left(runner: Runner, host: Dict[str, Any], now: float) -> Optional[int]:
    """Until the trial ends by itself, about; ``None`` where that cannot be told.

    The dead-man timer begins with the early hook, some seconds after the kernel.

    :param now: seconds since the epoch.
    """
    match = _BOOTED.search(sysctl(runner, "kern.boottime"))
    timeout = _dig(host, "journal", "timeout")
    if host["state"] != TRIAL or match is None or not timeout:
        return None
    return max(0, int(timeout - (now - int(match.group(1)))))


def fingerprint(places: Places) -> str:
    """Of the host's ssh key, as ssh(1) shows it to whoever meets the host first; empty where there is none.

    Source: sshkey_fingerprint of OpenSSH's ``sshkey.c``; sshd(8), the format of public keys.
    """
    try:
        with open(os.path.join(places.etc, PUBLIC_KEY), encoding="ascii") as file:
            digest = hashlib.sha256(base64.b64decode(file.read().split()[1], validate=True)).digest()
    except (OSError, ValueError, IndexError):
        return ""
    return "SHA256:{0}".format(base64.b64encode(digest).decode("ascii").rstrip("="))


def written(label: Optional[str]) -> Optional[Dict[str, Any]]:
    """How far the write is that is at work on a slice; ``None`` where none is.

    :param label: of the slice.
    """
    if not label:
        return None
    job = jobs.Job(label)
    if not job.under_way():
        return None
    return dict(job.read() or {})


def notice(status: Status) -> str:
    """What somebody who logs in should know without having asked; empty for nothing."""
    journal = status["host"]["journal"] or {}
    if status["host"]["state"] != NORMAL or journal.get("phase") != journals.REVERTED:
        return ""
    return "The last {0} of this host, to {1}, was taken back. `nanozfs status` says more.".format(
        journal.get("kind") or "upgrade", _dig(journal, "to", "version") or "another system"
    )


def collect(runner: Runner, places: Places, now: float, verify: bool = False) -> Status:
    """Everything that there is to say.

    :param now: seconds since the epoch.
    :param verify: hash the slices, which reads all of them.
    """
    host = survey(runner, digest=verify)
    status: Status = {
        "host": host,
        "hung": import_hung(runner),
        "revived": kenv(runner, "nanozfs.revived") == "1",
        "seconds_left": seconds_left(runner, host, now),
        "unsaved": None,
        "stale": None,
        "ssh_key": fingerprint(places),
        "write": written(_dig(host, "medium", "inactive")),
        "backups": _backup_words(host, now),
    }
    if host["state"] in (NORMAL, TRIAL):
        changes, problem = unsaved(places)
        status["unsaved"] = [each._asdict() for each in changes] if changes is not None else None
        if problem:
            host["warnings"].append("what of /etc is not saved cannot be told: {0}".format(problem))
        try:
            status["stale"] = [each.path for each in overrides(places) if each.kind == STALE]
        except FleetError as error:
            host["warnings"].append("what /cfg hides of the image cannot be told: {0}".format(error.what))
    status["notes"] = notes(places)
    if status["notes"]:  # all of them, and not only the first
        host["warnings"] = [each for each in host["warnings"] if not each.startswith(STARTED)]
    number = codes.HANGS if status["hung"] else codes.reason_number(host["reason"])
    disks = host["disks"] or {"found": 0, "expected": 0}
    place = _dig(host, "running", "slice") or kenv(runner, "nanozfs.slice")
    status["code"] = codes.encode(codes.Facts(host["state"], place, disks["found"], disks["expected"], number))
    status["attention"], status["next"] = next_step(status)
    return status


def _half_committed(host: Dict[str, Any]) -> bool:
    target = _dig(host, "journal", "to", "build")
    return (
        _dig(host, "journal", "phase") == journals.COMMITTING
        and target is not None
        and target == _dig(host, "running", "build")
    )


def next_step(status: Status) -> Tuple[bool, str]:
    """Whether the host needs somebody's attention, and what to do next: one thing, the most urgent."""
    host = status["host"]
    journal = host["journal"] or {}
    disks = host["disks"] or {"missing": []}
    if status["hung"]:
        return (
            True,
            "Type `shutdown -r now`. If it hangs again: switch off, look at the cables of the disks, call for help.",
        )
    if host["state"] == RECOVERY:
        if disks["missing"]:
            return (
                True,
                "Switch off, look at power and cables of the disks, switch on. If that is no help: `nanozfs recovery`.",
            )
        return True, "Type `nanozfs recovery` and choose 1."
    if host["state"] == TRIAL:
        left = status["seconds_left"]
        until = "in {0} seconds".format(left) if left is not None else "soon"
        return (
            True,
            "If all is well: `nanozfs commit`. If not: `nanozfs revert`. Without either it goes back {0}.".format(
                until
            ),
        )
    if host["state"] != NORMAL:
        return True, "Find out how this host was started: its early boot hook has not said in which state it is."
    if _half_committed(host):
        return True, "Type `nanozfs reconcile`: a commit was interrupted."
    if _dig(host, "pool", "health") != "ONLINE":
        return True, "Repair the pool: `zpool status` says what is wrong with it."
    if status.get("write") is not None:
        return False, "Let the write go on; the play that began it, or the next one, takes it from there."
    if journal.get("phase") not in (None,) + journals.CLOSED:
        return True, "Run the playbook again that was interrupted, or give it up with the playbook abandon."
    if _dig(host, "medium", "corrupt"):
        return True, "Type `gpart recover {0}`: one of its partition tables is damaged.".format(host["medium"]["disk"])
    if host["warnings"]:
        return True, "See to the warnings."
    if status["notes"]:
        return True, "See to what the last start could not do; /etc/nanozfs.notes has it as well."
    if journal.get("phase") == journals.REVERTED:
        return (
            False,
            "The last {0} was taken back, see UPGRADE; the host works on as before. What comes next is for whoever "
            "upgrades the fleet.".format(journal.get("kind") or "upgrade"),
        )
    if any(each["kind"] == "changed" for each in status["unsaved"] or ()):
        return False, "Type `nanozfs diff`, and `nanozfs save` to keep the changes in /etc over a restart."
    return False, "Nothing needs to be done."


# what people see

_STATES = {
    NORMAL: "NORMAL: it runs on its own data",
    RECOVERY: "RECOVERY: it has not got its data",
    TRIAL: "TRIAL: a new system is being tried",
}


_NETWORKS = {
    "own": "this host's own, as the medium remembers it",
    "image": "the image's: nobody answered on this host's own",
}


def image_words(image: Optional[Dict[str, Any]]) -> str:
    """An image by name and version."""
    return "{0}-{1}".format(image["name"], image["version"]) if image and "version" in image else "an unknown system"


def _disk_words(status: Status) -> List[str]:
    disks = status["host"]["disks"]
    if status["hung"]:
        return ["cannot be told: the import of the pool hangs"]
    if disks is None:
        return ["cannot be told: no pool of this host was found"]
    lines = ["{found} of {expected} data disks found".format(**disks)]
    return lines + ["missing: {0}".format(each) for each in disks["missing"]]


def _pool_words(host: Dict[str, Any]) -> str:
    pool = host["pool"]
    if pool is None:
        return "not imported"
    return "{0} is {1}{2}, {3} % full".format(
        pool["name"], pool["health"], " and read-only" if pool["readonly"] else "", pool["capacity"]
    )


def _journal_words(host: Dict[str, Any]) -> str:
    journal = host["journal"]
    if journal is None:
        kept = host["remembered"] or {}
        if kept.get("phase", journals.IDLE) in journals.CLOSED:
            return ""
        words = "the OS medium remembers: {0} {1} from {2} to {3}, phase {4}"
        return words.format(*(kept.get(key) for key in ("kind", "txn", "from_version", "to_version", "phase")))
    if journal["phase"] == journals.REVERTED:
        return "{0} to {1} was taken back".format(journal["kind"] or "the upgrade", _dig(journal, "to", "version"))
    if journal["phase"] in journals.CLOSED:
        return "none open ({0})".format(journal["phase"])
    return "{0} {1} from {2} to {3}, phase {4}".format(
        journal["kind"],
        journal["txn"],
        _dig(journal, "from", "version"),
        _dig(journal, "to", "version"),
        journal["phase"],
    )


def _write_words(status: Status) -> str:
    write = status.get("write")
    if write is None:
        return ""
    return "{0} is being written to the other slice, {1} % so far".format(
        printable(str(write.get("describe") or "an image")), write.get("percent") or 0
    )


def _other_slice(host: Dict[str, Any]) -> Tuple[str, str]:
    """What the other slice is to the host, and what it holds. The way back only if the journal says so."""
    other = _dig(host, "medium", "inactive")
    if not other:
        return "OTHER", ""
    place = host["medium"]["slices"][other]
    before = "from" if _dig(host, "journal", "phase") == journals.TRIAL else "fallback"
    build = _dig(host, "journal", before, "build")
    words = "{0} in slice {1}".format(image_words(place["image"]) if place["image"] else place["problem"], other)
    return ("FALLBACK" if build and build == _dig(place, "image", "build") else "OTHER"), words


def _unsaved_words(status: Status) -> str:
    files = [each["path"] for each in status["unsaved"] or () if each["kind"] == "changed"]
    if not files:
        return ""
    return "{0} in /etc changed and not saved: {1}".format(len(files), first_of(files, _NAMED))


def _stale_words(status: Status) -> str:
    files = [spelled(each) for each in status["stale"] or ()]
    if not files:
        return ""
    return "{0} in /cfg made against another image: {1}".format(counted(len(files), "file"), first_of(files, _NAMED))


def _backup_words(host: Dict[str, Any], now: float) -> List[str]:
    """How the last backup by each backup host went; ages are by the host's own clock."""
    lines = []
    for label, each in sorted(host["backups"].items()):
        words = []
        if each["running"]:
            words.append("is read now")
        if each["result"]:
            words.append("the last one {0} {1}".format(_RESULTS[each["result"]], _ago(now - each["begun"])))
            if each["result"] != records.OK:
                words.append(each["why"])
                words.append("the last good one " + (_ago(now - each["good"]) if each["good"] else "was never"))
        if words:
            lines.append("{0}: {1}".format(label, ", ".join(word for word in words if word)))
    return lines


_RESULTS = {records.OK: "good", records.PARTIAL: "not whole", records.FAILED: "failed"}


def _ago(seconds: float) -> str:
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return "{0} ago".format(counted(int(seconds // length), unit))
    return "just now" if seconds > -60 else "in the future"


def render(status: Status) -> List[str]:
    """The status as lines for a terminal of 80 columns."""
    host = status["host"]
    running = host["running"]
    state = _STATES.get(host["state"], "UNKNOWN")
    if status["seconds_left"] is not None:
        state += ", about {0} seconds left".format(status["seconds_left"])
    version = "{0} from slice {1}".format(image_words(running), running["slice"]) if running else "cannot be told"
    rows: List[Tuple[str, str]] = [
        ("HOST", host["hostname"] or "has no name"),
        ("STATE", state),
        ("REASON", host["reason"]),
        ("NETWORK", _NETWORKS.get(host["network"], "")),
        ("VERSION", version),
    ]
    rows += [("DISKS" if number == 0 else "", words) for number, words in enumerate(_disk_words(status))]
    rows += [
        ("POOL", _pool_words(host)),
        ("UPGRADE", _journal_words(host)),
        ("WRITE", _write_words(status)),
        ("", _dig(host, "journal", "reason") or ""),
        _other_slice(host),
        *(("BACKUP" if number == 0 else "", each) for number, each in enumerate(status["backups"])),
        ("NOTE", "this medium was new to this host: it revived itself" if status["revived"] else ""),
        ("UNSAVED", _unsaved_words(status)),
        ("STALE", _stale_words(status)),
        ("SSH KEY", status["ssh_key"]),
    ]
    rows += [("START", each) for each in status["notes"]]
    rows += [("WARNING", each) for each in host["warnings"]]
    rows += [("CODE", codes.spaced(status["code"])), ("NEXT", status["next"])]
    rule = "=" * WIDTH
    lines = [rule]
    for label, text in rows:
        if text:
            lines += wrapped(text, "  {0:<9}  ".format(label), " " * 13)
    return lines + [rule]
