# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plays of upgrade.yml and rollback.yml as they are, with roles that only note that they were run.

What hosts do then, and end as, is in their variables: ``unfit``, ``fails``, ``dies``, ``on_trial``, ``done``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import pytest
import yaml

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

NOTE = {
    "name": "Note it",
    "ansible.builtin.shell": "echo {{ what }} {{ inventory_hostname }} >> {{ log }}",
    "changed_when": False,
}


def note(what: str) -> Dict[str, Any]:
    return dict(NOTE, vars={"what": what})


#: what stands in for a role, by its name and entry point
ROLES: Dict[Tuple[str, str], List[Dict[str, Any]]] = {
    ("upgrade", "preflight"): [
        {"name": "Refuse", "ansible.builtin.fail": {"msg": "unfit"}, "when": "unfit | default(false)"},
        {
            "name": "Look",
            "ansible.builtin.set_fact": {
                "upgrade_plan": {
                    "todo": {"open": "{{ not (done | default(false)) }}"},
                    "boot_id": "{{ boot | default(inventory_hostname) }}",
                    "tasks": {"after_revert": ""},
                }
            },
        },
    ],
    ("upgrade", "perform"): [
        note("begin"),
        {"name": "Wait", "ansible.builtin.command": "sleep 2", "when": "slow | default(false)"},
        {"name": "Die", "ansible.builtin.command": "true", "vars": {"ansible_connection": "ssh"},
         "when": "dies | default(false)"},
        {"name": "Fail", "ansible.builtin.fail": {"msg": "it was taken back"}, "when": "fails | default(false)"},
        {
            "name": "End",
            "ansible.builtin.set_fact": {
                "trial_ended": {
                    "story": {"result": "{{ 'on trial' if on_trial | default(false) else 'committed' }}"},
                    "journal": {"txn": "{{ 1000000000 | random }}"},
                }
            },
        },
        note("end"),
    ],
    ("rollback", ""): [
        note("back"),
        {"name": "Fail", "ansible.builtin.fail": {"msg": "x"}, "when": "fails | default(false)"},
    ],
    ("trial", ""): [note("revert")],
}  # fmt: skip


class Ran(NamedTuple):
    """A run: exit status, the log, what was printed."""

    status: int
    log: List[List[str]]
    text: str

    def hosts(self, what: str) -> List[str]:
        return [name for word, name in self.log if word == what]


class Fleet:
    """A folder with the playbooks."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        for name in ("upgrade", "rollback"):
            with open(os.path.join(CHECKOUT, "playbooks", name + ".yml"), encoding="utf-8") as file:
                plays = yaml.safe_load(file)
            for play in plays:
                play["tasks"] = [self._task(task) for task in play["tasks"]]
            self.write(name + ".yml", plays)

    def write(self, name: str, content: Any) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        return path

    def _task(self, task: Dict[str, Any]) -> Dict[str, Any]:
        """A task, whose role is another one now."""
        parts = {name: [self._task(each) for each in task[name]] for name in ("block", "always") if name in task}
        ways = {"ansible.builtin.include_role", "ansible.builtin.import_role"} & set(task)
        if not ways:
            return dict(task, **parts)
        role = task[min(ways)]
        entry = str(role.get("tasks_from", ""))
        key = (role["name"].rpartition(".")[2], "perform" if "'perform'" in entry else entry)
        path = self.write("{0}-{1}.yml".format(*key), ROLES[key])
        kept = {name: value for name, value in task.items() if name not in ways}
        return dict(kept, **{"ansible.builtin.include_tasks": path})

    def play(
        self,
        hosts: Dict[str, Dict[str, Any]],
        common: Optional[Dict[str, Any]] = None,
        playbook: str = "upgrade.yml",
        more: Sequence[str] = (),
    ) -> Ran:
        """Run it. In the inventory hosts are in the order in which they are given."""
        log = os.path.join(self.folder, "log")
        if os.path.exists(log):
            os.unlink(log)
        variables = dict(
            {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
                "log": log,
            },
            **(common or {}),
        )
        path = self.write("hosts.json", {"all": {"hosts": hosts, "vars": variables}})
        done = subprocess.run(
            ["ansible-playbook", "-i", path, os.path.join(self.folder, playbook), *more],
            env=dict(os.environ, ANSIBLE_FORKS="4", ANSIBLE_NOCOLOR="1", ANSIBLE_REMOTE_TMP=self.folder + "/tmp"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        lines = []
        if os.path.exists(log):
            with open(log, encoding="utf-8") as file:
                lines = [line.split() for line in file]
        text = done.stdout + done.stderr
        assert "max_fail_percentage" not in text and "Could not match" not in text
        return Ran(done.returncode, lines, text)


@pytest.fixture
def fleet(tmp_path: Any) -> Fleet:
    return Fleet(str(tmp_path))


def named(*names: str, **special: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    return {name: special.get(name, {}) for name in names}


def test_waves(fleet: Fleet) -> None:
    """By default one, a tenth, the rest; a wave begins when the one before it is through."""
    ran = fleet.play(named(*"abcdef", c={"done": True}, d={"slow": True}))
    assert ran.status == 0 and "6 hosts: 5 in 3 waves (1, 1, 3), 1 with nothing to do" in ran.text
    assert ran.log[:4] == [["begin", "a"], ["end", "a"], ["begin", "b"], ["end", "b"]]
    assert sorted(ran.hosts("end")) == list("abdef")
    assert "WARNING" not in ran.text


def test_the_first_failure_stops_what_was_not_begun(fleet: Fleet) -> None:
    """Where the inventory says so: sizes that only -e could set were no help to a site."""
    hosts = named(*"abcdefgh", b={"fails": True}, c={"slow": True})
    ran = fleet.play(hosts, {"upgrade_serial": [3, "100%"]})
    assert ran.status == 2
    assert sorted(ran.hosts("begin")) == list("abc") and sorted(ran.hosts("end")) == list("ac")
    assert "d: not begun: 1 host of this run lost (b), and upgrade_max_failures is 0" in ran.text
    assert ran.hosts("back") == []


def test_within_a_wave_as_well(fleet: Fleet) -> None:
    """Four at once are begun; those whose turn comes after the failure are not."""
    hosts = named(*"abcdefgh", **{name: {"slow": True} for name in "bcd"}, a={"fails": True})
    ran = fleet.play(hosts, {"upgrade_serial": "100%"})
    assert sorted(ran.hosts("begin")) == list("abcd") and ran.status == 2


def test_a_budget(fleet: Fleet) -> None:
    """A host that dies counts as one that fails, and as one that was not fit."""
    hosts = named(*"abcdefgh", b={"fails": True}, c={"unfit": True}, d={"dies": True}, h={"slow": True})
    ran = fleet.play(hosts, {"upgrade_serial": "2,100%"}, more=["-e", "upgrade_max_failures=40%"])
    assert ran.status in (2, 4) and "1 not fit (1 refused)" in ran.text
    assert sorted(ran.hosts("begin")) == list("abdefgh") and sorted(ran.hosts("end")) == list("aefgh")
    ran = fleet.play(hosts, {"upgrade_serial": "2,100%"}, more=["-e", "upgrade_max_failures=1"])
    assert sorted(ran.hosts("begin")) == list("ab"), "c and b are two"
    ran = fleet.play(hosts)
    assert ran.log == [] and "1 of 8 hosts not fit (1 refused): c; and" in ran.text and ran.status == 2


def test_a_wave_goes_back(fleet: Fleet) -> None:
    hosts = named(*"abcdefgh", c={"fails": True}, d={"on_trial": True}, b={"slow": True})
    said = {"upgrade_serial": [1, 3, "100%"], "upgrade_revert_wave": "yes"}
    ran = fleet.play(hosts, said)
    assert sorted(ran.hosts("begin")) == list("abcd")
    assert (ran.hosts("back"), ran.hosts("revert")) == (["b"], ["d"]), "a was of the wave before"
    assert ran.status == 2


def test_pairs_and_windows(fleet: Fleet) -> None:
    pair: Dict[str, Any] = {"fleet_exclusive": "db"}
    hosts = named(
        "db-1", "db-2", "web", "night",
        **{"db-1": dict(pair, fails=True), "db-2": pair, "night": {"upgrade_window": "Mon 01:00-01:01"}},
    )  # fmt: skip
    said = {"upgrade_serial": "100%", "upgrade_max_failures": 2, "fleet_time_zone": "Europe/Paris"}
    ran = fleet.play(hosts, said)
    assert "4 hosts: 3 in 2 waves (2, 1), 1 to wait" in ran.text
    assert "not begun: night: its maintenance window" in ran.text
    assert "db-2: not begun: db-1, which stands in for it, was lost" in ran.text
    assert sorted(ran.hosts("begin")) == ["db-1", "web"]


def test_what_an_importing_playbook_says(fleet: Fleet) -> None:
    """It goes before the inventory, as anywhere."""
    site = {
        "name": "Upgrade",
        "ansible.builtin.import_playbook": "upgrade.yml",
        "vars": {"upgrade_serial": ["100%"], "fleet_hosts": "a,b,c"},
    }
    fleet.write("site.yml", [site])
    ran = fleet.play(named(*"abcd"), {"upgrade_serial": 1}, "site.yml")
    assert "3 hosts: 3 in 1 wave (3)" in ran.text and sorted(ran.hosts("end")) == list("abc")


def test_what_an_earlier_run_has_left_in_a_cache(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan is of one run: a pattern that fits nobody must not find the hosts of another."""
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", os.path.join(fleet.folder, "cache"))
    more = ["-e", "upgrade_preflight=false"]
    assert fleet.play(named(*"abc"), more=more).hosts("end") == list("abc")
    ran = fleet.play(named(*"abc"), more=[*more, "-e", "fleet_hosts=a:&b"])
    assert ran.log == []


def imported(name: str, playbook: str, **variables: Any) -> Dict[str, Any]:
    return {"name": name, "ansible.builtin.import_playbook": playbook, "vars": variables}


@pytest.mark.parametrize("second", ["upgrade.yml", "rollback.yml"])
def test_one_run_does_not_take_the_plan_of_another(fleet: Fleet, second: str) -> None:
    """Where a limit leaves nobody for it. It would roll back what was just upgraded."""
    plays = [imported("A", "upgrade.yml", fleet_hosts="a,b"), imported("B", second, fleet_hosts="c,d")]
    fleet.write("site.yml", plays)
    ran = fleet.play(named(*"abcd"), {}, "site.yml", more=["-l", "a,b"])
    assert ran.status == 0 and ran.log == [["begin", "a"], ["end", "a"], ["begin", "b"], ["end", "b"]]


def test_who_was_not_begun_does_not_go_back(fleet: Fleet) -> None:
    """Also where an earlier upgrade of the same command has left that they were kept."""
    same = {"upgrade_serial": "100%", "upgrade_revert_wave": True}
    quick = "{{ fails_then | default(false) }}"
    second = imported("B", "upgrade.yml", **same, fails=quick, slow="{{ not (fails_then | default(false)) }}")
    fleet.write("site.yml", [imported("A", "upgrade.yml", **same), second])
    ran = fleet.play(named(*"abcdefgh", a={"fails_then": True}), {}, "site.yml")
    begun = ran.hosts("begin")[8:]
    assert sorted(ran.hosts("begin")[:8]) == list("abcdefgh") and len(begun) == 4 and "a" in begun
    assert sorted(ran.hosts("back")) == sorted(set(begun) - {"a"})


def test_what_a_play_says_is_asked_of_each_host(fleet: Fleet) -> None:
    said = {
        "fleet_exclusive": "{{ ha | default('') }}",
        "upgrade_serial": "100%",
        "upgrade_window": "{{ win | default('') }}",
        "fleet_time_zone": "UTC",
    }
    fleet.write("site.yml", [imported("A", "upgrade.yml", **said)])
    pair: Dict[str, Any] = {"ha": "db", "slow": True}
    hosts = {"a": {"win": "Mon 01:00-01:01"}, "db1": pair, "db2": pair, "c": {}}
    ran = fleet.play(hosts, {}, "site.yml")
    assert "4 hosts: 3 in 2 waves (2, 1), 1 to wait" in ran.text and "not begun: a: its maintenance" in ran.text
    assert [name for _word, name in ran.log if name.startswith("db")] == ["db1", "db1", "db2", "db2"]


def test_a_strategy_of_the_site(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are looked at together, whatever ansible.cfg has: the plan is of all of them."""
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    ran = fleet.play(named(*"abcd", c={"unfit": True}), {"upgrade_serial": "100%", "upgrade_max_failures": 1})
    assert ran.text.count("4 hosts: ") == 1 and sorted(ran.hosts("end")) == list("abd")


def test_canaries_that_have_to_wait(fleet: Fleet) -> None:
    """Nobody goes before them."""
    canary = {"fleet_canary": True, "upgrade_window": "Mon 01:00-01:01", "fleet_time_zone": "UTC"}
    ran = fleet.play(named(*"abc", b=canary))
    assert ran.status == 0 and ran.log == [] and "not begun: a, c: none of the canaries can be begun (b)" in ran.text


def test_check_mode_of_a_rollback_asks_the_roles(fleet: Fleet) -> None:
    """There was no look that could say what would be done."""
    ran = fleet.play(named(*"ab"), {}, "rollback.yml", more=["--check"])
    assert "Roll back" in ran.text and "included:" in ran.text


def test_check_mode_begins_nothing(fleet: Fleet) -> None:
    ran = fleet.play(named(*"ab"), more=["--check"])
    assert ran.status == 0 and "2 hosts: 2 in 2 waves (1, 1)" in ran.text and ran.log == []


def test_one_host_by_two_names(fleet: Fleet) -> None:
    ran = fleet.play(named("a", "b", a={"boot": "0x1"}, b={"boot": "0x1"}))
    assert ran.status == 2 and "a and b are one host" in ran.text and ran.log == []


def test_nobody_was_looked_at(fleet: Fleet) -> None:
    """With upgrade_preflight=false the waves are of all hosts; and a limit that leaves nobody is Ansible's to say."""
    ran = fleet.play(named(*"abc", b={"unfit": True}), more=["-e", "upgrade_preflight=false"])
    assert "3 hosts: 3 in 3 waves (1, 1, 1)" in ran.text and ran.hosts("begin") == list("abc")
    assert fleet.play(named(*"abc"), more=["-l", "a:&b"]).log == []


def test_rollback(fleet: Fleet) -> None:
    """All at once unless somebody says otherwise, and no window keeps anybody from going back."""
    said = {"upgrade_window": "Mon 01:00-01:01", "fleet_time_zone": "UTC", "upgrade_serial": 1}
    ran = fleet.play(named(*"abc"), said, "rollback.yml")
    assert ran.status == 0 and sorted(ran.hosts("back")) == list("abc") and "3 in 1 wave (3)" in ran.text
    ran = fleet.play(named(*"abc", a={"fails": True}, b={}), {"rollback_serial": 1}, "rollback.yml")
    assert ran.hosts("back") == ["a"] and ran.status == 2
