# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's site."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Sequence

from ansible_collections.nanozfs.fleet.tests import site as common
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab
from ansible_collections.nanozfs.fleet.tests.site import MIB, VERSIONS

#: the hosts of the example and the last part of their addresses in the lab
ADDRESSES = {"web-1": 11, "web-2": 21, "web-3": 22}


#: ssh in the lab's network. Where NANOZFS_SSH_CALLS names a file, each call that goes to a host is a line in it: exit
#: status (255 is ssh's own: no answer), host, command. What only asks the kept connection (-O) goes to nobody.
SSH = """#!/bin/sh
if [ -z "$NANOZFS_SSH_CALLS" ]; then
    exec nsenter --net=/run/netns/{0} ssh "$@"
fi
nsenter --net=/run/netns/{0} ssh "$@"
status=$?
for each; do
    [ "$each" != -O ] || exit $status
    host=$command command=$each
done
printf '%s %s %.200s\\n' $status "$host" "$(printf %s "$command" | tr '\\n' ' ')" >> "$NANOZFS_SSH_CALLS"
exit $status
"""


class Site(common.Site):
    """The lab's site: see :class:`common.Site`."""

    def create(self, hosts: Sequence[str]) -> None:
        """Copy the example and make it that of the lab."""
        super().create(hosts)
        # not in world/: a link that leads out of the checkout is none that ansible-test lets pass
        os.makedirs(os.path.join(self.folder, "files", "shell", "bin"))
        os.symlink("/usr/bin/dash", os.path.join(self.folder, "files", "shell", "bin", "sh"))
        self.write("ssh", SSH.format(paths.NETNS))
        os.chmod(self.ssh_program, 0o755)

    @property
    def ssh_program(self) -> str:
        """Ssh in the lab's network: the only way from this machine to a host, whoever runs the play from wherever."""
        return os.path.join(self.folder, "ssh")

    def address(self, host: str) -> Dict[str, Any]:
        """Where a host is; one that is not of the example knows its address itself."""
        if host in ADDRESSES:
            return {"ansible_host": "{0}.{1}".format(paths.NETWORK, ADDRESSES[host])}
        return {"ansible_host": Host(host).address}

    def variables(self) -> Dict[str, Any]:
        """What is different in the lab. Times in seconds, sizes in bytes."""
        return {
            **self.common(),
            "nanozfs_repository": "http://{0}:{1}".format(paths.GATEWAY, paths.WEB_PORT),
            "ansible_ssh_executable": self.ssh_program,
            "ansible_sftp_extra_args": "-S " + self.ssh_program,
            "ansible_scp_extra_args": "-S " + self.ssh_program,
            "image_size": 24 * MIB,
            "image_sources": [paths.WORLD, os.path.join(self.folder, "files", "shell")],
            "deploy_reboot_timeout": 60,
            "upgrade_trial_timeout": 60,
            "upgrade_boot_timeout": 60,
            "upgrade_health_retries": 4,
            "upgrade_health_delay": 1,
            "rollback_trial_timeout": 60,
            "rollback_boot_timeout": 60,
            "rollback_health_retries": 4,
            "rollback_health_delay": 1,
        }


def buy(lab: Lab, names: Sequence[str], medium: Optional[str] = None, stick: bool = False) -> None:
    """Hosts with three data disks each; with a medium in them, and switched on, if one is given.

    :param stick: that medium is a stick (da0), and the disk for their own one (ada0) is empty.
    """
    for name in names:
        host = Host(name)
        host.create(ADDRESSES[name], 3, 512 * MIB)
        if stick:
            host.blank("ada0", 256 * MIB)
        if medium is not None:
            host.insert(medium, "da0" if stick else "ada0")
            host.on()
    if medium is not None:
        lab.wait(names)


def make_site(lab: Lab) -> Site:
    """A lab with a site in the folder ``site`` of its home, all images published, no hosts yet."""
    lab.up()
    site = Site(os.path.join(paths.HOME, "site"))
    site.create(list(ADDRESSES))
    for version in VERSIONS:
        site.build(version)
    lab.serve(site.images)
    return site
