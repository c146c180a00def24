# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of a transaction and the form of the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine, transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, JournalStore
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.machine import Facts
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

OLD = ImageRef("a" * 64, "build-a", "1.0")
NEW = ImageRef("b" * 64, "build-b", "1.1")
OTHER = ImageRef("c" * 64, "build-c", "1.2")
STEP = Step("create", ("tank/x",))


def wish(running: ImageRef = OLD, target: ImageRef = NEW, **more: Any) -> Wish:
    return Wish("upgrade", running, target, **more)


def in_phase(phase: str, **more: Any) -> Journal:
    return Journal(phase=phase, count=1, txn="0001-bbbbbbbb-0000", kind="upgrade", source=OLD, target=NEW, **more)


def facts(phase: str, running: ImageRef, **more: Any) -> Facts:
    return Facts(phase, new_runs=running == NEW, **more)


def after(journal: Journal, event: str, **more: Any) -> Journal:
    """What an event makes of a journal, whatever the host is like, if the phase allows it."""
    row = next(each for each in machine.rows_for(event) if journal.phase in each.phases)
    return transaction.after(journal, row, **more)


def test_the_whole_way() -> None:
    journal = transaction.prepare(Journal(image=OLD), wish(timeout=300))
    assert journal.phase == "prepared" and str(journal.txn).startswith("0001-bbbbbbbb-")
    assert journal.snapshot == "nz-" + str(journal.txn)
    assert (journal.source, journal.target, journal.timeout) == (OLD, NEW, 300)
    journal = transaction.with_plans(after(journal, machine.WROTE), [], [STEP])
    journal = after(journal, machine.ARM)
    assert journal.phase == "armed" and journal.revert == (STEP,)
    journal = after(after(replace(journal, phase="trial"), machine.COMMIT), machine.FINISH)
    assert (journal.phase, journal.image, journal.fallback) == ("committed", NEW, OLD)
    assert journal.fallback_txn == journal.txn and journal.revert == () and journal.lease is None
    assert str(transaction.prepare(journal, wish(NEW, OTHER)).txn).startswith("0002-cccccccc-")


def test_when_it_came_to_its_phases(pooled: ModuleHost) -> None:
    """Noted by whoever writes the phase, once for each change, and for this transaction only."""
    now = [1000.0]
    store = JournalStore(Zfs(Runner(pooled.machine.execute)), "tank", lambda: now[0])

    def write(journal: Journal) -> None:
        now[0] += 10.9
        store.write(journal)

    write(in_phase("prepared"))
    write(in_phase("prepared", reason="x"))
    write(in_phase("written", fetched=4711))
    assert store.read().times == (("prepared", 1010), ("written", 1032)) and store.read().fetched == 4711
    assert store.read().as_dict()["times"][1] == {"phase": "written", "at": 1032}
    for _time in range(20):
        write(in_phase("armed"))
        write(in_phase("written"))
    assert len(store.read().times) == journals.MAX_TIMES and store.read().times[-1] == ("written", int(now[0]))
    write(replace(in_phase("prepared"), txn="0002-cccccccc-0000"))
    assert store.read().times == (("prepared", int(now[0])),)


def test_what_was_noted_of_another_transaction(pooled: ModuleHost) -> None:
    """A collection that knows of no times (1.0.0) began this transaction and wrote its phases in between."""
    zfs, now = Zfs(Runner(pooled.machine.execute)), [1000.0]
    store = JournalStore(zfs, "tank", lambda: now[0])
    store.write(in_phase("written", fetched=4711))
    known = {"nanozfs:txn": "0002-cccccccc-0000", "nanozfs:phase": "prepared"}
    zfs.set("tank/nanozfs", known)
    assert (store.read().times, store.read().fetched, store.read().txn) == ((), 0, "0002-cccccccc-0000")
    now[0] = 2000
    store.write(replace(store.read(), reason="x"))
    assert store.read().times == (), "when it came to this phase nobody has noted"
    store.write(replace(store.read(), phase="written", fetched=12))
    assert (store.read().times, store.read().fetched) == ((("written", 2000),), 12)
    zfs.set("tank/nanozfs", {"nanozfs:phase": "armed"})
    store.write(replace(store.read(), phase="trial"))
    assert [phase for phase, _at in store.read().times] == ["written", "trial"]


def test_times_that_make_no_sense_hinder_nothing() -> None:
    values = {
        "nanozfs:phase": "idle",
        "nanozfs:times": "x,prepared=1=2,=,written=9,odd=5,armed=-1,trial=²",
        "nanozfs:fetched": "much",
    }
    found = journals.parse(values)
    assert (found.times, found.fetched) == ((("written", 9),), 0)


def test_what_an_image_cost() -> None:
    journal = after(transaction.prepare(Journal(image=OLD, fetched=5), wish()), machine.WROTE, fetched=4711)
    assert journal.fetched == 4711 and after(journal, machine.ARM).fetched == 4711
    assert transaction.prepare(journal, wish(NEW, OTHER)).fetched == 0


def test_no_two_transactions_have_one_name() -> None:
    names = {transaction.prepare(Journal(), wish()).txn for _number in range(50)}
    assert len(names) > 45


@pytest.mark.parametrize(
    "phase, running, step",
    [
        ("idle", OLD, "prepare"),
        ("committed", OLD, "prepare"),
        ("reverted", OLD, "prepare"),
        ("committed", NEW, "done"),
        ("idle", NEW, "done"),
        ("prepared", OLD, "write"),
        ("written", OLD, "arm"),
        ("armed", OLD, "arm"),
        ("trial", NEW, "check"),
        ("committing", NEW, "check"),
        ("trial", OLD, "revert"),
        ("reverting", OLD, "revert"),
        ("reverting", NEW, "revert"),
        ("armed", NEW, "revert"),
    ],
)
def test_where_an_interrupted_play_goes_on(phase: str, running: ImageRef, step: str) -> None:
    assert transaction.next_step(in_phase(phase), facts(phase, running), wish(running)) == step


def test_armed_and_tried_goes_back() -> None:
    assert transaction.next_step(in_phase("armed"), facts("armed", OLD, touched=True), wish(OLD)) == "revert"


@pytest.mark.parametrize("phase", ["prepared", "written"])
def test_a_medium_that_was_replaced_meanwhile(phase: str) -> None:
    with pytest.raises(Refused, match="somebody replaced the OS medium") as refused:
        transaction.next_step(in_phase(phase), facts(phase, NEW), wish(NEW))
    assert "nanozfs.fleet.abandon" in str(refused.value)
    given_up = after(in_phase(phase), machine.ABANDON)
    assert transaction.next_step(given_up, facts("idle", NEW), wish(NEW)) == "done"


def test_a_second_transaction_is_refused() -> None:
    with pytest.raises(Refused, match=r"open on this host already: upgrade 0001-bbbbbbbb-0000 to 1.1 .* phase written"):
        transaction.next_step(in_phase("written"), facts("written", OLD), wish(OLD, OTHER))


def test_a_bad_image_is_refused_unless_asked_for() -> None:
    journal = Journal(bad=(NEW.id,), reason="it did not boot")
    with pytest.raises(Refused, match="taken back \\(it did not boot\\)"):
        transaction.next_step(journal, facts("idle", OLD), wish())
    assert transaction.prepare(journal, wish(allow_bad=True)).bad == ()


def test_giving_up_before_the_trial() -> None:
    for phase in ("prepared", "written", "armed"):
        given_up = after(in_phase(phase, revert=(STEP,), staged=True), machine.ABANDON)
        assert given_up.phase == "idle" and given_up.revert == () and phase in given_up.reason
        assert not given_up.staged


def test_only_what_the_host_found_puts_an_image_on_the_bad_list() -> None:
    row = next(row for row in machine.rows_for(machine.REVERT) if row.to == "reverting")
    trial = in_phase("trial", bad=("d" * 64,))
    found = transaction.after(trial, row, reason="the service died", bad=True)
    assert found.bad == (NEW.id, "d" * 64) and found.reason == "the service died"
    lost = transaction.after(trial, row, reason="the controller lost patience")
    assert lost.bad == ("d" * 64,) and lost.reason == "the controller lost patience"
    again = transaction.after(found, row, reason="again")
    assert again.reason == "the service died", "the first reason counts"


def test_the_bad_list_does_not_grow_for_ever() -> None:
    journal = Journal()
    for number in range(200):
        journal = journals.mark_bad(journal, ImageRef("{0:064x}".format(number), "b", "v"))
    assert len(journal.bad) == journals.MAX_BAD and journal.bad[0].endswith("c7")
    assert len(journals.render(journal)["nanozfs:bad"]) < 8192


def test_noting_what_runs() -> None:
    journal = transaction.record(Journal(), OLD)
    assert journal.image == OLD and transaction.record(journal, OLD) is journal
    assert transaction.record(replace(journal, revived="2026-11-24T22:00:00Z"), OLD) == journal
    after_upgrade = Journal(phase="committed", image=NEW, fallback=OLD, fallback_txn="0001-bbbbbbbb")
    swapped = transaction.record(after_upgrade, OLD)
    assert (swapped.image, swapped.fallback, swapped.fallback_txn) == (OLD, NEW, "0001-bbbbbbbb")
    third = transaction.record(after_upgrade, OTHER)
    assert (third.image, third.fallback, third.fallback_txn) == (OTHER, None, None)
    with pytest.raises(Refused, match="no earlier image"):
        transaction.rollback_target(third, OTHER)


def test_a_rollback_that_is_run_again_does_not_go_forward() -> None:
    upgraded = Journal(phase="committed", kind="upgrade", target=NEW, image=NEW, fallback=OLD)
    assert transaction.rollback_target(upgraded, NEW) == OLD
    rolled_back = Journal(phase="committed", kind="rollback", target=OLD, image=OLD, fallback=NEW)
    assert transaction.rollback_target(rolled_back, OLD) == OLD
    assert transaction.next_step(rolled_back, Facts("committed", new_runs=True), Wish("rollback", OLD, OLD)) == "done"


class TestForm:
    """What is on the pool."""

    def test_comes_back_as_it_was(self) -> None:
        journal = in_phase(
            "armed", image=OLD, fallback=OTHER, fallback_txn="x", timeout=5, reason="r", bad=("e" * 64,), revert=(STEP,)
        )
        assert journals.parse(journals.render(journal)) == journal
        assert journals.parse({}) == Journal()

    def test_ignores_what_it_does_not_know(self) -> None:
        values = dict(journals.render(Journal()), **{"nanozfs:future": "1", "org.example:phase": "x", "used": "1"})
        assert journals.parse(values) == Journal()

    @pytest.mark.parametrize(
        "key, value, said",
        [
            ("format", "2", "format 2"),
            ("phase", "dancing", "'dancing' as its phase, which makes no sense"),
            ("lease", "{}", "as its lease"),
            ("timeout", "soon", "as its timeout"),
            ("to", "zzz", "no image id"),
            ("revert.000", "format\tc:", "no step"),
        ],
    )
    def test_refuses_nonsense(self, key: str, value: str, said: str) -> None:
        with pytest.raises(FleetError, match=said):
            journals.parse(dict(journals.render(in_phase("armed")), **{"nanozfs:" + key: value}))

    def test_reasons_fit_into_one_line(self) -> None:
        values = journals.render(Journal(reason="a\nb\tc" + "x" * 5000))
        assert "\n" not in values["nanozfs:reason"] and "\t" not in values["nanozfs:reason"]
        assert len(values["nanozfs:reason"]) == 1000


def test_a_plan_of_too_many_steps_is_refused() -> None:
    """They are done in the order of their names, which have three digits."""
    steps = tuple(Step("create", ("tank/{0}".format(number),)) for number in range(1001))
    with pytest.raises(Refused, match="more than 1000 steps"):
        transaction.with_plans(Journal(phase="written"), (), steps)
    assert transaction.with_plans(Journal(phase="written"), (), steps[1:]).revert == steps[1:]
