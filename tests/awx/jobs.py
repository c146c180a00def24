# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as AWX runs them, by ansible-runner, with the project of examples/awx on the hosts of the lab.

A job of AWX is a container: here a PID namespace, in which every play has the same few process numbers and the machine
the same name, and which is gone as a whole when the job is cancelled (podman and Kubernetes send SIGKILL to what is
left). The ssh key comes by ssh-agent, the answers of surveys are text, and what a job before has noted comes as an
extra variable.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.tests.awx import example
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, Site

#: seconds that a job may take
LONGEST = 900


class Project(Site):
    """The example as it is shipped, for the hosts, keys and images of the lab's site (``tools/lab site``)."""

    def __init__(self) -> None:
        super().__init__(os.path.join(paths.HOME, "awx"))
        self.jobs = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(example.PATH, self.folder)
        shutil.copytree(
            os.path.join(paths.HOME, "site", "files"),
            os.path.join(self.folder, "files"),
            symlinks=True,
            dirs_exist_ok=True,
        )
        self.configure(list(ADDRESSES))

    @property
    def ssh_program(self) -> str:
        """That of the lab's site."""
        return os.path.join(paths.HOME, "site", "ssh")

    def variables(self) -> Dict[str, Any]:
        """As for the lab's site; both keys come from credentials."""
        found = super().variables()
        for name in ("ansible_ssh_private_key_file", "image_signing_key"):
            del found[name]
        return found

    def private(self, name: str) -> str:
        """A private key: what is in the credential."""
        with open(os.path.join(self.keys, name), encoding="utf-8") as file:
            return file.read()


class Job:
    """One job.

    :param playbook: with its ending.
    :param answers: those of the survey.
    :param artefacts: what the jobs before in the workflow have noted.
    :param arguments: further ones of ansible-playbook: ``--check`` is a job type of AWX.
    :param contained: in a container; otherwise as ansible-runner runs it on a machine.
    """

    def __init__(
        self,
        project: Project,
        playbook: str,
        answers: Optional[Mapping[str, str]] = None,
        artefacts: Optional[Mapping[str, Any]] = None,
        arguments: str = "",
        contained: bool = True,
    ) -> None:
        project.jobs += 1
        self.project, self.contained = project, contained
        self.folder = os.path.join(project.folder, "jobs", str(project.jobs))
        os.makedirs(os.path.join(self.folder, "env"))
        credential = os.path.join(self.folder, "signing_key")
        with open(os.open(credential, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(project.private("release"))
        given = {
            **(artefacts or {}),
            **(answers or {}),
            "awx_job_id": project.jobs,
            "awx_user_name": "olga",
            "image_signing_key": credential,  # as the credential type injects it
        }
        self._write("extravars", json.dumps(given))
        self._write("ssh_key", project.private("admin"))
        self._write("cmdline", "--forks 5 " + arguments)
        runner = os.path.join(os.path.dirname(sys.executable), "ansible-runner")
        argv = [runner, "run", self.folder, "--ident", "1", "-p", playbook, "--project-dir", project.folder]
        if contained:
            argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv]
        environment = project.environment()
        del environment["ANSIBLE_CONFIG"]  # the project has its own
        self.process = subprocess.Popen(
            [*argv, "--inventory", os.path.join(project.folder, "inventory.yml")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, "env", name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    # its end

    def wait(self) -> Job:
        """Until it has ended."""
        try:
            self.process.wait(LONGEST)
        finally:
            self.cancel()
        return self

    def cancel(self) -> None:
        """As AWX does: what is in the container is killed; ansible-runner alone is asked, and kills what it runs."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL if self.contained else signal.SIGTERM)
            self.process.wait(60)

    # what is known of it

    @property
    def status(self) -> str:
        """``successful``, ``failed``, ``canceled``; ``running`` also when it was killed."""
        try:
            with open(os.path.join(self.folder, "artifacts", "1", "status"), encoding="utf-8") as file:
                return file.read().strip()
        except FileNotFoundError:
            return "starting"

    @property
    def events(self) -> List[Dict[str, Any]]:
        """Those that are complete, in their order."""
        found = []
        for path in glob.glob(os.path.join(self.folder, "artifacts", "1", "job_events", "*-*.json")):
            try:
                with open(path, encoding="utf-8") as file:
                    event = json.load(file)
            except (ValueError, FileNotFoundError):  # it is being written
                continue
            if "counter" in event:
                found.append(event)
        return sorted(found, key=lambda each: int(each["counter"]))

    @property
    def output(self) -> str:
        """What AWX shows of it."""
        return "\n".join(each["stdout"] for each in self.events if each.get("stdout"))

    @property
    def artefacts(self) -> Dict[str, Any]:
        """What AWX keeps of it, and hands on."""
        ends = [each["event_data"] for each in self.events if each["event"] == "playbook_on_stats"]
        return dict(ends[-1]["artifact_data"]) if ends else {}

    def ended(self, host: str) -> str:
        """How it has ended for a host."""
        return str(self.artefacts.get("nanozfs", {}).get(host, {}).get("result"))

    def began(self, task: str) -> bool:
        """Whether a task was begun; the beginning of its name."""
        started = (each["event_data"] for each in self.events if each["event"] == "playbook_on_task_start")
        return any(str(each.get("task", "")).startswith(task) for each in started)

    def until(self, reached: Any) -> bool:
        """Until something is so; false when it has ended before that."""
        while self.process.poll() is None:
            if reached():
                return True
            time.sleep(0.1)
        return False
