# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a key can sign, and whether the hosts would take it, said before anything is built."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Dict, Iterator

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.keys import check_key, check_successors
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

RUNNER = Runner(local_execute, check_mode=True)


class Ring:
    """Keys of a test."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    def make(self, name: str, passphrase: str = "") -> str:
        """A key; the path of its private half."""
        path = str(self.folder / name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
        return path

    def line(self, name: str, options: str = 'namespaces="nanozfs-image,nanozfs-channel"') -> str:
        """Its line of allowed_signers."""
        return "release@fleet {0} {1}".format(
            options, " ".join((self.folder / (name + ".pub")).read_text().split()[:2])
        )


@pytest.fixture(name="ring")
def fixture_ring(tmp_path: Any) -> Ring:
    return Ring(tmp_path)


@pytest.fixture(name="agent")
def fixture_agent(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    for _try in range(100):
        if subprocess.run(["ssh-add", "-l"], capture_output=True, check=False).returncode == 1:
            break
    yield
    agent.kill()
    agent.wait()


def refused(key: str) -> str:
    with pytest.raises(Refused) as error:
        check_key(RUNNER, key)
    text = str(error.value)
    assert "\n" not in text and "@@@" not in text and "nothing was built or published" in text
    return text


def test_keys_that_cannot_sign(ring: Ring, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nobody is asked for a passphrase, at whatever terminal this runs."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    secured = ring.make("secured", "passphrase")
    said = refused(secured)
    assert "has a passphrase, which nobody is there to type" in said and "SSH_AUTH_SOCK" in said
    shown = ring.make("open")
    os.chmod(shown, 0o644)
    assert "others can read it. " in refused(shown) and "chmod 600" in refused(shown)
    os.rename(ring.make("lone") + ".pub", str(tmp_path / "public.pub"))
    assert "no agent holds its private half" in refused(str(tmp_path / "public.pub"))
    (tmp_path / "junk").write_text("no key\n")
    os.chmod(tmp_path / "junk", 0o600)
    assert "it is no key of OpenSSH" in refused(str(tmp_path / "junk"))
    assert "there is no signing key /nonexistent/agent refused" in refused("/nonexistent/agent refused")


def test_a_key_in_an_agent(ring: Ring, agent: None) -> None:
    path = ring.make("kept")
    subprocess.run(["ssh-add", "-q", path], check=True)
    os.unlink(path)
    check_successors(RUNNER, path + ".pub", [ring.line("kept")], [])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('namespaces="nanozfs-image"', "not good"),
        ('namespaces="nanozfs-images,nanozfs-channel"', "not good"),
        ('namespaces="nanozfs-image,nanozfs-channel",valid-before="20200101"', "not good|not signed by any key"),
        ('cert-authority,namespaces="nanozfs-image,nanozfs-channel"', "not good|not signed by any key"),
    ],
)
def test_hosts_would_not_take_its_line(ring: Ring, options: str, says: str) -> None:
    key = ring.make("release")
    with pytest.raises(Refused) as error:
        check_successors(RUNNER, key, [ring.line("release", options)], [])
    assert re.search(says, str(error.value)) and 'namespaces="nanozfs-image,nanozfs-channel"' in str(error.value)


def test_hosts_would_not_take_the_key(ring: Ring) -> None:
    key = ring.make("release")
    ring.make("other")
    with pytest.raises(
        Refused, match=r"hosts with this image would not take what .*/release signs: .* not signed by any"
    ):
        check_successors(RUNNER, key, [ring.line("other")], [])
    # the line is named by where the site has it, and not by a file that is gone
    with pytest.raises(Refused, match=r"any key in image_signers \(image_signers:1: invalid key"):
        check_successors(RUNNER, key, [ring.line("release").replace("AAAA", "AAAA…")], [])
    check_successors(RUNNER, key, ["# both", ring.line("other"), ring.line("release")], [])
    with pytest.raises(Refused, match="is revoked"):
        check_successors(RUNNER, key, [ring.line("release")], [(ring.folder / "release.pub").read_text()])
    check_successors(RUNNER, key, [ring.line("release")], [(ring.folder / "other.pub").read_text()])
    # with a line that is no key ssh-keygen takes no signature any more: these hosts could never be upgraded again
    with pytest.raises(Refused, match="image_revoked, where there is one, must hold whole public keys"):
        check_successors(RUNNER, key, [ring.line("release")], ["ssh-ed25519 AAAA"])


class TestBuild:
    """A build says it before it reads a source, in check mode as well."""

    @staticmethod
    def build(images: Images, seq: int, check: bool, **changes: Any) -> Dict[str, Any]:
        return build.run(
            images.definition("1.3", seq, **changes), Runner(local_execute, check_mode=check), lambda _text: None
        )

    @pytest.mark.parametrize("check", [False, True])
    @pytest.mark.parametrize(
        ("changes", "says"),
        [({"key": True}, "would not take what"), ({"keep": -1}, "image_keep says how many images .* 0 keeps all")],
    )
    def test_refused(self, images: Images, ring: Ring, check: bool, changes: Dict[str, Any], says: str) -> None:
        terms = images.terms(signing_key=ring.make("mine")) if "key" in changes else images.terms(**changes)
        with pytest.raises(FleetError, match=says):
            self.build(images, 13, check, terms=terms, sources=["http://x.invalid/base.txz"])

    def test_a_number_that_does_not_grow(self, images: Images) -> None:
        found = self.build(images, 11, True)
        assert [text for text in found["warnings"] if "image_seq is 11, and published are 1.1 (11), 1.2 (12)" in text]
        assert not any("image_seq" in text for text in self.build(images, 13, True)["warnings"])
