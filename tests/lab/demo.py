# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job, shown on the lab's fleet: ``demo.py TARBALL`` with the built artefact of the collection.

Every step runs the plays as an operator does, then looks at the hosts and fails unless everything is as it should be.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import List

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import EXAMPLE, Site, buy
from ansible_collections.nanozfs.fleet.tests.site import VERSIONS, PlayFailed
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe, Walkthrough


class Demo(Walkthrough):
    """The demo, step by step."""

    def __init__(self, tarball: str) -> None:
        self.tarball = tarball
        self.lab = Lab()
        self.work = os.path.join(paths.HOME, "demo")
        log = os.environ.get("NANOZFS_DEMO_LOG", os.path.join(os.path.dirname(tarball), "demo.log"))
        super().__init__(Site(os.path.join(self.work, "site"), installed=True), log)

    # the steps

    def prepare(self) -> None:
        """A folder for the site, the collection installed from its artefact, and three new machines."""
        self.lab.up()
        os.makedirs(self.work)
        self.site.create(list(EXAMPLE))
        target = os.path.join(self.site.folder, "collections")
        self.say("    $ ansible-galaxy collection install {0} -p collections".format(os.path.basename(self.tarball)))
        # whoever has the collection installed already, in ~/.ansible say, wants to see this one all the same
        argv = ["ansible-galaxy", "collection", "install", "--offline", "--force", "-p", target, self.tarball]
        subprocess.run(argv, check=True, capture_output=True, cwd=self.site.folder, env=self.site.environment())
        inside = os.listdir(os.path.join(target, "ansible_collections", "nanozfs", "fleet"))
        self.shows("the artefact holds no tests", not {"tests", "molecule", "tools", "Makefile"} & set(inside), inside)

    def build(self) -> None:
        """Build the three versions."""
        for version, (seq, works) in VERSIONS.items():
            out = self.play("build", "-e", "image_version={0}".format(version), "-e", "image_seq={0}".format(seq))
            found = re.search(r"id ([0-9a-f]{64})", out)
            ident = self.site.published(version)["id"]
            self.shows(
                "web-{0} is {1}…{2}".format(version, ident[:16], "" if works else ", and will not work"),
                bool(found and found.group(1) == ident),
                out,
            )
        again = self.play("build", "-e", "image_version=1.1", "-e", "image_seq=11")
        self.shows("building 1.1 again changes nothing", "nothing was changed" in again, again)
        new = self.play("image_diff", "-e", "image_old=1.0", "-e", "image_new=1.1")
        said = re.search(r"^web-1\.1 against web-1\.0: .*$", new, re.MULTILINE)
        self.shows("what is new in 1.1: {0}".format(said.group(0) if said else "?"), said is not None, new)
        self.lab.serve(self.site.images)

    def arrive(self) -> None:
        """Media of 1.0 are put into new machines, which come up in recovery mode."""
        buy(self.lab, list(EXAMPLE), self.site.medium("1.0"))
        for name, host in self.state().items():
            self.shows(
                "{0} is up in recovery mode: {1}".format(name, host["reason"]),
                host["state"] == "recovery" and host["running"]["version"] == "1.0" and host["pool"] is None,
                host,
            )

    def deploy(self) -> None:
        """Pool, datasets, configuration."""
        self.play("deploy")
        for name, host in self.state().items():
            self.shows(
                "{0} runs {1} from {2}, pool {3}".format(
                    name, host["running"]["version"], host["running"]["slice"], host["pool"]["health"]
                ),
                host["state"] == "normal" and host["hostname"] == name and host["journal"]["phase"] == "idle",
                host,
            )
        again = self.play("deploy")
        nothing = "3 hosts: 3 nothing to do; nothing was changed"
        self.shows("deploying again changes nothing", nothing in again, again)

    def write(self) -> None:
        """Data that must never be lost."""
        for name in EXAMPLE:
            self.note(name, "written under 1.0")
            self.shows(
                "{0} has markers in /cfg and /var".format(name),
                self.markers(name) == ["written under 1.0", "written under 1.0"],
                self.markers(name),
            )

    def upgrade(self) -> None:
        """A good upgrade, of one site."""
        before = self.state("web-1")["web-1"]
        self.play("upgrade", "-l", "site-b", "-e", "upgrade_version=1.1")
        after = self.state()
        for name in ("web-2", "web-3"):
            host = after[name]
            self.shows(
                "{0} runs 1.1 from {1}, committed; 1.0 stays in {2}".format(
                    name, host["running"]["slice"], host["medium"]["inactive"]
                ),
                host["running"]["id"] == self.site.published("1.1")["id"]
                and host["medium"]["slices"]["nz-b"]["flags"] == ["bootme"]
                and host["journal"]["phase"] == "committed",
                host,
            )
            self.shows(
                "{0} kept its data, and 1.1 has changed it to schema {1}".format(name, self.data(name)["schema"]),
                self.markers(name)[:2] == ["written under 1.0"] * 2 and self.data(name)["schema"] == 2,
                self.markers(name),
            )
            self.note(name, "written under 1.1")
        same = {key: after["web-1"][key] for key in ("running", "medium", "journal")}
        self.shows(
            "web-1 on the other site was not touched", same == {key: before[key] for key in same}, after["web-1"]
        )
        again = self.play("upgrade", "-l", "site-b", "-e", "upgrade_version=1.1")
        self.shows("upgrading again changes nothing", "2 hosts: 2 nothing to do; nothing was changed" in again, again)

    def fail(self) -> None:
        """An upgrade whose services do not come up."""
        before = {name: (self.markers(name), self.data(name)) for name in ("web-2", "web-3")}
        out = self.play("upgrade", "-l", "site-b", "-e", "upgrade_version=1.2", fails=True)
        said = " ".join(out.split())
        reason = re.search(r"the upgrade to web-1.2 failed on (\S+?): (.*?)\. The upgrade to", said)
        self.shows("the play failed and says why: {0}".format(reason and reason.group(2)), reason is not None, out)
        assert reason is not None
        canary = reason.group(1)
        self.shows("it says what is safe and what to do next", "Safe now:" in said and "Next:" in said, out)
        after = self.state("web-2", "web-3")
        for name in ("web-2", "web-3"):
            host = after[name]
            self.shows(
                "{0} runs 1.1, {1}".format(
                    name, "taken back" if name == canary else "never touched: the canary failed"
                ),
                host["running"]["version"] == "1.1"
                and host["state"] == "normal"
                and host["journal"]["phase"] == ("reverted" if name == canary else "committed"),
                host,
            )
            self.shows(
                "{0} has configuration and data as before".format(name),
                (self.markers(name), self.data(name)) == before[name],
                (self.markers(name), before[name]),
            )
        bad = after[canary]["journal"]["bad"]
        self.shows("1.2 is on the list of bad images of " + canary, self.site.published("1.2")["id"] in bad, bad)
        kept = [each["name"] for each in after[canary]["failed"]]
        self.shows(
            "what 1.2 had made of the data is kept in {0}".format(kept[0] if kept else "?"), len(kept) == 1, kept
        )
        again = self.play("upgrade", "-l", canary, "-e", "upgrade_version=1.2", fails=True)
        self.shows("it is not tried again by itself", "list of bad images" in again, again)

    def rollback(self) -> None:
        """Back to 1.0 by hand, system and data."""
        self.play("rollback", "-l", "web-3", "-e", "rollback_data=restore")
        host = self.state("web-3")["web-3"]
        self.shows(
            "web-3 runs 1.0 again, from {0}".format(host["running"]["slice"]),
            host["running"]["version"] == "1.0" and host["journal"]["phase"] == "committed",
            host,
        )
        self.shows(
            "its data is what it was under 1.0, schema {0}".format(self.data("web-3")["schema"]),
            self.markers("web-3") == ["written under 1.0"] * 2 and self.data("web-3")["schema"] == 1,
            self.markers("web-3"),
        )
        log = self.site.ssh("web-3", "cat /var/log/marker").split("\n")
        self.shows("its logs are all there: /var/log is kept", "written under 1.1" in log, log)

    def revive(self) -> None:
        """The medium of a host dies."""
        host = self.lab.host("web-1")
        identity = self.site.ssh("web-1", "cat /etc/ssh/ssh_host_ed25519_key.pub")
        host.cut()
        host.eject()
        host.insert(self.site.medium("1.1"))
        host.on()
        self.lab.wait(["web-1"])
        after = self.state("web-1")["web-1"]
        self.shows(
            "web-1 came up by itself from a fresh medium of 1.1, as {0}".format(after["hostname"]),
            after["state"] == "normal" and after["hostname"] == "web-1" and after["running"]["version"] == "1.1",
            after,
        )
        self.shows("with its data", self.markers("web-1")[0] == "written under 1.0", self.markers("web-1"))
        now = self.site.ssh("web-1", "cat /etc/ssh/ssh_host_ed25519_key.pub")
        self.shows("with its ssh key", now == identity, now)

    def lose_pool(self) -> None:
        """Two of three data disks are gone."""
        host = self.lab.host("web-1")
        host.cut()
        host.pull("ada2", "ada3")
        host.on()
        self.lab.wait(["web-1"])
        after = self.state("web-1")["web-1"]
        self.shows("web-1 is up in recovery mode and can be logged in to", after["state"] == "recovery", after)
        self.shows("it says why: {0}".format(after["reason"]), bool(after["reason"]), after)
        self.shows("and what is there: {0}".format(after["importable"][0]["state"]), bool(after["importable"]), after)
        refused = self.play("upgrade", "-l", "web-1", "-e", "upgrade_version=1.1", fails=True)
        self.shows(
            "an upgrade is refused, nothing is changed",
            "Safe now: nothing was changed" in " ".join(refused.split()),
            refused,
        )
        host.cut()
        host.plug("ada2", "ada3")
        host.on()
        self.lab.wait(["web-1"])
        back = self.state("web-1")["web-1"]
        self.shows(
            "with its disks back it is itself again", back["state"] == "normal" and back["hostname"] == "web-1", back
        )
        self.shows("with its data", self.markers("web-1")[0] == "written under 1.0", self.markers("web-1"))

    def report(self) -> None:
        """The fleet at the end."""
        out = self.play("status")
        for line in out.splitlines():
            if line.startswith(("HOST", "web-")):
                self.say("    " + line)
        self.shows("the report lists every host", all(name in out for name in EXAMPLE), out)
        self.shows("and says where each image comes from", "web-1.1: 13.2-RELEASE from sets, " in out, out)

    def run(self) -> None:
        """All of it."""
        self.say("nanozfs.fleet: three hosts on two sites. The hosts are namespaces of this machine with a real sshd;")
        self.say("they boot real UFS images from a real GPT, and their ZFS is a model that keeps real files.")
        self.step("A new site, and the collection from its artefact", self.prepare)
        self.step("Build 1.0, 1.1, and a 1.2 whose service does not start", self.build)
        self.step("Three new machines with a medium of 1.0", self.arrive)
        self.step("Deploy", self.deploy)
        self.step("Write into /cfg and /var", self.write)
        self.step("Upgrade site-b to 1.1", self.upgrade)
        self.step("Upgrade site-b to 1.2, which fails and takes itself back", self.fail)
        self.step("Roll web-3 back by hand, with its data", self.rollback)
        self.step("The OS medium of web-1 dies and is replaced", self.revive)
        self.step("Two of the three data disks of web-1 are gone", self.lose_pool)
        self.step("Report", self.report)
        self.say(
            "\n{0} checks, all as they should be, in {1:.0f} s.".format(self.checks, time.monotonic() - self.started)
        )


def main(argv: List[str]) -> int:
    """Entry point."""
    demo = Demo(os.path.abspath(argv[0]))
    if os.path.exists(demo.log):
        os.unlink(demo.log)
    try:
        demo.run()
    except (NotAsItShouldBe, PlayFailed, LabError) as problem:
        print("\n    FAILED  {0}\n\nThe output of all plays is in {1}.".format(problem, demo.log), file=sys.stderr)
        for host in demo.lab.hosts:
            print("\n--- console of {0}\n{1}".format(host.name, host.console()[-2000:]), file=sys.stderr)
        return 1
    finally:
        if not os.environ.get("NANOZFS_DEMO_KEEP"):
            demo.lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
