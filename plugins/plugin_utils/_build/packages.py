# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Laying FreeBSD packages into a tree without pkg(8), which runs on FreeBSD only.

A package is a tar archive, compressed with zstd or xz: ``+COMPACT_MANIFEST``, ``+MANIFEST`` (JSON) and then the files,
with absolute paths. What its scripts would do is done where it is known, and said where it is not. Source:
pkg-create(8); ``libpkg/pkg_manifest.c`` of freebsd/pkg: ``users`` and ``groups`` are names, or names with a line of
passwd(5) or group(5).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tarfile
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import IO, Any, BinaryIO, Collection, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Package
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of, plain, printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import certificates, lua, scripts, standard, triggers
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import GROUP, MASTER, Accounts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Say, Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import (
    MAX_NUMBER,
    NO_ANSWERS,
    POST,
    PRE,
    Answers,
    Script,
    Work,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.staging import Staging
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, Node, Tree, TreeError

MANIFEST, COMPACT = "+MANIFEST", "+COMPACT_MANIFEST"

#: of packages; before pkg 1.17 they were called after their compression
SUFFIXES = (".pkg", ".txz", ".tzst")

#: where packages are below a folder: as ``pkg fetch -o`` leaves it, also from a repository with hashed names, and the
#: top of a repository that poudriere made
FOLDERS = ("", "All", "All/Hashed", "Hashed")

#: packages of a repository that hold its catalogue
CATALOGUE = frozenset(("packagesite", "data", "meta", "filesite", "digests", "repo"))
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

#: the most of a manifest, or of a file with users, that is read (bytes); the largest of ports have half a MiB
MAX_TEXT = 64 << 20
#: how much more a package may unpack to than it says (bytes, and a part of that), and the most of one that does not
#: say; no image is larger. pkg counts a link as its target's length, so real ones say a little more than they have
MORE_FLAT, MORE_PART, MAX_FLAT = 1 << 20, 10, 64 << 30
#: no file is from a time so far from 1970 (seconds)
MAX_TIME = 1 << 40
#: the most of what stands before a member of an archive: a long name, attributes
MAX_EXTENSION = 1 << 20

#: how much of what is below /var a message names
NAMED = 6

#: where kernels look for modules
MODULES = ("/boot/modules/", "/boot/kernel/")

_SAFE = "nothing was built"


class PackageError(TreeError):
    """A package cannot be laid into the image."""


@dataclass(frozen=True)
class Archive:
    """A package's file, and what it says of itself.

    :param needs: names of the packages that it depends on.
    :param users: a line of passwd(5) for each user that it needs; empty where it only names it. ``groups`` likewise.
    :param scripts: those that it would run when it is installed, in their order.
    :param accounts: whether it brings users and groups of the base system, that files of others may belong to.
    :param libraries: shared libraries that it brings.
    :param prefix: of what its scripts name without a slash at the beginning.
    :param files: the files that it has, by their full paths, with their modes where it says them.
    :param osversion: ``__FreeBSD_version`` of the system that it was built on; 0 where it does not say.
    :param is_module: it brings a module of the kernel; not the kernel itself.
    :param flatsize: the bytes that its files have; 0 where it does not say.
    :param unclear: it says of itself only what stands in its compact manifest, as the other one is no JSON.
    """

    path: str
    package: Package
    abi: str
    needs: Tuple[str, ...]
    users: Tuple[Tuple[str, str], ...]
    groups: Tuple[Tuple[str, str], ...]
    scripts: Tuple[Script, ...]
    accounts: bool = False
    libraries: Tuple[str, ...] = ()
    files: Mapping[str, Optional[int]] = field(default_factory=dict)
    unclear: bool = False
    prefix: str = "/usr/local"
    osversion: int = 0
    is_module: bool = False
    flatsize: int = 0


class Laid(NamedTuple):
    """What there is to do after packages were laid into a tree, and to know of them.

    ``lines``: those of users and groups that they bring, with the path of the file that each has to be added to when it
    is the last one of its name in the tree. ``privileged``: by package, its files that run as somebody else
    (set-user-ID and set-group-ID), with their modes. ``members``: users that belong into a group, after its name.
    """

    lines: List[Tuple[str, str]]
    privileged: Dict[str, List[str]]
    members: List[Tuple[str, str]]


class NotRun(NamedTuple):
    """A script of a package that was not run, and why where there is more to say than that it is for a shell."""

    archive: Archive
    script: Script
    why: str = ""

    def place(self) -> Tuple[str, int]:
        """For the order of messages: by package, and as they would have run; triggers are no scripts of it."""
        there = self.archive.scripts
        return self.archive.package.name, there.index(self.script) if self.script in there else len(there)

    def said(self) -> str:
        """It, for a message."""
        why = ": {0}".format(plain(self.why)) if self.why else ""
        digest = ", sha256 {0}".format(self.script.sha256) if self.script.text else ""
        if self.script not in self.archive.scripts:
            return "the package {0} has a trigger that was not run, so a cache may be missing ({1}){2}".format(
                self.archive.package.name, triggers.shown(self.script), digest
            )
        return "the package {0} has a script that was not run ({1}){2}; `pkg info -R -F {3}` shows it{4}".format(
            self.archive.package.name, self.script.shown(), why, self.archive.path, digest
        )


class _Member(tarfile.TarInfo):
    """A member of an archive of which nothing is known yet.

    Python reads extensions of any length into memory, and the tables of files with holes, which packages do not have.
    """

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _EXTENSIONS and found.size > MAX_EXTENSION:
            raise tarfile.ReadError("what stands before a member has {0} bytes".format(found.size))
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a file in it has holes")
        return found

    def _proc_gnusparse_10(self, next: Any, pax_headers: Any, tarfile: Any) -> None:
        raise OSError("a file in it has holes")


#: extensions of tar(5) that have a content of their own
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


@contextlib.contextmanager
def opened(path: str, what: str = "") -> Iterator[tarfile.TarFile]:
    """A package, or the archive of a catalogue, as a stream.

    :param what: it is, for messages; by default the package with this path.
    :raises PackageError: when it cannot be read.
    """
    what = what or "the package {0}".format(path)
    try:
        with open(path, "rb") as file:
            is_zstd = file.read(4) == ZSTD_MAGIC
            file.seek(0)
            if is_zstd:
                with _unpacker(what, file) as plain, tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as tar:
                    yield tar
            else:
                with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as tar:
                    yield tar
    except (OSError, tarfile.TarError, EOFError, RecursionError) as error:  # it recurses with each extension
        raise PackageError("{0} cannot be read: {1}".format(what, error), safe=_SAFE)


@contextlib.contextmanager
def _unpacker(what: str, file: BinaryIO) -> Iterator[Any]:
    try:
        import zstandard  # noqa: PLC0415 - not everybody has packages, and some have only those with xz
    except ImportError:
        raise PackageError(
            "{0} is compressed with zstd, which this machine cannot read".format(what),
            safe=_SAFE,
            todo="install the Python package zstandard where Ansible runs",
        )
    try:
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain:
            yield plain
    except zstandard.ZstdError as error:
        raise PackageError("{0} cannot be read: {1}".format(what, error), safe=_SAFE)


def _text_of(content: IO[bytes], path: str) -> bytes:
    """A manifest, or another small file of a package.

    :raises PackageError: when it is no small one.
    """
    found = content.read(MAX_TEXT + 1)
    if len(found) > MAX_TEXT:
        raise PackageError("the package {0} has a manifest larger than any".format(path), safe=_SAFE)
    return found


def _lines(values: Any) -> Tuple[Tuple[str, str], ...]:
    """Users or groups: a list of names, of maps from names to lines, or such a map."""
    found: Dict[str, str] = {}
    for each in [values] if isinstance(values, Mapping) else values or []:
        found.update(each if isinstance(each, Mapping) else {str(each): ""})
    return tuple(sorted((str(name), str(line)) for name, line in found.items()))


def parse_manifest(text: str, path: str, sha256: str) -> Archive:
    """What a ``+MANIFEST`` says.

    :param text: bytes that are no UTF-8 are in it as ``surrogateescape`` has them.
    :param path: of the package.
    :raises PackageError: when it cannot be read.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_once)
        # Lua scripts are not written as in an address, and may have any bytes; for the rest they are no letters
        letters = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        values = raw if letters == text else json.loads(letters)
        return Archive(
            path=path,
            package=Package(
                name=_word(values["name"]),
                version=str(values["version"]),
                origin=str(values.get("origin", "")),
                licenses=tuple(sorted(str(each) for each in values.get("licenses") or ())),
                options=tuple(sorted((str(key), str(value)) for key, value in (values.get("options") or {}).items())),
                sha256=sha256,
                flavor=str((values.get("annotations") or {}).get("flavor") or ""),
            ),
            abi=str(values.get("abi") or values.get("arch") or ""),
            needs=tuple(sorted(str(name) for name in values.get("deps") or {})),
            users=_lines(values.get("users")),
            groups=_lines(values.get("groups")),
            scripts=scripts.of(raw),
            accounts=_has_accounts(str(values["name"]), values.get("files") or {}),
            libraries=tuple(sorted(str(name) for name in values.get("shlibs_provided") or ())),
            files=_files_of(values.get("files") or {}),
            prefix=_word(values.get("prefix") or "/usr/local"),
            osversion=int((values.get("annotations") or {}).get("FreeBSD_version") or 0),
            is_module=_is_module(values),
            flatsize=int(values.get("flatsize") or 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackageError("the package {0} has no usable {1}: {2!r}".format(path, MANIFEST, error), safe=_SAFE)


def _once(pairs: Sequence[Tuple[str, Any]]) -> Dict[str, Any]:
    """An object of JSON.

    :raises ValueError: when a name is there twice: pkg would not take the one that Python takes.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it says something twice")
    return found


def _word(value: Any) -> str:
    """What a script gets to see as bytes.

    :raises ValueError: when it has half of a letter, as JSON may.
    """
    text = str(value)
    text.encode("utf-8", "surrogateescape")
    return text


def _files_of(values: Mapping[str, Any]) -> Dict[str, Optional[int]]:
    """The files of a package with their modes. Their names are as in an address (``pkg_manifest.c``: urldecode); what
    is said of each is a sum, and since pkg 2 a map with ``perm``.
    """
    found: Dict[str, Optional[int]] = {}
    for path, about in values.items():
        perm = about.get("perm") if isinstance(about, Mapping) else None
        found[urllib.parse.unquote(path, errors="surrogateescape")] = int(str(perm), 8) & 0o7777 if perm else None
    return found


def _is_module(values: Mapping[str, Any]) -> bool:
    """Whether a package brings modules: by its category (``Mk/Uses/kmod.mk`` of the ports), or where a kernel looks for
    them (``kern.module_path``).
    """
    if str(values.get("origin", "")).startswith("base/"):
        return False
    there = any(path.startswith(MODULES) and path.endswith(".ko") for path in values.get("files") or ())
    return there or "kld" in (values.get("categories") or ())


def _has_accounts(name: str, files: Mapping[str, Any]) -> bool:
    """Whether a package brings the users and groups of the base system (pkgbase: ``FreeBSD-runtime``); one that does
    not say which files it has may.
    """
    return (not files and name.startswith("FreeBSD-")) or any("/" + path in files for path in (MASTER, GROUP))


def read(supplied: Supplied) -> Archive:
    """Look into a package.

    pkg(8) also takes a manifest in UCL (pkg-create(8)). The compact one, before it, is JSON in any case.

    :raises PackageError: when it is none.
    """
    compact, text = _manifests(supplied.path)
    if _is_json(text) or not compact:
        return parse_manifest(text, supplied.path, supplied.sha256)
    said = parse_manifest(compact, supplied.path, supplied.sha256)
    return replace(said, scripts=scripts.in_ucl(text), unclear=True)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _manifests(path: str) -> Tuple[str, str]:
    """The compact manifest of a package, empty where it has none, and the other one.

    :raises PackageError: when it is no package.
    """
    compact = ""
    with opened(path) as tar:
        for member in tar:
            is_manifest = member.name in (COMPACT, MANIFEST)
            if member.size > MAX_TEXT and not is_manifest:  # pkg writes those before anything else (``pkg_create.c``)
                break
            content = tar.extractfile(member) if is_manifest else None
            if content is None:
                continue
            text = _text_of(content, path).decode("utf-8", "surrogateescape")
            if member.name == MANIFEST:
                return compact, text
            compact = text
    raise PackageError("{0} is no package: it has no {1}".format(path, MANIFEST), safe=_SAFE)


def values_of(archive: Archive) -> Dict[str, Any]:
    """All that a package says of itself, as far as it can be read. It was looked into before, by :func:`read`.

    :returns: JSON; bytes that are no UTF-8 are in it as ``surrogateescape`` has them.
    """
    compact, text = _manifests(archive.path)
    found: Dict[str, Any] = json.loads(compact if archive.unclear else text)
    return found


def _bounded(tar: tarfile.TarFile, archive: Archive) -> Iterator[tarfile.TarInfo]:
    """The members of a package, as long as they are not larger than it says: zeros of any length are packed in no time.

    :raises PackageError: when they are, before the one that is too large is unpacked.
    """
    said = archive.flatsize
    most = said + said // MORE_PART + MORE_FLAT if 0 < said < MAX_FLAT else MAX_FLAT
    found = 0
    for member in tar:
        size = member.size if member.isfile() else 0
        found += 0 if member.name.startswith("+") else size
        if found > most or size > most + MAX_TEXT:
            raise PackageError(
                "the package {0} is not to be trusted: it unpacks to more than {1} bytes, and {2}".format(
                    archive.package.name, most, "says that it has {0}".format(said) if said else "does not say how many"
                ),
                safe=_SAFE,
                todo="get {0} again, from somebody else".format(os.path.basename(archive.path)),
            )
        yield member


def contents_of(archive: Archive, paths: Collection[str]) -> Dict[str, bytes]:
    """The contents of small files of a package.

    :param paths: full ones.
    :raises PackageError: when one is not small.
    """
    found: Dict[str, bytes] = {}
    if not paths:
        return found
    with opened(archive.path) as tar:
        for member in _bounded(tar, archive):
            path = "/" + member.name.strip("/")
            content = tar.extractfile(member) if path in paths and member.isfile() else None
            if content is not None:
                found[path] = _text_of(content, archive.path)
    return found


def expand(supplied: Sequence[Supplied]) -> List[Supplied]:
    """Packages, with folders replaced by the packages that are in them.

    A repository has the same file under several names; it is one package.

    :raises PackageError: when a folder has none.
    """
    found: Dict[str, Supplied] = {}
    for each in supplied:
        if not each.is_folder:
            found.setdefault(each.sha256, each)
            continue
        paths = _packages_below(each.path)
        if not paths:
            raise PackageError(
                "the folder {0} has no packages ({1}), and neither has All or All/Hashed in it".format(
                    each.path, ", ".join(SUFFIXES)
                ),
                safe=_SAFE,
                todo="give the folder that `pkg fetch -d -o FOLDER NAME` has filled, or the top of a repository",
            )
        for full in paths:
            digest = digest_file(full)
            found.setdefault(digest, Supplied(full, os.path.basename(full), digest))
    return list(found.values())


def _packages_below(top: str) -> List[str]:
    """The packages in a folder, and in those of its folders where pkg(8) and poudriere put them."""
    found = []
    for part in FOLDERS:
        folder = os.path.join(top, part)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            base, suffix = os.path.splitext(name)
            if suffix in SUFFIXES and base not in CATALOGUE:
                found.append(os.path.join(folder, name))
    return found


def check(archives: Sequence[Archive], have: Sequence[str], abi: str) -> None:
    """See that packages fit together and into the image.

    :param have: names of packages that the tree has already.
    :param abi: of the image, ``FreeBSD:13:amd64``.
    :raises PackageError: when one is there twice, is for another system, needs one that is missing, or two have the
        same file, which pkg(8) finds out of these as well ("Checking integrity").
    """
    names: Dict[str, Archive] = {}
    for each in archives:
        other = names.setdefault(each.package.name, each)
        if other is not each:
            raise PackageError(
                "the package {0} is given twice: {1} and {2}".format(each.package.name, other.path, each.path),
                safe=_SAFE,
            )
        if not fits(each.abi, abi):
            raise PackageError("{0} is for {1}, and the image {2}".format(each.path, each.abi, abi), safe=_SAFE)
    missing = {need: each for each in archives for need in each.needs if need not in names and need not in have}
    if missing:
        raise PackageError(
            "missing packages: {0}".format(
                ", ".join("{0} (for {1})".format(need, missing[need].package.name) for need in sorted(missing))
            ),
            safe=_SAFE,
            todo="add them to image_packages; `pkg fetch -d -o FOLDER NAME` gets a package with all that it needs",
        )
    owners: Dict[str, Archive] = {}
    for each in archives:
        for path in each.files:
            other = owners.setdefault(path, each)
            if other is not each:
                raise PackageError(
                    "the packages {0} and {1} both have {2}, so they cannot be in one image".format(
                        other.package.name, each.package.name, printable(path)
                    ),
                    safe=_SAFE,
                    todo="leave one of them out",
                )


def fits(said: str, abi: str) -> bool:
    """Whether a package that says *said* of its ABI fits; ``*`` stands for any part, and old ones write it small."""
    ours, theirs = abi.lower().split(":"), said.lower().split(":")
    if len(theirs) > 3:  # the ``arch`` of old packages: freebsd:13:x86:64
        theirs = theirs[:2] + ["*"]
    return not said or all(one in ("*", other) for one, other in zip(theirs, ours))


def lay(
    tree: Tree,
    archives: Sequence[Archive],
    accounts: Accounts,
    scratch: str,
    say: Say,
    answers: Answers = NO_ANSWERS,
) -> Laid:
    """Lay packages into a tree.

    :param accounts: numbers of the users and groups of the image; those that packages bring are added.
    :param scratch: a folder for their contents.
    :param say: told what is not done.
    :param answers: what to do about scripts that were not run.
    :raises TreeError: when one cannot be read, belongs to nobody that the image knows, or has something in it that it
        does not say; where the answers refuse that, when one has a script that was not run.
    """
    lines: List[Tuple[str, str]] = []
    members: List[Tuple[str, str]] = []
    privileged: Dict[str, List[str]] = {}
    for each in archives:
        if each.accounts:  # also for those before it in the alphabet
            accounts.add(_accounts_in(each))
    ordered = sorted(archives, key=lambda each: each.package.name)
    works, not_run = _judged(ordered)
    for each, work in works:
        lines += _new_accounts(each, work, accounts)
        members += work.members
    for each in _in_order(ordered):
        not_run += _run_lua(tree, each, PRE, say)
    for each in ordered:
        for kind, wanted, path in (("user", each.users, MASTER), ("group", each.groups, GROUP)):
            known = accounts.users if kind == "user" else accounts.groups
            for name, line in wanted:
                if name not in known and _is_line(line, name, kind):
                    _add_account(each, known, kind, name, int(line.split(":")[2]))
                    lines.append((path, _full(line) + "\n"))
                elif name not in known:
                    say(
                        "the package {0} needs the {1} {2}, which the image does not have".format(
                            each.package.name, kind, name
                        )
                    )
        dropped = [text for other, work in works if other is each for text in _homes(tree, each, work, accounts)]
        below, special = _lay(tree, each, accounts, scratch)
        if special:
            privileged[each.package.name] = special
        _say_dropped(each, dropped + below, say)
        if each.unclear:
            say(
                "the package {0} has a manifest in UCL, which is not read here: what it needs, and its users and "
                "groups, are not known".format(each.package.name)
            )
    for each in _in_order(ordered):
        not_run += _run_lua(tree, each, POST, say)
    if any(work.certificates for _archive, work in works):
        certificates.rehash(tree, say)
    not_run += _triggered(tree, ordered)
    _tell(sorted(not_run, key=NotRun.place), answers, say)
    return Laid(lines, privileged, members)


def _tell(not_run: Sequence[NotRun], answers: Answers, say: Say) -> None:
    """Say which scripts were not run, but for those that the owner knows.

    :raises PackageError: when there are some, and they are refused.
    """
    unknown = [each for each in not_run if not each.script.text or each.script.sha256 not in answers.known]
    if answers.refuse and unknown:
        raise PackageError(
            "scripts of packages were not run (image_pkg_scripts: refuse): {0}".format(
                "; ".join(each.said() for each in unknown)
            ),
            safe=_SAFE,
            todo="what such a script would do belongs into an overlay, or is not needed; then give its digest and the "
            "reason in image_pkg_scripts_known, or say image_pkg_scripts=report",
        )
    for each in unknown:
        say(each.said())


def _say_dropped(archive: Archive, dropped: Sequence[str], say: Say) -> None:
    """Say what of a package is not on the image. What the base has below /var, rc.d/var makes on each host."""
    if dropped and not archive.package.origin.startswith("base/"):
        say(
            "what the package {0} has below /var is not on the image, because /var is a host's own: {1}; a service "
            "that needs it has to make it, or deploy_files, or a dataset".format(
                archive.package.name, first_of(dropped, NAMED)
            )
        )


def _judged(archives: Sequence[Archive]) -> Tuple[List[Tuple[Archive, Work]], List[NotRun]]:
    """What shell scripts of known forms do, and the scripts that are of none."""
    works: List[Tuple[Archive, Work]] = []
    not_run: List[NotRun] = []
    for each in archives:
        for script in each.scripts:
            if script.lua:
                continue
            work = scripts.recognised(script)
            if work is None:
                not_run.append(NotRun(each, script))
            else:
                works.append((each, work))
    return works, not_run


def _triggered(tree: Tree, archives: Sequence[Archive]) -> Iterator[NotRun]:
    """The triggers that pkg would have run at the end."""
    folders = triggers.touched([path for each in archives for path in each.files])
    for each in archives:
        for path in sorted(filter(triggers.is_one, each.files)):
            node = tree.follow(path)
            text = node.content()[:MAX_TEXT].decode("utf-8", "surrogateescape") if node and node.kind == FILE else ""
            if text and triggers.runs(text, folders):
                yield NotRun(each, triggers.script_of(path, text))


def _in_order(archives: Sequence[Archive]) -> List[Archive]:
    """Packages after those that they need, as pkg(8) installs them; by name, apart from that."""
    there = {each.package.name: each for each in archives}
    found: Dict[str, Archive] = {}
    begun = set()
    waiting = sorted(there, reverse=True)
    while waiting:
        name = waiting[-1]
        needs = [need for need in there[name].needs if need in there and need not in begun]
        if name not in begun:
            begun.add(name)
            waiting += sorted(needs, reverse=True)
        else:
            found.setdefault(name, there[name])
            waiting.pop()
    return list(found.values())


def _run_lua(tree: Tree, archive: Archive, kind: str, say: Say) -> List[NotRun]:
    """Run the Lua scripts of a kind that a package has; those that could not be run.

    What one has done when it fails is not kept.
    """
    not_run = []
    dropped: List[str] = []
    for script in archive.scripts:
        if not script.lua or script.kind != kind:
            continue
        staging = Staging(tree)
        if lua.is_there():
            why = lua.run(script, archive.package.name, archive.prefix, staging)
        else:
            why = standard.run(script, archive.prefix, staging)
        if why:
            not_run.append(NotRun(archive, script, why))
            continue
        tree.nodes = staging.tree.nodes
        dropped += [
            "/" + printable(path)
            for path in staging.changed()
            if path.startswith("var/") and path in staging.tree and staging.tree.get(path).kind != DIR
        ]
        for text in staging.messages:
            say("the package {0} says: {1}".format(archive.package.name, plain(text)))
    _say_dropped(archive, dropped, say)
    return not_run


def _new_accounts(archive: Archive, work: Work, accounts: Accounts) -> Iterator[Tuple[str, str]]:
    """The lines of users and groups that a script makes and that nobody has made yet; pw(8) is not asked, likewise."""
    for group in work.groups:
        if group.name not in accounts.groups:
            _add_account(archive, accounts.groups, "group", group.name, group.number)
            yield GROUP, group.line + "\n"
    for user in work.users:
        if user.name not in accounts.users:
            _add_account(archive, accounts.users, "user", user.name, user.number)
            yield MASTER, user.line + "\n"
    for name, member in work.members:
        what = "{0} in the group {1}, as the package {2} wants it,".format(member, name, archive.package.name)
        accounts.gid(name, what)
        accounts.uid(member, what)


def _add_account(archive: Archive, known: Dict[str, int], kind: str, name: str, number: int) -> None:
    """Take up the number of a new user or group.

    :raises PackageError: when another one has it: whatever belongs to one would belong to the other.
    """
    other = next((other for other, taken in sorted(known.items()) if taken == number), None)
    if other is not None:
        raise PackageError(
            "the package {0} makes the {1} {2} with the number {3}, which {4} has".format(
                archive.package.name, kind, printable(name), number, printable(other)
            ),
            safe=_SAFE,
            todo="give one of them another number in {0}, by an overlay".format(MASTER if kind == "user" else GROUP),
        )
    known[name] = number


def _homes(tree: Tree, archive: Archive, work: Work, accounts: Accounts) -> Iterator[str]:
    """Make the folders of users as install(1) would, but for those that are there; those below /var are told."""
    for home in work.homes:
        what = "{0} of the package {1}".format(home.path, archive.package.name)
        node = Node(DIR, 0o755, uid=accounts.uid(home.user, what), gid=accounts.gid(home.group, what))
        if home.path.startswith("/var/"):
            yield "{0} (0755 {1}:{2})".format(home.path, home.user, home.group)
        elif tree.follow(home.path) is None:
            tree.put(home.path, node)


def _is_line(line: str, name: str, kind: str) -> bool:
    """Whether a line is that of the user or group of this name, and one line."""
    words = line.split(":")
    numbers = words[2:4] if kind == "user" else words[2:3]
    return (
        len(words) in ((7, 10) if kind == "user" else (4,))
        and words[0] == name
        and all(re.fullmatch("[0-9]{1,10}", each) and int(each) < MAX_NUMBER for each in numbers)
        and line.isprintable()
    )


def _full(line: str) -> str:
    """A line of passwd(5), with seven fields, as master.passwd has it, with ten; nothing matches its password."""
    words = line.split(":")
    if len(words) == 7:
        words = words[:4] + ["", "0", "0"] + words[4:]
    if len(words) == 10:
        words[1] = "*"
    return ":".join(words)


def _accounts_in(archive: Archive) -> Tree:
    """The users and groups that a package brings, as a tree of two files."""
    found = Tree()
    for path, content in contents_of(archive, ["/" + MASTER, "/" + GROUP]).items():
        found.put(path, Node(FILE, 0o644, data=content))
    return found


def _check_member(member: tarfile.TarInfo, archive: Archive) -> None:
    """Refuse what pkg(8) would not install: devices, and files that the manifest does not name (``pkg_add.c``).

    :raises PackageError: with what it is.
    """
    path = "/" + member.name.strip("/")
    what = ""
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        what = "is a device or something else that is no file"
    elif not -MAX_TIME < member.mtime < MAX_TIME:
        what = "is from a time that is none"
    elif member.isdir() or archive.unclear:
        return
    elif path not in archive.files:
        what = "is none of the files that its manifest names"
    elif member.mode & 0o6000 and archive.files[path] not in (None, member.mode & 0o7777):
        what = "has the mode {0:04o}, and its manifest says {1:04o}".format(
            member.mode & 0o7777, archive.files[path] or 0
        )
    if what:
        raise PackageError(
            "the package {0} is not to be trusted: {1} {2}".format(archive.package.name, printable(path), what),
            safe=_SAFE,
            todo="get {0} again, from somebody else".format(os.path.basename(archive.path)),
        )


def _lay(tree: Tree, archive: Archive, accounts: Accounts, scratch: str) -> Tuple[List[str], List[str]]:
    """Lay one package; what of it is below /var, the innermost only, with mode and owner of folders, and what runs as
    somebody else.
    """
    name = archive.package.name
    below: Dict[str, str] = {}
    privileged: List[str] = []

    def owner(member: tarfile.TarInfo) -> Tuple[int, int]:
        what = "{0} of the package {1}".format(member.name, name)
        return accounts.uid(member.uname or "root", what), accounts.gid(member.gname or "wheel", what)

    def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in _bounded(tar, archive):
            path = member.name.strip("/")
            if path.startswith("var/"):
                about = " ({0:04o} {1}:{2})".format(
                    member.mode & 0o7777, member.uname or "root", member.gname or "wheel"
                )
                below[path] = "/" + printable(path) + (about if member.isdir() else "")
            if not member.name.startswith("+"):
                _check_member(member, archive)
                if member.isfile() and member.mode & 0o6000:
                    privileged.append("/{0} {1:04o}".format(printable(path), member.mode & 0o7777))
                yield member

    with opened(archive.path) as tar:
        tree.add_members(tar, members(tar), os.path.join(scratch, "pkg-" + archive.package.sha256[:16]), owner)
    told = [text for path, text in sorted(below.items()) if not any(other.startswith(path + "/") for other in below)]
    return told, sorted(privileged)


def packages_of(archives: Sequence[Archive]) -> Tuple[Package, ...]:
    """What the image says of them."""
    return tuple(sorted((each.package for each in archives), key=lambda each: each.name))
