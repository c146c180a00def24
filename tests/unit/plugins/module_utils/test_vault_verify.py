# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host that looks into what it has: which files it takes, what it finds, and what it does not take for wrong.

The host on the other side is a folder, and what says what is in it is the host's own code.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import asdict
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests, records
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import gate as host_gate
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import cli, config, gate, sample, sets, state
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import REFUSED, TELLINGS, WAITS, Outcome, Vault
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import FAILED, OK
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.verify import Look, Verifier
from ansible_collections.nanozfs.fleet.tests.unit.vault import NOW, Machine

HOSTILE = (
    b"new\nline", b"quote'and\"more", b"-rf", b"--delete", b"inva\xff\xfelid", b" blank ", b"\x1b[31mred", b"*",
    b"host:x", b"[a]?",
)  # fmt: skip

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


class Pair:
    """A host with files, and a backup host with a set of them."""

    def __init__(self, base: str) -> None:
        self.machine = Machine(os.path.join(base, "vault"), web_1={})
        self.machine.now = time.time() + 300  # what the system calls now is before the set was taken
        self.host = os.path.join(base, "host")
        self.taken = int(time.time()) + 100
        self.machine.shown["web-1"] = (self.host, self.taken + 100)
        os.makedirs(os.path.join(self.host, "var", "db"))
        for number, name in enumerate(HOSTILE):
            self.write(b"var/db/" + name, name * number, 0o600 + number)
        self.write(b"cfg.conf", b"x" * 5000)
        self.write(b"bulk", os.urandom(300000))
        os.symlink(b"nowhere\n\xff", os.path.join(os.fsencode(self.host), b"link"))
        self.folder = os.path.join(self.machine.root, "rsnapshot", "web-1", "daily.0")
        self.tree = os.path.join(self.folder, "tree")
        shutil.copytree(self.host, self.tree, symlinks=True)
        with open(os.path.join(self.tree, "nanozfs-host.json"), "w", encoding="ascii") as file:
            file.write("{}")
        self.entries = len(HOSTILE) + 3 + 3 + 1  # with two folders, the top and what describes the host
        self.record()

    def write(self, path: bytes, content: bytes, mode: int = 0o640) -> None:
        full = os.path.join(os.fsencode(self.host), path)
        with open(full, "wb") as file:
            file.write(content)
        os.chmod(full, mode)
        os.utime(full, (1e9, 1e9))

    def record(self, **more: Any) -> None:
        """What is known of the set."""
        values = {"result": OK, "files": self.entries, "begun": self.taken, **more}
        pull = state.Pull(id="20261130T220501Z", host="web-1", ended=self.taken + 9, method="rsnapshot", **values)
        state.write_json(os.path.join(self.folder, sets.RECORD), asdict(pull))

    @property
    def vault(self) -> Vault:
        return Vault(self.machine.fleet, self.machine.places, self.machine.run, self.machine.clock)

    def verify(self, *names: str, stream: Any = None, **look: Any) -> Outcome:
        verifier = Verifier(self.vault, stream) if stream else Verifier(self.vault)
        told: List[Outcome] = []
        wanted = Look(**{"seed": "7", "now": True, **look})
        (outcome,) = verifier.run(names or ["web-1"], wanted, told.append)
        assert told == [outcome]
        assert not [name for name in os.listdir(self.machine.root) if "verify" in name], "nothing of it stays"
        return outcome

    def rot(self, path: str, tree: str = "") -> None:
        """Turn a bit of a file over; nobody can see that by its times."""
        full = os.path.join(tree or self.tree, path)
        info = os.stat(full)
        with open(full, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        os.utime(full, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.fixture
def pair(tmp_path: Any) -> Pair:
    return Pair(str(tmp_path))


# what is drawn


def many(folder: Any) -> str:
    for number in range(300):
        (folder / "small{0}".format(number)).write_bytes(b"x" * (number % 7))
    for number in range(3):
        (folder / "big{0}".format(number)).write_bytes(b"x" * 100000)
    os.symlink("small1", str(folder / "link"))
    os.mkfifo(str(folder / "fifo"))
    return str(folder)


def test_the_same_seed_draws_the_same_and_big_ones_are_among_them(tmp_path: Any) -> None:
    tree = many(tmp_path)
    drawn = sample.draw(tree, "1", 12)
    assert drawn.entries == 306
    names = [member.path for member in drawn.members]
    assert len(names) == 12 == len(set(names))
    assert {"link", *("big{0}".format(number) for number in range(3))} <= set(names) and "fifo" not in names
    assert [member.path for member in sample.draw(tree, "1", 12).members] == names
    assert [member.path for member in sample.draw(tree, "2", 12).members] != names
    # who draws more draws these as well, and nothing else before them
    assert set(names) <= {member.path for member in sample.draw(tree, "1", 40).members}
    assert len(sample.draw(tree, "1", 1000).members) == 304


def test_a_seed() -> None:
    assert sample.seed_of("a.b:1") == "a.b:1"
    new = {sample.seed_of("") for _each in range(5)}
    assert len(new) > 1 and all(records._SEED.match(each) for each in new)
    for wrong in ("a b", "x" * 65, "\x1b[2J", "a\n"):
        with pytest.raises(Refused, match="is no seed"):
            sample.seed_of(wrong)


# what is found


@needs_rsync
def test_a_set_that_is_good(pair: Pair) -> None:
    outcome = pair.verify()
    number = len(HOSTILE) + 3
    assert outcome.result == OK
    assert outcome.says.startswith("verified: {0} files of set 20261130T220501Z restored and compared, ".format(number))
    assert "seed 7" in outcome.says
    assert pair.machine.verified == [
        ("web-1", {"at": int(pair.machine.now), "result": "ok", "files": number, "seed": "7", "kind": "sample"})
    ]
    assert records.verification(json.dumps(pair.machine.verified[0][1])).files == number
    known = pair.vault.known(pair.machine.fleet.hosts["web-1"]).verified
    assert known is not None and (known["result"], known["changed"], known["wrong"]) == ("ok", 0, 0)
    (found,) = sets.sets_of(pair.machine.fleet, "web-1")
    assert found.verified == known
    with open(pair.machine.places.log("web-1"), encoding="utf-8") as file:
        assert "verified: " in file.read()


@needs_rsync
@pytest.mark.parametrize(
    "path", ["bulk", "cfg.conf", "var/db/-rf", os.fsdecode(b"var/db/inva\xff\xfelid"), "var/db/\x1b[31mred"]
)
def test_a_rotten_byte(pair: Pair, path: str) -> None:
    pair.rot(path)
    outcome = pair.verify()
    assert outcome.result == FAILED and outcome.says.startswith("VERIFICATION FAILED: ")
    assert "its content is another one" in outcome.says and outcome.says.isprintable()
    assert pair.machine.verified[0][1]["result"] == "failed"
    known = pair.vault.known(pair.machine.fleet.hosts["web-1"]).verified
    assert known is not None and known["wrong"] == 1 and known["names"][0]["path"].isprintable()
    (found,) = sets.sets_of(pair.machine.fleet, "web-1")
    assert found.verified is not None and found.verified["result"] == "failed"


def longer(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def another_link(path: str) -> None:
    os.unlink(path)
    os.symlink("/etc/passwd", path)


def another_file(path: str) -> None:
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(b"x" * 5000)


CHANGES: Mapping[str, Callable[[str], None]] = {
    "longer": longer, "removed": os.unlink, "a link": another_link, "another": another_file,
}  # fmt: skip


def later(pair: Pair) -> None:
    """What the host changes from now on it changes after the set was taken."""
    pair.taken = 10**9
    pair.record()


@needs_rsync
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_what_changed_since_is_not_compared(pair: Pair, change: str) -> None:
    later(pair)
    CHANGES[change](os.path.join(pair.host, "cfg.conf"))
    outcome = pair.verify()
    assert outcome.result == OK and ", 1 changed since" in outcome.says
    assert "{0} files of set".format(len(HOSTILE) + 2) in outcome.says


@needs_rsync
def test_another_one_is_taken_for_what_changed(pair: Pair) -> None:
    later(pair)
    everything = [each.path for each in sample.draw(pair.tree, "7", 40).members]
    for path in everything[:2]:
        os.unlink(os.path.join(pair.host, path))
    outcome = pair.verify(files=4)
    assert outcome.result == OK and outcome.verified is not None
    assert (outcome.verified["files"], outcome.verified["changed"]) == (4, 2)


@needs_rsync
def test_a_folder_that_is_a_link_now(pair: Pair, tmp_path: Any) -> None:
    later(pair)
    shutil.move(os.path.join(pair.host, "var"), str(tmp_path / "elsewhere"))
    os.symlink(str(tmp_path / "elsewhere"), os.path.join(pair.host, "var"))
    outcome = pair.verify()
    assert outcome.result == OK and ", {0} changed since".format(len(HOSTILE)) in outcome.says


@needs_rsync
@pytest.mark.parametrize("change", ["longer", "a link", "another"])
def test_what_became_another_one_here(pair: Pair, change: str) -> None:
    """The host says that the file is as it was before the set was taken."""
    path = os.path.join(pair.tree, "cfg.conf")
    CHANGES[change](path)
    os.utime(path, (pair.taken + 50, pair.taken + 50), follow_symlinks=False)
    outcome = pair.verify()
    assert outcome.result == FAILED
    assert any("'/cfg.conf' (" + why in outcome.says for why in ("its size is", "its time is", "it is a link here"))


@needs_rsync
def test_a_mode_that_is_another_one(pair: Pair) -> None:
    os.chmod(os.path.join(pair.tree, "cfg.conf"), 0o666)
    assert "'/cfg.conf' (its mode is 666, and 640 there)" in pair.verify().says
    later(pair)  # for all that anybody knows it was changed since
    assert pair.verify().result == OK


@needs_rsync
@pytest.mark.parametrize("how", ["trial", "clock"])
def test_data_that_may_have_gone_back(pair: Pair, how: str) -> None:
    """What the host says of when a file was changed counts only where its data and its clock go on."""
    os.chmod(os.path.join(pair.tree, "cfg.conf"), 0o666)
    if how == "trial":
        pair.record(trial=True)
    else:
        pair.machine.shown["web-1"] = (pair.host, pair.taken - 1)
    assert pair.verify().result == OK


@needs_rsync
def test_what_is_missing_here(pair: Pair) -> None:
    os.unlink(os.path.join(pair.tree, "cfg.conf"))
    outcome = pair.verify(files=1)
    assert outcome.result == FAILED
    assert (
        "1 of the {0} files and folders that were brought are not there any more".format(pair.entries) in outcome.says
    )


@needs_rsync
def test_a_folder_that_cannot_be_read(pair: Pair, monkeypatch: Any) -> None:
    open_folder = digests.open_folder

    def rotten(top: int, path: bytes) -> int:
        if path == b"var/db":
            raise OSError(5, "Input/output error")
        return open_folder(top, path)

    monkeypatch.setattr(sample, "open_folder", rotten)
    outcome = pair.verify()
    assert outcome.result == FAILED and "'/var/db' (the folder cannot be read: Input/output error)" in outcome.says


@needs_rsync
def test_attributes(pair: Pair) -> None:
    try:
        os.setxattr(os.path.join(pair.tree, "cfg.conf"), "user.remark", b"\0\xff")
    except OSError:
        pytest.skip("no extended attributes here")
    assert pair.verify().result == OK

    def forgetful(argv: Sequence[str], folder: str, _hear: Callable[[bytes], None]) -> Tuple[int, str]:
        shutil.copyfile(
            os.path.join(folder, argv[-2]), os.path.join(argv[-1], os.path.basename(argv[-2])), follow_symlinks=False
        )
        target = os.path.join(argv[-1], os.path.basename(argv[-2]))
        info = os.lstat(os.path.join(folder, argv[-2]))
        if not os.path.islink(target):
            os.chmod(target, info.st_mode & 0o7777)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)
        return 0, ""

    outcome = pair.verify(stream=forgetful)
    assert outcome.result == FAILED and "its extended attributes were not restored" in outcome.says


@needs_rsync
def test_what_is_too_large_is_said(pair: Pair) -> None:
    outcome = pair.verify(bytes=20000)
    assert outcome.result == OK and ", 1 unread" in outcome.says


@needs_rsync
def test_many_wrong_ones_are_one_line(pair: Pair) -> None:
    for name in HOSTILE[1:]:
        pair.rot(os.fsdecode(b"var/db/" + name))
    outcome = pair.verify()
    assert "and {0} more".format(len(HOSTILE) - 1 - 5) in outcome.says and len(outcome.says) < 2000


# what cannot be looked at


def ends(code: int, errors: str) -> Any:
    def run(_argv: Sequence[str], _folder: str, _hear: Callable[[bytes], None]) -> Tuple[int, str]:
        return code, errors

    return run


@pytest.mark.parametrize(
    ("code", "errors", "says", "told"),
    [
        (23, 'rsync: read errors mapping "x": Input/output error (5)', "VERIFICATION FAILED: ", "failed"),
        (23, "rsync: mkstemp failed: No space left on device (28)", "cannot restore here: the backup host is full", ""),
        (127, "rsync: not found", "not verified: rsync cannot restore here", ""),
        (0, "", "it was not restored", "failed"),
    ],
)  # fmt: skip
def test_an_rsync_that_fails(pair: Pair, code: int, errors: str, says: str, told: str) -> None:
    outcome = pair.verify(stream=ends(code, errors))
    assert outcome.result == FAILED and says in outcome.says
    assert [each["result"] for _host, each in pair.machine.verified] == ([told] if told else [])


def test_an_rsync_without_extended_attributes_is_asked_without(pair: Pair) -> None:
    asked: List[str] = []

    def run(argv: Sequence[str], _folder: str, _hear: Callable[[bytes], None]) -> Tuple[int, str]:
        asked.append(argv[1])
        return (4, "no xattrs") if "X" in argv[1] else (23, "x")

    pair.verify(stream=run, files=1)
    assert asked == ["-aHXS", "-aHS"]


def test_no_good_set(pair: Pair) -> None:
    pair.record(result="partial")
    outcome = pair.verify()
    assert outcome.result == REFUSED and "there is no good set of web-1" in outcome.says
    assert pair.machine.calls == [] and pair.machine.verified == []


def test_all_has_changed(pair: Pair, tmp_path: Any) -> None:
    pair.machine.shown["web-1"] = (str(tmp_path / "vault"), pair.taken)
    outcome = pair.verify()
    assert outcome.result == FAILED and "nothing could be compared" in outcome.says and pair.machine.verified == []


def test_a_host_that_is_down_is_not_the_end_of_the_others(pair: Pair) -> None:
    pair.machine.told["hosts"]["web-0"] = dict(pair.machine.told["hosts"]["web-1"])
    pair.machine.gate["web-1"] = (255, "ssh: connect to host 192.0.2.11 port 22: No route to host")
    told: List[Outcome] = []
    Verifier(pair.vault).run([], Look(now=True), told.append)
    assert [(each.host, each.result) for each in told] == [("web-0", REFUSED), ("web-1", FAILED)]
    assert "does not answer" in told[1].says and pair.machine.verified == []


def test_a_host_that_refuses(pair: Pair) -> None:
    pair.machine.gate["web-1"] = (3, "the host is in state recovery (x), without its own data")
    outcome = pair.verify()
    assert outcome.result == REFUSED and "state recovery" in outcome.says


def test_a_host_whose_image_is_older(pair: Pair) -> None:
    with pytest.raises(Refused) as refused:
        host_gate.asked("nanozfs-backup of-later")
    pair.machine.gate["web-1"] = (3, "nanozfs: {0}".format(refused.value))
    outcome = pair.verify()
    assert outcome.result == REFUSED and "the image of web-1 is older than this program" in outcome.says


ROW = {"kind": "file", "size": 1, "mtime": 1, "ctime": 1, "mode": 1, "uid": 1, "gid": 1, "sha256": "a" * 64}

SEEN = {key: value for key, value in ROW.items() if key != "sha256"}


def order(digests_wanted: int = 2, most: int = 10) -> Dict[str, Any]:
    files = [{"path": name, "kind": "file", "size": 5, "mtime": 1} for name in "ab"]
    return {"files": files, "digests": digests_wanted, "bytes": most}


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, {"begun": 1}, {"begun": "1", "files": []}, {"begun": True, "files": []},
        {"begun": 1, "files": [{"kind": "gone"}] * 3}, {"begun": 1, "files": [{}]},
        {"begun": 1, "files": [{"kind": "file"}]}, {"begun": 1, "files": [dict(ROW, sha256="\x1b")]},
        {"begun": 1, "files": [dict(ROW, mode=True)] * 2}, {"begun": 1, "files": [dict(ROW, kind="socket")] * 2},
        {"begun": 1, "files": [{"kind": "gone", "sha256": "a" * 64}] * 2},
        {"begun": 1, "files": [dict(ROW, uid=1 << 99)] * 2}, {"begun": 1, "files": [dict(ROW, sha256=None)] * 2},
    ],
)  # fmt: skip
def test_an_answer_that_is_none(answer: Any) -> None:
    assert gate.digests_of({"begun": 1, "files": [ROW, ROW]}, order()).files == [ROW, ROW]
    with pytest.raises(FleetError, match="is not what"):
        gate.digests_of(answer, order())


@pytest.mark.parametrize(
    ("rows", "wanted", "good"),
    [
        ([ROW], order(), False),  # it was cut off
        ([], order(), False),
        ([SEEN, SEEN], order(), True),
        ([ROW], order(1), True),
        ([SEEN, ROW], order(1), True),
        ([ROW, ROW], order(1), False),  # more is restored than was asked for
        ([ROW, ROW], order(2, 9), False),
    ],
)
def test_an_answer_is_whole_and_within_its_bounds(rows: Any, wanted: Any, good: bool) -> None:
    answer = {"begun": 1, "files": rows}
    if good:
        assert gate.digests_of(answer, wanted).files == rows
        return
    with pytest.raises(FleetError, match="is not what"):
        gate.digests_of(answer, wanted)


def test_a_host_that_lies_is_not_the_end_of_the_others(pair: Pair) -> None:
    """It says nonsense of each file; what it says is judged before anything is done with it."""
    pair.machine.told["hosts"]["web-2"] = dict(pair.machine.told["hosts"]["web-1"])
    run = pair.machine.run

    def lies(
        argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
    ) -> Tuple[int, str, str]:
        if argv[-1] != "nanozfs-backup digests":
            return run(argv, stdin, seconds, more)
        rows = [{"kind": "gone", "sha256": "a" * 64} for _each in json.loads(stdin or "")["files"]]
        return 0, json.dumps({"begun": 1, "files": rows}), ""

    pair.machine.run = lies  # type: ignore[method-assign]
    told: List[Outcome] = []
    Verifier(pair.vault).run([], Look(now=True), told.append)
    assert [(each.host, each.result) for each in told] == [("web-1", FAILED), ("web-2", REFUSED)]
    assert "is not what `nanozfs backup` says" in told[0].says and pair.machine.verified == []


def test_a_window(pair: Pair) -> None:
    pair.machine.now = NOW
    pair.machine.told["hosts"]["web-1"]["window"] = "00:00-00:01"
    outcome = pair.verify(now=False)
    assert (outcome.result, outcome.says) == (WAITS, "waits: its window is closed")
    assert pair.machine.calls == []


def test_two_at_once(pair: Pair) -> None:
    host = pair.machine.fleet.hosts["web-1"]
    with state.locked(pair.vault.host_lock(host)) as free:
        assert free
        outcome = pair.verify()
    assert (outcome.result, outcome.says) == (WAITS, "waits: it is being pulled or verified")
    assert pair.machine.calls == []


def test_what_would_be_done(pair: Pair) -> None:
    outcome = pair.verify(check=True, files=5)
    assert outcome.says == "would restore and compare 5 files of set 20261130T220501Z, 1.0 GiB at most, seed 7"
    assert pair.machine.calls == [] and not os.path.exists(pair.machine.places.state + "/log")


@needs_rsync
def test_a_host_that_cannot_be_told(pair: Pair) -> None:
    run, tries = pair.machine.run, []

    def deaf(
        argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
    ) -> Tuple[int, str, str]:
        if argv[-1] != "nanozfs-backup verified":
            return run(argv, stdin, seconds, more)
        tries.append(argv)
        return 255, "", "ssh: closed"

    pair.machine.run = deaf  # type: ignore[method-assign]
    outcome = pair.verify()
    assert outcome.result == OK and "the host could not be told" in outcome.says
    assert len(tries) == TELLINGS
    assert pair.vault.known(pair.machine.fleet.hosts["web-1"]).verified is not None


@needs_rsync
def test_what_was_killed_has_left_goes(pair: Pair) -> None:
    left = os.path.join(pair.machine.root, ".verify-web-1", "var")
    os.makedirs(left)
    assert pair.verify().result == OK


@needs_rsync
@pytest.mark.parametrize("to", ["daily.1", ""])
def test_a_set_that_somebody_takes_away_meanwhile(pair: Pair, to: str) -> None:
    """By a rotation or a removal by hand; what is missing then is not missing in the backup."""

    def rotates(argv: Sequence[str], folder: str, hear: Callable[[bytes], None]) -> Tuple[int, str]:
        if os.path.isdir(pair.folder):
            if to:
                os.rename(pair.folder, os.path.join(os.path.dirname(pair.folder), to))
            else:
                shutil.rmtree(pair.folder)
        return 23, "rsync: no such file"

    outcome = pair.verify(stream=rotates)
    assert outcome.result == FAILED and "was taken away or renamed while it was looked at" in outcome.says
    assert pair.machine.verified == [] and not os.path.exists(pair.folder)
    assert pair.vault.known(pair.machine.fleet.hosts["web-1"]).verified is None


@needs_rsync
def test_a_file_that_was_written_twice_in_a_second(pair: Pair) -> None:
    """A pull takes it for the same, now and later."""
    pair.write(b"cfg.conf", b"y" * 5000)
    os.utime(os.path.join(pair.host, "cfg.conf"), ns=(10**18, 10**18 + 500))
    os.utime(os.path.join(pair.tree, "cfg.conf"), ns=(10**18, 10**18 + 100))
    later(pair)
    assert "'/cfg.conf' (its content is another one)" in pair.verify().says


@needs_rsync
def test_what_was_copied_from_another_set_is_no_look_into_this_one(pair: Pair) -> None:
    pair.verify()
    older = os.path.join(os.path.dirname(pair.folder), "daily.1")
    shutil.copytree(pair.folder, older, symlinks=True)
    pull = state.Pull("20261129T220501Z", "web-1", 1, 2, OK, "rsnapshot", files=1)
    state.write_json(os.path.join(older, sets.RECORD), asdict(pull))
    assert [each.verified is not None for each in sets.sets_of(pair.machine.fleet, "web-1")] == [True, False]


@needs_rsync
def test_a_path_that_the_system_does_not_take(pair: Pair) -> None:
    """It is there, as rsync has brought it step by step, and counts; by its path it could not be restored."""
    before = os.getcwd()
    os.chdir(pair.tree)
    try:
        for _each in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        with open("leaf", "wb"):
            pass
    finally:
        os.chdir(before)
    pair.entries += 21
    pair.record()
    outcome = pair.verify()
    assert outcome.result == OK and " unread" not in outcome.says


def test_no_room(pair: Pair, monkeypatch: Any) -> None:
    real = os.statvfs(pair.machine.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: real.__class__([4096, 4096, 1000, 10, 10, 0, 0, 0, 0, 255]))
    outcome = pair.verify()
    assert outcome.result == REFUSED and "the backup host is full" in outcome.says


def test_a_pull_keeps_what_is_known(pair: Pair) -> None:
    known = state.Known(verified={"result": OK})
    pull = state.Pull("20261130T220501Z", "web-1", 1, 2, OK, "rsnapshot")
    path = pair.machine.places.host_state("web-1")
    state.write_known(path, known.after(pull, 5).after(state.Pull("x", "web-1", 1, 2, FAILED, "rsnapshot"), 6))
    assert state.read_known(path).verified == {"result": OK}


# the program


def called(pair: Pair, *argv: str) -> Tuple[int, str, str]:
    os.makedirs(pair.machine.places.conf, exist_ok=True)
    with open(pair.machine.places.fleet, "w", encoding="ascii") as file:
        file.write(config.dumped(pair.machine.told))
    out, err = io.StringIO(), io.StringIO()
    return cli.run(argv, pair.machine.places, out, err), out.getvalue(), err.getvalue()


@needs_rsync
def test_the_program(pair: Pair, monkeypatch: Any) -> None:
    monkeypatch.setattr(cli, "Vault", lambda fleet, places: pair.vault)
    assert "never verified" not in called(pair, "status")[1], "nothing good was pulled yet"
    rc, out, _err = called(pair, "verify", "--now", "--seed", "7", "web-1")
    assert rc == 0 and out.startswith("web-1: verified: ") and out.count("\n") == 1
    assert "never: " not in out and "VERIFIED" not in called(pair, "list")[1]
    assert ", verified 20" in called(pair, "status")[1]
    pair.rot("bulk")
    rc, out, _err = called(pair, "verify", "--now", "--seed", "7", "--json", "web-1")
    (row,) = json.loads(out)
    assert rc == 1 and row["result"] == "failed" and row["names"][0]["path"] == "/bulk"
    assert "VERIFICATION FAILED 20" in called(pair, "status")[1] and "VERIFICATION FAILED 20" in called(pair, "list")[1]
    found: Dict[str, Any] = json.loads(called(pair, "status", "--json")[1])
    assert found["hosts"]["web-1"]["verified"]["seed"] == "7"
    for argv in (
        ["--files", "0"],
        ["--files", str(digests.MOST_DIGESTS + 1)],
        ["--bytes", "0"],
        ["--seed", "a b"],
        ["web-9"],
    ):
        assert called(pair, "verify", "--now", *argv)[0] == 3


# by itself


DAY = 86400


class Night:
    """The backup host by its schedule, with a set that is there already."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        self.pair, self.machine = pair, pair.machine
        self.machine.told["hosts"]["web-1"].update(window="", **{"verify_every": 7, **more})
        self.looked: List[str] = []
        self.result = OK
        self.keep()
        monkeypatch.setattr(Vault, "run", lambda *_arguments: [])
        monkeypatch.setattr(Verifier, "run", self.look)

    def known(self) -> state.Known:
        return state.read_known(self.machine.places.host_state("web-1"))

    def keep(self, **more: Any) -> None:
        """What is known of the host."""
        pull = state.Pull("20261130T220501Z", "web-1", 1, 2, OK, "rsnapshot")
        known = state.Known(pull, pull, 2, **more)
        state.write_known(self.machine.places.host_state("web-1"), known)

    def look(self, names: Sequence[str], look: Look, says: Any) -> List[Outcome]:
        """In place of a look, whose own tests are above."""
        assert look == Look(), "as the schedule looks: by a new seed, and within the windows"
        self.looked += names
        if self.result == OK:
            self.keep(verified={"at": int(self.machine.now), "result": OK}, looked=self.known().looked)
        outcome = Outcome("web-1", self.result, "said")
        says(outcome)
        return [outcome]

    def passes(self, *arguments: str, days: float = 0) -> Tuple[int, int]:
        """Some days go, then the schedule comes; how often was looked since, and the exit status."""
        self.machine.now += days * DAY
        before = len(self.looked)
        options = cli._parser(self.machine.places).parse_args(["run", *arguments])
        rc = cli._run(self.pair.vault, options, io.StringIO())
        return len(self.looked) - before, rc


@pytest.fixture(name="night")
def fixture_night(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Night:
    return Night(pair, monkeypatch)


def test_the_schedule_looks_once_a_week(night: Night) -> None:
    assert night.passes() == (1, 0), "never verified"
    assert night.passes(days=0.01) == (0, 0) and night.passes(days=5) == (0, 0)
    assert night.passes(days=1.9) == (1, 0), "the night of the seventh day begins a little earlier than the first did"
    assert night.passes(days=1) == (0, 0)


def test_somebody_who_pulls_now_gets_that_alone(night: Night) -> None:
    assert night.passes("--now") == (0, 0) and night.passes("web-1") == (1, 0)


def test_a_look_in_vain_comes_again_the_next_day(night: Night) -> None:
    night.result = FAILED
    assert night.passes() == (1, 1)
    assert night.passes(days=0.02) == (0, 0) and night.passes(days=0.98) == (1, 1)


def test_a_fleet_that_was_never_looked_into_holds_up_no_pull(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule comes every quarter of an hour, and pulls nothing while it is still at it."""
    night = Night(pair, monkeypatch)
    pulled = night.known()
    for number in range(2, 8):
        night.machine.told["hosts"]["web-{0}".format(number)] = dict(night.machine.told["hosts"]["web-1"])
        state.write_known(night.machine.places.host_state("web-{0}".format(number)), pulled)
    night.result, moment = FAILED, [0.0]

    def steady() -> float:
        moment[0] += 200  # a look takes that long
        return moment[0]

    told: List[Outcome] = []
    Verifier(pair.vault, steady=steady).run_due([], told.append)
    assert night.looked == ["web-1", "web-2", "web-3", "web-4"]
    Verifier(pair.vault, steady=steady).run_due([], told.append)
    assert night.looked[4:] == ["web-5", "web-6", "web-7"], "the others have their turn, and nobody twice"


def test_a_host_that_is_being_pulled_is_left_to_that(night: Night) -> None:
    """What the pull writes down at its end is not lost, and the look is not done for the day."""
    vault = night.pair.vault
    with state.locked(vault.host_lock(vault.fleet.hosts["web-1"])) as free:
        assert free and night.passes() == (0, 0) and night.known().looked is None
    assert night.passes(days=0.01) == (1, 0)


def test_a_clock_that_was_wrong_holds_up_nothing(night: Night) -> None:
    night.keep(verified={"at": int(night.machine.now) + 900 * DAY}, looked=int(night.machine.now) + 900 * DAY)
    assert night.passes() == (1, 0)


@pytest.mark.parametrize("how", ["never", "no good set", "window", "zone"])
def test_when_nothing_is_looked_into(pair: Pair, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    night = Night(pair, monkeypatch, **{"never": {"verify_every": 0}}.get(how, {}))
    if how == "no good set":
        state.write_known(night.machine.places.host_state("web-1"), state.Known())
    if how == "window":
        minute = time.localtime(night.machine.now + 7200)
        night.machine.told["hosts"]["web-1"]["window"] = "{0:02d}:00-{0:02d}:30".format(minute.tm_hour)
        night.machine.told["hosts"]["web-1"]["zone"] = ""
    if how == "zone":
        night.machine.told["hosts"]["web-1"]["zone"] = "Europe/Atlantis"
    assert night.passes() == (0, 0)


def test_a_pull_keeps_what_is_known_of_looks() -> None:
    known = state.Known(verified={"at": 5}, machine={"at": 6}, looked=7, broken="torn")
    pull = state.Pull("20261130T220501Z", "web-1", 1, 2, OK, "rsnapshot")
    for after in (known.after(pull, 9), known.after(failed(pull), 9)):
        assert (after.verified, after.machine, after.looked, after.broken) == ({"at": 5}, {"at": 6}, 7, "")


def failed(pull: state.Pull) -> state.Pull:
    return state.pull_of({**asdict(pull), "result": FAILED})
