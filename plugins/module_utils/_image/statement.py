# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a publisher says of its images, as a host takes it: the channel, with its rings and its list of bad images.

Both are in one signed and dated file, so that no mirror can withhold one of them, or mix one of today with the other of
last year. A server can still offer an older file, or say that there is none. So a host remembers the newest that it has
seen, and of two the newer one counts. A relay is no source of what is new: the repository itself is asked, and
the relay where that does not answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.parse
from typing import List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    CHANNEL_NAMESPACE,
    MAX_SMALL_FILE,
    BadManifest,
    Channel,
    Inside,
    channel_name,
    check_until,
    parse_channel,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import BadSignature, Keys, verify
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Forbidden, NotThere, Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable, shown_address

#: how often a server is asked for a file and its signature that belong together
ATTEMPTS = 3

#: where a host remembers what it has seen; on the pool
FOLDER = "/var/db/nanozfs"

_NOTHING = "nothing was written"


class Unsigned(NotThere):
    """A file that has no signature."""


class Statement(NamedTuple):
    """A channel that was verified.

    :param raw: the file.
    :param signature: that of it.
    """

    channel: Channel
    raw: bytes
    signature: bytes

    @property
    def issued(self) -> int:
        """When it was signed (seconds since the epoch); 0 where it does not say, as those of before."""
        return self.channel.issued or 0


def fetch_signed(
    runner: Runner, repository: Repository, file: str, keys: Keys, namespace: str
) -> Tuple[bytes, bytes, str]:
    """A signed file, verified; its signature, and who has signed it.

    File and signature are two requests, and the publisher may have replaced them in between: a server is asked again. A
    relay is not asked more than once for what is not good, but the repository itself.

    :raises NotThere: when there is none.
    :raises FleetError: when it cannot be trusted.
    """

    def ask(where: Repository) -> Tuple[bytes, bytes, str]:
        return _fetch_signed(runner, where, file, keys, namespace)

    return repository.believed(file, ask, BadSignature)


def _fetch_signed(
    runner: Runner, repository: Repository, file: str, keys: Keys, namespace: str
) -> Tuple[bytes, bytes, str]:
    for attempt in range(ATTEMPTS if repository.parallel and repository.origin is repository else 1):
        if attempt:
            time.sleep(attempt)
        raw = repository.fetch(file, MAX_SMALL_FILE)
        try:
            signature = repository.fetch(file + ".sig", MAX_SMALL_FILE)
        except NotThere as error:
            raise Unsigned(
                "{0} has no signature: {1}".format(file, error.what),
                safe=_NOTHING,
                todo="publish once more (playbook publish), which signs it",
            )
        try:
            return raw, signature, verify(runner, raw, signature, keys, namespace)
        except BadSignature as error:
            trouble = error
    raise trouble


def fetch_first_hand(
    runner: Runner, repository: Repository, file: str, keys: Keys, namespace: str
) -> Tuple[bytes, bytes, str]:
    """The same for a file that is replaced when there is something new: an old one is as well signed as that of today,
    so a relay could hide what is new. It is asked only where the repository does not answer.

    :raises NotThere: when the repository says that there is none.
    :raises FleetError: when it cannot be had from anybody, or cannot be trusted.
    """
    if repository.origin is not repository:
        try:
            return _fetch_signed(runner, repository.first_hand, file, keys, namespace)
        except NotThere:
            raise
        except FleetError as error:
            repository.note("what the relay says in {0} was taken: {1}".format(file, error.what))
    return fetch_signed(runner, repository, file, keys, namespace)


def _parse(raw: bytes, name: str) -> Channel:
    """The channel of the images with a name.

    :raises BadManifest: when it is damaged, or of other images.
    """
    channel = parse_channel(raw)
    if channel.name != name:
        raise BadManifest(
            "{0} is the channel of {1}".format(channel_name(name), printable(channel.name)),
            safe=_NOTHING,
            todo="find out who put it there, and publish the channel anew (playbook publish)",
        )
    return channel


class Memory:
    """The newest statements that a host has seen.

    :param folder: where they are.
    """

    def __init__(self, folder: str = "") -> None:
        self._folder = folder or FOLDER

    def _path(self, name: str) -> str:
        # a name of images may be anything, a file of ours must not be
        return os.path.join(self._folder, urllib.parse.quote(name, safe="") + ".said.json")

    def _read(self, name: str) -> Optional[Statement]:
        """What was seen, as far as it can be read: it was verified before it was kept."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, FleetError):
            with open(self._path(name), "rb") as file:
                kept = json.loads(file.read(3 * MAX_SMALL_FILE).decode("ascii"))
            raw, signature = kept["channel"].encode("ascii"), kept["signature"].encode("ascii")
            return Statement(_parse(raw, name), raw, signature)
        return None

    def recall(self, runner: Runner, name: str, keys: Keys) -> Optional[Statement]:
        """What was seen of the images with a name. ``None`` where that is nothing, where it is damaged, and where it
        would not be believed any more because its key was revoked: the repository has to say it again then.
        """
        found = self._read(name)
        if found is None:
            return None
        try:
            verify(runner, found.raw, found.signature, keys, CHANNEL_NAMESPACE)
        except BadSignature:
            return None
        return found

    def keep(self, statement: Statement) -> None:
        """Remember one.

        :raises OSError: when it cannot be written.
        """
        kept = {"channel": statement.raw.decode("ascii"), "signature": statement.signature.decode("ascii")}
        text = json.dumps(kept, sort_keys=True) + "\n"
        before = self._read(statement.channel.name)
        if before is not None and before[1:] == statement[1:]:
            return
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        with arriving(self._path(statement.channel.name)) as (_path, file):
            file.write(text.encode("ascii"))

    def why_bad(self, inside: Optional[Inside], ident: Optional[str]) -> str:
        """Why an image that is on the host is on the fleet's list of bad images, as far as the host has heard; empty
        where it is not.

        :param inside: what the image says of itself.
        :param ident: its id, where its slice was hashed. The same build is the same image as well.
        """
        said = self._read(inside.name) if inside is not None else None
        if said is None or inside is None:
            return ""
        for each, bad in said.channel.bad.items():
            if each == ident or (bad.build and bad.build == inside.build):
                return printable(bad.reason)
        return ""


class Word(NamedTuple):
    """What is known of what a publisher says.

    :param statement: the newest; ``None`` where there is none.
    :param problem: why that cannot be told.
    :param notes: what an operator should know of how it was come by.
    """

    statement: Optional[Statement] = None
    problem: Optional[FleetError] = None
    notes: Tuple[str, ...] = ()

    def why_bad(self, ident: str) -> str:
        """Why an image is on the list of bad images; empty where it is not."""
        bad = self.statement.channel.bad.get(ident) if self.statement is not None else None
        return printable(bad.reason) if bad is not None else ""

    def remember(self, memory: Memory) -> List[str]:
        """Keep it on this host; why that was not possible, in a list for warnings."""
        if self.statement is not None and self.problem is None:
            try:
                memory.keep(self.statement)
            except OSError as error:
                return ["what the publisher says was not kept on this host: {0}".format(error)]
        return []


def _offered(runner: Runner, repository: Repository, name: str, keys: Keys) -> Optional[Statement]:
    """What a repository says; ``None`` where it has nothing to say.

    :raises FleetError: when that cannot be told: what cannot be read is not nothing.
    """
    file = channel_name(name)
    try:
        raw, signature, _signer = fetch_first_hand(runner, repository, file, keys, CHANNEL_NAMESPACE)
    except Unsigned:
        raise
    except Forbidden as error:
        raise Refused(
            "whether the publisher calls an image bad cannot be told: {0}".format(error.what),
            safe=_NOTHING,
            todo="let hosts read {0} and {0}.sig. A server that says so of files which are not there (an object store "
            "that does not let hosts list) needs a channel: publish any ring (image_rings)".format(file),
        )
    except NotThere:
        return None
    return Statement(_parse(raw, name), raw, signature)


def listen(runner: Runner, repository: Repository, name: str, keys: Keys, memory: Optional[Memory], now: float) -> Word:
    """What the publisher of the images with a name says.

    :param memory: what this host has seen before; ``None`` on a machine that has no such memory.
    :param now: seconds since the epoch.
    """
    kept = memory.recall(runner, name, keys) if memory is not None else None
    try:
        newest, notes = _offered(runner, repository, name, keys), []
        if kept is not None and (newest is None or newest.issued < kept.issued):
            notes.append(
                "{0} {1} of {2}, and this host has seen one of {3}, which counts: a mirror or a cache is behind, or "
                "somebody withholds it".format(
                    shown_address(repository.location),
                    "has no channel" if newest is None else "has an old channel",
                    name,
                    time.strftime("%Y-%m-%d %H:%M", time.gmtime(kept.issued)),
                )
            )
            newest = kept
        if newest is not None:
            what = "the channel of {0}".format(name)
            check_until(what, newest.channel.not_after, now, "publish the channel anew (playbook publish)")
    except FleetError as error:
        return Word(problem=error)
    return Word(newest, None, tuple(notes))
