# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page and the drawing of the transaction are as its table is."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.tests import statetable


def test_page_and_drawing_are_made_from_the_table() -> None:
    assert statetable.main(["--check"]) == 0, "run tools/state-table"


def test_every_phase_is_drawn_and_every_way() -> None:
    text = statetable.drawing()
    assert all(">{0}<".format(phase) in text for phase in journals.PHASES)
    assert text.count('class="way"') == len(statetable.arrows()) > 12
