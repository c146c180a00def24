# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _hooks
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import SitePaths

ALL = (_hooks.BEFORE_RESTART, _hooks.AFTER_COMMIT, _hooks.AFTER_REVERT)


def test_they_are_found_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "drain.yml").write_text("[]")
    site = SitePaths([str(tmp_path)])
    found = _hooks.find(site, {"before_restart_tasks": "drain.yml", "after_commit_tasks": None}, ALL, "upgrade")
    assert found == {"before_restart": str(tmp_path / "tasks" / "drain.yml"), "after_commit": "", "after_revert": ""}
    with pytest.raises(Refused, match=r"rollback_after_revert_tasks: there is no file enable.yml"):
        _hooks.find(site, {"after_revert_tasks": "enable.yml"}, ALL, "rollback")


def test_every_end_that_is_known_has_its_tasks() -> None:
    assert _hooks.ENDS == {
        words.COMMITTED: _hooks.AFTER_COMMIT,
        words.REVERTED: _hooks.AFTER_REVERT,
        words.NOT_BEGUN: _hooks.AFTER_REVERT,
    }
