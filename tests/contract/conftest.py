# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions of a module of tests, each replayed once: those that are in its ``SCRIPTS``."""

from __future__ import annotations

import pytest

from ansible_collections.nanozfs.fleet.tests.contract.replay import Results, replay


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each transcript was answered, by the title of its session."""
    return {
        script.title: replay(script, str(tmp_path_factory.mktemp(script.directory)))
        for script in request.module.SCRIPTS
    }
