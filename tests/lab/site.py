# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site for the lab: the example of examples/site with the lab's addresses, keys and images.

The plays are run as a user runs them, in the site's own folder: ``ansible-playbook upgrade.yml -l site-b``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab

#: the hosts of the example and the last part of their addresses in the lab
ADDRESSES = {"web-1": 11, "web-2": 21, "web-3": 22}

#: versions of the lab's image: seq, and whether the application in it works
VERSIONS = {"1.0": (10, True), "1.1": (11, True), "1.2": (12, False)}

MIB = 1 << 20

#: of the image, in bytes
BULK = 5 * MIB


class PlayFailed(Exception):
    """A play ended otherwise than it should have."""


class Site:
    """A site's folder, and the commands that its operator runs there.

    :param installed: the site has the collection installed in its own folder, and the checkout is not to be seen.
    """

    def __init__(self, folder: str, installed: bool = False) -> None:
        self.folder = folder
        self.installed = installed
        self.images = os.path.join(os.path.dirname(folder), "images")
        self.keys = os.path.join(os.path.dirname(folder), "keys")

    # making it

    def create(self, hosts: Sequence[str]) -> None:
        """Copy the example and make it that of the lab."""
        shutil.copytree(os.path.join(paths.CHECKOUT, "examples", "site"), self.folder)
        os.makedirs(self.images, exist_ok=True)
        os.makedirs(self.keys, exist_ok=True)
        for name in ("admin", "release"):
            path = os.path.join(self.keys, name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        self._write("files/recovery/rootssh/authorized_keys", self._public("admin") + "\n")
        # not in world/: a link that leads out of the checkout is none that ansible-test lets pass
        os.makedirs(os.path.join(self.folder, "files", "shell", "bin"))
        os.symlink("/usr/bin/dash", os.path.join(self.folder, "files", "shell", "bin", "sh"))
        bulk = os.path.join(self.folder, "files", "bulk", "usr", "local", "share", "bulk")
        os.makedirs(os.path.dirname(bulk))
        with open(bulk, "wb") as file:  # what cannot be compressed takes its time on a slow line
            file.write(random.Random(1).getrandbits(8 * BULK).to_bytes(BULK, "little"))
        for version, (_seq, works) in VERSIONS.items():
            share = "files/versions/{0}/usr/local/share/fleetapp/".format(version)
            self._write(share + "version", version + "\n")
            if not works:
                self._write(share + "broken", "")
        self._write("ssh", '#!/bin/sh\nexec nsenter --net=/run/netns/{0} ssh "$@"\n'.format(paths.NETNS))
        os.chmod(self._ssh, 0o755)
        self._write("group_vars/all/zz_lab.yml", json.dumps(self.variables(), indent=2) + "\n")
        for name in hosts:
            address = "{0}.{1}".format(paths.NETWORK, ADDRESSES[name])
            self._write("host_vars/{0}.yml".format(name), json.dumps({"ansible_host": address}) + "\n")

    @property
    def _ssh(self) -> str:
        """Ssh in the lab's network: the only way from this machine to a host, whoever runs the play from wherever."""
        return os.path.join(self.folder, "ssh")

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _public(self, name: str) -> str:
        with open(os.path.join(self.keys, name + ".pub"), encoding="utf-8") as file:
            return file.read().strip()

    def variables(self) -> Dict[str, Any]:
        """What is different in the lab. Times in seconds, sizes in bytes."""
        return {
            "nanozfs_repository": "http://{0}:{1}".format(paths.GATEWAY, paths.WEB_PORT),
            "ansible_ssh_executable": self._ssh,
            "ansible_sftp_extra_args": "-S " + self._ssh,
            "ansible_scp_extra_args": "-S " + self._ssh,
            "ansible_ssh_private_key_file": os.path.join(self.keys, "admin"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_control_path_dir": os.path.join(os.path.dirname(self.folder), "cp"),
            "image_size": 24 * MIB,
            "image_sources": [paths.WORLD, os.path.join(self.folder, "files", "shell")],
            "image_overlays": [
                os.path.join(paths.CHECKOUT, "tests", "lab", "overlay"),
                os.path.join(self.folder, "files", "bulk"),
                os.path.join(self.folder, "files", "versions", "{{ image_version }}"),
            ],
            "image_recovery": [os.path.join(self.folder, "files", "recovery")],
            "image_signing_key": os.path.join(self.keys, "release"),
            "image_signers": [
                'release@lab namespaces="nanozfs-image,nanozfs-channel" '
                + " ".join(self._public("release").split()[:2]),
            ],
            "image_output": self.images,
            "deploy_authorized_keys": [self._public("admin")],
            "deploy_reboot_timeout": 60,
            "upgrade_services": ["sshd", "fleetapp"],
            "upgrade_ports": [22, 8080],
            "upgrade_trial_timeout": 60,
            "upgrade_boot_timeout": 60,
            "upgrade_health_retries": 4,
            "upgrade_health_delay": 1,
            "upgrade_min_free": 16 * MIB,
            "rollback_trial_timeout": 60,
            "rollback_boot_timeout": 60,
            "rollback_health_retries": 4,
            "rollback_health_delay": 1,
            "rollback_min_free": 16 * MIB,
        }

    # running plays in it

    def environment(self) -> Dict[str, str]:
        """The environment of an operator's shell."""
        binaries = os.path.dirname(sys.executable)
        hidden = ("ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH") if self.installed else ()
        return dict(
            {key: value for key, value in os.environ.items() if key not in hidden},
            PATH=binaries + ":" + os.environ.get("PATH", "/usr/sbin:/usr/bin"),
            ANSIBLE_CONFIG=os.path.join(self.folder, "ansible.cfg"),
            ANSIBLE_SSH_CONTROL_PATH_DIR=os.path.join(os.path.dirname(self.folder), "cp"),
            ANSIBLE_LOCAL_TEMP=os.path.join(os.path.dirname(self.folder), "tmp"),
            ANSIBLE_NOCOLOR="1",
        )

    def command(self, play: str, *arguments: str) -> List[str]:
        """What the operator types."""
        return ["ansible-playbook", play + ".yml", *arguments]

    def start(self, play: str, *arguments: str, **more: Any) -> subprocess.Popen:
        """Start a play."""
        return subprocess.Popen(
            self.command(play, *arguments),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **more,
        )

    def play(self, play: str, *arguments: str, fails: bool = False, log: Optional[str] = None) -> str:
        """Run a play to its end; what it printed.

        :param fails: whether it is to fail.
        :param log: a file to append its output to.
        :raises PlayFailed: when it ends otherwise.
        """
        process = self.start(play, *arguments)
        out, _none = process.communicate()
        if log:
            with open(log, "a", encoding="utf-8") as file:
                file.write("$ {0}\n{1}\n".format(" ".join(self.command(play, *arguments)), out))
        if (process.returncode != 0) != fails:
            expected = "succeeded although it was to fail" if fails else "failed"
            raise PlayFailed("{0} {1} (exit status {2}):\n{3}".format(play, expected, process.returncode, out))
        return out

    def build(self, version: str, log: Optional[str] = None) -> str:
        """Build and publish a version of the lab's image; the path of its medium."""
        seq = VERSIONS[version][0]
        self.play("build", "-e", "image_version={0}".format(version), "-e", "image_seq={0}".format(seq), log=log)
        return self.medium(version)

    def published(self, version: str) -> Dict[str, Any]:
        """The index entry of a published version."""
        with open(os.path.join(self.images, "index.json"), encoding="utf-8") as file:
            return next(each for each in json.load(file)["images"] if each["version"] == version)

    def medium(self, version: str) -> str:
        """The path of the medium of a published version."""
        return os.path.join(self.images, self.published(version)["id"] + ".disk.img.xz")

    def ssh(self, host: str, command: str, check: bool = True) -> str:
        """Run a command on a host as the operator would by hand."""
        argv = [self._ssh, "-i", os.path.join(self.keys, "admin")]
        argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        argv += ["-o", "ControlPath=none", "root@" + Host(host).address, command]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if check and done.returncode != 0:
            raise PlayFailed("{0} on {1}: {2}".format(command, host, done.stderr or done.stdout))
        return done.stdout

    def look(self, *hosts: str) -> Dict[str, Any]:
        """What host_info says of hosts, through the playbook status."""
        report = os.path.join(os.path.dirname(self.folder), "report.json")
        if os.path.exists(report):
            os.unlink(report)
        limit = ["-l", ",".join(hosts)] if hosts else []
        self.play("status", "-e", "report_file=" + report, *limit)
        with open(report, encoding="utf-8") as file:
            return json.load(file)


def buy(lab: Lab, names: Sequence[str], medium: Optional[str] = None) -> None:
    """Hosts with three data disks each; with a medium in them, and switched on, if one is given."""
    for name in names:
        host = Host(name)
        host.create(ADDRESSES[name], 3, 512 * MIB)
        if medium is not None:
            host.insert(medium)
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
