# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The room _restore: what its gate lets in, the session, flags of files, what a backup says of its host."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from typing import Any, Callable, ClassVar, Dict, List, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import bare, description, fileflags, gate, grounds
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import session as sessions
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.session import Session
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp

FOLDER = "/var/run/nanozfs/restore/0123abcd/into"
OPEN = Session("0123abcd", "vault", FOLDER, 2000)


@pytest.fixture
def run_dir(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(job, "RUN_DIR", str(tmp_path / "run"))
    return str(tmp_path / "run")


# the gate

#: what rsync 3.2 and 3.5 ask for, recorded
SENT = [
    "rsync --server -lHogDtpXrSe.iLsfxCIvu --partial --numeric-ids . {0}/",
    "rsync --server -lHogDtpAXrSe.iLsfxCIvu --partial --numeric-ids . {0}/",
    "rsync --server -lHogDtprSe.iLsfxCIvu --bwlimit=1000 --stats --partial --numeric-ids . {0}/",
    "rsync --server -lHogDtprSe.iLsfxCIvu --delete --timeout=60 --partial --numeric-ids . {0}",
    "rsync --server -vlWHogDtprSze.iLsfxCIvu --timeout=60 --partial --numeric-ids . {0}/",
]


@pytest.fixture
def opened(run_dir: str) -> None:
    """A restore is open."""
    sessions.write(OPEN)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("sent", SENT)
def test_what_rsync_asks_for_is_let_in(sent: str) -> None:
    words = gate.asked(sent.format(FOLDER))
    assert words is not None
    argv = gate.check(words, "vault", OPEN, 1000)
    assert argv[:2] == ["rsync", "--server"] and argv[-2:] == [".", FOLDER + "/"] and "--partial" in argv


REFUSED = [
    ("-lre.iLsfxCIvu . /etc/", "is not the folder of the restore"),
    ("-lre.iLsfxCIvu . {0}/../../../../../../etc/", "is not the folder of the restore"),
    ("-lre.iLsfxCIvu . {0}/inner", "is not the folder of the restore"),
    ("-lre.iLsfxCIvu . {0}/ /etc/", "the command is none that rsync gives"),
    ("-lre.iLsfxCIvu {0}/", "the command is none that rsync gives"),
    ("- . {0}/", "'-' is not let in"),
    (". {0}/ -lr", "the command is none that rsync gives"),
    ("-lsre.iLsfxCIvu . {0}/", "'-lsre.iLsfxCIvu' is not let in"),
    ("-lKre.iLsfxCIvu . {0}/", "'-lKre.iLsfxCIvu' is not let in"),
    ("--daemon . {0}/", "'--daemon' is not let in"),
    ("--log-file=/etc/x -lr . {0}/", "'--log-file=/etc/x' is not let in"),
    ("--files-from=/etc/x -lr . {0}/", "is not let in"),
    ("--partial-dir=/etc -lr . {0}/", "is not let in"),
    ("--backup-dir=/etc -lr . {0}/", "is not let in"),
    ("--link-dest=/etc -lr . {0}/", "is not let in"),
    ("--temp-dir=/etc -lr . {0}/", "is not let in"),
    ("--remove-source-files -lr . {0}/", "is not let in"),
    ("--bwlimit=1;reboot -lr . {0}/", "is not let in"),
    ("-lr'\u0661' . {0}/", "is not let in"),
]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("sent", "words"), REFUSED, ids=[sent for sent, _words in REFUSED])
def test_what_is_not_let_in(sent: str, words: str) -> None:
    asked = gate.asked("rsync --server " + sent.format(FOLDER))
    assert asked is not None
    with pytest.raises(Refused, match=words.replace("(", r"\(")):
        gate.check(asked, "vault", OPEN, 1000)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "command",
    [
        None,
        "",
        "nanozfs-backup begin",
        "rsync --server --sender -lr . /x/",
        "sh -c 'rsync --server'",
        "rsync --server\n-lr . x",
        "rsync --server '",
        "rsync --server " + "x" * 5000,
    ],
)
def test_what_is_none_of_its_business(command: Any) -> None:
    assert gate.asked(command) is None


def test_nothing_is_its_business_while_nothing_is_open(run_dir: str) -> None:
    assert gate.asked(SENT[0].format(FOLDER)) is None


@pytest.mark.parametrize(
    ("session", "label", "now", "words"),
    [
        (None, "vault", 1000, "no restore is open on this host"),
        (OPEN, "other", 1000, "is not for the backup host other"),
        (OPEN, "vault", 2000, "the time of the restore is over"),
        (Session("0123abcd", "vault", FOLDER, 2000, running=os.getpid()), "vault", 1000, "files are arriving already"),
    ],
)
def test_only_while_it_is_open(session: Any, label: str, now: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        gate.check(SENT[0].format(FOLDER).split(), label, session, now)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("linked", [False, True], ids=["a dataset", "a folder of a user"])
def test_rsync_itself_through_the_gate(run_dir: str, tmp_path: Any, linked: bool) -> None:
    """A real rsync sends: hostile names, modes, hard links and holes arrive; nothing lands elsewhere."""
    source, folder = str(tmp_path / "source"), sessions.folder_of("0123abcd")
    os.makedirs(source + "/d")
    os.makedirs(os.path.dirname(folder) if linked else folder)
    if linked:
        staging = str(tmp_path / ".nanozfs-restore-0123abcd")
        os.mkdir(staging, 0o700)
        os.symlink(staging, folder)
    hostile = [b"-rf", b"a\nb", b"q'\"\\", b"\xff\xfe", b" ", b"$(touch x)"]
    for name in hostile:
        with open(os.path.join(os.fsencode(source), b"d", name), "wb") as file:
            file.write(name)
    os.link(source + "/d/-rf", source + "/linked")
    os.chmod(source + "/d/-rf", 0o4751)
    with open(source + "/sparse", "wb") as file:
        file.truncate(8 << 20)
    sessions.write(Session("0123abcd", "vault", folder, 1 << 40))
    program = (
        "import sys; from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job; "
        "from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import gate; "
        "job.RUN_DIR = {0!r}; words = gate.asked(' '.join(sys.argv[2:])); "
        "sys.exit(gate.receive(words, 'vault'))".format(run_dir)
    )
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nexec {0} -c "{1}" "$@"\n'.format(sys.executable, program))
    ssh.chmod(0o755)
    argv = [
        "rsync",
        "-aHXS",
        "--numeric-ids",
        "--partial",
        "--delete",
        "--stats",
        "-e",
        str(ssh),
        source + "/",
        "host:" + folder + "/",
    ]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(os.fsencode(folder) + b"/d")) == sorted(hostile)
    first, second = os.stat(folder + "/linked"), os.stat(folder + "/d/-rf")
    assert first.st_ino == second.st_ino and stat.S_IMODE(first.st_mode) == 0o4751
    assert os.stat(folder + "/sparse").st_blocks == 0
    found = sessions.read()
    assert found is not None and found.complete
    argv[-1] = "host:" + str(tmp_path / "elsewhere") + "/"
    assert subprocess.run(argv, capture_output=True, check=False, env=environment).returncode != 0
    assert not (tmp_path / "elsewhere").exists()


class Started:
    """An rsync that was begun, and does nothing."""

    calls: ClassVar[List[List[str]]] = []
    pid = 1 << 22

    def __init__(self, argv: List[str], **more: Any) -> None:
        assert more["cwd"] == "/" and set(more["env"]) == {"LC_ALL", "LANG", "PATH"}
        self.calls.append(argv)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_arguments: Any) -> None:
        return None

    def wait(self) -> int:
        return 0


def test_the_key_of_a_backup_host_leads_here_while_a_restore_is_open(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Started)
    Started.calls.clear()
    sent = "rsync --server -lHogDtpXrSe.iLsfxCIvu --partial . {0}/"
    assert "this key is for backups" in backed_up.ask(sent.format(FOLDER)).err
    sessions.write(Session("0123abcd", "vault", FOLDER, 1 << 40))
    answer = backed_up.ask(sent.format("/etc"))
    assert answer.rc == 3 and "is not the folder of the restore" in answer.err and not Started.calls
    assert backed_up.ask(sent.format(FOLDER)).rc == 0
    assert Started.calls == [[*sent.split()[:-1], FOLDER + "/"]]
    found = sessions.read()
    assert found is not None and found.complete
    assert "is not for the backup host other" in backed_up.ask(sent.format(FOLDER), label="other").err


@pytest.mark.parametrize(("label", "added", "status"), [("vault", True, 3), ("vault", False, 0), ("other", True, 0)])
def test_a_key_that_was_let_in_for_a_restore_reads_nothing(
    backed_up: BackedUp, label: str, added: bool, status: int
) -> None:
    sessions.write(Session("0123abcd", label, FOLDER, 0, key_added=added))
    answer = backed_up.ask("nanozfs-backup begin")
    assert answer.rc == status and ("was let in for a restore alone" in answer.err) == bool(status)


# the session


def test_how_the_last_transfer_ended_is_noted(run_dir: str) -> None:
    sessions.write(OPEN)
    assert os.stat(sessions.path()).st_mode & 0o777 == 0o600

    def failing(argv: Sequence[str], begun: Callable[[int], None]) -> int:
        begun(os.getpid())
        now = sessions.read()
        assert now is not None and now.is_receiving and not now.complete
        return 23

    words = SENT[0].format(FOLDER).split()
    assert gate.receive(words, "vault", lambda: 1000, failing) == 23
    found = sessions.read()
    assert found is not None and found.status == 23 and not found.complete
    sessions.begins("0123abcd", 1 << 22)  # it was killed: there is no such process
    assert sessions.read() is not None and not sessions.read().complete  # type: ignore[union-attr]
    sessions.ends("0123abcd", 77, 0)  # of an earlier one, which says nothing about this
    assert not sessions.read().complete  # type: ignore[union-attr]
    sessions.ends("0123abcd", 1 << 22, 0)
    assert sessions.read().complete  # type: ignore[union-attr]
    sessions.begins("ffffffff", 1)
    assert sessions.read().running == 0  # type: ignore[union-attr]
    sessions.remove()
    sessions.remove()
    assert sessions.read() is None


def test_only_one_of_two_that_ask_at_the_same_time(run_dir: str) -> None:
    """The second asks before rsync of the first has even been begun."""
    sessions.write(OPEN)
    words = SENT[0].format(FOLDER).split()

    def first(argv: Sequence[str], begun: Callable[[int], None]) -> int:
        with pytest.raises(Refused, match="files are arriving already"):
            gate.receive(words, "vault", lambda: 1000, lambda *_arguments: 0)
        return 23

    assert gate.receive(words, "vault", lambda: 1000, first) == 23
    assert not sessions.read().complete  # type: ignore[union-attr]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"v": 2}', "\xff"])
def test_a_session_that_cannot_be_read_lets_nobody_in(run_dir: str, content: str) -> None:
    os.makedirs(run_dir)
    with open(sessions.path(), "w", encoding="latin-1") as file:
        file.write(content)
    with pytest.raises(FleetError, match="cannot be read"):
        gate.receive(SENT[0].format(FOLDER).split(), "vault")


# flags


def test_flags_are_set_from_the_inside_out(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("x")
    calls: List[str] = []

    def note(path: str, value: int) -> None:
        calls.append("{0}={1}".format(os.path.relpath(path, str(tmp_path)), value))

    monkeypatch.setattr(fileflags, "known", lambda: True)
    monkeypatch.setattr(fileflags, "_set", note)
    problems = fileflags.again(str(tmp_path), {"": 4, "d": 1, "d/e/f": 2, "d/gone\n": 2, "d/e": 3})
    assert calls == ["d/e/f=2", "d/e=3", "d=1", ".=4"]
    assert len(problems) == 1 and "d/gone?" in problems[0]


def test_flags_do_not_follow_a_link_that_came_with_the_files(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fileflags, "known", lambda: True)
    found: Dict[str, int] = {}
    monkeypatch.setattr(fileflags, "_set", found.__setitem__)
    (tmp_path / "etc").mkdir()
    (tmp_path / "top").mkdir()
    for path in ("etc/passwd", "top/own"):
        (tmp_path / path).write_text("")
    os.symlink(str(tmp_path / "etc"), str(tmp_path / "top/link"))
    said = fileflags.again(str(tmp_path / "top"), {"link/passwd": 2, "own": 2, "link": 2})
    assert sorted(found) == [str(tmp_path / "top/link"), str(tmp_path / "top/own")]
    assert "link/passwd (a link leads elsewhere)" in said[0]


def test_a_system_without_flags_says_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fileflags, "known", lambda: False)
    assert fileflags.again(str(tmp_path), {"d": 1}) == ["file flags of 1 file are not set: this system knows none"]
    assert fileflags.again(str(tmp_path), {}) == []


# what a backup says


BROKEN: List[Any] = [
    (None, "values are no mapping"),
    ({}, "it has format"),
    ({"format": 1}, "pool's values are no mapping"),
    ({"format": 1, "pool": {"name": "a/../b@c"}}, "is no valid dataset name"),
    ({"format": 1, "pool": {"name": "tank"}}, "its datasets are no list"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": []}, "when it was taken"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [], "taken": True}, "its taken is no number"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{}], "taken": 1}, "a dataset has no name"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "path": "/x"}], "taken": 1}, "out of the tree"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "path": "x/../.."}]}, "out of the tree"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "properties": {"-o": "1"}}]}, None),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "properties": {"A B": "1"}}]}, "'A B'"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "properties": {"a": []}}]}, "hold 'a'"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [{"name": "x", "allow": [["-u"]]}]}, "no lists of arguments"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [], "taken": 1, "flags": {"a": -1}}, "no numbers of chflags"),
    ({"format": 1, "pool": {"name": "tank"}, "datasets": [], "taken": 1, "losses": "x"}, "its losses are no list"),
]


@pytest.mark.parametrize(("value", "words"), BROKEN)
def test_what_makes_no_sense_is_refused(value: Any, words: Any) -> None:
    with pytest.raises(Refused, match=words):
        description.parse(value)


def test_what_a_host_says_of_itself_is_understood(backed_up: BackedUp) -> None:
    begun = backed_up.begin()
    with open(os.path.join(begun["root"], description.NAME), encoding="utf-8") as file:
        found = description.parse(json.load(file))
    assert (found.host, found.pool, found.tag) == ("web-1", "tank", begun["tag"])
    made = {each.member.name: each.holder for each in bare.items(found)}
    assert made["nanozfs/cfg"] is False and made["nanozfs/failed"] is True and made["nanozfs/var/log"] is False
    assert found.named("var/log").properties["nanozfs:rollback"] == "keep"


def test_texts_of_a_backup_are_never_shown_raw() -> None:
    value: Dict[str, Any] = {"format": 1, "host": "w\x1b[2J", "pool": {"name": "tank"}, "datasets": [], "taken": 1}
    found = description.parse(dict(value, losses=["a\nb"], image={"version": "1\x07"}))
    assert (found.host, found.losses, found.image.version) == ("w?[2J", ("a?b",), "1?")
    assert found.stamp == "19700101T000001Z"


def test_the_id_is_of_the_thing_and_the_backup() -> None:
    ids = {description.ident(*words) for words in (("a", "b"), ("ab", ""), ("a", "b", ""), ('a", "b',))}
    assert len(ids) == 4
    assert description.ident("a\udcff") == description.ident("a\udcff")


# marks


def test_a_record_is_what_it_was() -> None:
    record = grounds.Record("0123abcd", grounds.HOST, "daily.0", "vault", "web-1", 5)
    assert grounds.decode(record.encode()) == record
    assert grounds.decode(record.swapping().encode()).swap
    for broken in ("", "{}", "[]", json.dumps({"v": 2}), record.encode().replace("5", '"x"')):
        with pytest.raises(FleetError, match="nobody here understands"):
            grounds.decode(broken)
