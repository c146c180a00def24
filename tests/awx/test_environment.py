# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment: what ansible-builder finds in the collection, and what it makes of the example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any, List

import yaml

from ansible_collections.nanozfs.fleet.tests.awx import example
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT


def builder(folder: str, *arguments: str) -> str:
    """Run ansible-builder in a folder; what it printed."""
    program = os.path.join(os.path.dirname(sys.executable), "ansible-builder")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lines_of(*names: str) -> List[str]:
    """What a file of the collection lists."""
    with open(os.path.join(CHECKOUT, *names), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def test_introspect(tmp_path: Any) -> None:
    """Everything that the collection says it needs is found, for the collections where they are installed."""
    place = tmp_path / "ansible_collections" / "nanozfs"
    place.mkdir(parents=True)
    (place / "fleet").symlink_to(CHECKOUT)
    out = builder(str(tmp_path), "introspect", str(tmp_path))
    found = yaml.safe_load(out.split("\n---\n", 1)[1])
    needs = {kind: [each.partition("#")[0].strip() for each in found[kind]] for kind in ("python", "system")}
    assert needs["python"] == lines_of("meta", "ee-requirements.txt")
    assert needs["system"] == lines_of("meta", "ee-bindep.txt")
    assert any(each.startswith("openssh-client") for each in needs["system"])


def test_create(tmp_path: Any) -> None:
    """A context from which an image can be built: all that it copies is there."""
    context = tmp_path / "context"
    given = os.path.join(example.PATH, "execution-environment.yml")
    builder(example.PATH, "create", "-f", given, "-c", str(context), "--output-filename", "Containerfile")
    text = (context / "Containerfile").read_text()
    definition = example.read("execution-environment.yml")
    assert 'ARG EE_BASE_IMAGE="{0}"'.format(definition["images"]["base_image"]["name"]) in text
    assert 'ARG PKGMGR="/usr/bin/apt-get"' in text and "RUN apt-get update" in text
    assert "ansible-core~=2.19.0" in text and "ansible-runner~=2.4.0" in text
    for source in re.findall(r"(?m)^COPY (\S+)", text):
        if not source.startswith("--from"):
            assert (context / source.rstrip("*")).exists(), source
    (requirements,) = context.rglob("requirements.yml")
    wanted = {each["name"]: each["version"] for each in yaml.safe_load(requirements.read_text())["collections"]}
    assert set(wanted) == {"nanozfs.fleet", "awx.awx"}
    with open(os.path.join(CHECKOUT, "galaxy.yml"), encoding="utf-8") as file:
        version = yaml.safe_load(file)["version"].partition("-")[0]
    assert wanted["nanozfs.fleet"] == ">=" + version.rpartition(".")[0] + ".0"
    assert not list((tmp_path).rglob(".ansible*")) and not os.path.exists(os.path.join(example.PATH, "context"))


def test_what_debian_calls_it() -> None:
    """The packages of a Debian base are those that tools/setup installs to build images with."""
    wanted = {line.split()[0] for line in lines_of("meta", "ee-bindep.txt") if "platform:dpkg" in line}
    with open(os.path.join(CHECKOUT, "tools", "common.sh"), encoding="utf-8") as file:
        pairs = re.findall(r"[\w./-]+:([\w.+-]+)", file.read().partition('PROGRAMS="')[2].partition('"')[0])
    assert wanted <= set(pairs)
