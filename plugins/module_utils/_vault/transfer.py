# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What both methods have rsync do, and what its end means."""

from __future__ import annotations

import contextlib
import os
import re
from typing import List, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places

#: What rsnapshot and dirvish run for rsync. It keeps what rsync says and how it ended for the program, and tells every
#: failure to them as one: rsnapshot takes away what has come where rsync ended with anything but 23 or 24 (sub
#: handle_rsync_error), and dirvish takes 255, ssh's own, for a success ("We assume warning and unknown produce useful
#: results"). Called by a person it is rsync. What rsync says is as long as the host on the other side likes, which
#: could fill the disk with the states of all hosts: its end is kept.
WRAPPER = """#!/bin/sh
# rsync for rsnapshot and dirvish, when nanozfs-backup runs them; see `nanozfs-backup --help`.
[ -n "$NANOZFS_BACKUP_RUN" ] || exec rsync "$@"
run="$NANOZFS_BACKUP_RUN"
rm -f "$run/output.pipe" "$run/errors.pipe"
mkfifo "$run/output.pipe" "$run/errors.pipe" || exit "$NANOZFS_BACKUP_FAILED"
for each in output errors; do
    tail -c 65536 < "$run/$each.pipe" > "$run/$each" &
done
rsync "$@" > "$run/output.pipe" 2> "$run/errors.pipe"
status=$?
wait
echo "$status" > "$run/status"
[ "$status" = 0 ] || exit "$NANOZFS_BACKUP_FAILED"
"""

#: how long a silent line is waited for (seconds)
SILENCE = 600

#: where a tag of what could not be told from rsync is kept: it was ended, or never began
UNKNOWN = -1

#: what rsync's exit status means (rsync(1), EXIT VALUES)
_WORDS = {
    1: "rsync here was asked for what it does not know",
    2: "rsync here and rsync on the host do not understand each other",
    3: "rsync could not find what it was to read or to write",
    4: "one rsync of the two cannot do what was asked for",
    5: "rsync on the host could not be begun",
    10: "the line was cut",
    11: "rsync could not read or write a file",
    12: "the line was cut",
    13: "rsync could not report an error",
    14: "rsync could not be begun here",
    20: "it was ended",
    21: "rsync lost a process of its own",
    22: "there was no memory for rsync",
    23: "some files could not be read or written",
    24: "files vanished, which they cannot in a snapshot",
    25: "more files were to be deleted than may be",
    30: "the line was silent for too long",
    35: "the host did not answer in time",
    124: "ssh could not run rsync on the host",
    125: "ssh was ended",
    126: "rsync on the host cannot be run",
    127: "there is no rsync on the host",
    255: "the line was cut, or ssh could not log in",
}

#: what is worth going on from: nothing is wrong with either side
RESUMED = frozenset([10, 12, 20, 30, 35, 125, 255, UNKNOWN])

#: status of some files that are not in the set
SOME_FILES = 23

#: errno of a full file system as strerror(3) of Linux and FreeBSD has it; a quota is as good as full
_FULL = re.compile(r"No space left on device|Disc quota exceeded|Disk quota exceeded")

#: of --stats; the last of its kind counts, names of files may look like anything
_STATS = {
    "files": re.compile(r"^Number of files: ([\d,.]+)", re.MULTILINE),
    "bytes": re.compile(r"^Total file size: ([\d,.]+) bytes", re.MULTILINE),
    "received": re.compile(r"^Total bytes received: ([\d,.]+)", re.MULTILINE),
    "written": re.compile(r"^Total bytes sent: ([\d,.]+)", re.MULTILINE),
}

#: the most that is read of what rsync said (bytes), from its end
_TAIL = 64 << 10


class Pulled(NamedTuple):
    """How rsync ended.

    :param code: its exit status; :data:`UNKNOWN` where it left none.
    :param said: what it complained of, for a person.
    :param full: the file system of the sets is full.
    """

    code: int
    files: int = 0
    bytes: int = 0
    sent: int = 0
    said: str = ""
    full: bool = False


def ssh_argv(fleet: Fleet, host: Host, places: Places, known_hosts: str = "") -> List[str]:
    """How ssh is called for a host, up to the name. Its own settings and those of root here are left out.

    The key of the host is looked up by its name in the inventory, not by its address (HostKeyAlias, ssh_config(5)).

    :param known_hosts: another file of known keys, for a machine that is not the host yet.
    """
    options = [
        "HostName=" + host.address.replace("%", "%%"),  # ssh_config(5), TOKENS; an address may have a scope
        "HostKeyAlias=" + host.name,
        "UserKnownHostsFile=" + (known_hosts or places.known_hosts),
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ForwardAgent=no",
        "ConnectTimeout=30",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
    ]
    argv = [places.ssh, "-F", "none", "-T", "-x", "-i", places.key, "-p", str(host.port), "-l", "root"]
    for option in options:
        argv += ["-o", option]
    return argv


def rsync_options(host: Host, places: Places, links: Sequence[str] = ()) -> List[str]:
    """What rsync does besides what dirvish says by itself (-vrltHpgoD).

    NFSv4 ACLs, which are those of ZFS, rsync knows none of; ``-A`` is for POSIX.1e ones and would find nothing.

    :param links: trees of earlier tries, whose files are not fetched again.
    """
    options = [
        "-aHXS",
        "--numeric-ids",
        "--delete",
        "--delete-excluded",
        "--partial",
        "--stats",
        "--no-h",
        "--no-v",
        "--timeout={0}".format(SILENCE),
        "--exclude-from=" + places.excludes(host.name),
    ]
    if host.bandwidth:  # in KiB/s; 0 would be no limit
        options.append("--bwlimit={0}".format(max(1, host.bandwidth // 1024)))
    return options + ["--link-dest=" + link for link in links]


def excludes_text(host: Host) -> str:
    """What is left out, as rsync reads it (rsync(1), FILTER RULES). What a restore needs never is."""
    return "".join(line + "\n" for line in ["+ /nanozfs-host.json", *("- " + each for each in host.excludes)])


def parse_stats(text: str) -> Pulled:
    """What ``--stats`` says; zeros where it says nothing. Thousands may be parted."""
    found = {}
    for name, pattern in _STATS.items():
        every = pattern.findall(text)
        digits = re.sub(r"\D", "", every[-1]) if every else ""
        found[name] = int(digits[:18] or 0)
    return Pulled(0, found["files"], found["bytes"], found["received"] + found["written"])


def is_full(errors: str) -> bool:
    """Whether what rsync complains of is a file system that is full."""
    return bool(_FULL.search(errors))


def _tail(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _TAIL))
        return file.read(_TAIL).decode("utf-8", "replace")
    return ""


def prepare(folder: str) -> None:
    """An empty folder for what the wrapper keeps.

    :raises OSError: when it cannot be made.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in ("status", "errors", "output"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def result_in(folder: str) -> Pulled:
    """What the wrapper has kept."""
    status = _tail(os.path.join(folder, "status")).strip()
    code = int(status) if re.fullmatch(r"\d{1,3}", status) else UNKNOWN
    errors = _tail(os.path.join(folder, "errors"))
    lines = [printable(line) for line in errors.split("\n") if line.strip()]
    said = next((line for line in lines if not line.startswith("rsync error:")), lines[-1] if lines else "")
    stats = parse_stats(_tail(os.path.join(folder, "output")))
    return stats._replace(code=code, said=said[:300], full=bool(code) and is_full(errors))


def words(pulled: Pulled, late: bool = False) -> str:
    """Why a pull is not good.

    :param late: it was ended because its time was over.
    """
    if late:
        return "its window closed before it was done"
    if pulled.full:
        return "the backup host is full"
    if pulled.code == UNKNOWN:
        return "rsync did not come to its end" + (": " + pulled.said if pulled.said else "")
    text = _WORDS.get(pulled.code, "rsync ended with {0}".format(pulled.code))
    return "{0} (rsync {1}{2})".format(text, pulled.code, ": " + pulled.said if pulled.said else "")


def first_line(text: str) -> Optional[str]:
    """The first line that says something, for a person."""
    return next((printable(line.strip())[:300] for line in text.split("\n") if line.strip()), None)
