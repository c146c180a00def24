# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Making a host itself: slice, pool, datasets, journal, configuration, in this order, and up to the first that fails.

Everything that can be refused is refused before anything is changed. What is done is done by the same functions that
the modules for the single steps call. The same on a host that is installed brings it up to date.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import RECOVERY as RECOVERY_SLICE
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs, ensure_dataset
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import configuration, datasets, keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.configuration import Configuration, File
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS, Entry, merged
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import selection, transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import (
    CLOSED,
    IDLE,
    Journal,
    JournalStore,
    root_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, RECOVERY, TRIAL

#: what comes next on a host
MEDIUM, HOST = "medium", "install"

_SAFE = "nothing was changed"

#: how many files are named before it is only said how many there are
_NAMED = 6


@dataclass(frozen=True)
class Wish:
    """What a host shall be.

    :param files: what the site gives it besides rc.conf and keys.
    """

    pool: str
    hostname: str
    vdevs: Sequence[Mapping[str, Any]] = ()
    pool_properties: Mapping[str, Any] = field(default_factory=dict)
    filesystem_properties: Mapping[str, Any] = field(default_factory=dict)
    force_hostid: Optional[str] = None
    datasets: Sequence[Mapping[str, Any]] = ()
    rc_conf: Mapping[str, Any] = field(default_factory=dict)
    authorized_keys: Sequence[str] = ()
    files: Sequence[Entry] = ()


@dataclass
class Outcome:
    """What was done, or in check mode would be: both sides of a diff, and what people should know.

    ``key`` is the public key that the host is known by to ssh as itself.
    """

    host: Dict[str, Any]
    step: str = HOST
    changed: bool = False
    restart: bool = False
    before: List[str] = field(default_factory=list)
    after: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)
    key: str = ""

    def note(self, changed: bool, before: str, after: str) -> None:
        """Count something that was done."""
        if changed:
            self.changed = True
            self.before += [before] if before else []
            self.after += [after] if after else []


def is_of_fleet(host: Mapping[str, Any]) -> bool:
    """Whether a host runs from a medium of the collection."""
    return host["medium"] is not None and bool((host["running"] or {}).get("name"))


def next_step(host: Mapping[str, Any], disk: Optional[str]) -> str:
    """Whether a host gets its medium first, or is installed.

    :param disk: the disk that may become its medium.
    """
    if not disk or host["state"] == NORMAL:
        return HOST
    on_it = is_of_fleet(host) and host["medium"]["disk"] == os.path.basename(disk)
    return HOST if on_it else MEDIUM


def refuse_host(host: Mapping[str, Any], pool: str) -> None:
    """Refuse a host that cannot be installed as it is now.

    :param host: its survey.
    :raises Refused: with the reason.
    """
    said = "; ".join(each for each in [*host["warnings"], host["reason"]] if each)
    more = " ({0})".format(said) if said else ""
    if not is_of_fleet(host):
        raise Refused(
            "the host does not run from a medium of the fleet{0}".format(more),
            safe=_SAFE,
            todo="boot it from a medium that the playbook build has made for this fleet, or name the disk that shall "
            "become one (deploy_disk)",
        )
    phase = (host["journal"] or {}).get("phase", IDLE)
    if host["state"] == TRIAL or host["running"]["on_trial"] or phase not in CLOSED:
        raise Refused(
            "the host is on trial or in the middle of an upgrade (state {0}, phase {1})".format(host["state"], phase),
            safe=_SAFE,
            todo="finish that first: the playbook status says what it is, commit keeps it, abandon gives it up",
        )
    if host["state"] not in (NORMAL, RECOVERY):
        raise Refused(
            "the host is in state {0}{1}: its early boot hook did not run".format(host["state"], more),
            safe=_SAFE,
            todo="look at its console and restart it",
        )
    if host["running"]["slice"] == RECOVERY_SLICE:
        raise Refused(
            "the host was started from its recovery slice, and would start from that again{0}".format(more),
            safe=_SAFE,
            todo="type `nanozfs recovery` there, have another system start, and run this again",
        )
    if host["running"]["pool"] != pool:
        raise Refused(
            "its image names the pool {0}, deploy_pool is {1}".format(host["running"]["pool"] or "none", pool),
            safe=_SAFE,
            todo="correct deploy_pool (nanozfs_pool), or boot it from a medium of the right fleet",
        )


def refuse_lock_out(wish: Wish, state: str, places: Places) -> None:
    """Refuse to leave a new host without anybody who could log in.

    :raises Refused: when there is no key.
    """
    texts = ["\n".join(wish.authorized_keys)]
    texts += [entry.content.decode("utf-8", "replace") for entry in wish.files if entry.path == KEYS]
    given = any(keys.lets_people_in(text) for text in texts)  # a backup host can only read
    if state != RECOVERY or given or os.path.exists(os.path.join(places.base, KEYS)):
        return
    raise Refused(
        "Nobody could log in to {0} after its restart: neither deploy_authorized_keys nor {1} in deploy_files or "
        "deploy_folders is given, nor is there one in the image".format(wish.hostname, KEYS),
        safe=_SAFE,
        todo="give deploy_authorized_keys",
    )


def refuse_two_keys(wish: Wish) -> None:
    """Refuse two sources of the keys that may log in, of which one would be lost.

    :raises Refused: when there are.
    """
    other = next((entry.source for entry in wish.files if entry.path == KEYS), None)
    if other and wish.authorized_keys:
        raise Refused(
            "{0} is given by deploy_authorized_keys and by {1}".format(KEYS, other),
            safe=_SAFE,
            todo="give it once",
        )


class Installation:
    """One call for one host.

    :param places: where its trees are.
    :param root: what stands before the places of datasets; for tests.
    """

    def __init__(self, runner: Runner, wish: Wish, places: Places, root: str = "") -> None:
        self.runner = runner
        self.wish = wish
        self.places = places
        self.top = root
        self.zfs = Zfs(runner)
        self.root = root_of(wish.pool)

    def plan(self, disk: Optional[str]) -> Outcome:
        """Say what would be done, of a runner in check mode.

        :param disk: the disk that may become the host's medium, where it does not run from one.
        :raises FleetError: when it cannot be done.
        """
        self._wanted()
        host = _host.survey(self.runner, self.wish.pool, digest=False)
        if next_step(host, disk) == MEDIUM:
            return Outcome(host, MEDIUM)
        return self._done(host)

    def run(self) -> Outcome:
        """Do it, or in check mode say what would be done.

        :raises FleetError: at the first that fails.
        """
        with leases.locked(self.runner.check_mode):
            return self._done(_host.survey(self.runner, self.wish.pool, True, ["running"]))

    def _done(self, host: Dict[str, Any]) -> Outcome:
        """All steps, for a host that was looked at."""
        outcome = Outcome(host)
        installed = host["state"] == NORMAL
        items, files = self._examine(host)
        self._slice(host, outcome)
        self._pool(host, outcome)
        self._datasets(items, installed, outcome)
        self._journal(host, outcome)
        self._configure(files, installed, outcome)
        outcome.restart = not installed
        return outcome

    def _wanted(self) -> Tuple[List[datasets.Wanted], List[Entry]]:
        """The datasets and files that are wanted, whatever host it is.

        :raises Refused: when they cannot be.
        """
        wish = self.wish
        refuse_two_keys(wish)
        own = configuration.own_entries(wish.hostname, wish.rc_conf, wish.authorized_keys)
        return datasets.wanted(wish.pool, wish.datasets), merged([*wish.files, *own])

    def _examine(self, host: Mapping[str, Any]) -> Tuple[List[datasets.Wanted], List[File]]:
        """Refuse what can be refused; the datasets and files that are wanted."""
        wish = self.wish
        if _host.import_hung(self.runner):
            raise Refused(
                "the import of the pool hangs in the kernel, and so would every command about it",
                safe=_SAFE,
                todo="restart the host; `nanozfs recovery` at its console helps further",
            )
        refuse_host(host, wish.pool)
        refuse_lock_out(wish, host["state"], self.places)
        items, entries = self._wanted()
        datasets.refuse_homeless(items, self.top)
        there = [each["name"][len(self.root) + 1 :] for each in host["datasets"]]
        if host["pool"] is not None:
            datasets.refuse_orphans(items, there)
        if host["state"] == NORMAL:
            datasets.refuse_covering(datasets.unmounted(self.zfs, wish.pool, items, self.top))
        files = configuration.resolve(entries)
        configuration.judge(self.runner, files, self.places)
        self._examine_pool(host, items)
        return items, files

    def _examine_pool(self, host: Mapping[str, Any], items: Sequence[datasets.Wanted]) -> None:
        """Refuse disks that a pool cannot be made of."""
        if host["pool"] is not None or self._is_importable(host):
            return
        datasets.refuse_orphans(items, ())
        if not self.wish.vdevs:
            there = ", ".join(each["name"] for each in host["importable"]) or "none"
            raise Refused(
                "there is no pool {0} (there is: {1}), and deploy_pool_vdevs names no disks to make it of".format(
                    self.wish.pool, there
                ),
                safe=_SAFE,
                todo="attach its disks, or set deploy_pool_vdevs",
            )
        pools.check_disks(self.runner, self.wish.vdevs, "deploy_pool_vdevs")

    def _is_importable(self, host: Mapping[str, Any]) -> bool:
        return self.wish.pool in [each["name"] for each in host["importable"]]

    def _slice(self, host: Mapping[str, Any], outcome: Outcome) -> None:
        """Have the slice that runs boot again.

        A medium that was written to a disk larger than its image has the second copy of its partition table in the
        middle.
        """
        if host["medium"]["inactive"] is None:
            return
        choice = selection.choose(self.runner, "running", "active", True)
        said = "boot attributes of {0}: ".format(choice.medium.disk)
        outcome.note(choice.changed, "{0}{1}".format(said, choice.before), "{0}{1}".format(said, choice.after))
        outcome.note(choice.recovered, "", "partition table of {0}: recovered".format(choice.medium.disk))

    def _pool(self, host: Mapping[str, Any], outcome: Outcome) -> None:
        """Bring the pool in, or make it."""
        wish = self.wish
        if host["pool"] is not None:
            return
        if self._is_importable(host):
            wanted = pools.Wanted(wish.pool, force_hostid=wish.force_hostid, option="deploy_force_hostid")
            done = pools.ensure_imported(Zpool(self.runner), wanted)
            outcome.note(done.changed, "", "pool {0}: imported".format(wish.pool))
            if not self.runner.check_mode:
                self._refuse_open_journal()
            return
        done = pools.ensure_created(
            self.runner,
            wish.pool,
            wish.vdevs,
            wish.pool_properties,
            wish.filesystem_properties,
            "deploy_pool_vdevs",
        )
        outcome.note(done.changed, "", "pool {0}".format(str(done.after).strip()))

    def _refuse_open_journal(self) -> None:
        """Leave a pool alone that is in the middle of an upgrade: the next start finishes that."""
        if self.zfs.dataset(self.root) is None:
            return
        journal = JournalStore(self.zfs, self.wish.pool).read()
        if journal.is_open:
            raise Refused(
                "the pool {0} is in the middle of an upgrade (phase {1})".format(self.wish.pool, journal.phase),
                safe="it was imported, and nothing in it was changed",
                todo="restart the host: its early boot hook goes on with that, or takes it back",
            )

    def _datasets(self, items: Sequence[datasets.Wanted], installed: bool, outcome: Outcome) -> None:
        """Make the datasets of layout and site, and mount those that the hook would mount at the next start."""
        pool = self.wish.pool
        every = [("{0}/{1}".format(pool, name), properties) for name, properties in datasets.LAYOUT]
        every += [(item.full(pool), dict(item.properties)) for item in items]
        for name, properties in every:
            before, after = ensure_dataset(self.zfs, name, properties)
            told = "dataset {0}: ".format(name)
            was = "" if before is None else told + _shown(before)
            outcome.note(before is None or bool(after), was, told + _shown(after))
        if installed:
            for item, path in datasets.unmounted(self.zfs, pool, items, self.top):
                outcome.note(self._mount(item.full(pool), path), "", "{0}: mounted at {1}".format(item.name, path))

    def _mount(self, dataset: str, path: str) -> bool:
        """Mount a dataset where the next start will: what is written there until then must not be hidden by it."""
        if os.path.isdir(path) and os.listdir(path):
            return False  # others are mounted in there; the next start mounts them in order
        if not self.runner.check_mode:
            os.makedirs(path, exist_ok=True)
        before = os.stat(path) if os.path.isdir(path) else None
        self.runner.change(["mount", "-t", "zfs", dataset, path], "mount {0}".format(dataset))
        if before is not None and not self.runner.check_mode and not os.listdir(path):  # for whom the folder was
            os.chown(path, before.st_uid, before.st_gid)
            os.chmod(path, before.st_mode & 0o7777)
        return True

    def _journal(self, host: Mapping[str, Any], outcome: Outcome) -> None:
        """Note which image is installed."""
        running = host["running"]
        if running.get("id") is None:  # not hashed: only looked at
            return
        store = JournalStore(self.zfs, self.wish.pool)
        known = not self.runner.check_mode or bool(self.zfs.properties(store.root))
        before = store.read() if known else Journal()
        after = transaction.record(before, ImageRef(running["id"], running["build"], running["version"]))
        changed = after != before and store.write(after)
        if not self.runner.check_mode:
            outcome.warnings += _state.tell(self.runner, self.wish.pool, after)
        image = "journal: installed is {0}".format
        outcome.note(changed, image(before.image) if before.image else "", image(after.image))

    def _configure(self, files: Sequence[File], installed: bool, outcome: Outcome) -> None:
        """Write /cfg."""
        cfg = Configuration(self.runner, self.places, self.wish.pool, installed)
        written = cfg.write(files, self.wish.hostname)
        outcome.note(written.changed, written.before.rstrip("\n"), written.after.rstrip("\n"))
        outcome.key = written.key
        if written.overwritten:
            outcome.warnings.append(
                "{0} had been changed on the host and not saved; the inventory's version is in place now".format(
                    ", ".join(sorted(written.overwritten))
                )
            )
        if written.renewed and not self.runner.check_mode:
            outcome.warnings.append(
                "{0} {1} new in /etc: what runs has read the old one; restart the services that it is for, or the host "
                "(its name and network count from a start on)".format(
                    first_of(sorted(written.renewed), _NAMED), "is" if len(written.renewed) == 1 else "are"
                )
            )


def _shown(properties: Mapping[str, str]) -> str:
    return " ".join("{0}={1}".format(key, value) for key, value in sorted(properties.items())) or "there"


def check_up(host: Mapping[str, Any], hostname: str) -> None:
    """Refuse to call a host installed that did not come up as itself.

    :param host: its survey.
    :raises FleetError: with what it came up as.
    """
    if host["state"] != NORMAL or host["hostname"] != hostname:
        raise FleetError(
            "the host came up in state {0}{1} under the name {2!r}, and should be {3!r}".format(
                host["state"], " ({0})".format(host["reason"]) if host["reason"] else "", host["hostname"], hostname
            ),
            safe="its pool and configuration are in place",
            todo="look at its console, and at /var/log/nanozfs.log",
        )
