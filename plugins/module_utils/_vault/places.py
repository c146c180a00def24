# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where everything of ours is on a backup host, Debian or FreeBSD."""

from __future__ import annotations

import os
import platform
from typing import NamedTuple


class Places(NamedTuple):
    """The paths.

    :param system: what uname(1) calls the machine.
    :param root: the folder that stands for ``/``; tests have one of their own.
    """

    system: str = "Linux"
    root: str = "/"

    def at(self, path: str) -> str:
        """A path of the machine."""
        return os.path.join(self.root, path.lstrip("/"))

    @property
    def conf(self) -> str:
        return self.at("/usr/local/etc/nanozfs-backup")

    @property
    def fleet(self) -> str:
        """What is to be backed up, and how."""
        return os.path.join(self.conf, "fleet.json")

    @property
    def key(self) -> str:
        """The private key, made here; it goes nowhere."""
        return os.path.join(self.conf, "key")

    @property
    def known_hosts(self) -> str:
        """The keys of the hosts, each under its name in the inventory, wherever it is."""
        return os.path.join(self.conf, "known_hosts")

    def excludes(self, host: str) -> str:
        """What rsync leaves out of a host; a file for both methods, neither of which would take every pattern."""
        return os.path.join(self.conf, "excludes", host)

    def rsnapshot(self, host: str) -> str:
        return os.path.join(self.conf, "rsnapshot", host + ".conf")

    @property
    def dirvish_master(self) -> str:
        """Where dirvish looks for its banks. Debian has the folder fixed in dirvish(8); FreeBSD's port puts its own
        there (``CONFDIR``, sysutils/dirvish/files/header.pl, pkg-plist).
        """
        return self.at("/usr/local/etc/dirvish/master.conf" if self.system == "FreeBSD" else "/etc/dirvish/master.conf")

    @property
    def ssh(self) -> str:
        """The system's own, on both."""
        return self.at("/usr/bin/ssh")

    @property
    def library(self) -> str:
        return self.at("/usr/local/lib/nanozfs-backup")

    @property
    def program(self) -> str:
        return os.path.join(self.library, "nanozfs-backup.pyz")

    @property
    def rsync(self) -> str:
        """What rsnapshot and dirvish run for rsync: see :data:`transfer.WRAPPER`."""
        return os.path.join(self.library, "rsync")

    @property
    def launcher(self) -> str:
        return self.at("/usr/local/sbin/nanozfs-backup")

    @property
    def state(self) -> str:
        return self.at("/var/db/nanozfs-backup")

    def host_state(self, host: str) -> str:
        return os.path.join(self.state, "hosts", host + ".json")

    def log(self, host: str) -> str:
        return os.path.join(self.state, "log", host)

    def run(self, host: str) -> str:
        """The folder with what a pull of this moment says."""
        return os.path.join(self.state, "run", host)

    def sent(self, host: str) -> str:
        """How fast files went back to a host."""
        return os.path.join(self.state, "sent", host + ".json")

    def machine(self, host: str) -> str:
        """What is known of the virtual machine of a host."""
        return os.path.join(self.state, "machines", host + ".json")

    def console(self, host: str) -> str:
        """What that has said on its console."""
        return self.log(host) + ".console"

    def lock(self, name: str) -> str:
        return os.path.join(self.state, "locks", name)

    @property
    def cron(self) -> str:
        """A name that cron of Debian reads: no dot in it (cron(8))."""
        return self.at("/etc/cron.d/nanozfs-backup")

    @property
    def service(self) -> str:
        return self.at("/etc/systemd/system/nanozfs-backup.service")

    @property
    def timer(self) -> str:
        return self.at("/etc/systemd/system/nanozfs-backup.timer")


def here() -> Places:
    """Those of this machine."""
    return Places("FreeBSD" if platform.system() == "FreeBSD" else "Linux")
