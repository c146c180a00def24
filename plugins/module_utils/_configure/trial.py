# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A configuration on trial: in the running /etc only, and kept only when somebody confirms it over a new connection.

One process of the host does all of it, from the first file to the last: it puts the new files into /etc, tells the
services, waits, and then either writes them to /cfg, or brings the old ones back into /etc, which it has in its memory.
So nobody can confirm what is being taken back at that moment. Until the confirmation /cfg is what it was: a restart, a
power cut or the end of that process leads back as well, the latter at the next start. For as long as it lives it has
the lock of /cfg, which is taken back by the kernel from a process that dies; ``nanozfs save`` and other plays wait.

That a connection is new is told by when its sshd began (ps(1), ``etimes``: seconds since a process was started).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import effects
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.effects import Done, Effect
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving, readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.configuration import (
    Configuration,
    File,
    as_it_is,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import restart

#: seconds until the first file is replaced, so that the answer of whoever asked gets out
DELAY = 1.0

#: seconds between two looks whether somebody has confirmed
PAUSE = 0.2

#: seconds that a confirmation waits for the trial to have been kept
PATIENCE = 60.0

#: seconds after which a process with the number of that of a trial is another one: it would have taken it back by now
LONGEST = 1800.0

#: the states of a trial: not in /etc yet; there, and waiting; kept; taken back
BEGUN, APPLIED, CONFIRMED, REVERTED = "begun", "applied", "confirmed", "reverted"

_RECORD, _ASKED = "configuration.json", "configuration.confirm"

#: so many processes lie between this one and the sshd of its connection, at the very most
_FAR = 40


def _path(name: str) -> str:
    return os.path.join(job.RUN_DIR, name)


def read() -> Optional[Dict[str, Any]]:
    """The record of the last trial, if there is one that can be read."""
    try:
        with open(_path(_RECORD), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("token"), str) else None


def _save(record: Mapping[str, Any]) -> None:
    """Replace the record. It holds no content of any file. Trouble with it must not stop the process."""
    with contextlib.suppress(OSError):
        os.makedirs(job.RUN_DIR, mode=0o755, exist_ok=True)
        with arriving(_path(_RECORD), 0o600) as (_partial, file):
            file.write(json.dumps(record).encode("ascii"))


def under_way(runner: Runner, clock: Callable[[], float] = time.monotonic) -> Optional[float]:
    """For how many seconds a trial still waits; ``None`` where there is none."""
    record = read()
    if record is None or record["state"] not in (BEGUN, APPLIED) or record["boot"] != restart.boot_id(runner):
        return None
    left = float(record["until"]) - clock()
    return max(0.0, left) if left > -LONGEST and _lives(record) else None


def _lives(record: Mapping[str, Any]) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(int(record["pid"]), 0)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Change:
    """What is to be changed: files that are put into /cfg and /etc, and files that are taken out of them.

    :param etc_files: those that go into /etc besides, where one that is taken out of /cfg is the image's again.
    :param also: files of /etc that are stored in /cfg as the change has made them.
    :param effects: what is done around it.
    :param back: what is done where it is taken back: a service that it has switched on is stopped then.
    """

    files: Sequence[File]
    gone: Sequence[str] = ()
    etc_files: Sequence[File] = ()
    etc_gone: Sequence[str] = ()
    also: Sequence[str] = ()
    effects: Sequence[Effect] = ()
    back: Sequence[Effect] = ()

    def paths(self) -> List[str]:
        return sorted({file.path for file in (*self.files, *self.etc_files)} | {*self.gone, *self.etc_gone})


class Before(Dict[str, Optional[File]]):
    """Files as they were, by their paths."""

    @classmethod
    def of(cls, paths: Sequence[str], root: str) -> Before:
        """Those of a tree.

        :raises FleetError: when one cannot be read.
        """
        with readable():
            return cls((path, as_it_is(path, root)) for path in paths)

    def files(self) -> List[File]:
        return [file for file in self.values() if file is not None]

    def gone(self, root: str) -> List[str]:
        """Those that were not there, and are now."""
        return [path for path, file in self.items() if file is None and os.path.lexists(os.path.join(root, path))]


def apply(configuration: Configuration, change: Change) -> Done:
    """Put a change into the running /etc, and tell the services.

    :raises FleetError: when the files cannot be written.
    """

    def put() -> None:
        configuration.put_in_force([*change.files, *change.etc_files], change.etc_gone)

    return effects.around(configuration.runner, change.effects, put)


def keep(configuration: Configuration, change: Change) -> None:
    """Write to /cfg what is in /etc.

    :raises FleetError: when that fails.
    """
    made = [as_it_is(path, configuration.places.etc) for path in change.also]
    configuration.store([*change.files, *(each for each in made if each is not None)], change.gone)


@dataclass
class Trial:
    """One trial, in the process that does it.

    :param seconds: how long it waits for a confirmation, from when the change is in place.
    :param clock: seconds, which no setting of the time changes.
    """

    configuration: Configuration
    change: Change
    token: str
    boot: str
    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    delay: float = DELAY
    record: Dict[str, Any] = field(default_factory=dict)
    ran: Dict[str, bool] = field(default_factory=dict)

    def begin(self) -> None:
        """Read what there is before, and note that it begins. This is before the process.

        :raises FleetError: when that cannot be read.
        """
        paths, places = self.change.paths(), self.configuration.places
        self.etc = Before.of([*paths, *self.change.also], places.etc)
        self.cfg = Before.of([*paths, *self.change.also], places.cfg)
        with contextlib.suppress(OSError):
            os.unlink(_path(_ASKED))
        self._note(BEGUN, paths=paths, until=self.clock() + self.delay + self.seconds, pid=os.getpid())

    def _note(self, state: str, **more: Any) -> None:
        self.record.update(more, state=state, token=self.token, boot=self.boot)
        _save(self.record)

    def run(self) -> None:
        """All of it. It ends with a change that is kept, or taken back."""
        self._note(BEGUN, pid=os.getpid(), own=True)
        try:
            self.sleep(self.delay)
            self.ran = effects.running(self.configuration.runner, [*self.change.effects, *self.change.back])
            done = apply(self.configuration, self.change)
            self.record.update(done=done.done, odd=done.odd)
            if done.failed:
                self.revert("; ".join(done.failed))
                return
            until = self.clock() + self.seconds
            self._note(APPLIED, applied=self.clock(), until=until)
            while not self._asked():
                if self.clock() >= until:
                    self.revert("nobody confirmed it over a new connection within {0:g} seconds".format(self.seconds))
                    return
                self.sleep(PAUSE)
            self._keep()
        except Exception as error:  # whatever it was: the host must not stay as it is
            self.revert(getattr(error, "what", "") or "the trial has a defect: {0!r}".format(error))

    def _asked(self) -> bool:
        try:
            with open(_path(_ASKED), encoding="ascii") as file:
                return file.read() == self.token
        except OSError:
            return False

    def _keep(self) -> None:
        try:
            keep(self.configuration, self.change)
        except Exception:
            gone = self.cfg.gone(self.configuration.places.cfg)
            self.configuration.store(self.cfg.files(), gone)
            raise
        self._note(CONFIRMED)

    def revert(self, why: str) -> None:
        """Bring the old files back into /etc, and tell the services."""
        runner = self.configuration.runner
        runner.query(["logger", "-t", "nanozfs", "-p", "daemon.warning", "the configuration goes back: " + why])
        failed: List[str] = []
        try:
            gone = self.etc.gone(self.configuration.places.etc)
            done = effects.around(
                runner, self.change.back, lambda: self.configuration.bring_back(self.etc.files(), gone), self.ran
            )
            failed = done.failed + done.odd
        except Exception as error:  # what is left is the next start
            failed = [getattr(error, "what", "") or repr(error)]
        if failed:
            said = "in /etc not everything is as it was, a restart of the host makes it so: {0}".format(
                "; ".join(failed)
            )
            runner.query(["logger", "-t", "nanozfs", "-p", "daemon.crit", said])
        self._note(REVERTED, why=why, left=failed)


def start(trial: Trial) -> None:
    """Have a process of its own do the trial.

    The lock of /cfg, which the caller has, becomes its own: the two share it (flock(2)).
    """
    trial.begin()
    job.detach(trial.run)


def connected_since(runner: Runner) -> float:
    """For how many seconds the connection has been there that this call came over: the nearest sshd above this process.

    Where there is none (another kind of connection), since when this process is there.

    :raises FleetError: when ps(1) does not say it.
    """
    pid, own = os.getpid(), -1.0
    for _step in range(_FAR):
        result = runner.query(["ps", "-o", "ppid=", "-o", "etimes=", "-o", "comm=", "-p", str(pid)])
        words = result.out.split(None, 2)
        if result.rc != 0 or len(words) < 3 or not words[0].isdigit() or not words[1].isdigit():
            break
        own = float(words[1]) if own < 0 else own
        if os.path.basename(words[2].strip()).startswith("sshd"):  # since OpenSSH 9.8 sshd-session
            return float(words[1])
        pid = int(words[0])
        if pid < 1:
            return own
    # a way up that ends in between says nothing of the connection
    raise FleetError(
        "it cannot be told whether this connection is a new one (ps gave {0!r})".format(result.out[:80]),
        safe="the configuration of before comes back by itself",
    )


def confirm(
    runner: Runner, token: str, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Dict[str, Any]:
    """Keep what is on trial.

    :returns: the record; its state is CONFIRMED, or, where it is too early or this is an old connection, another one.
    :raises Refused: when it went back.
    """
    record = read()
    if record is None or record["token"] != token or record["boot"] != restart.boot_id(runner):
        raise Refused(
            "nothing of this run is on trial on this host any more: it was restarted meanwhile",
            safe="a start brings the configuration of before",
            todo="look why, and run the play again",
        )
    if record["state"] in (BEGUN, APPLIED) and record.get("own") and not _lives(record):
        raise Refused(
            "the process that had the new configuration on trial was ended by somebody (it had the number {0})".format(
                record["pid"]
            ),
            safe="/cfg has the configuration of before, /etc may have the new one",
            todo="restart the host, which brings the configuration of before, and run the play again",
        )
    # etimes counts whole seconds
    if record["state"] == APPLIED and connected_since(runner) + 1.0 < clock() - float(record["applied"]):
        _ask(token)
        record = _decided(record, clock() + PATIENCE, clock, sleep)
    if record["state"] == REVERTED:
        left = record.get("left") or []
        raise Refused(
            "the new configuration was taken back: {0}".format(record.get("why")),
            safe="the configuration of before is in force"
            + ("; restart the host to be sure of it ({0})".format("; ".join(left)) if left else ""),
            todo="correct it in the inventory, and run the play again",
        )
    return record


def _ask(token: str) -> None:
    try:
        with arriving(_path(_ASKED), 0o600) as (_partial, file):
            file.write(token.encode("ascii"))
    except OSError as error:
        raise FleetError(
            "the confirmation cannot be noted: {0} ({1})".format(error.strerror, error.filename),
            safe="the configuration of before comes back by itself",
        )


def _decided(
    record: Dict[str, Any], until: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Dict[str, Any]:
    """The record once the process has kept the change, or taken it back; or as it is when the time is over."""
    while record["state"] == APPLIED and clock() < until:
        sleep(PAUSE)
        record = read() or record
    return record
