# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The jobs of examples/awx, run as AWX runs them, on the lab that ``tools/lab site`` has made: ``walk.py [sample]``.

Each job is looked at as AWX looks at it, its events, artefacts and status, and the hosts are looked at then. A job
is cancelled in each phase of an upgrade; the next one must end well, and nothing may be lost. Takes the three hosts of
the lab.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.awx.jobs import Job, Project
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.site import Site
from ansible_collections.nanozfs.fleet.tests.site import PlayFailed
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe, Steps

#: the host whose jobs are cancelled
HOST = "web-1"

#: what holds an upgrade in a phase long enough for it to be cancelled there (seconds, on the host)
HOLD = 5

#: what the jobs of the walk have besides the surveys: tasks of the site that are quick, unless they are told to wait
TASKS = {
    "tasks/cfg.yml": "upgrade_cfg",
    "tasks/enable.yml": "inventory_hostname",
}

#: how long a host may take to come up (seconds)
PATIENCE = 60

#: what they have besides that; trials wait longer than in the lab, for a machine that has much else to do
SETTINGS = {
    "upgrade_cfg_tasks": "cfg.yml",
    "upgrade_after_commit_tasks": "enable.yml",
    **{"{0}_{1}_timeout".format(kind, what): 300 for kind in ("upgrade", "rollback") for what in ("trial", "boot")},
}

REFUSED = "another play is at work on this host"
TAKES_OVER = "takes over from a play of this machine that has ended"


def _reached(job: Job, phase: str) -> bool:
    """Whether a job has come to a phase."""
    if phase in FIRST_TASKS:
        return job.began(FIRST_TASKS[phase])
    return job.began("Try it, check it") and phase_of(job.project) in LATER[phase]


#: the phases, by the task that they begin with
FIRST_TASKS = {"open": "Open the transaction", "write": "Write and read back", "stage": "Copy the configuration"}

#: those after it was armed, by what the journal says; a host that does not answer restarts
LATER = {"restart": ("armed", ""), "trial": ("trial",), "commit": ("committing", "committed")}


#: where a host is held for certain by the play that was cancelled
HELD = ("write", "stage", "restart", "trial")


def phase_of(project: Project) -> str:
    """The phase of the journal; empty where the host does not answer."""
    return project.ssh(HOST, "zfs get -H -o value nanozfs:phase tank/nanozfs", check=False).strip()


class Walk(Steps):
    """The steps."""

    def __init__(self) -> None:
        super().__init__()
        self.project = Project()
        self.site = Site(os.path.join(paths.HOME, "site"))
        for name, variable in TASKS.items():
            self.project.write(
                name,
                json.dumps(
                    [
                        {
                            "name": "Wait, where that is wanted: {0}".format(variable),
                            "ansible.builtin.command": {"argv": ["sleep", "{{ walk_hold | default('0') }}"]},
                            "changed_when": False,
                        }
                    ]
                ),
            )
        self.project.write(
            "group_vars/all/zz_walk.yml",
            # the hosts' network leads to no web server for the controller: it looks where that has its files
            json.dumps({**SETTINGS, "report_repository": self.project.images}),
        )
        self.secrets = [
            line
            for name in ("admin", "release")
            for line in self.project.private(name).splitlines()
            if line and not line.startswith("-")
        ]

    # jobs

    def job(
        self,
        playbook: str,
        answers: Optional[Mapping[str, str]] = None,
        status: str = "successful",
        **more: Any,
    ) -> Job:
        """Run a job to its end, and look at what AWX has of it.

        :raises NotAsItShouldBe: when it ends otherwise, or shows a secret.
        """
        job = Job(self.project, playbook, answers, **more).wait()
        said = " ".join("{0}={1}".format(*each) for each in (answers or {}).items())
        if job.status != status:
            raise NotAsItShouldBe("{0} {1} is {2}:\n{3}".format(playbook, said, job.status, job.output[-6000:]))
        self.shows("{0} {1}: {2}, {3} events".format(playbook, said, status, len(job.events)), bool(job.events))
        self.sees_no_secret(job)
        return job

    def sees_no_secret(self, job: Job) -> None:
        """What AWX stores of a job has no key in it.

        :raises NotAsItShouldBe: when it has.
        """
        stored = json.dumps(job.events)
        if any(secret in stored for secret in self.secrets):
            raise NotAsItShouldBe("a private key is in the events of a job")

    def state(self) -> Dict[str, Any]:
        """What the hosts are like."""
        return self.site.look()

    def runs(self, version: str, *hosts: str) -> None:
        """Hosts run a version, and nobody holds them."""
        found = self.state()
        for host in hosts:
            seen = found[host]
            self.shows(
                "{0} runs {1}".format(host, version),
                (seen["running"]["version"], seen["state"], seen["journal"]["lease"]) == (version, "normal", None),
                (seen["running"], seen["state"], seen["journal"]),
            )

    # steps

    def workflow(self) -> None:
        """plan, canary, rest with a failure, and what is taken back: as the workflow hands things on."""
        plan = self.job("upgrade.yml", {"fleet_hosts": "web-2,web-3", "upgrade_version": "1.1"}, arguments="--check")
        self.shows(
            "the plan has an entry for each host", [plan.ended(host) for host in ("web-2", "web-3")] == ["planned"] * 2
        )
        reached = {"fleet_hosts": "web-2", "upgrade_version": "1.1", "report_fail_on": "behind"}
        early = self.job("status.yml", reached, status="failed")
        self.shows("a canary that was not begun stops the workflow", "web-2: behind" in early.output, early.output)
        done = self.job("upgrade.yml", {"fleet_hosts": "web-2", "upgrade_version": "1.1"}, artefacts=plan.artefacts)
        self.shows("web-2 is committed in the artefacts", done.ended("web-2") == "committed", done.artefacts)
        self.shows("and web-3 is not in them", set(done.artefacts["nanozfs"]) == {"web-2"})
        health = self.job("status.yml", reached, artefacts=done.artefacts)
        self.shows("a look leaves the artefacts of before alone", "nanozfs" not in health.artefacts)
        # what AWX hands on after a rest that was cancelled: the artefacts of the canaries
        none = self.job("take_back.yml", {"take_back_within": "all:!web-2"}, artefacts=done.artefacts)
        self.shows("others than those that a node is for are not taken back", none.artefacts == {}, none.artefacts)
        within = {"take_back_within": "web-2"}
        back = self.job("take_back.yml", within, artefacts={**done.artefacts, **health.artefacts})
        ends = {host: back.ended(host) for host in back.artefacts["nanozfs"]}
        self.shows("what was committed is taken back, and nothing else", ends == {"web-2": "rolled back"}, ends)
        self.runs("1.0", "web-1", "web-2", "web-3")
        none = self.job("take_back.yml", within, artefacts=plan.artefacts)
        self.shows("after a plan nobody is", none.artefacts == {}, none.artefacts)

    def failure(self) -> None:
        """An upgrade that fails on its canary."""
        failed = self.job("upgrade.yml", {"fleet_hosts": "web-2,web-3", "upgrade_version": "1.2"}, status="failed")
        ends = sorted(failed.ended(host) for host in ("web-2", "web-3"))
        self.shows("one was taken back, the other not begun", ends == ["not begun", "reverted"], failed.artefacts)
        self.runs("1.0", "web-2", "web-3")

    def others(self) -> None:
        """Every other playbook."""
        self.job("deploy.yml", {"fleet_hosts": "web-3"})
        job = self.job("stage.yml", {"fleet_hosts": "web-3", "upgrade_version": "1.1"})
        self.shows("the image is there", job.ended("web-3") == "staged", job.artefacts)
        manual = {"fleet_hosts": "web-3", "upgrade_version": "1.1", "upgrade_commit": "manual"}
        job = self.job("upgrade.yml", manual)
        self.shows("it is on trial", job.ended("web-3") == "on trial", job.artefacts)
        job = self.job("commit.yml", {"fleet_hosts": "web-3"})
        self.shows("it is committed", job.ended("web-3") == "committed", job.artefacts)
        job = self.job("abandon.yml", {"fleet_hosts": "web-3"}, status="failed")
        self.shows("there is nothing to abandon", job.ended("web-3") == "not begun", job.artefacts)
        job = self.job("rollback.yml", {"fleet_hosts": "web-3", "rollback_data": "restore"})
        self.shows("it is rolled back", job.ended("web-3") == "rolled back", job.artefacts)
        self.runs("1.0", "web-3")
        self.job("build.yml", {"image_version": "1.0", "image_seq": "10"})
        self.job("publish.yml", {"image_rings": "stable=1.1", "image_keep": "0"})
        job = self.job("image_diff.yml", {"image_old": "1.0", "image_new": "1.1"})
        self.shows("the difference is in the output", "web-1.1 against web-1.0" in job.output)
        plan = self.job("upgrade.yml", {"fleet_hosts": "all", "upgrade_version": "ring:stable"}, arguments="--check")
        self.shows("the ring leads to 1.1", plan.artefacts["nanozfs"]["web-1"]["to"] == "1.1", plan.artefacts)

    def cancelled(self, phase: str, contained: bool) -> None:
        """A job is cancelled in a phase; the next one ends well."""
        marker = "{0} {1}".format(phase, contained)
        self.project.ssh(HOST, "echo '{0}' >> /var/db/marker; echo '{0}' >> /var/log/marker".format(marker))
        answers = {"fleet_hosts": HOST, "upgrade_version": "1.1"}
        slow = dict(answers, walk_hold=str(HOLD), upgrade_commands="sleep {0}".format(HOLD))
        job = Job(self.project, "upgrade.yml", slow, contained=contained)
        reached = job.until(lambda: _reached(job, phase))
        job.cancel()
        self.shows("it was cancelled in {0}".format(phase), reached, job.output[-3000:])
        self.shows("it has left no artefacts", job.artefacts == {}, job.artefacts)
        self.sees_no_secret(job)
        said = self.ends_well(answers, contained)
        if phase in HELD and not contained:
            self.shows("a play of this machine is known to be dead", TAKES_OVER in said, said[-3000:])
        host = self.state()[HOST]
        found = (host["running"]["version"], host["state"], host["journal"]["phase"], host["journal"]["lease"])
        self.shows("{0} runs 1.1".format(HOST), found == ("1.1", "normal", "committed", None), found)
        kept = [marker in self.project.ssh(HOST, "cat " + path) for path in ("/var/db/marker", "/var/log/marker")]
        self.shows("nothing is lost", kept == [True, True], kept)
        self.job("rollback.yml", {"fleet_hosts": HOST, "rollback_data": "restore"})

    def ends_well(self, answers: Mapping[str, str], contained: bool) -> str:
        """The next job, which is told to take over where nothing can be known of the one before; what it said.

        :raises NotAsItShouldBe: when it does not end well.
        """
        until = time.monotonic() + PATIENCE
        while phase_of(self.project) == "" and time.monotonic() < until:
            time.sleep(0.5)
        job = Job(self.project, "upgrade.yml", answers, contained=contained).wait()
        if job.status != "successful" and contained and REFUSED in " ".join(job.output.split()):
            self.shows("another container's play is not taken for dead", True)
            job = Job(self.project, "upgrade.yml", dict(answers, upgrade_take_over="true"), contained=contained).wait()
        self.shows("the next job ends well", job.status == "successful", job.output[-6000:])
        self.shows("so its artefacts say", job.ended(HOST) in ("committed", "nothing to do"), job.artefacts)
        self.sees_no_secret(job)
        return job.output


def chosen(walk: Walk, arguments: Sequence[str]) -> Iterator[Tuple[str, Callable[[], None]]]:
    """The steps, with their titles.

    :param arguments: ``sample`` for what CI has, or phases in which to cancel; all by default.
    """
    sample, phases = list(arguments) == ["sample"], (*FIRST_TASKS, *LATER)
    if not arguments or sample:
        yield "the workflow, job by job", walk.workflow
    if not arguments:
        yield "an upgrade that fails", walk.failure
        yield "every other playbook", walk.others
    for contained in (True, False):
        for phase in phases:
            if (phase, contained) == ("trial", True) if sample else (not arguments or phase in arguments):
                where = "in a container" if contained else "on the machine itself"
                yield "cancelled in {0}, {1}".format(phase, where), partial(walk.cancelled, phase, contained)


def main(arguments: List[str]) -> int:
    """Entry point."""
    walk = Walk()
    try:
        for title, work in chosen(walk, arguments):
            walk.step(title, work)
    except (NotAsItShouldBe, PlayFailed, subprocess.SubprocessError) as problem:
        sys.stderr.write("FAILED: {0}\n".format(problem))
        return 1
    walk.say("\n{0} facts checked".format(walk.checks))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
