# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site to test with: the example of examples/site with addresses, keys and images of its own.

The plays are run as a user runs them, in the site's own folder: ``ansible-playbook upgrade.yml -l site-b``. What hosts
there are and how they are reached is for those that are made of this: the lab's site and the guests' site.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Form

#: the checkout
CHECKOUT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

#: versions of the image: seq, and whether the application in it works
VERSIONS = {"1.0": (10, True), "1.1": (11, True), "1.2": (12, False)}

MIB = 1 << 20

#: of the image, in bytes
BULK = 5 * MIB

#: a host whose key is new at every start of a test
SSH_OPTIONS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]


#: what a site to test with has other than the example, and why; a test refuses any other key. What is tested with
#: settings that no user has is not tested.
DIFFERENT: Dict[str, str] = {
    "ansible_control_path_dir": "the sockets of two runs must not meet",
    "ansible_scp_extra_args": "hosts of the lab are in a network namespace",
    "ansible_sftp_extra_args": "hosts of the lab are in a network namespace",
    "ansible_ssh_common_args": "hosts are made anew in every run, and with them their keys",
    "ansible_ssh_executable": "hosts of the lab are in a network namespace",
    "ansible_ssh_private_key_file": "the key of the test",
    "deploy_authorized_keys": "the key of the test",
    "deploy_pool_vdevs": "the disks of the guest",
    "deploy_reboot_timeout": "time: the lab is quick, emulation is slow",
    "image_arch": "what the test has of FreeBSD",
    "image_boot0": "the guest has a serial console only",
    "image_deltas": "time",
    "image_output": "where the test serves images from",
    "image_overlays": "the example's, and an application to upgrade",
    "image_schemes": "a guest has an MBR later on",
    "image_signers": "the key of the test",
    "image_signing_key": "the key of the test",
    "image_size": "size",
    "image_sources": "what the test has of FreeBSD",
    "nanozfs_repository": "address",
    "rollback_boot_timeout": "time",
    "rollback_health_delay": "time",
    "rollback_health_retries": "time",
    "rollback_min_free": "size",
    "rollback_trial_timeout": "time",
    "upgrade_boot_timeout": "time",
    "upgrade_health_delay": "time",
    "upgrade_health_retries": "time",
    "upgrade_min_free": "size",
    "upgrade_ports": "an application to upgrade",
    "upgrade_services": "an application to upgrade",
    "upgrade_trial_timeout": "time",
}


class PlayFailed(Exception):
    """A play ended otherwise than it should have."""


class Site(ABC):
    """A site's folder, and the commands that its operator runs there.

    :param installed: the site has the collection installed in its own folder, and the checkout is not to be seen.
    """

    def __init__(self, folder: str, installed: bool = False) -> None:
        self.folder = folder
        self.installed = installed
        self.images = os.path.join(os.path.dirname(folder), "images")
        self.keys = os.path.join(os.path.dirname(folder), "keys")

    # what differs

    @abstractmethod
    def variables(self) -> Dict[str, Any]:
        """What is different here from the example, for all hosts. Times in seconds, sizes in bytes."""

    @abstractmethod
    def address(self, host: str) -> Dict[str, Any]:
        """The variables that say where a host is, ``ansible_host`` among them."""

    @property
    def ssh_program(self) -> str:
        """The ssh that reaches the hosts."""
        return "ssh"

    # making it

    def create(self, hosts: Sequence[str]) -> None:
        """Copy the example and make it that of these hosts."""
        shutil.copytree(os.path.join(CHECKOUT, "examples", "site"), self.folder)
        os.makedirs(self.images, exist_ok=True)
        os.makedirs(self.keys, exist_ok=True)
        for name in ("admin", "release"):
            path = os.path.join(self.keys, name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        self.write("files/recovery/rootssh/authorized_keys", self.public("admin") + "\n")
        bulk = os.path.join(self.folder, "files", "bulk", "usr", "local", "share", "bulk")
        os.makedirs(os.path.dirname(bulk))
        with open(bulk, "wb") as file:  # what cannot be compressed takes its time on a slow line
            file.write(random.Random(1).getrandbits(8 * BULK).to_bytes(BULK, "little"))
        for version, (_seq, works) in VERSIONS.items():
            share = "files/versions/{0}/usr/local/share/fleetapp/".format(version)
            self.write(share + "version", version + "\n")
            if not works:
                self.write(share + "broken", "")
        self.configure(hosts)

    def configure(self, hosts: Sequence[str]) -> None:
        """Write what is different here."""
        self.write("group_vars/all/zz_test.yml", json.dumps(self.variables(), indent=2) + "\n")
        for name in hosts:
            self.write("host_vars/{0}.yml".format(name), json.dumps(self.address(name)) + "\n")

    def write(self, name: str, text: str) -> None:
        """A file of the site."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def public(self, name: str) -> str:
        """A public key of the site: ``admin`` or ``release``."""
        with open(os.path.join(self.keys, name + ".pub"), encoding="utf-8") as file:
            return file.read().strip()

    def common(self, *overlays: str) -> Dict[str, Any]:
        """The variables that all such sites have.

        :param overlays: folders that are laid over the image before the application.
        """
        return {
            "ansible_ssh_private_key_file": os.path.join(self.keys, "admin"),
            "ansible_ssh_common_args": " ".join(SSH_OPTIONS),
            "ansible_control_path_dir": self.sockets,
            "image_overlays": [
                "overlay",  # the example's
                *overlays,
                os.path.join(CHECKOUT, "tests", "lab", "overlay"),
                "bulk",
                "versions/{{ image_version }}",
            ],
            "image_signing_key": os.path.join(self.keys, "release"),
            "image_signers": [
                'release@lab namespaces="nanozfs-image,nanozfs-channel" '
                + " ".join(self.public("release").split()[:2]),
            ],
            "image_output": self.images,
            "deploy_authorized_keys": [self.public("admin")],
            "upgrade_services": ["sshd", "fleetapp"],
            "upgrade_ports": [22, 8080],
            "upgrade_min_free": 16 * MIB,
            "rollback_min_free": 16 * MIB,
        }

    # running plays in it

    @property
    def sockets(self) -> str:
        """The folder of the connections that ssh keeps."""
        return os.path.join(os.path.dirname(self.folder), "cp")

    def hang_up(self) -> None:
        """End the connections that ssh keeps, for hosts that are replaced at once by others of the same address.

        What is sent on such a one ends in an error (mux_client_request_session: write packet: Broken pipe), not on a
        new one. Nobody replaces a machine within the minute that they are kept (ControlPersist), but tests do.
        """
        for name in os.listdir(self.sockets) if os.path.isdir(self.sockets) else ():
            path = os.path.join(self.sockets, name)
            subprocess.run(["ssh", "-O", "exit", "-o", "ControlPath=" + path, "gone"], capture_output=True, check=False)

    def environment(self) -> Dict[str, str]:
        """The environment of an operator's shell."""
        binaries = os.path.dirname(sys.executable)
        # molecule wants the recap of Ansible's own output; an operator has what the example sets
        hidden = {"ANSIBLE_STDOUT_CALLBACK", *(("ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH") if self.installed else ())}
        return dict(
            {key: value for key, value in os.environ.items() if key not in hidden},
            PATH=binaries + ":" + os.environ.get("PATH", "/usr/sbin:/usr/bin"),
            ANSIBLE_CONFIG=os.path.join(self.folder, "ansible.cfg"),
            ANSIBLE_SSH_CONTROL_PATH_DIR=self.sockets,
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

    def medium(self, version: str, scheme: str = "gpt") -> str:
        """The path of the medium of a published version."""
        return os.path.join(self.images, self.published(version)["id"] + Form(scheme).suffix)

    def ssh_command(self, host: str, *options: str) -> List[str]:
        """The ssh that leads to a host."""
        where = self.address(host)
        argv = [self.ssh_program, "-i", os.path.join(self.keys, "admin"), *SSH_OPTIONS, *options]
        return argv + ["-p", str(where.get("ansible_port", 22)), "root@" + where["ansible_host"]]

    def ssh(self, host: str, command: str, check: bool = True) -> str:
        """Run a command on a host as the operator would by hand."""
        argv = [*self.ssh_command(host, "-o", "ControlPath=none"), command]
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
