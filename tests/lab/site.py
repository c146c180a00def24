# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's site."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, List, Optional, Sequence

import yaml

from ansible_collections.nanozfs.fleet.tests import site as common
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab, LabError
from ansible_collections.nanozfs.fleet.tests.site import MIB, VERSIONS

#: the hosts of the example and the last part of their addresses in the lab
EXAMPLE = {"web-1": 11, "web-2": 21, "web-3": 22}

#: these and all others that a larger site can have: as many as the lab's network has addresses for
ADDRESSES = {**EXAMPLE, **{"web-{0}".format(number - 26): number for number in range(30, 255)}}

#: how many hosts each site has that is not of the example
_EACH = 5


def sites(count: int) -> Dict[str, List[str]]:
    """The groups of a fleet: sites with their hosts; the first two are the example's.

    :param count: how many hosts.
    :raises LabError: when the lab has no room for so many, or it is less than the example has.
    """
    if not len(EXAMPLE) <= count <= len(ADDRESSES):
        raise LabError("the lab has between {0} and {1} hosts, not {2}".format(len(EXAMPLE), len(ADDRESSES), count))
    found = {"site-a": ["web-1"], "site-b": ["web-2", "web-3"]}
    more = list(ADDRESSES)[len(EXAMPLE) : count]
    for index, first in enumerate(range(0, len(more), _EACH), 2):
        letters = "abcdefghijklmnopqrstuvwxyz"
        name = (letters[index // 26 - 1] if index >= 26 else "") + letters[index % 26]
        found["site-" + name] = more[first : first + _EACH]
    return found


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


def system_files(version: str) -> Dict[str, str]:
    """Files of /etc that newer versions of the system have changed, by path: what hosts merge."""
    newer = version != "1.0"
    with open(os.path.join(paths.WORLD, "etc", "group"), encoding="utf-8") as file:
        groups = file.read()
    return {
        "group": groups + ("_newd:x:977:\n" if newer else ""),
        "services": "ssh\t\t22/tcp\nhttp\t\t80/tcp\n" + ("newd\t\t6010/tcp\n" if newer else ""),
        "login.conf": "default:\\\n\t:path=/sbin /bin /usr/sbin /usr/bin:\\\n\t:umask=022:\\\n"
        + ("\t:vmemoryuse=unlimited:\\\n" if newer else "")
        + "\t:lang=C.UTF-8:\n",
        "newsyslog.conf": "/var/log/messages\t\t644  5\t  1000 @0101T JC\n"
        + ("/var/log/newd.log\t\t600  7\t  *    @T00  J\n" if newer else ""),
        "sysctl.conf": "kern.ipc.somaxconn={0}\n".format(512 if newer else 128),
        "motd.template": "Welcome to {0}\n".format(version),
    }


class Site(common.Site):
    """The lab's site: see :class:`common.Site`."""

    def create(self, hosts: Sequence[str]) -> None:
        """Copy the example and make it that of the lab."""
        super().create(hosts)
        # not in world/: a link that leads out of the checkout is none that ansible-test lets pass
        os.makedirs(os.path.join(self.folder, "files", "shell", "bin"))
        os.symlink("/usr/bin/dash", os.path.join(self.folder, "files", "shell", "bin", "sh"))
        for version in VERSIONS:
            for path, text in system_files(version).items():
                self.write("files/versions/{0}/etc/{1}".format(version, path), text)
        self.write("ssh", SSH.format(paths.NETNS))
        os.chmod(self.ssh_program, 0o755)

    def enlist(self, count: int) -> None:
        """Give the inventory so many hosts; with those of the example it is the example's.

        :raises LabError: when the lab has no room for so many.
        """
        groups = sites(count)
        self.configure([host for members in groups.values() for host in members])
        if count == len(EXAMPLE):
            shutil.copy(os.path.join(paths.CHECKOUT, "examples", "site", "inventory.yml"), self.folder)
            return
        children: Dict[str, Any] = {name: {"hosts": {host: {} for host in members}} for name, members in groups.items()}
        self.write("inventory.yml", json.dumps({"all": {"children": children}}, indent=1) + "\n")

    def add_backup_host(self, name: str, address: str) -> None:
        """Put a backup host into the inventory, as the example says it in a remark."""
        path = os.path.join(self.folder, "inventory.yml")
        with open(path, encoding="utf-8") as file:
            inventory = yaml.safe_load(file)
        groups = inventory["all"]["children"]
        variables = {"ansible_host": address, "ansible_python_interpreter": "/usr/bin/python3"}
        groups.setdefault("backup", {"hosts": {}})["hosts"][name] = variables
        self.write("inventory.yml", json.dumps(inventory, indent=1) + "\n")

    def remove_backup_hosts(self) -> None:
        """Have none in the inventory."""
        path = os.path.join(self.folder, "inventory.yml")
        with open(path, encoding="utf-8") as file:
            inventory = yaml.safe_load(file)
        if inventory["all"]["children"].pop("backup", None):
            self.write("inventory.yml", json.dumps(inventory, indent=1) + "\n")

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
            "image_arch": "amd64",
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


def copy(lab: Lab, original: str, names: Sequence[str]) -> None:
    """Installed hosts like one that was kept, switched on; see :meth:`Lab.copy`."""
    Site(os.path.join(paths.HOME, "site")).hang_up()
    for name in names:
        lab.copy(original, name, ADDRESSES[name])
        lab.host(name).on()
    lab.wait(names, 60 + 2 * len(names))


def make_site(lab: Lab, count: int = len(EXAMPLE)) -> Site:
    """A lab with a site in the folder ``site`` of its home, all images published, no hosts yet.

    :param count: how many hosts its inventory has.
    """
    sites(count)  # refuses before anything is taken down
    lab.up()
    site = Site(os.path.join(paths.HOME, "site"))
    site.create(list(EXAMPLE))
    site.enlist(count)
    for version in VERSIONS:
        site.build(version)
    lab.serve(site.images)
    return site
