# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data plans on datasets as people have them: they lose nothing and end, or are refused before."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import delegation
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import plan
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Branch, Member, Step
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost

ROOT = "tank/nanozfs"
VAR, CFG, LOG, DB = ROOT + "/var", ROOT + "/cfg", ROOT + "/var/log", ROOT + "/var/db"
TAG, ASIDE, LEFT = "nz-0001-bbbbbbbb", ROOT + "/failed/0001-bbbbbbbb", ROOT + "/failed/0001-bbbbbbbb-undone"

CHANGING = ("allow", "clone", "create", "inherit", "promote", "rename", "set")


class Cut(Exception):
    """The power fails."""


class Site:
    """A host with data, on which plans are made and performed."""

    def __init__(self, host: ModuleHost) -> None:
        self.host = host
        self.zfs = Zfs(Runner(host.machine.execute))

    def command(self, *argv: str) -> str:
        return self.host.command("zfs", *argv)

    def write(self, text: str, *more: str) -> None:
        for name in (CFG, VAR, DB, LOG, *more):
            self.host.write(name, "f", text)

    def files(self, *names: str) -> List[Any]:
        return [self.host.read(name, "f") for name in names or (CFG, VAR, DB, LOG)]

    def snapshot(self, tag: str = TAG) -> None:
        """What the early hook of the new system does first."""
        self.command("snapshot", "-r", "{0}@{1}".format(ROOT, tag))
        self.command("hold", "-r", "nanozfs", "{0}@{1}".format(ROOT, tag))

    def try_plan(self, *names: str) -> List[Branch]:
        return plan.try_plan(self.zfs, ROOT, names or ("cfg", "var"), TAG, ASIDE)

    def planned(self, *names: str) -> List[Step]:
        """The plan for a trial that is to begin, as it comes out of the journal."""
        steps = plan.put_back(self.try_plan(*names), TAG, ASIDE)
        return [plan.decode(step.encode()) for step in plan.with_reserve(steps, ROOT + "/reserve")]

    def perform(self, steps: Sequence[Step]) -> Tuple[List[str], List[str]]:
        """Do a plan; the commands that changed something, and what was noted."""
        runner, notes = Runner(self.host.machine.execute), []  # type: Runner, List[str]
        plan.perform(Zfs(runner), steps, notes)
        return runner.actions, notes

    def state(self) -> Dict[str, Any]:
        """Everything that a plan could change, by dataset."""
        found: Dict[str, Any] = {}
        for each in self.zfs.datasets(ROOT):
            own = self.zfs.local_properties(each.name)
            found[each.name] = (own, each.origin, self.zfs.delegations(each.name), self.host.read(each.name, "f"))
        return found

    def refused(self, *names: str) -> str:
        before = self.host.fingerprint()
        with pytest.raises(Refused) as caught:
            self.try_plan(*names)
        assert self.host.fingerprint() == before
        assert "nothing was changed" in str(caught.value) and "Next: " in str(caught.value)
        return str(caught.value)


@pytest.fixture
def site(pooled: ModuleHost) -> Site:
    return Site(pooled)


def failed_trial(site: Site, *names: str) -> List[str]:
    """A trial that fails, and is taken back; what was noted."""
    steps = site.planned(*names)
    site.write("acknowledged")
    site.snapshot()
    site.write("new")
    _actions, notes = site.perform(steps)
    assert site.perform(steps) == ([], notes), "the plan does not know that it is done"
    assert site.files() == ["acknowledged", "acknowledged", "acknowledged", "new"]
    assert site.files(ASIDE + "/cfg", ASIDE + "/var", ASIDE + "/var/db") == ["new", "new", "new"]
    return notes


class TestSteps:
    """Steps as property values."""

    @pytest.mark.parametrize(
        "word",
        ["tank/b c", "quota=1G", "a\tb", "a\nb\n", "\\0101 \\n", "é", "\udcff", "=", "%s", "x" * 8000],
    )
    def test_comes_back(self, word: str) -> None:
        text = Step("set", ("tank/a", word)).encode()
        assert plan.decode(text) == Step("set", ("tank/a", word))
        assert text.isascii() and text.replace("\t", "").isprintable()

    @pytest.mark.parametrize("shell", ["dash", "bash"])
    def test_sh_reads_the_same(self, shell: str) -> None:
        """As the early hook does it."""
        word = "".join(map(chr, range(1, 128))) + "é\udc81\udcff\n\n"
        script = 'word=$(printf "%b." "$1"); printf %s "${word%.}"'
        done = subprocess.run([shell, "-c", script, "sh", plan.quote(word)], capture_output=True, check=True)
        assert done.stdout.decode("utf-8", "surrogateescape") == word

    @pytest.mark.parametrize("word", ["x" * 8185, "\n" * 2000])
    def test_too_long(self, word: str) -> None:
        with pytest.raises(FleetError, match="too long for the journal"):
            Step("create", (word,)).encode()

    @pytest.mark.parametrize("text", ["", "zap\tx", "rename\ta\tb", "set\ta", "create\t", "create\ta\\b", "create\té"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(FleetError):
            plan.decode(text)

    def test_the_order_of_things(self) -> None:
        members = (
            Member("t/n/a/var", "1", properties={"mountpoint": "legacy", "atime": "off", "quota": "9"}),
            Member("t/n/a/var/db", "2", permissions=(("-ld", "-u", "7", "send"),)),
            Member("t/n/a/var/log", "3", keep=True),
            Member("t/n/a/var/log/x", "4", keep=True),
        )
        branch = Branch("t/n/a/var", "a/var", members)
        assert [str(step) for step in plan.put_back([branch], "s", "t/n/failed/1")] == [
            "create t/n/failed/1",
            "create t/n/failed/1/a",
            "rename 1 t/n/a/var t/n/failed/1/a/var",
            "clone 1 s t/n/a/var mountpoint=legacy",
            "promote t/n/a/var 1 s",
            "set t/n/a/var atime=off",
            "clone 2 s t/n/a/var/db",
            "promote t/n/a/var/db 2 s",
            "allow t/n/a/var/db -ld -u 7 send",
            "rename 3 t/n/failed/1/a/var/log t/n/a/var/log",
            "seal t/n/failed/1/a/var",
            "limit t/n/a/var quota=9",
        ]
        assert plan.put_back([], "s", "x") == []
        assert plan.undo([], "s", "x", "y") == []

    def test_many_properties_are_set_in_several_steps(self) -> None:
        properties = {"a:{0}".format(number): 3000 * "x" for number in range(5)}
        steps = plan.put_back([Branch("t/v", "v", (Member("t/v", "1", properties=properties),))], "s", "t/f")
        wanted = [word for step in steps if step.verb == "set" for word in step.words[1:]]
        assert len(wanted) == 5 and all(step.encode() for step in steps)


class TestGoesBack:
    def test_reservation_of_more_than_half_of_what_is_free(self, site: Site) -> None:
        site.write("old")
        free = int(site.command("list", "-Hp", "-o", "available", ROOT))
        wanted = str(free * 6 // 10)
        site.command("set", "reservation=" + wanted, VAR)
        assert failed_trial(site) == []
        assert site.zfs.value(VAR, "reservation") == wanted
        assert site.zfs.value(ASIDE + "/var", "reservation") == "0"

    def test_a_limit_that_does_not_fit_any_more_stops_nothing(self, site: Site) -> None:
        site.write("old")
        site.command("set", "reservation={0}".format(100 * MIB), VAR)
        steps = site.planned()
        site.snapshot()
        site.command("set", "reservation=none", VAR)
        free = int(site.command("list", "-Hp", "-o", "available", ROOT))
        site.command("create", "-o", "reservation={0}".format(free - 20 * MIB), "tank/other")
        _actions, notes = site.perform(steps)
        assert site.files(VAR) == ["old"]
        assert "size is greater than available space" in notes[0]

    def test_volume(self, site: Site) -> None:
        free = int(site.command("list", "-Hp", "-o", "available", ROOT))
        site.command("create", "-V", str(free * 6 // 10 // MIB * MIB), VAR + "/vm")
        reserved = site.zfs.value(VAR + "/vm", "refreservation")
        assert int(reserved) > free // 2
        assert failed_trial(site) == []
        assert list(site.zfs.values(VAR + "/vm", ["type", "refreservation"]).values()) == ["volume", reserved]
        assert site.zfs.value(ASIDE + "/var/vm", "refreservation") == "0"

    @pytest.mark.parametrize("note", ["first line\nsecond line", "a\tb", "\n", "x\nquota\t1", "\\012", " é ", "-", ""])
    def test_note(self, site: Site, note: str) -> None:
        site.command("set", "org.example:note=" + note, "org.example:other=1", VAR)
        assert failed_trial(site) == []
        assert site.zfs.local_properties(VAR)["org.example:note"] == note
        assert site.zfs.value(VAR, "quota") == "0"

    def test_names_with_blanks(self, site: Site) -> None:
        name = VAR + "/my data/b c"
        site.command("create", VAR + "/my data")
        site.command("create", name)
        site.host.write(name, "f", "old")
        assert failed_trial(site) == []
        assert site.files(name) == ["old"]

    def test_two_datasets_with_one_last_name(self, site: Site) -> None:
        site.command("create", "-o", "mountpoint=none", ROOT + "/app")
        site.command("create", "-o", "mountpoint=legacy", ROOT + "/app/var")
        site.host.write(ROOT + "/app/var", "f", "old")
        steps = site.planned("cfg", "var", "app/var")
        site.snapshot()
        site.host.write(ROOT + "/app/var", "f", "new")
        site.perform(steps)
        assert site.files(ROOT + "/app/var", ASIDE + "/app/var") == ["old", "new"]

    def test_what_was_put_aside_is_never_mounted(self, site: Site) -> None:
        site.command("create", VAR + "/pg")
        steps = site.planned()
        site.snapshot()
        site.command("set", "mountpoint=/var/lib/pg", VAR + "/pg")
        site.command("create", "-o", "mountpoint=/usr/local/app", VAR + "/app")
        for name in ("/var/lib/pg", "/usr/local/app"):
            site.host.command("umount", name)
        site.perform(steps)
        site.command("mount", "-a")
        assert "/failed/" not in site.host.command("mount", "-p")
        for name in ("var", "var/pg", "var/app"):
            sealed = site.zfs.values("{0}/{1}".format(ASIDE, name), ["canmount", "readonly"])
            assert sealed == {"canmount": "noauto", "readonly": "on"}
        assert site.zfs.values(VAR + "/pg", ["canmount", "readonly"]) == {"canmount": "on", "readonly": "off"}

    def test_renamed_by_the_trial(self, site: Site) -> None:
        site.write("old")
        steps = site.planned()
        site.snapshot()
        site.write("new")
        site.command("rename", DB, VAR + "/db16")
        site.command("create", VAR + "/later")
        site.command("rename", LOG, VAR + "/later/log")
        site.perform(steps)
        assert site.files() == ["old", "old", "old", "new"]
        assert site.files(ASIDE + "/var/db16") == ["new"]
        assert site.perform(steps) == ([], [])

    def test_permissions(self, site: Site) -> None:
        site.command("allow", "-u", "1001", "send,snapshot", DB)
        site.command("allow", "-s", "@set", "hold", DB)
        before = site.zfs.delegations(DB)
        failed_trial(site)
        assert site.zfs.delegations(DB) == before != ""

    def test_quota_of_a_user(self, site: Site) -> None:
        site.command("set", "userquota@www=20G", DB)
        failed_trial(site)
        assert site.zfs.value(DB, "userquota@www") == str(20 << 30)

    def test_holds_and_clones_of_somebody_else(self, site: Site) -> None:
        site.command("snapshot", "-r", VAR + "@daily")
        site.command("hold", "backup", DB + "@daily")
        site.command("clone", DB + "@daily", "tank/look")
        failed_trial(site)
        assert site.command("list", "-H", "-o", "origin", "tank/look") == DB + "@daily\n"
        assert "backup" in site.command("holds", "-H", DB + "@daily")

    def test_something_else_in_the_place(self, site: Site) -> None:
        """A name that is there is not taken for a step that was done."""
        steps = site.planned()
        site.snapshot()
        site.write("new")
        site.perform(steps[:3])
        clone = next(step for step in steps if step.verb == "clone")
        site.command("create", "-o", "mountpoint=legacy", clone.words[2])
        with pytest.raises(FleetError, match="is there, and is no clone of"):
            site.perform(steps)
        site.command("destroy", clone.words[2])
        site.perform(steps)
        assert site.perform(steps) == ([], [])


class TestRestored:
    """Data that goes back to a snapshot of long ago, and forth again."""

    def branches(self, site: Site) -> List[Branch]:
        return [plan.branch_of(site.zfs, name, TAG, ROOT) for name in (CFG, VAR)]

    def later(self, site: Site) -> None:
        """Everything that a site may have, some of it made after the snapshot."""
        site.command("create", "-o", "reservation=4M", "-o", "quota=64M", VAR + "/mail")
        site.command("allow", "-g", "1002", "send", VAR + "/mail")
        site.write("old", VAR + "/mail")
        site.snapshot()
        site.command("create", VAR + "/jails")
        site.command("create", "-o", "canmount=noauto", "-o", "readonly=on", VAR + "/jails/www")
        site.command("create", "-o", "nanozfs:rollback=keep", VAR + "/jails/www/log")
        site.write("new", VAR + "/mail", VAR + "/jails/www", VAR + "/jails/www/log")

    def test_keep_below_what_came_later(self, site: Site) -> None:
        self.later(site)
        steps = plan.put_back(self.branches(site), TAG, ASIDE)
        site.perform(steps)
        assert site.files() == ["old", "old", "old", "new"]
        assert site.files(VAR + "/jails/www/log", ASIDE + "/var/jails/www") == ["new", "new"]
        assert site.zfs.value(VAR + "/jails/www", "canmount") == "off"

    def test_forth_again(self, site: Site) -> None:
        self.later(site)
        before, branches = site.state(), self.branches(site)
        site.perform(plan.put_back(branches, TAG, ASIDE))
        steps = plan.undo(branches, TAG, ASIDE, LEFT)
        site.perform(steps)
        after = site.state()
        assert {name: after[name] for name in before} == before
        assert site.perform(steps) == ([], [])
        assert site.zfs.value(LEFT + "/var/mail", "reservation") == "0"

    def test_what_check_mode_says(self, site: Site) -> None:
        self.later(site)
        branches = self.branches(site)
        for steps in (plan.put_back(branches, TAG, ASIDE), plan.undo(branches, TAG, ASIDE, LEFT)):
            predicted = Runner(site.host.machine.execute, check_mode=True)
            plan.perform(Zfs(predicted), steps)
            assert predicted.actions == site.perform(steps)[0]

    def cut_after(self, site: Site, commands: int) -> Callable[..., Tuple[int, str, str]]:
        left = [commands]

        def execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
            if argv[1] in CHANGING and (argv[1] != "allow" or len(argv) > 3):
                if not left[0]:
                    raise Cut
                left[0] -= 1
            return site.host.machine.execute(argv, stdin)

        return execute

    def test_the_power_fails_after_every_command(self, site: Site) -> None:
        self.later(site)
        before, branches = site.state(), self.branches(site)
        forth, back = plan.put_back(branches, TAG, ASIDE), plan.undo(branches, TAG, ASIDE, LEFT)
        for steps in (forth, back):
            for _cut in range(200):
                with suppress(Cut):
                    plan.perform(Zfs(Runner(self.cut_after(site, 1))), steps)
                    break
            else:
                raise AssertionError("it never ended")
            if steps is forth:
                assert site.files() == ["old", "old", "old", "new"]
                assert site.files(VAR + "/mail", VAR + "/jails/www/log") == ["old", "new"]
        after = site.state()
        assert {name: after[name] for name in before} == before

    @pytest.mark.parametrize("reached", range(0, 24, 3))
    def test_forth_from_wherever_it_was_cut(self, site: Site, reached: int) -> None:
        self.later(site)
        before, branches = site.state(), self.branches(site)
        with suppress(Cut):
            plan.perform(Zfs(Runner(self.cut_after(site, reached))), plan.put_back(branches, TAG, ASIDE))
        site.perform(plan.undo(branches, TAG, ASIDE, LEFT))
        after = site.state()
        assert {name: after[name] for name in before} == before


class TestRefused:
    """What could not be put back is found before anything is begun."""

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (["cfg", "nothing"], "there is no dataset tank/nanozfs/nothing"),
            (["cfg", "cfg"], "cfg is named twice"),
            (["var", "var/db"], "var/db is named twice: it goes back with var"),
            (["failed"], "failed is no dataset with data of its own"),
            (["reserve"], "reserve is no dataset"),
            (["var/"], "no valid dataset name"),
            (["a@b"], "no valid dataset name"),
        ],
    )
    def test_names(self, site: Site, names: List[str], said: str) -> None:
        with pytest.raises(Refused) as caught:
            site.try_plan(*names)
        assert said in str(caught.value) and "nothing was changed" in str(caught.value)

    @pytest.mark.parametrize("value", ["no", "keep\trevert", "keep\n", "", "-"])
    def test_policy(self, site: Site, value: str) -> None:
        site.command("set", "nanozfs:rollback=" + value, DB)
        assert "{0} has nanozfs:rollback={1!r}".format(DB, value) in site.refused()

    def test_policies_that_contradict_each_other(self, site: Site) -> None:
        site.command("create", "-o", "nanozfs:rollback=revert", LOG + "/x")
        assert "{0}/x is to go back, and {0} above it stays".format(LOG) in site.refused()
        site.command("set", "nanozfs:rollback=keep", CFG)
        assert CFG + " is to go back, and has nanozfs:rollback=keep" in site.refused("cfg")

    def test_mountpoint(self, site: Site) -> None:
        site.command("create", "-o", "mountpoint=/a\nb", VAR + "/x")
        assert "{0}/x has a mountpoint of its own (/a\nb)".format(VAR) in site.refused()

    def test_property_that_no_plan_can_hold(self, site: Site) -> None:
        site.command("set", "org.example:note=" + "\n" * 4000, DB)
        assert "the property org.example:note of {0} is too long".format(DB) in site.refused()

    def test_name_that_would_be_too_long(self, site: Site) -> None:
        site.command("create", VAR + "/" + "x" * 210)
        assert "its name would be longer than 255 bytes" in site.refused()

    def test_seen_before(self, site: Site) -> None:
        """The journal lost its count: the names of the transaction are there already."""
        site.command("create", "-p", ASIDE)
        assert ASIDE + " is there already" in site.refused()
        site.command("destroy", ASIDE)
        site.command("snapshot", "{0}@{1}".format(DB, TAG))
        assert "the snapshot {0}@{1} is there already".format(DB, TAG) in site.refused()

    def test_no_room_for_the_snapshot(self, site: Site) -> None:
        site.host.write(DB, "f", "x" * (2 * MIB))
        site.command("set", "refreservation=64M", DB)
        free = int(site.command("list", "-Hp", "-o", "available", ROOT))
        site.command("create", "-o", "reservation={0}".format(free - MIB), "tank/other")
        assert "because of the refreservation of " + DB in site.refused()
        assert site.host.machine.run(["zfs", "snapshot", "-r", ROOT + "@x"]).rc == 1

    def test_permissions_that_nobody_understands(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "---- Permissions on {0} ---\nLocal permissions:\n\tuser nobody-knows-them send\n".format(DB)
        monkeypatch.setattr(site.zfs, "delegations", lambda name: text if name == DB else "")
        assert "nobody here understands what was delegated on {0}".format(DB) in site.refused()


class TestPermissions:
    def test_all_kinds(self) -> None:
        text = (
            "---- Permissions on t/my a ------\n"
            "Permission sets:\n\t@s create,mount\nCreate time permissions:\n\tmount\n"
            "Local permissions:\n\tuser root send\n\tgroup (unknown: 12) hold\n"
            "Descendent permissions:\n\teveryone diff\n"
            "Local+Descendent permissions:\n\tuser (unknown: 1001) @s\n"
            "---- Permissions on t ------\nLocal permissions:\n\tuser root send\n"
        )
        assert delegation.parse(text, "t/my a") == (
            [
                ("-s", "@s", "create,mount"),
                ("-c", "mount"),
                ("-l", "-u", "0", "send"),
                ("-l", "-g", "12", "hold"),
                ("-d", "-e", "diff"),
                ("-ld", "-u", "1001", "@s"),
            ],
            [],
        )
        assert delegation.parse(text, "t/my") == ([], [])

    def test_what_is_there(self) -> None:
        given = [("-ld", "-u", "1", "hold,send")]
        assert delegation.covers(given, ("-ld", "-u", "1", "send"))
        assert not delegation.covers(given, ("-ld", "-u", "1", "send,diff"))
        assert not delegation.covers(given, ("-l", "-u", "1", "send"))


class TestProperties:
    """Values are what they are, whatever is in them."""

    NOTE = "x\nquota\t1073741824\n"

    def test_all_of_them(self, site: Site) -> None:
        site.command("set", "site:note=" + self.NOTE, "site:other=\t", DB)
        own = site.zfs.local_properties(DB)
        assert own["site:note"] == self.NOTE and own["site:other"] == "\t" and "quota" not in own
        assert site.zfs.properties(DB)["quota"] == "0"
        assert site.zfs.local_properties(DB + "/none") == {}

    def test_what_is_inherited_is_not_local(self, site: Site) -> None:
        site.command("set", "nanozfs:phase=trial", "tank")
        assert "nanozfs:phase" not in site.zfs.local_properties(ROOT)
        assert site.zfs.properties(ROOT)["nanozfs:phase"] == "trial"

    def test_a_value_makes_no_snapshot_ours(self, site: Site) -> None:
        site.command("snapshot", DB + "@a")
        site.command("snapshot", DB + "@b")
        site.command("set", "nanozfs:made-by=x\n{0}@b\tnanozfs:made-by\tlocal\tnanozfs.fleet".format(DB), DB + "@a")
        assert [each.made_by == "nanozfs.fleet" for each in site.zfs.snapshots(DB)] == [False, False]

    def test_datasets_are_listed_whatever_their_notes(self, site: Site) -> None:
        site.command("set", "nanozfs:rollback=a\tb\nc", DB)
        found = {each.name: each.policy for each in site.zfs.datasets(VAR)}
        assert found == {VAR: None, DB: "a\tb\nc", LOG: "keep"}

    def test_zfs_dataset_sees_what_is_there(self, pooled: ModuleHost) -> None:
        wanted = {"site:note": "one\ntwo\tthree\n", "userquota@www": "20G", "quota": "1G"}
        pooled.command("zfs", "set", "site:odd=" + self.NOTE, DB)
        assert pooled.ok("zfs_dataset", name=DB, properties=wanted)["changed"]
        assert not pooled.ok("zfs_dataset", name=DB, properties=wanted)["changed"]
