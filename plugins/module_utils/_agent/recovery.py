# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The menu for somebody at the console who types only numbers, with an operator on the telephone.

Every step says what it will do and is done only after six digits were typed that are shown with it. No device has to be
named. Nothing writes to the pool, except one step that has to be unlocked by another one.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from typing import Callable, Iterable, List, Optional, Sequence, Tuple, TypeVar

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import bastion, codes, status
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.guard import Guard
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import WIDTH, Closed, Screen, wrapped
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import (
    ACTIVE,
    BOOTME,
    BOOTONCE,
    OTHER,
    RECOVERY,
    read_medium,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import (
    Candidate,
    ImportOptions,
    Zpool,
    count_disks,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import selection
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore, root_of

_Kind = TypeVar("_Kind")

#: what zpool says of a pool that could go back to an earlier state (``zpool_rewind_exclaim()`` in ``libzfs_pool.c``)
_COULD = "Would be able to return"

#: how much of a log is shown (lines)
_LINES = 15

#: datasets that are shown of a pool
_MOST_DATASETS = 20

_ALTROOT = "/mnt"


class Leave(Exception):
    """The menu is done with."""


class Session:
    """One person at one console.

    :param guard: runs commands.
    :param screen: where the person is.
    :param places: where /etc is.
    :param clock: seconds since the epoch.
    """

    def __init__(self, guard: Guard, screen: Screen, places: Places, clock: Callable[[], float]) -> None:
        self.guard = guard
        self.runner = Runner(guard)
        self.screen = screen
        self.places = places
        self.clock = clock
        self.unlocked = False
        self.now: status.Status = {}

    # the menu

    def items(self) -> List[Tuple[str, Callable[[], None]]]:
        """What can be chosen; the numbers of the first ones never change."""
        items: List[Tuple[str, Callable[[], None]]] = [
            ("Show the status again", self.show_status),
            ("Look for the disks and the pool", self.look),
            ("Try the pool read-only and look at it", self.try_pool),
            ("Start once more as usual (restart)", self.restart),
            ("Start the other system", self.other_system),
            ("Network: show it", self.network),
            ("Network: set an address by hand", self.address),
            ("Call the operators", self.call),
            ("Show the last lines of the log", self.log),
            ("Shut down and switch off", self.power_off),
            ("Leave to a shell", self.leave),
        ]
        if self.unlocked:
            return items + [("Take the pool back to its last good state (CHANGES THE POOL)", self.rewind)]
        return items + [("Unlock the step that changes the pool", self.unlock)]

    def run(self) -> None:
        """Until somebody leaves, or nobody is there any more."""
        try:
            self.show_status()
            while True:
                self.guarded(self.choose)
        except (Closed, Leave):
            self.screen.say("", "To come back to this menu, type: nanozfs recovery")

    def choose(self) -> None:
        """The menu once, and the step that was chosen."""
        items = self.items()
        self.screen.say("", "WHAT NEXT? Type a number, then Enter.", "")
        self.number(words for words, _do in items)
        do = self.pick("\nNumber: ", [each for _words, each in items])
        if do is not None:
            do()

    def guarded(self, do: Callable[[], None]) -> None:
        """One step; an error leads back to the menu."""
        try:
            do()
        except FleetError as error:
            self.screen.say("", "THAT DID NOT WORK.", *wrapped(error.what, "  ", "  "))
            if error.safe:
                self.screen.say(*wrapped(error.safe, "  Safe now: ", "    "))
            if error.todo:
                self.screen.say(*wrapped(error.todo, "  Next: ", "    "))
        except KeyboardInterrupt:
            self.screen.say("", "Broken off.")

    def number(self, things: Iterable[str]) -> None:
        """Show a list to choose from."""
        self.screen.say(*("  {0:>2}  {1}".format(number, words) for number, words in enumerate(things, 1)))

    def pick(self, prompt: str, choices: Sequence[_Kind]) -> Optional[_Kind]:
        """One of several things, by its number; ``None`` with a word about it where that is no number of theirs."""
        answer = self.screen.ask(prompt)
        if answer.isdigit() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        self.screen.say("", "That is no number from 1 to {0}. Nothing was done.".format(len(choices)))
        return None

    def confirm(self, *what: str) -> bool:
        """Say what will be done, and do it only when the digits are typed that are shown."""
        code = "".join(secrets.choice(codes.CONFIRMING) for _digit in range(codes.LENGTH))
        self.screen.say("", "THIS WILL BE DONE:")
        for each in what:
            self.screen.say(*wrapped(each, "  - ", "    "))
        self.screen.say("", "To do it, type these six digits: {0}".format(codes.spaced(code)))
        answer = self.screen.ask("Digits (or just Enter to go back): ")
        if answer.replace(" ", "") == code:
            return True
        self.screen.say("", "Those were not the digits. Nothing was done." if answer else "Nothing was done.")
        return False

    # looking

    def show_status(self) -> None:
        """Large and plain."""
        self.now = status.collect(self.runner, self.places, self.clock())
        self.screen.say(*status.render(self.now))

    def pool_name(self) -> str:
        """The name of this host's pool.

        :raises FleetError: when the image does not say.
        """
        running = self.now["host"]["running"] or {}
        if not running.get("pool"):
            raise FleetError("the running system does not say which pool is its own", todo="start the other system (5)")
        return str(running["pool"])

    def refuse_hung(self) -> None:
        """Nothing can be asked of ZFS while an import hangs.

        :raises Refused: while it does.
        """
        if self.guard.hung:
            raise Refused(
                "an import of the pool hangs, and so would everything else that asks for the pool",
                safe="nothing was written to the pool",
                todo="restart (4); if it hangs again, shut down (10) and look at the cables of the disks",
            )

    def describe(self, pool: Candidate) -> List[str]:
        """A pool and its disks."""
        disks = count_disks(pool)
        lines = ["POOL {0}: {1}".format(pool.name, disks.describe().upper()), "  zpool says: {0}".format(pool.state)]
        lines += ["  missing: {0}".format(each) for each in disks.missing]
        if pool.status:
            lines += wrapped(pool.status, "  ", "  ")
        return lines

    def look(self) -> None:
        """What of the pool is there."""
        self.refuse_hung()
        zpool, name = Zpool(self.runner), self.pool_name()
        seen = sysctl(self.runner, "kern.disks").split()
        self.screen.say("", "THE MACHINE SEES {0} DISKS (with the one that it started from).".format(len(seen)))
        imported = zpool.status(name) if zpool.pool(name) else None
        if imported is not None:
            self.screen.say("", "The pool is in use.", *self.describe(imported))
            return
        pools = zpool.candidates()
        if not any(each.name == name for each in pools):
            self.screen.say("", "NO DISK OF THE POOL {0} WAS FOUND.".format(name))
            self.screen.say("  Shut down (10), look at power and cables of the disks, switch on.")
        for pool in pools:
            self.screen.say("", *self.describe(pool))

    def candidate(self) -> Optional[Candidate]:
        """The pool that is meant. Somebody has to choose only where two have the name.

        :raises FleetError: when it is in use, or there is none.
        """
        self.refuse_hung()
        zpool, name = Zpool(self.runner), self.pool_name()
        if zpool.pool(name) is not None:
            raise Refused("the pool {0} is in use by the running system".format(name), todo="choose 2 to look at it")
        named = [each for each in zpool.candidates() if each.name == name]
        if not named:
            raise FleetError("no disk of the pool {0} was found".format(name), todo="choose 2")
        if len(named) == 1:
            return named[0]
        self.screen.say("", "THERE ARE {0} POOLS OF THAT NAME.".format(len(named)), "")
        self.number("{0}, last used on {1}".format(count_disks(pool).describe(), self.owner(pool)) for pool in named)
        return self.pick("\nWhich? Number: ", named)

    def owner(self, pool: Candidate) -> str:
        """The host that had a pool last."""
        label = Zpool(self.runner).last_host(pool)
        return label.hostname if label and label.hostname else "an unknown host"

    def try_pool(self) -> None:
        """Import read-only, look, export."""
        pool = self.candidate()
        if pool is None:
            return
        disks = count_disks(pool)
        if pool.state == "UNAVAIL" and disks.missing:
            raise Refused(
                "the pool {0} cannot be opened: {1}".format(pool.name, disks.describe()),
                safe="nothing was written to any disk",
                todo="shut down (10), look at power and cables of the disks, switch on",
            )
        if not self.confirm(
            "The pool {0} ({1}) is opened read-only. Nothing is written to it.".format(pool.name, disks.describe()),
            "What is on it is shown, and it is closed again.",
        ):
            return
        zpool = Zpool(self.runner)
        zpool.import_pool(pool.guid, ImportOptions(readonly=True, altroot=_ALTROOT, force=True))
        self.screen.say("", "THE POOL CAN BE OPENED.")
        try:
            self.show_pool(pool.name)
        finally:
            zpool.export(pool.name)
        self.screen.say("", "It is closed again.")

    def show_pool(self, name: str) -> None:
        """What is on a pool that is imported."""
        zfs = Zfs(self.runner)
        datasets = zfs.datasets(name)
        for each in datasets[:_MOST_DATASETS]:
            self.screen.say("  {0:<50} {1:>9} MiB".format(each.name, each.referenced >> 20))
        if len(datasets) > _MOST_DATASETS:
            self.screen.say("  and {0} more".format(len(datasets) - _MOST_DATASETS))
        if any(each.name == root_of(name) for each in datasets):
            journal = JournalStore(zfs, name).read()
            self.screen.say("  Its journal: {0}; last kept: {1}".format(journal.phase, journal.image or "unknown"))
        else:
            self.screen.say("  It has no datasets of a host of this fleet ({0}).".format(root_of(name)))

    # starting

    def which_starts(self) -> str:
        """The slice that the boot code will take, in its order (gptboot(8))."""
        slices = sorted(read_medium(self.runner).slices.values(), key=lambda each: each.index)
        for wanted in ({BOOTONCE, BOOTME}, {BOOTME}, {ACTIVE}):
            for each in slices:
                if wanted <= each.flags:
                    return each.label
        return RECOVERY

    def system_in(self, label: str) -> str:
        """What a slice holds, in words."""
        content = read_slice(read_medium(self.runner).get(label), False)
        inside = content.inside.as_dict() if content.inside else None
        return "{0} in slice {1}".format(status.image_words(inside) if inside else content.problem, label)

    def restart(self) -> None:
        """Restart, as it is."""
        if self.confirm("The host restarts and starts {0}.".format(self.system_in(self.which_starts()))):
            self._end("-r")

    def other_system(self) -> None:
        """Make a slice the one that boots, and restart."""
        journal = self.now["host"]["journal"]
        if journal is not None and journal["phase"] in ("armed", "trial", "reverting"):
            raise Refused(
                "an upgrade is under way ({0})".format(journal["phase"]),
                safe="nothing was changed",
                todo="leave to a shell (11) and type `nanozfs commit` or `nanozfs revert`",
            )
        labels = [label for label in sorted(OTHER) if label in read_medium(self.runner).slices]
        self.screen.say("", "WHICH SYSTEM SHALL START, now and from now on?", "")
        starts = self.which_starts()
        usual = {starts: " (would start anyway)"}
        self.number(self.system_in(each) + usual.get(each, "") for each in labels)
        label = self.pick("\nWhich? Number: ", labels)
        if label is None:
            return
        if read_slice(read_medium(self.runner).get(label), False).inside is None:
            raise Refused("{0}".format(self.system_in(label)), safe="nothing was changed", todo="choose the other one")
        if self.confirm("The host restarts and starts {0}, now and from now on.".format(self.system_in(label))):
            selection.choose(self.runner, label, "active")
            self._end("-r")

    def power_off(self) -> None:
        """Shut down."""
        if self.confirm("The host shuts down and switches itself off. It has to be switched on by hand."):
            self._end("-p")

    def _end(self, how: str) -> None:
        self.runner.change(["shutdown", how, "now"], "shut down", safe="the host goes on as it is")
        self.screen.say("", "It goes down now.")
        raise Leave

    def leave(self) -> None:
        """Back to where the menu was started from."""
        if self.confirm("This menu ends. What is typed then are commands, and nothing asks before it does them."):
            raise Leave

    # the network

    def interfaces(self) -> List[str]:
        """The network interfaces that have a plug."""
        names = self.runner.ask(["ifconfig", "-l"], "list the network interfaces").out.split()
        return [name for name in names if not name.startswith(("lo", "pflog", "pfsync", "enc"))]

    def network(self) -> None:
        """Interfaces, addresses, default route."""
        self.screen.say("", "NETWORK")
        for name in self.interfaces():
            lines = [line.strip() for line in self.runner.ask(["ifconfig", name], "look at " + name).lines()]
            cable = next((line[8:] for line in lines if line.startswith("status: ")), "unknown")
            words = [line.split() for line in lines if line.startswith(("inet ", "inet6 "))]
            self.screen.say("  {0}: cable {1}".format(name, cable.upper()))
            self.screen.say(*("    address {0}".format(each[1]) for each in words))
            if not words:
                self.screen.say("    no address")
        routes = self.runner.query(["netstat", "-rn"]).lines()
        gateways = [line.split()[1] for line in routes if line.startswith("default ")]
        self.screen.say("  default gateway: {0}".format(", ".join(gateways) or "none"))

    def address(self) -> None:
        """An address until the next start."""
        names = self.interfaces()
        self.screen.say("", "WHICH INTERFACE?", "")
        self.number(names)
        name = self.pick("\nWhich? Number: ", names)
        if name is None:
            return
        try:
            interface = ipaddress.ip_interface(self.screen.ask("Address with prefix length, as 192.0.2.10/24: "))
            typed = self.screen.ask("Default gateway, as 192.0.2.1 (or just Enter for none): ")
            gateway = ipaddress.ip_address(typed) if typed else None
        except ValueError as error:
            raise FleetError(str(error), safe="nothing was changed", todo="choose 7 again")
        if interface.network.prefixlen == interface.max_prefixlen:
            raise FleetError("the prefix length is missing", safe="nothing was changed", todo="choose 7 again")
        if gateway is not None and gateway.version != interface.version:
            raise FleetError("address and gateway are of different kinds", safe="nothing was changed")
        what = "{0} gets the address {1}, until the next start.".format(name, interface)
        then = "The default gateway becomes {0}.".format(gateway) if gateway else "The default gateway stays as it is."
        if self.confirm(what, then):
            self._set_address(name, str(interface), "inet6" if interface.version == 6 else "inet", gateway)

    def _set_address(self, name: str, interface: str, family: str, gateway: Optional[object]) -> None:
        self.runner.attempt(["service", "dhclient", "onestop", name])  # or it would take the address away again
        self.runner.change(["ifconfig", name, family, interface, "up"], "set the address of " + name)
        if gateway is not None:
            self.runner.attempt(["route", "-n", "delete", "-" + family, "default"])  # there may be none
            self.runner.change(["route", "-n", "add", "-" + family, "default", str(gateway)], "set the default gateway")
        self.network()

    def call(self) -> None:
        """Let the operators in from outside."""
        where = bastion.load(self.places.etc)
        if where is None:
            raise Refused(
                "the image does not say where to call (/etc/{0})".format(bastion.CONF),
                safe="nothing was changed",
                todo="tell the operators the address that 6 shows",
            )
        if self.confirm(
            "This host calls {0}, port {1}. It must be who the image says it is.".format(where.host, where.port),
            "Until the next start the operators can log in to this host from there, with their keys.",
        ):
            port = bastion.call(self.runner, where)
            self.screen.say("", "CONNECTED. Tell the operators: PORT {0}".format(port))

    def log(self) -> None:
        """What the early boot hook and the kernel said."""
        path = os.path.join(self.places.etc, "nanozfs.log")
        self.screen.say("", "THE START OF THE SYSTEM SAID:")
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError as error:
            lines = ["{0} cannot be read: {1}".format(path, error.strerror)]
        self.screen.say(*("  " + line[: WIDTH - 2] for line in lines[-_LINES:]))
        self.screen.say("", "THE KERNEL SAID LAST:")
        said = self.runner.query(["dmesg"])
        lines = said.out.splitlines() if said.rc == 0 else [said.err.strip()]
        self.screen.say(*("  " + line[: WIDTH - 2] for line in lines[-_LINES:]))

    # what changes the pool

    def unlock(self) -> None:
        """Show the step that writes to the pool; it still has to be confirmed."""
        if self.confirm(
            "The menu gets one more step, which changes the pool. Only operators may ask for this.",
            "Nothing is changed by unlocking it.",
        ):
            self.unlocked = True

    def rewind(self) -> None:
        """Open a pool that was left damaged, without its last seconds (zpool import -F).

        With ``-n`` that is a dry run only of a pool that cannot be opened. One that can is imported for real, also from
        another host (transcripts of 15.0, ``zpool/383-import-Fn-importable`` and ``387``; ``spa_load_best()`` in
        ``spa.c`` is the same in 13.2): so the look is read-only as well, and whether the pool is there afterwards is
        asked. Of one that could go back zpool says so with exit status 1 (``zpool_import_props()`` in
        ``libzfs_pool.c``).
        """
        pool = self.candidate()
        if pool is None:
            return
        zpool = Zpool(self.runner)
        if zpool.pool(pool.guid) is not None:
            raise Refused(
                "the pool {0} is in use by the running system".format(pool.name),
                safe="nothing was written to the pool",
                todo="it needs no taking back; ask the operators what made you choose this",
            )
        look = ["zpool", "import", "-f", "-F", "-n", "-N", "-o", "cachefile=none", "-o", "readonly=on", pool.guid]
        would = self.runner.query(look)
        said = (would.out + would.err).split("\n")
        self.screen.say("", "zpool says:", *("  " + line for line in said if line.strip()))
        if zpool.pool(pool.guid) is not None:
            zpool.export(pool.name)
            raise Refused(
                "the pool {0} can be opened as it is: there is nothing to take back".format(pool.name),
                safe="it was opened read-only and is closed again; nothing was written to it",
                todo="start once more as usual (4)",
            )
        if _COULD not in would.out:
            raise FleetError(
                "the pool cannot be taken back either",
                safe="nothing was written to the pool",
                todo="read out what zpool says; the operators have to decide",
            )
        if not self.confirm(
            "The pool {0} is opened for writing. ITS LAST SECONDS ARE LOST FOR GOOD: what zpool says above.".format(
                pool.name
            ),
            "It is closed again. Then start once more as usual (4).",
        ):
            return
        self.runner.change(
            ["zpool", "import", "-f", "-F", "-N", "-o", "cachefile=none", pool.guid],
            "take the pool {0} back".format(pool.name),
            safe="the pool is not imported",
            todo="look at the pool (2), and tell the operators what zpool said",
        )
        zpool.export(pool.name)
        self.screen.say("", "DONE. Choose 4 to start once more as usual.")
