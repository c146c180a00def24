# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first hour of a new user: ``firsthour.py TARBALL`` with the built artefact of the collection.

What is typed is what the README says, word for word, in a home folder with nothing in it, with ssh's own settings, in a
network with no way out. What the user has to put in is what he would (:data:`MINE`), and nothing of how ssh and Ansible
work is among it: a test sees to that. The hosts are the lab's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import Any, Dict, List

from ansible_collections.nanozfs.fleet.tests import readme
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, buy
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT, MIB
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe, Steps

#: the hosts of site-b; that of site-a is not there yet
HOSTS = ("web-2", "web-3")

#: what the user puts into the example's files, by variable
MINE: Dict[str, Any] = {
    "image_arch": "amd64",  # which is told from the programs of real sets
    "image_size": 24 * MIB,
    "image_sources": [paths.WORLD, "shell"],
    "image_output": "/root/images",
    "nanozfs_repository": "http://{0}:{1}".format(paths.GATEWAY, paths.WEB_PORT),
    "upgrade_min_free": 16 * MIB,
    "rollback_min_free": 16 * MIB,
}

#: rows of the README's table that are not typed here, and why
NOT_TYPED = {
    "have hosts configured as the inventory says": "the example wants nothing of it yet; the scenario configure has",
    "write a spare medium that fits every host of a site": "there is no stick /dev/da0 in the controller",
    "have at hand what is needed when the controller is gone": "there is no stick; tests/playbooks/test_kit.py does it",
    "have another machine pull the hosts each night": "the example has no backup host; the scenario backup has",
    "see whether the backups would give back what the hosts have": "likewise",
    "see whether a host would come back as a whole, in a virtual machine": "likewise; the scenario restore has",
    "take back a file, a dataset, or a whole host on a new machine": "likewise; the scenario restore has",
    "see what is known of holes in what is published and what runs": "there is no way to FreeBSD's list from here; "
    "tests/playbooks/test_audit.py does it",
}


class FirstHour(Steps):
    """The first hour, step by step.

    :param tarball: path of the artefact.
    """

    def __init__(self, tarball: str) -> None:
        super().__init__()
        self.tarball = tarball
        self.lab = Lab()
        self.text = readme.section("Use it")
        self.rows = readme.rows(self.text)
        self.work = os.path.join(paths.HOME, "first-hour")
        self.home = os.path.join(self.work, "home")
        self.site = os.path.join(self.home, "my-site")
        self.typed: List[str] = []

    # the user's machine

    def _inside(self, command: str, folder: str) -> List[str]:
        """A shell of the user: his home is /root, and what the interpreter and ssh need of the real one is in it."""
        needed = {os.path.realpath(each) for each in (sys.base_prefix, sys.prefix, CHECKOUT)}
        script = ["set -e"]
        for each in sorted(path for path in needed if path.startswith("/root/")):
            place = self.home + each[len("/root") :]
            os.makedirs(place, exist_ok=True)
            script.append("mount --bind {0} {1}".format(shlex.quote(each), shlex.quote(place)))
        script += ["mount --rbind {0} /root".format(shlex.quote(self.home)), "cd {0}".format(shlex.quote(folder))]
        script.append('exec nsenter --net=/run/netns/{0} env -i "$@"'.format(paths.NETNS))
        environment = [
            "HOME=/root",
            "USER=root",
            "LOGNAME=root",
            "TERM=dumb",
            "LANG=C.UTF-8",
            "PATH={0}:/usr/local/bin:/usr/bin:/bin".format(
                os.path.dirname(sys.executable)
            ),  # no sbin: as Debian has it
        ]
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh"]
        return [*argv, *environment, "bash", "-ec", command]

    def type(self, command: str, folder: str = "/root/my-site", fails: bool = False) -> str:
        """Type a command; what it printed.

        :raises NotAsItShouldBe: when it ends otherwise than it should.
        """
        self.say("    $ {0}".format(command))
        argv = self._inside(command, folder)
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        with open(os.path.join(self.work, "log"), "a", encoding="utf-8") as log:
            log.write("$ {0}\n{1}\n".format(command, done.stdout))
        if (done.returncode != 0) != fails:
            raise NotAsItShouldBe(
                "{0}: exit status {1}, which it was{2} to be\n{3}".format(
                    command, done.returncode, " not" if fails else "", done.stdout
                )
            )
        return done.stdout

    def row(self, purpose: str, fails: bool = False) -> str:
        """Type what the README's table has for a purpose."""
        self.typed.append(purpose)
        return self.type(self.rows[purpose], fails=fails)

    # the hour

    def install(self) -> None:
        """A home folder with the artefact in it; the README's first block."""
        self.lab.up()
        os.makedirs(self.home)
        name = os.path.basename(self.tarball)
        install, (lines, *_others) = readme.installing(), readme.blocks(self.text)
        self.shows("the README names the artefact, {0}".format(name), install.split()[-1] == name, install)
        with open(self.tarball, "rb") as source, open(os.path.join(self.home, name), "wb") as target:
            target.write(source.read())
        self.type(install, "/root")
        self.type("\n".join([*lines, "test -f build.yml"]), "/root")

    def prepare(self) -> None:
        """Keys, and what the user has to put into the files."""
        self.type("ssh-keygen -q -t ed25519 -N ''  -f ~/.ssh/id_ed25519", "/root")  # that every user has
        (make,) = readme.inline(self.text, "ssh-keygen")
        self.type(make + " -q -N ''", "/root")
        self.type("cp ~/.ssh/id_ed25519.pub files/recovery/rootssh/authorized_keys")
        signers = self.read("group_vars/all/image.yml")
        public = " ".join(self.read("../.ssh/release.pub").split()[:2])
        self.shows("the example has a place for the key that signs", "ssh-ed25519 AAAA…" in signers, signers)
        self.write("group_vars/all/image.yml", signers.replace("ssh-ed25519 AAAA…", public))
        self.write("inventory.yml", self.read("inventory.yml").replace("192.0.2.", paths.NETWORK + "."))
        os.makedirs(os.path.join(self.site, "shell", "bin"))
        os.symlink("/usr/bin/dash", os.path.join(self.site, "shell", "bin", "sh"))
        self.write("group_vars/all/mine.yml", json.dumps(MINE, indent=1) + "\n")

    def read(self, name: str) -> str:
        """A file of the site."""
        with open(os.path.join(self.site, name), encoding="utf-8") as file:
            return file.read()

    def write(self, name: str, text: str) -> None:
        """A file of the site, as the user's editor leaves it."""
        with open(os.path.join(self.site, name), "w", encoding="utf-8") as file:
            file.write(text)

    def build(self) -> None:
        """An image and its medium, which is put into machines."""
        out = self.row("build, sign and publish an image, and a medium")
        said = re.search(r"medium \(GPT\): (\S+\.disk\.img\.xz)", out)
        self.shows("it says where the medium is", said is not None, out)
        medium = str(said and said.group(1)).replace("/root/", self.home + "/")
        self.lab.serve(os.path.join(self.home, "images"))
        buy(self.lab, list(HOSTS), medium)

    def meet(self) -> None:
        """Ssh does not know the hosts: the play says so, and the user meets them."""
        out = self.row("install hosts that were booted from that medium", fails=True)
        self.shows(
            "ssh's own checking is on, and the play says what to do", "say yes, and run the play again" in out, out
        )
        for name in HOSTS:
            address = "{0}.{1}".format(paths.NETWORK, ADDRESSES[name])
            # the user's yes
            shown = self.type("ssh -o StrictHostKeyChecking=accept-new root@{0} nanozfs status || true".format(address))
            scan = self.type("ssh-keygen -lF {0}".format(address))
            key = re.search(r"SHA256:\S+", scan)
            self.shows(
                "the key that ssh shows of {0} is the one on its console".format(name),
                key is not None and "SSH KEY    {0}".format(key.group(0)) in shown,
                (shown, scan),
            )

    def deploy(self) -> None:
        """Both hosts, with the same command."""
        out = self.row("install hosts that were booted from that medium")
        self.shows("both are installed", "2 hosts: 2 installed" in out, out)
        out = self.row("see the fleet")
        for name in HOSTS:
            self.shows("{0} is normal".format(name), bool(re.search(r"^{0} +normal".format(name), out, re.M)), out)
        self.shows("web-1, which is not there, has its row", bool(re.search(r"^web-1 +no answer", out, re.M)), out)

    def upgrade(self) -> None:
        """The next version, as the group_vars say it, and back again."""
        (next_one,) = re.findall(r"^# +(ansible-playbook build\.yml .*)$", self.read("group_vars/all/image.yml"), re.M)
        self.type(next_one)
        out = self.row("see what is new in an image")
        self.shows("what is new is told", "web-1.1 against web-1.0" in out, out)
        self.row("say what the canaries should run")
        out = self.row("see what an upgrade would do, and how much it would fetch")
        self.shows("nothing was done yet", "2 hosts: 2 would be changed (check mode)" in out, out)
        self.row("bring the image to the hosts by day, to restart them at night")
        self.row("upgrade a site, one host first")
        self.row("go back, with the data or without")
        out = self.row("see the fleet")
        for name, version in (("web-2", "1.1"), ("web-3", "1.0")):
            right = re.search(r"^{0} +normal .*\b{1}\b".format(name, re.escape(version)), out, re.M)
            self.shows("{0} runs {1}".format(name, version), right is not None, out)
        self.row("see it as a page")
        page = self.read("fleet.html")
        self.shows("both are on the page", all(name in page for name in HOSTS) and "</html>" in page, page[:400])

    def complete(self) -> None:
        """Nothing of the README's table was left out."""
        left = sorted(set(self.rows) - set(self.typed) - set(NOT_TYPED))
        self.shows("every row of the README's table was typed", not left, left)
        for purpose, why in NOT_TYPED.items():
            assert purpose in self.rows
            self.say("    not typed: {0} ({1})".format(self.rows[purpose], why))

    def run(self) -> None:
        """All of it."""
        self.step("Install the collection, and copy the example", self.install)
        self.step("Put in what only the user knows", self.prepare)
        self.step("Build an image", self.build)
        self.step("Meet the hosts", self.meet)
        self.step("Install them", self.deploy)
        self.step("Upgrade, and go back", self.upgrade)
        self.step("See that this was all", self.complete)
        total = sum(seconds for _title, seconds in self.steps)
        self.say("\n{0} checks in {1:.0f} s: all as it should be.".format(self.checks, total))


def main(argv: List[str]) -> int:
    """Entry point."""
    (tarball,) = argv
    hour = FirstHour(os.path.abspath(tarball))
    try:
        hour.run()
    except (NotAsItShouldBe, LabError) as error:
        print("\nNOT AS IT SHOULD BE: {0}".format(error), file=sys.stderr)
        return 1
    finally:
        hour.lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
