# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Getting what an image is built from: release sets, archives and packages, from this machine or from a server.

Everything that comes over a network has a digest that is known before, either its own or the one that the MANIFEST of
the release names. What was fetched is kept in a folder by that digest, so a build needs no network the second time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from ansible.module_utils.urls import open_url

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file

Say = Callable[[str], None]
#: a source as it is written in a definition: a path, a URL, or ``src`` and ``sha256``
Written = Union[str, Mapping[str, str]]

#: how often a server is asked before it is given up
ATTEMPTS = 4
#: how long a server may be silent (seconds)
TIMEOUT = 60
#: no MANIFEST is larger (bytes)
MAX_MANIFEST = 1 << 20
PIECE = 1 << 20

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SAFE = "nothing was built, and what was published before is as it was"


class SupplyError(FleetError):
    """Something that an image is built from cannot be had."""


@dataclass(frozen=True)
class Digest:
    """What a file must be.

    :param algorithm: its name in hashlib; FreeBSD's packages have BLAKE2b as well (``libpkg/pkg_checksum.c``).
    :param value: as hex.
    """

    algorithm: str
    value: str

    @property
    def name(self) -> str:
        """The name of such a file in the cache."""
        return self.value if self.algorithm == "sha256" else "{0}-{1}".format(self.algorithm, self.value)

    @property
    def title(self) -> str:
        """The algorithm, for people."""
        return {"sha256": "SHA-256", "blake2b": "BLAKE2b", "blake2s": "BLAKE2s"}.get(self.algorithm, self.algorithm)

    def of(self, path: str) -> str:
        """That of a file, by the same algorithm.

        :raises OSError: when it cannot be read.
        """
        return digest_file(path, self.algorithm)


@dataclass(frozen=True)
class Source:
    """Where something comes from.

    :param src: a path or URL.
    :param sha256: the SHA-256 that it must have; empty where the definition names none.
    """

    src: str
    sha256: str = ""

    @property
    def url(self) -> Optional[str]:
        """The URL, where it has to be fetched."""
        return self.src if urllib.parse.urlsplit(self.src).scheme in ("http", "https") else None

    @property
    def path(self) -> str:
        """The path on this machine."""
        parts = urllib.parse.urlsplit(self.src)
        return urllib.request.url2pathname(parts.path) if parts.scheme == "file" else self.src

    @property
    def name(self) -> str:
        """The name without folder, by which the MANIFEST of a release knows it."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.src).path) if self.url else self.path
        return os.path.basename(path.rstrip("/"))


@dataclass(frozen=True)
class Supplied:
    """Something that is on this machine now.

    :param sha256: of the file; empty for a folder.
    """

    path: str
    name: str
    sha256: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files and no archive."""
        return not self.sha256


@dataclass(frozen=True)
class Terms:
    """How sources are got.

    :param manifest: path or URL of the MANIFEST of a release; as a source it may have a digest.
    :param cache: folder for what is fetched.
    """

    manifest: Written = ""
    cache: str = "~/.cache/nanozfs-fleet"


USUAL = Terms()


def source_of(written: Written) -> Source:
    """A source as a definition has it.

    :raises Refused: when it is neither a string nor has ``src`` and ``sha256``.
    """
    if isinstance(written, str):
        return Source(_expanded(written))
    if not isinstance(written, Mapping) or not set(written) <= {"src", "sha256"} or not written.get("src"):
        raise Refused("{0!r} is no source: give a path, a URL, or src and sha256".format(written))
    digest = str(written.get("sha256") or "").lower()
    if digest and not _DIGEST.match(digest):
        raise Refused("{0!r} is no SHA-256 ({1})".format(digest, written["src"]))
    return Source(_expanded(str(written["src"])), digest)


def _expanded(src: str) -> str:
    try:
        scheme = urllib.parse.urlsplit(src).scheme
    except ValueError as error:
        raise Refused("{0!r} is no source: {1}".format(src, error))
    return src if scheme else os.path.expanduser(os.path.expandvars(src))


def parse_manifest(text: str) -> Dict[str, str]:
    """The digests of a release's MANIFEST, by the names of the sets.

    Each line is the name, the SHA-256, the number of files, and more for the installer, separated by tabs
    (``release/scripts/make-manifest.sh``).

    :raises SupplyError: when it is none.
    """
    found = {}
    for line in filter(str.strip, text.splitlines()):
        words = line.split("\t")
        if len(words) < 2 or not _DIGEST.match(words[1]):
            raise SupplyError("this is no MANIFEST of a release: {0!r}".format(line[:80]), safe=_SAFE)
        found[words[0]] = words[1]
    return found


class Store:
    """The folder with what was fetched, each file under its digest.

    :param say: told what is fetched.
    :param opener: opens a URL, as Ansible does it (proxies, certificates).
    """

    def __init__(self, folder: str, say: Say, opener: Callable[..., Any] = open_url) -> None:
        self._folder = os.path.expanduser(folder)
        self._say = say
        self._open = opener

    def path(self, digest: Digest) -> str:
        """Where a file with this digest is, or will be."""
        return os.path.join(self._folder, digest.name)

    def get(self, url: str, digest: Union[str, Digest], size: int = 0) -> str:
        """The path of a file with this digest, fetched unless it is there.

        A transfer that was broken off goes on where it ended. Two builds at a time fetch a file only once.

        :param digest: as text it is a SHA-256.
        :param size: how many bytes it has, where that is known; no more are taken then.
        :raises SupplyError: when it cannot be fetched.
        :raises Refused: when it has another digest.
        """
        wanted = Digest("sha256", digest) if isinstance(digest, str) else digest
        os.makedirs(self._folder, exist_ok=True)
        path = self.path(wanted)
        with open(path + ".lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(path):
                if wanted.of(path) == wanted.value:
                    return path
                self._say("what the cache has of {0} is damaged, and is fetched anew".format(url))
                os.unlink(path)
            self._fetch(url, path + ".part", wanted, size)
            os.replace(path + ".part", path)
        return path

    def manifest(self, url: str) -> str:
        """The text of a MANIFEST: that of the server, or where it cannot be reached the one of last time.

        :raises SupplyError: when there is neither.
        """
        kept = os.path.join(self._folder, "manifest-" + hashlib.sha256(url.encode("utf-8")).hexdigest())
        try:
            with self._open(url, timeout=TIMEOUT, decompress=False) as answer:
                raw = answer.read(MAX_MANIFEST)
        except (OSError, HTTPException) as error:
            if not os.path.exists(kept):
                raise SupplyError("{0} cannot be fetched: {1}".format(url, error), safe=_SAFE)
            self._say("{0} cannot be fetched ({1}): the one of last time is used".format(url, error))
            with open(kept, "rb") as file:
                return file.read().decode("utf-8", "replace")
        text = raw.decode("utf-8", "replace")
        parse_manifest(text)
        os.makedirs(self._folder, exist_ok=True)
        if os.path.exists(kept):
            with open(kept, "rb") as file:
                if file.read() != raw:
                    self._say("{0} is another one than last time; that of a release never changes".format(url))
        replace_file(kept, raw)
        return text

    def _fetch(self, url: str, part: str, digest: Digest, size: int) -> None:
        failure: Optional[Exception] = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(attempt - 1)
            had = os.path.getsize(part) if os.path.exists(part) else 0
            self._say("fetching {0}{1}".format(url, " from byte {0} on".format(had) if had else ""))
            try:
                self._receive(url, part, had, size)
            except urllib.error.HTTPError as error:
                failure = error
                if error.code == 416:  # what is there is no beginning of it
                    os.unlink(part)
                elif 400 <= error.code < 500 and error.code not in (408, 429):  # asking again would not help
                    break
                continue
            except (OSError, HTTPException) as error:
                failure = error
                if url.startswith("file:"):
                    break
                continue
            found = digest.of(part)
            if found == digest.value:
                return
            os.unlink(part)
            failure = Refused(
                "{0} has the {1} {2} and should have {3}".format(url, digest.title, found, digest.value),
                safe=_SAFE,
                todo="find out whether the digest is of another version, or the server has been tampered with",
            )
            if not had:
                raise failure
        if isinstance(failure, Refused):
            raise failure
        raise SupplyError(
            "{0} cannot be fetched: {1}".format(url, failure),
            safe="{0}; what has arrived is kept, and the next build goes on from there".format(_SAFE),
            todo="without a network, put the file into the cache as {0}".format(part[: -len(".part")]),
        )

    def _receive(self, url: str, part: str, had: int, size: int) -> None:
        """Append what is missing, or begin anew where the server does not send parts.

        :raises OSError: when the connection ends too early.
        :raises Refused: when it is more than it should be.
        """
        headers = {"Range": "bytes={0}-".format(had)} if had else {}
        with self._open(url, headers=headers, timeout=TIMEOUT, decompress=False) as answer:
            said = answer.headers["Content-Range"] or ""
            resumed = had and answer.getcode() == 206 and "bytes {0}-".format(had) in said
            length, received = answer.headers.get("Content-Length"), 0
            with open(part, "ab" if resumed else "wb") as file:
                for piece in iter(lambda: answer.read(PIECE), b""):
                    file.write(piece)
                    received += len(piece)
                    if size and file.tell() > size:
                        raise Refused(
                            "{0} is larger than the {1} bytes that it should have".format(url, size), safe=_SAFE
                        )
            check_length(length, received)


def check_length(said: Optional[str], received: int) -> None:
    """See that all has arrived that a server was about to send (``Content-Length``).

    :raises OSError: when it has not, or the server does not know.
    """
    if said is not None and said.strip() != str(received):
        raise OSError("the connection ended after {0} of {1} bytes".format(received, printable(said)))


def supply(written: Sequence[Written], terms: Terms, say: Say) -> List[Supplied]:
    """Have everything that a definition names on this machine, and see that it is what it should be.

    :param say: told what is being done.
    :raises FleetError: when something cannot be had, or is not what its digest says; nothing is built then.
    """
    store = Store(terms.cache, say)
    sources = [source_of(each) for each in written]
    listed: Optional[Mapping[str, str]] = None
    if terms.manifest:
        listed = parse_manifest(_manifest(terms.manifest, store))
    return [_supply(each, listed, store) for each in sources]


def _manifest(where: Written, store: Store) -> str:
    """The text of the MANIFEST, on which everything else rests.

    :raises Refused: when anybody on the way could have written it.
    """
    source = source_of(where)
    if source.url and not source.sha256 and source.url.lower().startswith("http:"):
        raise Refused(
            "the MANIFEST {0} would come by http, so that anybody on the way could say what the sets must be".format(
                source.src
            ),
            safe=_SAFE,
            todo="use https, a file that you have compared, or say its digest (image_manifest as src and sha256)",
        )
    if source.url and not source.sha256:
        return store.manifest(source.url)
    path = store.get(source.url, source.sha256) if source.url else source.path
    try:
        if source.sha256 and digest_file(path) != source.sha256:
            raise Refused("the MANIFEST {0} has another SHA-256 than {1}".format(source.src, source.sha256), safe=_SAFE)
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SupplyError("the MANIFEST {0} cannot be read: {1}".format(source.src, error), safe=_SAFE)


def _supply(source: Source, listed: Optional[Mapping[str, str]], store: Store) -> Supplied:
    if not source.url and os.path.isdir(source.path):
        if source.sha256:
            raise Refused("{0} is a folder and cannot have a SHA-256".format(source.src), safe=_SAFE)
        return Supplied(source.path, source.name)
    wanted = source.sha256 or (listed or {}).get(source.name, "")
    if not wanted and (listed is not None or source.url or source.src.startswith("file:")):
        raise Refused(
            "nothing says what {0} must be: {1}".format(
                source.src, "the MANIFEST does not name it" if listed is not None else "there is no digest"
            ),
            safe=_SAFE,
            todo="give it as src and sha256, or a MANIFEST (image_manifest) that names {0}".format(source.name),
        )
    if source.url:
        return Supplied(store.get(source.url, wanted), source.name, wanted)
    if not os.path.exists(source.path):
        raise SupplyError("there is no tree or archive {0}".format(source.path), safe=_SAFE)
    found = digest_file(source.path)
    if wanted and found != wanted:
        raise Refused(
            "{0} has the SHA-256 {1} and should have {2}".format(source.src, found, wanted),
            safe=_SAFE,
            todo="get it again, or the MANIFEST that belongs to it",
        )
    return Supplied(source.path, source.name, found)
