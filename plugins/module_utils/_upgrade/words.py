# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What to say of a transaction: what it would do, and after a failure what happened, what is safe, what to do next.

Only what the host knows. Where data is after a failure is asked for, never assumed.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import Trusted
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import KEEP
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

_MIB = 1048576.0

#: what a play comes to
COMMITTED, REVERTED, ON_TRIAL, NOT_BEGUN, OPEN = "committed", "reverted", "on trial", "not begun", "unknown"


def size(number: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return "{0:.{1}f} {2}".format(number, 0 if unit == "B" else 1, unit)
        number /= 1000.0
    return "{0:.1f} TB".format(number)


def upgrade_would(
    step: str,
    here: Situation,
    running: ImageRef,
    trusted: Trusted,
    label: str,
    differs: Optional[Mapping[str, Any]],
) -> str:
    """What an upgrade would do."""
    manifest = trusted.manifest
    if step == transaction.DONE:
        return "{0} runs already; nothing to do".format(manifest.describe())
    if step == transaction.PREPARE:
        ahead = here.journal.target.version if here.journal.is_open and here.journal.target else ""
        return "from {0} to {1}, signed by {2}; {3}{4}".format(
            running.version,
            manifest.version,
            trusted.signer,
            _change(differs or {}, label, manifest.size),
            "; {0}, which was only written ahead, is given up".format(ahead) if ahead else "",
        )
    return _goes_on(here.journal, step)


def _change(differs: Mapping[str, Any], label: str, total: int) -> str:
    if not differs.get("finished", True):
        progress = differs.get("progress") or {}
        return "an earlier play's write goes on ({0} %)".format(progress.get("percent", 0))
    text = "{0:.1f} of {1:.1f} MiB of {2} differ; ".format(differs.get("written", 0) / _MIB, total / _MIB, label)
    predicted = differs.get("predicted")
    if not predicted:
        return text + "nothing has to be fetched"
    relay = ", from the relay {0}".format(predicted["relay"]) if predicted.get("relay") else ""
    return text + "{0} to fetch: {1}, {2} s at {3:.1f} Mbit/s{4}".format(
        size(predicted["bytes"]), predicted["source"], predicted["seconds"], predicted["line_rate"] / 125000.0, relay
    )


def _goes_on(journal: Journal, step: str) -> str:
    return "goes on with {0} {1}, which is in phase {2}; next: {3}".format(
        journal.kind, journal.txn, journal.phase, step
    )


def rollback_would(step: str, here: Situation, running: ImageRef, wish: Wish) -> str:
    """What a rollback would do."""
    if step == transaction.DONE:
        return "{0} runs already; nothing to do".format(wish.target.version)
    if step != transaction.PREPARE:
        return _goes_on(here.journal, step)
    restore = wish.data == journals.RESTORE_DATA
    return "from {0} back to {1}; configuration and data {2}".format(
        running.version, wish.target.version, "go back as well" if restore else "stay as they are now"
    )


def given_up(before: Journal, here: Situation) -> str:
    """What became of a transaction that was given up.

    :param before: the journal before that.
    """
    text = "the {0} to {1} was given up in phase {2}; the host runs {3}".format(
        before.kind, _image(before.target), before.phase, here.image.version
    )
    return text + (", and the configuration that was made for it is thrown away" if before.staged else " as before")


class Story(NamedTuple):
    """How a play has ended for a host.

    :param result: one of the words above.
    """

    result: str
    what: str
    safe: str
    todo: str

    def as_dict(self) -> Dict[str, str]:
        """For module results."""
        return dict(self._asdict())


def _image(image: Optional[ImageRef]) -> str:
    return image.version if image else "an unknown image"


def _aside(here: Situation) -> List[str]:
    """What a transaction that was taken back has left, by the names of datasets that are there."""
    top = "{0}/failed/{1}".format(here.root, here.journal.txn)
    return [name for name in (top, top + "-undone") if here.zfs.dataset(name) is not None]


def _kept(zfs: Zfs, root: str) -> List[str]:
    """The datasets that stay as they are when the others go back: what the failed system wrote there is still there."""
    return [
        each.name for each in zfs.datasets(root) if each.policy == KEEP and not each.name.startswith(root + "/failed")
    ]


def _left(here: Situation) -> str:
    """Where the data of before and after is now."""
    journal, aside, kept = here.journal, _aside(here), _kept(here.zfs, here.root)
    if not aside:
        return "the new system never touched the data, which is as it was"
    where = aside[-1]
    if journal.data == journals.RESTORE_DATA:
        text = (
            "the data of now is in its place again; what the older system made of the restored data is kept in " + where
        )
    else:
        text = (
            "configuration and data are as they were before the trial; what the failed system left is kept in " + where
        )
    logs = [name for name in kept if name.endswith("/log")] or kept
    if logs:
        text += "; {0} was kept as it is, with what was logged during the trial".format(", ".join(logs))
    return text


def story(here: Situation, running: Optional[ImageRef] = None) -> Story:
    """How it stands with the transaction, for the end of a play.

    :param running: what runs, where that was found out bit by bit.
    """
    journal = here.journal
    kind = journal.kind or "transaction"
    version = running.version if running else here.image.version
    rollback = journal.kind == journals.ROLLBACK
    if journal.phase == journals.COMMITTED:
        return Story(
            COMMITTED,
            "{0} runs from {1}".format(version, here.medium.running),
            "{0} stays in {1} as the way back".format(
                _image(journal.fallback), here.medium.inactive.label if here.medium.inactive else "no slice"
            ),
            "",
        )
    if journal.phase in (journals.TRIAL, journals.COMMITTING) and here.runs_target:
        return Story(
            ON_TRIAL,
            "{0} is on trial".format(version),
            "it goes back by itself {0} seconds after its start, unless it is kept".format(journal.timeout),
            "keep it with `ansible-playbook nanozfs.fleet.commit`",
        )
    if journal.phase == journals.REVERTED:
        bad = journal.target is not None and journal.target.id in journal.bad
        if rollback:
            todo = (
                "stay with {0}, or upgrade to the version that you want: its seq decides whether that is "
                "allowed".format(version)
            )
        else:
            todo = "look why in the logs, mend the image and publish it under a new version" + (
                "; this one is on the host's list of bad images" if bad else "; this one may be tried again"
            )
        return Story(
            REVERTED,
            "the {0} to {1} was taken back: {2}".format(
                kind, _image(journal.target), journal.reason or "no reason known"
            ),
            "the host is back on {0} ({1}); {2}".format(version, here.medium.running, _left(here)),
            todo,
        )
    if journal.phase in (journals.PREPARED, journals.WRITTEN, journals.ARMED) and not here.runs_target:
        return Story(
            NOT_BEGUN,
            "the trial of {0} has not begun".format(_image(journal.target)),
            "the host runs {0} as before, configuration and data were not touched, and its next start is {0} "
            "again".format(version),
            "run the play again, which goes on from here; or give it up with the playbook abandon",
        )
    return Story(
        OPEN,
        "the host runs {0}, and {1} {2} is in phase {3}".format(version, kind, journal.txn, journal.phase),
        "nothing was lost: the snapshot of before is held",
        "look at the host with the playbook status, then run this play again. If the old system is gone for good, end "
        "the transaction with the playbook abandon: the host then stays as it is",
    )
