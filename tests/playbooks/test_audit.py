# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook audit, by ansible-playbook: published images alone, hosts that are down, text variables, a bad list."""

from __future__ import annotations

import datetime
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import document, package, vuln

DOWN = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}


class Site:
    """A folder with an inventory, a list of known holes, and an image with curl."""

    def __init__(self, folder: Path, images: Images) -> None:
        self.folder, self.images = folder, images
        self.image = images.build(
            "2.0",
            20,
            terms=images.terms(output=str(folder / "published"), sbom=True),
            packages=[make(folder, manifest("curl", version="8.1.0"))],
            media=(),
        )["image"]["id"]
        self.hosts: Dict[str, Any] = {}
        self.list_of(vuln(1, package(["curl"], "lt 8.4.0"), cves=["CVE-2023-38545"], entered=self.day(-2)))

    @staticmethod
    def day(days: int) -> str:
        """A day from now."""
        return (datetime.date.today() + datetime.timedelta(days=days)).isoformat()

    def list_of(self, *entries: str) -> None:
        """Write the list, beside the inventory."""
        (self.folder / "vuln.xml.xz").write_bytes(lzma.compress(document(*entries)))

    def play(self, *options: str, name: str = "audit", **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a playbook with variables as text, as ``-e`` gives them."""
        common = {
            "ansible_python_interpreter": sys.executable,
            "image_output": str(self.folder / "published"),
            "image_cache": str(self.folder / "cache"),
            "audit_vuxml": "vuln.xml.xz",
        }
        inventory = {"all": {"vars": common, "hosts": self.hosts}}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "nanozfs.fleet." + name, *options]
        for key, value in variables.items():
            text = value if isinstance(value, str) else json.dumps({key: value})
            argv += ["-e", "{0}={1!r}".format(key, text) if isinstance(value, str) else text]
        environment = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_SSH_RETRIES="0")
        return subprocess.run(argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def site(tmp_path: Path, images: Images) -> Site:
    """The site."""
    return Site(tmp_path, images)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def lines(done: subprocess.CompletedProcess[str]) -> List[str]:
    return done.stdout.splitlines()


def test_images_alone(site: Site) -> None:
    """Without any host: the table, the exit status, the files."""
    done = site.play(audit_json="audit.json", audit_metrics="audit.prom", audit_vex="vex")
    assert done.returncode != 0 and "audit_fail (known): 1 known hole in 1 system" in said(done)
    assert "curl 8.1.0:" in lines(done) and "thing -- hole 1 (CVE-2023-38545); not in 8.4.0 any more [web-2.0]" in said(
        done
    )
    assert "web-2.0: support of 13.2-RELEASE-p4 ended on 2024-06-30" in said(done)
    assert "1 system: 1 known, 1 past the end of life" in lines(done)
    told = json.loads((site.folder / "audit.json").read_text())
    assert told["counts"]["known"] == 1 and told["systems"][0]["hosts"] is None
    assert 'system="web-2.0",kind="package"} 1' in (site.folder / "audit.prom").read_text()
    assert os.listdir(str(site.folder / "vex")) == [site.image + ".vex.cdx.json"]

    done = site.play("--check", audit_fail="none")
    assert done.returncode == 0 and "1 system: 1 known" in said(done) and "changed=0" in done.stdout


def test_the_module_alone(site: Site) -> None:
    """It needs no hosts, and none without what they said."""

    def run(arguments: str) -> str:
        argv = [
            sys.executable,
            "-m",
            "ansible",
            "adhoc",
            "localhost",
            "-m",
            "nanozfs.fleet.fleet_audit",
            "-a",
            arguments,
        ]
        environment = dict(os.environ, ANSIBLE_NOCOLOR="1")
        return said(subprocess.run(argv, cwd=site.folder, env=environment, capture_output=True, text=True, check=False))

    images = "repository={0} cache={0}/cache vuxml={1}/vuxml ".format(site.folder / "published", site.folder)
    os.rename(str(site.folder / "vuln.xml.xz"), str(site.folder / "vuxml"))
    assert '"stands": "1 known hole in 1 package"' in run(images + "fail=none")
    assert "required by 'hosts': result" in run(images + "hosts=web-1")
    assert "one of the following is required: repository, result" in run("fail=none")


def test_exceptions_as_text(site: Site) -> None:
    accepted = "CVE-2023-38545 {0} no proxy, here".format(site.day(100))
    done = site.play(audit_ignore=accepted)
    assert done.returncode == 0, said(done)
    assert "accepted until {0}: no proxy, here".format(site.day(100)) in said(done)
    assert "1 system: 0 known, 1 accepted, 1 past the end of life" in lines(done)
    done = site.play(audit_ignore=accepted, audit_fail="known,end_of_life")
    assert done.returncode != 0 and "audit_fail (known, end_of_life): 1 system past the end of life" in said(done)
    done = site.play(audit_ignore=[{"id": "CVE-2023-38545", "until": site.day(-1), "reason": "for now"}])
    assert done.returncode != 0 and "the exception for cve-2023-38545 ended on {0}: for now".format(
        site.day(-1)
    ) in said(done)
    done = site.play(audit_ignore="CVE-2023-38545 for ever")
    assert done.returncode != 0 and "audit_ignore:" in said(done) and "has no day on which it ends" in said(done)


def test_hosts_that_are_down(site: Site) -> None:
    """They are told as what nothing is known of, and fail the play where that is asked for."""
    site.hosts = {"web-1": DOWN, "web-2": DOWN}
    done = site.play(audit_fail="none")
    assert done.returncode == 0, said(done)
    row = next(each for each in lines(done) if each.startswith("(not known)"))
    assert row.split()[2:4] == ["2", "?"]
    assert "(not known): no answer: " in said(done) and "no known holes" not in said(done)
    assert "2 systems: 1 known, 1 past the end of life, 1 not known" in said(done)
    done = site.play(audit_fail="unknown")
    assert done.returncode != 0 and "1 system of which not everything is known" in said(done)
    done = site.play("--limit", "web-1", audit_repository="")
    assert done.returncode != 0 and "nothing could be compared" in said(done)
    done = site.play("--limit", "web-1", audit_repository="nowhere")
    assert done.returncode != 0 and "what is published is not known: there is no file" in said(done)
    done = site.play(audit_fail="none", audit_hosts="false", audit_repository="published")
    assert done.returncode == 0 and "1 system: 1 known" in said(done), "a folder as image_output may name it"
    done = site.play(audit_fail="none", audit_hosts="false")
    assert done.returncode == 0 and "(not known)" not in said(done) and "1 system: 1 known" in said(done)
    done = site.play("--limit", "web-1", audit_fail="none", audit_repository="")
    assert done.returncode == 0 and "web-2.0" not in said(done), said(done)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "has no entries"),
        ([vuln(1, package(["curl"], "lt 9"), entered="2026-01-01")], "audit_max_age is 14"),
        (["<vuln>"], "not all of it is there"),
    ],
)
def test_a_bad_list(site: Site, entries: List[str], words: str) -> None:
    site.list_of(*entries)
    done = site.play(audit_fail="none")
    assert done.returncode != 0 and words in said(done) and "nothing was found to be sound" in said(done), said(done)
    assert "known" not in done.stdout.splitlines()[-1] and "0 known" not in said(done)


def test_what_is_wrong_with_variables(site: Site) -> None:
    done = site.play(audit_fail="some")
    assert done.returncode != 0 and "audit_fail" in said(done) and "end_of_life" in said(done)
    done = site.play(audit_fail="none,known")
    assert done.returncode != 0 and "audit_fail has none, and known" in said(done)
    done = site.play(audit_vuxml="nowhere.xml")
    assert done.returncode != 0 and "there is no file nowhere.xml" in said(done)
    done = site.play(audit_vuxml="http://127.0.0.1/vuln.xml")
    assert done.returncode != 0 and "would come by http" in said(done)
    done = site.play(audit_ignored="x")
    assert done.returncode != 0 and "audit_ignored" in said(done)


def test_the_report(site: Site) -> None:
    """With hosts that are down it has the column all the same; a bad list is an error after all was shown."""
    site.hosts = {"web-1": DOWN}
    done = site.play(name="status", report_audit="true", report_json="report.json")
    assert done.returncode == 0, said(done)
    assert any(each.split()[:1] == ["HOST"] and each.endswith("HOLES") for each in lines(done))
    assert json.loads((site.folder / "report.json").read_text())["holes"]["list"]["entries"] == 1
    site.list_of()
    done = site.play(name="status", report_audit="true", report_json="report.json")
    assert done.returncode != 0 and "has no entries" in said(done)
    assert any(each.startswith("web-1 ") and each.endswith("?") for each in lines(done))
    assert json.loads((site.folder / "report.json").read_text())["holes"]["list"] is None
