# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is shown, as streams of zfs send: for a backup host that keeps it in a pool of its own.

It asks for one dataset of what is shown at a time: all of it, what has changed since one of its bookmarks, or the rest
of what it has a token for. Nothing of what it says becomes an argument but a token, and that is judged by what zfs
itself finds in it: the snapshot must be one of those that are shown.

Sources: zfs-send(8), zfs-bookmark(8). ``zfs_send_resume_impl_cb_impl()`` of OpenZFS's ``libzfs_sendrecv.c``: what a
token names is looked for by its guid, in the whole pool, and with ``-nv`` its contents are printed before (as
``nvlist_print()`` does it). A stream without ``-p``, ``-R`` and ``-h`` carries no properties: what a dataset is on the
backup host is said there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import Exposing, Exposure
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.facts import Part
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: as encrypted data is, and only that: the backup host needs no key
RAW = ("-w",)

#: of all else: blocks as they are on the disks here. They must be the same each time: an incremental stream with other
#: blocks than the one before is refused (zfs-send(8), -L). Not -e: what that sends cannot be received into an encrypted
#: dataset (``dmu_recv_begin_check()`` of OpenZFS's ``dmu_recv.c``), and the pool of a backup host may well be encrypted
PLAIN = ("-L", "-c")

#: what a token may hold (``get_receive_resume_token_impl()`` of ``dsl_dataset.c``); the rest is of redacted streams and
#: of what a host has received itself, and neither is anything that is shown
_FIELDS = {"fromguid", "object", "offset", "bytes", "toguid", "toname"}
_FIELDS |= {"largeblockok", "embedok", "compressok", "rawok"}

#: version, checksum, length, and what is in it (``zfs_send_resume_token_to_nvlist()``)
#: zfs makes room for as much as the length says before it looks at the rest
_TOKEN = re.compile(r"1-[0-9a-f]{1,16}-[0-9a-f]{1,5}-[0-9a-f]{2,20000}\Z")
_GUID = re.compile(r"\d{1,20}\Z")
_FIELD = re.compile(r"\s+(\w+) = (.*)\Z")

_NOTHING = "nothing was sent"


@dataclass(frozen=True)
class Wanted:
    """What a backup host wants.

    :param dataset: which dataset, as ``datasets`` names it.
    :param base: guid of the snapshot that it has already; empty for none.
    :param token: ``receive_resume_token`` of what it has a part of; goes before *base*.
    """

    dataset: str
    base: str = ""
    token: str = ""


def _wrong(what: str) -> Refused:
    return Refused("what is asked for makes no sense ({0})".format(what), safe=_NOTHING)


def wanted(text: str) -> Wanted:
    """What came from a backup host, as JSON.

    :raises Refused: when it makes no sense.
    """
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not set(said) <= {"dataset", "base", "token"}:
        raise _wrong("no JSON of dataset, base and token")
    values = {key: said.get(key, "") for key in ("dataset", "base", "token")}
    if not all(isinstance(value, str) for value in values.values()) or not values["dataset"]:
        raise _wrong("dataset")
    if values["base"] and not _GUID.match(values["base"]):
        raise _wrong("base")
    if values["token"] and not _TOKEN.match(values["token"]):
        raise _wrong("token")
    return Wanted(**values)


def listed(exposing: Exposing, shown: Exposure) -> Dict[str, Any]:
    """What can be sent: each dataset with its snapshot's guid, whether it is encrypted (and comes so), and the guids of
    the snapshots that an incremental stream can begin at.
    """
    marks = exposing.marks(shown.pool)
    guids = _guids(exposing, shown)
    found = []
    for part in shown.datasets:
        found.append(
            {
                "dataset": part.dataset,
                "path": part.path,
                "guid": guids.get(part.dataset, ""),
                "raw": _is_encrypted(exposing, part),
                "bases": [each.guid for each in marks if each.dataset == part.dataset],
            }
        )
    return {"tag": shown.tag, "datasets": found}


def _guids(exposing: Exposing, shown: Exposure) -> Dict[str, str]:
    """The guids of the snapshots that are shown, by dataset."""
    every = exposing.zfs.snapshots(shown.pool, recursive=True)
    return {each.dataset: each.guid for each in every if each.tag == shown.tag}


def _is_encrypted(exposing: Exposing, part: Part) -> bool:
    return exposing.zfs.value(part.dataset, "encryption") not in ("off", "-")


def command(exposing: Exposing, shown: Exposure, asked: Wanted) -> List[str]:
    """The arguments of the zfs that sends.

    :raises Refused: when it is nothing that is shown to this backup host, or no stream can begin where it wants.
    """
    part: Optional[Part] = next((each for each in shown.datasets if each.dataset == asked.dataset), None)
    if part is None:
        raise Refused("{0!r} is not among what is shown".format(printable(asked.dataset)[:200]), safe=_NOTHING)
    if asked.token:
        _judge(exposing, shown, part, asked.token)
        return ["zfs", "send", "-t", asked.token]
    argv = ["zfs", "send", *(RAW if _is_encrypted(exposing, part) else PLAIN)]
    if asked.base:
        marks = [each for each in exposing.marks(shown.pool) if each.dataset == part.dataset]
        mark = next((each for each in marks if each.guid == asked.base), None)
        if mark is None:
            raise Refused(
                "{0} has no bookmark of the snapshot {1}".format(part.dataset, asked.base),
                safe=_NOTHING,
                todo="ask for all of it",
            )
        argv += ["-i", mark.name]
    return [*argv, "{0}@{1}".format(part.dataset, shown.tag)]


def _judge(exposing: Exposing, shown: Exposure, part: Part, token: str) -> None:
    """See that a token is of the snapshot of a dataset that is shown.

    :raises Refused: when it is not; then nobody can go on with what it is for.
    """
    gone = Refused(
        "what was begun cannot be gone on with: its token is not of the snapshot of {0} that is shown".format(
            part.dataset
        ),
        safe=_NOTHING,
        todo="drop what has come (`zfs receive -A`), and ask anew",
    )
    result = exposing.runner.query(["zfs", "send", "-nvP", "-t", token])
    if result.rc != 0:
        raise gone
    pairs = [(match.group(1), match.group(2)) for match in map(_FIELD.match, result.out.split("\n")) if match]
    fields: Dict[str, str] = dict(pairs)
    try:
        guid = str(int(fields.get("toguid", ""), 16))
    except ValueError:
        raise gone
    name = "{0}@{1}".format(part.dataset, shown.tag)
    # a name in a token that was made up could hold line ends, and what looks like another field
    if len(pairs) != len(fields) or not set(fields) <= _FIELDS or fields.get("toname") != name:
        raise gone
    # what is encrypted must not go out in the clear because a token forgot to say so, nor the other way round
    if guid != _guids(exposing, shown).get(part.dataset) or ("rawok" in fields) != _is_encrypted(exposing, part):
        raise gone
