# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Telling one state of a source tree from another."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file

#: of a digest that people have to read
SHORT = 12

_REVISION = re.compile(r"^REVISION=\"?(\d+)\.", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """The state of a source tree.

    :param revision: of version control, with ``-dirty`` where files differ from it; empty where there is none.
    :param fingerprint: the same only for the same files.
    """

    revision: str
    fingerprint: str


def digest_of(path: str) -> str:
    """SHA-256 of a file, of where a symbolic link leads, or of nothing where neither is there."""
    if os.path.isfile(path) and not os.path.islink(path):
        return digest_file(path)
    return hashlib.sha256(os.fsencode(os.readlink(path)) if os.path.islink(path) else b"").hexdigest()


def _changed(status: str) -> List[str]:
    """The paths in the output of ``git status --porcelain -z``; a renamed file is followed by its old name."""
    words = iter(status.split("\0"))
    found = []
    for word in words:
        if word:
            found.append(word[3:])
            if word[0] in "RC":
                found.append(next(words, ""))
    return sorted(found)


def _by_git(runner: Runner, folder: str) -> Source:
    # the tree may belong to another user than root; the option counts on the command line (git-config(1))
    git = ["git", "--no-optional-locks", "-c", "safe.directory=" + folder, "-C", folder]
    commit = runner.ask([*git, "rev-parse", "--verify", "HEAD"], "find the revision of " + folder).out.strip()
    what = "see what is changed in " + folder
    status = runner.ask([*git, "status", "--porcelain", "-z", "--untracked-files=all"], what)
    changed = _changed(status.out)
    if not changed:
        return Source(commit, commit)
    total = hashlib.sha256()
    for path in changed:
        total.update("{0} {1}\n".format(digest_of(os.path.join(folder, path)), path).encode("utf-8", "surrogateescape"))
    return Source(commit + "-dirty", "{0}-dirty-{1}".format(commit, total.hexdigest()[:SHORT]))


def _by_looking(folder: str) -> Source:
    """A tree without version control: names, sizes and times of all files. Reading them all takes minutes."""
    total = hashlib.sha256()
    for directory, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            line = "{0} {1} {2} {3}\n".format(
                os.path.relpath(path, folder), info.st_size, info.st_mtime_ns, info.st_mode
            )
            total.update(line.encode("utf-8", "surrogateescape"))
    return Source("", "files-" + total.hexdigest()[: 2 * SHORT])


def _check(folder: str) -> None:
    """See that there is a source tree.

    :raises Refused: when there is none with NanoBSD.
    """
    if not os.path.isfile(os.path.join(folder, "tools", "tools", "nanobsd", "nanobsd.sh")):
        raise Refused(
            "{0} is no source tree of FreeBSD with NanoBSD".format(folder),
            safe="nothing was built",
            todo="fetch the source of the release to build, e.g. git clone -b releng/15.1 "
            "https://git.freebsd.org/src.git, and give its path",
        )


def abi_of(folder: str, arch: str) -> str:
    """The ABI of what a source tree makes, as pkg(8) has it: ``FreeBSD:15:amd64``.

    Source: ``sys/conf/newvers.sh``, which sets ``REVISION="15.0"``.

    :param arch: TARGET_ARCH.
    :raises Refused: when there is no source tree with NanoBSD, or it does not say its release.
    """
    _check(folder)
    path = os.path.join(folder, "sys", "conf", "newvers.sh")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = _REVISION.search(file.read())
    except OSError:
        found = None
    if found is None:
        raise Refused(
            "which release the source tree {0} is of cannot be told (sys/conf/newvers.sh)".format(folder),
            safe="nothing was built",
            todo="give the path of a source tree of FreeBSD; or say the ABI (image_abi)",
        )
    return "FreeBSD:{0}:{1}".format(found.group(1), arch)


def read_source(runner: Runner, folder: str) -> Source:
    """The state of the source tree in *folder*.

    :raises Refused: when there is no source tree with NanoBSD.
    :raises CommandError: when git fails.
    """
    _check(folder)
    if os.path.exists(os.path.join(folder, ".git")) and runner.query(["git", "--version"]).rc == 0:
        return _by_git(runner, folder)
    return _by_looking(folder)
