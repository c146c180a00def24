# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of a transaction and the form of the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

OLD = ImageRef("a" * 64, "build-a", "1.0")
NEW = ImageRef("b" * 64, "build-b", "1.1")
OTHER = ImageRef("c" * 64, "build-c", "1.2")
STEP = Step("create", ("tank/x",))


def wish(running: ImageRef = OLD, target: ImageRef = NEW, **more: Any) -> Wish:
    return Wish("upgrade", running, target, **more)


def in_phase(phase: str, **more: Any) -> Journal:
    return Journal(phase=phase, count=1, txn="0001-bbbbbbbb", kind="upgrade", source=OLD, target=NEW, **more)


def test_the_whole_way() -> None:
    journal = transaction.prepare(Journal(image=OLD), wish(timeout=300))
    assert (journal.phase, journal.txn, journal.snapshot) == ("prepared", "0001-bbbbbbbb", "nz-0001-bbbbbbbb")
    assert (journal.source, journal.target, journal.timeout) == (OLD, NEW, 300)
    journal = transaction.arm(transaction.mark_written(journal), [], [STEP])
    assert journal.phase == "armed" and journal.revert == (STEP,)
    journal = transaction.commit(replace(journal, phase="trial"))
    assert (journal.phase, journal.image, journal.fallback) == ("committed", NEW, OLD)
    assert journal.fallback_txn == "0001-bbbbbbbb" and journal.revert == ()
    assert transaction.prepare(journal, wish(NEW, OTHER)).txn == "0002-cccccccc"


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
        ("armed", OLD, "boot"),
        ("trial", NEW, "check"),
        ("trial", OLD, "revert"),
        ("reverting", OLD, "revert"),
        ("reverting", NEW, "revert"),
        ("armed", NEW, "revert"),
    ],
)
def test_where_an_interrupted_play_goes_on(phase: str, running: ImageRef, step: str) -> None:
    assert transaction.next_step(in_phase(phase), wish(running)) == step


@pytest.mark.parametrize("phase", ["prepared", "written"])
def test_a_medium_that_was_replaced_meanwhile(phase: str) -> None:
    with pytest.raises(Refused, match="somebody replaced the OS medium") as refused:
        transaction.next_step(in_phase(phase), wish(NEW))
    assert "nanozfs.fleet.abandon" in str(refused.value)
    assert transaction.next_step(transaction.abandon(in_phase(phase)), wish(NEW)) == "done"


def test_steps_can_be_repeated() -> None:
    prepared = in_phase("prepared")
    assert transaction.prepare(prepared, wish()) is prepared
    written = in_phase("written")
    assert transaction.mark_written(written) is written
    committed = in_phase("committed")
    assert transaction.commit(committed) is committed
    reverting = in_phase("reverting")
    assert transaction.revert(reverting, "again") is reverting


def test_a_second_transaction_is_refused() -> None:
    with pytest.raises(Refused, match=r"open on this host already: upgrade 0001-bbbbbbbb to 1.1 .* phase written"):
        transaction.prepare(in_phase("written"), wish(OLD, OTHER))


def test_a_bad_image_is_refused_unless_asked_for() -> None:
    journal = Journal(bad=(NEW.id,), reason="it did not boot")
    with pytest.raises(Refused, match="taken back \\(it did not boot\\)"):
        transaction.next_step(journal, wish())
    assert transaction.prepare(journal, wish(allow_bad=True)).bad == ()


@pytest.mark.parametrize(
    "move, phase",
    [
        (transaction.mark_written, "armed"),
        (transaction.mark_written, "idle"),
        (transaction.commit, "armed"),
        (transaction.commit, "reverted"),
        (lambda journal: transaction.arm(journal, [], []), "prepared"),
        (lambda journal: transaction.revert(journal, "x"), "committed"),
        (transaction.abandon, "trial"),
        (transaction.abandon, "reverting"),
    ],
)
def test_steps_in_the_wrong_order_are_refused(move: Any, phase: str) -> None:
    with pytest.raises(Refused):
        move(in_phase(phase))


def test_giving_up_before_the_trial() -> None:
    for phase in ("prepared", "written", "armed"):
        given_up = transaction.abandon(in_phase(phase, revert=(STEP,)))
        assert given_up.phase == "idle" and given_up.revert == () and phase in given_up.reason
    idle = in_phase("committed")
    assert transaction.abandon(idle) is idle


def test_a_revert_puts_the_image_on_the_bad_list() -> None:
    journal = transaction.revert(in_phase("trial", bad=("d" * 64,)), "the service died")
    assert journal.bad == (NEW.id, "d" * 64) and journal.reason == "the service died"


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
    assert transaction.next_step(rolled_back, Wish("rollback", OLD, OLD)) == "done"


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
            ("phase", "dancing", "unknown phase"),
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
        transaction.arm(Journal(phase="written"), (), steps)
    assert transaction.arm(Journal(phase="written"), (), steps[1:]).phase == "armed"
