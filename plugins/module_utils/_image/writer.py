# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Bringing a slice from what it holds to what it should hold, and proving it.

Whole windows are written, in order. What is fetched is compared with the signed manifest before it is used; what comes
out of it is proved by reading back every byte of the slice in the end, and what is not right then is fetched from the
full pack. So a base that is not what it should be can cost time, but never gives a wrong image.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device, DeviceError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import Mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import ACTIVE, BOOTME, BOOTONCE, Medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import (
    Plan,
    Wishes,
    choose,
    plan,
    read_map,
    refuse_full,
    usable_deltas,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.fetch import payloads
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    BadMap,
    ReadInto,
    new_blocks,
    parse_recipe,
    windows_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.glimpse import Glimpse
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import NoRanges, NotThere, Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.windows import (
    Windows,
    is_right,
    read_windows,
    wrong_windows,
)

#: how often a server that only delivers whole files is asked again after a connection broke
WHOLE_ATTEMPTS = 3

#: how often what did not come out right is made again
REPAIRS = 2
#: how much of the pack may be fetched for that even with ``fallback: fail`` (bytes)
SMALL_REPAIR = 4 << 20

#: what a writer is doing
COMPARE, WRITE, VERIFY = "comparing", "writing", "verifying"


class Progress(NamedTuple):
    """How far a writer is. All in bytes: of the image, and of what has to be fetched."""

    phase: str
    done: int
    total: int
    fetched: int = 0
    expected: int = 0


class WrongBytes(FleetError):
    """The medium returned other bytes than were written to it."""


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be. Sizes in bytes."""

    written: int
    kept: int
    plan: Optional[Plan]
    notes: Tuple[str, ...] = ()


class Part(NamedTuple):
    """The part of a file with payloads that was brought here: only what it holds is to be written. In bytes."""

    file: str
    offset: int
    length: int


class Writer:
    """Brings one slice to one image.

    :param path: the device node of the slice.
    :param bases: device nodes of other slices by the build of what they hold, for deltas.
    """

    def __init__(
        self,
        repository: Repository,
        manifest: Manifest,
        path: str,
        bases: Mapping[str, str],
        wishes: Wishes,
    ) -> None:
        self.repository = repository
        self.manifest = manifest
        self.path = path
        self._bases = bases
        self._wishes = wishes
        self._progress = Progress(COMPARE, 0, manifest.size)
        self._notes: List[str] = []
        self._windows: Optional[Windows] = None
        self._before = 0
        self._expected = 0
        self._payload = 0

    @property
    def windows(self) -> Windows:
        """The digests of the image, fetched once."""
        if self._windows is None:
            self._windows = read_windows(self.repository, self.manifest)
        return self._windows

    def progress(self) -> Progress:
        """How far it is at this moment; may be asked from another thread."""
        return self._progress._replace(fetched=self._fetched(), expected=self._expected)

    def _tell(self, phase: str, done: int) -> None:
        self._progress = Progress(phase, done, self.manifest.size)

    def predict(self) -> Outcome:
        """Compare, and see what would have to be fetched. Nothing is written."""
        wrong = self._compare(COMPARE)
        if not wrong:
            return Outcome(0, self.manifest.size, None)
        made = self._plan(wrong)
        return self._outcome(self.windows.length(wrong), wrong, made)

    @contextmanager
    def glimpse(self, made: Optional[Plan]) -> Iterator[Glimpse]:
        """The image as it would come out, to look into it before it is written.

        :param made: the plan of :meth:`predict`.
        :raises FleetError: when it cannot be looked at.
        """
        with ExitStack() as stack:
            base = None
            if made is not None and made.offer.base is not None:
                base = _reader(stack.enter_context(_open_base(self._bases[made.offer.build])))
            target = stack.enter_context(devices.open_device(self.path))
            yield Glimpse(self.repository, self.windows, made, target, base)

    def write(self) -> Outcome:
        """Compare, fetch, write, flush and read back.

        :raises FleetError: when source or medium do not deliver. What is written already is kept, and found again.
        """
        wrong = self._compare(COMPARE)
        if not wrong:
            return Outcome(0, self.manifest.size, None)
        made = first = self._plan(wrong)
        written = 0
        todo = wrong
        with devices.open_device(self.path, writable=True) as device:
            for attempt in range(REPAIRS + 1):
                written += self._make(device, made)
                device.flush()
                left = self._compare(VERIFY)
                if not left:
                    return self._outcome(written, wrong, first)
                if attempt == REPAIRS or (attempt and left == todo):
                    break
                todo = left
                made = self._repair(todo)
        raise WrongBytes(
            "{0} does not return what was written to it: {1} of {2} MiB differ".format(
                self.path, len(todo), len(self.windows)
            ),
            safe="the slice has no boot flags and will not be booted; the running slice was not touched",
            todo="replace the OS medium: write disk.img.xz to a new one, put it in, and the host revives itself",
        )

    def write_part(self, part: Part) -> Outcome:
        """Write what a part that was brought here gives, and read that back."""
        offer = [each for each in self.manifest.offers if each.data.name == part.file]
        if not offer:
            raise FleetError("the manifest of {0} names no file {1}".format(self.manifest.describe(), part.file))
        end = part.offset + part.length
        found = read_map(self.repository, self.manifest, offer[0])
        # an empty part stands for everything that nothing has to be brought for
        here = [
            each
            for each in found.frames
            if part.length == 0 or (each.fetched and part.offset <= each.offset <= end - each.size)
        ]
        buffer = memoryview(bytearray(self.windows.window))
        with devices.open_device(self.path, writable=True) as device:
            wrong = [
                index
                for frame in here
                for index in range(frame.first, frame.first + frame.windows)
                if not is_right(device, self.windows, index, buffer)
            ]
            made = plan(offer[0], found, wrong, replace(self._wishes, max_transfer=None))
            if part.length == 0:
                made, wrong = _without_payloads(made)
            written = self._execute(device, made, set(wrong))
            device.flush()
            bad = [index for index in wrong if not is_right(device, self.windows, index, buffer)]
        if bad:
            self._notes.append("{0} MiB did not come out right".format(len(bad)))
        return self._outcome(written, wrong, made)

    def _outcome(self, written: int, wrong: Sequence[int], made: Plan) -> Outcome:
        kept = self.manifest.size - self.windows.length(wrong)
        return Outcome(written, kept, made, tuple(self._notes))

    def _compare(self, phase: str) -> List[int]:
        with devices.open_device(self.path) as device:
            return wrong_windows(device, self.windows, lambda done: self._tell(phase, done))

    def _account(self) -> None:
        """Count what was fetched of payloads against the limit."""
        self._payload += self._fetched()

    def _fetched(self) -> int:
        return self.repository.fetched - self._before

    def _plan(self, wrong: Sequence[int], deltas: bool = True) -> Plan:
        """Choose the way to make some windows; where a delta cannot be used, decide about the pack once and say so."""
        wishes = self._left(deltas)
        offer = choose(self.manifest, self._bases, self.windows.length(wrong), wishes)
        if deltas and offer.base is None and not usable_deltas(self.manifest, self._bases, wishes.deltas):
            reason = "no delta to {0} starts from what is on this host".format(self.manifest.describe())
            if not wishes.deltas:
                reason = "deltas are not wanted (deltas=false)"
            self._settle(reason, "the full pack was used instead" if wishes.deltas else "")
        try:
            return plan(offer, read_map(self.repository, self.manifest, offer), wrong, wishes)
        except (NotThere, BadMap) as trouble:
            if offer.base is None:
                raise
            self._fall_back(trouble, offer.describe())
            return self._plan(wrong, deltas=False)

    def _left(self, deltas: bool) -> Wishes:
        """The wishes, with what is left of the limit after what was fetched already."""
        wishes = self._wishes if deltas else replace(self._wishes, deltas=False)
        if wishes.max_transfer is None or self._payload == 0:
            return wishes
        return replace(wishes, max_transfer=max(0, wishes.max_transfer - self._payload))

    def _repair(self, wrong: Sequence[int]) -> Plan:
        """How to make what did not come out right: from the pack, which needs no base."""
        made = self._plan(wrong, deltas=False)
        what = "{0} MiB did not come out right".format(len(wrong))
        if made.size > SMALL_REPAIR:
            refuse_full(self.manifest, what, self._wishes)
        self._notes.append("{0} and were made once more from the full pack ({1} bytes)".format(what, made.size))
        return made

    def _fall_back(self, trouble: FleetError, what: str) -> None:
        self._settle("{0} cannot be used: {1}".format(what, trouble.what), "the full pack was used instead")

    def _settle(self, reason: str, done: str) -> None:
        """The one decision about the full pack: refuse it, or note that it was used unless that is what was wanted.

        :raises Refused: with ``fallback: fail``.
        """
        refuse_full(self.manifest, reason, self._wishes)
        if done:
            self._notes.append("{0}; {1}".format(reason, done))

    def _make(self, device: Device, made: Plan) -> int:
        """Make all windows of a plan; bytes that were written."""
        first, left = made, set(made.wrong)
        written = 0
        if made.offer.base is not None:
            try:
                return self._execute(device, made, left)
            except (NotThere, NoRanges, BadMap) as trouble:
                written = self.windows.length(set(made.wrong) - left)
                self._fall_back(trouble, made.offer.describe())
                made = self._plan(sorted(left), deltas=False)
        try:
            return written + self._execute(device, made, left)
        except NoRanges as trouble:
            written = self.windows.length(set(first.wrong) - left)
            self._settle(trouble.what, "the full pack was read from its beginning")
        return written + self._read_whole(device, made, left)

    def _read_whole(self, device: Device, made: Plan, left: Set[int]) -> int:
        """From a server that delivers files only as a whole: begin again where the connection breaks, a few times.

        :raises Refused: when that is more than may be fetched.
        """
        before = set(left)
        for attempt in range(WHOLE_ATTEMPTS):
            limit = self._left(False).max_transfer
            if limit is not None and made.offer.data.size > limit:
                raise Refused(
                    "the server only delivers all of {0}, and no more than {1} bytes may be fetched".format(
                        made.offer.data.name, limit
                    ),
                    safe="what is written already is kept; the slice has no boot flags",
                    todo="publish on a server that does byte ranges, or allow more (max_transfer)",
                )
            made = plan(made.offer, made.map, sorted(left), replace(made.wishes, max_transfer=None))
            try:
                self._execute(device, made, left, whole=True)
                break
            except NoRanges:
                if attempt + 1 == WHOLE_ATTEMPTS:
                    raise
        return self.windows.length(before - left)

    def _execute(self, device: Device, made: Plan, left: Set[int], whole: bool = False) -> int:
        """Make the windows of a plan, in order, and take each off *left* once it is written."""
        written = 0
        self._before = self.repository.fetched
        self._expected = made.offer.data.size if whole else made.size
        right = self.manifest.size - self.windows.length(left)
        self._tell(WRITE, right)
        with ExitStack() as stack:
            base = None
            stack.callback(self._account)
            if made.offer.base is not None:
                base = _reader(stack.enter_context(_open_base(self._bases[made.offer.build])))
            stream = payloads(
                self.repository,
                made.offer.data.name,
                made.offer.codec,
                made.payloads,
                self._wishes.connections,
                made.offer.data.size if whole else None,
            )
            stack.callback(stream.close)
            fetched = {frame.first for frame in made.payloads}
            for frame in made.frames:
                recipe = parse_recipe(frame, made.map.blocks(frame))
                new = memoryview(b"")
                if frame.first in fetched:
                    new = new_blocks(frame, recipe, next(stream)[1], base)
                for index, content in windows_of(frame, recipe, new, base, left.__contains__):
                    device.write(self.windows.span(index)[0], content)
                    left.discard(index)
                    written += len(content)
                    self._tell(WRITE, right + written)
        return written


def _without_payloads(made: Plan) -> Tuple[Plan, List[int]]:
    """What of a plan can be made without fetching anything, and its windows."""
    needed = {frame.first for frame in made.payloads}
    frames = [frame for frame in made.frames if frame.first not in needed]
    covered = {index for frame in frames for index in range(frame.first, frame.first + frame.windows)}
    wrong = [index for index in made.wrong if index in covered]
    return replace(made, frames=frames, payloads=[], wrong=wrong), wrong


def _open_base(path: str) -> Device:
    """Open a base. Trouble with it is no trouble with what is being written: there is another way to make that."""
    try:
        return devices.open_device(path)
    except DeviceError as error:
        raise BadMap(error.what)


def _reader(device: Device) -> ReadInto:
    """Reads a base."""

    def read(offset: int, view: memoryview) -> None:
        try:
            count = device.read_into(offset, view)
        except DeviceError as error:
            raise BadMap(error.what)
        if count < len(view):
            raise BadMap("{0} ends before byte {1}".format(device.path, offset + len(view)))

    return read


def check_target(mesh: Mesh, medium: Medium, path: str, will_disarm: bool = False) -> None:
    """Refuse a provider that must not be written.

    GEOM does not protect a file system that is mounted read-only, and the running root is one: see
    :meth:`Mesh.holders`.

    :param path: a device node or provider name, by whatever name.
    :param will_disarm: boot flags do not count: they are taken off before anything is written.
    :raises Refused: when it does not exist, is the running slice, is in use, or would be booted.
    """
    safe = "nothing was written"
    provider = mesh.find(path)
    if provider is None:
        raise Refused("there is no disk provider {0}".format(path), safe=safe, todo="look with `gpart show -p`")
    base = mesh.base(provider).name
    running = mesh.find(medium.slices[medium.running].provider)
    if running is not None and mesh.base(running).name == base:
        raise Refused("{0} is the running slice {1}".format(path, medium.running), safe=safe)
    holders = mesh.holders(provider)
    if holders:
        raise Refused(
            "{0} is in use by {1}".format(path, ", ".join(str(each) for each in holders)),
            safe=safe,
            todo="unmount or close it first (fstat, mount -p)",
            holders=[str(each) for each in holders],
        )
    for piece in medium.slices.values():
        found = mesh.find(piece.provider)
        if (
            found is not None
            and mesh.base(found).name == base
            and piece.flags & {BOOTME, BOOTONCE, ACTIVE}
            and not will_disarm
        ):
            raise Refused(
                "{0} carries the boot flags {1}: a power cut during the write would boot half an image".format(
                    piece.label, ", ".join(sorted(piece.flags))
                ),
                safe=safe,
                todo="make it inactive first (gpart_slice with state=inactive)",
            )
    if base == medium.disk:
        raise Refused("{0} is the OS medium as a whole".format(path), safe=safe)
