# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of a site are."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import Mock

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import COLLECTION, SitePaths, paths_of


@pytest.fixture(name="site")
def fixture_site(tmp_path: Any) -> SitePaths:
    for name in ("plays/files/overlay", "plays/tasks", "stock/files/overlay", "stock/files/recovery", "stock/odd"):
        os.makedirs(tmp_path / name)
    (tmp_path / "plays" / "tasks" / "cfg.yml").write_text("[]\n")
    return SitePaths([str(tmp_path / "plays"), str(tmp_path / "none"), str(tmp_path / "stock")])


@pytest.mark.parametrize(
    ("name", "within", "where"),
    [
        ("overlay", "files", "plays/files/overlay"),
        ("recovery", "files", "stock/files/recovery"),
        ("files/recovery", "files", "stock/files/recovery"),
        ("odd", "files", "stock/odd"),
        ("cfg.yml", "tasks", "plays/tasks/cfg.yml"),
        ("../stock/odd/", "files", "stock/odd"),
    ],
)
def test_found(site: SitePaths, tmp_path: Any, name: str, within: str, where: str) -> None:
    assert site.find(name, within) == site.need(name, "image_overlays", within) == str(tmp_path / where)


def test_full_paths(site: SitePaths, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "stock"))
    assert site.find(str(tmp_path / "stock")) == str(tmp_path / "stock")
    assert site.find("~/odd") == str(tmp_path / "stock" / "odd")
    with pytest.raises(Refused, match=r"image_overlays: there is no /x.*correct the name, or give the full path"):
        site.need("/x", "image_overlays")


@pytest.mark.parametrize("name", ["", " ", ".", "..", "./", "x/..", "/"])
def test_an_empty_name_is_no_wish_for_everything(site: SitePaths, name: str) -> None:
    assert site.find(name) is None
    with pytest.raises(Refused, match="image_overlays: there is no folder"):
        site.need(name, "image_overlays", kind=os.path.isdir)


def test_a_file_that_may_be_made(site: SitePaths, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the site has, or a place for it: never two."""
    assert site.home("web.lock", "image_pkg_lock") == str(tmp_path / "plays" / "web.lock")
    (tmp_path / "stock" / "files" / "web.lock").write_text("")
    assert site.home("web.lock", "image_pkg_lock") == str(tmp_path / "stock" / "files" / "web.lock")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert site.home("~/new/web.lock", "image_pkg_lock") == str(tmp_path / "new" / "web.lock")
    with pytest.raises(Refused, match=r"image_pkg_lock: nobody knows where web\.lock belongs"):
        SitePaths([]).home("web.lock", "image_pkg_lock")


def test_of_another_kind(site: SitePaths, tmp_path: Any) -> None:
    """Beside a key release there may be a folder of that name."""
    (tmp_path / "plays" / "files" / "release").mkdir()
    (tmp_path / "stock" / "release").write_text("key")
    assert site.find("release", kind=os.path.isfile) == str(tmp_path / "stock" / "release")
    assert site.find("release", kind=os.path.isdir) == str(tmp_path / "plays" / "files" / "release")


def test_what_leads_out_of_a_link(site: SitePaths, tmp_path: Any) -> None:
    """It is where it is written to be, and what is looked at is what is used."""
    os.makedirs(tmp_path / "shared" / "files")
    (tmp_path / "shared" / "release").write_text("another key")
    os.symlink(tmp_path / "shared" / "files", tmp_path / "none")
    only = SitePaths([str(tmp_path / "none")])
    assert only.find("../release") is None
    (tmp_path / "release").write_text("the key")
    assert only.find("../release") == str(tmp_path / "release")


def test_missing(site: SitePaths, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.find("rootssh") is None
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "rootssh").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # where somebody happens to be does not count
    with pytest.raises(Refused, match=r"image_recovery: there is no rootssh.*nothing was changed.*/plays, .*/stock"):
        site.need("rootssh", "image_recovery")


def test_of_a_play(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with implicit localhost, an inventory elsewhere, and playbooks of the collection."""
    inventory = tmp_path / "stock" / "hosts.yml"
    inventory.parent.mkdir()
    inventory.write_text("all:\n")
    action = Mock()
    action._task.get_search_path.return_value = [
        COLLECTION + "/roles/image",
        COLLECTION + "/roles/image/tasks",
        "/plays",
    ]
    action._loader.get_basedir.return_value = COLLECTION + "/playbooks"
    sources = [str(inventory), "web-1,web-2,", str(tmp_path)]
    found = paths_of(action, {"ansible_inventory_sources": sources})
    assert found.folders == ["/plays", str(tmp_path / "stock"), str(tmp_path)]
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "build.yml").write_text("[]\n")
    monkeypatch.setattr(
        "ansible.context.CLIARGS", {"args": (str(tmp_path / "plays" / "build.yml"), "nanozfs.fleet.build")}
    )
    assert paths_of(action, {}).folders == ["/plays", str(tmp_path / "plays")]
    (tmp_path / "other.yml").write_text("[]\n")
    two = (str(tmp_path / "other.yml"), str(tmp_path / "plays" / "build.yml"))
    monkeypatch.setattr("ansible.context.CLIARGS", {"args": two})
    assert paths_of(action, {}).folders == ["/plays"], "nobody knows which of two playbooks this is"
    monkeypatch.setattr("ansible.context.CLIARGS", {})
    action._loader.get_basedir.return_value = "/plays"
    found = paths_of(action, {"ansible_inventory_sources": None, "inventory_dir": "/stock"})
    assert found.folders == ["/plays", "/stock"]
