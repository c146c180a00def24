# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How hosts have ended, as artefacts of a job: small, of one shape, and harmless wherever they are read.

AWX keeps what ``set_stats`` gives with the job, and hands it to the next node of a workflow as an extra variable. So
a host has little room there, and nothing that it says may be a template.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import transaction, words

#: the variable that the next job has them in; none of the collection's own is called so
NAME = "nanozfs"

#: what a host has room for, with its name, as JSON (bytes): a thousand hosts take a quarter of a megabyte
ENTRY = 250

#: characters of what has a fixed place in that
NAME_LENGTH, RESULT_LENGTH, WORD_LENGTH = 96, 16, 24

#: how it stands with a host, where no trial has told its story
DONE, PLANNED, STAGED, GIVEN_UP, SILENT, FAILED, UNFINISHED = (
    "nothing to do",
    "planned",
    "staged",
    "given up",
    "no answer",
    "failed",
    "unfinished",
)

#: a rollback that was kept: to the next job of a workflow that is something else than an upgrade that was
ROLLED_BACK = "rolled back"

#: what would be a template, or longer as JSON than it is
_HARMLESS = str.maketrans({"{": "(", "}": ")", '"': "'", "\\": "/"})

Result = Mapping[str, Any]


def harmless(text: object, most: int) -> str:
    """Somebody's words as ASCII on one line, which is no template and as long as JSON as it is here.

    :param most: characters; what is longer ends with a tilde.
    """
    line = printable(" ".join(str(text).split())).translate(_HARMLESS).encode("ascii", "replace").decode("ascii")
    return line if len(line) <= most else line[: max(0, most - 1)] + "~"[:most]


def key_of(host: str) -> str:
    """The name of a host; one that is long or odd is still another one than those of others."""
    shown = harmless(host, NAME_LENGTH)
    if shown == host:
        return host
    digest = hashlib.sha256(host.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return "{0}~{1}".format(harmless(host, NAME_LENGTH - len(digest) - 1), digest)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _how(results: Sequence[Result], check: bool) -> Tuple[str, str]:
    """How it stands with a host, in a word and in a sentence."""
    if not results:
        return FAILED, "it was not looked at; the output of the job says why"
    last = results[-1]
    story, journal = _mapping(last.get("story")), _mapping(last.get("journal"))
    if story.get("result"):
        back = story["result"] == words.COMMITTED and journal.get("kind") == journals.ROLLBACK
        return ROLLED_BACK if back else str(story["result"]), str(story.get("what", ""))
    said = str(last.get("says") or last.get("msg") or "")
    if last.get("unreachable"):
        return SILENT, said
    if last.get("failed"):
        return words.NOT_BEGUN if len(results) == 1 else FAILED, said
    if last.get("step") == transaction.DONE:
        return DONE, said
    if not check and journal.get("phase") == journals.WRITTEN and not journal.get("lease"):
        return STAGED, "the image is in the other slice; an upgrade tries it"
    if "running" in last:
        return PLANNED if check else words.NOT_BEGUN, said
    if "says" in last:
        return GIVEN_UP if last.get("changed") else DONE, said
    return UNFINISHED, "its play ended before its trial; the output of the job says why"


def _journey(results: Sequence[Result]) -> Dict[str, Any]:
    """From what to what, and in which transaction: as a look has it, then as the journal of what was begun has it."""
    found: Dict[str, Any] = {}
    for each in results:
        journal = _mapping(each.get("journal"))
        if "running" in each:  # the journal that a look returns is that of the transaction before
            found.update({"from": each["running"], "to": each.get("target")})
        else:
            found.update({key: journal[key] for key in ("from", "to", "txn") if journal.get(key)})
    return found


def entry(host: str, results: Sequence[Result], check: bool = False) -> Dict[str, str]:
    """How it stands with a host at the end of a play.

    :param results: those of the tasks that it has come to, in their order: the look first.
    :param check: nothing was to be done.
    :returns: always the same keys, so that a later one replaces an earlier one where Ansible merges them.
    """
    # a gate that lets a host through says nothing of it
    said: List[Result] = [each for each in results if not each.get("skipped") and each.get("begin") is not True]
    result, what = _how(said, check)
    journey = _journey(said)
    found = {
        "result": harmless(result, RESULT_LENGTH),
        "what": "",
        "from": harmless(_mapping(journey.get("from")).get("version") or "", WORD_LENGTH),
        "to": harmless(_mapping(journey.get("to")).get("version") or "", WORD_LENGTH),
        "txn": harmless(journey.get("txn") or "", WORD_LENGTH),
    }
    found["what"] = harmless(what, ENTRY - len(json.dumps({key_of(host): found})))
    return found


def stats(hosts: Mapping[str, Sequence[Result]], check: bool = False) -> Dict[str, Any]:
    """What a task returns as ``ansible_stats`` for artefacts by host, added to those of other tasks.

    :param hosts: by host, what :func:`entry` takes.
    """
    entries = {key_of(host): entry(host, results, check) for host, results in hosts.items()}
    return {"data": {NAME: entries} if entries else {}, "per_host": False, "aggregate": True}
