# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example as it is shipped: from any folder, with any inventory, with hosts that are down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import deep

#: nobody listens there
DOWN = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=5"}
LOCAL = {"ansible_connection": "local", "ansible_remote_tmp": "/tmp/.nanozfs-test"}
#: it answers, and the look fails
ODD = dict(LOCAL, ansible_python_interpreter="/nonexistent/python3")
#: it is no host of a fleet
STRANGE = dict(LOCAL, ansible_python_interpreter=sys.executable)
#: something in its variables is wrong
MISSPELT = dict(STRANGE, report_pool="{{ no_such_variable }}")


def text_of(lines: List[str]) -> str:
    """What was printed, on one line."""
    return " ".join(" ".join(lines).split())


class Example:
    """A copy of the example."""

    def __init__(self, folder: str, sockets: str) -> None:
        self.folder = folder
        self.sockets = sockets
        shutil.copytree(os.path.join(CHECKOUT, "examples", "site"), self.path("site"))
        os.makedirs(self.path("elsewhere"))

    def path(self, *names: str) -> str:
        """A path in the folder."""
        return os.path.join(self.folder, *names)

    def inventory(self, hosts: Dict[str, Dict[str, Any]]) -> str:
        """An inventory that is not in the site's folder."""
        path = self.path("elsewhere", "hosts.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"all": {"hosts": hosts}}, file)
        return path

    def play(self, *arguments: str, cwd: str = "site") -> Tuple[int, List[str]]:
        """Run ansible-playbook; its exit status and what it printed."""
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), *arguments],
            cwd=self.path(cwd),
            env=dict(
                os.environ,
                LC_ALL="C.UTF-8",
                ANSIBLE_NOCOLOR="1",
                HOME=self.folder,
                ANSIBLE_SSH_CONTROL_PATH_DIR=self.sockets,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def status(self, hosts: Dict[str, Dict[str, Any]]) -> Tuple[int, List[str], Dict[str, Any]]:
        """Look at hosts; what :meth:`play` gives, and the report that was written."""
        report = self.path("report.json")
        code, lines = self.play("-i", self.inventory(hosts), "status.yml", "-e", "report_file=" + report)
        with open(report, encoding="utf-8") as file:
            return code, lines, json.load(file)


@pytest.fixture(name="example")
def fixture_example(tmp_path: Any) -> Iterator[Example]:
    with tempfile.TemporaryDirectory(prefix="nz", dir="/tmp") as sockets:  # the path of a socket must be short
        yield Example(str(tmp_path), sockets)


@pytest.mark.parametrize("first", ["down", "odd"])
def test_every_host_has_its_row(example: Example, first: str) -> None:
    """Also the first one, on which Ansible runs what is done once for all."""
    hosts: Dict[str, Dict[str, Any]] = {"down": DOWN, "odd": ODD, "strange": STRANGE}
    code, lines, report = example.status({name: hosts[name] for name in sorted(hosts, key=lambda name: name != first)})
    assert code == 0, "\n".join(lines)
    states = {"down": "no answer", "odd": "failed", "strange": "unknown"}
    at = next(number for number, line in enumerate(lines) if line.startswith("HOST "))
    assert {line.split()[0]: line[9:].split("  ")[0] for line in lines[at + 1 : at + 4]} == states, "\n".join(lines)
    assert "3 hosts: 1 failed, 1 no answer, 1 unknown" in lines
    assert {name: host["state"] for name, host in report.items()} == states
    assert "Connection refused" in report["down"]["reason"] and "/nonexistent/python3" in report["odd"]["reason"]


def test_where_no_host_could_be_looked_at(example: Example) -> None:
    """No host makes the play fail; whoever wants that says so, and has the report all the same."""
    code, lines, report = example.status({"odd": ODD, "even": ODD})
    assert code == 0 and "2 hosts: 2 failed" in lines, "\n".join(lines)
    assert any("nothing is known of any host" in line for line in lines) and sorted(report) == ["even", "odd"]
    code, lines, report = example.status({"down": DOWN, "also": DOWN})
    assert code == 0 and "2 hosts: 2 no answer" in lines, "\n".join(lines)


def test_a_report_that_fails_on_a_condition(example: Example) -> None:
    """All of it is shown and written before that."""
    hosts: Dict[str, Dict[str, Any]] = {"down": DOWN, "strange": STRANGE, "web_1": STRANGE}
    files = {key: example.path("report." + key) for key in ("json", "html", "history")}
    words = ["-i", example.inventory(hosts), "status.yml", "-e", "report_query=hosts[?condition!='normal'].name"]
    words += ["-e", "report_address_plan={{ {'site-a': '192.0.2.0/27'} }}", "-e", "fleet_site=site-a"]
    for key, path in files.items():
        words += ["-e", "report_{0}={1}".format(key, path)]
    code, lines = example.play(*words, "-e", "report_fail_on=recovery,behind")
    said = text_of(lines)
    assert code == 2 and "3 hosts: 1 no answer, 2 unknown" in lines, "\n".join(lines)
    assert "report_fail_on (recovery, behind): 1 of 3 hosts is concerned (down: no answer)" in said, said
    assert lines[lines.index("3 hosts: 1 no answer, 2 unknown") + 1 :][:3] == ["down", "strange", "web_1"]
    assert "web_1: its name in the inventory is no host name" in said
    assert "down: its address 127.0.0.1 is not in the plan of site-a" in said
    with open(files["json"], encoding="utf-8") as file:
        assert [host["condition"] for host in json.load(file)["hosts"]] == ["no answer", "unknown", "unknown"]
    with open(files["html"], encoding="utf-8") as file:
        assert "no answer" in file.read()
    with open(files["history"], encoding="utf-8") as file:
        assert len(file.readlines()) == 4  # the run, and each host
    code, lines = example.play(*words, "-e", "report_fail_on=behind")
    assert code == 0, "\n".join(lines)
    with open(files["history"], encoding="utf-8") as file:
        assert len(file.readlines()) == 5  # nothing is new but the run
    # as AWX hands it on: what a workflow is asked for is known to the report too
    code, lines = example.play(*words, "-e", "upgrade_version=1.1", "-e", "image_name=web")
    assert code == 0 and "what hosts should run (1.1 of web) cannot be told" in text_of(lines), "\n".join(lines)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"report_fail_on": "broken"}, "report_fail_on must be normal or behind or"),
        ({"report_query": "hosts[?"}, "report_query is no JMESPath"),
        ({"report_support": {"13.2-RELEASE": "soon"}}, "'soon' of 13.2-RELEASE is no date"),
        ({"report_address_plan": {"site-a": "192.0.2.0/99"}}, "'192.0.2.0/99' of site-a is no network"),
        ({"report_html": "/nonexistent/page.html"}, "cannot be written to /nonexistent/page.html: No such file"),
        ({"report_history": "/nonexistent/h"}, "the history /nonexistent/h cannot be used: No such file"),
    ],
)
def test_a_report_that_cannot_be_made_as_asked(example: Example, extra: Dict[str, Any], said: str) -> None:
    code, lines = example.play("-i", example.inventory({"strange": STRANGE}), "status.yml", "-e", json.dumps(extra))
    assert code == 2 and said in text_of(lines), "\n".join(lines)
    if "/nonexistent" in said:
        assert "1 host: 1 unknown" in lines, "\n".join(lines)


def test_a_variable_that_is_wrong_is_a_failure_and_hides_nobody(example: Example) -> None:
    code, lines, report = example.status({"misspelt": MISSPELT, "strange": STRANGE})
    assert code == 2 and "2 hosts: 1 not asked, 1 unknown" in lines, "\n".join(lines)
    assert report["misspelt"]["state"] == "not asked" and any("no_such_variable" in line for line in lines)


def test_a_host_that_lies_hides_nobody(example: Example) -> None:
    """Its interpreter answers whatever is asked: something deep, templates, and what a terminal obeys."""
    liar = example.path("liar")
    says = {"changed": False, "host": {"state": "normal", "reason": "{{ 1 / 0 }}\x1b[2J", "extra": deep(300)}}
    with open(liar, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\ncat <<'END'\n{0}\nEND\n".format(json.dumps(says)))
    os.chmod(liar, 0o755)
    code, lines, report = example.status({"liar": dict(LOCAL, ansible_python_interpreter=liar), "strange": STRANGE})
    assert code == 0 and report["strange"]["state"] == "unknown", "\n".join(lines)
    assert not any("\x1b" in line for line in lines)
    # what is as deep as that ansible-core 2.21 itself loses on the way
    assert report["liar"]["state"] in ("normal", "not asked")
    assert "liar: {0}".format(
        "{{ 1 / 0 }}?[2J" if report["liar"]["state"] == "normal" else "it was not looked"
    ) in text_of(lines)


def test_names_that_are_in_no_inventory(example: Example) -> None:
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"nanozfs.fleet.fleet_report": {"hosts": ["ghost", "strange"], "result": "found"}}],
        }
    ]
    with open(example.path("site", "ghost.yml"), "w", encoding="utf-8") as file:
        json.dump(play, file)
    code, lines = example.play("-i", example.inventory({"strange": STRANGE}), "ghost.yml")
    assert code == 2 and "2 hosts: 2 not asked" in lines, "\n".join(lines)


@pytest.mark.parametrize("playbook", ["build.yml", "publish.yml", "image_diff.yml"])
def test_a_limit_that_leaves_nobody_to_do_it_is_a_failure(example: Example, playbook: str) -> None:
    code, lines = example.play(playbook, "-l", "site-b", "-e", "image_version=1.0", "-e", "image_seq=10")
    said = text_of(lines)
    assert code == 2 and "by localhost, and the limit site-b leaves that out" in said, said


def test_a_builder_that_is_in_no_inventory(example: Example) -> None:
    code, lines = example.play("publish.yml", "-e", "fleet_builder=nobody")
    assert code == 2 and "no such host is in the inventory: correct fleet_builder" in text_of(lines)


def test_a_limit_that_leaves_out_who_builds_from_source(example: Example) -> None:
    """The image would be made of the system that was built for the version before."""
    hosts: Dict[str, Dict[str, Any]] = {"localhost": LOCAL, "forge": DOWN}
    words = ["-i", example.inventory(hosts), "-e", "image_method=nanobsd", "-e", "fleet_source_builder=forge"]
    code, lines = example.play("build.yml", *words, "-l", "localhost")
    assert code == 2 and "no build host was reached" in text_of(lines), "\n".join(lines)


@pytest.mark.parametrize(
    ("how", "cwd"),
    [
        ("{site}/build.yml -i {elsewhere}", "elsewhere"),  # files beside the playbook, variables beside the inventory
        ("nanozfs.fleet.build -i {site}/inventory.yml", "elsewhere"),  # files beside the inventory
    ],
)
def test_a_build_finds_the_files_of_the_site(example: Example, how: str, cwd: str) -> None:
    """What it then says is missing comes after overlays and the recovery configuration."""
    words = how.format(site=example.path("site"), elsewhere=example.inventory({"down": DOWN})).split()
    shutil.copytree(example.path("site", "group_vars"), example.path("elsewhere", "group_vars"))
    code, lines = example.play(*words, "-e", "image_version=1.0", "-e", "image_seq=10", cwd=cwd)
    text = text_of(lines)
    assert code == 2 and "there is no signing key {0}/.ssh/release".format(example.folder) in text, "\n".join(lines)
    shutil.rmtree(example.path("site", "files", "recovery"))
    code, lines = example.play(*words, "-e", "image_version=1.0", "-e", "image_seq=10", cwd=cwd)
    text = text_of(lines)
    assert code == 2 and "image_recovery: there is no folder recovery. Safe now: nothing was changed." in text
    assert example.path("site") in text


@pytest.mark.parametrize(
    "playbook, extra, said",
    [
        ("status.yml", {"report_diges": True}, "report_diges is no variable of this collection (did you mean"),
        ("upgrade.yml", {"upgrade_commit": "manuel"}, "upgrade_commit must be auto or manual, and is 'manuel'"),
        ("rollback.yml", {"rollback_min_free": ""}, "rollback_min_free is empty: leave it out to have 67108864"),
        ("deploy.yml", {"deploy_pool_vdevs": "ada1,ada2"}, "each of deploy_pool_vdevs must be a mapping"),
        ("spare.yml", {"spare_allow_missing": "no way"}, "spare_allow_missing must be true or false, and is 'no way'"),
        ("publish.yml", {"image_keep": "few"}, "image_keep must be a whole number, and is 'few'"),
    ],
)
def test_a_variable_that_is_wrong_takes_few_lines(
    example: Example, playbook: str, extra: Dict[str, Any], said: str
) -> None:
    """And nothing was looked at: the host is down."""
    shutil.copytree(example.path("site", "group_vars"), example.path("elsewhere", "group_vars"))
    more = json.dumps({"upgrade_version": "1.1", **extra})
    code, lines = example.play(playbook, "-i", example.inventory({"down": DOWN}), "-e", more)
    assert code == 2 and said in text_of(lines), "\n".join(lines)
    # the failure in its parts and the table: all that is printed
    assert len(lines) <= 12 and len("".join(lines)) < 1500, "\n".join(lines)
    assert "Safe now: nothing was looked at or changed. Next: correct that" in text_of(lines)


def test_lists_as_text(example: Example) -> None:
    """From -e, and from a survey of AWX. What the build then says is missing comes after its variables and folders."""
    code, lines = example.play(
        "build.yml",
        *("-e", "image_version=1.0", "-e", "image_seq=10", "-e", "image_overlays=overlay,/nonexistent"),
        *("-e", "image_sources=/nonexistent/base.txz,/nonexistent/kernel.txz"),
    )
    assert code == 2 and "image_overlays: there is no folder /nonexistent" in text_of(lines), "\n".join(lines)


def test_a_build_without_its_variables(example: Example) -> None:
    """Ansible looks for group_vars beside the inventory, which is another one here."""
    code, lines = example.play("build.yml", "-i", example.inventory({"down": DOWN}))
    text = text_of(lines)
    assert code == 2 and "image_name is not set; image_output is not set; image_seq is not set; " in text, text


@pytest.mark.parametrize("playbook", ["upgrade.yml", "rollback.yml"])
def test_a_host_that_is_down_ends_a_play_with_what_to_do(example: Example, playbook: str) -> None:
    hosts: Dict[str, Dict[str, Any]] = {"down": DOWN, "strange": STRANGE}
    more = ["-e", "upgrade_version=1.1", "-e", "nanozfs_repository=http://127.0.0.1:1/"]
    code, lines = example.play("-i", example.inventory(hosts), playbook, *more)
    said = text_of(lines)
    assert code == 2 and "down gives no answer: " in said and "Connection refused" in said, said
    assert "Safe now: nothing was changed. Next: see what is wrong with it, or leave it out: -l 'all:!down'" in said
    assert "Traceback" not in said
