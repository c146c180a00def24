# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OS medium of a host: its slices, which one runs, and how the boot code will choose among them.

Sources: gptboot(8) and ``stand/libsa/gpt.c`` (what bootme, bootonce and bootfailed mean), gpart(8),
``sys/geom/part/g_part_gpt.c`` (setting bootonce sets bootme too), boot0cfg(8).

Everything but :func:`read_medium` and :func:`apply` is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._geom import Geom, Mesh, read_mesh

RECOVERY = "nz-recovery"
SLICES = (RECOVERY, "nz-a", "nz-b")

#: what the medium remembers by itself (_state.py)
STATE = "nz-state"
#: the pair, each with the other one
OTHER = {"nz-a": "nz-b", "nz-b": "nz-a"}

BOOTME = "bootme"
BOOTONCE = "bootonce"
BOOTFAILED = "bootfailed"
ACTIVE = "active"

#: MBR has no labels: the slice numbers of the layout in docs/layout.md
MBR_INDEX = {1: RECOVERY, 2: "nz-a", 3: "nz-b"}

#: boot states that a slice can be asked to have
STATES = ("active", "trial", "inactive")


@dataclass(frozen=True)
class Slice:
    """One OS partition. ``size`` is in bytes; ``flags`` are its boot attributes."""

    label: str
    provider: str
    index: int
    size: int
    sectorsize: int
    flags: FrozenSet[str]

    @property
    def path(self) -> str:
        """The device node to use: the GPT label where there is one, so that no other name of it is opened."""
        return "/dev/" + self.provider


@dataclass(frozen=True)
class Medium:
    """The disk that the host runs from, and its OS slices by label.

    ``state`` is the device node of nz-state, where there is one (``_state.py``).
    """

    disk: str
    scheme: str
    corrupt: bool
    pending: bool
    slices: Mapping[str, Slice]
    running: str
    duplicates: Tuple[str, ...] = ()
    state: Optional[str] = None

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
        """Whether this very boot is a trial: gptboot leaves bootonce alone on the slice that it tries."""
        flags = self.slices[self.running].flags
        return BOOTONCE in flags and BOOTME not in flags


def _slices(table: Geom, mesh: Mesh) -> Dict[str, Slice]:
    scheme = table.config.get("scheme", ("",))[0]
    slices = {}
    for provider in table.provides:
        index = int(provider.value("index") or 0)
        label = provider.value("label") if scheme == "GPT" else MBR_INDEX.get(index, "")
        if label not in SLICES:
            continue
        name = provider.name
        labelled = mesh.find("gpt/" + label) if scheme == "GPT" else None
        if labelled is not None and mesh.base(labelled).name == provider.name:
            name = labelled.name
        slices[label] = Slice(
            label=label,
            provider=name,
            index=index,
            size=provider.mediasize,
            sectorsize=provider.sectorsize,
            flags=frozenset(provider.config.get("attrib", ())),
        )
    return slices


def _state_device(table: Geom, mesh: Mesh) -> Optional[str]:
    """The device node of nz-state: by its label, if that one is of this table."""
    for provider in table.provides:
        if provider.value("label") == STATE:
            labelled = mesh.find("gpt/" + STATE)
            mine = labelled is not None and mesh.base(labelled).name == provider.name
            return "/dev/" + (labelled.name if labelled is not None and mine else provider.name)
    return None


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
    running = [each.label for each in slices.values() if base in _family(mesh, each)]
    if not running:
        raise Refused(
            "/ is mounted from {0}, which is none of the slices {1} of {2}".format(root, ", ".join(SLICES), table.name),
            safe=unknown,
            todo=todo,
        )
    duplicates = sorted(
        "{0} on {1}".format(label, other.name)
        for other in mesh.tables()
        if other is not table and other.config.get("scheme", ("",))[0] == "GPT"
        for label in _slices(other, mesh)
    )
    return Medium(
        disk=table.name,
        scheme=table.config.get("scheme", ("",))[0],
        corrupt=table.config.get("state", ("",))[0] == "CORRUPT",
        pending=table.config.get("modified", ("",))[0] == "true",
        slices=slices,
        running=running[0],
        duplicates=tuple(duplicates),
        state=_state_device(table, mesh),
    )


def _family(mesh: Mesh, piece: Slice) -> List[str]:
    """The names of a slice's provider and, for MBR, of the BSD partitions in it."""
    provider = mesh.find(piece.provider)
    if provider is None:
        return []
    names = mesh.names(provider)
    for geom in mesh.tables():
        if geom.name in names:
            names.extend(each.name for each in geom.provides)
    return names


def root_device(runner: Runner) -> str:
    """The device that ``/`` is mounted from, by ``mount -p``.

    :raises FleetError: when there is none.
    """
    for line in runner.ask(["mount", "-p"], "list the mounted file systems").lines():
        fields = line.split()
        if len(fields) > 1 and fields[1] == "/":
            return fields[0]
    raise FleetError("`mount -p` does not list /")


def read_medium(runner: Runner) -> Medium:
    """The OS medium of the host as it is now.

    :raises Refused: see :func:`find_medium`.
    """
    return find_medium(read_mesh(runner), root_device(runner))


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
    """One change of a boot attribute: ``gpart set|unset -a <attribute> -i <index> <disk>``."""

    verb: str
    attribute: str
    part: int


def edits(medium: Medium, label: str, state: str) -> List[Edit]:
    """The attribute changes that give a slice the wanted boot state; an empty list when it has it.

    ``active``: it boots from now on and no other slice does. ``trial``: it boots once; without a commit the boot
    after that is the present slice again (GPT; on MBR it is the same as active, because MBR has no one-shot).
    ``inactive``: it does not boot.

    :raises Refused: when the change would leave the host without a way back, or the table cannot be trusted.
    """
    target = medium.get(label)
    refuse_doubtful_table(medium)
    return _mbr_edits(medium, target, state) if medium.scheme == "MBR" else _gpt_edits(medium, target, state)


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
    active = ACTIVE in target.flags
    if state == "inactive":
        if target.label == medium.running or active:
            raise Refused(
                "{0} is {1}; MBR always has one active slice".format(
                    target.label, "the running slice" if target.label == medium.running else "the active slice"
                ),
                safe="nothing was changed",
                todo="make the other slice active instead",
            )
        return []
    if state == "trial" and target.label == medium.running:
        raise Refused("{0} is the running slice and cannot be put on trial".format(target.label))
    return [] if active else [Edit("set", ACTIVE, target.index)]


def flags_after(medium: Medium, changes: Sequence[Edit]) -> Dict[str, List[str]]:
    """The flags of every slice, by label, as they will be after the changes."""
    after = {piece.index: set(piece.flags) for piece in medium.slices.values()}
    for change in changes:
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
    together = medium.scheme == "GPT" and len(changes) > 1
    safe = "the boot flags on {0} are as they were".format(medium.disk)
    for change in changes:
        argv = ["gpart", change.verb, "-a", change.attribute, "-i", str(change.part)]
        result = runner.attempt(argv + (["-f", "x"] if together else []) + [medium.disk])
        if result.rc != 0:
            if together:
                runner.query(["gpart", "undo", medium.disk])
            raise unexpected(result, "change the boot flags of {0}".format(medium.disk), safe=safe)
    if together:
        result = runner.attempt(["gpart", "commit", medium.disk])
        if result.rc != 0:
            runner.query(["gpart", "undo", medium.disk])
            raise unexpected(result, "write the boot flags of {0}".format(medium.disk), safe=safe)
    if medium.scheme == "MBR" and changes:
        # boot0 boots the option that it stores and not the active slice (stand/i386/boot0/boot0.S); a medium with
        # the plain boot code has no such option, and boot0cfg says so
        result = runner.attempt(["boot0cfg", "-s", str(changes[0].part), medium.disk])
        if result.rc != 0 and "unknown or incompatible boot code" not in result.err:
            raise unexpected(result, "set the default slice of boot0 on {0}".format(medium.disk))


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
