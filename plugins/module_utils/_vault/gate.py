# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Speaking with a host: its gate, the forced command behind the key (``_backup/gate.py``)."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import gate as host_gate
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.digests import FILE, GONE, LINK, OTHER
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.transfer import first_line

#: how long a host may take to make its tree, or to take it away (seconds)
PATIENCE = 900

#: the most that a host may say (bytes)
_MOST = 1 << 20

_TAG = re.compile(r"[A-Za-z0-9._-]{1,120}")

#: what ssh(1) says of a key that it does not know, or knows otherwise (sshconnect.c)
_KEY = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "No ED25519 host key is known")

#: the gate's own refusal
_REFUSED = 3


class Tree(NamedTuple):
    """What a host lets be read.

    :param begun: when its snapshot was taken, by its own clock (seconds since the epoch).
    :param resumed: it is the same as in an earlier try.
    :param notes: what it says besides, and what is left out; for people.
    """

    tag: str
    root: str
    begun: int
    resumed: bool
    trial: bool
    notes: Tuple[str, ...]
    version: str


class Digests(NamedTuple):
    """What a host says of files.

    :param begun: when the snapshot was taken that it has looked at, by its own clock (seconds since the epoch).
    :param files: of each that was asked for, or of the first of them, what it is there (``_backup/digests.py``).
    """

    begun: int
    notes: Tuple[str, ...]
    files: List[Mapping[str, Any]]


#: runs a word of the gate on a host, with standard input; exit status, output, errors
Ask = Callable[[str, Optional[str]], Tuple[int, str, str]]


def _texts(value: Any) -> Sequence[str]:
    return [printable(each)[:300] for each in value if isinstance(each, str)][:50] if isinstance(value, list) else []


def tree_of(said: Any, wanted: str) -> Tree:
    """What ``begin`` answered.

    :param wanted: where the tree must be.
    :raises FleetError: when it is no such answer.
    """
    wrong = FleetError(
        "what the host said of its snapshot is not what `nanozfs backup` says",
        safe="nothing was pulled",
        todo="see that its image is of a version that has backups",
    )
    if not isinstance(said, Mapping):
        raise wrong
    tag, root, begun = said.get("tag"), said.get("root"), said.get("begun")
    if not isinstance(tag, str) or not _TAG.fullmatch(tag) or not isinstance(root, str):
        raise wrong
    if isinstance(begun, bool) or not isinstance(begun, (int, float)) or not 0 <= begun < 1 << 40:
        raise wrong
    if root.rstrip("/") != wanted:
        raise FleetError(
            "the host exposes {0}, and {1} was expected".format(printable(root)[:100], wanted),
            safe="nothing was pulled",
            todo="run backup.yml: the name of this backup host is another one there",
        )
    left = []
    for each in said["left_out"] if isinstance(said.get("left_out"), list) else []:
        if isinstance(each, Mapping):
            left.append("{0} is left out: {1}".format(each.get("dataset"), each.get("why")))
    host = said.get("host")
    version = host.get("version") if isinstance(host, Mapping) else ""
    return Tree(
        tag,
        wanted,
        int(begun),
        said.get("resumed") is True,
        said.get("trial") is True,
        (*_texts(said.get("notes")), *_texts(left)),
        printable(version)[:80] if isinstance(version, str) else "",
    )


_DIGEST = re.compile(r"[0-9a-f]{64}")


#: more than any number that a system says of a file
_LARGEST = 1 << 64


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def _is_row(row: Any) -> bool:
    """Whether a host can say that of a file."""
    if not isinstance(row, Mapping) or row.get("kind") not in (FILE, LINK, OTHER, GONE):
        return False
    if row["kind"] == GONE:
        return "sha256" not in row
    numbers = (row.get(key) for key in ("size", "mtime", "ctime", "mode", "uid", "gid"))
    digest = row.get("sha256", "0" * 64)
    return all(map(_is_whole, numbers)) and isinstance(digest, str) and bool(_DIGEST.fullmatch(digest))


def _is_answer(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    """Whether rows are those of what a host was asked for: of each file, or up to the last digest that was wanted.

    The bounds are looked at here as well, as what has a digest is restored.
    """
    files = wanted["files"]
    told = [each for each, row in zip(files, rows) if "sha256" in row]
    if len(rows) > len(files) or len(told) > wanted["digests"] or sum(each["size"] for each in told) > wanted["bytes"]:
        return False
    return len(rows) == len(files) or len(told) == wanted["digests"]


def digests_of(said: Any, wanted: Mapping[str, Any]) -> Digests:
    """What ``digests`` answered.

    :param wanted: what it was asked.
    :raises FleetError: when it is no answer to that.
    """
    begun: Any = said.get("begun") if isinstance(said, Mapping) else None
    files: Any = said.get("files") if isinstance(said, Mapping) else None
    readable = _is_whole(begun) and isinstance(files, list) and all(map(_is_row, files))
    if not readable or not _is_answer(files, wanted):
        raise FleetError(
            "what the host said of its files is not what `nanozfs backup` says",
            safe="nothing was verified",
            todo="see that its image is of a version whose backups can be verified",
        )
    notes = [*_texts(said.get("notes")), *(["the host is on trial"] if said.get("trial") is True else [])]
    return Digests(begun, tuple(notes), files)


class Gate:
    """The gate of one host.

    :param name: of the host, for messages.
    """

    def __init__(self, name: str, ask: Ask, wanted: str) -> None:
        self._name = name
        self._ask = ask
        self._wanted = wanted

    def _answer(self, word: str, stdin: Optional[str] = None) -> Any:
        rc, out, err = self._ask("nanozfs-backup " + word, stdin)
        if rc != 0:
            raise self._failure(word, rc, out, err)
        if len(out) > _MOST:
            raise FleetError("{0} says too much".format(self._name), safe="its sets are as they were")
        try:
            return json.loads(out)
        except (ValueError, RecursionError):
            raise FleetError(
                "{0} does not speak as `nanozfs backup` does".format(self._name),
                safe="its sets are as they were",
                todo="see what its root's shell or authorized_keys print: {0}".format(first_line(out) or "nothing"),
            )

    def _failure(self, word: str, rc: int, out: str, err: str) -> FleetError:
        said = first_line(err) or first_line(out) or "it said nothing"
        if any(words in err for words in _KEY):
            return FleetError(
                "the ssh key of {0} is another one than it was, or is not known".format(self._name),
                safe="nothing was sent to it, and its sets are as they were",
                todo="if it was installed anew, run backup.yml, which asks it over the controller's own connection; "
                "if not, find out who answers in its place",
            )
        if rc == 255 and "Permission denied" in err:
            return FleetError(
                "{0} does not let this backup host in".format(self._name),
                safe="its sets are as they were",
                todo="run backup.yml; where it comes from another address than backup_addresses says, correct that",
            )
        if rc == _REFUSED and host_gate.FOREIGN in err:
            return Refused(
                "the image of {0} is older than this program, and does not know `{1}`".format(self._name, word),
                safe="its sets are as they were",
                todo="bring it an image of the version of nanozfs.fleet that is here",
            )
        if rc == _REFUSED:
            return Refused("{0} refuses: {1}".format(self._name, said), safe="its sets are as they were")
        if rc == 255:
            return FleetError("{0} does not answer: {1}".format(self._name, said), safe="its sets are as they were")
        return FleetError(
            "`nanozfs backup` on {0} ended with {1} at {2}: {3}".format(self._name, rc, word, said),
            safe="its sets are as they were",
        )

    def begin(self) -> Tree:
        """Have it take a snapshot and mount it, or go on with the one of the last try.

        :raises FleetError: when it does not.
        """
        return tree_of(self._answer("begin"), self._wanted)

    def end(self, result: Mapping[str, Any]) -> None:
        """Tell it how it went; unless ``keep`` is in it, it takes the snapshot away.

        :raises FleetError: when it cannot be told.
        """
        self._answer("end", json.dumps(dict(result), sort_keys=True))

    def status(self) -> Any:
        """What it knows.

        :raises FleetError: when it does not say.
        """
        return self._answer("status")

    def digests(self, wanted: Mapping[str, Any]) -> Digests:
        """Have it look at files, in what it shows or in a snapshot that it takes for that.

        :param wanted: as ``_backup/digests.py`` reads it.
        :raises FleetError: when it does not.
        """
        return digests_of(self._answer("digests", json.dumps(dict(wanted))), wanted)

    def verified(self, result: Mapping[str, Any]) -> None:
        """Tell it how a look into its backup went.

        :raises FleetError: when it cannot be told.
        """
        self._answer("verified", json.dumps(dict(result), sort_keys=True))

    def gone(self, tag: str) -> str:
        """Why what was read up to now cannot be trusted; empty where all of the snapshot is still there.

        What is unmounted under an rsync is an empty folder to it, which is no failure.

        :raises FleetError: when it does not say.
        """
        said = self.status()
        shown = said.get("exposure") if isinstance(said, Mapping) else None
        if not isinstance(shown, Mapping) or shown.get("tag") != tag:
            return "the host does not show its snapshot any more"
        gone = shown.get("gone")
        return printable(gone)[:200] if isinstance(gone, str) else "the host does not say whether its snapshot is there"
