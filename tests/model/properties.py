# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties that zfs(8) and zpool(8) know: names, defaults, what may be set to what, how values are shown.

The tables are those of OpenZFS 2.1; what is different in a later one is in :mod:`tests.model.releases`.

Source: zfsprops(7), zpoolprops(7); the transcripts with ``get all`` and with the usage texts.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

UNLIMITED = (1 << 64) - 1

#: a user property may be this long, without the byte that ends it (zfsprops(7))
MAX_NAME, MAX_VALUE = 255, 8191

READ_ONLY, ONCE, DEFAULT, INHERIT = "read-only", "once", "default", "inherit"

FILESYSTEM, VOLUME, SNAPSHOT, BOOKMARK = "filesystem", "volume", "snapshot", "bookmark"
_TYPES = {"f": FILESYSTEM, "v": VOLUME, "s": SNAPSHOT, "b": BOOKMARK}


class Bad(Exception):
    """A property or a value that zfs does not take; the text is the reason."""


class Property(NamedTuple):
    """One native property.

    ``kind`` is how its value is kept and shown: ``bytes`` and ``number`` (with a unit, unless -p is given), ``plain``
    (never with one), ``limit``, ``count`` (``none`` where there is no limit; ``count, none`` also with -p), ``ratio``,
    ``date``, ``index`` (one of a few words) or ``string``. ``least`` is the least width of its column, where that is
    not the one of its title.
    """

    name: str
    kind: str
    rule: str
    types: Tuple[str, ...]
    values: str
    column: str
    default: str
    least: int = 0

    @property
    def editable(self) -> bool:
        return self.rule in (DEFAULT, INHERIT)

    @property
    def inheritable(self) -> bool:
        # what can only be set when a dataset is made counts as inheritable, but for the parameters of encryption
        return self.rule == INHERIT or (self.rule == ONCE and self.name not in ("keyformat", "pbkdf2iters"))

    @property
    def right(self) -> bool:
        """Whether its column is aligned to the right."""
        return self.kind not in ("index", "string", "date")

    def words(self) -> List[str]:
        """What an index may be set to."""
        words = [each.strip() for each in self.values.split("|")]
        return _WORDS.get(self.name) or [each for word in words for each in _spelled_out(word)]

    @property
    def width(self) -> int:
        """The least width of its column."""
        if self.least:
            return self.least
        if self.kind == "index":
            return max(len(self.column), *(len(word) for word in self.words()))
        return max(len(self.column), 5) if self.right else len(self.column)


def _spelled_out(word: str) -> List[str]:
    """The words that ``sha256[,verify]`` stands for."""
    short, bracket, end = word.partition("[")
    return [short, short + end.rstrip("]")] if bracket else [word]


def _levels(prefix: str, levels: Sequence[int]) -> List[str]:
    return ["{0}-{1}".format(prefix, level) for level in levels]


#: words of an index where they are more than its values as shown say
_WORDS: Dict[str, List[str]] = {
    "compression": ["on", "off", "lzjb", "gzip", "zle", "lz4", "zstd", "zstd-fast"]
    + _levels("gzip", range(1, 10))
    + _levels("zstd", range(1, 20))
    + _levels("zstd-fast", list(range(1, 11)) + list(range(20, 101, 10)) + [500, 1000]),
    "mounted": ["yes", "no"],
}

SIZE, LIMIT, SWITCH, _CACHE = "<size>", "<size> | none", "on | off", "all | none | metadata"

#: In the order of ``zfs get all``. Letters for the types: f file system, v volume, s snapshot, b bookmark.
_TABLE = (
    ("type", "string", READ_ONLY, "fvsb", "filesystem | volume | snapshot | bookmark", "TYPE", ""),
    ("creation", "date", READ_ONLY, "fvsb", "<date>", "CREATION", ""),
    ("used", "bytes", READ_ONLY, "fvs", SIZE, "USED", ""),
    ("available", "bytes", READ_ONLY, "fv", SIZE, "AVAIL", ""),
    ("referenced", "bytes", READ_ONLY, "fvsb", SIZE, "REFER", "", 8),  # zfs takes it for the health of a pool
    ("compressratio", "ratio", READ_ONLY, "fvsb", "<1.00x or higher if compressed>", "RATIO", ""),
    ("mounted", "index", READ_ONLY, "f", "yes | no", "MOUNTED", ""),
    ("origin", "string", READ_ONLY, "fv", "<snapshot>", "ORIGIN", ""),
    ("quota", "limit", DEFAULT, "f", LIMIT, "QUOTA", "0"),
    ("reservation", "limit", DEFAULT, "fv", LIMIT, "RESERV", "0"),
    ("volsize", "bytes", DEFAULT, "v", SIZE, "VOLSIZE", "0"),
    ("volblocksize", "number", ONCE, "v", "512 to 128k, power of 2", "VOLBLOCK", "8192"),
    ("recordsize", "number", INHERIT, "f", "512 to 1M, power of 2", "RECSIZE", "131072"),
    ("mountpoint", "string", INHERIT, "f", "<path> | legacy | none", "MOUNTPOINT", "/"),
    ("sharenfs", "string", INHERIT, "f", "on | off | NFS share options", "SHARENFS", "off"),
    (
        "checksum",
        "index",
        INHERIT,
        "fv",
        "on | off | fletcher2 | fletcher4 | sha256 | sha512 | skein",
        "CHECKSUM",
        "on",
    ),
    (
        "compression",
        "index",
        INHERIT,
        "fv",
        "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4 | zstd | zstd-[1-19] | "
        "zstd-fast | zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]",
        "COMPRESS",
        "off",
    ),
    ("atime", "index", INHERIT, "f", SWITCH, "ATIME", "on"),
    ("devices", "index", INHERIT, "fs", SWITCH, "DEVICES", "on"),
    ("exec", "index", INHERIT, "fs", SWITCH, "EXEC", "on"),
    ("setuid", "index", INHERIT, "fs", SWITCH, "SETUID", "on"),
    ("readonly", "index", INHERIT, "fv", SWITCH, "RDONLY", "off"),
    ("jailed", "index", INHERIT, "f", SWITCH, "JAILED", "off"),
    ("snapdir", "index", INHERIT, "f", "hidden | visible", "SNAPDIR", "hidden"),
    ("aclmode", "index", INHERIT, "f", "discard | groupmask | passthrough | restricted", "ACLMODE", "discard"),
    (
        "aclinherit",
        "index",
        INHERIT,
        "f",
        "discard | noallow | restricted | passthrough | passthrough-x",
        "ACLINHERIT",
        "restricted",
    ),
    ("createtxg", "plain", READ_ONLY, "fvsb", "<uint64>", "CREATETXG", ""),
    ("canmount", "index", DEFAULT, "f", "on | off | noauto", "CANMOUNT", "on"),
    ("xattr", "index", INHERIT, "fs", "on | off | dir | sa", "XATTR", "on"),
    ("copies", "index", INHERIT, "fv", "1 | 2 | 3", "COPIES", "1"),
    ("version", "index", DEFAULT, "fs", "1 | 2 | 3 | 4 | 5 | current", "VERSION", "5"),
    ("utf8only", "index", ONCE, "fs", SWITCH, "UTF8ONLY", "off"),
    ("normalization", "index", ONCE, "fs", "none | formC | formD | formKC | formKD", "NORMALIZATION", "none"),
    ("casesensitivity", "index", ONCE, "fs", "sensitive | insensitive | mixed", "CASE", "sensitive"),
    ("vscan", "index", INHERIT, "f", SWITCH, "VSCAN", "off"),
    ("nbmand", "index", INHERIT, "fs", SWITCH, "NBMAND", "off"),
    ("sharesmb", "string", INHERIT, "f", "on | off | SMB share options", "SHARESMB", "off"),
    ("refquota", "limit", DEFAULT, "f", LIMIT, "REFQUOTA", "0"),
    ("refreservation", "limit", DEFAULT, "fv", LIMIT, "REFRESERV", "0"),
    ("guid", "plain", READ_ONLY, "fvsb", "<uint64>", "GUID", ""),
    ("primarycache", "index", INHERIT, "fvs", _CACHE, "PRIMARYCACHE", "all"),
    ("secondarycache", "index", INHERIT, "fvs", _CACHE, "SECONDARYCACHE", "all"),
    ("usedbysnapshots", "bytes", READ_ONLY, "fv", SIZE, "USEDSNAP", ""),
    ("usedbydataset", "bytes", READ_ONLY, "fv", SIZE, "USEDDS", ""),
    ("usedbychildren", "bytes", READ_ONLY, "fv", SIZE, "USEDCHILD", ""),
    ("usedbyrefreservation", "bytes", READ_ONLY, "fv", SIZE, "USEDREFRESERV", ""),
    ("defer_destroy", "index", READ_ONLY, "s", "yes | no", "DEFER_DESTROY", ""),
    ("userrefs", "number", READ_ONLY, "s", "<count>", "USERREFS", ""),
    ("logbias", "index", INHERIT, "fv", "latency | throughput", "LOGBIAS", "latency"),
    ("objsetid", "plain", READ_ONLY, "fvs", "<uint64>", "OBJSETID", ""),
    (
        "dedup",
        "index",
        INHERIT,
        "fv",
        "on | off | verify | sha256[,verify] | sha512[,verify] | skein[,verify]",
        "DEDUP",
        "off",
    ),
    ("mlslabel", "string", INHERIT, "fvs", "<sensitivity label>", "MLSLABEL", "none"),
    ("sync", "index", INHERIT, "fv", "standard | always | disabled", "SYNC", "standard"),
    ("dnodesize", "index", INHERIT, "f", "legacy | auto | 1k | 2k | 4k | 8k | 16k", "DNSIZE", "legacy"),
    ("refcompressratio", "ratio", READ_ONLY, "fvs", "<1.00x or higher if compressed>", "REFRATIO", ""),
    ("written", "number", READ_ONLY, "fvs", SIZE, "WRITTEN", ""),
    ("clones", "string", READ_ONLY, "s", "<dataset>[,...]", "CLONES", ""),
    ("logicalused", "number", READ_ONLY, "fv", SIZE, "LUSED", ""),
    ("logicalreferenced", "number", READ_ONLY, "fvsb", SIZE, "LREFER", ""),
    ("volmode", "index", INHERIT, "fv", "default | full | geom | dev | none", "VOLMODE", "default"),
    ("filesystem_limit", "count", DEFAULT, "f", "<count> | none", "FSLIMIT", str(UNLIMITED)),
    ("snapshot_limit", "count", DEFAULT, "fv", "<count> | none", "SSLIMIT", str(UNLIMITED)),
    ("filesystem_count", "count", READ_ONLY, "f", "<count>", "FSCOUNT", str(UNLIMITED)),
    ("snapshot_count", "count", READ_ONLY, "fv", "<count>", "SSCOUNT", str(UNLIMITED)),
    ("snapdev", "index", INHERIT, "fv", "hidden | visible", "SNAPDEV", "hidden"),
    ("acltype", "index", INHERIT, "fs", "off | nfsv4 | posix", "ACLTYPE", "nfsv4"),
    ("context", "string", DEFAULT, "fvs", "<selinux context>", "CONTEXT", "none"),
    ("fscontext", "string", DEFAULT, "fvs", "<selinux fscontext>", "FSCONTEXT", "none"),
    ("defcontext", "string", DEFAULT, "fvs", "<selinux defcontext>", "DEFCONTEXT", "none"),
    ("rootcontext", "string", DEFAULT, "fvs", "<selinux rootcontext>", "ROOTCONTEXT", "none"),
    ("relatime", "index", INHERIT, "f", SWITCH, "RELATIME", "off"),
    ("redundant_metadata", "index", INHERIT, "fv", "all | most | some | none", "REDUND_MD", "all"),
    ("overlay", "index", INHERIT, "f", SWITCH, "OVERLAY", "on"),
    ("receive_resume_token", "string", READ_ONLY, "fv", "<string token>", "RESUMETOK", ""),
    (
        "encryption",
        "index",
        ONCE,
        "fvs",
        "on | off | aes-128-ccm | aes-192-ccm | aes-256-ccm | aes-128-gcm | aes-192-gcm | aes-256-gcm",
        "ENCRYPTION",
        "off",
    ),
    (
        "keylocation",
        "string",
        DEFAULT,
        "fv",
        "prompt | <file URI> | <https URL> | <http URL>",
        "KEYLOCATION",
        "none",
    ),
    ("keyformat", "index", ONCE, "fv", "none | raw | hex | passphrase", "KEYFORMAT", "none"),
    ("pbkdf2iters", "plain", ONCE, "fv", "<iters>", "PBKDF2ITERS", "0"),
    ("encryptionroot", "string", READ_ONLY, "fvs", "<filesystem | volume>", "ENCROOT", ""),
    ("keystatus", "index", READ_ONLY, "fvs", "none | unavailable | available", "KEYSTATUS", ""),
    ("special_small_blocks", "number", INHERIT, "f", "zero or 512 to 1M, power of 2", "SPECIAL_SMALL_BLOCKS", "0"),
    ("redact_snaps", "string", READ_ONLY, "fvsb", "<snapshot>[,...]", "RSNAPS", ""),
)

#: this stays empty in the model: nothing here is redacted
NEVER = ("redact_snaps",)

#: these are told by the key that a dataset is encrypted with
CRYPT = ("encryption", "keyformat", "keylocation", "encryptionroot", "keystatus")

#: these have no source
SOURCELESS = ("version", "utf8only", "normalization", "casesensitivity")


def dataset_property(name: str, kind: str, rule: str, types: str, *more: Any) -> Property:
    """A property of datasets; *types* are the letters of :data:`_TABLE`."""
    return Property(name, kind, rule, tuple(_TYPES[letter] for letter in types), *more)


def pool_property(name: str, kind: str, rule: str, *more: Any) -> Property:
    """A property of pools."""
    return Property(name, kind, rule, (), *more)


DATASETS_2_1 = tuple(dataset_property(*row) for row in _TABLE)

#: Properties of pools, in the order of ``zpool get all``; types do not matter.
_POOL_TABLE = (
    ("size", "number", READ_ONLY, SIZE, "SIZE", ""),
    ("capacity", "number", READ_ONLY, SIZE, "CAP", ""),
    ("altroot", "string", DEFAULT, "<path>", "ALTROOT", "-"),
    ("health", "number", READ_ONLY, "<state>", "HEALTH", "", 8),
    ("guid", "plain", READ_ONLY, "<guid>", "GUID", ""),
    ("version", "plain", DEFAULT, "<version>", "VERSION", "-"),
    ("bootfs", "string", DEFAULT, "<filesystem>", "BOOTFS", "-"),
    ("delegation", "index", DEFAULT, SWITCH, "DELEGATION", "on"),
    ("autoreplace", "index", DEFAULT, SWITCH, "REPLACE", "off"),
    ("cachefile", "string", DEFAULT, "<file> | none", "CACHEFILE", "-"),
    ("failmode", "index", DEFAULT, "wait | continue | panic", "FAILMODE", "wait"),
    ("listsnapshots", "index", DEFAULT, SWITCH, "LISTSNAPS", "off"),
    ("autoexpand", "index", DEFAULT, SWITCH, "EXPAND", "off"),
    ("dedupratio", "ratio", READ_ONLY, "<1.00x or higher if deduped>", "DEDUP", ""),
    ("free", "number", READ_ONLY, SIZE, "FREE", ""),
    ("allocated", "number", READ_ONLY, SIZE, "ALLOC", ""),
    ("readonly", "index", DEFAULT, SWITCH, "RDONLY", "off"),
    ("ashift", "number", DEFAULT, "<ashift, 9-16, or 0=default>", "ASHIFT", "0"),
    ("comment", "string", DEFAULT, "<comment-string>", "COMMENT", "-"),
    ("expandsize", "number", READ_ONLY, SIZE, "EXPANDSZ", ""),
    ("freeing", "number", READ_ONLY, SIZE, "FREEING", ""),
    ("fragmentation", "number", READ_ONLY, "<percent>", "FRAG", ""),
    ("leaked", "number", READ_ONLY, SIZE, "LEAKED", ""),
    ("multihost", "index", DEFAULT, SWITCH, "MULTIHOST", "off"),
    ("checkpoint", "number", READ_ONLY, SIZE, "CKPOINT", ""),
    ("load_guid", "plain", READ_ONLY, "<load_guid>", "LOAD_GUID", ""),
    ("autotrim", "index", DEFAULT, SWITCH, "AUTOTRIM", "off"),
    ("compatibility", "string", DEFAULT, "<file[,file...]> | off | legacy", "COMPATIBILITY", "off"),
)

POOLS_2_1 = tuple(pool_property(*row) for row in _POOL_TABLE)


# names


def is_user(name: str) -> bool:
    """Whether this is how a user property is named."""
    return ":" in name and all(
        "a" <= character <= "z" or "0" <= character <= "9" or character in "-_.:" for character in name
    )


def is_written(name: str) -> bool:
    """``written@SNAPSHOT``: how much was written since."""
    return name.startswith(("written@", "written#"))


def is_count(known: Property) -> bool:
    """Whether a property is a limit for a number of things, or that number."""
    return known.kind.startswith("count")


def is_quota(name: str) -> bool:
    """``userquota@NAME`` and its relatives, which belong to the data and are in no list."""
    return re.fullmatch(r"(user|group|project)(obj)?quota@.+", name) is not None


# values


def nice(number: int, suffix: str = "") -> str:
    """A number with a unit in at most five characters, as zfs shows it.

    :param suffix: the unit of what is below 1024: ``B`` for sizes, nothing for other numbers.
    """
    power = 0
    while number >> 10 * (power + 1) and power < 6:
        power += 1
    unit = suffix if power == 0 else "KMGTPE"[power - 1]
    if number % (1 << 10 * power) == 0:
        return "{0}{1}".format(number >> 10 * power, unit)
    value = number / (1 << 10 * power)
    shown = ["{0:.{1}f}{2}".format(value, places, unit) for places in (2, 1, 0)]
    return next((each for each in shown if len(each) <= 5), shown[-1])


def number_of(text: str) -> int:
    """A size as a person gives it.

    :raises Bad: when it is none.
    """
    if not text[:1].isdigit() and text[:1] != ".":
        raise Bad("bad numeric value '{0}'".format(text))
    digits = len(text) - len(text.lstrip("0123456789."))
    value, unit = text[:digits], text[digits:]
    power = "BKMGTPEZ".find(unit[:1].upper()) if unit else 0
    if power < 0 or unit[1:].upper() not in ("", "B", "IB") or (power == 0 and len(unit) > 1):
        raise Bad("invalid numeric suffix '{0}'".format(unit))
    result = int(value) << 10 * power if value.isdigit() else int(float(value) * (1 << 10 * power))
    if result > UNLIMITED:
        raise Bad("numeric value is too large")
    return result


def check_value(known: Property, text: str) -> str:
    """The value to keep for what somebody wants to set.

    :raises Bad: with the words of zfs.
    """
    if known.kind == "index":
        if text not in known.words():
            raise Bad("'{0}' must be one of '{1}'".format(known.name, known.values))
        return "5" if text == "current" else text
    if known.kind == "string":
        if known.name == "mountpoint" and text not in ("none", "legacy") and not text.startswith("/"):
            raise Bad("'mountpoint' must be an absolute path, 'none', or 'legacy'")
        return text
    if text == "none":
        return str(UNLIMITED) if is_count(known) else "0"
    number = number_of(text)
    if number == 0 and known.name in ("quota", "refquota"):
        raise Bad("use 'none' to disable quota/refquota")
    if known.name == "recordsize":
        largest = known.values.partition(" to ")[2].partition(",")[0]
        if not 512 <= number <= number_of(largest) or number & (number - 1):
            raise Bad("'recordsize' must be power of 2 from 512B to {0}".format(largest))
    return str(number)


def _date(value: str) -> str:
    import time  # noqa: PLC0415 - few commands show dates

    return time.strftime("%a %b %e %k:%M %Y", time.gmtime(int(value)))


def _count(value: str) -> str:
    return "none" if int(value) == UNLIMITED else nice(int(value))


_SHOWN: Dict[str, Callable[[str], str]] = {
    "bytes": lambda value: nice(int(value), "B"),
    "number": lambda value: nice(int(value)),
    "limit": lambda value: "none" if value == "0" else nice(int(value), "B"),
    "count": _count,
    "count, none": _count,
    "ratio": "{0}x".format,
    "date": _date,
}


def shown(known: Property, value: str, literal: bool) -> str:
    """A value as it is printed.

    :param literal: -p was given.
    """
    if known.kind == "count, none" and int(value) == UNLIMITED:
        return "none"
    return _SHOWN[known.kind](value) if known.kind in _SHOWN and not literal else value


def _sorted(known: Dict[str, Property]) -> List[Property]:
    """Read-only ones first, then by name."""
    return sorted(known.values(), key=lambda each: (each.rule != READ_ONLY, each.name))


_SUBJECTS = ("user", "group", "project")


class Native:
    """The native properties that a ZFS knows, in the order of ``get all``.

    :param usage_width: of the names in the usage text of zfs.
    """

    def __init__(self, datasets: Iterable[Property], pools: Iterable[Property], usage_width: int) -> None:
        self._usage_width = usage_width
        self.datasets = {each.name: each for each in datasets}
        self.pools = {each.name: each for each in pools}
        self._columns = {each.column.lower(): each.name for each in self.datasets.values()}
        self._pool_columns = {each.column.lower(): each.name for each in self.pools.values()}

    def canonical(self, name: str) -> str:
        """The name of a dataset property, which may be given by its column: ``avail`` for ``available``."""
        return self._columns.get(name.lower(), name)

    def canonical_pool(self, name: str) -> str:
        """Like :meth:`canonical` for properties of pools."""
        return self._pool_columns.get(name.lower(), name)

    def width(self, name: str) -> int:
        """The least width of the column of a property of datasets."""
        return self.datasets[name].width if name in self.datasets else len(name)

    def pool_width(self, name: str) -> int:
        """The least width of the column of a property of pools."""
        return self.pools[name].width if name in self.pools else len(name)

    def usage(self) -> str:
        """The table of properties at the end of a usage text of zfs."""
        lines = ["", "The following properties are supported:", "", "", ""]
        lines[-2] = "\t{0:<{w}}EDIT  INHERIT   VALUES".format("PROPERTY", w=self._usage_width)

        def row(name: str, edit: bool, inherit: bool, values: str) -> str:
            edits, inherits = "YES    " if edit else " NO    ", "  YES   " if inherit else "   NO   "
            return "\t{0:<{w}} {1}{2}{3}".format(name, edits, inherits, values, w=self._usage_width)

        lines += [row(each.name, each.editable, each.inheritable, each.values) for each in _sorted(self.datasets)]
        for what, edit, values in (("used", False, SIZE), ("quota", True, LIMIT)):
            for middle in ("", "obj"):
                for subject in _SUBJECTS:
                    lines.append(row("{0}{1}{2}@...".format(subject, middle, what), edit, False, values))
        lines += [row("written@<snap>", False, False, SIZE), row("written#<bookmark>", False, False, SIZE)]
        return (
            "\n".join(lines)
            + "\n\nSizes are specified in bytes with standard units such as K, M, G, etc.\n"
            + "\nUser-defined properties can be specified by using a name containing a colon (:).\n"
            + "\nThe {user|group|project}[obj]{used|quota}@ properties must be appended with\n"
            + "a user|group|project specifier of one of these forms:\n"
            + '    POSIX name      (eg: "matt")\n'
            + '    POSIX id        (eg: "126829")\n'
            + '    SMB name@domain (eg: "matt@sun")\n'
            + '    SMB SID         (eg: "S-1-234-567-89")\n'
        )

    def pool_usage(self) -> str:
        """The table of properties at the end of a usage text of zpool."""
        lines = ["", "the following properties are supported:", "", "\t{0:<19}  EDIT   VALUES".format("PROPERTY"), ""]
        lines += [
            "\t{0:<19}  {1}   {2}".format(each.name, " YES" if each.editable else "  NO", each.values)
            for each in _sorted(self.pools)
        ]
        lines += [
            "\t{0:<19}   YES   disabled | enabled | active".format("feature@..."),
            "",
            "The feature@ properties must be appended with a feature name.",
            "See zpool-features(7).",
        ]
        return "\n".join(lines) + "\n"
