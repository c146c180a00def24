# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Directing a build: what is written down before, what nanobsd.sh is told, and what counts as done after it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd import archive, config, parts, phases
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import Definition, Place
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.parts import Decision
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import SHORT, Source, read_source

#: the inputs of the parts that are being built, and those of a world that was begun
BUILDING = "building.json"
BEGUN = "world.begun"
RESULT = "result.json"
LOCK = "lock"

#: what of its environment a build is given (fetch(3), curl(1)); a play sets them with ``environment``
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ftp_proxy", "FTP_PROXY", "no_proxy", "NO_PROXY")

#: where results of parts are
_THERE = {parts.WORLD: "obj", parts.KERNEL: "obj", parts.PACKAGES: "packages"}


def _read(path: str) -> Dict[str, Any]:
    """A file with JSON; nothing where there is none or it is damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _write(path: str, text: str) -> None:
    """Replace a file. A stamp must never be on the disk without what it stands for, nor half of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@dataclass(frozen=True)
class Plan:
    """What a build has to do.

    :param resume: the world was begun with the same inputs and not finished.
    """

    definition: Definition
    place: Place
    source: Source
    inputs: Mapping[str, parts.Inputs]
    decisions: List[Decision]
    resume: bool

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return any(each.build for each in self.decisions)

    @property
    def ident(self) -> str:
        """A name for exactly these inputs."""
        return parts.identity(self.inputs)

    @property
    def describe(self) -> str:
        """The same for people."""
        return "{0} ({1})".format(self.definition.name, self.ident[:SHORT])


def _stamp(place: Place, part: str) -> str:
    return place.at(part + ".done")


def stamps_of(place: Place) -> Dict[str, parts.Inputs]:
    """With what inputs each part ended well the last time.

    A build that was cut off, whoever was to look after it, is judged by what it printed (see :mod:`phases`).
    """
    found: Dict[str, parts.Inputs] = {}
    for part in parts.AFTER:
        values = _read(_stamp(place, part))
        if values:
            found[part] = values
    course = phases.read(place.log)
    for part, values in _read(place.at(BUILDING)).items():
        if part in course.done:
            found[part] = values
    return found


def _begun(place: Place) -> Dict[str, Any]:
    """The inputs of the world that make(1) was started for last, if it was not finished."""
    building = _read(place.at(BUILDING)).get(parts.WORLD)
    if isinstance(building, dict) and parts.WORLD in phases.read(place.log).begun:
        return building
    return _read(place.at(BEGUN))


def _is_ours(state: str) -> bool:
    """Whether a folder is that of the state of a build: others have folders of that name too."""
    if not os.path.isdir(state):
        return False
    names = os.listdir(state)
    written = ("nanobsd.conf", BUILDING, BEGUN, RESULT, *[part + ".done" for part in parts.AFTER])
    return not names or LOCK in names or any(name.startswith(written) for name in names)


def check_place(place: Place) -> None:
    """Refuse a folder with something else in it: nanobsd.sh removes what it finds in its folder of objects.

    :raises Refused: when it is neither ours nor empty.
    """
    if _is_ours(place.state) or not os.path.exists(place.folder):
        return
    if not os.path.isdir(place.folder) or os.listdir(place.folder):
        raise Refused(
            "{0} is not empty and no folder of a build".format(place.folder),
            safe="nothing in it was touched",
            todo="give a folder of its own to the build, one that need not be there yet",
        )


def plan(definition: Definition, place: Place, runner: Runner, refresh: bool = False) -> Plan:
    """What has to be built. Changes nothing.

    :param definition: checked.
    :param refresh: fetch packages in any case.
    :raises Refused: when there is no source tree or kernel configuration, or the folder is another one's.
    """
    check_place(place)
    source = read_source(runner, definition.source)
    _check_kernel(definition)
    inputs = parts.inputs_of(definition, source)
    there = {part: os.path.isdir(os.path.join(place.folder, name)) for part, name in _THERE.items()}
    result = _read(place.at(RESULT))
    there[parts.TREE] = os.path.isfile(place.archive) and os.path.getsize(place.archive) == result.get("size")
    decisions = parts.decide(inputs, stamps_of(place), there, refresh)
    return Plan(definition, place, source, inputs, decisions, _begun(place) == inputs[parts.WORLD])


def _check_kernel(definition: Definition) -> None:
    if definition.kernel.startswith("/"):
        found = os.path.isfile(definition.kernel)
    else:
        top = os.path.join(definition.source, "sys")
        found = any(os.path.isfile(os.path.join(top, each, "conf", definition.kernel)) for each in os.listdir(top))
    if not found:
        raise Refused(
            "there is no kernel configuration {0}".format(definition.kernel),
            todo="name one in sys/*/conf of the source tree, or give the path of one on the build host",
        )


def changes(plan: Plan) -> Dict[str, str]:
    """For diff mode: the files that nanobsd.sh reads, as they are and as they will be."""
    before, after = [], []
    for path, text in sorted(config.files(plan.definition, plan.place).items()):
        old = ""
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            old = file.read()
        if old != text:
            before.append("# {0}\n{1}".format(path, old))
            after.append("# {0}\n{1}".format(path, text))
    return {"before": "\n".join(before), "after": "\n".join(after)}


def command(plan: Plan) -> List[str]:
    """nanobsd.sh as it is started.

    In an empty environment, because make(1) takes its variables from there too; only proxies are handed on. lockf(1)
    keeps a second one from the same folder, also when the process that was to look after the first has died.
    """
    kept = ["{0}={1}".format(name, os.environ[name]) for name in PROXIES if name in os.environ]
    return [
        *["env", "-i", "PATH=" + ENVIRONMENT["PATH"], "LC_ALL=C", "HOME=/root", *kept],
        *["lockf", "-k", "-s", "-t", "0", plan.place.at(LOCK)],
        *["sh", plan.definition.tools + "/nanobsd.sh", *parts.flags(plan.decisions, plan.resume)],
        *["-c", plan.place.config],
    ]


def check_alone(place: Place) -> None:
    """See that no nanobsd.sh is at work in the folder.

    :raises Refused: when one is.
    """
    if not os.path.exists(place.at(LOCK)):
        return
    with open(place.at(LOCK), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                "nanobsd.sh is still at work in {0}, without the process that was to look after it".format(
                    place.folder
                ),
                safe="it goes on, and what it finishes counts",
                todo="wait until it is done (`fstat {0}` shows its process), then run the play again".format(
                    place.at(LOCK)
                ),
            )


def prepare(plan: Plan) -> None:
    """Write down what nanobsd.sh reads, and that the parts which are built anew are not done.

    :raises FleetError: when that cannot be written.
    """
    place = plan.place
    building = {each.part for each in plan.decisions if each.build}
    try:
        for folder in (place.folder, place.state, place.logs, place.obj):
            os.makedirs(folder, mode=0o755, exist_ok=True)
        for folder in (place.state, place.logs):  # customise scripts may hold what is nobody's business, and are traced
            os.chmod(folder, 0o700)
        for part, values in stamps_of(place).items():
            if part not in building:
                _write(_stamp(place, part), _json(values))
        if plan.resume:
            _write(place.at(BEGUN), _json(plan.inputs[parts.WORLD]))
        else:
            _remove(place.at(BEGUN))
        _remove(place.log)  # before the new inputs, for which it would be the proof
        for part in building:
            _remove(_stamp(place, part))
        for folder in ("customise", "kernel", "repos"):
            shutil.rmtree(place.at(folder), ignore_errors=True)
        for path, text in config.files(plan.definition, place).items():
            _write(path, text)
        for name, _query in config.QUERIES:
            _remove(place.at(name))
        _remove(place.at(config.FETCH))
        if parts.PACKAGES in building:
            _write(place.at(config.FETCH), "")
        _write(place.at(BUILDING), _json({part: plan.inputs[part] for part in building}))
    except OSError as error:
        raise FleetError(
            "{0} cannot be used: {1}".format(place.folder, error.strerror or error),
            safe="nothing was built",
            todo="see that it is on a file system with room (some 20 GB for a whole build), and run as root",
        )


def _settle(plan: Plan) -> None:
    """Keep stamps of what ended well."""
    for part, values in stamps_of(plan.place).items():
        _write(_stamp(plan.place, part), _json(values))


def _failure(plan: Plan, rc: int, said: str) -> FleetError:
    course = phases.read(plan.place.log)
    last = course.last
    log = last.log if last is not None and last.log else plan.place.log
    found = phases.tail(log)
    if not found["tail"]:
        found = phases.tail(plan.place.log)
    if not found["tail"]:
        found["tail"] = said.splitlines()[-phases.TAIL_LINES :]
    reason = (found["errors"] or found["tail"] or ["it said nothing"])[-1]
    done = [part for part in parts.AFTER if part in stamps_of(plan.place)]
    return FleetError(
        "building {0} failed at {1!r} (exit status {2}): {3}".format(
            plan.definition.name, last.title if last is not None else "the start", rc, reason.strip()
        ),
        safe="what ended well is kept ({0}), and is not built again".format(", ".join(done) or "nothing yet"),
        todo="read {0} on the build host, correct the cause, then run the play again".format(log),
        phase=last.title if last is not None else None,
        log=log,
        **found,
    )


def run(plan: Plan, runner: Runner, reader: Optional[str] = None) -> Dict[str, Any]:
    """Build, and pack the tree.

    :param reader: the user who may read the archive, besides root.
    :returns: the result of the module.
    :raises FleetError: when a step fails; what ended well before is kept.
    """
    prepare(plan)
    done = runner.attempt(command(plan))
    _settle(plan)
    if done.rc != 0 or not phases.read(plan.place.log).completed:
        raise _failure(plan, done.rc, done.err or done.out)
    world = plan.place.world
    origin = archive.origin_of(plan.definition, plan.source, plan.place)
    target = os.path.join(world, ORIGIN_JSON)
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    _write(target, origin.encode())
    digest, size = archive.pack(world, plan.place.archive, os.stat(plan.place.at(BUILDING)).st_mtime)
    made = {
        "sha256": digest,
        "size": size,
        "release": origin.release,
        "revision": origin.revision,
        "packages": ["{0}-{1}".format(each.name, each.version) for each in origin.packages],
    }
    _write(plan.place.at(RESULT), _json(made))
    _write(_stamp(plan.place, parts.TREE), _json(plan.inputs[parts.TREE]))
    _remove(plan.place.at(BUILDING))  # it has nothing to say any more: a stamp is there for each part
    hand_over(plan.place.archive, reader)
    return dict(result(plan), changed=True)


def hand_over(path: str, reader: Optional[str]) -> None:
    """Let a user read the archive, so that it can be fetched without becoming root.

    :raises FleetError: when there is no such user.
    """
    if reader is None:
        return
    try:
        uid = pwd.getpwnam(reader).pw_uid
        if os.stat(path).st_uid != uid:
            os.chown(path, uid, -1)
    except (KeyError, OSError) as error:
        raise FleetError(
            "{0} cannot be given to {1}: {2}".format(path, reader, error),
            safe="it is finished, and belongs to root",
        )


def result(plan: Plan) -> Dict[str, Any]:
    """What the module tells of a build that is finished, or that check mode has looked at."""
    made = _read(plan.place.at(RESULT))
    return {
        "changed": plan.changed,
        "finished": True,
        "parts": [each.as_dict() for each in plan.decisions],
        "archive": plan.place.archive,
        "sha256": made.get("sha256"),
        "size": made.get("size"),
        "release": made.get("release"),
        "revision": plan.source.revision,
        "packages": made.get("packages", []),
    }


def course_of(place: Place, head: Mapping[str, Any], elapsed: float) -> Dict[str, Any]:
    """The record of a build at this moment, for whoever looks at it.

    :param head: what every record of it says.
    :param elapsed: seconds since it began.
    """
    course = phases.read(place.log)
    last = course.last
    phase = last.title if last is not None else "starting"
    if course.completed:
        phase = "packing the tree"
    return dict(
        head,
        phase=phase,
        elapsed=int(elapsed),
        log=last.log if last is not None else "",
        step=phases.step_of(last.log) if last is not None and not course.completed else "",
        finished=False,
    )
