# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The program ``nanozfs-backup``, on a backup host. It is packed and brought by the module ``backup_vault``."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, TextIO

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.digests import MOST_BYTES, MOST_DIGESTS
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import (
    dirvish,
    execute,
    install,
    machine,
    qemu,
    root,
    send,
    sets,
    whole,
    zfssend,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import DIRVISH, RSNAPSHOT, SEND, Fleet, load
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places, here
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import REFUSED, WAITS, Outcome, Vault
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import OK
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.verify import BYTES, FILES, Look, Verifier

#: exit statuses
FINE, SOME_FAILED, NOT_DONE = 0, 1, 3

#: what becomes of a virtual machine, in order; `keep` is the process that looks after it, `end` judges
_MACHINE = ("plan", "make", "start", "keep", "status", "ask", "end", "stop")

_ABOUT = """Pulls the hosts of the fleet, as {0} says, which backup.yml on the controller writes. A host is asked for a
snapshot, and rsnapshot, dirvish or zfs send fetch what is in it. Exit status: 0 fine, 1 something failed, 3 refused."""


def _parser(places: Places) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nanozfs-backup", description=_ABOUT.format(places.fleet))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="pull the hosts that are due, and verify those whose turn it is")
    run.add_argument("host", nargs="*", help="these; all by default")
    run.add_argument("--now", action="store_true", help="whatever schedule and windows say")
    run.add_argument("--quiet", action="store_true", help="say nothing of those that went well, as cron(8) wants it")
    run.add_argument("--json", action="store_true", help="the outcomes as JSON, when all is done")
    listing = verbs.add_parser("list", help="list the sets, the newest first")
    listing.add_argument("host", nargs="?", help="of this one; of all by default")
    status = verbs.add_parser("status", help="say how it stands with each host")
    for each in (listing, status):
        each.add_argument("--json", action="store_true", help="for programs")
    sending = verbs.add_parser("send", help="send a set, or a part of it, back to a host that has opened a restore")
    sending.add_argument("host", help="the host, as it is called in the inventory")
    sending.add_argument("--set", default=send.NEWEST, help="which one, as `list` calls it; the newest good one")
    sending.add_argument("--path", default="/", help="on the host; all of it by default")
    sending.add_argument("--contents", action="store_true", help="what is in that folder, and not the folder itself")
    sending.add_argument("--exclude", action="append", default=[], metavar="PATH", help="leave out, from there on")
    sending.add_argument("--to", default="", metavar="FOLDER", help="the folder that the host has opened")
    sending.add_argument("--address", default="", help="where the machine is now")
    sending.add_argument("--port", type=int, default=0, help="of its ssh")
    sending.add_argument("--host-key", default="", metavar="KEY", help="what the machine is known by to ssh now")
    sending.add_argument("--bandwidth", type=int, default=0, metavar="BYTES", help="the most to send in a second")
    sending.add_argument("--check", action="store_true", help="say what would be sent, as JSON, and send nothing")
    sending.add_argument("--json", action="store_true", help="how it went as JSON, without a word before")
    look = verbs.add_parser("verify", help="restore some files of the newest good set here, and compare with the host")
    look.add_argument("host", nargs="*", help="of these; of all by default")
    look.add_argument("--seed", default="", help="what the files are chosen by; another one each time by default")
    look.add_argument(
        "--files", type=int, default=FILES, metavar="NUMBER", help="how many, {0} by default".format(FILES)
    )
    look.add_argument("--bytes", type=int, default=BYTES, help="of all of them at most, {0} by default".format(BYTES))
    look.add_argument("--now", action="store_true", help="whatever windows say")
    look.add_argument("--check", action="store_true", help="say what would be done, and ask no host")
    look.add_argument("--json", action="store_true", help="the outcomes as JSON, when all is done")
    guest = verbs.add_parser(
        "machine", help="a virtual machine here for a host that backup_verify.yml restores into it"
    )
    guest.add_argument("action", choices=_MACHINE, help="what of its life; JSON is said")
    guest.add_argument("host", help="the host, as it is called in the inventory")
    guest.add_argument("--set", default=send.NEWEST, help="which one, as `list` calls it; the newest good one")
    guest.add_argument("--memory", type=int, default=machine.MEMORY, metavar="MIB", help="of the machine")
    guest.add_argument("--cpus", type=int, default=1, help="of the machine")
    guest.add_argument("--accel", default=qemu.TCG, choices=qemu.ACCELERATORS, help="what it runs by")
    guest.add_argument("--seconds", type=int, default=machine.SECONDS, help="that it lives at most")
    guest.add_argument("--boot", type=int, default=machine.BOOT, metavar="SECONDS", help="that it may take to come up")
    guest.add_argument("--seed", default="", help="what files are chosen by")
    guest.add_argument("--files", type=int, default=FILES, metavar="NUMBER", help="how many are compared")
    guest.add_argument("--bytes", type=int, default=BYTES, help="of all of them at most")
    verbs.add_parser("check", help="judge the configuration, and what it needs of this machine")
    return parser


def _say(where: TextIO, line: str) -> None:
    """Show a line, at once."""
    where.write(line + "\n")
    where.flush()


def _moment(seconds: Optional[int]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "never"


def _run(vault: Vault, options: argparse.Namespace, out: TextIO) -> int:
    machine.Machines(vault).reap()

    def says(outcome: Outcome) -> None:
        if not options.json and not (options.quiet and outcome.result in (OK, WAITS)):
            _say(out, outcome.line)

    outcomes = vault.run(options.host, options.now, says)
    if not options.now:  # which is to bring what there is, and nothing else
        outcomes += Verifier(vault).run_due(options.host, says)
    return _over(outcomes, options, out)


def _over(outcomes: Sequence[Outcome], options: argparse.Namespace, out: TextIO) -> int:
    """Say what became of hosts to a program; the exit status."""
    if options.json:
        rows = [
            {"host": each.host, "result": each.result, "says": printable(each.says), **dict(each.verified or {})}
            for each in sorted(outcomes, key=lambda each: each.host)
        ]
        _say(out, json.dumps(rows, indent=1))
    # one that waits is no failure, unless somebody has asked for it now
    bad = [each for each in outcomes if each.result not in (OK, *(() if options.now else (WAITS,)))]
    if bad and all(each.result in (REFUSED, WAITS) for each in bad):
        return NOT_DONE
    return SOME_FAILED if bad else FINE


def _bounded(options: argparse.Namespace) -> Look:
    """How files are looked at.

    :raises Refused: when that is too much.
    """
    for name, most in (("files", MOST_DIGESTS), ("bytes", MOST_BYTES)):
        if not 1 <= getattr(options, name) <= most:
            raise Refused("--{0} must be between 1 and {1}".format(name, most), safe="nothing was verified")
    return Look(options.seed, options.files, options.bytes)


def _machine(vault: Vault, options: argparse.Namespace, out: TextIO) -> int:
    look, machines, name = _bounded(options), machine.Machines(vault), options.host
    judge = whole.Judge(vault, machines)
    wish = machine.Wish(options.set, options.memory, options.cpus, options.accel, options.seconds, options.boot)
    if options.action == "keep":
        machines.keep(name)
    elif options.action == "stop":
        vault.see([name], "no set was changed")
        machines.stop(name)
    elif options.action == "end":
        outcome = judge.end(name, whole.wanted(sys.stdin.read()), look)
        _say(out, outcome.line)
        return FINE if outcome.result == OK else SOME_FAILED
    else:
        said = {
            "plan": lambda: machines.plan(name, wish),
            "make": lambda: machines.plan(name, wish, make=True),
            "start": lambda: machines.start(name, wish),
            "status": lambda: machines.status(name),
            "ask": lambda: judge.ask(name, look),
        }[options.action]()
        _say(out, json.dumps(said, sort_keys=True))
    return FINE


def _verify(vault: Vault, options: argparse.Namespace, out: TextIO) -> int:
    look = replace(_bounded(options), now=options.now, check=options.check)

    def says(outcome: Outcome) -> None:
        if not options.json:
            _say(out, outcome.line)

    return _over(Verifier(vault).run(options.host, look, says), options, out)


def _list(fleet: Fleet, options: argparse.Namespace, out: TextIO) -> int:
    names = [options.host] if options.host else sorted(fleet.hosts)
    if options.host and options.host not in fleet.hosts:
        raise Refused("{0} is not among the hosts of this backup host".format(printable(options.host)))
    root.mounted(fleet)  # there are none to be seen in an empty mount point, which is no answer
    found = [each for name in names for each in sets.sets_of(fleet, name)]
    if options.json:
        _say(out, json.dumps([each.as_dict() for each in found], indent=1))
        return FINE
    form = "{0:<16} {1:<17} {2:<17} {3:<10} {4:<11} {5:>10} {6:>10}  {7}"
    _say(out, form.format("HOST", "SET", "TAKEN", "METHOD", "KIND", "FILES", "SIZE", ""))
    for each in found:
        pull = each.pull
        remarks = [] if pull.result == OK else [pull.result.upper()]
        remarks += ["of a system on trial"] if pull.trial else []
        remarks += [_look_words(each.verified)] if each.verified else []
        row = [pull.host, pull.id, _moment(pull.begun), pull.method, each.as_dict()["kind"], pull.files]
        _say(out, form.format(*row, root.shown_size(pull.bytes), ", ".join(remarks)).rstrip())
    return FINE


def _look_words(verified: Mapping[str, Any]) -> str:
    """How a look into a set went, and when."""
    how = "verified" if verified.get("result") == OK else "VERIFICATION FAILED"
    at = verified.get("at")
    return "{0} {1}".format(how, _moment(at if isinstance(at, int) else None))


def _status(vault: Vault, options: argparse.Namespace, out: TextIO) -> int:
    fleet = vault.fleet
    hosts: Dict[str, Dict[str, Any]] = {}
    for name, host in sorted(fleet.hosts.items()):
        known = vault.known(host)
        waits: Optional[str] = None
        try:
            waits = vault.waits(host)
        except Refused as error:
            waits = error.what
        hosts[name] = {
            "method": host.method,
            "last": asdict(known.last) if known.last else None,
            "good": asdict(known.good) if known.good else None,
            "failures": known.failures,
            "broken": known.broken,
            "verified": dict(known.verified) if known.verified else None,
            "machine": dict(known.machine) if known.machine else None,
            "waits": waits,
        }
    said: Dict[str, Any] = {"label": fleet.label, "root": fleet.root, "hosts": hosts}
    try:
        found = os.statvfs(fleet.root)
        said.update(free=found.f_bavail * found.f_frsize, size=found.f_blocks * found.f_frsize)
    except OSError as error:
        said.update(free=None, size=None, broken=str(error.strerror))
    if options.json:
        _say(out, json.dumps(said, indent=1, sort_keys=True))
        return FINE
    form = "{0:<16} {1:<10} {2:<17} {3:<17} {4}"
    _say(out, form.format("HOST", "METHOD", "LAST GOOD", "LAST TRY", ""))
    for name, each in hosts.items():
        good, last = each["good"] or {}, each["last"] or {}
        word = each["broken"] or (last.get("why") if last.get("result") != OK else "") or each["waits"] or "due"
        row = (name, each["method"], _moment(good.get("begun")), _moment(last.get("ended")))
        look = _look_words(each["verified"]) if each["verified"] else "never verified" if good else ""
        whole = _look_words(each["machine"]) + " as a whole host" if each["machine"] else ""
        _say(out, form.format(*row, ", ".join(filter(None, (printable(str(word)), look, whole)))).rstrip())
    return FINE


def problems(fleet: Fleet, places: Places, run: execute.Long) -> List[str]:
    """What is wrong with this backup host; a sentence each."""
    found = []
    methods = {host.method for host in fleet.hosts.values()}
    path = ENVIRONMENT["PATH"]
    for name in sorted({"ssh", "rsync"} | install.programs(methods)):
        if shutil.which(name, path=path) is None:
            found.append("{0} is not installed".format(name))
    try:
        root.mounted(fleet)
    except Refused as error:
        found.append(error.what)
    if not os.path.isfile(places.key):
        found.append("{0} is not there: run backup.yml".format(places.key))
    keys = install.known_keys(places)
    for name, host in sorted(fleet.hosts.items()):
        if name not in keys:
            found.append("the ssh key of {0} is not known: run backup.yml with that host".format(name))
        if host.method == RSNAPSHOT and os.path.isdir(sets.folder_of(fleet, RSNAPSHOT, name)):
            rc, out, err = run(["rsnapshot", "-c", places.rsnapshot(name), "configtest"], None, 60, {})
            if rc != 0:
                found.append("rsnapshot does not take its configuration of {0}: {1}".format(name, (err or out).strip()))
    if SEND in methods:
        found += zfssend.problems(fleet, run)
    if DIRVISH in methods:
        found += dirvish_problem(fleet, places)
    return found


def dirvish_problem(fleet: Fleet, places: Places) -> List[str]:
    """Why dirvish would not find its vaults."""
    why = install.foreign_master(fleet, places)
    if why:
        return [why]
    if not os.path.isfile(places.dirvish_master):
        return ["{0} is not there: run backup.yml".format(places.dirvish_master)]
    return []


def _send(fleet: Fleet, places: Places, options: argparse.Namespace, out: TextIO) -> int:
    order = send.Order(
        options.set,
        options.path,
        options.contents,
        tuple(options.exclude),
        options.to.rstrip("/"),
        options.address,
        options.port,
        " ".join(options.host_key.split()[:2]),
        options.bandwidth,
    )
    sender = send.Sender(fleet, places)
    if options.check:
        _say(out, json.dumps(sender.plan(options.host, order), sort_keys=True))
        return FINE

    def says(line: str) -> None:
        if not options.json:
            _say(out, printable(line))

    sent = sender.send(options.host, order, says)
    if options.json:
        _say(out, json.dumps(sent._asdict(), sort_keys=True))
        return FINE
    for note in sent.notes:
        _say(out, "{0}: not kept: {1}".format(options.host, note))
    line = "{0}: all of it has arrived: {1} files, {2}, of which {3} came over the line in {4} seconds"
    sizes = (root.shown_size(sent.bytes), root.shown_size(sent.sent))
    _say(out, line.format(options.host, sent.files, *sizes, sent.seconds))
    return FINE


def _check(fleet: Fleet, places: Places, out: TextIO) -> int:
    found = problems(fleet, places, execute.execute)
    for each in found:
        _say(out, printable(each))
    if not found:
        _say(out, "all is well: {0} of {1}".format(len(fleet.hosts), dirvish.bank_of(fleet)[: -len("/dirvish")]))
    return SOME_FAILED if found else FINE


def run(argv: Sequence[str], places: Places, out: TextIO, err: TextIO) -> int:
    """The program; its exit status."""
    options = _parser(places).parse_args(list(argv))
    try:
        fleet = load(places.fleet)
        vault = Vault(fleet, places)
        if options.verb == "run":
            return _run(vault, options, out)
        if options.verb == "machine":
            return _machine(vault, options, out)
        if options.verb == "verify":
            return _verify(vault, options, out)
        if options.verb == "list":
            return _list(fleet, options, out)
        if options.verb == "status":
            return _status(vault, options, out)
        if options.verb == "send":
            return _send(fleet, places, options, out)
        return _check(fleet, places, out)
    except FleetError as error:
        _say(err, "nanozfs-backup: {0}".format(printable(str(error))))
        return NOT_DONE if isinstance(error, Refused) else SOME_FAILED


def _ended(_number: int, _frame: Any) -> None:
    """Somebody asks the program to end: a run tells the hosts so before, all else just goes on another time."""
    if sys.argv[1:2] != ["run"]:
        raise SystemExit(SOME_FAILED)
    execute.stop()


def _listen() -> None:
    """Be asked to end. What a run has begun is in sessions of its own, and would go on without it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup(1) has it
            signal.signal(number, _ended)


def main() -> int:
    """Entry point."""
    os.umask(0o077)
    if sys.argv[1:2] in (["run"], ["send"], ["verify"], ["machine"]):
        _listen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.geteuid() != 0:
        _say(sys.stderr, "nanozfs-backup: run it as root, or owners could not be kept. Safe now: nothing was done.")
        return NOT_DONE
    return run(sys.argv[1:], here(), sys.stdout, sys.stderr)
