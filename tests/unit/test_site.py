# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests' sites have other than the example that is shipped."""

from __future__ import annotations

import os
from typing import Any, Set
from unittest.mock import Mock

import yaml

from ansible_collections.nanozfs.fleet.tests import readme
from ansible_collections.nanozfs.fleet.tests.guest import freebsd
from ansible_collections.nanozfs.fleet.tests.lab.firsthour import MINE, NOT_TYPED
from ansible_collections.nanozfs.fleet.tests.lab.site import Site as LabSite
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT, DIFFERENT


def differences(tmp_path: Any) -> Set[str]:
    """The variables that the lab's site and the guests' site set."""
    os.makedirs(tmp_path / "keys")
    for name in ("admin", "release"):
        (tmp_path / "keys" / (name + ".pub")).write_text("ssh-ed25519 AAAA {0}\n".format(name))
    guest = freebsd.Site(str(tmp_path / "site"), Mock(all=[]), 1 << 20, freebsd.Ports(1, 2, 3))
    return {*LabSite(str(tmp_path / "site")).variables(), *guest.variables()}


def test_every_difference_has_its_reason(tmp_path: Any) -> None:
    assert differences(tmp_path) == set(DIFFERENT)
    assert all(DIFFERENT.values())


def test_no_other_file_of_the_example_is_changed() -> None:
    """What is set for all is in the example's files, and these are used as they are."""
    folder = os.path.join(CHECKOUT, "examples", "site", "group_vars", "all")
    shipped: Set[str] = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            shipped |= set(yaml.safe_load(file))
    assert {"image_recovery", "deploy_datasets", "deploy_rc_conf", "rollback_services"} <= shipped - set(DIFFERENT)


def test_what_the_new_user_of_the_first_hour_puts_in_is_his_own() -> None:
    """Nothing of how ssh and Ansible work, and nothing that makes a play easier."""
    assert set(MINE) <= set(DIFFERENT)
    reasons = {"size", "address", "what the test has of FreeBSD", "where the test serves images from"}
    assert {DIFFERENT[key] for key in MINE} <= reasons


def test_the_readme_tells_what_is_typed_in_the_first_hour() -> None:
    text = readme.section("Use it")
    assert len(readme.blocks(text)[0]) == 2 and len(readme.inline(text, "ssh-keygen")) == 1
    with open(os.path.join(CHECKOUT, "galaxy.yml"), encoding="utf-8") as file:
        assert readme.installing().endswith("nanozfs-fleet-{0}.tar.gz".format(yaml.safe_load(file)["version"]))
    assert len(readme.rows(text)) >= 9 and set(NOT_TYPED) < set(readme.rows(text))
