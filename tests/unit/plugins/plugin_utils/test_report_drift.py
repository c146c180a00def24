# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of configurations that have drifted, of a host and of all."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import drift, facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import document, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.table import table
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, host


def drifted(**kinds: Any) -> Dict[str, Any]:
    """What a host says: of each kind its paths, or how many files with some of their paths."""
    found = {kind: {"count": 0, "paths": []} for kind in facts.DRIFT}
    for kind, paths in kinds.items():
        count, names = paths if isinstance(paths, tuple) else (len(paths), paths)
        found[kind] = {"count": count, "paths": names}
    return found


def report(**hosts: Any) -> Any:
    made = [host_of(name, "", facts.answer({"host": host(drift=each)}), None) for name, each in hosts.items()]
    return fleet_of(made, drift.remark(drift.total(each.known for each in made)), NOW)


def test_of_a_host_that_has_not_drifted_nothing_is_said() -> None:
    found = report(a=drifted(own=["x"], over=["rc.conf"], same=["y"], new=["z"], deleted=["q"]), b=None)
    assert "configuration" not in "\n".join(table(found)) and found.counts == {"normal": 2}
    one, other = document(found)["hosts"]
    assert one["drift"]["over"] == {"count": 1, "paths": ["rc.conf"]} and other["drift"] is None


def test_what_is_to_be_done_is_said_and_counted() -> None:
    long = (30, ["f{0}".format(number) for number in range(20)])
    found = report(a=drifted(unsaved=["rc.conf"]), b=drifted(unsaved=["rc.conf"], stale=long))
    said = "\n".join(table(found))
    assert "a, b: not saved in /etc, a restart would take it: rc.conf" in said
    assert "b: made against another image, what is new in this one is hidden: f0, f1" in said and "more" in said
    words = "configuration: 2 hosts with 2 files changed in /etc and not saved, 1 host with 30 files of /cfg that hide"
    assert words in said
    totals = document(found)["drift"]
    assert totals["unsaved"] == {"hosts": 2, "files": 2} and totals["stale"] == {"hosts": 1, "files": 30}
    assert document(found)["counts"] == {"normal": 2}, "it is no condition: a host works as before"


def test_a_host_that_lies() -> None:
    for nonsense in ({"unsaved": 1}, {**drifted(), "own": {"count": "many", "paths": []}}, ["x"]):
        assert report(a=nonsense).counts == {"nonsense": 1}
    found = report(a=drifted(unsaved=["\x1b[2J"], stale=(1 << 62, [])))
    assert "\x1b" not in "\n".join(table(found))
