# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A repository of which a machine of the site has a copy, or part of one: asked first, and never believed.

A relay saves a site's line, and nothing depends on it: what it does not have, does not deliver, or delivers wrongly
comes from the repository itself. Who notices that bytes are wrong is whoever knows their digest or signature, and says
so.
"""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from dataclasses import replace
from typing import Iterator, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    HttpRepository,
    Limits,
    NoRanges,
    NotThere,
    Repository,
    SourceError,
    open_repository,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import shown_address

#: how long a relay may take to accept a connection: it is in the same site (seconds)
NEAR = 5.0

#: how long it may be silent, if there is time for that: it may wait for the site's line itself (seconds)
PATIENT = 60.0

#: what it must deliver while it is waited for (bytes a second): who gives a byte now and then is never silent
SLOWEST = 1 << 10

#: which part of the time for everything it may take before it is not asked any more: the rest is the repository's
SHARE = 0.5

#: which part of that time it may be silent, or too slow
SILENCE = 0.25

#: how often what it delivers may be wrong before it is not asked any more
MOST_WRONG = 3


class RelayedRepository(Repository):
    """A repository, and a relay of it.

    :param relay: address of the relay.
    :param limits: those of the repository; a relay is tried twice at most.
    :param first_hand: the repository once more, with less patience.
    """

    parallel = True

    def __init__(self, relay: str, origin: Repository, limits: Limits, first_hand: Optional[Repository] = None) -> None:
        super().__init__(origin.location)
        self._origin = origin
        self._first_hand = first_hand or origin
        self._address = relay
        self._relay = HttpRepository(relay, _of_relay(limits), proxies=False)
        for each in (self._origin, self._first_hand, self._relay):
            each.count_for(self)
        self._met = self._left = False
        self._wrong = 0
        self._said: List[str] = []

    @property
    def origin(self) -> Repository:
        """The repository itself."""
        return self._origin

    @property
    def first_hand(self) -> Repository:
        """The repository itself, which is asked twice at most."""
        return self._first_hand

    @property
    def relay(self) -> Optional[str]:
        """The address of the relay, for people; ``None`` where it is not asked any more."""
        return None if self._left else shown_address(self._address)

    @property
    def relayed(self) -> int:
        """Bytes that came from the relay."""
        return self._relay.fetched

    @property
    def notes(self) -> List[str]:
        """What an operator should know of it."""
        return list(self._said)

    def note(self, text: str) -> None:
        """Let an operator know, once."""
        with self._counters:
            if text not in self._said:
                self._said.append(text)

    def wrong(self, what: str) -> None:
        """Something that was delivered was not what it should be.

        :param what: what that was.
        """
        self._wrong += 1
        if self._wrong >= MOST_WRONG:
            self._leave("it delivered wrong bytes {0} times, the last were those of {1}".format(self._wrong, what))

    def _leave(self, why: str) -> None:
        """Do not ask the relay any more."""
        with self._counters:
            if self._left:
                return
            self._left = True
            self._said.append("the relay {0} was not used any more: {1}".format(shown_address(self._address), why))

    def _near(self) -> Optional[Repository]:
        """The relay, if it can be reached."""
        if not self._left and not self._met:
            parts = urllib.parse.urlsplit(self._address)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            try:
                with contextlib.closing(socket.create_connection((parts.hostname or "", port), NEAR)):
                    self._met = True
            except (OSError, UnicodeError) as error:
                self._leave("it cannot be reached ({0})".format(error))
        return None if self._left else self._relay

    def fetch(self, name: str, limit: int) -> bytes:
        relay = self._near()
        if relay is not None:
            try:
                return relay.fetch(name, limit)
            except NotThere:
                pass  # only the repository can say that there is no such file
            except SourceError as error:
                self._leave(error.what)
        return self._origin.fetch(name, limit)

    def stream(self, name: str, offset: int, length: int, ranged: bool = True) -> Iterator[bytes]:
        end = offset + length
        relay = self._near() if ranged else None
        if relay is not None:
            try:
                for piece in relay.stream(name, offset, length):
                    offset += len(piece)
                    yield piece
                    if self._left:  # what is still to come would be as wrong as what came
                        break
            except (NotThere, NoRanges):
                pass
            except SourceError as error:
                self._leave(error.what)
        if offset < end:
            yield from self._origin.stream(name, offset, end - offset, ranged)


def _of_relay(limits: Limits) -> Limits:
    """How patient to be with a relay of a repository with these limits."""
    return replace(
        limits,
        retries=1,
        timeout=min(max(limits.timeout, PATIENT), limits.deadline * SILENCE),
        deadline=limits.deadline * SHARE,
        slowest=SLOWEST,
    )


def open_relayed(relay: str, location: str, limits: Limits, ca_file: Optional[str] = None) -> Repository:
    """The repository at an address, with a relay of it.

    :param relay: address of the relay; empty where there is none. For a folder of this host there is none either.
    :raises FleetError: for what is no such address.
    """
    origin = open_repository(location, limits, ca_file)
    if not relay or not isinstance(origin, HttpRepository):
        return origin
    try:
        good = urllib.parse.urlsplit(relay).scheme in ("http", "https")
    except ValueError:
        good = False
    if not good:
        raise FleetError(
            "{0!r} is no address of a relay".format(shown_address(relay)),
            todo="use http:// or https:// (upgrade_relay)",
        )
    brief = replace(limits, retries=min(1, limits.retries), slowest=SLOWEST)
    first_hand = open_repository(location, brief, ca_file)
    return RelayedRepository(relay, origin, limits, first_hand)
