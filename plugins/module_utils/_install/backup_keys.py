# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The lines of authorized_keys by which backup hosts come to a host: one each, which lets them do one thing.

They are told from those of people by their comment, ``nanozfs-backup@LABEL``, and stay when the site writes its keys
anew. Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT: ``restrict`` takes everything away that is not given (ports, agents,
terminals), ``from`` takes addresses and networks in CIDR notation, ``command`` goes before whatever is asked for.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import Exposing
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import PROPERTY, Records, check_label
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.configuration import Configuration, File
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.keys import MARK, is_of_backup
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, state_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look

PROGRAM = "/usr/local/sbin/nanozfs"

_SAFE = "nothing was changed"

#: sshd(8), AUTHORIZED_KEYS FILE FORMAT: the type and the key in base64
_KEY = re.compile(r"((?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}) ([A-Za-z0-9+/]{16,8000}={0,3})(?: .*)?\Z")


class Puller(NamedTuple):
    """A backup host that may read: its label, its public key, and the addresses that it comes from."""

    label: str
    key: str
    addresses: Sequence[str]

    def line(self) -> str:
        """Its line.

        :raises Refused: when one of its parts cannot be one.
        """
        match = _KEY.match(self.key.strip())
        if match is None:
            raise Refused(
                "the key of the backup host {0} is no public key of ssh".format(check_label(self.label)), safe=_SAFE
            )
        options = ["restrict"]
        if self.addresses:
            options.append('from="{0}"'.format(",".join(_address(each, self.label) for each in self.addresses)))
        options.append('command="{0} backup serve {1}"'.format(PROGRAM, check_label(self.label)))
        return "{0} {1} {2} {3}{4}".format(",".join(options), match.group(1), match.group(2), MARK, self.label)


def _address(text: str, label: str) -> str:
    """An address or a network; a name is none, as sshd(8) does not look it up by default (UseDNS)."""
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError:
        raise Refused(
            "{0!r} is no address that the backup host {1} could come from".format(text, label),
            safe=_SAFE,
            todo="give addresses or networks, such as 192.0.2.5 or 2001:db8::/64 (backup_addresses)",
        )


def changed(lines: Sequence[str], pullers: Sequence[Puller], gone: Sequence[str], only: bool) -> List[str]:
    """The lines of authorized_keys as they shall be: those of people as they are, in their order.

    :param pullers: each has one line afterwards, in the place of any that it had.
    :param gone: labels that have none.
    :param only: no other label has one either.
    """
    wanted = {puller.label: puller.line() for puller in pullers}
    kept = []
    for line in lines:
        label = is_of_backup(line)
        if label is None:
            kept.append(line)
        elif label in wanted:
            kept.append(wanted.pop(label))
        elif label not in (*gone, *(puller.label for puller in pullers)) and not only:
            kept.append(line)
    return kept + list(wanted.values())


@dataclass
class Outcome:
    """What was done, or in check mode would be; ``keys`` are the public keys that the host stays known by to ssh."""

    changed: bool
    before: str
    after: str
    keys: List[str] = field(default_factory=list)
    labels: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)


def _fit(runner: Runner, pool: Optional[str]) -> Situation:
    """A host on which keys can be changed for good.

    :raises Refused: when it is not.
    """
    state, reason = state_of(runner, None)
    here = look(runner, pool) if state == NORMAL else None
    if here is None or state_of(runner, here.medium)[0] != NORMAL:
        said = state if here is None else "trial"
        raise Refused(
            "the host is in state {0}{1}".format(said, " ({0})".format(reason) if reason else ""),
            safe=_SAFE,
            todo="finish that first: the playbook status says what it is",
        )
    return here


def refuse_without(runner: Runner) -> None:
    """Refuse a host that could not be read from: its image has no rsync, or an agent that knows nothing of backups.

    :raises Refused: with what is missing.
    """
    if shutil.which("rsync", path=ENVIRONMENT["PATH"]) is None:
        raise Refused(
            "the host has no rsync, by which its backups are read",
            safe=_SAFE,
            todo="add the package rsync to the image (image_pkg), build, and upgrade the host",
        )
    if runner.query([PROGRAM, "backup", "--help"]).rc != 0:
        raise Refused(
            "the agent of the host's image knows nothing of backups: it was built by an earlier version of the "
            "collection",
            safe=_SAFE,
            todo="build a new image and upgrade the host",
        )


class Source:
    """The keys of backup hosts on one host.

    :param places: where its trees are.
    """

    def __init__(self, runner: Runner, places: Places, pool: Optional[str]) -> None:
        self.runner = runner
        self.places = places
        self.here = _fit(runner, pool)

    def _now(self) -> Tuple[List[str], int, str]:
        """The lines that count now, the mode of their file, and what should be known of where they come from."""
        for tree, words in (
            (self.places.cfg, ""),
            (
                self.places.base,
                "the keys of the image are in /cfg now, together with those of backup hosts: give them as "
                "deploy_authorized_keys, or those of later images will not count on this host",
            ),
        ):
            path = os.path.join(tree, KEYS)
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines = file.read().splitlines()
                    return lines, os.fstat(file.fileno()).st_mode & 0o777, words
            except OSError:
                continue
        return [], 0o600, ""

    def _write(self, lines: Sequence[str], mode: int) -> Any:
        content = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
        own = (os.geteuid(), 0 if os.geteuid() == 0 else os.getegid())
        cfg = Configuration(self.runner, self.places, self.here.pool, True)
        return cfg, cfg.write([File(KEYS, content, mode, *own)], sysctl(self.runner, "kern.hostname"), keep=False)

    def present(self, pullers: Sequence[Puller], only: bool) -> Outcome:
        """Let backup hosts in.

        :param only: and no others than these.
        """
        refuse_without(self.runner)
        return self._become(pullers, (), only)

    def absent(self, labels: Sequence[str]) -> Outcome:
        """Let backup hosts in no more, end what is shown to them, and forget how their backups went."""
        found = self._become((), [check_label(label) for label in labels], False)
        for label in labels:
            known = self.here.zfs.properties(self.here.root, "local,received")
            if PROPERTY + label in known:
                Records(self.here.zfs, self.here.pool).forget(label)
                found.changed = True
                found.before += "the record of the last backup by {0}\n".format(label)
            exposing = Exposing(self.runner, label)
            with exposing.locked():
                found.warnings += exposing.close(self.here.pool)
                found.changed |= bool(exposing.forget_marks(self.here.pool))
        return found

    def _become(self, pullers: Sequence[Puller], gone: Sequence[str], only: bool) -> Outcome:
        lines, mode, words = self._now()
        wanted = changed(lines, pullers, gone, only)
        cfg: Configuration
        if wanted == lines and not lines:  # neither a line nor a file is there, and none is wanted
            cfg = Configuration(self.runner, self.places, self.here.pool, True)
            written = cfg.write([], sysctl(self.runner, "kern.hostname"))
        else:
            cfg, written = self._write(wanted, mode)
        before, after = ([line for line in each if is_of_backup(line)] for each in (lines, wanted))
        warnings = [words] if words and wanted != lines else []
        if written.overwritten:
            warnings.append(
                "{0} had been changed on the host and not saved; what /cfg has is in place now".format(
                    ", ".join(sorted(written.overwritten))
                )
            )
        warnings += [
            "the key of the backup host {0} counts from every address (backup_addresses)".format(puller.label)
            for puller in pullers
            if not puller.addresses
        ]
        return Outcome(
            written.changed,
            "".join(line + "\n" for line in before) + (written.before if before == after else ""),
            "".join(line + "\n" for line in after) + (written.after if before == after else ""),
            [key for key in [cfg.public()] if key],
            sorted(label for label in map(is_of_backup, wanted) if label is not None),
            warnings,
        )


def pullers_of(given: Sequence[Mapping[str, Any]]) -> List[Puller]:
    """The backup hosts that have a key; one that has none yet, as in the first run in check mode, is left out.

    :raises Refused: when two of them have one label.
    """
    found = [Puller(check_label(each["label"]), each["key"], list(each["addresses"] or ())) for each in given]
    seen: Dict[str, Puller] = {}
    for puller in found:
        if puller.label in seen:
            raise Refused("two backup hosts are called {0}".format(puller.label), safe=_SAFE)
        seen[puller.label] = puller
        puller._replace(key=puller.key or "ssh-ed25519 AAAAAAAAAAAAAAAAAAAA").line()  # its addresses are judged anyway
    return [puller for puller in found if puller.key.strip()]
