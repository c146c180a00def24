# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host: what it is told, whom it pulls when, what becomes of the sets, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from dataclasses import asdict, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT
from ansible_collections.nanozfs.fleet.plugins.module_utils._hours import parse
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import (
    config,
    dirvish,
    execute,
    gate,
    retention,
    root,
    rsnapshot,
    sets,
    state,
    transfer,
    when,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import REFUSED, WAITS, Vault
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import FAILED, OK
from ansible_collections.nanozfs.fleet.tests.unit.vault import NOW, Machine, said

HOUR, DAY = 3600, 86400


# what it is told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Vault"}, "name of this backup host"),
        ({"label": "../etc"}, "name of this backup host"),
        ({"root": "srv/backup"}, "backup_root"),
        ({"root": "/srv/a b"}, "backup_root"),
        ({"root": "/srv/../etc"}, "backup_root"),
        ({"root": "/"}, "backup_root"),
        ({"root": "/srv/x;rm"}, "backup_root"),
        ({"reserve": 91}, "between 0 and 90"),
        ({"reserve": True}, "whole number"),
        ({"lines": 0}, "between 1 and 64"),
        ({"format": 2}, "another format"),
        ({"hosts": []}, "no mapping"),
    ],
)
def test_what_cannot_be_is_refused(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        config.fleet_of({**said("/srv/backup", web_1={}), **change})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("web 1", {}, "name of a host"),
        ("-rf", {}, "name of a host"),
        ("..", {}, "name of a host"),
        ("a" * 65, {}, "name of a host"),
        ("web-1", {"address": "-oProxyCommand=sh"}, "ansible_host"),
        ("web-1", {"address": "a b"}, "ansible_host"),
        ("web-1", {"address": None}, "ansible_host"),
        ("web-1", {"port": 0}, "backup_port or ansible_port"),
        ("web-1", {"method": "tar"}, "backup_method"),
        ("web-1", {"retain": {"hourly": 1}}, "backup_retain"),
        ("web-1", {"retain": {"daily": 0, "weekly": 4}}, "one daily set"),
        ("web-1", {"retain": {"daily": 7, "monthly": 4}}, "none of those"),
        ("web-1", {"retain": {"daily": "many"}}, "whole number"),
        ("web-1", {"retain": {"daily": 1, "weekly": 4}}, "two daily ones"),
        ("web-1", {"window": "22-05"}, "window for backups"),
        ("web-1", {"zone": "../../etc/passwd"}, "time zone"),
        ("web-1", {"bandwidth": -1}, "whole number"),
        ("web-1", {"excludes": "var"}, "list of texts"),
        ("web-1", {"excludes": ["a\nb"]}, "no pattern"),
        ("web-1", {"excludes": [" "]}, "no pattern"),
        ("web-1", {"previous": ["web-1"]}, "that it has now"),
        ("web-1", {"previous": ["../web"]}, "name of a host"),
    ],
)
def test_hosts_that_cannot_be_are_refused(name: str, change: Mapping[str, Any], message: str) -> None:
    told = said("/srv/backup")
    told["hosts"] = {name: {"address": "192.0.2.1", "method": "rsnapshot", **change}}
    with pytest.raises(Refused, match=message):
        config.fleet_of(told)


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ({"web": {"previous": ["old"]}, "old": {}}, "there is a host of that name"),
        ({"web": {}, "Web": {}}, "told apart"),
        ({"a": {"previous": ["old"]}, "b": {"previous": ["older", "old"]}}, "a and b were both called old"),
    ],
)
def test_hosts_that_would_share_a_folder_are_refused(hosts: Dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        config.fleet_of(said("/srv/backup", **hosts))


def test_what_is_written_is_what_is_read(tmp_path: Any) -> None:
    told = said("/srv/backup", web_1={"port": "2222", "bandwidth": "100000", "excludes": ["/var/tmp/*"]})
    path = tmp_path / "fleet.json"
    path.write_text(config.dumped(told))
    host = config.load(str(path)).hosts["web-1"]
    assert (host.port, host.bandwidth, host.excludes) == (2222, 100000, ("/var/tmp/*",))
    assert host.retain == {"daily": 7, "weekly": 4, "monthly": 6}
    path.write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        config.load(str(path))
    with pytest.raises(Refused, match="not there"):
        config.load(str(tmp_path / "other"))


# when


def moment(text: str) -> float:
    """Seconds since the epoch of a time of day on 30 November (a Monday) or 1 December 2026, in UTC."""
    day, _blank, clock = text.partition(" ")
    hours, minutes = clock.split(":")
    midnight = NOW - 22 * HOUR - 1800
    return midnight + (DAY if day == "1" else 0) + int(hours) * HOUR + int(minutes) * 60


@pytest.mark.parametrize(
    ("window", "zone", "now", "begin", "end"),
    [
        ("22:00-05:00", "UTC", "30 22:30", "30 22:00", "1 05:00"),
        ("22:00-05:00", "UTC", "1 04:59", "30 22:00", "1 05:00"),
        ("22:00-05:00", "UTC", "1 05:00", None, None),
        ("22:00-05:00", "UTC", "30 21:59", None, None),
        ("Tue 22:00-05:00", "UTC", "30 22:30", None, None),
        ("Mon 22:00-05:00", "UTC", "1 04:00", "30 22:00", "1 05:00"),
        ("00:00-24:00", "UTC", "30 12:00", "30 00:00", "1 00:00"),
        ("22:00-05:00", "Europe/Berlin", "30 21:30", "30 21:00", "1 04:00"),
        ("", "UTC", "30 12:00", "30 00:00", "1 00:00"),
    ],
)
def test_the_window_that_is_open(window: str, zone: str, now: str, begin: Optional[str], end: Optional[str]) -> None:
    found = when.opening(parse(window) if window else None, zone, moment(now))
    assert found == (None if begin is None or end is None else when.Opening(moment(begin), moment(end)))


def test_a_night_with_an_hour_twice() -> None:
    """25 October 2026 in Berlin: from 22:00 to 05:00 are eight hours."""
    end = NOW - 22 * HOUR - 1800 - 36 * DAY + 4 * HOUR  # 04:00 UTC is 05:00 there
    found = when.opening(parse("22:00-05:00"), "Europe/Berlin", end - 60)
    assert found is not None
    assert found.end - found.begin == 8 * HOUR


def test_a_zone_that_is_none_is_refused_and_the_old_one_comes_back(monkeypatch: Any) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with pytest.raises(Refused, match="no time zone"):
        when.opening(None, "Mars/Olympus", NOW)
    when.opening(None, "UTC", NOW)
    assert os.environ["TZ"] == "Asia/Tokyo"


OPENED = when.Opening(NOW - 1800, NOW + 6 * HOUR)


@pytest.mark.parametrize(
    ("found", "good", "tried", "failures", "why"),
    [
        (None, None, None, 0, "closed"),
        (OPENED, None, None, 0, ""),
        (OPENED, NOW - DAY, NOW - DAY, 0, ""),
        (OPENED, NOW - 600, NOW - 600, 0, "has its set"),
        (OPENED, NOW + 2 * HOUR, NOW + 2 * HOUR, 0, ""),  # a clock was set back
        (OPENED, NOW + 60, NOW - 60, 0, "has its set"),
        (OPENED, None, NOW - 300, 1, "tried again 900 s"),
        (OPENED, None, NOW - 850, 1, ""),
        (OPENED, None, NOW - 900, 2, "tried again 1800 s"),
        (OPENED, None, NOW - 4 * HOUR, 60, ""),
        (OPENED, None, NOW - 3 * HOUR, 60, "tried again 14400 s"),
        (OPENED, None, NOW + DAY, 3, ""),  # tried in the future: a clock was set back
    ],
)
def test_who_waits(
    found: Optional[when.Opening], good: Optional[float], tried: Optional[float], failures: int, why: str
) -> None:
    said_why = when.waits(found, good, tried, failures, NOW)
    assert (why in said_why) if why else said_why == ""


# for how long


@pytest.mark.parametrize(
    ("taken", "order"),
    [
        ({}, ["daily"]),
        ({"daily.0": 100}, ["daily"]),
        ({"daily.2": 100}, ["weekly", "daily"]),
        ({"daily.2": 100, "weekly.0": 100 - 6}, ["daily"]),
        ({"daily.2": 100, "weekly.0": 100 - 7}, ["weekly", "daily"]),
        ({"daily.2": 100, "weekly.0": 100 - 7, "weekly.1": 86}, ["monthly", "weekly", "daily"]),
        ({"daily.2": 100, "weekly.0": 100 - 7, "weekly.1": 86, "monthly.0": 60}, ["weekly", "daily"]),
        ({"daily.2": 100, "weekly.0": 100 - 7, "weekly.1": 86, "monthly.0": 58}, ["monthly", "weekly", "daily"]),
        ({"daily.2": 100, "weekly.0": 200}, ["weekly", "daily"]),  # a clock was set back: nothing waits for its day
    ],
)
def test_what_is_rotated(taken: Dict[str, float], order: List[str]) -> None:
    days = {name: day * DAY for name, day in taken.items()}
    assert retention.rotations({"daily": 3, "weekly": 2, "monthly": 2}, days) == order


def test_no_weekly_sets_are_wanted() -> None:
    assert retention.rotations({"daily": 1, "weekly": 0, "monthly": 0}, {"daily.0": 0}) == ["daily"]


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        ([], "monthly"),
        ([("monthly", 99)], "daily"),
        ([("monthly", 93)], "weekly"),
        ([("monthly", 93), ("weekly", 95)], "daily"),
        ([("monthly", 72), ("weekly", 95)], "monthly"),
        ([("daily", 99), ("daily", 98)], "monthly"),
        ([("monthly", 3000)], "monthly"),  # a clock was set back
        ([("monthly", 3000), ("monthly", 99)], "daily"),
    ],
)
def test_of_which_kind_an_image_is(kept: List[Any], kind: str) -> None:
    retain = {"daily": 7, "weekly": 4, "monthly": 6}
    assert retention.kind_of(retain, [(what, day * DAY) for what, day in kept], 100 * DAY) == kind
    assert retention.days(retain, kind) == {"daily": 7, "weekly": 28, "monthly": 180}[kind]


# what is said to rsync, rsnapshot, dirvish and ssh


def test_rsnapshot_is_told_with_tabs_and_links_by_rename(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={"bandwidth": 1000000})
    text = rsnapshot.config(machine.fleet, machine.fleet.hosts["web-1"], machine.places, ["/srv/x"])
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert all(len(line) >= 2 and all(line) for line in lines)
    found = {line[0]: line[1:] for line in lines}
    assert (found["link_dest"], found["sync_first"], found["no_create_root"]) == (["1"], ["1"], ["1"])
    assert found["backup"] == ["root@web-1:/var/run/nanozfs/backup/vault/tree/", "tree/"]
    words = found["rsync_long_args"][0].split()
    assert "--bwlimit=976" in words and words[-1] == "--link-dest=/srv/x"
    assert "--inplace" not in words and "x" not in found["rsync_short_args"][0]
    assert "-o HostKeyAlias=web-1 -o" in found["ssh_args"][0]
    assert "StrictHostKeyChecking=yes" in found["ssh_args"][0]


def test_a_line_of_little_bandwidth_is_no_line_without_limit(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={"bandwidth": 1})
    assert "--bwlimit=1" in transfer.rsync_options(machine.fleet.hosts["web-1"], machine.places)
    machine = Machine(str(tmp_path / "b"), web_1={})
    assert not [
        each for each in transfer.rsync_options(machine.fleet.hosts["web-1"], machine.places) if "bwlimit" in each
    ]


def test_dirvish_is_told_without_comments_in_values(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={"method": "dirvish", "excludes": ["#a", "/b c"]})
    host = machine.fleet.hosts["web-1"]
    text = dirvish.vault(machine.fleet, host, machine.places)
    assert "#" not in text.partition("\n")[2]
    assert "\nclient: root@web-1\n" in text
    assert transfer.excludes_text(host) == "+ /nanozfs-host.json\n- #a\n- /b c\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (0, 0, 0)),
        ("Number of files: 1,234 (reg: 9)\nTotal file size: 5.678 bytes\n", (1234, 5678, 0)),
        # a file with such a name, before what rsync says itself
        ("Total bytes received: 9\nTotal bytes sent: 1\nTotal bytes received: 20\n", (0, 0, 21)),
        ("Number of files: " + "9" * 40, (int("9" * 18), 0, 0)),
    ],
)
def test_what_rsync_counts(text: str, found: Any) -> None:
    stats = transfer.parse_stats(text)
    assert (stats.files, stats.bytes, stats.sent) == found


@pytest.mark.parametrize(
    ("status", "errors", "late", "words"),
    [
        (
            "12",
            "rsync: connection unexpectedly closed\nrsync error: x (code 12)",
            False,
            "the line was cut (rsync 12: rsync: conn",
        ),
        ("11", 'rsync: write failed on "/x": No space left on device (28)', False, "the backup host is full"),
        ("", "", False, "did not come to its end"),
        ("", "", True, "its window closed"),
        ("77", "\x1b[31mred", False, "rsync ended with 77 (rsync 77: ?[31mred)".replace("rsync 77: ", "rsync 77: ")),
        ("1e3", "", False, "did not come to its end"),
    ],
)
def test_the_end_of_rsync_in_words(tmp_path: Any, status: str, errors: str, late: bool, words: str) -> None:
    (tmp_path / "status").write_text(status + "\n")
    (tmp_path / "errors").write_text(errors)
    assert words in transfer.words(transfer.result_in(str(tmp_path)), late)


def test_the_wrapper_keeps_what_rsync_says_and_is_rsync_otherwise(tmp_path: Any) -> None:
    fake, wrapper = tmp_path / "bin" / "rsync", tmp_path / "wrapper"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "out $1"; echo err >&2; exit 255\n')
    wrapper.write_text(transfer.WRAPPER)
    for path in (fake, wrapper):
        path.chmod(0o755)
    folder = tmp_path / "run"
    transfer.prepare(str(folder))
    more = {"PATH": str(fake.parent) + ":/usr/bin:/bin"}
    told = dict(more, NANOZFS_BACKUP_RUN=str(folder), NANOZFS_BACKUP_FAILED="23")
    done = subprocess.run([str(wrapper), "a b"], env=told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (23, "", "")
    assert transfer.result_in(str(folder)).code == 255
    assert (folder / "output").read_text() == "out a b\n"
    done = subprocess.run([str(wrapper), "a b"], env=more, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (255, "out a b\n", "err\n")


def test_the_wrapper_keeps_no_more_than_the_end_of_endless_words(tmp_path: Any) -> None:
    """A host can make rsync say what it likes, for as long as it likes."""
    fake, wrapper, folder = tmp_path / "rsync", tmp_path / "wrapper", tmp_path / "run"
    fake.write_text("#!/bin/sh\nhead -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end; echo last >&2\n")
    wrapper.write_text(transfer.WRAPPER)
    for path in (fake, wrapper):
        path.chmod(0o755)
    transfer.prepare(str(folder))
    told = {"PATH": str(tmp_path) + ":/usr/bin:/bin", "NANOZFS_BACKUP_RUN": str(folder), "NANOZFS_BACKUP_FAILED": "23"}
    assert subprocess.run([str(wrapper)], env=told, capture_output=True, check=False).returncode == 0
    for name, end in (("output", b"end\n"), ("errors", b"last\n")):
        assert (folder / name).read_bytes()[-6:].endswith(end) and (folder / name).stat().st_size == 65536
    assert transfer.result_in(str(folder)).code == 0


def test_an_address_with_a_scope_is_no_token_of_ssh(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={"address": "fe80::1%em0"})
    argv = transfer.ssh_argv(machine.fleet, machine.fleet.hosts["web-1"], machine.places)
    assert "HostName=fe80::1%%em0" in argv


# the gate


@pytest.mark.parametrize(
    ("rc", "out", "err", "kind", "message"),
    [
        (255, "", "Host key verification failed.\r\n", FleetError, "another one than it was"),
        (255, "", "root@web-1: Permission denied (publickey).", FleetError, "does not let this backup host in"),
        (255, "", "ssh: connect to host: No route to host", FleetError, "does not answer"),
        (3, "", "another pull is open\x1b[2J", Refused, r"refuses: another pull is open\?\[2J"),
        (1, "", "", FleetError, "ended with 1 at begin"),
        (0, "welcome to web-1", "", FleetError, "authorized_keys print: welcome to web-1"),
        (0, "[]", "", FleetError, "not what `nanozfs backup` says"),
        (0, '{"tag": "a b", "root": "/t", "begun": 1}', "", FleetError, "not what"),
        (0, '{"tag": "a", "root": "/t", "begun": "1"}', "", FleetError, "not what"),
        (0, '{"tag": "a", "root": "/etc", "begun": 1}', "", FleetError, "exposes /etc"),
        (0, '"' + "x" * (1 << 21) + '"', "", FleetError, "says too much"),
    ],
)
def test_a_host_that_does_not_answer_as_it_should(rc: int, out: str, err: str, kind: Any, message: str) -> None:
    found = gate.Gate("web-1", lambda _word, _stdin: (rc, out, err), "/t")
    with pytest.raises(kind, match=message) as caught:
        found.begin()
    assert "\x1b" not in str(caught.value)


def test_what_a_host_nests_is_bounded() -> None:
    with pytest.raises(FleetError, match="does not speak"):
        gate.Gate("web-1", lambda _word, _stdin: (0, "[" * 100000, ""), "/t").begin()


def test_what_a_host_says_is_bounded() -> None:
    answer = {
        "tag": "a",
        "root": "/t/",
        "begun": 5.5,
        "resumed": "yes",
        "notes": ["\x07" + "n" * 999, 7],
        "left_out": [{"dataset": "vol", "why": "a volume"}, "x"],
        "host": {"version": ["x"]},
    }
    tree = gate.tree_of(answer, "/t")
    assert (tree.begun, tree.resumed, tree.trial, tree.version, tree.root) == (5, False, False, "", "/t")
    assert tree.notes == ("?" + "n" * 299, "vol is left out: a volume")


# a run


def test_a_night_and_the_next(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={"method": "dirvish", "line": "site-b"})
    lines: List[str] = []
    outcomes = night(machine, lines)
    assert {each.host: each.result for each in outcomes} == {"web-1": OK, "web-2": OK}
    assert lines[0].startswith("web-1: 1234 files, 5.5 KiB, 100 bytes over the line, 0 s, as set 20261130T223000Z")
    assert {host: result["result"] for host, result in machine.ended} == {"web-1": "ok", "web-2": "ok"}
    assert machine.open == {}
    # in the same window nothing is due
    machine.now += HOUR
    assert [each.result for each in night(machine)] == [WAITS, WAITS]
    machine.now += DAY
    night(machine)
    names = [each.name for each in sets.sets_of(machine.fleet, "web-1")]
    assert names == ["daily.0", "daily.1"]
    newest, older = sets.sets_of(machine.fleet, "web-2")
    assert (newest.pull.kind, older.pull.kind) == ("daily", "monthly")
    call = next(each for each in reversed(machine.calls) if each[0] == "dirvish")
    assert call[call.index("--reference") + 1] == older.name and "--init" not in call
    assert call[call.index("--expire") + 1] == "+7 days"


def test_a_host_whose_clock_is_behind_is_pulled_once_a_night(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    machine.open["web-1"] = {"tag": "t", "begun": NOW - 5 * HOUR}
    assert [each.result for each in night(machine)] == [OK]
    machine.now += 900
    assert [each.result for each in night(machine)] == [WAITS]


def night(machine: Machine, lines: Optional[List[str]] = None, *names: str, now: bool = False) -> Any:
    """One run."""
    kept = [] if lines is None else lines
    vault = Vault(machine.fleet, machine.places, machine.run, machine.clock)
    outcomes = vault.run(names, now, lambda outcome: kept.append(outcome.line))
    kept.sort()
    return outcomes


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
def test_a_line_that_was_cut_goes_on_with_the_same_snapshot(tmp_path: Any, method: str) -> None:
    machine = Machine(str(tmp_path), web_1={"method": method})
    machine.files["web-1"] = {"cfg": "first", "half": "way"}
    machine.rsync["web-1"] = [12]
    lines: List[str] = []
    (outcome,) = night(machine, lines)
    assert outcome.result == FAILED
    assert "FAILED after 100 bytes: the line was cut (rsync 12" in lines[0] and "sets are as they were" in lines[0]
    assert machine.ended[-1][1]["keep"] is True and "web-1" in machine.open
    assert [each for each in sets.sets_of(machine.fleet, "web-1") if each.pull.result == OK] == []
    tag = machine.open["web-1"]["tag"]
    machine.now += 1200
    (outcome,) = night(machine)
    assert outcome.result == OK and "going on from the last try" in outcome.says
    (found,) = sets.sets_of(machine.fleet, "web-1")
    assert found.pull.tag == tag and found.pull.begun == NOW and machine.open == {}
    if method == "rsnapshot":  # what has come is linked to, and not written into: its files are those of older sets
        partial = "{0}/rsnapshot/web-1/.partial-20261130T223000Z".format(machine.root)
        assert machine.links["web-1"] == ["--link-dest={0}/tree".format(partial)]
        assert not os.path.exists(partial)
    if method == "dirvish":  # the image of the first try was linked to, and is gone
        with open(os.path.join(machine.places.run("web-1"), "dirvish.conf"), encoding="utf-8") as file:
            assert "--link-dest={0}/dirvish/web-1/20261130T223000Z/tree".format(machine.root) in file.read()


def test_what_another_snapshot_has_left_is_linked_to_and_never_written_into(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    night(machine)
    machine.now += DAY
    machine.rsync["web-1"] = [30]
    night(machine)
    machine.open.clear()  # the host was restarted
    machine.now += DAY
    night(machine)
    assert machine.links["web-1"] == [
        "--link-dest={0}/rsnapshot/web-1/.partial-20261201T223000Z/tree".format(machine.root)
    ]
    assert sorted(os.listdir(os.path.join(machine.root, "rsnapshot", "web-1"))) == ["daily.0", "daily.1"]


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
@pytest.mark.parametrize(
    ("code", "complaint", "result", "keep", "why"),
    [
        (23, "rsync: read errors mapping", "partial", False, "some files could not be read"),
        (11, "write failed: No space left on device (28)", "failed", False, "the backup host is full"),
        (255, "ssh: broken", "failed", True, "the line was cut"),
        (4, "ACLs are not supported", "failed", False, "cannot do what was asked"),
        (TIMED_OUT, "", "failed", True, "its window closed"),
    ],
)
def test_a_bad_set_is_never_taken_for_a_good_one(
    tmp_path: Any, method: str, code: int, complaint: str, result: str, keep: bool, why: str
) -> None:
    machine = Machine(str(tmp_path), web_1={"method": method})
    night(machine)
    before = sets.newest_good(machine.fleet, "web-1")
    machine.now += DAY
    machine.rsync["web-1"] = [code]
    machine.complaint = complaint
    (outcome,) = night(machine)
    assert outcome.result == result and why in outcome.says
    assert machine.ended[-1][1]["result"] == result and bool(machine.ended[-1][1].get("keep")) == keep
    assert sets.newest_good(machine.fleet, "web-1") == before
    known = state.read_known(machine.places.host_state("web-1"))
    assert known.failures == 1 and known.good is not None and known.good.begun == NOW
    if "full" in why:  # what has come is in the way of all others
        folder = os.path.join(machine.root, method, "web-1")
        assert not [name for name in os.listdir(folder) if name in (".sync", "20261201T223000Z")]


def test_what_was_found_while_a_host_was_pulled_is_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull takes hours; a virtual machine with the host fails meanwhile, and is not forgotten by it."""
    machine = Machine(str(tmp_path), web_1={})
    night(machine)
    machine.now += DAY
    path, tell = machine.places.host_state("web-1"), Vault._tell

    def meanwhile(vault: Vault, *arguments: Any) -> str:
        state.write_known(path, replace(state.read_known(path), machine={"result": FAILED, "at": 5}, looked=6))
        return tell(vault, *arguments)

    monkeypatch.setattr(Vault, "_tell", meanwhile)
    (outcome,) = night(machine)
    known = state.read_known(path)
    assert outcome.result == OK and known.good is not None and known.good.begun == NOW + DAY
    assert known.machine == {"result": FAILED, "at": 5} and known.looked == 6


def test_a_key_that_changed_stops_that_host_and_no_other(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={})
    machine.gate["web-1"] = (255, "Host key verification failed.")
    lines: List[str] = []
    outcomes = night(machine, lines)
    assert {each.host: each.result for each in outcomes} == {"web-1": FAILED, "web-2": OK}
    assert "ssh key of web-1 is another one" in lines[0] and "run backup.yml" in lines[0]
    known = state.read_known(machine.places.host_state("web-1"))
    assert known.failures == 1 and known.last is not None and "another one" in known.last.why
    with open(machine.places.log("web-1"), encoding="utf-8") as file:
        assert file.read().startswith("20261130T223000Z web-1: the ssh key")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(255, "no route"), (255, "no route")], ""),
        ([(255, "no route")] * 3, "the host could not be told"),
        ([(3, "that pull is gone")], "the host says otherwise (web-1 refuses: that pull is gone)"),
    ],
)
def test_the_host_is_told_again_and_the_set_is_good_all_the_same(tmp_path: Any, answers: List[Any], words: str) -> None:
    machine = Machine(str(tmp_path), web_1={})
    real, left = machine.run, list(answers)

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        if argv[-1] == "nanozfs-backup end" and left:
            rc, err = left.pop(0)
            return rc, "", err
        return real(argv, stdin, seconds, more)

    machine.run = run  # type: ignore[method-assign]
    (outcome,) = night(machine)
    assert outcome.result == OK and left == []
    assert words in outcome.says and bool(machine.ended) is (words == "")


def test_one_host_at_a_time_of_a_site(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={}, web_3={"line": "site-b"})
    busy: Dict[str, int] = {}
    most: Dict[str, int] = {}
    real = machine.run

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        site = "b" if "web-3" in " ".join(argv) else "a"
        busy[site] = busy.get(site, 0) + 1
        most[site] = max(most.get(site, 0), busy[site])
        try:
            return real(argv, stdin, seconds, more)
        finally:
            busy[site] -= 1

    machine.run = run  # type: ignore[method-assign]
    assert [each.result for each in night(machine)] == [OK, OK, OK]
    assert most == {"a": 1, "b": 1}
    name = "line-" + hashlib.sha256(b"site-a").hexdigest()[:16]
    with state.locked(machine.places.lock(name)) as free:
        assert free
        found = {each.host: each.says for each in night(machine, None, now=True)}
    assert "being pulled" in found["web-1"] and "files" in found["web-3"]


TAG = "nanozfs-backup-vault-{0}".format(NOW + DAY)


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
@pytest.mark.parametrize(
    ("rc", "answer", "keep", "why"),
    [
        (
            0,
            {"exposure": {"tag": TAG, "gone": "the snapshot of \x1bdb is not mounted any more"}},
            False,
            "of ?db is not",
        ),
        (0, {"exposure": {"tag": TAG}}, False, "does not say whether"),
        (0, {"exposure": {"tag": "another", "gone": ""}}, False, "does not show its snapshot"),
        (0, {"exposure": None}, False, "does not show its snapshot"),
        (0, [], False, "does not show its snapshot"),
        (255, None, True, "is not known"),
    ],
)
def test_what_was_gone_before_its_end_is_never_taken_in(
    tmp_path: Any, method: str, rc: int, answer: Any, keep: bool, why: str
) -> None:
    """Rsync takes what was unmounted under it for empty folders, and ends well."""
    machine = Machine(str(tmp_path), web_1={"method": method})
    night(machine)
    before = sets.newest_good(machine.fleet, "web-1")
    machine.now += DAY
    machine.lost["web-1"] = (rc, answer)
    (outcome,) = night(machine)
    assert outcome.result == FAILED and why in outcome.says
    assert bool(machine.ended[-1][1].get("keep")) is keep and machine.ended[-1][1]["result"] == "failed"
    assert sets.newest_good(machine.fleet, "web-1") == before
    machine.lost.clear()
    machine.now += HOUR
    assert [each.result for each in night(machine)] == [OK]
    assert len(sets.sets_of(machine.fleet, "web-1")) == 2


def test_a_host_that_does_not_say_is_asked_twice(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    real = machine.run
    asked: List[int] = []

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        if argv[-1] == "nanozfs-backup status":
            asked.append(1)
            if len(asked) == 1:
                return 3, "", "could not read properties below tank"
        return real(argv, stdin, seconds, more)

    machine.run = run  # type: ignore[method-assign]
    assert [each.result for each in night(machine)] == [OK] and len(asked) == 2


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
@pytest.mark.parametrize("apart", [-NOW, -DAY, -3600, 7 * DAY, 4000 * DAY])
def test_no_host_says_how_long_its_sets_are_kept(tmp_path: Any, method: str, apart: int) -> None:
    """One whose clock is wrong, or that lies, has one set a night all the same, and a weekly one when it is due."""
    machine = Machine(str(tmp_path), web_1={"method": method, "retain": {"daily": 2, "weekly": 2, "monthly": 0}})
    machine.apart = apart
    for evening in range(4):
        for _quarter in range(3):
            night(machine)
            machine.now += 900
        machine.now = NOW + (evening + 1) * DAY
    found = [each.pull.id for each in sets.sets_of(machine.fleet, "web-1")]
    assert len([call for call in machine.calls if call[-1] == "nanozfs-backup begin"]) == 4
    assert found[0] == "20261203T223000Z" and "20261130T223000Z" in found
    if method == "dirvish":
        kept = [call[call.index("--expire") + 1] for call in machine.calls if call[0] == "dirvish"]
        assert kept == ["+14 days", "+2 days", "+2 days", "+2 days"]
    else:
        assert len([call for call in machine.calls if call[-1] == "weekly"]) == 1


def test_a_host_is_pulled_once_at_a_time_whatever_its_site_is_now(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={"line": "site-b"})
    real = machine.run
    inner: List[Any] = []

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        if not inner and argv[-1] == "nanozfs-backup begin":
            inner.append(None)
            machine.told["hosts"]["web-1"]["line"] = "site-c"  # backup.yml was run meanwhile
            inner[:] = night(machine, None, "web-1", now=True)
        return real(argv, stdin, seconds, more)

    machine.run = run  # type: ignore[method-assign]
    (outcome,) = night(machine, None, "web-1")
    assert outcome.result == OK
    assert [(each.result, each.says) for each in inner] == [(WAITS, "waits: it is being pulled")]
    assert len(machine.ended) == 1


def test_one_that_could_not_be_begun_is_not_forgotten(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={})
    os.makedirs(machine.places.state)
    with open(os.path.join(machine.places.state, "locks"), "w", encoding="ascii"):
        pass
    outcomes = night(machine)
    assert [(each.host, each.result) for each in outcomes] == [("web-1", FAILED), ("web-2", FAILED)]
    assert "cannot be made" in outcomes[0].says


def test_what_is_unmounted_in_the_night_is_not_written_to(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={}, web_2={})
    real = machine.run

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        if argv[-1] == "nanozfs-backup end":
            shutil.rmtree(machine.root)
            os.makedirs(machine.root)
        return real(argv, stdin, seconds, more)

    machine.run = run  # type: ignore[method-assign]
    assert [each.result for each in night(machine)] == [OK, REFUSED]
    assert os.listdir(machine.root) == []


def test_no_room_no_pull(tmp_path: Any, monkeypatch: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    machine.told["reserve"] = 90
    real = os.statvfs(machine.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: real.__class__([4096, 4096, 1000, 100, 100, 0, 0, 0, 0, 255]))
    (outcome,) = night(machine)
    assert outcome.result == REFUSED and "the backup host is full: " in outcome.says and "90 %" in outcome.says
    assert machine.ended == [] and [call for call in machine.calls if "begin" in call[-1]] == []


@pytest.mark.parametrize(("sent", "expected"), [((), 0), ((900,), 0), ((5, 900), 5), ((900, 5), 5), ((7, 8, 9, 1), 7)])
def test_as_much_as_the_next_set_brings(sent: Sequence[int], expected: int) -> None:
    """A first set that was large is no measure of those that follow it, the newest of which comes first."""
    pull = state.Pull("20261130T220501Z", "web-1", 1, 2, OK, "rsnapshot")
    found = [sets.Set("x", replace(pull, sent=each)) for each in sent]
    failed = sets.Set("x", replace(pull, sent=1, result="failed"))
    assert root.expected([failed, *found]) == expected


def test_a_first_set_that_was_large_stops_no_other(tmp_path: Any, monkeypatch: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    large = state.Pull("20261129T220501Z", "web-1", 1, 2, OK, "rsnapshot", sent=1 << 40)
    folder = os.path.join(machine.root, "rsnapshot", "web-1", "daily.0")
    os.makedirs(os.path.join(folder, sets.TREE))
    state.write_json(os.path.join(folder, sets.RECORD), asdict(large))
    root.room(machine.fleet, "web-1")
    real = os.statvfs(machine.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: real.__class__([4096, 4096, 1000, 100, 0, 0, 0, 0, 0, 255]))
    root.room(machine.fleet, "web-1")
    machine.told["reserve"] = 1
    with pytest.raises(Refused, match="the backup host is full"):
        root.room(machine.fleet, "web-1")


def test_an_empty_mount_point_is_never_written_to(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    os.unlink(os.path.join(machine.root, sets.MARKER))
    with pytest.raises(Refused, match="mount its file system"):
        night(machine)
    assert os.listdir(machine.root) == []


@pytest.mark.parametrize(("whose", "fits"), [(b"vault\n", True), (b"", True), (b"vault-2\n", False), (b"\xff", False)])
def test_the_folder_of_another_backup_host(tmp_path: Any, whose: bytes, fits: bool) -> None:
    machine = Machine(str(tmp_path), web_1={})
    with open(os.path.join(machine.root, sets.MARKER), "wb") as file:
        file.write(whose)
    if fits:
        assert [each.result for each in night(machine)] == [OK]
        return
    with pytest.raises(Refused, match=r"of the backup host .*, and this one is vault"):
        night(machine)
    assert machine.calls == []


def test_nobody_of_that_name(tmp_path: Any) -> None:
    with pytest.raises(Refused, match="not among the hosts"):
        night(Machine(str(tmp_path), web_1={}), None, "web-9")


def test_a_set_that_was_not_rotated_in_is_by_the_next_run(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    machine.rotations = [1]
    (outcome,) = night(machine)
    assert outcome.result == FAILED and "was not taken in" in outcome.says
    assert machine.ended[-1][1]["result"] == "failed"
    machine.now += DAY
    assert [each.result for each in night(machine)] == [OK]
    assert [each.pull.id for each in sets.sets_of(machine.fleet, "web-1")] == ["20261201T223000Z", "20261130T223000Z"]


@pytest.mark.parametrize(("apart", "expired"), [(0, True), (-600, True), (40 * DAY, False), (-40 * DAY, False)])
def test_a_clock_that_jumped_expires_nothing(tmp_path: Any, apart: int, expired: bool) -> None:
    machine = Machine(str(tmp_path), web_1={"method": "dirvish"})
    machine.open["web-1"] = {"tag": "t", "begun": int(NOW + apart)}
    real = machine.run

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        rc, out, err = real(argv, stdin, seconds, more)
        return rc, out.replace('"resumed": true', '"resumed": false'), err

    machine.run = run  # type: ignore[method-assign]
    (outcome,) = night(machine)
    assert outcome.result == OK
    assert bool([call for call in machine.calls if call[0] == "dirvish-expire"]) is expired
    assert ("nothing was expired" in outcome.says) is not expired
    assert ("the clock of the host is" in outcome.says) is (apart != 0)


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
def test_a_host_that_is_called_otherwise_has_its_sets(tmp_path: Any, method: str) -> None:
    machine = Machine(str(tmp_path), old={"method": method})
    night(machine)
    machine.told = said(machine.root, new={"method": method, "previous": ["old", "older"]})
    machine.now += DAY
    (outcome,) = night(machine)
    assert outcome.result == OK and "the sets of old are its own now" in outcome.says
    assert [each.as_dict()["host"] for each in sets.sets_of(machine.fleet, "new")] == ["new", "new"]
    assert not os.path.exists(os.path.join(machine.root, method, "old"))
    if method == "dirvish":
        path = os.path.join(machine.root, method, "new", "20261130T223000Z", "summary")
        with open(path, encoding="utf-8") as file:
            assert "\nvault: new\n" in file.read()
    os.makedirs(os.path.join(machine.root, method, "older"))
    machine.now += DAY
    (outcome,) = night(machine)
    assert outcome.result == REFUSED and "sets of new and of older" in outcome.says


def test_another_method_is_linked_to_the_sets_of_the_one_before(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    night(machine)
    machine.told["hosts"]["web-1"]["method"] = "dirvish"
    machine.now += DAY
    assert [each.result for each in night(machine)] == [OK]
    with open(os.path.join(machine.places.run("web-1"), "dirvish.conf"), encoding="utf-8") as file:
        assert "--link-dest={0}/rsnapshot/web-1/daily.0/tree".format(machine.root) in file.read()
    assert [each.pull.method for each in sets.sets_of(machine.fleet, "web-1")] == ["dirvish", "rsnapshot"]


@pytest.mark.parametrize("method", ["rsnapshot", "dirvish"])
@pytest.mark.parametrize(
    ("pid", "ps", "result"),
    [
        ("own", (0, "/usr/bin/perl /usr/bin/{0} -x\n"), FAILED),
        ("own", (127, ""), FAILED),  # nobody can say what it is
        ("own", (0, "sshd: /usr/sbin/sshd -D\n"), OK),  # it has got the number after a power cut
        ("own", (1, ""), OK),
        ("", (1, ""), OK),
        ("999999999", (1, ""), OK),
    ],
)
def test_one_that_died_is_no_reason_to_stop_and_one_at_work_is(
    tmp_path: Any, method: str, pid: str, ps: Any, result: str
) -> None:
    machine = Machine(str(tmp_path), web_1={"method": method})
    machine.processes = (ps[0], ps[1].format(method))
    pid = pid.replace("own", str(os.getpid()))
    inner = os.path.join(machine.root, "dirvish", "web-1", "dirvish")
    lock = os.path.join(inner, "lock_file") if method == "dirvish" else machine.places.lock("web-1.rsnapshot")
    os.makedirs(os.path.dirname(lock))
    with open(lock, "w", encoding="ascii") as file:
        file.write(pid + "\n")
    (outcome,) = night(machine)
    assert outcome.result == result, outcome.says
    assert os.path.exists(lock) is (result == FAILED)
    if result == FAILED:
        assert "{0} is at work on this host already (process {1})".format(method, pid) in outcome.says
        assert sets.sets_of(machine.fleet, "web-1") == []


@pytest.mark.parametrize("text", ["{", "[]", '{"v": 2}', '{"v": 1, "failures": "x"}', '{"v": 1, "last": {"id": 7}}'])
def test_what_cannot_be_read_is_said(tmp_path: Any, text: str) -> None:
    machine = Machine(str(tmp_path), web_1={})
    path = machine.places.host_state("web-1")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    assert state.read_known(path).broken
    (outcome,) = night(machine)
    assert outcome.result == OK and "cannot be read" in outcome.says
    assert not state.read_known(path).broken


def test_what_is_no_set_is_none(tmp_path: Any) -> None:
    machine = Machine(str(tmp_path), web_1={})
    night(machine)
    folder = os.path.join(machine.root, "rsnapshot", "web-1")
    for name in ("daily.9", "daily.0.old", "mine"):
        shutil.copytree(os.path.join(folder, "daily.0"), os.path.join(folder, name))
    os.unlink(os.path.join(folder, "daily.9", sets.RECORD))
    assert [each.name for each in sets.sets_of(machine.fleet, "web-1")] == ["daily.0"]


@pytest.mark.parametrize(
    ("record", "stays"),
    [(None, False), ("{", True), ('{"result": 7}', True), ("[]", True)],
)
def test_an_image_whose_record_cannot_be_read_is_taken_away_by_nobody(
    tmp_path: Any, record: Optional[str], stays: bool
) -> None:
    machine = Machine(str(tmp_path), web_1={"method": "dirvish"})
    night(machine)
    image = os.path.join(machine.root, "dirvish", "web-1", "20261130T223000Z")
    os.unlink(os.path.join(image, sets.RECORD))
    if record is not None:
        with open(os.path.join(image, sets.RECORD), "w", encoding="ascii") as file:
            file.write(record)
    machine.now += DAY
    (outcome,) = night(machine)
    assert outcome.result == OK and os.path.isdir(image) is stays


# running for long


def test_a_family_is_ended_when_its_time_is_over() -> None:
    rc, _out, _err = execute.execute(["sh", "-c", "sleep 60 & sleep 60"], None, 0.2, {})
    assert rc == TIMED_OUT


def test_one_that_never_reads_its_input_is_ended_as_well() -> None:
    began = time.monotonic()
    assert execute.execute(["sleep", "60"], "x" * (1 << 20), 0.5, {})[0] == TIMED_OUT
    assert time.monotonic() - began < 30


def test_what_is_begun_while_a_run_is_asked_to_end_is_ended(monkeypatch: Any) -> None:
    asked = threading.Event()
    asked.set()
    monkeypatch.setattr(execute, "_stopped", asked)
    rc, _out, _err = execute.execute(["sh", "-c", "exec sleep 60"], None, 5, {"NANOZFS_BACKUP_RUN": "/"})
    assert rc == -signal.SIGTERM
    assert execute.execute(["true"], None, None, {})[0] == 0  # the hosts can still be told


def test_output_is_bounded_and_read_to_its_end() -> None:
    rc, out, err = execute.execute(["sh", "-c", "head -c 3000000 /dev/zero; echo e >&2; cat; exit 7"], "in", None, {})
    assert (rc, err, len(out)) == (7, "e\n", execute.KEPT)
    assert execute.execute(["no-such-program"], None, None, {})[0] == 127


# with the real rsnapshot, and an ssh that goes nowhere

SSH = """#!/bin/sh
# ssh OPTIONS HOST COMMAND: the command, here; its tree is another folder
while [ $# -gt 2 ] && [ "$1" != web-1 ]; do shift; done
shift
command=$(printf '%s' "$*" | sed 's|/var/run/nanozfs/backup/vault/tree/|{tree}/|')
exec sh -c "$command"
"""


@pytest.mark.skipif(shutil.which("rsnapshot") is None, reason="rsnapshot is not installed here")
def test_real_rsnapshot_keeps_older_sets_as_they_were(tmp_path: Any) -> None:
    """Names, links and holes come over; a file whose owner and mode change is another one in the new set only."""
    machine = Machine(str(tmp_path), web_1={"excludes": ["/skipped"]})
    tree = tmp_path / "tree"
    (tree / "skipped").mkdir(parents=True)
    names = [b"a\nb", b"quo'te\"", b"-rf", b"inva\xff\xfelid", b"sp ace"]
    for name in names:
        with open(os.path.join(os.fsencode(str(tree)), name), "wb") as hostile:
            hostile.write(name)
    os.link(str(tree / "-rf"), str(tree / "link"))
    with open(tree / "hole", "wb") as hole:
        hole.truncate(1 << 24)
    real = Places("Linux", str(tmp_path))
    for path, text in ((real.ssh, SSH.format(tree=tree)), (real.rsync, transfer.WRAPPER)):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as script:
            script.write(text)
        os.chmod(path, 0o755)
    host = machine.fleet.hosts["web-1"]
    os.makedirs(os.path.dirname(real.excludes("web-1")))
    with open(real.excludes("web-1"), "w", encoding="utf-8") as left_out:
        left_out.write(transfer.excludes_text(host))

    def run(argv: Any, stdin: Any, seconds: Any, more: Any) -> Any:
        here = argv[0] == real.ssh and argv[-1].startswith("nanozfs-backup")
        return (machine.run if here else execute.execute)(argv, stdin, seconds, more)

    vault = Vault(machine.fleet, real, run, machine.clock)
    (outcome,) = vault.run([], False, lambda _outcome: None)
    assert outcome.result == OK, outcome.says
    first = os.path.join(machine.root, "rsnapshot", "web-1", "daily.0", "tree")
    assert set(os.listdir(os.fsencode(first))) == {*names, b"link", b"hole"}
    assert os.stat(os.path.join(first, "link")).st_ino == os.stat(os.path.join(first, "-rf")).st_ino
    assert os.stat(os.path.join(first, "hole")).st_blocks < 64
    os.chmod(str(tree / "sp ace"), 0o600)
    machine.now += DAY
    (outcome,) = vault.run([], False, lambda _outcome: None)
    assert outcome.result == OK, outcome.says
    older, newer = (os.path.join(machine.root, "rsnapshot", "web-1", name, "tree") for name in ("daily.1", "daily.0"))
    modes = [stat.S_IMODE(os.stat(os.path.join(each, "sp ace")).st_mode) for each in (older, newer)]
    assert modes == [0o644, 0o600]
    assert os.stat(os.path.join(older, "hole")).st_ino == os.stat(os.path.join(newer, "hole")).st_ino
    with open(os.path.join(os.path.dirname(newer), sets.RECORD), encoding="utf-8") as record:
        assert json.load(record)["files"] == len(names) + 3  # link, hole, and the tree itself
    # a host that lies: cut after all had come, and then other modes in what it calls the same snapshot
    machine.now += DAY
    machine.lost["web-1"] = (255, None)
    (outcome,) = vault.run([], False, lambda _outcome: None)
    assert outcome.result == "failed", outcome.says
    machine.lost.clear()
    os.chmod(str(tree / "sp ace"), 0o4777)
    machine.now += HOUR
    (outcome,) = vault.run([], False, lambda _outcome: None)
    assert outcome.result == OK and "going on" in outcome.says
    folders = [os.path.join(machine.root, "rsnapshot", "web-1", name) for name in ("daily.2", "daily.1", "daily.0")]
    modes = [stat.S_IMODE(os.stat(os.path.join(each, "tree", "sp ace")).st_mode) for each in folders]
    assert modes == [0o644, 0o600, 0o4777]


def test_a_size_for_people() -> None:
    sizes = [0, 1023, 1024, 5 << 20, 3 << 30, 9 << 40]
    assert [root.shown_size(size) for size in sizes] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "9216.0 GiB",
    ]
