# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a spare medium goes: a disk or a file, what is there now, and whether it is really meant."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import disks
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.disks import Disk
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.disk_image import (
    Head,
    MediumWriter,
    describe_content,
    is_fresh,
    read_head,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository

_SAFE = "nothing was written"


@dataclass(frozen=True)
class Target:
    """Where a medium is to be written.

    :param path: of the disk or file.
    :param disk: the disk; ``None`` for a file.
    :param token: what a person has to say to have it overwritten; ``None`` where there is nothing to overwrite.
    :param content: what is there now, for people.
    """

    path: str
    disk: Optional[Disk]
    token: Optional[str]
    content: str = ""

    def describe(self) -> str:
        """The target, for people."""
        return self.disk.describe() if self.disk is not None else self.path

    @contextlib.contextmanager
    def place(self, size: int) -> Iterator[str]:
        """What to write to. A file only gets its name when it is complete.

        :param size: of the medium, in bytes.
        """
        if self.disk is not None:
            with disks.claimed(self.disk):
                yield self.path
            return
        try:
            with arriving(self.path) as (partial, file):
                file.truncate(size)
                yield partial
        except FleetError as error:
            error.safe = "no file got the name {0}; one that was there is as it was".format(self.path)
            raise
        except OSError as error:
            raise FleetError(
                "{0} cannot be written: {1}".format(self.path, os.strerror(error.errno or 0)),
                safe="a file {0} is as it was".format(self.path),
            )


def disk_target(runner: Runner, device: str, size: int) -> Target:
    """A disk to write a medium of *size* bytes to.

    :raises Refused: when it is no whole disk, is in use, or is too small.
    """
    disk = disks.look(runner, device)
    disks.check_free(disk, size)
    with devices.open_device(disk.path) as opened:
        token = disk.token(opened.read)
        content = describe_content(opened, disk.size)
    _check_twins(disk, token)
    return Target(disk.path, disk, token, content)


def _check_twins(disk: Disk, token: str) -> None:
    """Refuse a disk that nothing tells from another one: a confirmation would be for either.

    :raises Refused: with the other one.
    """
    for path in disk.twins:
        try:
            with devices.open_device(path) as opened:
                same = replace(disk, path=path).token(opened.read) == token
        except FleetError:  # nobody has put anything in there, or it is not to be had: no confirmation can be for it
            same = False
        if same:
            raise Refused(
                "{0} and {1} cannot be told apart: they have {2}, and the same content".format(
                    disk.describe(), path, "one serial number" if disk.serial else "no serial number, one size"
                ),
                safe=_SAFE,
                todo="take the other one out, and run the play again",
            )


def file_target(path: str) -> Target:
    """A file to write a medium to.

    :raises Refused: when something else than a file has that name, or there is no folder for it.
    """
    try:
        info = os.stat(path)
    except OSError:
        if not os.path.isdir(os.path.dirname(path)):
            raise Refused("there is no folder {0}".format(os.path.dirname(path)), safe=_SAFE, todo="make it first")
        return Target(path, None, None)
    if not stat.S_ISREG(info.st_mode):
        raise Refused(
            "{0} is no file".format(path), safe=_SAFE, todo="a disk must be named as such (spare_device), not as a file"
        )
    with devices.open_device(path) as opened:
        return Target(path, None, str(info.st_size), describe_content(opened, info.st_size))


@dataclass(frozen=True)
class Survey:
    """What would be written where.

    :param before: what is there now, for people.
    :param fresh: exactly this medium is there already.
    """

    target: Target
    scheme: str
    head: Head
    before: str
    fresh: bool

    def is_confirmed(self, confirm: Optional[str]) -> bool:
        """Whether a person meant this target.

        :raises Refused: when they meant another one.
        """
        token = self.target.token
        if token is None or self.fresh:
            return True
        if confirm is not None and confirm != token:
            raise Refused(
                "{0} was confirmed, and this is {1}".format(confirm, self.target.describe()),
                safe=_SAFE,
                todo="look which disk is the right one. If it is this one, confirm {0}".format(token),
            )
        return confirm is not None

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        disk = self.target.disk
        return {
            "path": self.target.path,
            "what": self.target.describe(),
            "disk": disk.as_dict() if disk is not None else None,
            "content": self.before,
            "confirm": self.target.token,
        }


def look(
    runner: Runner,
    repository: Repository,
    manifest: Manifest,
    scheme: str,
    device: Optional[str],
    file: Optional[str],
) -> Survey:
    """Look at the published medium and at the place for it.

    :param scheme: of its partition table.
    :param device: the disk; or
    :param file: the path of a file.
    :raises FleetError: when it cannot be written there.
    """
    head = read_head(repository, manifest, scheme)
    target = disk_target(runner, device, head.size) if device is not None else file_target(str(file))
    if target.token is None:
        return Survey(target, scheme, head, "no file", False)
    with devices.open_device(target.path) as opened:
        return Survey(target, scheme, head, target.content, is_fresh(opened, head, manifest))


def write(repository: Repository, manifest: Manifest, survey: Survey) -> Dict[str, Any]:
    """Write it.

    :returns: how many bytes were fetched and written.
    :raises FleetError: when source or disk do not deliver.
    """
    disk = survey.target.disk
    with survey.target.place(survey.head.size) as path:
        capacity = disk.size if disk is not None else None
        return MediumWriter(repository, manifest, survey.scheme, survey.head, path, capacity).write()
