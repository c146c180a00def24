# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties that zfs(8) and zpool(8) know: names, defaults, what may be set to what, how values are shown.

Source: zfsprops(7), zpoolprops(7); the transcripts with ``get all`` and with the usage texts.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

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
    (never with one), ``limit``, ``ratio``, ``date``, ``index`` (one of a few words) or ``string``.
    """

    name: str
    kind: str
    rule: str
    types: Tuple[str, ...]
    values: str
    column: str
    default: str

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
        return _WORDS.get(self.name) or [each.strip() for each in self.values.split("|")]


def _levels(prefix: str, levels: Sequence[int]) -> List[str]:
    return ["{0}-{1}".format(prefix, level) for level in levels]


#: words of an index where they are more than its values as shown say
_WORDS: Dict[str, List[str]] = {
    "compression": ["on", "off", "lzjb", "gzip", "zle", "lz4", "zstd", "zstd-fast"]
    + _levels("gzip", range(1, 10))
    + _levels("zstd", range(1, 20))
    + _levels("zstd-fast", list(range(1, 11)) + list(range(20, 101, 10)) + [500, 1000]),
    "dedup": ["on", "off", "verify"]
    + [each + end for each in ("sha256", "sha512", "skein") for end in ("", ",verify")],
    "mounted": ["yes", "no"],
}

_SIZE, _LIMIT, _SWITCH, _CACHE = "<size>", "<size> | none", "on | off", "all | none | metadata"

#: In the order of ``zfs get all``. Letters for the types: f file system, v volume, s snapshot, b bookmark.
_TABLE = (
    ("type", "string", READ_ONLY, "fvsb", "filesystem | volume | snapshot | bookmark", "TYPE", ""),
    ("creation", "date", READ_ONLY, "fvsb", "<date>", "CREATION", ""),
    ("used", "bytes", READ_ONLY, "fvs", _SIZE, "USED", ""),
    ("available", "bytes", READ_ONLY, "fv", _SIZE, "AVAIL", ""),
    ("referenced", "bytes", READ_ONLY, "fvsb", _SIZE, "REFER", ""),
    ("compressratio", "ratio", READ_ONLY, "fvsb", "<1.00x or higher if compressed>", "RATIO", ""),
    ("mounted", "index", READ_ONLY, "f", "yes | no", "MOUNTED", ""),
    ("origin", "string", READ_ONLY, "fv", "<snapshot>", "ORIGIN", ""),
    ("quota", "limit", DEFAULT, "f", _LIMIT, "QUOTA", "0"),
    ("reservation", "limit", DEFAULT, "fv", _LIMIT, "RESERV", "0"),
    ("volsize", "bytes", DEFAULT, "v", _SIZE, "VOLSIZE", "0"),
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
    ("atime", "index", INHERIT, "f", _SWITCH, "ATIME", "on"),
    ("devices", "index", INHERIT, "fs", _SWITCH, "DEVICES", "on"),
    ("exec", "index", INHERIT, "fs", _SWITCH, "EXEC", "on"),
    ("setuid", "index", INHERIT, "fs", _SWITCH, "SETUID", "on"),
    ("readonly", "index", INHERIT, "fv", _SWITCH, "RDONLY", "off"),
    ("jailed", "index", INHERIT, "f", _SWITCH, "JAILED", "off"),
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
    ("utf8only", "index", ONCE, "fs", _SWITCH, "UTF8ONLY", "off"),
    ("normalization", "index", ONCE, "fs", "none | formC | formD | formKC | formKD", "NORMALIZATION", "none"),
    ("casesensitivity", "index", ONCE, "fs", "sensitive | insensitive | mixed", "CASE", "sensitive"),
    ("vscan", "index", INHERIT, "f", _SWITCH, "VSCAN", "off"),
    ("nbmand", "index", INHERIT, "fs", _SWITCH, "NBMAND", "off"),
    ("sharesmb", "string", INHERIT, "f", "on | off | SMB share options", "SHARESMB", "off"),
    ("refquota", "limit", DEFAULT, "f", _LIMIT, "REFQUOTA", "0"),
    ("refreservation", "limit", DEFAULT, "fv", _LIMIT, "REFRESERV", "0"),
    ("guid", "plain", READ_ONLY, "fvsb", "<uint64>", "GUID", ""),
    ("primarycache", "index", INHERIT, "fvs", _CACHE, "PRIMARYCACHE", "all"),
    ("secondarycache", "index", INHERIT, "fvs", _CACHE, "SECONDARYCACHE", "all"),
    ("usedbysnapshots", "bytes", READ_ONLY, "fv", _SIZE, "USEDSNAP", ""),
    ("usedbydataset", "bytes", READ_ONLY, "fv", _SIZE, "USEDDS", ""),
    ("usedbychildren", "bytes", READ_ONLY, "fv", _SIZE, "USEDCHILD", ""),
    ("usedbyrefreservation", "bytes", READ_ONLY, "fv", _SIZE, "USEDREFRESERV", ""),
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
    ("written", "number", READ_ONLY, "fvs", _SIZE, "WRITTEN", ""),
    ("clones", "string", READ_ONLY, "s", "<dataset>[,...]", "CLONES", ""),
    ("logicalused", "number", READ_ONLY, "fv", _SIZE, "LUSED", ""),
    ("logicalreferenced", "number", READ_ONLY, "fvsb", _SIZE, "LREFER", ""),
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
    ("relatime", "index", INHERIT, "f", _SWITCH, "RELATIME", "off"),
    ("redundant_metadata", "index", INHERIT, "fv", "all | most | some | none", "REDUND_MD", "all"),
    ("overlay", "index", INHERIT, "f", _SWITCH, "OVERLAY", "on"),
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

PROPERTIES: Dict[str, Property] = {
    name: Property(name, kind, rule, tuple(_TYPES[letter] for letter in types), values, column, default)
    for name, kind, rule, types, values, column, default in _TABLE
}
_COLUMNS = {each.column.lower(): each.name for each in PROPERTIES.values()}

#: Properties of pools, in the order of ``zpool get all``; types do not matter.
_POOL_TABLE = (
    ("size", "number", READ_ONLY, _SIZE, "SIZE", ""),
    ("capacity", "number", READ_ONLY, _SIZE, "CAP", ""),
    ("altroot", "string", DEFAULT, "<path>", "ALTROOT", "-"),
    ("health", "number", READ_ONLY, "<state>", "HEALTH", ""),
    ("guid", "plain", READ_ONLY, "<guid>", "GUID", ""),
    ("version", "plain", DEFAULT, "<version>", "VERSION", "-"),
    ("bootfs", "string", DEFAULT, "<filesystem>", "BOOTFS", "-"),
    ("delegation", "index", DEFAULT, _SWITCH, "DELEGATION", "on"),
    ("autoreplace", "index", DEFAULT, _SWITCH, "REPLACE", "off"),
    ("cachefile", "string", DEFAULT, "<file> | none", "CACHEFILE", "-"),
    ("failmode", "index", DEFAULT, "wait | continue | panic", "FAILMODE", "wait"),
    ("listsnapshots", "index", DEFAULT, _SWITCH, "LISTSNAPS", "off"),
    ("autoexpand", "index", DEFAULT, _SWITCH, "EXPAND", "off"),
    ("dedupratio", "ratio", READ_ONLY, "<1.00x or higher if deduped>", "DEDUP", ""),
    ("free", "number", READ_ONLY, _SIZE, "FREE", ""),
    ("allocated", "number", READ_ONLY, _SIZE, "ALLOC", ""),
    ("readonly", "index", DEFAULT, _SWITCH, "RDONLY", "off"),
    ("ashift", "number", DEFAULT, "<ashift, 9-16, or 0=default>", "ASHIFT", "0"),
    ("comment", "string", DEFAULT, "<comment-string>", "COMMENT", "-"),
    ("expandsize", "number", READ_ONLY, _SIZE, "EXPANDSZ", ""),
    ("freeing", "number", READ_ONLY, _SIZE, "FREEING", ""),
    ("fragmentation", "number", READ_ONLY, "<percent>", "FRAG", ""),
    ("leaked", "number", READ_ONLY, _SIZE, "LEAKED", ""),
    ("multihost", "index", DEFAULT, _SWITCH, "MULTIHOST", "off"),
    ("checkpoint", "number", READ_ONLY, _SIZE, "CKPOINT", ""),
    ("load_guid", "plain", READ_ONLY, "<load_guid>", "LOAD_GUID", ""),
    ("autotrim", "index", DEFAULT, _SWITCH, "AUTOTRIM", "off"),
    ("compatibility", "string", DEFAULT, "<file[,file...]> | off | legacy", "COMPATIBILITY", "off"),
)

POOL_PROPERTIES: Dict[str, Property] = {
    name: Property(name, kind, rule, (), values, column, default)
    for name, kind, rule, values, column, default in _POOL_TABLE
}
_POOL_COLUMNS = {each.column.lower(): each.name for each in POOL_PROPERTIES.values()}

#: features of OpenZFS 2.1 that a pool uses from its first day on, in their order
_ACTIVE = [
    "lz4_compress",
    "spacemap_histogram",
    "enabled_txg",
    "hole_birth",
    "embedded_data",
    "spacemap_v2",
    "log_spacemap",
]
FEATURES = [
    "async_destroy",
    "empty_bpobj",
    "lz4_compress",
    "multi_vdev_crash_dump",
    "spacemap_histogram",
    "enabled_txg",
    "hole_birth",
    "extensible_dataset",
    "embedded_data",
    "bookmarks",
    "filesystem_limits",
    "large_blocks",
    "large_dnode",
    "sha512",
    "skein",
    "userobj_accounting",
    "encryption",
    "project_quota",
    "device_removal",
    "obsolete_counts",
    "zpool_checkpoint",
    "spacemap_v2",
    "allocation_classes",
    "resilver_defer",
    "bookmark_v2",
    "redaction_bookmarks",
    "redacted_datasets",
    "bookmark_written",
    "log_spacemap",
    "livelist",
    "device_rebuild",
    "zstd_compress",
    "draid",
]


def feature(name: str) -> str:
    """State of a feature in a pool that was made with all of them."""
    return "active" if name in _ACTIVE else "enabled"


# names


def canonical(name: str) -> str:
    """The name of a dataset property, which may be given by its column: ``avail`` for ``available``."""
    return _COLUMNS.get(name.lower(), name)


def canonical_pool(name: str) -> str:
    """Like :func:`canonical` for properties of pools."""
    return _POOL_COLUMNS.get(name.lower(), name)


def is_user(name: str) -> bool:
    """Whether this is how a user property is named."""
    return ":" in name and all(
        "a" <= character <= "z" or "0" <= character <= "9" or character in "-_.:" for character in name
    )


def is_written(name: str) -> bool:
    """``written@SNAPSHOT``: how much was written since."""
    return name.startswith(("written@", "written#"))


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
        return str(UNLIMITED) if known.kind == "count" else "0"
    number = number_of(text)
    if number == 0 and known.name in ("quota", "refquota"):
        raise Bad("use 'none' to disable quota/refquota")
    if known.name == "recordsize" and (not 512 <= number <= 1 << 20 or number & (number - 1)):
        raise Bad("'recordsize' must be power of 2 from 512B to 1M")
    return str(number)


def _date(value: str) -> str:
    import time  # noqa: PLC0415 - few commands show dates

    return time.strftime("%a %b %e %k:%M %Y", time.gmtime(int(value)))


_SHOWN: Dict[str, Callable[[str], str]] = {
    "bytes": lambda value: nice(int(value), "B"),
    "number": lambda value: nice(int(value)),
    "limit": lambda value: "none" if value == "0" else nice(int(value), "B"),
    "count": lambda value: "none" if int(value) == UNLIMITED else nice(int(value)),
    "ratio": "{0}x".format,
    "date": _date,
}


def shown(known: Property, value: str, literal: bool) -> str:
    """A value as it is printed.

    :param literal: -p was given.
    """
    return _SHOWN[known.kind](value) if known.kind in _SHOWN and not literal else value


def width(known: Optional[Property], name: str) -> int:
    """The least width of a column. The one of REFER is 8: zfs takes it for the health of a pool."""
    if known is None:
        return len(name)
    if known.name in ("referenced", "health"):
        return 8
    if known.kind == "index":
        return max(len(known.column), *(len(word) for word in known.words()))
    return max(len(known.column), 5) if known.right else len(known.column)


def _sorted(known: Dict[str, Property]) -> List[Property]:
    """Read-only ones first, then by name."""
    return sorted(known.values(), key=lambda each: (each.rule != READ_ONLY, each.name))


_SUBJECTS = ("user", "group", "project")


def usage() -> str:
    """The table of properties at the end of a usage text of zfs."""
    lines = ["", "The following properties are supported:", "", "\tPROPERTY       EDIT  INHERIT   VALUES", ""]

    def row(name: str, edit: bool, inherit: bool, values: str) -> str:
        return "\t{0:<15} {1}{2}{3}".format(
            name, "YES    " if edit else " NO    ", "  YES   " if inherit else "   NO   ", values
        )

    lines += [row(each.name, each.editable, each.inheritable, each.values) for each in _sorted(PROPERTIES)]
    for what, edit, values in (("used", False, _SIZE), ("quota", True, _LIMIT)):
        for middle in ("", "obj"):
            for subject in _SUBJECTS:
                lines.append(row("{0}{1}{2}@...".format(subject, middle, what), edit, False, values))
    lines += [row("written@<snap>", False, False, _SIZE), row("written#<bookmark>", False, False, _SIZE)]
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


def pool_usage() -> str:
    """The table of properties at the end of a usage text of zpool."""
    lines = ["", "the following properties are supported:", "", "\t{0:<19}  EDIT   VALUES".format("PROPERTY"), ""]
    lines += [
        "\t{0:<19}  {1}   {2}".format(each.name, " YES" if each.editable else "  NO", each.values)
        for each in _sorted(POOL_PROPERTIES)
    ]
    lines += [
        "\t{0:<19}   YES   disabled | enabled | active".format("feature@..."),
        "",
        "The feature@ properties must be appended with a feature name.",
        "See zpool-features(7).",
    ]
    return "\n".join(lines) + "\n"
