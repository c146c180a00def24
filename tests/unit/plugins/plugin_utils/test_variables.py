# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import glob
import os
import re
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _variables as variables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves import hosts

COLLECTION = os.path.realpath(os.path.join(os.path.dirname(variables.__file__), os.pardir, os.pardir))
ROLES = os.path.join(COLLECTION, "roles")
UPGRADE = os.path.join(ROLES, "upgrade")

#: what a role must have, and whatever a test adds
RIGHT = {"upgrade_version": "1.1", "upgrade_repository": "http://192.0.2.1/"}


def judged(entry: str = "main", role: str = "upgrade", **values: Any) -> List[str]:
    return variables.problems(variables.read(os.path.join(ROLES, role))[entry], {**RIGHT, **values})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"upgrade_services": "sshd,fleetapp"},
        {"upgrade_services": ["sshd"]},
        {"upgrade_services": None},
        {"upgrade_ports": "22,80"},
        {"upgrade_ports": 22},
        {"upgrade_commands": ["/bin/true", ["test", "-e", "/etc"]]},
        {"upgrade_trial_timeout": "600"},
        {"upgrade_push": "yes"},
        {"upgrade_image_name": ""},
    ],
)
def test_what_can_be_turned_is_right(values: Dict[str, Any]) -> None:
    assert judged(**values) == []


@pytest.mark.parametrize(
    "values, said",
    [
        ({"upgrade_min_free": "5G"}, "upgrade_min_free must be a whole number, and is '5G'"),
        ({"upgrade_min_free": ""}, "upgrade_min_free is empty: leave it out to have 67108864"),
        ({"upgrade_min_free": None}, "upgrade_min_free is empty: leave it out to have 67108864"),
        ({"upgrade_rate_limit": ""}, "upgrade_rate_limit is empty: leave it out"),
        ({"upgrade_push": "perhaps"}, "upgrade_push must be true or false, and is 'perhaps'"),
        ({"upgrade_commit": "manuel"}, "upgrade_commit must be auto or manual, and is 'manuel'"),
        ({"upgrade_services": {"a": 1}}, "upgrade_services must be a list"),
        ({"upgrade_services": ""}, "upgrade_services is empty text: leave it out, or give []"),
        ({"upgrade_version": ""}, "upgrade_version is empty, and must be set"),
        (
            {"upgrade_min_free": "\x1b[2J" + "x" * 999},
            "upgrade_min_free must be a whole number, and is '?[2J" + "x" * 56,
        ),
    ],
)
def test_what_cannot_be_turned_is_one_sentence(values: Dict[str, Any], said: str) -> None:
    (found,) = judged(**values)
    assert found.startswith(said) and len(found) < 160


def test_what_is_missing() -> None:
    assert variables.problems(variables.read(UPGRADE)["main"], {}) == [
        "upgrade_repository is not set",
        "upgrade_version is not set",
    ]


def test_elements_are_judged() -> None:
    (found,) = judged(upgrade_ports="22,http")
    assert found == "each of upgrade_ports must be a whole number"
    (found,) = judged("main", "deploy", deploy_hostname="web-1", deploy_pool_vdevs=[{"type": "raidz"}])
    assert "deploy_pool_vdevs" in found and "disks" in found


def test_one_that_is_made_of_what_is_not_there() -> None:
    assert variables.problems({"a": {"type": "str"}}, {}, {"a": "'b' is undefined."}) == ["a: 'b' is undefined"]


def test_a_secret_is_not_shown() -> None:
    options = {"password": {"type": "dict", "no_log": True}, "key": {"type": "str", "no_log": True, "choices": ["a"]}}
    found = variables.problems(options, {"password": "hunter2", "key": "hunter2"})
    assert len(found) == 2 and "hunter2" not in "".join(found)


def test_a_vaulted_value_of_an_older_core_is_text() -> None:
    class Vaulted:
        def __str__(self) -> str:
            return "secret"

    assert variables.problems({"password": {"type": "str", "no_log": True}}, {"password": Vaulted()}) == []


@pytest.mark.parametrize(
    "name, meant",
    [
        ("upgrade_comit", "upgrade_commit"),
        ("upgarde_commit", "upgrade_commit"),
        ("upgrade_service", "upgrade_services"),
        ("nanozfs_poll", "nanozfs_pool"),
        ("fleet_host", "fleet_hosts"),
    ],
)
def test_a_name_that_is_mistyped(name: str, meant: str) -> None:
    with pytest.raises(
        Refused, match=r"{0} is no variable of this collection \(did you mean {1}\?\)".format(name, meant)
    ):
        options = variables.options_of(UPGRADE, "main")
        variables.check(options, RIGHT, {}, [*RIGHT, name], UPGRADE)


def test_only_what_the_role_could_mean() -> None:
    """Another role of the site may have variables that begin with image_ or report_."""
    options = variables.options_of(UPGRADE, "main")
    variables.check(options, RIGHT, {}, [*RIGHT, "image_versions", "deploy_file", "report_files"], UPGRADE)


def test_names_of_others_are_theirs() -> None:
    """Those of a site, and all that roles and playbooks of the collection set or take themselves."""
    ours = set()
    for path in glob.glob(ROLES + "/*/*/*.yml") + glob.glob(COLLECTION + "/playbooks/**/*.yml", recursive=True):
        with open(path, encoding="utf-8") as file:
            ours.update(re.findall(r"^ *(?:register: )?([a-z]+_[a-z_]+)(?::|$)", file.read(), re.MULTILINE))
    assert {"upgrade_plan", "spare_site", "limit_reached"} <= ours
    theirs = [
        "deploy_user",
        "deploy_key",
        "image_tag",
        "image_path",
        "upgrade_windows_at",
        "ansible_host",
        "rollback_note",
    ]
    assert variables.mistyped([*ours, *theirs], variables.known_names(ROLES)) == []


def test_what_playbooks_take_is_known() -> None:
    """And what is said to be taken by them is."""
    taken = set()
    for path in glob.glob(COLLECTION + "/playbooks/*.yml"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        taken.update(re.findall(r"\b((?:fleet|nanozfs)_[a-z_]+) \| default", text))
        taken.update(re.findall(r"\b([a-z]+_preflight) \| default", text))
    taken.update(hosts.HOST, *(names.values() for names in hosts.RUN.values()))  # read by wave_plan
    taken.add("nanozfs_own_variables")  # the module's own
    for path in glob.glob(ROLES + "/*/defaults/main.yml"):
        with open(path, encoding="utf-8") as file:
            taken.update(re.findall(r"\b((?:nanozfs|fleet)_[a-z_]+) \| default", file.read()))
    assert taken == variables.PLAYBOOKS


def test_every_role_judges_its_variables_first() -> None:
    """But the one that only others use, and the part of the upgrade that comes after a look."""
    entries = {(role, entry) for role in os.listdir(ROLES) for entry in variables.read(os.path.join(ROLES, role))} - {
        ("trial", "main"),
        ("upgrade", "perform"),
    }
    for role, entry in sorted(entries):
        with open(os.path.join(ROLES, role, "tasks", entry + ".yml"), encoding="utf-8") as file:
            text = file.read()
        if (role, entry) in (("upgrade", "main"), ("rollback", "main")):
            assert re.search(r"(include|import)_tasks: preflight\.yml", text)
            continue
        first = text.split("- name:")[1]
        assert "nanozfs.fleet.variables:" in first, (role, entry)
        assert ("entry_point: " + entry in first) == (entry not in ("main", "preflight")), (role, entry)
