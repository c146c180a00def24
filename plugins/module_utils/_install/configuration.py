# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Writing the configuration of a host to /cfg, and on one that is installed to the running /etc as well.

Both, because /etc is what ``nanozfs save`` keeps: what stood in /cfg alone would be taken for undone there, and the
next save would undo it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import os
import pwd
import re
import stat
import tempfile
from dataclasses import dataclass
from typing import Any, ContextManager, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import origins, rcconf, rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.burst import Make, Tree, alone, writable, write_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import rehearse, spelled
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import HOST_KEY, PUBLIC_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import CHECKS, TOGETHER, verdict
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import MASTER, Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS, RC_CONF, Entry, mode_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import root_of

_HEAD = "# Written by nanozfs.fleet.deploy; changes belong into the inventory.\n"
_SAFE = "nothing was changed"
_AGAIN = "run the play again"
_WHERE = "deploy_rc_conf, deploy_files or deploy_folders"

#: what has to be made anew from a file of /etc, as the early hook does it at a start. login_cap(3) reads login.conf
#: itself where there is no database of it, and images have none
_DERIVED = {MASTER: ("pwd_mkdb", "-p", "/etc/master.passwd")}

#: RFC 1123, section 2.1, and underscores, which people have; sethostname(3) takes MAXHOSTNAMELEN with the end
HOSTNAME = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\Z"
)
MAXHOSTNAMELEN = 256

_SETTING = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)


class File(NamedTuple):
    """A file as it shall be, or a symbolic link to *link*."""

    path: str
    content: bytes
    mode: int
    uid: int
    gid: int
    link: str = ""

    def describe(self) -> str:
        return "{0}: {1:04o} {2}:{3}, {4} bytes".format(self.path, self.mode, self.uid, self.gid, len(self.content))


def rc_conf(hostname: str, values: Mapping[str, Any]) -> str:
    """The text of rc.conf.

    :raises Refused: when a value cannot be one, or says another host name.
    """
    if not HOSTNAME.match(hostname) or len(hostname) > MAXHOSTNAMELEN - 1:
        raise Refused(
            "{0!r} is no name for a host".format(hostname),
            safe=_SAFE,
            todo="give deploy_hostname: letters, digits and dashes, also with a domain (web-1.example.org)",
        )
    if values.get("hostname", hostname) != hostname:
        raise Refused(
            "deploy_rc_conf sets another hostname ({0}) than deploy_hostname ({1})".format(
                values["hostname"], hostname
            ),
            safe=_SAFE,
            todo="leave it out of deploy_rc_conf",
        )
    return _HEAD + rcconf.render({"sshd_enable": "YES", **values, "hostname": hostname}, rules.PINNED, "deploy_rc_conf")


def own_entries(hostname: str, values: Mapping[str, Any], keys: Sequence[str]) -> List[Entry]:
    """The files that are written from variables of their own.

    :param values: settings of rc.conf.
    :param keys: public keys that may log in as root.
    :raises Refused: when they cannot be.
    """
    entries = [Entry(RC_CONF, rc_conf(hostname, values).encode("utf-8"), 0o644, source="deploy_rc_conf")]
    for key in keys:
        if not isinstance(key, str) or "\n" in key.strip() or not key.strip():
            raise Refused("deploy_authorized_keys: each must be one line", safe=_SAFE)
    if keys:
        text = "".join(key.strip() + "\n" for key in keys)
        entries.append(Entry(KEYS, text.encode("utf-8"), 0o600, source="deploy_authorized_keys"))
    return entries


def _number(name: Optional[str], find: Any, mine: int, entry: Entry, what: str) -> int:
    if name is None:
        return mine
    if name.isdigit():
        return int(name)
    try:
        return int(find(name))
    except KeyError:
        raise Refused(
            "{0}: {1}: this host has no {2} {3}".format(entry.source, entry.path, what, name),
            safe=_SAFE,
            todo="give its number, which holds also where the {0} only comes with the configuration".format(what),
        )


def resolve(entries: Sequence[Entry]) -> List[File]:
    """Entries with the numbers of their owners.

    :raises Refused: when this host does not know one.
    """
    found = []
    for each in entries:
        uid = _number(each.owner, lambda name: pwd.getpwnam(name).pw_uid, os.geteuid(), each, "user")
        gid = _number(each.group, lambda name: grp.getgrnam(name).gr_gid, _wheel(), each, "group")
        found.append(File(each.path, each.content, mode_of(each), uid, gid))
    return found


def _wheel() -> int:
    """The group of root's files; in a test that root does not run, one's own."""
    return 0 if os.geteuid() == 0 else os.getegid()


def judge(runner: Runner, files: Sequence[File], places: Places, gone: Sequence[str] = (), where: str = _WHERE) -> None:
    """Refuse what would keep the host from coming up with its configuration, before anything is written.

    The next start is tried, by the early hook's own functions, with these files in /cfg. What /cfg has wrong already is
    no reason to write nothing.

    :param gone: files that are taken out of /cfg.
    :param where: the variables that the files come from.
    :raises Refused: with what is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="nanozfs.") as folder:
        sources: Dict[str, Optional[str]] = dict.fromkeys(gone)
        for number, file in enumerate(files):
            source = os.path.join(folder, str(number))
            with private(source) as target:
                target.write(file.content)
            sources[file.path] = source
        problems = _checked(runner, files, sources)
        then = rehearse(runner, places, sources)
        if then.broken:
            problems.append("the host would come up in recovery mode: {0}".format(then.broken))
        mine = {spelled(file.path) for file in files}
        problems += ["{0} would be left out: {1}".format(path, why) for path, why in then.left if path in mine]
    if problems:
        raise Refused(
            "the configuration is not fit for a start: {0}".format("; ".join(problems)),
            safe=_SAFE,
            todo="mend that in {0} and run the play again".format(where),
        )


def _checked(runner: Runner, files: Sequence[File], sources: Mapping[str, Optional[str]]) -> List[str]:
    """What the judges of single files say, where they need nothing that only comes with the configuration."""
    problems = []
    for file in files:
        if file.path == MASTER:
            result = runner.query([*dict(CHECKS)[MASTER], str(sources[file.path])])
            if result.rc != 0:
                problems.append("{0}: {1}".format(file.path, verdict(result)))
    return problems


def private(path: str) -> Any:
    """A new file that only its owner can read, open for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def is_right(file: File, root: str) -> bool:
    """Whether a tree has a file as it shall be."""
    path = os.path.join(root, file.path)
    try:
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode) or info.st_size != len(file.content):
            return False
        if (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) != (file.mode, file.uid, file.gid):
            return False
        with open(path, "rb") as there:
            return there.read() == file.content
    except OSError:
        return False


def with_backup_hosts(files: Sequence[File], there: str) -> List[File]:
    """The files, with the lines of backup hosts that the keys in /cfg have: they come to a host by a way of their own.

    :param there: where /cfg is to be seen.
    """
    before = (_content(os.path.join(there, KEYS)) or b"").decode("utf-8", "surrogateescape")

    def kept(file: File) -> File:
        wanted = file.content.decode("utf-8", "surrogateescape")
        return file._replace(content=keys.kept(wanted, before).encode("utf-8", "surrogateescape"))

    return [kept(file) if file.path == KEYS else file for file in files]


def _content(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def as_it_is(path: str, root: str) -> Optional[File]:
    """A file or link of a tree as it is; ``None`` where there is none.

    :raises OSError: when it is neither, or cannot be read.
    """
    full = os.path.join(root, path)
    try:
        info = os.lstat(full)
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return File(path, b"", mode, info.st_uid, info.st_gid, os.readlink(full))
    if not stat.S_ISREG(info.st_mode):  # nobody may ever write to a pipe
        raise OSError(errno.EINVAL, "it is neither a file nor a link", full)
    with open(full, "rb") as file:
        return File(path, file.read(), mode, info.st_uid, info.st_gid)


def _state(path: str, root: str) -> str:
    """What is there instead of a file, without its content."""
    full = os.path.join(root, path)
    try:
        info = os.lstat(full)
    except OSError:
        return ""
    if not stat.S_ISREG(info.st_mode):
        return "{0}: no file\n".format(path)
    mode = stat.S_IMODE(info.st_mode)
    return "{0}: {1:04o} {2}:{3}, {4} bytes\n".format(path, mode, info.st_uid, info.st_gid, info.st_size)


def settings_of(text: str) -> Dict[str, str]:
    """What a file of the kind of rc.conf sets, where a line begins with it, as it is written there."""
    return dict(_SETTING.findall(text))


def difference(file: File, root: str) -> Dict[str, str]:
    """Both sides of the diff of a file that is not right: never with what is in it, which may be a secret."""
    before, after = _state(file.path, root), file.describe() + "\n"
    if file.path == RC_CONF:
        old: Dict[str, str] = {}
        with contextlib.suppress(OSError), open(os.path.join(root, RC_CONF), encoding="utf-8", errors="replace") as now:
            old = settings_of(now.read())
        new = settings_of(file.content.decode("utf-8", "replace"))
        for name in sorted(set(old) | set(new)):
            if old.get(name) != new.get(name):
                before += "  {0}: as before\n".format(name) if name in old else ""
                after += "  {0}: as deploy_rc_conf says\n".format(name) if name in new else ""
    elif before == after:
        before, after = before + "  content: as before\n", after + "  content: as the inventory says\n"
    return {"before": before, "after": after}


def _write(file: File, path: str) -> None:
    """One file or link with its owner and mode, and on the disk."""
    if file.link:
        os.symlink(file.link, path)
        os.lchown(path, file.uid, file.gid)
        return
    write_file(file.content, file.mode, file.uid, file.gid, path)


@dataclass
class Written:
    """What was written, or in check mode would be.

    ``overwritten`` are files of /etc that nobody had saved, ``renewed`` those that
    are others now while the host runs; ``key`` is the public key that the host is known by to ssh
    as itself, empty where that cannot be told.
    """

    changed: bool
    before: str
    after: str
    overwritten: List[str]
    key: str = ""
    renewed: Sequence[str] = ()


class Configuration:
    """/cfg of one host, and its /etc.

    :param installed: the host runs on its own configuration: /cfg is mounted, read-only, and /etc is made of it.
    """

    def __init__(self, runner: Runner, places: Places, pool: str, installed: bool) -> None:
        self.runner = runner
        self.places = places
        self.dataset = root_of(pool) + "/cfg"
        self.installed = installed
        self.cfg = Tree(places.cfg, self._like)
        self.etc = Tree(places.etc, self._like)

    def _like(self, folder: str) -> Tuple[int, int, int]:
        """Mode and owners of a folder: as the image has it, where it does, for at a start it goes over its own."""
        try:
            info = os.stat(os.path.join(self.places.base, folder))
        except OSError:
            return 0o700 if folder == os.path.dirname(KEYS) else 0o755, -1, -1
        return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid

    def alone(self) -> ContextManager[None]:
        """Nobody else writes to /cfg meanwhile. In check mode nothing is written, and a save is in nobody's way.

        :raises Refused: when somebody does.
        """
        return contextlib.nullcontext() if self.runner.check_mode else alone(self.places.cfg, _SAFE, _AGAIN)

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[None]:
        """/cfg open for writing. Whatever happens, it ends as it was."""
        place = self.places.cfg
        if self.installed:
            with self.alone(), writable(self.runner, place, _SAFE):
                yield
            return
        self.runner.change(["mount", "-t", "zfs", self.dataset, place], "mount {0}".format(self.dataset))
        try:
            yield
        finally:
            self.runner.change(["umount", place], "unmount {0}".format(place), safe="what was written is complete")

    def _with_key(self, files: Sequence[File], there: str) -> Tuple[List[File], bool]:
        """The files with the host's ssh key, where it has none in /cfg and the site gives it none.

        What the running system made at this start becomes the host's own: on a new host that is the key of recovery
        mode, which whoever deploys it has accepted, so that to their ssh the host stays the same one. A key that came
        with the image would be that of every host, and one that ssh-keygen(1) cannot read would be none.

        :param there: where /cfg is to be seen.
        :returns: and whether a key has to be made.
        """
        if any(file.path in (HOST_KEY, PUBLIC_KEY) for file in files) or os.path.lexists(os.path.join(there, HOST_KEY)):
            return list(files), False
        content = _content(self.etc.at(HOST_KEY))
        shipped = [_content(os.path.join(tree, HOST_KEY)) for tree in (self.places.base, self.places.recovery)]
        if content is None or content in shipped:
            return list(files), True
        read = self._public(self.etc)
        if not read:
            return list(files), True
        owner = (os.geteuid(), _wheel())
        public = read.encode("ascii", "replace") + b"\n"
        return [*files, File(HOST_KEY, content, 0o600, *owner), File(PUBLIC_KEY, public, 0o644, *owner)], False

    def _public(self, tree: Tree) -> str:
        """The public half of the host's ssh key in a tree; empty where there is none that ssh-keygen(1) can read."""
        read = self.runner.query(["ssh-keygen", "-y", "-P", "", "-f", tree.at(HOST_KEY)])
        return read.out.strip() if read.rc == 0 else ""

    def public(self) -> str:
        """The public key that the host is known by to ssh as itself, as /cfg has it; empty where it has none."""
        return self._public(self.cfg)

    def write(self, files: Sequence[File], hostname: str, keep: bool = True) -> Written:
        """Write what is not right yet, and make the host's ssh key where there is none.

        The key is made on the host, so that it never was anywhere else, and kept in /cfg, so that it stays the same for
        every image.

        :param keep: the lines of backup hosts among the keys that may log in stay.
        """
        if self.installed:
            files = with_backup_hosts(files, self.places.cfg) if keep else files
            written = self._write_both(*self._with_key(files, self.places.cfg), hostname)
            written.key = self._public(self.cfg) if not self.runner.check_mode else ""
            return written
        with self._mounted():
            if not self.runner.check_mode and os.listdir(self.places.cfg):
                judge(self.runner, files, self.places)  # together with what a pool of before has there
            # in check mode the dataset is not mounted, and nobody knows what is in it
            there = os.devnull if self.runner.check_mode else self.places.cfg
            files, made = self._with_key(with_backup_hosts(files, there) if keep else files, there)
            todo = [file for file in files if not is_right(file, there)]
            written = self._told(todo, made, there)
            self._put(todo, made, hostname)
            written.key = self._public(self.cfg) if not self.runner.check_mode else ""
        return written

    def _write_both(self, files: Sequence[File], made: bool, hostname: str) -> Written:
        """Write to /cfg, then bring the running /etc up to it.

        :param made: the host's ssh key has to be made.
        """
        unsaved = [file.path for file in files if self.is_unsaved(file)]
        todo = [file for file in files if not is_right(file, self.places.cfg)]
        written = self._told(todo, made, self.places.cfg)
        if todo or made:
            with self._mounted():
                self._put(todo, made, hostname)
        behind = [file for file in files if not is_right(file, self.places.etc)]
        told = [file.path for file in todo]
        written.after += "".join("/etc/" + file.describe() + "\n" for file in behind if file.path not in told)
        written.changed = written.changed or bool(behind)
        written.overwritten += unsaved
        written.renewed = [file.path for file in behind]
        if behind:
            self.put_in_force(behind)
        return written

    def store(self, files: Sequence[File], gone: Sequence[str] = ()) -> None:
        """Write to the /cfg of an installed host. Whoever calls this has it for himself; see :meth:`alone`.

        :param gone: paths of files that are taken out of it.
        :raises FleetError: when that fails; each file is the old or the new one then.
        """
        with writable(self.runner, self.places.cfg, _SAFE):
            if not self.runner.check_mode:
                notes = origins.after_write(self.places, [file.path for file in files], gone)
                self._replace(self.cfg, files, gone, notes)

    def put_in_force(self, files: Sequence[File], gone: Sequence[str] = ()) -> None:
        """Write to the running /etc, and make anew what is made of it.

        :param gone: paths of files that are taken out of it.
        :raises FleetError: when that fails; each file is the old or the new one then.
        """
        if not self.runner.check_mode:
            self._replace(self.etc, files, gone)
        self._derive(files)

    def bring_back(self, files: Sequence[File], gone: Sequence[str] = ()) -> None:
        """Like :meth:`put_in_force`, and without room for both versions of a file at once where there is none.

        :raises FleetError: with what failed, when everything else is done.
        """
        try:
            self._replace(self.etc, files, gone)
        except FleetError:
            failed = self.etc.force(self._makers(files), [path for path in gone if os.path.lexists(self.etc.at(path))])
            if failed:
                raise FleetError("could not bring back {0}".format("; ".join(failed)))
        # what is made of a file came back with it, byte for byte: made anew it would count as a change of somebody's
        there = {file.path for file in files}
        made = {group[0]: set(group) <= there for group in TOGETHER}
        self._derive([file for file in files if not made.get(file.path)])

    def _derive(self, files: Sequence[File]) -> None:
        for file in files:
            if file.path in _DERIVED:
                self.runner.change(_DERIVED[file.path], "put {0} in force".format(file.path))

    def is_unsaved(self, file: File) -> bool:
        """Whether somebody changed a file of /etc on the host, to something that is about to be replaced."""
        now = _content(self.etc.at(file.path))
        if now is None or now == file.content:
            return False
        before = _content(self.cfg.at(file.path))
        return now != (_content(os.path.join(self.places.base, file.path)) if before is None else before)

    @staticmethod
    def _told(todo: Sequence[File], made: bool, root: str) -> Written:
        """What is about to be written."""
        sides = [difference(file, root) for file in todo]
        after = "".join(side["after"] for side in sides) + ("{0}: made on the host\n".format(HOST_KEY) if made else "")
        return Written(bool(todo) or made, "".join(side["before"] for side in sides), after, [])

    @staticmethod
    def _makers(files: Sequence[File]) -> Dict[str, Make]:
        return {file.path: functools.partial(_write, file) for file in files}

    @classmethod
    def _replace(
        cls, tree: Tree, files: Sequence[File], gone: Sequence[str] = (), notes: Optional[bytes] = None
    ) -> None:
        makers = {**cls._makers(files), **origins.made(notes)}
        tree.replace(makers, gone, "no file of {0} was changed".format(tree.root), "mend that and run the play again")

    def _put(self, todo: Sequence[File], key: bool, hostname: str) -> None:
        if not self.runner.check_mode:
            if todo:
                # one that is installed from another slice may come up with another image than the one that runs now
                notes = origins.after_write(self.places, [file.path for file in todo], (), not self.installed)
                self._replace(self.cfg, todo, notes=notes)
            if key:
                self.cfg.make_folders(HOST_KEY)
        if key:
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", hostname, "-f", self.cfg.at(HOST_KEY)]
            self.runner.change(argv, "make the host's ssh key")
