# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories of packages: where they are, and their catalogues, fetched and judged.

A signed catalogue has no number that grows and no end: whoever is on the way, or a mirror that is behind, can show an
old one. When the newest of its packages was built is known, so one that goes back in time is told.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import IO, Any, Callable, Dict, Iterator, Optional

from ansible.module_utils.urls import open_url

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import shown_address
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import (
    ATTEMPTS,
    PIECE,
    TIMEOUT,
    Say,
    check_length,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import catalogue, index, signature
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.catalogue import META, Meta, Summary
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.index import Index
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import NONE, Trust

#: below the folder with what was fetched
FOLDER = "packages"

#: a catalogue that has less than this part of what the last one had is told of
SHRUNK = 0.9

#: the place of an answer's address among its headers, whose names have no blank
_FROM = "came from"

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Repository:
    """Where packages come from.

    :param url: its root, ``https://…``, ``http://…`` or ``file:///…``.
    :param priority: packages of the repository with the highest one are taken; pkg.conf(5).
    """

    name: str
    url: str
    trust: Trust
    priority: int = 0

    @property
    def shown(self) -> str:
        """Its address without a password."""
        return shown_address(self.url)

    def address(self, path: str) -> str:
        """The URL of a file in it. Names of packages have ``~``, ``$`` and commas in them."""
        return "{0}/{1}".format(self.url, urllib.parse.quote(path))


class _NotThere(Exception):
    """The repository has no such file."""


def address(written: str, abi: str, minor: str) -> str:
    """The root of a repository as its definition has it, for us.

    ``pkg+http://HOST`` asks DNS for the mirrors of HOST (SRV records; pkg.conf(5), ``fetch_libfetch.c``). There is none
    for that here, and FreeBSD's host serves the files itself, by https as well.

    :param minor: of the release, for ``${VERSION_MINOR}``; empty where it is not known.
    :raises RepositoryError: when it is none that can be read here.
    """
    parts = abi.split(":")
    values = {"ABI": abi, "OSNAME": parts[0], "VERSION_MAJOR": parts[1:2] and parts[1], "ARCH": parts[-1]}
    values["VERSION_MINOR"] = minor

    def value(found: re.Match[str]) -> str:
        if not values.get(found.group(1)):
            raise RepositoryError(
                "image_pkg_repository has {0}, and known here are {1}".format(
                    found.group(), ", ".join("${%s}" % key for key, known in values.items() if known)
                )
            )
        return str(values[found.group(1)])

    url = _VARIABLE.sub(value, written.strip()).rstrip("/")
    if url.startswith(("/", "~")):
        return "file://" + urllib.request.pathname2url(os.path.abspath(os.path.expanduser(url)))
    try:
        split = urllib.parse.urlsplit(url)
        host = split.hostname or ""
    except ValueError as error:
        raise RepositoryError("image_pkg_repository {0} is no address: {1}".format(shown_address(written), error))
    if split.query or split.fragment:
        raise RepositoryError(
            "image_pkg_repository {0} has something behind its path ({1}), which no file in it could have".format(
                shown_address(written), "?…" if split.query else "#…"
            ),
            todo="give the address of the folder that has meta.conf in it; a password goes before the host",
        )
    scheme = split.scheme[len("pkg+") :] if split.scheme.startswith("pkg+") else split.scheme
    if split.scheme == "pkg+http" and (host == "freebsd.org" or host.endswith(".freebsd.org")):
        scheme = "https"
    if scheme not in ("http", "https", "file") or (scheme != "file" and not host):
        raise RepositoryError(
            "image_pkg_repository {0} is no address that can be read here".format(shown_address(written)),
            todo="give https://…, http://…, pkg+http://… or a folder",
        )
    return urllib.parse.urlunsplit((scheme, split.netloc, split.path, "", ""))


@dataclass
class _State:
    """What is known of a repository from the last time.

    :param archive: its name; ``sha256`` of it; ``tag`` and ``modified`` as the server had them.
    :param newest: the latest time at which a package of any catalogue was built that was seen.
    :param seen: the day on which it was fetched; ``seen_before`` that on which the one before was.
    """

    archive: str = ""
    sha256: str = ""
    tag: str = ""
    modified: str = ""
    packages: int = 0
    newest: str = ""
    seen: str = ""
    seen_before: str = ""


class Catalogues:
    """The catalogues of repositories, kept in the cache.

    :param cache: the folder of what is fetched.
    :param say: told what is fetched.
    :param warn: told what somebody has to know.
    :param opener: opens a URL, as Ansible does it (proxies, certificates).
    """

    def __init__(self, cache: str, say: Say, warn: Say, opener: Callable[..., Any] = open_url) -> None:
        self._folder = os.path.join(os.path.expanduser(cache), FOLDER)
        self._say, self._warn, self._open = say, warn, opener

    @contextlib.contextmanager
    def of(self, repository: Repository, newest: str = "") -> Iterator[Index]:
        """The catalogue of a repository: its newest, or where it cannot be reached that of the last time.

        :param newest: of the catalogue that the lock was made with, see :class:`_State`.
        :raises RepositoryError: when there is none, or nobody who is trusted has signed it.
        """
        found = self._get(repository, newest)
        try:
            yield found
        finally:
            found.close()

    def _get(self, repository: Repository, newest: str) -> Index:
        _check_way(repository, repository.url)
        os.makedirs(self._folder, exist_ok=True)
        name = hashlib.sha256(repository.url.encode("utf-8")).hexdigest()[:32]
        with open(os.path.join(self._folder, name + ".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            place = os.path.join(self._folder, name + ".json")
            state = _read(place)
            found = self._current(repository, state)
            try:
                signature.check(found.signed, repository.trust, "the catalogue of " + repository.shown)
                summary = found.summary
                self._compare(repository, state, summary, newest)
                state.packages, state.newest = summary.packages, max(state.newest, summary.newest)
                replace_file(place, json.dumps(asdict(state), sort_keys=True).encode("utf-8"))
            except BaseException:
                found.close()
                raise
            return found

    def _current(self, repository: Repository, state: _State) -> Index:
        """The index of what the repository has now."""
        known = index.opened(self._index(state.sha256)) if state.sha256 else None
        try:
            meta = self._meta(repository)
            for name, member in meta.choices:
                with contextlib.suppress(_NotThere):
                    return self._fetched(repository, name, member, state, known)
        except (OSError, HTTPException) as error:
            if known is None:
                raise RepositoryError(
                    "the repository {0} cannot be reached: {1}".format(repository.shown, error),
                    todo="see that this machine can reach it; a build with a lock and what it names in the cache needs "
                    "no network",
                )
            self._warn(
                "the repository {0} cannot be reached ({1}): its catalogue of {2} is used".format(
                    repository.shown, error, state.seen
                )
            )
            return known
        raise RepositoryError(
            "{0} is no repository: it has none of {1}".format(
                repository.shown, ", ".join(name for name, _member in meta.choices)
            ),
            todo="give the folder that has meta.conf in it; FreeBSD's have the ABI in their path (${ABI}/quarterly)",
        )

    def _index(self, sha256: str) -> str:
        return os.path.join(self._folder, "{0}-{1}.index".format(sha256, index.FORMAT))

    def _meta(self, repository: Repository) -> Meta:
        where = "{0}/{1}".format(repository.shown, META)
        with tempfile.TemporaryFile() as file:
            try:
                self._download(repository.address(META), file, catalogue.MAX_META, {}, where)
            except _NotThere:
                return Meta()
            file.seek(0)
            return catalogue.parse_meta(file.read().decode("utf-8", "replace"), where)

    def _fetched(self, repository: Repository, name: str, member: str, state: _State, known: Optional[Index]) -> Index:
        headers = {}
        if known is not None and state.archive == name:
            headers = {"If-None-Match": state.tag} if state.tag else {"If-Modified-Since": state.modified}
        what = "{0}/{1}".format(repository.shown, name)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", suffix=".part") as file:
            answer = self._download(
                repository.address(name), file, catalogue.MAX_ARCHIVE, {k: v for k, v in headers.items() if v}, what
            )
            _check_way(repository, (answer or {}).get(_FROM, repository.url))
            state.seen_before, state.seen = state.seen, time.strftime("%Y-%m-%d", time.gmtime())
            if answer is None and known is not None:
                return known
            file.flush()
            sha256 = digest_file(file.name)
            found = known if known is not None and sha256 == state.sha256 else index.opened(self._index(sha256))
            if found is None:
                self._say("reading the catalogue of {0}".format(repository.shown))
                self._make(repository, file.name, member, name, self._index(sha256))
                found = Index(self._index(sha256))
        if state.sha256 not in ("", sha256):
            with contextlib.suppress(OSError):
                os.unlink(self._index(state.sha256))
        state.archive, state.sha256 = name, sha256
        state.tag, state.modified = (answer or {}).get("etag", ""), (answer or {}).get("last-modified", "")
        return found

    def _make(self, repository: Repository, path: str, member: str, name: str, place: str) -> None:
        what = "{0}/{1}".format(repository.shown, name)
        with tempfile.TemporaryFile(dir=self._folder) as plain:
            signed = catalogue.unpack(path, member, plain, what)
            signature.check(signed, repository.trust, what)  # before anything in it is looked at
            plain.seek(0)
            index.make(place, signed, plain, member.endswith(".yaml"), what)

    def _download(
        self, url: str, file: IO[bytes], most: int, headers: Dict[str, str], what: str
    ) -> Optional[Dict[str, str]]:
        """Fetch a small file, more than once where the connection ends; what the server says of it, or nothing where it
        is what it was.

        :raises _NotThere: when the server has no such file.
        :raises OSError: when it cannot be reached.
        :raises RepositoryError: when it is larger than it could be.
        """
        path = urllib.request.url2pathname(url[len("file://") :]) if url.startswith("file://") else ""
        if path and os.path.isdir(os.path.dirname(path)) and not os.path.exists(path):
            raise _NotThere
        for attempt in range(ATTEMPTS):
            time.sleep(max(attempt - 1, 0))
            file.seek(0)
            file.truncate()
            try:
                return self._answer(url, file, most, headers, what)
            except urllib.error.HTTPError as error:
                if error.code == 304:
                    return None
                if error.code in (404, 410):
                    raise _NotThere
                if error.code < 500:
                    raise
                failure: Exception = error
            except (OSError, HTTPException) as error:
                failure = error
                if path:
                    break
        raise failure

    def _answer(self, url: str, file: IO[bytes], most: int, headers: Dict[str, str], what: str) -> Dict[str, str]:
        with self._open(url, headers=headers, timeout=TIMEOUT, decompress=False) as answer:
            received = 0
            for piece in iter(lambda: answer.read(PIECE), b""):
                received += len(piece)
                if received > most:
                    raise RepositoryError("{0} is larger than {1} bytes".format(what, most))
                file.write(piece)
            check_length(answer.headers.get("Content-Length"), received)
            return {**{key.lower(): str(value) for key, value in answer.headers.items()}, _FROM: str(answer.geturl())}

    def _compare(self, repository: Repository, state: _State, summary: Summary, newest: str) -> None:
        """Tell of a catalogue that is older or much smaller than one before."""
        before = max(state.newest, newest)
        if summary.newest and summary.newest < before:
            self._warn(
                "the catalogue of {0} goes back in time: the newest of its packages was built on {1}, and one of an "
                "earlier catalogue on {2}; a mirror may be behind, or somebody shows an old one".format(
                    repository.shown, summary.newest, before
                )
            )
        if summary.packages < state.packages * SHRUNK:
            self._warn(
                "the catalogue of {0} has {1} packages on {2}, and had {3} on {4}".format(
                    repository.shown, summary.packages, state.seen, state.packages, state.seen_before
                )
            )


def _check_way(repository: Repository, url: str) -> None:
    """Refuse what nobody signs, and anybody could change.

    :param url: where it is; a server may have sent us from https to http.
    """
    if repository.trust.kind == NONE and url.lower().startswith("http:"):
        raise RepositoryError(
            "nobody signs the repository {0}, and it would come by http: anybody on the way could say what is in "
            "it".format(repository.shown),
            todo="have it signed, or take https or a folder",
        )


def _read(path: str) -> _State:
    """What is known from the last time; nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return _State(**json.load(file))
    except (OSError, ValueError, TypeError):
        return _State()
