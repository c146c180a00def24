# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The OS medium of a host: its slices, which one runs, and how the boot code will choose among them.

Sources: gptboot(8) and ``stand/libsa/gpt.c`` (what bootme, bootonce and bootfailed mean), gpart(8),
``sys/geom/part/g_part_gpt.c`` (setting bootonce sets bootme too), boot0cfg(8), ``stand/i386/boot2/boot1.S`` (which
slice of an MBR boots), ``sys/geom/label/g_label.c`` (the names of its partitions).

Everything but :func:`read_medium` and :func:`apply` is pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import Geom, Mesh, Provider, read_mesh

RECOVERY = "nz-recovery"
SLICES = (RECOVERY, "nz-a", "nz-b")

#: what the medium remembers by itself (_upgrade/state.py)
STATE = "nz-state"
#: the pair, each with the other one
OTHER = {"nz-a": "nz-b", "nz-b": "nz-a"}

BOOTME = "bootme"
BOOTONCE = "bootonce"
BOOTFAILED = "bootfailed"
ACTIVE = "active"

GPT, MBR, BSD = "GPT", "MBR", "BSD"

#: the slices of an MBR have no labels: their numbers in the layout of docs/layout.md
MBR_INDEX = {1: RECOVERY, 2: "nz-a", 3: "nz-b"}
#: and that of nz-state
MBR_STATE = 4
#: the types of the four slices of such a medium
MBR_TYPES = {1: "165", 2: "165", 3: "165", 4: "218"}

#: the verb of an edit that concerns boot0 and no partition
DEFAULT = "default"

#: boot states that a slice can be asked to have
STATES = ("active", "trial", "inactive")


@dataclass(frozen=True)
class Slice:
    """One OS partition. ``size`` is in bytes; ``flags`` are its boot attributes.

    With an MBR it is partition ``a`` of a slice; ``index`` and ``flags`` are those of the slice.
    """

    label: str
    provider: str
    index: int
    size: int
    sectorsize: int
    flags: FrozenSet[str]

    @property
    def path(self) -> str:
        """The device node to use: the label where there is one, so that no other name of it is opened."""
        return "/dev/" + self.provider


@dataclass(frozen=True)
class Medium:
    """The disk that the host runs from, and its OS slices by label.

    ``state`` is the device node of nz-state, where there is one (``_upgrade/state.py``). ``default`` is the number of
    the slice that boot0 takes by itself; ``None`` for a GPT, and for another boot code.
    """

    disk: str
    scheme: str
    corrupt: bool
    pending: bool
    slices: Mapping[str, Slice]
    running: str
    duplicates: Tuple[str, ...] = ()
    state: Optional[str] = None
    default: Optional[int] = None

    @property
    def inactive(self) -> Optional[Slice]:
        """The slice of the pair that does not run; ``None`` when it is missing, or recovery runs and neither does."""
        return self.slices.get(OTHER.get(self.running, ""))

    def get(self, label: str) -> Slice:
        """A slice by its label.

        :raises Refused: when the medium has no such slice.
        """
        if label not in self.slices:
            raise Refused(
                "the OS medium {0} has no slice {1}; it has {2}".format(
                    self.disk, label, ", ".join(sorted(self.slices)) or "none"
                ),
                safe="nothing was changed",
                todo="write a medium with the layout of the collection (playbook build) or name one of its slices",
            )
        return self.slices[label]

    def on_trial(self) -> bool:
        """Whether this very boot is a trial that nobody has committed.

        gptboot leaves bootonce alone on the slice that it tries. With an MBR boot0's default is the other slice of the
        pair then, and the early hook has made that the active one again: see :func:`_mbr_edits`.
        """
        if self.scheme == MBR:
            return self.inactive is not None and self.default == self.inactive.index
        flags = self.slices[self.running].flags
        return BOOTONCE in flags and BOOTME not in flags

    def boots_again(self) -> bool:
        """Whether the boot code takes the running slice at the next start as well, and not as a trial that begins."""
        piece = self.slices[self.running]
        if self.scheme == MBR:  # active, and not boot0's default: the hook of one more trial sets it back
            return ACTIVE in piece.flags and self.default in (None, piece.index)
        return BOOTME in piece.flags and BOOTONCE not in piece.flags


def _scheme(table: Geom) -> str:
    return table.config.get("scheme", ("",))[0]


def _partition(mesh: Mesh, piece: Provider) -> Optional[Provider]:
    """Partition ``a`` of the BSD label in an MBR slice; without one boot2 does not boot the slice."""
    for table in mesh.tables():
        if table.name == piece.name and _scheme(table) == BSD:
            return next((each for each in table.provides if each.value("index") == "1"), None)
    return None


def _slices(table: Geom, mesh: Mesh) -> Dict[str, Slice]:
    gpt = _scheme(table) == GPT
    slices = {}
    for entry in table.provides:
        index = int(entry.value("index") or 0)
        label = entry.value("label") if gpt else MBR_INDEX.get(index, "")
        provider = entry if gpt else _partition(mesh, entry)
        if label not in SLICES or provider is None:
            continue
        labelled = mesh.find(("gpt/" if gpt else "label/") + label)
        if labelled is not None and mesh.base(labelled).name == provider.name:
            provider = labelled  # a label of glabel(8) is one sector shorter, and that sector must not be written
        slices[label] = Slice(
            label=label,
            provider=provider.name,
            index=index,
            size=provider.mediasize,
            sectorsize=provider.sectorsize,
            flags=frozenset(entry.config.get("attrib", ())),
        )
    return slices


def _state_device(table: Geom, mesh: Mesh) -> Optional[str]:
    """The device node of nz-state: by its label, if that one is of this table; the fourth slice of an MBR."""
    for provider in table.provides:
        if provider.value("label") == STATE:
            labelled = mesh.find("gpt/" + STATE)
            mine = labelled is not None and mesh.base(labelled).name == provider.name
            return "/dev/" + (labelled.name if labelled is not None and mine else provider.name)
        if _scheme(table) == MBR and provider.value("index") == str(MBR_STATE):
            return "/dev/" + provider.name
    return None


def _is_ours(table: Geom) -> bool:
    """Whether a table may be that of a medium of ours. That of a GPT is known by its labels."""
    types = {int(each.value("index") or 0): each.value("rawtype") for each in table.provides}
    return _scheme(table) == GPT or (_scheme(table) == MBR and types == MBR_TYPES)


def find_medium(mesh: Mesh, root: str) -> Medium:
    """The OS medium, found from the device that ``/`` is mounted from.

    :param root: as the first field of ``mount -p``, e.g. ``/dev/gpt/nz-a``.
    :raises Refused: when the host does not run from a slice of our layout.
    """
    unknown = "nothing was changed; this host is not one that the collection installed, or it runs from elsewhere"
    todo = "check with `mount -p` and `gpart show -l`; a host is installed with the playbook deploy"
    provider = mesh.find(root)
    if provider is None:
        raise Refused("/ is mounted from {0}, which is no disk partition".format(root), safe=unknown, todo=todo)
    table = mesh.table_of(provider)
    if table is None:
        raise Refused("{0} lies in no partition table".format(root), safe=unknown, todo=todo)
    slices = _slices(table, mesh)
    base = mesh.base(provider).name
    running = [each.label for each in slices.values() if _base(mesh, each) == base]
    if not running:
        raise Refused(
            "/ is mounted from {0}, which is none of the slices {1} of {2}".format(root, ", ".join(SLICES), table.name),
            safe=unknown,
            todo=todo,
        )
    duplicates = sorted(
        "{0} on {1}".format(label, other.name)
        for other in mesh.tables()
        if other is not table and _is_ours(other)
        for label in _slices(other, mesh)
    )
    return Medium(
        disk=table.name,
        scheme=_scheme(table),
        corrupt=table.config.get("state", ("",))[0] == "CORRUPT",
        pending=table.config.get("modified", ("",))[0] == "true",
        slices=slices,
        running=running[0],
        duplicates=tuple(duplicates),
        state=_state_device(table, mesh),
    )


def _base(mesh: Mesh, piece: Slice) -> str:
    provider = mesh.find(piece.provider)
    return mesh.base(provider).name if provider is not None else ""


def root_device(runner: Runner) -> str:
    """The device that ``/`` is mounted from, by ``mount -p``.

    :raises FleetError: when there is none.
    """
    for line in runner.ask(["mount", "-p"], "list the mounted file systems").lines():
        fields = line.split()
        if len(fields) > 1 and fields[1] == "/":
            return fields[0]
    raise FleetError("`mount -p` does not list /")


def boot0_default(runner: Runner, disk: str) -> Optional[int]:
    """The number of the slice that boot0 takes by itself, by ``boot0cfg -v``; ``None`` where there is no boot0.

    :raises CommandError: when it cannot be read.
    """
    result = runner.query(["boot0cfg", "-v", disk])
    if result.rc != 0 and "unknown or incompatible boot code" in result.err:
        return None
    for line in result.lines():
        match = re.match(r"default_selection=F(\d) ", line)
        if match:
            return int(match.group(1))
    raise unexpected(result, "read the settings of boot0 on {0}".format(disk))


def read_medium(runner: Runner) -> Medium:
    """The OS medium of the host as it is now.

    :raises Refused: see :func:`find_medium`.
    """
    medium = find_medium(read_mesh(runner), root_device(runner))
    if medium.scheme == MBR:
        return replace(medium, default=boot0_default(runner, medium.disk))
    return medium


def recover(runner: Runner, medium: Medium) -> bool:
    """Write both copies of a partition table anew, at their places, where one is damaged or misplaced.

    A medium that was written to a disk larger than its image has its second copy in the middle (transcript
    ``gpart-gpt/155-…``); what the partitions hold is not touched.

    :returns: whether that was needed.
    """
    if not medium.corrupt:
        return False
    runner.change(
        ["gpart", "recover", medium.disk],
        "recover the partition table of {0}".format(medium.disk),
        safe="the host still boots from the good copy of the table",
    )
    return True


class Edit(NamedTuple):
    """One change of a boot attribute: ``gpart set|unset -a <attribute> -i <index> <disk>``.

    With the verb :data:`DEFAULT` it is that of boot0's default: ``boot0cfg -s <index> <disk>``.
    """

    verb: str
    attribute: str
    part: int


def edits(medium: Medium, label: str, state: str) -> List[Edit]:
    """The attribute changes that give a slice the wanted boot state; an empty list when it has it.

    ``active``: it boots from now on and no other slice does. ``trial``: it boots once; without a commit the boot
    after that is the present slice again (GPT; on MBR it is the same as active, because MBR has no one-shot).
    ``inactive``: it does not boot; an MBR has one active slice always, so there the present slice becomes that.

    :raises Refused: when the change would leave the host without a way back, or the table cannot be trusted.
    """
    target = medium.get(label)
    refuse_doubtful_table(medium)
    return _mbr_edits(medium, target, state) if medium.scheme == MBR else _gpt_edits(medium, target, state)


def refuse_doubtful_table(medium: Medium) -> None:
    """Refuse to change a table that gpart will not change, or that somebody else is changing.

    :raises Refused: with what to do about it.
    """
    if medium.corrupt:
        raise Refused(
            "the partition table of {0} is CORRUPT (one of its two copies is damaged or misplaced), and gpart "
            "refuses to change it".format(medium.disk),
            safe="nothing was changed; the host still boots from the good copy",
            todo="run this with recover=true, or `gpart recover {0}` on the host; so it is after a medium was written "
            "to a disk that is larger than its image".format(medium.disk),
        )
    if medium.pending:
        raise Refused(
            "somebody left uncommitted changes in the partition table of {0}".format(medium.disk),
            safe="nothing was changed",
            todo="look with `gpart show -l {0}`, then run `gpart undo {0}` or `gpart commit {0}`".format(medium.disk),
        )


def _gpt_edits(medium: Medium, target: Slice, state: str) -> List[Edit]:
    running = medium.slices[medium.running]
    changes: List[Edit] = []

    def want(piece: Slice, flags: Sequence[str]) -> None:
        for flag in (BOOTFAILED, BOOTONCE, BOOTME):
            if flag in piece.flags and flag not in flags:
                changes.append(Edit("unset", flag, piece.index))
        if BOOTONCE in flags and not piece.flags >= {BOOTONCE, BOOTME}:
            changes.append(Edit("set", BOOTONCE, piece.index))  # the kernel sets bootme with it
        elif BOOTME in flags and BOOTME not in piece.flags:
            changes.append(Edit("set", BOOTME, piece.index))

    if state == "trial":
        if target.label == running.label:
            raise Refused(
                "{0} is the running slice and cannot be put on trial".format(target.label), safe="nothing was changed"
            )
        if BOOTME not in running.flags and running.label != RECOVERY:
            raise Refused(
                "the running slice {0} is itself not committed (its flags: {1}); a failed trial of {2} would have "
                "nothing to fall back on".format(
                    running.label, ", ".join(sorted(running.flags)) or "none", target.label
                ),
                safe="nothing was changed",
                todo="commit the running slice first (playbook commit), or reboot to let it revert",
            )
        want(target, (BOOTONCE, BOOTME))
        for piece in medium.slices.values():
            if piece.label not in (target.label, running.label) and piece.flags >= {BOOTONCE, BOOTME}:
                want(piece, ())  # gptboot would try it first if its index is lower
    elif state == "active":
        want(target, (BOOTME,))
        for piece in medium.slices.values():
            if piece.label != target.label and piece.flags & {BOOTME, BOOTONCE}:
                want(piece, (BOOTFAILED,) if BOOTFAILED in piece.flags else ())
    else:
        if target.label == running.label:
            raise Refused(
                "{0} is the running slice; without boot flags the next boot would be the recovery slice".format(
                    target.label
                ),
                safe="nothing was changed",
                todo="make the other slice active instead",
            )
        if BOOTME in target.flags and BOOTME not in running.flags and running.label != RECOVERY:
            raise Refused(
                "the running slice {0} is not committed (its flags: {1}); {2} is its way back and must stay "
                "bootable".format(running.label, ", ".join(sorted(running.flags)) or "none", target.label),
                safe="nothing was changed",
                todo="commit the running slice (playbook commit), or reboot to let it revert",
            )
        want(target, ())
    return changes


def _mbr_edits(medium: Medium, target: Slice, state: str) -> List[Edit]:
    """Edits for an MBR, which has two places to say which slice boots.

    boot1 boots the active slice, whichever boot0 chose. So boot0's default can say which slice is committed:

    ========== ======= ========== =======
    a host is  active  default    running
    ========== ======= ========== =======
    normal     A       A          A
    armed      B       A          A
    on trial   A       A          B
    committed  B       B          B
    ========== ======= ========== =======

    An early hook that finds another slice active than the default is on trial, and makes the default active at once.
    The two are two writes; the order of them is such that a power cut between leads to one more trial, of the slice
    that ran.
    """
    running = medium.slices[medium.running]
    activate = [] if ACTIVE in target.flags else [Edit("set", ACTIVE, target.index)]
    if state == "active":
        default = [] if medium.default in (None, target.index) else [Edit(DEFAULT, "boot0", target.index)]
        return activate + default if target.label == running.label else default + activate
    if target.label == running.label:
        raise Refused(
            "{0} is the running slice and cannot be put on trial".format(target.label)
            if state == "trial"
            else "{0} is the running slice; MBR always has one active slice".format(target.label),
            safe="nothing was changed",
            todo="make the other slice active instead" if state == "inactive" else None,
        )
    if medium.on_trial() and (state == "trial" or not activate):
        raise Refused(
            "the running slice {0} is itself on trial, and {1} is its way back".format(running.label, target.label),
            safe="nothing was changed",
            todo="commit the running slice (playbook commit), or reboot to let it revert",
        )
    if state == "inactive":
        return [] if activate else _mbr_edits(medium, running, "active")
    if medium.default != running.index:
        raise Refused(
            "the default of boot0 on {0} is {1} and not the running slice {2}: the new system would not know which "
            "one to go back to".format(
                medium.disk,
                "not there" if medium.default is None else "slice {0}".format(medium.default),
                running.label,
            ),
            safe="nothing was changed",
            todo="make the running slice active (gpart_slice with slice=running and state=active); a medium with "
            "another boot manager than boot0 must be replaced",
        )
    return activate


def flags_after(medium: Medium, changes: Sequence[Edit]) -> Dict[str, List[str]]:
    """The flags of every slice, by label, as they will be after the changes."""
    after = {piece.index: set(piece.flags) for piece in medium.slices.values()}
    for change in changes:
        if change.verb == DEFAULT:
            continue
        if change.verb == "unset":
            after[change.part].discard(change.attribute)
            continue
        if change.attribute == ACTIVE:
            for flags in after.values():
                flags.discard(ACTIVE)
        after[change.part].add(change.attribute)
        if change.attribute == BOOTONCE:
            after[change.part].add(BOOTME)
    return {piece.label: sorted(after[piece.index]) for piece in medium.slices.values()}


def apply(runner: Runner, medium: Medium, changes: Sequence[Edit]) -> None:
    """Make the changes of :func:`edits` on the disk.

    Several changes to a GPT go to the disk as one: ``gpart`` collects them (``-f x``) and ``gpart commit`` writes
    the table once, so that a power cut finds either the old flags or the new ones.

    :raises CommandError: when gpart fails; the collected changes are undone then.
    """
    together = medium.scheme == GPT and len(changes) > 1
    safe = "the boot flags on {0} are as they were".format(medium.disk)
    for change in changes:
        argv = ["gpart", change.verb, "-a", change.attribute, "-i", str(change.part)]
        if change.verb == DEFAULT:
            argv = ["boot0cfg", "-s", str(change.part)]
        result = runner.attempt(argv + (["-f", "x"] if together else []) + [medium.disk])
        if result.rc != 0:
            if together:
                runner.query(["gpart", "undo", medium.disk])
            raise unexpected(result, "change the boot flags of {0}".format(medium.disk), safe=safe)
        if medium.scheme == MBR:
            safe = "the host still boots, at the worst one more trial of the slice that runs"
    if together:
        result = runner.attempt(["gpart", "commit", medium.disk])
        if result.rc != 0:
            runner.query(["gpart", "undo", medium.disk])
            raise unexpected(result, "write the boot flags of {0}".format(medium.disk), safe=safe)


def pick(medium: Medium, wanted: str) -> str:
    """The label of the slice that is meant: a label, ``running`` or ``inactive``.

    :raises Refused: when recovery runs and ``inactive`` could be either slice of the pair, or when it is missing.
    """
    if wanted == "running":
        return medium.running
    if wanted == "inactive":
        if medium.running not in OTHER:
            raise Refused(
                "{0} runs, so neither slice of the pair is the inactive one".format(medium.running),
                safe="nothing was changed",
                todo="name the slice, nz-a or nz-b",
            )
        return medium.get(OTHER[medium.running]).label
    return wanted
