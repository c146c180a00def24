# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into a recovery kit, and what comes out of it again."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit import bundle, contents
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit.contents import FILE, FOLDER, LINK, Member, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import COLLECTION

PASSPHRASE = "a passphrase of some length"


@pytest.fixture(name="site")
def fixture_site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "group_vars").mkdir(parents=True)
    (site / "group_vars" / "all.yml").write_text("a: 1\n")
    (site / "empty").mkdir()
    (site / ".git").mkdir()
    (site / ".git" / "HEAD").write_text("x")
    (site / "images").mkdir()
    (site / "images" / "large").write_text("x" * 1000)
    return site


def names(members: List[Member]) -> List[str]:
    return [each.name for each in members]


def test_the_site_without_what_is_remade_and_left(site: Path) -> None:
    found = contents.gather(Wish([str(site), str(site / "group_vars")], left=[str(site / "images")]))
    assert [(each.name, each.kind) for each in found] == [("site/empty", FOLDER), ("site/group_vars/all.yml", FILE)]


@pytest.mark.parametrize("pattern", ["images", "images/*", "large", "l?rge"])
def test_patterns(site: Path, pattern: str) -> None:
    assert "site/images/large" in names(contents.gather(Wish([str(site)])))
    assert "site/images/large" not in names(contents.gather(Wish([str(site)], patterns=[pattern])))


def test_links(site: Path, tmp_path: Path) -> None:
    """Those that stay in the site are links; what others lead to is taken along, because it would be missed."""
    (tmp_path / "key").write_text("secret")
    (site / "inside").symlink_to("group_vars/all.yml")
    (site / "outside").symlink_to("../key")
    (site / "absolute").symlink_to(site / "group_vars" / "all.yml")
    found = {each.name: each for each in contents.gather(Wish([str(site)]))}
    assert found["site/inside"].kind == LINK and found["site/inside"].content == b"group_vars/all.yml"
    assert found["site/outside"][2:] == (FILE, 0o644, b"secret")
    assert found["site/absolute"].content == b"a: 1\n"
    (site / "broken").symlink_to("/nowhere/at/all")
    with pytest.raises(Refused, match="broken cannot be read: No such file"):
        contents.gather(Wish([str(site)]))


def test_what_is_no_file_is_left_out(site: Path) -> None:
    os.mkfifo(str(site / "fifo"))
    assert "site/fifo" not in names(contents.gather(Wish([str(site)])))


def test_named_files_are_there_once(site: Path, tmp_path: Path) -> None:
    key = tmp_path / "id with blank"
    key.write_text("key")
    wish = Wish([str(site)], named=[("signing", str(key)), ("included", str(site / "group_vars" / "all.yml"))])
    found = names(contents.gather(wish))
    assert "outside" + str(key) in found and found.count("site/group_vars/all.yml") == 1
    assert not [name for name in found if name.endswith("all.yml") and name.startswith("outside")]


def test_too_much_is_refused_with_the_largest(site: Path) -> None:
    with pytest.raises(Refused, match=r"the largest are .*images/large.*kit_exclude"):
        contents.gather(Wish([str(site)], limit=500))


def test_vaults_have_harmless_names(site: Path) -> None:
    found = contents.gather(Wish([str(site)], vaults={"../../etc/x": b"one", "default": b"two"}))
    vaults = {each.name: each.content for each in found if each.name.startswith("vault/")}
    assert vaults == {"vault/_.._etc_x": b"one\n", "vault/default": b"two\n"}


def test_a_collection_that_speaks_of_vaults_has_none(site: Path) -> None:
    """Ours does, in the very code that looks for them."""
    wish = Wish([str(site)], named=[("signing", "/k"), ("login", "/l")], collection=COLLECTION)
    members = contents.gather(wish._replace(named=[]))
    assert any(b"!vault" in each.content for each in members)
    assert contents.lacking(members, wish) == []


def test_what_is_lacking(site: Path) -> None:
    (site / "secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    wish = Wish([str(site)])
    said = contents.lacking(contents.gather(wish), wish)
    assert len(said) == 3 and "secret.yml" in said[2]
    full = wish._replace(named=[("signing", "/k"), ("login", "/l")], vaults={"default": b"x"})
    assert contents.lacking(contents.gather(wish), full) == []


def test_there_and_back(site: Path, tmp_path: Path) -> None:
    hostile = os.fsdecode(b"a\nb' -\xff")
    with open(os.path.join(str(site), hostile), "w", encoding="utf-8") as file:
        file.write("x")
    (site / "inside").symlink_to("group_vars/all.yml")
    members = contents.gather(Wish([str(site)]))
    path = str(tmp_path / "kit")
    size = bundle.write(path, PASSPHRASE, members, {"hosts": {"web-1": "192.0.2.1"}}, "read me", 1000)
    assert size == os.path.getsize(path)
    opened = bundle.open_kit(path, PASSPHRASE)
    assert opened.prints == bundle.fingerprints(members) and "site/" + hostile in opened.prints
    assert opened.description["hosts"] == {"web-1": "192.0.2.1"}
    assert bundle.differences(opened, bundle.fingerprints(members)) == {"new": [], "changed": [], "gone": []}
    fewer = dict(bundle.fingerprints(members), other="file 600 x")
    del fewer["site/empty"]
    fewer["site/images/large"] = "file 644 y"
    assert bundle.differences(opened, fewer) == {
        "new": ["other"],
        "changed": ["site/images/large"],
        "gone": ["site/empty"],
    }


def test_what_is_no_kit(site: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "kit")
    with open(path, "wb") as file:
        file.write(b"something else")
    with pytest.raises(FleetError, match="cannot be opened as a kit"):
        bundle.open_kit(path, PASSPHRASE)
    members = contents.gather(Wish([str(site)]))
    bundle.write(path, PASSPHRASE, members, {}, "", 0)
    with pytest.raises(FleetError, match="with another passphrase, perhaps"):
        bundle.open_kit(path, PASSPHRASE + "!")


def test_a_kit_that_does_not_come_out_as_it_went_in(site: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The one of before stays."""
    path = str(tmp_path / "kit")
    members = contents.gather(Wish([str(site)]))
    bundle.write(path, PASSPHRASE, members, {}, "", 0)
    before = Path(path).read_bytes()

    def lose(self: tarfile.TarFile, info: tarfile.TarInfo, data: Any = None) -> None:
        if not info.name.endswith("large"):
            real(self, info, data)

    real = tarfile.TarFile.addfile
    monkeypatch.setattr(tarfile.TarFile, "addfile", lose)
    with pytest.raises(FleetError, match=r"read back .* is not what was written"):
        bundle.write(path, PASSPHRASE, members, {}, "", 0)
    assert Path(path).read_bytes() == before and sorted(os.listdir(str(tmp_path))) == ["kit", "site"]


def test_a_folder_that_is_not_there(site: Path, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"cannot be written: No such file.*see that the folder is there"):
        bundle.write(str(tmp_path / "no" / "kit"), PASSPHRASE, contents.gather(Wish([str(site)])), {}, "", 0)
