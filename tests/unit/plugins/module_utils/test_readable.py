# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether every system of a medium could open the pool, with what zpool of a real FreeBSD 15.0 said."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import compatibility
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.compatibility import Features
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import SliceContent
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Inside
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import readable
from ansible_collections.nanozfs.fleet.tests import transcripts


def recorded(name: str, first: int, release: str = transcripts.FIXTURES_15) -> Features:
    lines = transcripts.load("zpool", name, release).out.splitlines()
    return compatibility.parse_features([line.split("\t")[first : first + 2] for line in lines])


#: a pool as 15.0 makes it by default, one that it made with openzfs-2.1-freebsd, and one of 13.2
ALL = recorded("036-get-all", 1)
LIMITED = recorded("348-compat-get", 0)
OLD = recorded("036-get-all", 1, transcripts.FIXTURES)

#: what the ZFS of 13.2 and that of 15.0 know
KNOWN_13 = tuple(sorted({*OLD.active, *OLD.enabled}))
KNOWN_15 = tuple(sorted({*LIMITED.active, *LIMITED.enabled, *LIMITED.disabled}))

NEW = ("blake3", "block_cloning", "edonr", "head_errlog", "vdev_zaps_v2", "zilsaxattr")


def content(version: str, features: Optional[Tuple[str, ...]]) -> SliceContent:
    inside = Inside("web", version, "b" + version, 1, 0, "amd64", "FreeBSD:15:amd64", "tank", features)
    return SliceContent(inside, None, "")


@pytest.fixture(name="sets")
def fixture_sets(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with a set of features as FreeBSD has it."""
    (tmp_path / "openzfs-2.1-freebsd").write_text("# of 2.1\n{0}\n".format("\n".join(KNOWN_13)))
    (tmp_path / "small").write_text("skein, lz4_compress\tdraid # and no more\n")
    monkeypatch.setattr(compatibility, "FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    return tmp_path


def test_what_was_recorded() -> None:
    assert {*NEW, "longname"} <= {*ALL.active, *ALL.enabled} and ALL.compatibility == "off"
    assert "vdev_zaps_v2" in ALL.active and set(NEW) <= set(LIMITED.disabled)
    assert LIMITED.compatibility == "openzfs-2.1-freebsd" and OLD.disabled == ()


class TestSets:
    def test_one_and_several(self, sets: Any) -> None:
        assert compatibility.allowed("small") == frozenset({"skein", "lz4_compress", "draid"})
        assert compatibility.allowed("small,openzfs-2.1-freebsd") == frozenset({"skein", "lz4_compress", "draid"})
        assert compatibility.allowed(str(sets / "small")) == frozenset({"skein", "lz4_compress", "draid"})
        assert compatibility.allowed("off") is None and compatibility.allowed("legacy") == frozenset()

    @pytest.mark.parametrize("text", ["", "no line end", "x" * 20000 + "\n"])
    def test_those_that_zfs_does_not_take(self, sets: Any, text: str) -> None:
        (sets / "odd").write_text(text)
        with pytest.raises(FleetError, match="no set of features odd"):
            compatibility.allowed("small,odd")
        with pytest.raises(FleetError, match="no set of features gone"):
            compatibility.allowed("gone")

    def test_what_an_upgrade_would_enable(self, sets: Any) -> None:
        assert compatibility.upgradable(LIMITED) == ()
        assert compatibility.upgradable(LIMITED._replace(compatibility="off")) == LIMITED.disabled
        (sets / "more").write_text("blake3\nskein\n")
        assert compatibility.upgradable(LIMITED._replace(compatibility="more")) == ("blake3",)


class TestWarnings:
    OTHERS = readable.systems({"nz-a": content("1.0", KNOWN_13), "nz-recovery": content("0.9", None)})[0]

    def test_nobody_is_locked_out(self, sets: Any) -> None:
        assert readable.warnings("tank", LIMITED, self.OTHERS) == []
        assert readable.warnings("tank", ALL, readable.systems({"nz-a": content("2.0", KNOWN_15)})[0]) == []
        assert readable.warnings("tank", ALL, []) == []

    def test_a_pool_that_15_made_by_default(self, sets: Any) -> None:
        now, soon = readable.warnings("tank", ALL, self.OTHERS)
        assert now.startswith(
            "nz-a (web-1.0) cannot open the pool tank: its ZFS does not know head_errlog, vdev_zaps_v2"
        )
        assert "once that uses blake3, block_cloning" in soon and "head_errlog" not in soon

    def test_one_that_an_upgrade_would_lock_out(self, sets: Any) -> None:
        (words,) = readable.warnings("tank", LIMITED._replace(compatibility="off"), self.OTHERS)
        assert words.startswith("`zpool upgrade tank` would lock nz-a (web-1.0) out") and "blake3" in words

    def test_no_set_is_read_where_it_does_not_matter(self, sets: Any) -> None:
        """As on a host whose pool has all that its ZFS knows, or whose slices are of one release."""
        assert readable.warnings("tank", OLD._replace(compatibility="gone"), self.OTHERS) == []
        same = readable.systems({"nz-a": content("2.0", KNOWN_15)})[0]
        assert readable.warnings("tank", LIMITED._replace(compatibility="gone"), same) == []
        assert compatibility.upgradable(OLD._replace(compatibility="gone")) == ()

    def test_a_set_that_is_not_there(self, sets: Any) -> None:
        (words,) = readable.warnings("tank", LIMITED._replace(compatibility="gone"), self.OTHERS)
        assert words.startswith("what `zpool upgrade tank` would do cannot be told")


#: an upgrade from the one release to the other
MIXED = {"nz-a": content("1.0", KNOWN_13), "nz-b": content("2.0", KNOWN_15)}


class TestUpgrade:
    def test_all_know_it(self, sets: Any) -> None:
        same = {label: content("2.0", KNOWN_15) for label in ("nz-a", "nz-b", "nz-recovery")}
        free = LIMITED._replace(compatibility="off")
        assert readable.check_upgrade("tank", free, same) == LIMITED.disabled
        assert readable.check_upgrade("tank", free, {**same, "nz-a": SliceContent(None, None, "empty")})

    def test_one_does_not(self, sets: Any) -> None:
        with pytest.raises(Refused, match=r"nz-a \(web-1.0\) does not know .*blake3"):
            readable.check_upgrade("tank", LIMITED._replace(compatibility="off"), MIXED)
        assert readable.check_upgrade("tank", LIMITED, MIXED) == (), "nothing more is allowed"

    def test_one_does_not_say(self, sets: Any) -> None:
        silent = {"nz-b": content("2.0", KNOWN_15), "nz-recovery": content("0.9", None)}
        with pytest.raises(Refused, match=r"nz-recovery \(web-0.9\) does not say"):
            readable.check_upgrade("tank", LIMITED._replace(compatibility="off"), silent)
