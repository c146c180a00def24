# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of /cfg with a new system: what becomes of each, and what is written for it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import merging, origins
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.merging import FOLLOWS, MERGED, STAYS, Outcome
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.origins import Entry, Folder
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places, files
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner

#: a text of lines; each change is a line of it
TEXT = "# app\n\n{0}\n\n# middle\n\n{1}\n\n# end\n"
OLD, NEW = TEXT.format("a 1", "b 1"), TEXT.format("a 1", "b 2")
OURS, BOTH = TEXT.format("a 2", "b 1"), TEXT.format("a 2", "b 2")
OTHER = TEXT.format("a 1", "b 3")

MASTER = "root:*:0:0::0:0:Charlie &:/root:/bin/sh\n"
SSHD = "sshd:*:22:22::0:0:Secure Shell Daemon:/var/empty:/usr/sbin/nologin\n"
ALICE = "alice:$6$secret:1001:1001::0:0:Alice:/home/alice:/bin/sh\n"


class Site:
    """Three trees in a folder: the base that runs, the base that comes, and /cfg."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.ran: List[Sequence[str]] = []
        self.rc = 0
        for tree in ("running", "new", "cfg"):
            os.mkdir(os.path.join(folder, tree))

    def at(self, tree: str, path: str) -> str:
        return os.path.join(self.folder, tree, path)

    @property
    def places(self) -> Places:
        return Places(etc=self.at("etc", ""), base=self.at("running", ""), cfg=self.at("cfg", ""))

    def put(self, tree: str, path: str, content: Any, mode: int = 0o644) -> None:
        full = self.at(tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
        os.chmod(full, mode)

    def link(self, tree: str, path: str, target: str) -> None:
        os.makedirs(os.path.dirname(self.at(tree, path)), exist_ok=True)
        os.symlink(target, self.at(tree, path))

    def three(self, path: str, old: str = OLD, new: str = NEW, ours: str = OURS) -> None:
        """A file in all three trees."""
        for tree, text in (("running", old), ("new", new), ("cfg", ours)):
            self.put(tree, path, text)

    def get(self, path: str) -> Optional[str]:
        full = self.at("cfg", path)
        if not os.path.lexists(full):
            return None
        with open(full, encoding="utf-8") as file:
            return file.read()

    def noted(self, *paths: str) -> None:
        """Note what files of /cfg were made against, as a save does it."""
        notes = origins.after_write(self.places, paths, ())
        assert notes is not None
        self.put("cfg", origins.NAME, notes, 0o600)

    def decide(self, **policies: str) -> Outcome:
        wanted = {key.replace("__", "/"): value for key, value in policies.items()}
        return self.settle(wanted)

    def settle(self, wanted: Mapping[str, str]) -> Outcome:
        running, new = (Folder(self.at(tree, "")) for tree in ("running", "new"))
        return merging.decide(self.at("cfg", ""), running, new, merging.policies_of(wanted))

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Any:
        self.ran.append(tuple(argv))
        assert argv[:3] == ["pwd_mkdb", "-p", "-d"]
        for name in ("passwd", "pwd.db", "spwd.db"):
            with open(os.path.join(argv[3], name), "w", encoding="utf-8") as file:
                file.write("made anew\n")
        return self.rc, "", "pwd_mkdb: at line 1" if self.rc else ""

    def write(self, outcome: Outcome) -> None:
        merging.write(Runner(self.execute), self.at("cfg", ""), outcome)

    def upgrade(self, **policies: str) -> Outcome:
        """Decide, write, and run the new system."""
        outcome = self.decide(**policies)
        self.write(outcome)
        self.run_new()
        return outcome

    def run_new(self) -> None:
        shutil.rmtree(self.at("running", ""))
        shutil.copytree(self.at("new", ""), self.at("running", ""), symlinks=True)


@pytest.fixture
def site(tmp_path: Any) -> Site:
    return Site(str(tmp_path))


def kinds(outcome: Outcome) -> Dict[str, str]:
    return {each.path: each.kind for each in outcome.decisions}


class TestFiles:
    def test_each_kind(self, site: Site) -> None:
        site.three("app.conf")
        site.three("follows.conf", ours=OLD)
        site.three("same.conf", ours=NEW)
        site.three("stays.conf", new=OLD)
        site.put("cfg", "own.conf", "ours alone\n")
        found = site.decide()
        assert kinds(found) == {
            "app.conf": MERGED,
            "follows.conf": FOLLOWS,
            "own.conf": STAYS,
            "same.conf": STAYS,
            "stays.conf": STAYS,
        }
        assert found.says() == "of /cfg with the new system: 1 is merged (app.conf), 1 follows it again (follows.conf)"
        assert found.as_dict() == {
            "kept": 3,
            "merged": ["app.conf"],
            "follows": ["follows.conf"],
            "conflicts": [],
            "assumed": 3,
        }
        found.refuse()
        site.write(found)
        assert (site.get("app.conf"), site.get("follows.conf"), site.get("same.conf")) == (BOTH, None, NEW)
        assert site.get("own.conf") == "ours alone\n"
        assert sorted(files(site.at("cfg", ""))) == [origins.NAME, "app.conf", "own.conf", "same.conf", "stays.conf"]

    def test_what_is_the_host_s_own_makes_no_work(self, site: Site) -> None:
        site.put("cfg", "own.conf", "ours alone\n")
        assert not site.decide().changes
        site.put("new", "own.conf", "the new system's\n")
        assert site.decide().changes

    def test_once_is_enough(self, site: Site) -> None:
        site.three("app.conf")
        assert site.upgrade().changes
        again = site.decide()
        assert not again.changes and again.says() == "" and kinds(again) == {"app.conf": STAYS}

    def test_a_second_upgrade_has_the_third_side_from_the_notes(self, site: Site) -> None:
        """Also when the merge of the first one was taken for granted: what it has seen is no news."""
        site.three("app.conf")
        site.upgrade()
        site.put("new", "app.conf", TEXT.format("a 1", "b 9"))
        site.upgrade()
        assert site.get("app.conf") == TEXT.format("a 2", "b 9")

    def test_what_an_older_release_hid_comes_to_light(self, site: Site) -> None:
        """It was saved two releases ago, and nobody merged it since: the note says what it was made against."""
        site.put("running", "app.conf", OLD)
        site.noted("app.conf")
        site.put("cfg", "app.conf", OURS)
        site.put("running", "app.conf", NEW)
        site.put("new", "app.conf", NEW)
        found = site.decide()
        assert kinds(found) == {"app.conf": MERGED} and found.as_dict()["assumed"] == 0
        site.write(found)
        assert site.get("app.conf") == BOTH

    def test_without_a_note_that_is_not_known(self, site: Site) -> None:
        site.three("app.conf", old=NEW)
        found = site.decide()
        assert kinds(found) == {"app.conf": STAYS} and found.as_dict()["assumed"] == 1
        site.write(found)
        assert origins.read(site.at("cfg", ""))["app.conf"].assumed

    def test_a_text_that_was_too_much_to_keep(self, site: Site) -> None:
        large = OLD + "# " + "x" * origins.MOST + "\n"
        site.put("running", "app.conf", large)
        site.noted("app.conf")
        site.put("cfg", "app.conf", large.replace("a 1", "a 2"))
        site.put("new", "app.conf", large.replace("b 1", "b 2"))
        assert kinds(site.decide()) == {"app.conf": MERGED}, "the system that runs has it still"
        site.put("running", "app.conf", "something else\n")
        found = site.decide()
        assert [each.why for each in found.clashes] == ["what it was made against is in no image at hand"]
        site.put("new", "app.conf", large)
        assert not site.decide().clashes, "nor is anything new"

    def test_what_is_not_merged(self, site: Site) -> None:
        for path in ("rc.subr", "fstab", "login.conf.db", "rc.d/sshd", "pwd.db", "mail/aliases.db"):
            site.three(path)
        assert site.decide().decisions == ()

    def test_names_and_bytes_of_all_kinds(self, site: Site) -> None:
        name = os.fsdecode(b"local/a\n\xff\x1b[2J.conf")
        site.three(name)
        site.put("cfg", "dos.conf", OURS.replace("\n", "\r\n"))
        site.put("running", "dos.conf", OLD)
        site.put("new", "dos.conf", NEW)
        site.put("running", "binary", b"\0\1")
        site.put("new", "binary", b"\0\2")
        site.put("cfg", "binary", b"\0\3")
        found = site.decide(binary="ours")
        assert found.named(MERGED) == ["dos.conf", "local/a??" + "?[2J.conf"]
        site.write(found)
        assert site.get(name) == BOTH
        with open(site.at("cfg", "dos.conf"), "rb") as file:
            assert file.read() == BOTH.replace("\n", "\r\n").encode()
        assert origins.read(site.at("cfg", ""))["binary"].content == b"\0\2"
        assert [each.path for each in found.clashes] == ["binary"]


class TestAttributes:
    def test_a_file_that_follows_but_for_its_mode(self, site: Site) -> None:
        site.three("app.conf", ours=OLD)
        os.chmod(site.at("cfg", "app.conf"), 0o600)
        site.upgrade()
        assert site.get("app.conf") == NEW
        assert os.stat(site.at("cfg", "app.conf")).st_mode & 0o777 == 0o600

    def test_a_mode_that_the_base_changed(self, site: Site) -> None:
        site.three("app.conf")
        os.chmod(site.at("new", "app.conf"), 0o600)
        site.three("other.conf", new=OLD)
        os.chmod(site.at("new", "other.conf"), 0o640)
        site.upgrade()
        assert [os.stat(site.at("cfg", each)).st_mode & 0o777 for each in ("app.conf", "other.conf")] == [0o600, 0o640]
        assert site.get("other.conf") == OURS


class TestLinksAndFolders:
    def test_a_link_that_leads_out_is_never_followed(self, site: Site, tmp_path: Any) -> None:
        (tmp_path / "outside").write_text("untouched\n")
        site.put("running", "app.conf", OLD)
        site.put("new", "app.conf", NEW)
        site.link("cfg", "app.conf", str(tmp_path / "outside"))
        found = site.decide()
        assert [(each.where, each.why, each.yours) for each in found.clashes] == [
            ("the whole file", "a link cannot be merged", "a link to {0}".format(tmp_path / "outside"))
        ]
        with pytest.raises(Refused, match=r"upgrade_merge, for instance \{'app.conf': ours\}"):
            found.refuse()
        site.upgrade(**{"app.conf": "theirs"})
        assert site.get("app.conf") is None and (tmp_path / "outside").read_text() == "untouched\n"

    def test_links(self, site: Site) -> None:
        for path, old, new, ours in (
            ("follows", "a", "b", "a"),
            ("same", "a", "b", "b"),
            ("stays", "a", "a", "c"),
            ("both", "a", "b", "c"),
        ):
            for tree, target in (("running", old), ("new", new), ("cfg", ours)):
                site.link(tree, path, target)
        found = site.decide(both="ours")
        assert kinds(found) == {"both": STAYS, "follows": FOLLOWS, "same": STAYS, "stays": STAYS}
        assert found.says().endswith("1 follows it again (follows), 1 conflict settled by upgrade_merge")
        site.write(found)
        assert os.readlink(site.at("cfg", "both")) == "c" and not os.path.lexists(site.at("cfg", "follows"))

    def test_a_file_that_became_a_folder(self, site: Site) -> None:
        site.put("running", "app", OLD)
        site.put("new", "app/main.conf", NEW)
        site.put("cfg", "app", OURS)
        assert [each.why for each in site.decide().clashes] == ["it is a folder in the new system"]
        site.put("cfg", "app", OLD)
        assert kinds(site.decide()) == {"app": FOLLOWS}

    def test_a_folder_that_became_a_file(self, site: Site) -> None:
        site.put("running", "app/main.conf", OLD)
        site.put("new", "app", NEW)
        site.put("cfg", "app/main.conf", OURS)
        assert [each.why for each in site.decide().clashes] == ["app is no folder in the new system"]
        site.upgrade(**{"app/*": "theirs"})
        assert not os.path.lexists(site.at("cfg", "app")), "a folder would take the place of the file"

    def test_a_file_that_is_gone(self, site: Site) -> None:
        site.put("running", "app.conf", OLD)
        site.put("cfg", "app.conf", OURS)
        assert "has this file no longer" in site.decide().clashes[0].why
        site.put("cfg", "app.conf", OLD)
        assert kinds(site.decide()) == {"app.conf": FOLLOWS}


class TestPolicies:
    @pytest.mark.parametrize(
        "policy, text, kind", [("ours", OTHER, STAYS), ("theirs", None, FOLLOWS), ("keep", OTHER, STAYS)]
    )
    def test_who_wins(self, site: Site, policy: str, text: Optional[str], kind: str) -> None:
        site.three("ssh/app.conf", ours=OTHER)
        with pytest.raises(Refused) as refused:
            site.decide().refuse()
        assert "ssh/app.conf, " in str(refused.value) and "b 3" in str(refused.value) and "b 2" in str(refused.value)
        assert refused.value.details["conflicts"][0]["policy"] == "stop"
        found = site.settle({"/etc/ssh/": policy, "*": "stop"})
        found.refuse()
        assert kinds(found) == {"ssh/app.conf": kind}
        site.write(found)
        assert site.get("ssh/app.conf") == text

    def test_what_is_kept_is_merged_when_that_is_wanted(self, site: Site) -> None:
        """What it was made against stays noted, and nothing is to be done meanwhile."""
        site.put("running", "app.conf", OLD)
        site.noted("app.conf")
        site.three("app.conf")
        site.three("other.conf")
        kept = site.decide(**{"*": "keep"})
        assert kinds(kept) == {"app.conf": STAYS, "other.conf": STAYS} and not kept.changes
        site.run_new()
        site.upgrade()
        assert site.get("app.conf") == BOTH

    @pytest.mark.parametrize("wanted", [{"a": "mine"}, {"a": True}, {"": "ours"}, {"a\nb": "ours"}])
    def test_nonsense(self, wanted: Dict[str, Any]) -> None:
        with pytest.raises(Refused, match="is none of ours, theirs, stop, keep"):
            merging.policies_of(wanted)

    def test_other_names_of_places(self) -> None:
        policies = merging.policies_of({"/usr/local/etc/app/": "ours", "/cfg/b": "theirs", "/etc/c": "keep"})
        assert policies == [("local/app/*", "ours"), ("b", "theirs"), ("c", "keep")]

    def test_what_not_everybody_may_read_is_not_shown(self, site: Site) -> None:
        site.three("app.conf", ours=OTHER)
        os.chmod(site.at("cfg", "app.conf"), 0o600)
        (clash,) = site.decide().clashes
        assert (clash.base, clash.new, clash.yours) == ("(not shown)",) * 3 and "b 3" not in clash.describe()

    def test_nor_is_what_an_entry_is_called(self, site: Site) -> None:
        """A job of cron is called by its command; a user, an option and a line by what says nothing."""
        for path, old, new, ours, where in (
            ("cron.d/a", "", "@daily root fetch -u me:hush\n", "@weekly root fetch -u me:hush\n", "(not shown)"),
            ("syslog.conf", "*.* |hush\n", "*.err |hush\n", "*.info |hush\n", "(not shown)"),
            ("inetd.conf", "", "hush a b c d e f\n", "hush a b c d e g\n", "(not shown)"),
            ("periodic.conf", "a=hush\n", "a=hush1\n", "a=hush2\n", "variable a"),
            ("app.conf", "hush\n", "hush 1\n", "hush 2\n", "line 1"),
        ):
            site.three(path, old, new, ours)
            os.chmod(site.at("cfg", path), 0o600)
            (clash,) = site.decide().clashes
            assert clash.where == where and "hush" not in str(clash), path
            os.unlink(site.at("cfg", path))

    def test_in_a_folder_that_is_closed(self, site: Site) -> None:
        site.three("local/vpn/app.conf", ours=OTHER)
        os.chmod(site.at("cfg", "local/vpn"), 0o750)
        (clash,) = site.decide().clashes
        assert (clash.base, clash.new, clash.yours) == ("(not shown)",) * 3

    def test_a_message_has_an_end(self, site: Site) -> None:
        """All of it is in the result."""
        for number in range(100):
            site.three("{0:03}.conf".format(number), ours=OTHER)
        with pytest.raises(Refused, match=r"and 90 more, 100 conflicts in all, in 000\.conf, .* 80 more") as refused:
            site.decide().refuse()
        assert len(refused.value.details["conflicts"]) == 100 and len(str(refused.value)) < 5000
        assert "{'000.conf': ours, '001.conf': ours, " in str(refused.value)


class TestUsers:
    def users(self, site: Site) -> None:
        site.put("running", "master.passwd", MASTER, 0o600)
        site.put("new", "master.passwd", MASTER + SSHD, 0o600)
        site.put("cfg", "master.passwd", MASTER + ALICE, 0o600)

    def test_a_new_one_and_ours(self, site: Site) -> None:
        self.users(site)
        for name in ("passwd", "pwd.db", "spwd.db"):
            site.put("cfg", name, "of before\n")
        found = site.decide()
        site.write(found)
        text = site.get("master.passwd")
        assert text is not None and ALICE in text and SSHD in text
        assert [site.get(name) for name in ("passwd", "pwd.db", "spwd.db")] == ["made anew\n"] * 3
        assert os.stat(site.at("cfg", "master.passwd")).st_mode & 0o777 == 0o600

    def test_what_the_host_never_saved_is_not_made(self, site: Site) -> None:
        self.users(site)
        site.write(site.decide())
        assert [site.get(name) for name in ("passwd", "pwd.db", "spwd.db")] == [None] * 3

    @pytest.mark.parametrize("name", ["tempfile.mkdtemp", "os.fchmod"])
    def test_no_room_to_make_them(self, site: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.users(site)
        found = site.decide()

        def full(*_arguments: Any, **_more: Any) -> None:
            raise OSError(28, "No space left on device", "/tmp")

        monkeypatch.setattr(name, full)
        with pytest.raises(FleetError, match="cannot be written for pwd_mkdb: No space left"):
            site.write(found)
        assert site.get("master.passwd") == MASTER + ALICE

    def test_users_that_are_none(self, site: Site) -> None:
        self.users(site)
        site.rc = 1
        found = site.decide()
        with pytest.raises(FleetError, match="the merged users"):
            site.write(found)
        assert site.get("master.passwd") == MASTER + ALICE

    def test_what_a_program_makes_of_what_is_merged(self, site: Site) -> None:
        site.three("mail/aliases", "a: b\n", "a: b\nc: d\n", "a: b\ne: f\n")
        site.put("cfg", "mail/aliases.db", b"\0")
        (warning,) = site.decide().warnings()
        assert "mail/aliases.db in /cfg is still made of the mail/aliases of before" in warning


class TestNotes:
    def test_there_and_back(self, site: Site) -> None:
        site.put("running", "app.conf", b"\xff\0text \xc3\xa4", 0o640)
        site.link("running", "link", "to")
        entries = {path: Folder(site.at("running", "")).entry(path) for path in ("app.conf", "link", "none")}
        notes = {path: origins.origin_of(entry, path == "link") for path, entry in entries.items()}
        raw = origins.encode(notes)
        assert origins.decode(raw) == notes and origins.encode(origins.decode(raw)) == raw
        assert all(origins.decode(raw)[path].entry([]) == entry for path, entry in entries.items())

    def test_a_file_that_is_there_keeps_its_note(self, site: Site) -> None:
        site.put("running", "app.conf", OLD)
        site.noted("app.conf")
        site.put("cfg", "app.conf", OURS)
        site.put("running", "app.conf", NEW)
        assert origins.after_write(site.places, ["app.conf"], ()) is None
        raw = origins.after_write(site.places, ["app.conf", "b"], ["app.conf"])
        assert raw is not None and list(origins.decode(raw)) == ["app.conf", "b"]
        gone = origins.after_write(site.places, [], ["app.conf"])
        assert gone is not None and origins.decode(gone) == {}

    def test_of_a_file_that_was_there_before_there_were_notes(self, site: Site) -> None:
        site.three("app.conf")
        raw = origins.after_write(site.places, ["app.conf", "new.conf"], ())
        assert raw is not None
        found = origins.decode(raw)
        assert found["app.conf"].assumed and not found["new.conf"].assumed

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"nonsense",
            gzip.compress(b"nonsense", mtime=0),
            gzip.compress(b"[]", mtime=0),
            gzip.compress(json.dumps({"format": 2, "files": {}}).encode(), mtime=0),
            gzip.compress(json.dumps({"format": 1, "files": {"a": {}}}).encode(), mtime=0),
            gzip.compress(json.dumps({"format": 1, "files": {}}).encode(), mtime=0)[:-9],
            gzip.compress(bytes(17 << 20), mtime=0),
            gzip.compress(b'{"format": 1, "files": ' + b"[" * 100_000, mtime=0),
        ],
    )
    def test_damaged(self, site: Site, raw: bytes) -> None:
        """A save does not fail by that; an upgrade says it, as it would go by the wrong side."""
        site.three("app.conf")
        site.put("cfg", origins.NAME, raw)
        with pytest.raises(FleetError, match=r"cannot be read: .* rm -r /cfg/\.nanozfs\.origins\.gz"):
            site.decide()
        assert origins.after_write(site.places, ["app.conf"], ()) is None

    @pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
    def test_no_file(self, site: Site, make: str) -> None:
        """Neither a save nor an upgrade waits for a writer, or breaks."""
        site.three("app.conf")
        getattr(os, make)(site.at("cfg", origins.NAME))
        with pytest.raises(FleetError, match="cannot be read: it is no file"):
            site.decide()
        assert origins.after_write(site.places, ["app.conf"], ()) is None

    def test_more_texts_than_are_ever_read_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The largest are left out, and the notes stay readable."""
        monkeypatch.setattr(origins, "_LIMIT", 60_000)
        entries = {os.fsdecode(b"local/\xff\n%d" % size): Entry("file", content=b"\xff" * size) for size in range(200)}
        notes = {path: origins.origin_of(entry, False) for path, entry in entries.items()}
        found = origins.decode(origins.encode(notes))
        kept = [each.content is not None for each in found.values()]
        assert set(found) == set(notes) and any(kept) and not all(kept)
        assert all(found[path]._replace(content=notes[path].content) == notes[path] for path in notes)
        sizes = [len(notes[path].content or b"") for path, each in found.items() if each.content is not None]
        assert sorted(sizes) == list(range(len(sizes)))

    def test_a_link_is_not_followed(self, site: Site) -> None:
        site.link("cfg", origins.NAME, "/etc/passwd")
        with pytest.raises(FleetError, match="cannot be read"):
            origins.read(site.at("cfg", ""))

    def test_no_room(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of it is in place then."""
        site.three("app.conf")
        site.three("b.conf")

        def full(_handle: int) -> None:
            raise OSError(28, "No space left on device", "b.conf")

        found = site.decide()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(FleetError, match="No space left on device"):
            site.write(found)
        assert sorted(files(site.at("cfg", ""))) == ["app.conf", "b.conf"] and site.get("app.conf") == OURS


def test_entries(site: Site) -> None:
    os.mkfifo(site.at("cfg", "fifo"))
    os.mkdir(site.at("cfg", "folder"))
    site.put("cfg", "file", "text")
    here = Folder(site.at("cfg", ""))
    found = [here.entry(path).kind for path in ("fifo", "folder", "file", "none", "file/x", "folder/a/b")]
    assert found == ["other", "folder", "file", "none", "behind", "none"]
    assert here.entry("folder").same(here.entry("folder")) and not Entry("file").same(Entry("link"))
