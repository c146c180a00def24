# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a host that came back in a virtual machine (``machine.py``) is the one of the set.

The controller asks the copy for what it is and what it has (``_restore/arrived.py``), and hands that on; it is compared
here with the set, as the sample of a host is (``verify.py``). What a copy says is what the host would say: text that
nobody here believes, and of which there is no end.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import HOST
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed, unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import root, sample, send, sets, verify
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.gate import digests_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.machine import SAFE, Machines
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import Outcome, Vault, told
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import FAILED, OK, write_known
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.when import DAY

#: How many files of a sample may be gone whatever it has: what is cleared at a start (cleanvar and cleartmp of rc.d),
#: and what newsyslog(8) has turned over
SOME_GONE = 2

#: bytes of what the restored host says of its files, of which it is asked for 2000 at most
MOST_SAID = 4 << 20

#: characters of why something failed
_WHY = 500

#: later than anything
_NEVER = 1 << 70


class Back(NamedTuple):
    """What came back.

    :param files: that are those of the set, with their bytes.
    :param changed: files that the copy has changed or taken away since it came up.
    :param unread: files that were too large to be read.
    """

    files: int = 0
    bytes: int = 0
    changed: int = 0
    unread: int = 0
    wrong: Tuple[verify.Wrong, ...] = ()


class Judge:
    """Compares what came back in the machines of a backup host."""

    def __init__(self, vault: Vault, machines: Machines) -> None:
        self._vault = vault
        self._machines = machines

    def ask(self, name: str, look: verify.Look) -> Dict[str, Any]:
        """Which files the restored host is to tell of.

        :raises FleetError: when the set is gone.
        """
        self._machines.host(name)
        seed = sample.seed_of(look.seed)
        with self._drawn(name, seed, look) as (_chosen, drawn):
            return {"seed": seed, "packed": packed(verify.asked(drawn.members, look))}

    def end(self, name: str, said: Mapping[str, Any], look: verify.Look) -> Outcome:
        """Take the machine away, and keep how it went.

        :param said: by the controller: ``restored`` (the host was put in place there), ``failed`` (what has failed
            after all), ``silent`` (why the restored host could not be asked), ``checks`` (how much of it was tried),
            ``problems`` (what it is not), and with ``seed`` what it says of its files (``packed``).
        :raises FleetError: when nothing was verified.
        """
        host, state = self._machines.host(name), self._machines.state(name)
        began, took = _began(state), int(self._vault.now()) - _began(state)
        failed = self._stopped(name, said, state)
        chosen = self._chosen(name)
        back = Back(wrong=(verify.Wrong("", failed),)) if failed else self._compared(name, said, look, began)
        found = verify.Verified(
            name,
            chosen.pull.id,
            int(self._vault.now()),
            FAILED if back.wrong else OK,
            str(said.get("seed") or ""),
            back.files,
            back.bytes,
            back.changed,
            back.unread,
            len(back.wrong),
            back.wrong[: verify.KEPT],
        )
        known = self._vault.known(host)
        write_known(self._vault.places.host_state(name), replace(known, machine=found.as_dict()))
        untold = told(lambda: self._vault.gate(host).verified(verify.for_host(found, HOST)))
        notes = [*filter(None, (known.broken, untold))]
        if not failed and str(said.get("checks") or 0) == "0":  # a number may be a text where it comes from a template
            notes.append("no service, port or command of it was tried, as none is named (upgrade_services and so on)")
        version = printable(str(said.get("version") or ""))[:80]
        outcome = Outcome(name, found.result, words(found, chosen, version, took, notes), verified=found.as_dict())
        self._vault.log(outcome)
        return outcome

    def _chosen(self, name: str) -> sets.Set:
        """The set that a machine is for."""
        return send.choose(self._vault.fleet, name, str(self._machines.state(name).get("set")))

    def _stopped(self, name: str, said: Mapping[str, Any], state: Mapping[str, Any]) -> str:
        """End a machine; why what was restored in it did not come up, and its last words. Empty where it did.

        :raises FleetError: when it was not even restored.
        """
        failed = _line(said.get("failed"))
        console = self._last_words(name, state) if failed else ""
        ended = printable(str(state.get("why") or ""))
        self._machines.stop(name)
        if said.get("restored") and not failed and not said.get("packed"):
            failed = "it was not to be asked after it came back: {0}".format(
                _line(said.get("silent")) or "it does not answer"
            )
            console = self._last_words(name, state)
        if failed and ended:
            failed = "{0} ({1})".format(ended, failed)  # what the controller says of it is that it is silent
        if failed and not said.get("restored"):
            raise FleetError(
                "the host could not be restored in a virtual machine: {0}{1}".format(
                    failed, "; its console: " + console if console else ""
                ),
                safe=SAFE,
                todo="all of its console is in {0}".format(self._vault.places.console(name))
                if state
                else "see that it is there",
            )
        text = "it did not come up as itself: {0}; its console: {1}".format(failed, console or "nothing")
        return text[: verify.LONGEST] if failed else ""

    def _last_words(self, name: str, state: Mapping[str, Any]) -> str:
        """What a machine has said last; nothing of one that there was not, or it would be that of an earlier one."""
        return "; ".join(self._machines.console(name)) if state else ""

    def _compared(self, name: str, said: Mapping[str, Any], look: verify.Look, began: int) -> Back:
        """What came back, by what the restored host says of it.

        :raises FleetError: when that makes no sense.
        """
        with self._drawn(name, sample.seed_of(str(said.get("seed") or "")), look) as (chosen, drawn):
            files = unpacked(str(said.get("packed") or ""), MOST_SAID)
            rows = digests_of({"begun": 0, "files": files}, verify.asked(drawn.members, look)).files
            problems = [verify.Wrong("", printable(str(each))[:300]) for each in _texts(said.get("problems"))]
            return compared(chosen.path, list(zip(drawn.members, rows)), began, problems)

    @contextlib.contextmanager
    def _drawn(self, name: str, seed: str, look: verify.Look) -> Iterator[Tuple[sets.Set, sample.Drawn]]:
        """The set that a machine is for, where it can be read, and a sample of it."""
        chosen = self._chosen(name)
        with self._vault.reading(chosen):
            yield chosen, sample.draw(chosen.path, seed, verify.most_drawn(look))


def compared(
    tree: str, rows: Sequence[Tuple[sample.Member, Mapping[str, Any]]], began: int, problems: Sequence[verify.Wrong]
) -> Back:
    """What of a sample came back.

    :param tree: where the set is.
    :param rows: its files, each with what the copy says of it.
    :param began: when the machine was started (seconds since the epoch).
    :param problems: what else the copy is not.
    """
    wrong = list(problems)
    files = size = changed = gone = unread = 0
    for member, row in rows:
        why = ""
        if "sha256" in row:
            files, size = files + 1, size + member.info.st_size
            why = verify.differs(os.path.join(tree, member.path), row, _NEVER)
        elif row["kind"] == digests.GONE:
            gone += 1
        elif row.get("large"):
            unread += 1
        else:
            why = not_restored(member, row, began)
            changed += not why
        if why:
            wrong.append(verify.Wrong(printable("/" + member.path)[: verify.LONGEST], why))
    looked = files + changed + gone
    if not files:
        wrong.append(verify.Wrong("", "none of its files is as it was backed up"))
    elif gone > SOME_GONE and gone * 10 > looked:
        wrong.append(verify.Wrong("", "{0} of {1} are not there".format(gone, counted(looked, "file"))))
    return Back(files, size, changed + gone, unread, tuple(wrong))


def not_restored(member: sample.Member, row: Mapping[str, Any], began: int) -> str:
    """Why a file that is not that of the set cannot have changed since the copy came up; empty where it can have.

    What was written there has a time of then. That its clock may be hours from this one is the host's affair
    (adjkerntz(8)), so a day is let pass.

    :param began: when the machine was started (seconds since the epoch).
    """
    if row.get("problem"):
        return "it cannot be read there: {0}".format(printable(str(row["problem"]))[:200])
    if digests.same_time(row["mtime"], member.info.st_mtime_ns):
        return "it has its time, and is something else"
    return "it has an earlier time than the copy" if row["mtime"] < (began - DAY) * 10**9 else ""


def words(found: verify.Verified, chosen: sets.Set, version: str, took: int, notes: Sequence[str]) -> str:
    """How it went, in a line.

    :param version: of the image that the restored host ran.
    :param took: seconds, from the start of the machine to the end.
    """
    looked = (
        "set {0} in a virtual machine with {1}, {2} restored, {3} compared, {4} changed since it started, {5} s".format(
            found.set,
            version or "an image that is not known",
            root.shown_size(chosen.pull.bytes),
            counted(found.files, "file"),
            found.changed,
            took,
        )
    )
    more = "".join("; " + note for note in notes)
    if found.result == OK:
        return "verified as a whole host: it came up as itself and is healthy: {0}{1}".format(looked, more)
    return (
        "VERIFICATION FAILED, as a whole host: {0}; {1}{2}. Safe now: the host and all sets are as they were. Next: "
        "see why; the same is to be expected of a restore to bare metal".format(verify.first_wrong(found), looked, more)
    )


def _texts(value: Any) -> List[str]:
    return [str(each) for each in value[:50]] if isinstance(value, list) else []


def _line(value: Any) -> str:
    """What the controller gives as a reason, in a line."""
    return printable(" ".join(str(value or "").split()))[:_WHY]


def _began(state: Mapping[str, Any]) -> int:
    return int(state.get("began") or 0)


def wanted(text: str) -> Mapping[str, Any]:
    """What the controller says at the end.

    :raises Refused: when it makes no sense.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, Mapping):
        raise Refused("what was said of the machine makes no sense", safe=SAFE)
    return said
