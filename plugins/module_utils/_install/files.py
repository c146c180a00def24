# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The files that a site gives a host: what they may be called, who may read them, and how they travel.

They travel as one text, in one argument of a module that no log shows. Names, modes and contents arrive as they were:
nothing is a template any more, and nothing is taken for YAML or JSON.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import zlib
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import STAGING, parents
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

#: bytes of all files together: they are in /cfg, and at every start in the memory disk of /etc as well
LIMIT = 16 << 20

RC_CONF = "rc.conf"
KEYS = "rootssh/authorized_keys"

#: readable for root alone, unless the site says otherwise
PRIVATE = (
    "master.passwd",
    "spwd.db",
    "*.key",
    "*_key",
    "*.p12",
    "*.pfx",
    "*.keytab",
    ".netrc",
    ".pgpass",
    "*secret*",
    "*passw*",
    "authorized_keys",
)
#: names that look like one of these and are for everybody
_PUBLIC = ("passwd", "nsswitch.conf", "*.pub", "pam.d/*")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

_SAFE = "nothing was changed"
_KEYS = {"content", "mode", "owner", "group"}
_MODE = re.compile(r"0?[0-7]{3,4}\Z")


class Entry(NamedTuple):
    """A file of a site. Without a mode it gets that of its kind; without owner and group it is root's.

    ``source`` is the variable or folder that it comes from, for errors.
    """

    path: str
    content: bytes
    mode: Optional[int] = None
    owner: Optional[str] = None
    group: Optional[str] = None
    source: str = "deploy_files"


def check_path(path: object, source: str) -> str:
    """A path below /etc that means only itself.

    :raises Refused: when it does not.
    """
    text = path if isinstance(path, str) else ""
    parts = text.split("/")
    if not text or any(part in ("", ".", "..") for part in parts) or any(ord(each) < 32 for each in text):
        raise Refused(
            "{0}: {1!r} is no path of a file in /etc".format(source, path),
            safe=_SAFE,
            todo="give it relative to /etc, as in rc.conf.d/sshd, without . or .. and line ends",
        )
    if parts[0] in (".zfs", STAGING, "nanozfs.tmp"):
        raise Refused("{0}: {1} is a place of the collection itself".format(source, text), safe=_SAFE)
    if any(fnmatch.fnmatchcase(text, pattern) for pattern in rules.IMAGE_ONLY):
        raise Refused(
            "{0}: {1} cannot be given to a host: only the image has it, or the machine makes it".format(source, text),
            safe=_SAFE,
            todo="take it out, or put it into an overlay of the image",
        )
    if text == RC_CONF:
        raise Refused(
            "{0}: rc.conf is written from deploy_rc_conf, and would be written twice".format(source),
            safe=_SAFE,
            todo="put the settings into deploy_rc_conf, or the text into rc.conf.local",
        )
    return text


def _fits(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(path.lower() if "/" in each else name, each) for each in patterns)


def is_private(path: str, content: bytes) -> bool:
    """Whether a file looks as if nobody but root should read it."""
    if _PRIVATE_KEY.search(content):
        return True
    return _fits(path, PRIVATE) and not _fits(path, _PUBLIC)


def mode_of(entry: Entry) -> int:
    """The mode of a file: the one that is given, or that of its kind."""
    if entry.mode is not None:
        return entry.mode
    return 0o600 if is_private(entry.path, entry.content) else 0o644


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Refused(
            "{0} must be text, and is {1}".format(what, type(value).__name__),
            safe=_SAFE,
            todo="put it into quotes",
        )
    return value


def _mode(value: object, what: str) -> Optional[int]:
    if value is None:
        return None
    if not isinstance(value, str) or not _MODE.match(value):
        raise Refused(
            "{0}: the mode must be text of octal digits, and is {1!r}".format(what, value),
            safe=_SAFE,
            todo="write it in quotes, as in mode: '0640'",
        )
    return int(value, 8)


def _name(value: object, what: str) -> Optional[str]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise Refused("{0} must be a name or a number, and is {1!r}".format(what, value), safe=_SAFE)
    return str(value)


def given(files: Mapping[Any, Any], source: str = "deploy_files") -> List[Entry]:
    """The files of a mapping from paths to texts, or to ``{content, mode, owner, group}``.

    :raises Refused: when one is not what it must be.
    """
    found = []
    for path, value in files.items():
        name = check_path(path, source)
        what = "{0}: {1}".format(source, name)
        more: Mapping[str, Any] = value if isinstance(value, Mapping) else {"content": value}
        if set(more) - _KEYS or "content" not in more:
            raise Refused(
                "{0}: it has {1}, and may have {2}, of which content is needed".format(
                    what, ", ".join(sorted(str(key) for key in more)) or "nothing", ", ".join(sorted(_KEYS))
                ),
                safe=_SAFE,
            )
        found.append(
            Entry(
                name,
                _text(more["content"], "the content of " + what).encode("utf-8", "surrogateescape"),
                _mode(more.get("mode"), what),
                _name(more.get("owner"), "the owner of " + what),
                _name(more.get("group"), "the group of " + what),
                source,
            )
        )
    return found


def merged(entries: Sequence[Entry], where: str = "deploy_files and deploy_folders") -> List[Entry]:
    """One entry for each path, the last one of it; sorted.

    :param where: the variables that they come from, for errors.
    :raises Refused: when one is a folder of another, or all of them are too much.
    """
    last = {entry.path: entry for entry in entries}
    for path, entry in last.items():
        for parent in parents(path):
            if parent in last:
                raise Refused(
                    "{0} ({1}) is a file, and {2} ({3}) wants it to be a folder".format(
                        parent, last[parent].source, path, entry.source
                    ),
                    safe=_SAFE,
                )
    size = sum(len(entry.content) for entry in last.values())
    if size > LIMIT:
        largest = max(last.values(), key=lambda entry: len(entry.content))
        raise Refused(
            "{0} have {1:.1f} MB together, and /etc is a memory disk: {2:.1f} MB is the most (the largest is "
            "{3})".format(where, size / 1e6, LIMIT / 1e6, largest.path),
            safe=_SAFE,
            todo="put what is large into the image, or into a dataset of its own",
        )
    return [last[path] for path in sorted(last)]


# travelling


def pack(entries: Sequence[Entry], more: Mapping[str, Any]) -> str:
    """Files, and what else no log should show, as one text.

    :param more: whatever JSON can hold.
    """
    files = [dict(entry._asdict(), content=base64.b64encode(entry.content).decode("ascii")) for entry in entries]
    raw = json.dumps({"files": files, "more": dict(more)}).encode("utf-8")
    return base64.b64encode(zlib.compress(raw)).decode("ascii")


def unpack(text: str) -> Tuple[List[Entry], Dict[str, Any]]:
    """What :func:`pack` made a text of."""
    found = json.loads(zlib.decompress(base64.b64decode(text)).decode("utf-8"))
    entries = [Entry(**dict(each, content=base64.b64decode(each["content"]))) for each in found["files"]]
    for entry in entries:
        check_path(entry.path, entry.source)
    return entries, dict(found["more"])
