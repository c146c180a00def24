# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's list of bad images: how it is published, that every host honours it, and who tries to get around it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import metrics, status
from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import summary
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import statement
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import BadManifest, Channel, parse_channel
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import publish, release
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost
from ansible_collections.nanozfs.fleet.tests.unit.transactions import Fleet

WHY = "does not come up on the site-b boards"


class Publisher:
    """A repository of its own, and what is said in it."""

    def __init__(self, images: Images, folder: str) -> None:
        self.images = images
        self.repository = images.copy(folder)
        self.path = os.path.join(self.repository, "web.channel.json")

    def says(
        self, bad: Optional[Dict[str, str]] = None, check: bool = False, key: str = "", **terms: Any
    ) -> Dict[str, Any]:
        more = {"signing_key": key} if key else {}
        given = self.images.terms(output=self.repository, bad=tuple((bad or {}).items()), **more, **terms)
        order = release.Order(name="web")
        return release.run(given, order, Runner(local_execute, check_mode=check), lambda _text: None)

    def arguments(self, version: str = "1.1", **more: Any) -> Dict[str, Any]:
        known = {"repository": self.repository, "image": version, "allowed_signers": self.images.signers}
        return dict(known, revoked_keys="/nonexistent", **more)

    def stash(self, name: str) -> None:
        """Keep the statement of now, to offer it again later."""
        for suffix in ("", ".sig"):
            shutil.copy(self.path + suffix, os.path.join(self.repository, "." + name + suffix))

    def offer(self, name: str) -> None:
        """Offer an old statement, as a mirror that is behind does, or somebody who means it."""
        for suffix in ("", ".sig"):
            shutil.copy(os.path.join(self.repository, "." + name + suffix), self.path + suffix)

    def withhold(self) -> None:
        for suffix in ("", ".sig"):
            os.unlink(self.path + suffix)


@pytest.fixture
def publisher(images: Images, tmp_path: Any) -> Publisher:
    return Publisher(images, str(tmp_path))


class TestPublish:
    def test_what_changes_is_shown_first(self, publisher: Publisher, images: Images) -> None:
        ident = images.built["1.2"]["id"]
        shown = publisher.says({"1.2": WHY}, check=True)
        assert shown["changed"] and not os.path.exists(publisher.path)
        assert shown["diff"] == {"before": "", "after": "bad: 1.2 ({0}): {1}\n".format(ident[:12], WHY)}
        done = publisher.says({"1.2": WHY})
        assert done["changed"] and done["bad"] == {ident: WHY} and done["diff"] == shown["diff"]
        assert "bad images: 1.2 ({0}): {1}".format(ident[:12], WHY) in done["says"]
        again = publisher.says({"1.2": WHY})
        assert not again["changed"] and again["bad"] == {ident: WHY}
        assert not publisher.says()["changed"], "what is not named stays"
        off = publisher.says({"1.2": ""})
        assert off["changed"] and off["bad"] == {}

    def test_rings_and_list_are_one_statement(self, publisher: Publisher) -> None:
        """A mirror cannot withhold one of them, and a host of before reads the rings of it."""
        publisher.says({"1.0": WHY}, rings=(("stable", "1.1"),))
        with open(publisher.path, "rb") as file:
            said = json.loads(file.read())
        assert set(said) == {"format", "name", "rings", "not_after", "issued", "bad"} and said["format"] == 1
        assert [(each["version"], each["reason"]) for each in said["bad"].values()] == [("1.0", WHY)]

    def test_a_ring_never_runs_a_bad_image(self, publisher: Publisher) -> None:
        publisher.says(rings=(("stable", "1.1"), ("canary", "1.2")))
        with open(publisher.path, "rb") as file:
            before = file.read()
        with pytest.raises(FleetError, match=r"the ring canary would run 1\.2, which is bad: " + WHY):
            publisher.says({"1.2": WHY})
        with pytest.raises(FleetError, match="image_rings"):
            publisher.says({"1.2": WHY}, check=True)
        with open(publisher.path, "rb") as file:
            assert file.read() == before
        assert publisher.says({"1.2": WHY}, rings=(("canary", "1.1"),))["changed"]
        with pytest.raises(FleetError, match=r"the ring beta would run 1\.2"):
            publisher.says(rings=(("beta", "1.2"),))

    def test_an_image_that_is_gone(self, publisher: Publisher, images: Images) -> None:
        """It stays on the list, where hosts that still run it find it, and can be taken off by its version."""
        ident = images.built["1.0"]["id"]
        publisher.says({"1.0": WHY})
        assert ident in publisher.says(keep=1)["removed"]
        found = publish.Folder(publisher.repository).channel("web")
        assert found is not None and found.bad[ident].version == "1.0" and found.bad[ident].build
        assert publisher.says({"1.0": "something else"})["bad"] == {ident: "something else"}
        assert publisher.says({"1.0": ""})["bad"] == {}
        assert publisher.says({ident: WHY})["bad"] == {ident: WHY}, "by its whole id it can be called bad afterwards"
        assert publisher.says({ident: ""})["bad"] == {}
        with pytest.raises(FleetError, match=r"no image 1\.0"):
            publisher.says({"1.0": WHY})

    def test_a_mended_image_of_the_same_version_is_not_bad(self, publisher: Publisher, images: Images) -> None:
        ident = images.built["1.2"]["id"]
        publisher.says({"1.2": WHY})
        terms = images.terms(output=publisher.repository, replace=True)
        mended = images.build("1.2", 12, etc_size=2 * MIB, terms=terms)["image"]["id"]
        assert mended != ident
        found = publish.Folder(publisher.repository).channel("web")
        assert found is not None and set(found.bad) == {ident}
        assert publisher.says({"1.2": ""})["bad"] == {}, "what is taken off is what is on the list"

    def test_a_build_foretells_it(self, publisher: Publisher, images: Images) -> None:
        def foretold(**terms: Any) -> List[str]:
            definition = images.definition("1.3", 13, terms=images.terms(output=publisher.repository, **terms))
            runner = Runner(local_execute, check_mode=True)
            return list(build.run(definition, runner, lambda _text: None)["says"])

        assert any(WHY in each for each in foretold(bad=(("1.2", WHY),)))
        with pytest.raises(FleetError, match=r"the ring canary would run 1\.2"):
            foretold(bad=(("1.2", WHY),), rings=(("canary", "1.2"),))

    @pytest.mark.parametrize("reason", ["x" * 501, "two\nlines", "\x1b[2Jgone"])
    def test_a_reason_is_a_line(self, publisher: Publisher, reason: str) -> None:
        with pytest.raises(FleetError, match=r"the reason why 1\.2 is bad"):
            publisher.says({"1.2": reason})
        assert not os.path.exists(publisher.path)

    def test_no_statement_is_older_than_the_one_before(self, publisher: Publisher, monkeypatch: Any) -> None:
        """The clock of a publisher may go back; hosts take nothing older than what they have seen."""
        publisher.says({"1.2": WHY})
        first = publish.Folder(publisher.repository).channel("web")
        monkeypatch.setattr("time.time", lambda: 1000000000.0)
        publisher.says({"1.2": ""})
        second = publish.Folder(publisher.repository).channel("web")
        assert first is not None and second is not None and second.issued == (first.issued or 0) + 1

    @pytest.mark.parametrize(
        "bad", [[], "1.2", {"1.2": {"reason": WHY}}, {"a" * 64: WHY}, {"a" * 64: {"reason": 3}}, None]
    )
    def test_a_damaged_list_is_not_an_empty_one(self, bad: Any) -> None:
        said = {"format": 1, "name": "web", "rings": {}, "bad": bad}
        with pytest.raises(BadManifest):
            parse_channel(json.dumps(said).encode())


class TestHonoured:
    def test_nothing_is_written(self, host: ModuleHost, publisher: Publisher) -> None:
        publisher.says({"1.1": WHY})
        message = host.refused("image_write", **publisher.arguments())
        assert "is on the fleet's list of bad images ({0})".format(WHY) in message
        assert "nothing was changed" in message and "upgrade_allow_bad=true" in message
        looked = host.ok("image_info", **publisher.arguments())
        assert looked["bad"] == WHY and any(WHY in each for each in looked["warnings"])
        assert host.ok("image_info", **publisher.arguments("1.2"))["bad"] == ""

    @pytest.mark.parametrize("wanted", ["latest", "id"])
    def test_however_it_is_asked_for(self, host: ModuleHost, images: Images, publisher: Publisher, wanted: str) -> None:
        publisher.says({"1.2": WHY})
        meant = images.built["1.2"]["id"] if wanted == "id" else wanted
        assert WHY in host.refused("image_write", **publisher.arguments(meant))

    def test_a_ring_that_somebody_let_point_there(self, host: ModuleHost, publisher: Publisher) -> None:
        """Publishing refuses that; a signed file may say it all the same."""
        publisher.says({"1.2": WHY}, rings=(("stable", "1.1"),))
        folder = publish.Folder(publisher.repository)
        channel = folder.channel("web")
        assert channel is not None
        channel = channel.__class__("web", {"stable": next(iter(channel.bad))}, None, bad=channel.bad)
        folder.set_channel(Runner(local_execute), channel, publisher.images.key)
        assert WHY in host.refused("image_write", **publisher.arguments("ring:stable"))

    def test_allowed(self, host: ModuleHost, publisher: Publisher) -> None:
        publisher.says({"1.1": WHY})
        done = host.ok("image_write", allow_bad=True, **publisher.arguments())
        assert done["changed"]
        assert any(WHY in each and "upgrade_allow_bad=true" in each for each in done["warnings"])

    def test_a_delta_from_a_bad_image_is_fine(self, host: ModuleHost, publisher: Publisher) -> None:
        """Hosts must be able to leave it."""
        publisher.says({"1.0": WHY})
        assert host.ok("image_write", **publisher.arguments())["predicted"]["kind"] == "delta"

    def test_hostile_words(self, host: ModuleHost, publisher: Publisher, images: Images) -> None:
        folder = publish.Folder(publisher.repository)
        publisher.says({"1.1": WHY})
        channel = folder.channel("web")
        assert channel is not None
        bad = {ident: each._replace(reason="\x1b]0;owned\x07") for ident, each in channel.bad.items()}
        folder.set_channel(Runner(local_execute), channel.__class__("web", {}, None, bad=bad), images.key)
        assert "\x1b" not in host.refused("image_write", **publisher.arguments())

    def test_a_medium(self, host: ModuleHost, publisher: Publisher, tmp_path: Any) -> None:
        publisher.says({"1.1": WHY})
        wanted = publisher.arguments(file=str(tmp_path / "disk.img"))
        result = host.run("medium_write", **wanted)
        assert result["failed"] and WHY in result["msg"] and "spare_allow_bad=true" in result["msg"]
        assert not (tmp_path / "disk.img").exists()


class TestAnUpgrade:
    @pytest.fixture
    def fleet(self, pooled: ModuleHost, images: Images, publisher: Publisher) -> Fleet:
        fleet = Fleet(pooled, images)
        fleet.wanted = publisher.arguments  # type: ignore[method-assign]
        return fleet

    def test_the_look_refuses(self, fleet: Fleet, publisher: Publisher) -> None:
        publisher.says({"1.1": WHY})
        found = fleet.play().look()
        assert found["failed"] and WHY in found["msg"] and fleet.journal.phase == "idle"
        allowed = fleet.play(allow_bad=True).look()
        assert allowed["step"] == "prepare" and any("upgrade_allow_bad=true" in each for each in allowed["warnings"])

    @pytest.mark.parametrize("at", ["prepared", "written"])
    def test_called_bad_half_way(self, fleet: Fleet, publisher: Publisher, at: str) -> None:
        play = fleet.play()
        assert not play.open()["failed"]
        if at == "written":
            assert not play.write()["failed"]
        publisher.says({"1.1": WHY})
        assert fleet.journal.phase == at
        assert WHY in play.look(take_over=True)["msg"]
        if at == "prepared":
            assert WHY in play.write()["msg"]

    def test_called_bad_in_its_trial(self, fleet: Fleet, publisher: Publisher) -> None:
        """It is not kept by a play that comes along, and whoever takes it back is not hindered."""
        play = fleet.play()
        play.until_armed()
        fleet.start()
        publisher.says({"1.1": WHY})
        assert WHY in play.look(take_over=True)["msg"] and fleet.journal.phase == "trial"
        assert play.trial("revert", reason="bad")["next"] == "wait"
        fleet.start()
        assert fleet.journal.phase == "reverted"

    def test_a_host_that_runs_it(self, fleet: Fleet, publisher: Publisher) -> None:
        """It is told, by the play that finds nothing to do, and afterwards by the host itself."""
        publisher.says({"1.0": WHY})
        assert fleet.host.ok("host_info")["host"]["running"]["bad"] == "", "it has not heard yet"
        looked = fleet.play().look("1.0")
        assert looked["step"] == "done" and any(WHY in each and "runs it" in each for each in looked["warnings"])
        for digest in (True, False):
            host = fleet.host.ok("host_info", digest=digest)["host"]
            assert host["running"]["bad"] == WHY and host["medium"]["slices"]["nz-a"]["image"]["bad"] == WHY
            assert any("web-1.0, is on the fleet's list of bad images" in each for each in host["warnings"])
        told = status.collect(Runner(fleet.host.machine.execute), Places(), 1795000000.0)
        assert any(WHY in each for each in told["host"]["warnings"])
        reason = "the image that runs is on the fleet's list of bad images ({0})".format(WHY)
        condition, found = summary(told["host"])
        assert condition == "degraded" and [each.reason for each in found] == [reason]
        assert "\nnanozfs_bad_images 1\n" in metrics.render(metrics.metrics(told, 1795000000.0))
        publisher.says({"1.0": ""})
        assert fleet.play().look("1.0")["warnings"] == []
        assert fleet.host.ok("host_info")["host"]["running"]["bad"] == ""

    def test_check_mode_remembers_nothing(self, fleet: Fleet, publisher: Publisher) -> None:
        publisher.says({"1.0": WHY})
        fleet.host.ok("upgrade_info", check=True, **publisher.arguments("1.0"))
        assert not os.path.exists(statement.FOLDER)

    def test_the_way_back_stays_open(self, fleet: Fleet, publisher: Publisher) -> None:
        play = fleet.play()
        play.until_armed()
        fleet.start()
        play.trial("check")
        publisher.says({"1.0": WHY})
        fleet.play().look()
        found = fleet.host.ok("rollback_info", min_free=MIB)
        assert found["step"] == "prepare"
        assert any(WHY in each and "goes back" in each for each in found["warnings"])


class TestHostile:
    """Mirrors that are behind, and people who mean it."""

    def hears(self, host: ModuleHost, publisher: Publisher) -> None:
        """The host hears of a bad image, on the way to a good one."""
        publisher.says(rings=(("stable", "1.1"),))
        publisher.stash("innocent")
        publisher.says({"1.1": WHY}, rings=(("stable", "1.2"),))
        host.ok("image_write", **publisher.arguments("1.2"))

    @pytest.mark.parametrize("how", ["replayed", "withheld"])
    def test_what_was_heard_counts(self, host: ModuleHost, publisher: Publisher, how: str) -> None:
        self.hears(host, publisher)
        if how == "withheld":
            publisher.withhold()
        else:
            publisher.offer("innocent")
        assert WHY in host.refused("image_write", **publisher.arguments())
        seen = host.ok("image_info", **publisher.arguments("ring:stable"))
        assert seen["image"]["version"] == "1.2", "the rings are those of the newer statement as well"
        assert any("behind" in each for each in seen["warnings"])

    def test_a_later_word_takes_it_back(self, host: ModuleHost, publisher: Publisher) -> None:
        self.hears(host, publisher)
        publisher.says({"1.1": ""})
        assert host.ok("image_write", **publisher.arguments())["warnings"] == []

    def test_the_memory_is_believed_by_its_signature(
        self, host: ModuleHost, publisher: Publisher, images: Images, tmp_path: Any
    ) -> None:
        """A key that was revoked since has no say, and what is damaged neither: the repository says it again."""
        self.hears(host, publisher)
        publisher.withhold()
        revoked = tmp_path / "revoked"
        shutil.copy(images.key + ".pub", revoked)
        memory = statement.Memory()
        keys = Keys(images.signers, str(revoked))
        assert memory.recall(Runner(local_execute), "web", Keys(images.signers)) is not None
        assert memory.recall(Runner(local_execute), "web", keys) is None
        path = os.path.join(statement.FOLDER, "web.said.json")
        for content in (b"", b"{}", b"[]", b"\xff", b'{"channel": 3, "signature": null}', b'{"channel": "{}"}'):
            with open(path, "wb") as file:
                file.write(content)
            assert memory.recall(Runner(local_execute), "web", Keys(images.signers)) is None

    @pytest.mark.parametrize("how", ["damaged", "unsigned", "another key", "other images", "expired"])
    def test_a_list_that_cannot_be_read_is_not_an_empty_one(
        self, host: ModuleHost, publisher: Publisher, images: Images, tmp_path: Any, how: str
    ) -> None:
        publisher.says({"1.0": WHY}, channel_not_after=1750000000 if how == "expired" else None)
        if how == "damaged":
            with open(publisher.path, "r+b") as file:
                file.write(b"[")
        elif how == "unsigned":
            os.unlink(publisher.path + ".sig")
        elif how == "another key":
            key = str(tmp_path / "other")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            publisher.says(key=key)
        elif how == "other images":
            folder = publish.Folder(publisher.repository)
            folder.set_channel(Runner(local_execute), Channel("mail", {}, None), images.key)
            for suffix in ("", ".sig"):
                shutil.move(folder.full("mail.channel.json" + suffix), publisher.path + suffix)
        message = host.refused("image_write", **publisher.arguments())
        assert "Next: " in message
        passed = host.ok("image_write", allow_bad=True, **publisher.arguments())
        assert any("upgrade_allow_bad=true" in each for each in passed["warnings"])

    def test_a_server_that_keeps_it_to_itself(self, host: ModuleHost, publisher: Publisher) -> None:
        """Forbidden is not the same as not there."""
        with open(os.path.join(publisher.repository, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({"web.channel.json": {"status": 403}}, file)
        server = web.server(publisher.repository, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = "http://127.0.0.1:{0}".format(server.server_address[1])
        try:
            message = host.refused("image_write", **dict(publisher.arguments(), repository=address))
        finally:
            server.shutdown()
            server.server_close()
        assert "HTTP 403" in message and "cannot be told" in message

    def test_no_place_to_remember(self, host: ModuleHost, publisher: Publisher, tmp_path: Any) -> None:
        publisher.says({"1.0": WHY})
        (tmp_path / "file").write_text("")
        host.monkeypatch.setattr(statement, "FOLDER", str(tmp_path / "file" / "db"))
        done = host.ok("image_write", **publisher.arguments())
        assert done["changed"] and any("was not kept on this host" in each for each in done["warnings"])

    def test_pushed(self, host: ModuleHost, publisher: Publisher, tmp_path: Any) -> None:
        """A host that reaches no server is brought the list with the rest."""
        publisher.says({"1.1": WHY})
        supply = supply_of({"repository": publisher.repository, "image": "1.1"})
        brought: List[str] = []
        folder = tmp_path / "pushed"
        folder.mkdir()
        for name, content in supply.small_files():
            brought.append(name)
            (folder / name).write_bytes(content)
        assert {"web.channel.json", "web.channel.json.sig"} < set(brought)
        wanted = dict(publisher.arguments(supply.ident), repository=str(folder))
        assert WHY in host.refused("image_write", **wanted)
