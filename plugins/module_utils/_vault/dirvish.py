# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Dirvish, as the method of a host: https://dirvish.org, Debian's and FreeBSD's package of that name.

Each set is an image in the vault of the host. Which image the new one is linked to and when it expires is said on the
command line, and decided here: dirvish would take an image for good that is none, see :data:`transfer.WRAPPER`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, replace
from typing import List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import sets, transfer
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import DIRVISH, SEND, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.method import LEFTOVERS, Method
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.retention import days, kind_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import OK, Pull, write_json

#: exit status that dirvish takes for the end of an image that is none, at once (``%RSYNC_CODES``, fatal)
_FATAL = "1"

MARK = "# Written by nanozfs.fleet (backup_vault)"


def bank_of(fleet: Fleet) -> str:
    """The folder of all vaults."""
    return os.path.join(fleet.root, DIRVISH)


def master(fleet: Fleet) -> str:
    """The configuration of dirvish itself, for a machine that has none: dirvish-expire finds vaults by no other."""
    return "{0}; changes are lost.\nbank:\n\t{1}\n".format(MARK, bank_of(fleet))


def vault(fleet: Fleet, host: Host, places: Places, links: Sequence[str] = ()) -> str:
    """The configuration of a vault (dirvish.conf(5)): no ``#`` may be in a value, and lists are indented.

    What a configuration of the site's own may have set for its vaults is taken back first.

    :param links: see :func:`transfer.rsync_options`.
    """
    rsh = " ".join(transfer.ssh_argv(fleet, host, places))
    lines = [
        MARK + " for {0}; changes are lost.".format(host.name),
        "UNSET xdev checksum zxfer whole-file index log pre-server pre-client post-server post-client",
        "RESET exclude",
        "RESET expire-rule",
        "client: root@" + host.name,  # never the name of this machine, for which it would use no ssh
        "tree: " + fleet.tree,
        "rsh: " + rsh,
        "rsync: " + places.rsync,
        "expire-default: +{0} days".format(days(host.retain, "daily")),
        "RESET rsync-option",
        *("\t" + option for option in transfer.rsync_options(host, places, links)),
    ]
    return "".join(line + "\n" for line in lines)


class Dirvish(Method):
    """Pulling one host with it."""

    name = DIRVISH

    def _image(self, pull: Pull) -> str:
        return os.path.join(self._folder, pull.id)

    def prepare(self, _tag: str) -> None:
        """See that there is a vault, and that no dirvish that has died keeps it.

        :raises FleetError: when another one is at work on it.
        :raises OSError: when there is no room.
        """
        inner = os.path.join(self._folder, "dirvish")
        os.makedirs(inner, mode=0o700, exist_ok=True)
        with arriving(os.path.join(inner, "default.conf")) as (_partial, file):
            file.write(vault(self._fleet, self._host, self._places).encode("utf-8"))
        self._refuse_another(os.path.join(inner, "lock_file"))
        self._forget(kept=LEFTOVERS)

    def pull(self, pull: Pull, seconds: Optional[float]) -> Tuple[transfer.Pulled, bool]:
        """Bring the files; as :meth:`rsnapshot.Rsnapshot.pull`."""
        good = [each for each in sets.sets_in(self._folder, DIRVISH) if each.pull.result == OK]
        links = [os.path.join(each, sets.TREE) for each in sets.leftovers(self._folder, DIRVISH)]
        links = [each for each in links if os.path.isdir(each)]  # dirvish itself may have taken it away
        other = sets.newest_good(self._fleet, self._host.name)
        if other is not None and other.pull.method not in (DIRVISH, SEND):
            links.append(other.path)
        folder = self._places.run(self._host.name)
        transfer.prepare(folder)
        path = os.path.join(folder, "dirvish.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(vault(self._fleet, self._host, self._places, links))
        kept = days(self._host.retain, self._kind(pull, good))
        argv = ["dirvish", "--vault", self._host.name, "--config", path, "--image", pull.id]
        argv += ["--expire", "+{0} days".format(kept)]
        argv += ["--reference", good[0].name] if good else ["--init"]
        variables = {"NANOZFS_BACKUP_RUN": folder, "NANOZFS_BACKUP_FAILED": _FATAL}
        rc, out, err = self._run(argv, None, seconds, variables)
        found = transfer.result_in(folder)
        if rc == 127:
            raise FleetError("dirvish is not installed here", todo="run backup.yml, which installs it")
        if rc != 0 and found.code in (0, transfer.UNKNOWN):  # it was not rsync that failed
            said = transfer.first_line(err) or transfer.first_line(out) or ""
            found = found._replace(code=transfer.UNKNOWN, said=found.said or said)
        return found, rc == TIMED_OUT

    def _kind(self, pull: Pull, good: Sequence[sets.Set]) -> str:
        return kind_of(self._host.retain, [(each.pull.kind, each.pull.tried) for each in good], pull.tried)

    def keep(self, pull: Pull, trusted: bool) -> List[str]:
        """Make a set of the image, and have dirvish take away what has expired; what is to be said of that.

        :param trusted: that the clock is right; by one that has jumped all sets would have expired.
        :raises FleetError: when the record cannot be written.
        """
        good = [each for each in sets.sets_in(self._folder, DIRVISH) if each.pull.result == OK]
        pull = replace(pull, kind=self._kind(pull, good))
        write_json(os.path.join(self._image(pull), sets.RECORD), asdict(pull))
        self._forget()
        if not trusted:
            return ["nothing was expired, as the clocks of this machine and of the host are far apart"]
        rc, out, err = self._run(["dirvish-expire", "--quiet", "--vault", self._host.name], None, None, {})
        if rc != 0:
            said = transfer.first_line(err) or transfer.first_line(out) or "it said nothing"
            return ["dirvish-expire ended with {0}: {1}".format(rc, said)]
        return []

    def fail(self, pull: Pull, full: bool) -> None:
        """The image is marked as none; its files are there for the next try, unless they are in the way of others."""
        if full:
            self._remove([self._image(pull)])
            self._forget()
            return
        if os.path.isdir(self._image(pull)):
            with contextlib.suppress(FleetError):
                write_json(os.path.join(self._image(pull), sets.RECORD), asdict(pull))
