# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of a repository: its archive, and the packages that it names.

Source: pkg-repository(5), ``libpkg/pkg_repo_meta.c``, ``pkg_repo_create.c`` and ``repo/binary/update.c`` of freebsd/pkg
(13f9f98). A repository has a ``meta.conf``, which is not signed and only says what files are called, and two archives
with the same records: ``data`` is one JSON text, ``packagesite.yaml`` one a line. FreeBSD's has 36,000 packages in
60 MB, so neither is ever in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass, field
from typing import IO, Any, Dict, Iterator, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import packages
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import digest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import PUB, SIG, SIGNATURE, Signed

META = "meta.conf"

#: the most that is read (bytes): of meta.conf, of an archive, of the member that is the catalogue
MAX_META, MAX_ARCHIVE, MAX_MEMBER = 1 << 20, 256 << 20, 1 << 30
#: signatures and keys in an archive, and the bytes of each (``PKG_REPO_MAX_SIGNATURE_ENTRIES``, ``…_SIZE``)
MAX_SIGNATURES, MAX_SIGNATURE = 8, 1 << 20
#: the characters of a record, and the number of records
MAX_RECORD, MAX_RECORDS = 16 << 20, 500000

PIECE = 1 << 20

#: there is one way only to match it: who is on the way may write lines of any length
_META_LINE = re.compile(r"[ \t]*\"?([a-z_]+)\"?[ \t]*[=:]([^;]*)")
_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*\Z")
_VERSION = re.compile(r"[A-Za-z0-9_.+,:~*-]{1,255}\Z")

#: as builders write a time
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:]+([+-]\d{4}|Z)?\Z")
#: no package is larger (bytes), and no ``__FreeBSD_version`` higher
MAX_SIZE, MAX_OSVERSION = 1 << 40, 10**8

_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Meta:
    """What a repository calls its files.

    :param data: the member with everything in one, and the archive's name without its end.
    :param manifests: the member with a record a line; ``archive`` is that one's archive.
    :param packing: the end of archives by another name.
    """

    data: str = "data"
    manifests: str = "packagesite.yaml"
    archive: str = "packagesite"
    packing: str = "tzst"

    @property
    def choices(self) -> Sequence[Tuple[str, str]]:
        """Archives and their members, in the order in which pkg(8) asks for them."""
        ends = ("pkg", self.packing)
        return [(name + "." + end, member) for name, member in self._names for end in ends]

    @property
    def _names(self) -> Sequence[Tuple[str, str]]:
        return ((self.data, self.data), (self.archive, self.manifests))


def parse_meta(text: str, where: str) -> Meta:
    """Read a ``meta.conf``.

    :raises RepositoryError: when it is of a version that is not known, or names something else than files.
    """
    lines = filter(None, map(_META_LINE.match, text.splitlines()))
    found = {each.group(1): each.group(2).strip().rstrip(",").strip().strip('"') for each in lines}
    if found.get("version") not in ("1", "2"):
        raise RepositoryError("{0} is none of version 1 or 2: {1}".format(where, ascii(text[:60])))
    usual = Meta()
    meta = Meta(
        data=found.get("data", usual.data),
        manifests=found.get("manifests", usual.manifests),
        archive=found.get("manifests_archive", usual.archive),
        packing=found.get("packing_format", usual.packing),
    )
    for name in (meta.data, meta.manifests, meta.archive, meta.packing):
        if not _MEMBER.match(name) or len(name) > 100:
            raise RepositoryError("{0} names {1}, which is no file's name".format(where, ascii(name[:100])))
    return meta


def unpack(path: str, member: str, into: IO[bytes], what: str) -> Signed:
    """Take the catalogue out of its archive. It is not believed yet.

    :param into: gets the member; a file of this process alone.
    :param what: the archive, for messages.
    :raises RepositoryError: when it is not there, too large, or the archive is damaged.
    """
    sha256, blake2b, size = hashlib.sha256(), hashlib.blake2b(), -1
    files: Dict[str, bytes] = {}
    with packages.opened(path, what) as tar:
        for each in tar:
            if not each.isfile():
                raise RepositoryError("{0} has something in it that is no file: {1}".format(what, ascii(each.name)))
            if each.name == member and size < 0:
                size = 0
                for piece in _pieces(tar, each):
                    size += len(piece)
                    if size > MAX_MEMBER:
                        raise RepositoryError("{0} is larger than any catalogue".format(what))
                    sha256.update(piece)
                    blake2b.update(piece)
                    into.write(piece)
            elif each.name == SIGNATURE or each.name.endswith((SIG, PUB)):
                if not 0 < each.size <= MAX_SIGNATURE or len(files) >= MAX_SIGNATURES or each.name in files:
                    raise RepositoryError("{0} has signatures that are none".format(what))
                files[each.name] = b"".join(_pieces(tar, each))
            else:
                raise RepositoryError("{0} has {1} in it, which does not belong there".format(what, ascii(each.name)))
    if size < 0:
        raise RepositoryError("{0} has no {1} in it".format(what, member))
    return Signed(sha256.hexdigest(), blake2b.hexdigest(), files)


def _pieces(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = tar.extractfile(member)
    while content is not None:
        piece = content.read(PIECE)
        if not piece:
            return
        yield piece


@dataclass(frozen=True)
class Record:
    """A package, as a catalogue names it.

    :param flavour: of its port; empty for none.
    :param abi: ``FreeBSD:14:amd64``, with ``*`` for any.
    :param osversion: ``__FreeBSD_version`` of the system that it was built on; 0 where it does not matter.
    :param built: when it was built, as the builder writes it; empty where it does not say.
    :param path: below the repository.
    :param size: of the archive in bytes; ``sum`` its digest, in pkg's form.
    :param needs: names of packages; the versions beside them are not compared by pkg(8).
    :param libraries: shared libraries that it needs, ``brings`` those that it has.
    :param requires: and ``provides``: likewise of anything else.
    :param conflicts: names of packages that it cannot be beside of.
    :param is_module: it is a module of the kernel (category ``kld``, ``Mk/Uses/kmod.mk`` of the ports).
    """

    name: str
    version: str
    origin: str = ""
    flavour: str = ""
    abi: str = ""
    osversion: int = 0
    built: str = ""
    path: str = ""
    size: int = 0
    sum: str = ""
    needs: Tuple[str, ...] = ()
    libraries: Tuple[str, ...] = ()
    brings: Tuple[str, ...] = ()
    requires: Tuple[str, ...] = ()
    provides: Tuple[str, ...] = ()
    conflicts: Tuple[str, ...] = ()
    is_module: bool = False

    @property
    def title(self) -> str:
        """Name and version."""
        return "{0}-{1}".format(self.name, self.version)


@dataclass
class Summary:
    """What is known of a catalogue beside its packages.

    :param newest: when the newest of its packages was built; empty where none says so.
    """

    packages: int = 0
    newest: str = ""
    replaced: Dict[str, str] = field(default_factory=dict)


def parse_record(values: Any, what: str) -> Record:
    """A record of a catalogue.

    :raises RepositoryError: when it is none, or names a file outside the repository.
    """
    try:
        annotations = values.get("annotations") or {}
        ignored = set(values.get("shlibs_required_ignore") or ())
        record = Record(
            name=_text(values["name"]),
            version=_text(values["version"]),
            origin=_text(values.get("origin", "")),
            flavour=_text(annotations.get("flavor", "")),
            abi=_text(values.get("abi") or values.get("arch") or ""),
            osversion=_number(annotations.get("FreeBSD_version") or 0, MAX_OSVERSION),
            built=_time(annotations.get("build_timestamp")),
            path=_text(values.get("repopath") or values["path"]),
            size=_number(values["pkgsize"], MAX_SIZE),
            sum=_text(values["sum"]),
            needs=_names(values.get("deps")),
            libraries=tuple(each for each in _names(values.get("shlibs_required")) if each not in ignored),
            brings=_names(values.get("shlibs_provided")),
            requires=_names(values.get("requires")),
            provides=_names(values.get("provides")),
            conflicts=_names(values.get("conflicts")),
            is_module="kld" in (values.get("categories") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RepositoryError("{0} has a record that is none: {1!r}".format(what, error))
    if not _NAME.match(record.name) or not _VERSION.match(record.version):
        raise RepositoryError("{0} names a package {1}, which is no name".format(what, ascii(record.title)[:120]))
    parts = record.path.split("/")
    if ".." in parts or not all(parts) or record.size <= 0:
        raise RepositoryError(
            "{0} has {1} in {2} ({3} bytes), which is no place in a repository".format(
                what, record.title, ascii(record.path)[:120], record.size
            )
        )
    return record


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("{0!r} is no text".format(value))
    if not value.isprintable():  # messages have it
        raise ValueError("{0!r} has something in it that a terminal would obey".format(value[:80]))
    return value


def _number(value: Any, most: int) -> int:
    found = int(value)
    if found > most:
        raise ValueError("it has a number larger than {0}".format(most))
    return found


def _time(value: Any) -> str:
    """When a package was built; empty where it is written as nobody writes it."""
    return value if isinstance(value, str) and _TIME.match(value) else ""


def _names(values: Any) -> Tuple[str, ...]:
    """Names: a list of them, or a map from each to what is known of it."""
    if isinstance(values, str):
        raise TypeError("{0!r} is no list".format(values[:80]))
    return tuple(sorted({_text(each) for each in values or ()}))


def records(file: IO[bytes], is_lines: bool, summary: Summary, what: str) -> Iterator[Record]:
    """The records of a catalogue that was unpacked; *summary* is filled on the way.

    :param is_lines: there is one a line.
    :raises RepositoryError: when it is no catalogue.
    """
    raw = _lines(file, what) if is_lines else _document(file, summary, what)
    for values in raw:
        record = parse_record(values, what)
        digest.parse(record.sum)
        summary.packages += 1
        summary.newest = max(summary.newest, record.built)
        if summary.packages > MAX_RECORDS:
            raise RepositoryError("{0} has more packages than there are".format(what))
        yield record


def _lines(file: IO[bytes], what: str) -> Iterator[Any]:
    while True:
        line = file.readline(MAX_RECORD)
        if not line:
            return
        if line.strip():
            yield _loaded(line.decode("utf-8", "replace"), what)


def _loaded(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RepositoryError("{0} is no catalogue: {1}".format(what, error))


def _document(file: IO[bytes], summary: Summary, what: str) -> Iterator[Any]:
    """The packages of ``{"groups": [], "expired_packages": [], "packages": [{…}, …]}``, one at a time."""
    reader = _Reader(file, what)
    reader.take("{")
    while True:
        key = reader.value()
        reader.take(":")
        if key == "packages":
            reader.take("[")
            if not reader.took("]"):
                while True:
                    yield reader.value()
                    if reader.took("]"):
                        break
                    reader.take(",")
        elif key == "expired_packages":
            _replacements(reader.value(), summary)
        else:
            reader.value()
        if reader.took("}"):
            return
        reader.take(",")


def _replacements(values: Any, summary: Summary) -> None:
    """Names of packages that are gone, and what took their place, for messages."""
    for each in values if isinstance(values, list) else ():
        if isinstance(each, Mapping) and each.get("name"):
            summary.replaced[str(each["name"])] = printable(str(each.get("replaced_by") or each.get("reason") or ""))


class _Reader:
    """JSON that is not in memory as a whole."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file, self._what = file, what
        self._decode = json.JSONDecoder().raw_decode
        self._text, self._at, self._rest = "", 0, b""

    def _more(self) -> bool:
        """Read on; whether there was something."""
        raw = self._rest + self._file.read(PIECE)
        if len(raw) == len(self._rest):
            return False
        # a letter of several bytes may be cut in two
        end = len(raw)
        while end and end > len(raw) - 4 and raw[end - 1] & 0xC0 == 0x80:
            end -= 1
        if end and raw[end - 1] >= 0xC0:
            end -= 1
        else:
            end = len(raw)
        self._rest = raw[end:]
        self._text = self._text[self._at :] + raw[:end].decode("utf-8", "replace")
        self._at = 0
        return True

    def _skip(self) -> str:
        """The next letter that is no blank; empty at the end."""
        while True:
            found = _BLANK.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def took(self, letter: str) -> bool:
        """Go on behind a letter, if it is the next one."""
        if self._skip() != letter:
            return False
        self._at += 1
        return True

    def take(self, letter: str) -> None:
        """Go on behind a letter.

        :raises RepositoryError: when it is not there.
        """
        if not self.took(letter):
            raise RepositoryError("{0} is no catalogue: a {1!r} is missing".format(self._what, letter))

    def value(self) -> Any:
        """The next value.

        :raises RepositoryError: when there is none.
        """
        self._skip()
        while True:
            try:
                value, self._at = self._decode(self._text, self._at)
                return value
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > MAX_RECORD or not self._more():
                    raise RepositoryError("{0} is no catalogue: {1}".format(self._what, error))


def as_json(record: Record) -> str:
    """A record for the index; what is empty is left out."""
    values: Dict[str, Any] = {key: value for key, value in vars(record).items() if value}
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Record:
    """A record of the index."""
    values: Dict[str, Any] = json.loads(text)
    values.update((key, tuple(value)) for key, value in values.items() if isinstance(value, list))
    return Record(**values)
