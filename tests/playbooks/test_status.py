# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook status of the example as it is shipped, with hosts that are down or no hosts of the fleet at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

#: nobody listens there
DOWN = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=5"}
LOCAL = {"ansible_connection": "local", "ansible_remote_tmp": "/tmp/.nanozfs-test"}
#: it answers, and the look fails
ODD = dict(LOCAL, ansible_python_interpreter="/nonexistent/python3")
#: it is no host of a fleet
STRANGE = dict(LOCAL, ansible_python_interpreter=sys.executable)
#: something in its variables is wrong
MISSPELT = dict(STRANGE, report_pool="{{ no_such_variable }}")


def status(folder: str, hosts: Dict[str, Dict[str, Any]]) -> Tuple[int, List[str], Dict[str, Any]]:
    """Run it; its exit status, what it printed, and the report that it wrote."""
    site, report = os.path.join(folder, "site"), os.path.join(folder, "report.json")
    shutil.copytree(os.path.join(CHECKOUT, "examples", "site"), site)
    inventory = os.path.join(folder, "elsewhere", "hosts.json")
    os.makedirs(os.path.dirname(inventory))
    with open(inventory, "w", encoding="utf-8") as file:
        json.dump({"all": {"hosts": hosts}}, file)
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", inventory, "status.yml"]
    environment = dict(os.environ, LC_ALL="C.UTF-8", ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=os.path.join(folder, "ansible"))
    done = subprocess.run(
        [*argv, "-e", "report_file=" + report],
        cwd=site,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with open(report, encoding="utf-8") as file:
        return done.returncode, done.stdout.splitlines(), json.load(file)


@pytest.mark.parametrize("first", ["down", "odd"])
def test_every_host_has_its_row(tmp_path: Any, first: str) -> None:
    """Also the first one, on which Ansible runs what is done once for all."""
    hosts: Dict[str, Dict[str, Any]] = {"down": DOWN, "odd": ODD, "strange": STRANGE}
    code, lines, report = status(
        str(tmp_path), {name: hosts[name] for name in sorted(hosts, key=lambda name: name != first)}
    )
    assert code == 0, "\n".join(lines)
    states = {"down": "no answer", "odd": "failed", "strange": "unknown"}
    at = next(number for number, line in enumerate(lines) if line.startswith("HOST "))
    assert {line.split()[0]: line[9:].split("  ")[0] for line in lines[at + 1 : at + 4]} == states, "\n".join(lines)
    assert "3 hosts: 1 failed, 1 no answer, 1 unknown" in lines
    assert {name: host["state"] for name, host in report.items()} == states
    assert "Connection refused" in report["down"]["reason"] and "/nonexistent/python3" in report["odd"]["reason"]


def test_where_no_host_could_be_looked_at(tmp_path: Any) -> None:
    code, lines, report = status(str(tmp_path), {"odd": ODD, "even": ODD})
    assert code == 0 and "2 hosts: 2 failed" in lines, "\n".join(lines)
    assert sorted(report) == ["even", "odd"]


def test_a_variable_that_is_wrong_is_a_failure_and_hides_nobody(tmp_path: Any) -> None:
    code, lines, report = status(str(tmp_path), {"misspelt": MISSPELT, "strange": STRANGE})
    assert code == 2 and "2 hosts: 1 not asked, 1 unknown" in lines, "\n".join(lines)
    assert report["misspelt"]["state"] == "not asked" and any("no_such_variable" in line for line in lines)
