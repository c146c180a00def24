# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order hosts are begun, what a run may lose, and when a maintenance window is open."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Dict, List

import pytest
import yaml
from zoneinfo import ZoneInfo

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves import hosts, windows
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.order import Member, in_turn, share, sizes, waves
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.run import (
    NOBODY,
    Candidate,
    Now,
    Run,
    Settings,
    goes_back,
    hold,
    plan,
    told,
)
from ansible_collections.nanozfs.fleet.tests.unit.test_release import text_of

BERLIN = ZoneInfo("Europe/Berlin")


def names(wave: List[Member]) -> List[str]:
    return [member.name for member in wave]


class TestSizes:
    @pytest.mark.parametrize(
        ("serial", "total", "wanted"),
        [
            ([1, "10%", "100%"], 40, [1, 4, 40]),
            ([1, "10%", "100%"], 3, [1, 1, 3]),
            ("1,10%,100%", 40, [1, 4, 40]),
            ('[1, "10%"]', 40, [1, 4]),
            (5, 40, [5]),
            ("30 %", 10, [3]),
            ("12.5%", 16, [2]),
            (["100%"], 7, [7]),
        ],
    )
    def test_good(self, serial: Any, total: int, wanted: List[int]) -> None:
        assert sizes(serial, total, "upgrade_serial") == wanted

    @pytest.mark.parametrize("serial", [0, -1, "", [], "a", [True], "101%", [1, None], "1;2", "1e3", ["0"], {"a": 1}])
    def test_wrong(self, serial: Any) -> None:
        with pytest.raises(Refused, match="upgrade_serial must be"):
            sizes(serial, 10, "upgrade_serial")

    @pytest.mark.parametrize(("value", "wanted"), [(0, 0), ("0", 0), ("5%", 2), ("0%", 0), (3, 3), (" 3 ", 3)])
    def test_share(self, value: Any, wanted: int) -> None:
        """A percentage is rounded down: what may be lost is never more than was said."""
        assert share(value, 59, "upgrade_max_failures") == wanted


class TestWaves:
    def test_pairs_are_never_in_one(self) -> None:
        pairs = [Member("{0}-{1}".format(n, side), exclusive="pair-" + n) for n in "abc" for side in "12"]
        found = waves(pairs, [1, 100])
        assert [names(wave) for wave in found] == [["a-1"], ["a-2", "b-1", "c-1"], ["b-2", "c-2"]]

    def test_sites_take_turns_and_canaries_come_first(self) -> None:
        members = [
            Member("a1", "a"),
            Member("a2", "a"),
            Member("b1", "b"),
            Member("b2", "b", canary=True),
            Member("c1"),
        ]
        assert names(in_turn(members)) == ["b2", "a1", "b1", "c1", "a2"]

    def test_whatever_comes_everybody_has_one_place(self) -> None:
        rng = random.Random(13)
        for _round in range(300):
            members = [
                Member("h{0}".format(n), rng.choice(["", "a", "b"]), rng.choice(["", "", "p", "q"]), rng.random() < 0.1)
                for n in range(rng.randrange(40))
            ]
            wanted = [rng.randrange(1, 12) for _wave in range(rng.randrange(1, 4))]
            found = waves(in_turn(members), wanted)
            assert sorted(name for wave in found for name in names(wave)) == sorted(names(members))
            for number, wave in enumerate(found):
                assert 0 < len(wave) <= wanted[min(number, len(wanted) - 1)]
                groups = [member.exclusive for member in wave if member.exclusive]
                assert len(groups) == len(set(groups))


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(timezone.utc)


class TestWindows:
    @pytest.mark.parametrize(
        ("window", "now", "left"),
        [
            ("01:00-05:00", "2026-11-30 01:00", 4 * 3600),
            ("01:00-05:00", "2026-11-30 05:00", None),
            ("22:00-04:00", "2026-11-30 01:00", 3 * 3600),
            ("Mon 22:00-04:00", "2026-12-01 01:00", 3 * 3600),  # Tuesday morning belongs to Monday's
            ("Tue 22:00-04:00", "2026-12-01 01:00", None),
            ("Sat,Sun 00:00-24:00", "2026-12-05 12:00", 36 * 3600),  # both days as one
            ("Sun-Thu 01:00-05:00", "2026-12-04 02:00", None),  # a Friday
            ("fri-mon 1:00-5:00", "2026-11-30 02:00", 3 * 3600),
            ("Saturday 23:00-24:00", "2026-12-05 23:30", 1800),
            ("01:00-05:00", "2026-03-29 01:30", 2.5 * 3600),  # the clock is set forward at 02:00
            ("01:00-05:00", "2026-10-25 01:30", 4.5 * 3600),  # and back at 03:00
        ],
    )
    def test_open(self, window: str, now: str, left: Any) -> None:
        assert windows.opening([windows.parse(window)], BERLIN, at(now)).left == left

    @pytest.mark.parametrize(
        "text",
        ["", "01:00", "25:00-26:00", "01:00-01:00", "24:00-03:00", "01:60-02:00", "Foo 01:00-02:00", "01:00-02:00 Mon",
         "Mon- 01:00-02:00", "Mon--Tue 01:00-02:00", "Mo 01:00-02:00", "Monkey1 01:00-02:00"],
    )  # fmt: skip
    def test_wrong(self, text: str) -> None:
        with pytest.raises(Refused, match="no maintenance window"):
            windows.parse(text)

    def test_another_zone(self) -> None:
        """Nine in the evening in New York is three in the morning in Berlin."""
        window = [windows.parse("21:00-23:00")]
        now = at("2026-12-01 03:30")
        assert windows.closed(window, ZoneInfo("America/New_York"), now, 60) == ""
        assert "closed; it opens Tue 21:00 CET" in windows.closed(window, BERLIN, now, 60)

    def test_one_that_would_close_too_early(self) -> None:
        said = windows.closed([windows.parse("Mon 01:00-05:00")], BERLIN, at("2026-11-30 04:30"), 2401)
        assert said == (
            "its maintenance window closes in 30 minutes, and this may take 41; it opens Mon 01:00 CET again"
        )
        assert windows.closed([windows.parse("Mon 01:00-05:00")], BERLIN, at("2026-11-30 04:30"), 1800) == ""

    @pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../../etc/passwd", "Europe"])
    def test_no_zone(self, zone: str) -> None:
        with pytest.raises(Refused, match="no time zone"):
            windows.zone_of(zone)


def fleet(count: int, **more: Any) -> List[Candidate]:
    return [
        Candidate(Member("h{0}".format(number)), start="boot-{0}".format(number), **more) for number in range(count)
    ]


class TestPlan:
    def test_canaries(self) -> None:
        """Nobody goes before them: not while all that need something have to wait."""
        wait, ready = Candidate(Member("c1", canary=True), closed="shut"), Candidate(Member("c2", canary=True))
        run = plan([*fleet(2), wait], Settings())
        assert run.waves == [] and run.later["h0"] == "none of the canaries can be begun (c1)"
        assert run.later["c1"] == "shut"
        assert plan([*fleet(2), wait, ready], Settings()).waves == [["c2"], ["h0"], ["h1"]]
        assert plan([*fleet(2), replace(wait, done=True)], Settings()).waves == [["h0"], ["h1"]]
        lost = plan([*fleet(2), replace(ready, unfit="no answer")], Settings(failures=1))
        assert lost.waves == [] and lost.unfit == ["c2"]

    def test_what_is_done_is_in_no_wave(self) -> None:
        candidates = [*fleet(10), Candidate(Member("right"), done=True), Candidate(Member("late"), closed="it is shut")]
        run = plan(candidates, Settings())
        assert [len(wave) for wave in run.waves] == [1, 1, 8]
        assert told(run, candidates) == [
            "12 hosts: 10 in 3 waves (1, 1, 8), 1 with nothing to do, 1 to wait",
            "not begun: late: it is shut",
        ]
        fact = run.as_dict()
        assert (len(fact["hosts"]), fact["serial"], fact["hosts_back"]) == (10, [1, 1, 8], ["all", "!all"])
        assert Run.read(fact) == run and run.ident != plan(candidates, Settings()).ident

    @pytest.mark.parametrize("settings", [Settings(), Settings(back=True)])
    def test_nobody_is_nobody(self, settings: Settings) -> None:
        """An empty list of hosts would be all of them to Ansible."""
        fact = plan(fleet(3, done=True), settings).as_dict()
        assert fact["hosts"] == fact["hosts_back"] == list(NOBODY)
        assert plan(fleet(3), settings).as_dict(only_told=True)["hosts"] == list(NOBODY)

    def test_a_thousand_with_three_dead(self) -> None:
        dead = {"h1": "no answer", "h500": "recovery", "h999": "no answer"}
        candidates = [replace(each, unfit=dead.get(each.name, "")) for each in fleet(1000)]
        with pytest.raises(Refused, match=r"3 of 1000 hosts not fit \(2 no answer, 1 recovery\): h1, h500, h999; and"):
            plan(candidates, Settings())
        run = plan(candidates, Settings(failures="1%"))
        assert "3 not fit (2 no answer, 1 recovery)" in told(run, candidates)[0]
        assert (run.budget, run.unfit, [len(wave) for wave in run.waves]) == (10, ["h1", "h500", "h999"], [1, 99, 897])

    def test_two_names_of_one_host(self) -> None:
        twins = [Candidate(Member("web-1"), start="0x1"), Candidate(Member("web-2"), start="0x1")]
        with pytest.raises(Refused, match="web-1 and web-2 are one host"):
            plan(twins, Settings())

    @pytest.mark.parametrize(
        "name", ["a,b", "web:1", "a b", "web[1]", "!x", "@file", "web*", "&x", "~x", "a\x1b[31m b"]
    )
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(Refused, match="no name of a host") as caught:
            plan([Candidate(Member(name))], Settings())
        assert "\x1b" not in str(caught.value)

    def test_addresses_are_names(self) -> None:
        assert plan([Candidate(Member("2001:db8::1"))], Settings()).waves == [["2001:db8::1"]]


def run_of(**more: Any) -> Run:
    return Run(**dict({"waves": [["a-1", "b-1"], ["a-2", "b-2"]], "groups": {"a-1": "a", "a-2": "a"}}, **more))


class TestGate:
    def test_a_lost_host_holds_the_others(self) -> None:
        assert hold(run_of(), "b-2", Now()) == ""
        said = hold(run_of(), "b-2", Now(lost=["b-1"]))
        assert said == "1 host of this run lost (b-1), and upgrade_max_failures is 0"

    def test_a_budget_is_for_the_whole_run(self) -> None:
        run = run_of(budget=2, unfit=["x"])
        assert hold(run, "b-2", Now(lost=["b-1"])) == ""
        assert "3 hosts of this run lost" in hold(run, "b-2", Now(lost=["b-1", "c"]))
        assert hold(run, "b-2", Now(lost=["x", "b-1"])) == "", "one host is not lost twice"

    def test_a_partner_that_is_lost(self) -> None:
        """Whatever the budget: the last one that serves stays up."""
        run = run_of(budget=9)
        assert hold(run, "a-2", Now(lost=["a-1"])) == "a-1, which stands in for it, was lost"
        assert hold(run, "a-2", Now(results={"a-1": words.ON_TRIAL})) == "a-1, which stands in for it, is on trial"
        assert hold(run, "a-2", Now(results={"a-1": words.COMMITTED})) == ""
        assert "a-1" in hold(run_of(budget=9, unfit=["a-1"]), "a-2", Now())

    def test_who_is_in_no_wave(self) -> None:
        """As Ansible takes the name of a group for its hosts, also where a host has the same."""
        assert hold(run_of(), "other", Now()) == "it is in no wave of this run"

    def test_a_partner_that_was_on_trial_before(self) -> None:
        run = run_of(busy=["a-1"])
        assert hold(run, "a-2", Now()) == "a-1, which stands in for it, is on trial"
        assert hold(run, "a-2", Now(results={"a-1": words.COMMITTED})) == ""

    def test_a_window_that_has_closed_meanwhile(self) -> None:
        assert hold(run_of(), "b-2", Now(closed="shut")) == "shut"

    def test_a_wave_goes_back(self) -> None:
        results = {"a-1": words.COMMITTED, "a-2": words.COMMITTED, "b-2": words.ON_TRIAL}
        now = Now(lost=["b-1"], results=results)
        assert goes_back(run_of(back=True), "a-1", now) == words.COMMITTED
        assert goes_back(run_of(back=True), "a-2", now) == "", "of another wave"
        assert goes_back(run_of(), "a-1", now) == "", "it was not asked for"
        assert goes_back(run_of(back=True, budget=1), "a-1", now) == "", "the run may lose one"
        assert goes_back(run_of(back=True), "b-2", replace(now, lost=["a-2"])) == words.ON_TRIAL
        assert goes_back(run_of(back=True, unfit=["x"]), "a-1", replace(now, lost=[])) == ""
        later = replace(now, lost=["b-1", "b-2"])
        assert goes_back(run_of(back=True, budget=1), "a-1", later) == "", "its own wave was good enough"
        assert goes_back(run_of(back=True, budget=1), "a-2", later) == words.COMMITTED

    def test_without_a_plan(self) -> None:
        with pytest.raises(Refused, match="nobody has planned"):
            Run.read(None)


NOW = at("2026-11-30 02:00")


class TestHosts:
    def test_times_are_those_of_the_role(self) -> None:
        defaults = yaml.safe_load(text_of("roles", "upgrade", "defaults", "main.yml"))
        assert (defaults["upgrade_trial_timeout"], defaults["upgrade_boot_timeout"]) == (
            hosts.TRIAL_TIME,
            hosts.BOOT_TIME,
        )

    @pytest.mark.parametrize(
        ("look", "seconds"),
        [
            ({"difference": {"predicted": {"seconds": 90}}}, 90),
            ({"difference": {"finished": False, "progress": {"eta": 30}}}, 30),
            ({"difference": None}, 0),
            ({"difference": {"predicted": {"seconds": float("inf")}}}, 0),
            ({"difference": {"predicted": {"seconds": "{{ 7 }}"}}}, 0),
            ({"difference": {"predicted": {"seconds": 1e30}}}, hosts.LONGEST),
            ("nonsense", 0),
            (None, 0),
        ],
    )
    def test_what_a_host_foretells(self, look: Any, seconds: float) -> None:
        assert hosts.writing(look) == seconds

    @pytest.mark.parametrize(
        ("look", "why"),
        [
            ({"failed": True, "condition": "recovery"}, "recovery"),
            ({"failed": True, "condition": "{{ evil }}"}, "refused"),
            ({"failed": True, "condition": ["no answer"]}, "refused"),
            ({"unreachable": True}, "no answer"),
            ({"failed": True, "lease": {"holder": {}}, "phase": "written"}, "in the hands of another play"),
            ({"failed": True, "phase": "written"}, "half way"),
            (None, "refused"),
        ],
    )
    def test_what_is_the_matter(self, look: Any, why: str) -> None:
        assert hosts.unfit(look) == why
        assert hosts.candidate("h", {}, look, False, "upgrade", NOW).unfit == why

    def test_text_as_a_survey_gives_it(self) -> None:
        variables = {
            "fleet_exclusive": " pair ",
            "fleet_canary": "yes",
            "fleet_site": "x",
            "upgrade_window": "Mon 01:00-03:30; Tue 01:00-02:00",
            "fleet_time_zone": "Europe/Berlin",
            "upgrade_trial_timeout": "300",
            "upgrade_boot_timeout": " 60",
        }
        found = hosts.candidate("h", variables, {"todo": {"open": True}, "boot_id": "0x1"}, True, "upgrade", NOW)
        assert found == Candidate(Member("h", "x", "pair", True), start="0x1")
        variables["upgrade_boot_timeout"] = "9000"
        assert "closes in 90 minutes, and this may take 305" in hosts.closed("h", variables, None, NOW)
        assert hosts.candidate("h", variables, None, True, "rollback", NOW).closed == "", "a way back is always open"
        assert hosts.candidate("h", variables, {"todo": {"open": False}}, True, "upgrade", NOW).closed == ""

    @pytest.mark.parametrize("phase", ["trial", "committing", "reverting"])
    def test_a_trial_does_not_wait(self, phase: str) -> None:
        """It is to be kept in seconds, or restarts by itself, whatever the window says."""
        variables = {"upgrade_window": "Mon 03:00-03:30", "fleet_time_zone": "Europe/Berlin"}
        look = {"todo": {"open": True}, "journal": {"phase": phase}}
        found = hosts.candidate("h", variables, look, True, "upgrade", NOW)
        assert found.trial and found.closed == ""
        assert hosts.candidate("h", variables, {"journal": {"phase": "written"}}, True, "upgrade", NOW).closed != ""

    @pytest.mark.parametrize(
        ("variables", "said"),
        [
            ({"upgrade_window": ["01:00-02:00"]}, "h has an upgrade_window and no fleet_time_zone"),
            ({"upgrade_window": "nights", "fleet_time_zone": "UTC"}, "'nights' is no maintenance window"),
            ({"fleet_canary": "perhaps"}, "fleet_canary must be true or false"),
            (
                {"upgrade_window": "01:00-02:00", "fleet_time_zone": "UTC", "upgrade_trial_timeout": "long"},
                "upgrade_trial_timeout must be a whole number",
            ),
        ],
    )
    def test_wrong(self, variables: Dict[str, Any], said: str) -> None:
        with pytest.raises(Refused, match=said):
            hosts.candidate("h", variables, None, True, "upgrade", NOW)

    def test_settings(self) -> None:
        assert hosts.settings("upgrade", [("a", {}), ("b", {})]) == Settings()
        assert hosts.settings("rollback", [("a", {})]) == Settings(serial=["100%"], prefix="rollback")
        said = {"upgrade_serial": "2", "upgrade_max_failures": "5%", "upgrade_revert_wave": "true"}
        assert hosts.settings("upgrade", [("a", said), ("b", said)]) == Settings("2", "5%", True, "upgrade")
        with pytest.raises(Refused, match="upgrade_serial holds for a whole run, and b has another one than a"):
            hosts.settings("upgrade", [("a", {"upgrade_serial": 1}), ("b", {"upgrade_serial": 2})])
