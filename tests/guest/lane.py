# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main jobs on a real FreeBSD under QEMU: ``lane.py --sets WHERE``; ``--help`` says what else there is.

The image is built here from release sets, by the collection's own role; the plays are run as an operator runs them.
Each step looks at the host afterwards, and fails unless everything is as it should be. Needs no root.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import SECTOR, read_table
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.qemu import PROGRAM, USUAL, net_of
from ansible_collections.nanozfs.fleet.tests.contract import runner
from ansible_collections.nanozfs.fleet.tests.contract.machines import DISK_SIZE as CASE_DISK_SIZE
from ansible_collections.nanozfs.fleet.tests.contract.machines import DISKS, FreeBsd, ssh_shell
from ansible_collections.nanozfs.fleet.tests.guest import freebsd, qemu
from ansible_collections.nanozfs.fleet.tests.guest.freebsd import HOST, VAULT
from ansible_collections.nanozfs.fleet.tests.guest.qemu import GuestError, Line, Transcript
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT, MIB, SSH_OPTIONS, VERSIONS, PlayFailed
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe, Walkthrough

#: of each data disk, in bytes
DISK_SIZE = 1024 * MIB

#: deadlines in seconds, for software emulation on a machine that has other things to do
BOOT = 420
PLAY = 2400
#: that recovery mode listens on a network before it takes the other, and that this takes
LISTENING = 600
COMMAND = 300

#: what tells the story of a boot on the console
KEY_LINES = re.compile(
    r"BTX loader|^FreeBSD \d|Trying to mount root|nanozfs: |trial|mischief|panic:|Shutdown|login:|Uptime|watchdog"
)


def key_lines(lines: Sequence[Line]) -> List[Line]:
    """Those of a console's lines that tell the story, each said once in a row."""
    found: List[Line] = []
    for line in lines:
        if KEY_LINES.search(line.text) and (not found or found[-1].text != line.text):
            found.append(line)
    return found


def table(steps: Sequence[Any]) -> List[str]:
    """The steps with their times in seconds, as lines."""
    width = max([len(title) for title, _seconds in steps] + [5])
    lines = ["{0:<{1}} {2:>6.0f} s".format(title, width, seconds) for title, seconds in steps]
    return lines + ["{0:<{1}} {2:>6.0f} s".format("all", width, sum(seconds for _title, seconds in steps))]


class Cut(NamedTuple):
    """A moment at which the power fails.

    :param when: in words.
    :param where: ``play`` or ``console``: what tells that the moment has come.
    :param pattern: the line there.
    """

    when: str
    where: str
    pattern: str


#: files that are to come back from a backup, and what mtree(8) is to compare of them
FILES, MTREE = "/var/db/lane", "flags,gid,link,mode,nlink,sha256digest,size,time,type,uid"

#: what makes them: many, of all kinds, with names that few would give
MAKE_FILES = r"""
import os
top = "/var/db/lane"
os.makedirs(top + "/deep/er")
for number in range(300):
    with open("%s/deep/%03d" % (top, number), "wb") as file:
        file.write(os.urandom(number * 7))
for name in (b"-rf", b" ", b"a\nb", b"'\"q", b"%s", b"{{ x }}", b"\xff"):
    open(os.path.join(os.fsencode(top), name), "w").close()
with open(top + "/holes", "wb") as file:
    file.truncate(8 << 20)
os.link(top + "/deep/001", top + "/deep/er/one")
os.symlink("../deep", top + "/deep/er/link")
os.mkfifo(top + "/fifo")
os.chmod(top + "/deep/002", 0o4711)
os.chown(top + "/deep/003", 80, 80)
"""

#: The runs of one upgrade with the moments at which the power fails in each, and what the host may be after a run: its
#: version with the phases of its journal.
POWER_CUTS = (
    (
        [Cut("while the image is written", "play", r"writing web-1\.1 .* [1-9]\d* %")],
        {"1.0": ("prepared", "written")},
    ),
    (
        [
            Cut("early in the boot of the trial", "console", r"nanozfs: .* is on trial"),
            Cut("while the data is put back", "console", r"nanozfs: taking .* back"),
        ],
        {"1.0": ("reverted",)},
    ),
    (
        [
            Cut("while the host goes down for the trial", "console", r"Shutdown NOW|shutting down|Stopping sshd"),
            Cut("while it is checked and kept", "play", r"checks the new system"),
        ],
        # what was decided is finished by the host itself
        {"1.1": ("trial", "committing", "committed"), "1.0": ("reverted",)},
    ),
)


#: in order; each begins with what the one before it leaves
STEPS = {
    "build": "A new site; build 1.0",
    "arrive": "A new machine with a medium of 1.0",
    "sealed": "In the network of a copy on a backup host it is reached, and reaches nobody",
    "deploy": "Deploy, from recovery mode, with a pool of three disks",
    "good": "Build 1.1, and upgrade to it",
    "rollback": "Roll back to 1.0, with the data",
    "release": "Upgrade to another release of FreeBSD and back, with and without the data",
    "service": "Build 1.2, whose service does not start, and upgrade to it",
    "panic": "Upgrade to 1.2, whose kernel panics",
    "hang": "Upgrade to 1.2, which hangs until its timer ends it",
    "cuts": "Upgrade to 1.1; the power fails five times",
    "medium": "The medium dies and is replaced",
    "pool": "Two of three data disks are gone, and come back",
    "network": "Without its pool the host keeps its name and network; and the image's where nobody answers",
    "backup": "Backups on another FreeBSD by zfs send; a file, and the whole host on a new machine, come back",
    "off": "Switch off by the button",
    "uefi": "Start under UEFI",
    "mbr": "A new machine whose medium has an MBR: deploy, upgrade, and an upgrade that fails",
    "plain": "A machine that runs an ordinary FreeBSD: deploy, with its medium",
    "contract": "The contract cases, on FreeBSD's ZFS",
}


class Lane(Walkthrough):
    """The run.

    :param work: a folder for media, disks and images.
    :param logs: a folder for logs.
    :param sets: what the image is built from.
    :param accel: see :class:`qemu.Hardware`.
    :param other: sets of another release, newer than those; ``None`` for none.
    """

    site: freebsd.Site

    def __init__(
        self, work: str, logs: str, sets: freebsd.Sets, accel: str, other: Optional[freebsd.Sets] = None
    ) -> None:
        self.work = work
        self.other = other
        self.memory = os.path.join(work, "lane.json")
        ports = freebsd.Ports(qemu.free_port(), qemu.free_port(), qemu.free_port())
        site = freebsd.Site(os.path.join(work, "site"), sets, self._size(sets), ports)
        super().__init__(site, os.path.join(logs, "plays.log"))
        self.ports = ports
        self.machine = freebsd.Machine(os.path.join(work, "machine"), logs, ports, accel)
        self.guest = self.machine.guest
        self.plays = Transcript(os.path.join(logs, "interrupted-plays.log"))
        self.seen = 0

    def _size(self, sets: freebsd.Sets) -> int:
        """The size of the image: what the sets hold, looked up once."""
        with suppress(OSError), open(self.memory, encoding="utf-8") as file:
            return int(json.load(file)["size"])
        every = [sets] if self.other is None else [sets, self.other]
        size = max(freebsd.image_size(freebsd.sizes_in(each.all)) for each in every) + 16 * MIB
        os.makedirs(self.work, exist_ok=True)
        with open(self.memory, "w", encoding="utf-8") as file:
            json.dump({"size": size}, file)
        return size

    # small things

    def story(self) -> None:
        """Show what the console has told since this was called last."""
        lines = key_lines(self.guest.console.lines[self.seen :])
        self.seen = self.guest.console.end
        for line in lines:
            self.say("      {0:7.1f} s  {1}".format(line.at, line.text[:110]))

    def step(self, title: str, work: Callable[[], None]) -> None:
        """One step, with what the console told meanwhile."""
        try:
            super().step(title, work)
        finally:
            self.story()

    def start(self) -> None:
        """Switch the host on and wait until it can be logged in to."""
        self.guest.on()
        self.guest.wait_ssh(BOOT)

    def host(self) -> Dict[str, Any]:
        """What host_info says of the host."""
        return self.state(HOST)[HOST]

    def is_itself(self, outcomes: Mapping[str, Sequence[str]], notes: Sequence[str]) -> Dict[str, Any]:
        """See that the host runs on its own data, and that nothing that was written is lost.

        :param outcomes: the versions that it may run, each with what its journal may say then.
        :param notes: what was written into /cfg and /var, at least.
        """
        host = self.host()
        version, phase = host["running"]["version"], (host["journal"] or {}).get("phase")
        self.shows(
            "{0} runs {1} from {2} in state {3}, journal: {4}".format(
                host["hostname"], version, host["running"]["slice"], host["state"], phase
            ),
            phase in outcomes.get(version, ()) and host["state"] == "normal" and host["hostname"] == HOST,
            host,
        )
        markers = self.markers(HOST)
        self.shows("its data is what it was", markers[: len(notes)] == list(notes), markers)
        return host

    def upgrade(self, version: str, *more: str, fails: bool = False) -> str:
        """The play upgrade."""
        return self.play("upgrade", "-l", HOST, "-e", "upgrade_version=" + version, *more, fails=fails)

    def mischief(self, kind: str) -> None:
        """Tell the version that does not work what to do."""
        self.site.ssh(HOST, "mount -u -o rw /cfg && echo {0} > /cfg/mischief && mount -u -o ro /cfg".format(kind))
        self.site.ssh(HOST, "echo {0} > /etc/mischief".format(kind))  # nothing of it is unsaved

    # the steps

    def publish(self, version: str) -> None:
        """Build, sign and publish a version."""
        self.play(
            "build", "-e", "image_version={0}".format(version), "-e", "image_seq={0}".format(VERSIONS[version][0])
        )
        medium = os.path.getsize(self.site.medium(version))
        self.shows(
            "{0}: an image of {1} MiB, a medium of {2} MiB".format(version, self.site.size // MIB, medium // MIB),
            0 < medium < self.site.size,
            medium,
        )

    def build(self) -> None:
        """A new site with its first image."""
        self.site.create([HOST])
        self.publish("1.0")

    def arrive(self) -> None:
        """A machine with empty disks and a medium."""
        self.machine.buy_disks(DISK_SIZE)
        freebsd.write_medium(self.site.medium("1.0"), self.machine.medium)
        self.start()
        host = self.host()
        self.shows(
            "it is up in recovery mode: {0}".format(host["reason"]),
            host["state"] == "recovery" and host["running"]["version"] == "1.0" and host["pool"] is None,
            host,
        )

    def sealed(self) -> None:
        """The network that ``nanozfs-backup machine`` gives a copy of a host, beside one with a way out."""
        fetch = "fetch -q -T 10 -o /dev/null http://{0}:{1}/index.json && echo reached || true".format(
            qemu.HOST_ADDRESS, self.ports.web
        )
        for net, words in ((None, "reached"), (net_of({}, USUAL), "")):
            self.guest.cut()
            self.guest.hardware = replace(self.machine.hardware(), net=net)
            self.start()
            said = self.site.ssh(HOST, "sh -c '{0}'".format(fetch)).strip()
            host = self.host()
            self.shows(
                "it is up in {0}, and the images are {1}".format(host["state"], words or "out of reach"),
                said == words,
                said,
            )
        routes = self.site.ssh(HOST, "netstat -rn -f inet")
        self.shows("it has no default route", "default" not in routes, routes)
        self.guest.cut()
        self.guest.hardware = self.machine.hardware()
        self.start()

    def deploy(self) -> None:
        """Pool, datasets, configuration."""
        self.play("deploy")
        host = self.host()
        self.shows(
            "{0} runs {1} from {2}, pool {3}".format(
                host["hostname"], host["running"]["version"], host["running"]["slice"], host["pool"]["health"]
            ),
            host["state"] == "normal" and host["hostname"] == HOST and host["journal"]["phase"] == "idle",
            host,
        )
        again = self.play("deploy")
        self.shows("deploying again changes nothing", "1 host: 1 nothing to do; nothing was changed" in again, again)
        self.note(HOST, "first")

    def good(self) -> None:
        """An upgrade that works."""
        self.publish("1.1")
        self.upgrade("1.1")
        host = self.is_itself({"1.1": ["committed"]}, ["first", "first"])
        self.shows(
            "its slice is the published image, bit by bit",
            host["running"]["id"] == self.site.published("1.1")["id"],
            host["running"],
        )
        self.shows("1.1 has changed the data to schema 2", self.data(HOST)["schema"] == 2, self.data(HOST))
        again = self.upgrade("1.1")
        self.shows("upgrading again changes nothing", "1 host: 1 nothing to do; nothing was changed" in again, again)

    def rollback(self) -> None:
        """Back, with the data."""
        self.play("rollback", "-l", HOST, "-e", "rollback_data=restore")
        self.is_itself({"1.0": ["committed"]}, ["first", "first"])
        self.shows("its data is of schema 1 again", self.data(HOST)["schema"] == 1, self.data(HOST))

    def release(self) -> None:
        """A newer release and back: the pool is one that both can open, whatever was done with it."""
        if self.other is None:
            self.say("    SKIPPED: there are no sets of another release (NANOZFS_FREEBSD_OTHER_SETS)")
            return
        before = self.host()
        # the same application, as that is not what this is about
        self.site.write("files/versions/2.0/usr/local/share/fleetapp/version", "1.0\n")
        sources = json.dumps({"image_sources": self.other.all})
        self.play("build", "-e", "image_version=2.0", "-e", "image_seq=20", "-e", sources)
        for text, back in (("kept", []), ("gone", ["-e", "rollback_data=restore"])):
            self.site.ssh(HOST, "echo of 1.0 > /var/db/old-{0}".format(text))
            self.upgrade("2.0")
            host = self.is_itself({"2.0": ["committed"]}, ["first", "first"])
            another = host["release"] != before["release"]
            self.shows("it runs {0}, and ran {1}".format(host["release"], before["release"]), another, host)
            self.shows(
                "its pool may have {0}".format(host["pool"]["compatibility"]),
                host["pool"]["compatibility"] == before["pool"]["compatibility"] != "off",
                host["pool"],
            )
            self._use_pool(text)
            self.play("rollback", "-l", HOST, *back)
            host = self.is_itself({"1.0": ["committed"]}, ["first", "first"])
            self.shows("it runs {0} again".format(host["release"]), host["release"] == before["release"], host)
            self.shows("nothing of the other slice is wrong", host["warnings"] == before["warnings"], host["warnings"])
            names = ("old-" + text, "new-" + text)
            there = [name for name in self.site.ssh(HOST, "ls /var/db").split() if name in names]
            wanted = ["new-" + text] * (not back) + ["old-" + text]
            self.shows("of its files there are {0}".format(" and ".join(wanted)), there == wanted, there)

    def _use_pool(self, text: str) -> None:
        """Use the pool as a system would that knows more features than the other: copies, properties, a scrub."""
        for command in (
            "mkdir /var/db/new-{0}".format(text),
            "dd if=/dev/random of=/var/db/new-{0}/bulk bs=1048576 count=8".format(text),
            "cp /var/db/new-{0}/bulk /var/db/new-{0}/clone".format(text),
            "zfs set atime=off tank/nanozfs/var && zfs inherit atime tank/nanozfs/var",
            "zpool scrub tank",
            # enables all that the pool may have
            "zpool upgrade tank",
            "/usr/local/sbin/nanozfs zpool-upgrade",
        ):
            self.site.ssh(HOST, command)

    def _fails(self, says: str, *more: str, bad: bool = True) -> None:
        """An upgrade to the version that does not work.

        :param bad: the host itself has found the image wrong, or its trial has ended without a word twice.
        """
        out = self.upgrade("1.2", "-e", "upgrade_allow_bad=true", *more, fails=True)
        said = " ".join(out.split())
        found = re.search(r"the upgrade to web-1.2 failed on (.*?)\. Safe now:", said)
        self.shows("the play failed: {0}".format(found and found.group(1)), bool(re.search(says, said)), said)
        host = self.is_itself({"1.0": ["reverted"]}, ["first", "first"])
        self.shows("its data is of schema 1", self.data(HOST)["schema"] == 1, self.data(HOST))
        listed = self.site.published("1.2")["id"] in host["journal"]["bad"]
        words = "1.2 is on its list of bad images" if bad else "1.2 may be tried once more"
        self.shows(words, listed == bad, host["journal"])

    def service(self) -> None:
        """A trial whose service does not start."""
        self.publish("1.2")
        self._fails("not running: fleetapp")

    def panic(self) -> None:
        """A trial whose kernel panics."""
        self.mischief("panic")
        since = self.guest.console.end
        self._fails("was restarted before it was committed", bad=False)
        self.shows("the kernel did panic", self.guest.console.find("panic: ", since) is not None)

    def hang(self) -> None:
        """A trial that hangs before anybody can log in; its timer ends it."""
        self.mischief("hang")
        since = self.guest.console.end
        self._fails("was restarted before it was committed", "-e", "upgrade_trial_timeout=180")
        self.shows("it did hang", self.guest.console.find("mischief: hang", since) is not None)
        self.mischief("none")

    def cuts(self) -> None:
        """One upgrade during which the power fails five times."""
        # so that there is something to write, as on a medium that is new
        self.site.ssh(HOST, "dd if=/dev/zero of=/dev/gpt/nz-b bs=1m count={0}".format(self.site.size // MIB))
        # and it takes its time: without a delta, over a thin line
        deltas = [name for name in os.listdir(self.site.images) if name.endswith(".delta")]
        faults = os.path.join(self.site.images, ".faults.json")
        with open(faults, "w", encoding="utf-8") as file:
            json.dump({name: {"status": 404} for name in deltas}, file)
        try:
            for moments, outcomes in POWER_CUTS:
                self._interrupted(moments)
                self.is_itself(outcomes, ["first", "first"])
        finally:
            os.unlink(faults)
        self.upgrade("1.1", "-e", "upgrade_allow_bad=true")
        self.is_itself({"1.1": ["committed"]}, ["first", "first"])

    def _interrupted(self, moments: Sequence[Cut]) -> None:
        """Run the upgrade and cut the power at some moments; the play goes on meanwhile, however it ends."""
        arguments = ["-l", HOST, "-e", "upgrade_version=1.1", "-e", "upgrade_allow_bad=true"]
        arguments += ["-e", "upgrade_rate_limit={0}".format(MIB)]
        self.say("    $ {0}".format(" ".join(self.site.command("upgrade", *arguments))))
        process = self.site.start("upgrade", *arguments)
        try:
            assert process.stdout is not None
            begun = {"play": self.plays.end, "console": self.guest.console.end}
            reader = self.plays.follow(partial(os.read, process.stdout.fileno(), 65536), "upgrade")
            for moment in moments:
                source = self.plays if moment.where == "play" else self.guest.console
                line = source.wait(moment.pattern, PLAY, begun[moment.where], lambda: process.poll() is not None)
                self.guest.cut()
                begun = {"play": self.plays.end, "console": self.guest.console.end}
                self.guest.on()
                self.say("    --  power cut {0} ({1})".format(moment.when, line.text[:80]))
            process.wait(PLAY)
            reader.join(10)
        except subprocess.TimeoutExpired:
            raise GuestError("the play does not end. {0}".format(self.guest.where))
        finally:
            process.kill()
            process.wait()
        self.guest.wait_ssh(BOOT)

    def medium(self) -> None:
        """The medium dies, and a fresh one is put in."""
        key = self.site.ssh(HOST, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        self.guest.cut()
        freebsd.write_medium(self.site.medium("1.1"), self.machine.medium)
        self.start()
        host = self.is_itself({"1.1": ["committed", "idle", "reverted"]}, ["first", "first"])
        self.shows("it runs from nz-a", host["running"]["slice"] == "nz-a", host["running"])
        now = self.site.ssh(HOST, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        self.shows("it has its ssh key", now == key, now)

    def pool(self) -> None:
        """Two of three data disks are gone, and come back."""
        self.guest.cut()
        self.guest.hardware = self.machine.hardware(disks=self.machine.disks[:1])
        self.start()
        host = self.host()
        self.shows("it is up in recovery mode: {0}".format(host["reason"]), host["state"] == "recovery", host)
        out = self.upgrade("1.1", fails=True)
        self.shows(
            "an upgrade is refused, nothing is changed", "nothing was changed" in " ".join(out.split()).lower(), out
        )
        self.guest.cut()
        self.guest.hardware = self.machine.hardware()
        self.start()
        self.is_itself({"1.1": ["committed", "idle", "reverted"]}, ["first", "first"])

    def network(self) -> None:
        """A static network, then one on which nobody is; each time the pool is missing."""
        before = self.host()
        static = {"ifconfig_vtnet0": "inet 10.0.2.15/24", "defaultrouter": qemu.HOST_ADDRESS}
        self.play("deploy", "-e", json.dumps({"deploy_rc_conf": static}))
        self.guest.cut()
        self.start()  # with which the medium learns it, by rc.d/nanozfs in the background
        # root's shell is csh
        self.site.ssh(HOST, "sh -c 'sleep 20; while pgrep -qf \"nanozfs.* reconcile\"; do sleep 1; done'")
        for words, changes, network in (
            ("own", {}, "own"),
            ("image's, after nobody has answered on its own", {"ifconfig_vtnet0": "inet 192.0.2.5/24"}, "image"),
        ):
            self.guest.cut()
            self._remember(changes)
            self.guest.hardware = self.machine.hardware(disks=self.machine.disks[:1])
            self.guest.on()
            self.guest.wait_ssh(BOOT + LISTENING)
            host = self.host()
            right = (host["state"], host["hostname"], host["network"]) == ("recovery", HOST, network)
            self.shows("in recovery mode it is {0}, on a network that is the {1}".format(HOST, words), right, host)
            said = self.site.ssh(HOST, "cat /etc/nanozfs.log").splitlines()
            self.say("\n".join("        " + line for line in said[-4:]))
        self.guest.cut()
        self.guest.hardware = self.machine.hardware()
        self.start()
        self.play("deploy")
        after = self.host()
        same = all(after[key] == before[key] for key in ("state", "hostname", "network", "running"))
        self.shows("with its disks it is itself again", same and after["state"] == "normal", after)

    def _remember(self, changes: Mapping[str, str]) -> None:
        """Change what the medium remembers of the network."""
        size = os.path.getsize(self.machine.medium)
        with open(self.machine.medium, "r+b") as medium, tempfile.NamedTemporaryFile() as copy:
            place = read_table(medium, size // SECTOR).entries[6].first * SECTOR
            medium.seek(place)
            copy.write(medium.read(state.NETWORK.start + 2 * state.NETWORK.copy))
            copy.flush()
            with Device(copy.name, writable=True) as device:
                known = state.read(device, state.NETWORK).values
                self.shows(
                    "the medium remembers its network",
                    known.get("hostname") == HOST and "defaultrouter" in known,
                    known,
                )
                state.write(device, dict(known, **changes), state.NETWORK)
            copy.seek(0)
            medium.seek(place)
            medium.write(copy.read())

    def backup(self) -> None:
        """Backups of the host on another machine, and back from there."""
        if not freebsd.has_rsync(self.site.sets.all):
            self.say("    SKIPPED: none of the sets has {0}, which backups need on a host".format(freebsd.RSYNC))
            return
        vault = self._vault()
        try:
            self._backed_up()
            self._file_comes_back()
            self._host_comes_back()
        finally:
            vault.cut()

    def _vault(self) -> qemu.Guest:
        """The backup host: an ordinary FreeBSD with a pool."""
        system, bank = (os.path.join(self.work, "machine", "vault-{0}.img".format(name)) for name in ("system", "bank"))
        freebsd.write_plain(self.site.sets, self.site.public("admin"), system, self.site.size)
        with open(bank, "wb") as file:
            file.truncate(DISK_SIZE)
        vault = self.machine.beside(VAULT, os.path.dirname(self.log), self.ports.vault, [system, bank])
        vault.on()
        vault.wait_ssh(BOOT)
        self.site.add_vault()
        self.site.ssh(VAULT, "zpool create bank vtbd1")
        return vault

    def _kept(self) -> str:
        """What mtree(8) says of the files that are to come back."""
        # -C has each on a line of its own
        return self.site.ssh(HOST, "mtree -c -n -k {0} -p {1} | mtree -C -k {0}".format(MTREE, FILES))

    def _backed_up(self) -> None:
        """A first backup, one of what has changed since, and a look into that."""
        packed = base64.b64encode(MAKE_FILES.encode()).decode()  # root's shell is csh, to which a line end ends a word
        code = 'exec(__import__("base64").b64decode("{0}"))'.format(packed)
        self.site.ssh(HOST, "/usr/local/bin/python3 -c '{0}'".format(code))
        out = self.play("backup", "-e", "backup_now=true")
        self.shows("the first backup has arrived", "web-1: all its datasets" in out, out)
        again = self.play("backup")
        self.shows("the backup host is as it should be", "2 hosts: 2 ok" in again, again)
        self.site.ssh(HOST, "echo later > {0}/later && chflags nodump {0}/later".format(FILES))
        out = self.play("backup", "-e", "backup_now=true")
        self.shows("so has what has changed since", "web-1: all its datasets" in out, out)
        said = self.site.ssh(VAULT, "/usr/local/sbin/nanozfs-backup list --json")
        made = [each["result"] for each in json.loads(said)]
        self.shows("it has two sets", made == ["ok", "ok"], said)
        marks = self.site.ssh(HOST, "zfs list -H -t bookmark -o name -r tank").splitlines()
        self.shows("the host has no snapshot of it, but bookmarks", len(marks) >= 2, marks)
        out = self.play("backup_verify", "-l", HOST)
        self.shows("a sample of it is what the host has", "web-1: verified: " in out, out)

    def _file_comes_back(self) -> None:
        """A file that somebody has removed."""
        before = self._kept()
        self.site.ssh(HOST, "rm {0}/later".format(FILES))
        where = ["-l", HOST, "-e", "restore_path={0}/later".format(FILES), "-e", "restore_in_place=true"]
        self.play("restore", *where)
        text = self.site.ssh(HOST, "cat {0}/later".format(FILES)).strip()
        self.shows("the file is back", text == "later", text)
        now = self._kept()
        # the time of the folder it is in is another one
        changed = {line for line in set(now.splitlines()) ^ set(before.splitlines()) if not line.startswith(". ")}
        self.shows("all else is as it was", not changed, changed)

    def _host_comes_back(self) -> None:
        """The whole machine is lost; a new one with empty disks becomes it."""
        before, key = self._kept(), self.site.ssh(HOST, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        version = self.host()["running"]["version"]
        self.play("backup", "-e", "backup_now=true")
        self.guest.cut()
        self.machine.buy_disks(DISK_SIZE)
        freebsd.write_medium(self.site.medium(version), self.machine.medium)
        self.start()
        host = self.host()
        self.shows("a new machine is up in recovery mode", host["state"] == "recovery" and not host["pool"], host)
        self.play("restore", "-l", HOST, "-e", "restore_host=true")
        self.is_itself({version: ["idle", "committed"]}, ["first", "first"])
        now = self.site.ssh(HOST, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        self.shows("it has its ssh key", now == key, now)
        changed = set(self._kept().splitlines()) ^ set(before.splitlines())
        self.shows("its files are the same, with all that belongs to them", not changed, changed)

    def off(self) -> None:
        """The power button."""
        self.guest.press(BOOT)
        self.shows("it has switched itself off", not self.guest.is_on)

    def uefi(self) -> None:
        """The same host under UEFI."""
        if not freebsd.has_esp(self.machine.medium):
            self.say("    SKIPPED: the medium has no EFI system partition")
            return
        self.guest.hardware = self.machine.hardware(firmware=self.machine.uefi())
        self.start()
        self.is_itself({"1.1": ["committed", "idle", "reverted"]}, ["first", "first"])
        method = self.site.ssh(HOST, "sysctl -n machdep.bootmethod").strip()
        self.shows("it was booted by UEFI", method == "UEFI", method)
        self.guest.press(BOOT)

    def mbr(self) -> None:
        """Another machine, for a BIOS that boots no GPT."""
        self.guest.cut()
        self.machine.buy_disks(DISK_SIZE)
        freebsd.write_medium(self.site.medium("1.0", "mbr"), self.machine.medium)
        self.guest.hardware = self.machine.hardware()
        self.start()
        self.play("deploy")
        self.note(HOST, "first")
        host = self.is_itself({"1.0": ["idle"]}, ["first", "first"])
        self.shows("its medium has an MBR", host["medium"]["scheme"] == "MBR", host["medium"])
        out = self.upgrade("1.1", fails=True)
        self.shows("an upgrade is refused unless that is allowed", "upgrade_allow_mbr" in out, out)
        self.upgrade("1.1", "-e", "upgrade_allow_mbr=true")
        self.is_itself({"1.1": ["committed"]}, ["first", "first"])
        self.upgrade("1.2", "-e", "upgrade_allow_mbr=true", fails=True)
        self.is_itself({"1.1": ["reverted"]}, ["first", "first"])

    def plain(self) -> None:
        """A machine that somebody else has installed; its own system disk is taken out at the end."""
        self.guest.cut()
        self.machine.buy_disks(DISK_SIZE, 4 * self.site.size)
        freebsd.write_plain(self.site.sets, self.site.public("admin"), self.machine.plain, self.site.size)
        self.guest.hardware = self.machine.hardware(more=[self.machine.plain])
        self.start()
        self.guest.boot_first(0)
        disk = ["-e", "deploy_disk=/dev/vtbd0", "-e", "deploy_version=1.0"]
        out = " ".join(self.play("deploy", *disk, fails=True).split())
        token = re.search(r"deploy_confirm=(\w+)", out)
        self.shows("it asks which disk is meant", "Nothing was changed" in out and token is not None, out)
        system = ["-e", "deploy_disk=/dev/vtbd4", "-e", "deploy_version=1.0"]
        out = " ".join(self.play("deploy", *system, fails=True).split())
        self.shows("its own disk is refused", "is in use by" in out and "nothing was written" in out, out)
        self.play("deploy", *disk, "-e", "deploy_confirm={0}".format(token and token.group(1)))
        self.note(HOST, "first")
        host = self.is_itself({"1.0": ["idle"]}, ["first", "first"])
        self.shows("it runs from its medium", host["medium"]["disk"] == "vtbd0", host["medium"])

    def contract(self) -> None:
        """What the collection relies on in ZFS, asked of FreeBSD's own."""
        self.guest.cut()
        freebsd.write_medium(self.site.medium("1.0"), self.machine.medium)
        disks = self.machine.blank(DISKS, CASE_DISK_SIZE + 2 * MIB)
        self.guest.hardware = self.machine.hardware(disks=disks)
        self.start()
        # the cases' pool has the name of the image's: it must not be imported at the start
        self.site.ssh(HOST, "gpart unset -a bootme -i 4 vtbd0 && gpart set -a bootme -i 3 vtbd0")
        self._restart()
        with tempfile.TemporaryDirectory(prefix="nanozfs-") as folder:  # the path of a socket must be short
            link = os.path.join(folder, "link")
            # one connection for all commands; when the host is gone, so is it, after a while
            kept = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", "ControlPath=" + link]
            ssh = self.site.ssh_command(HOST, *kept)

            def cut() -> None:
                subprocess.run([*ssh, "-O", "exit"], capture_output=True, check=False)
                self._restart()

            self._contract(FreeBsd(ssh_shell(ssh, COMMAND), cut))

    def _contract(self, machine: FreeBsd) -> None:
        outcomes = runner.run_cases(runner.load_cases(), machine, lambda text: self.say("    " + text))
        for line in runner.table(outcomes):
            self.say("    " + line)
        bad = [each.case.file for each in outcomes if each.problem]
        self.shows("{0} cases hold".format(len(outcomes)), not bad, bad)

    def _restart(self) -> None:
        """A power cut."""
        self.guest.cut()
        self.start()

    def run(self, first: str, last: str) -> None:
        """The steps from *first* to *last*.

        :raises NotAsItShouldBe: when a check fails, and what the parts raise.
        """
        names = list(STEPS)
        if first != "build":
            self.site.configure([HOST])  # the ports are new
        if last == "start" or names.index("arrive") < names.index(first) < names.index("uefi"):
            self.step("Switch the host of before on", self.start)
        for name in names[names.index(first) : names.index(last) + 1] if last != "start" else []:
            self.step(STEPS[name], getattr(self, name))

    def summary(self) -> None:
        """How long everything took."""
        self.say()
        for line in table(self.steps):
            self.say("  " + line)

    def hold(self) -> None:
        """Leave the host on until somebody is done with it."""
        key = os.path.join(self.site.keys, "admin")
        options = " ".join(SSH_OPTIONS)
        self.say("\nThe host is on: ssh -p {0} -i {1} {2} root@127.0.0.1".format(self.ports.ssh, key, options))
        self.say("The site: {0}. {1}. Press Ctrl-C when you are done.".format(self.site.folder, self.guest.where))
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def serve(folder: str, port: int, log: str) -> subprocess.Popen:
    """Publish a folder on a port of 127.0.0.1, for as long as this process lives.

    :param log: of what is asked for.
    """
    os.makedirs(folder, exist_ok=True)
    argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", web.__name__, folder, "127.0.0.1", str(port)]
    with open(log, "ab") as file:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/freebsd", description="The main jobs on a real FreeBSD under QEMU.")
    parser.add_argument("--sets", default=os.environ.get("NANOZFS_FREEBSD_SETS"), help="folder or URL of the sets")
    parser.add_argument(
        "--other-sets", default=os.environ.get("NANOZFS_FREEBSD_OTHER_SETS"), help="sets of a newer release, likewise"
    )
    parser.add_argument("--accel", default=os.environ.get("NANOZFS_FREEBSD_ACCEL", "tcg"), choices=["tcg", "kvm"])
    parser.add_argument("--work", help="folder for media and disks, kept; without, one that is removed at the end")
    parser.add_argument("--from", dest="first", choices=list(STEPS), default="build", help="with --work of before")
    parser.add_argument(
        "--to", dest="last", choices=["start", *STEPS], default=list(STEPS)[-1], help="start: no step at all"
    )
    parser.add_argument("--hold", action="store_true", help="leave the host on at the end, until Ctrl-C")
    return parser


def _lacking() -> Optional[str]:
    """What this machine lacks, or ``None``."""
    missing = [name for name in (PROGRAM, "makefs", "setpriv") if shutil.which(name) is None]
    return ", ".join(missing) + " not installed" if missing else None


def main(argv: List[str]) -> int:
    """Entry point."""
    options = _parser().parse_args(argv)
    if not options.sets:
        print("SKIPPED: the FreeBSD lane needs release sets, and NANOZFS_FREEBSD_SETS does not say where they are.")
        print(
            "It names a folder or URL with base.txz, kernel.txz and {0}; see docs/lab.md.".format(freebsd.PYTHON_NAME)
        )
        return 0
    if _lacking():
        print("SKIPPED: the FreeBSD lane cannot run here: {0}.".format(_lacking()))
        return 0
    cache = os.environ.get("NANOZFS_CACHE", os.path.join(CHECKOUT, ".cache"))
    work = options.work or tempfile.mkdtemp(prefix="nanozfs-freebsd-", dir="/var/tmp")
    logs = os.path.join(os.path.abspath(options.work) if options.work else os.path.join(cache, "freebsd"), "logs")
    if options.first == "build":
        for folder in (logs, os.path.join(work, "site"), os.path.join(work, "images"), os.path.join(work, "keys")):
            shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(logs, exist_ok=True)
    try:
        sets = freebsd.find_sets(options.sets, os.path.join(cache, "sets"))
        other = freebsd.find_sets(options.other_sets, os.path.join(cache, "sets")) if options.other_sets else None
        lane = Lane(os.path.abspath(work), logs, sets, options.accel, other)
        server = serve(lane.site.images, lane.ports.web, os.path.join(logs, "web.log"))
        try:
            return _walk(lane, options)
        finally:
            lane.guest.cut()
            server.kill()
            server.wait()
    except freebsd.SetsError as problem:
        print("FAILED  {0}".format(problem), file=sys.stderr)
        return 1
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)


def _walk(lane: Lane, options: argparse.Namespace) -> int:
    status = 0
    try:
        lane.run(options.first, options.last)
        lane.say("\n{0} checks, all as they should be.".format(lane.checks))
    except (NotAsItShouldBe, PlayFailed, GuestError, freebsd.SetsError) as problem:
        lane.say("\n    FAILED  {0}".format(problem))
        status = 1
    lane.summary()
    lane.say("\n{0}. All plays: {1}".format(lane.guest.where, lane.log))
    if options.hold:
        lane.hold()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
