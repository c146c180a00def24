# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders that a controller brings, and how files travel."""

from __future__ import annotations

import os
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import files
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry, given, is_private, merged
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _site_files
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_files import folder_entries


def put(folder: str, path: str, content: bytes, mode: int = 0o644) -> None:
    full = os.path.join(folder, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(content)
    os.chmod(full, mode)


@pytest.fixture
def folder(tmp_path: Any) -> str:
    found = str(tmp_path / "etc")
    put(found, "local/bin/tool", b"#!/bin/sh\n", 0o755)
    put(found, "local/blob", bytes(range(256)), 0o640)
    put(found, "local/app.key", b"secret\n", 0o644)
    put(found, "rc.conf.d/x", b"", 0o600)
    return found


def test_a_folder(folder: str) -> None:
    found: Dict[str, Entry] = {entry.path: entry for entry in folder_entries(folder, "etc")}
    assert {path: entry.mode for path, entry in found.items()} == {
        "local/app.key": 0o600,  # git keeps no such mode
        "local/bin/tool": 0o755,
        "local/blob": 0o640,
        "rc.conf.d/x": 0o600,
    }
    assert found["local/blob"].content == bytes(range(256))


def test_links_are_followed(folder: str, tmp_path: Any) -> None:
    put(str(tmp_path), "common/motd", b"welcome\n")
    os.symlink(str(tmp_path / "common" / "motd"), os.path.join(folder, "motd"))
    os.symlink(str(tmp_path / "common"), os.path.join(folder, "more"))
    paths = [entry.path for entry in folder_entries(folder, "etc")]
    assert "motd" in paths and "more/motd" in paths


@pytest.mark.parametrize(
    ("target", "says"), [("..", "leads back"), ("nowhere", "cannot be read"), ("/dev/null", "is no file")]
)
def test_what_is_no_file(folder: str, target: str, says: str) -> None:
    os.symlink(target, os.path.join(folder, "local", "link"))
    with pytest.raises(FleetError, match=says):
        folder_entries(folder, "etc")


def test_too_much(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_site_files, "LIMIT", 100)
    with pytest.raises(FleetError, match="a dataset of its own"):
        folder_entries(folder, "etc")
    monkeypatch.setattr(files, "LIMIT", 10)
    with pytest.raises(FleetError, match="the largest is b"):
        merged(given({"a": "xxx", "b": "xxxxxxxxx"}))


def test_there_and_back() -> None:
    entries = [Entry("a", b"\0\xff\n", 0o640, "70", "wheel", "x"), *given({"b": "\u00e4{{ x }}\n"})]
    assert files.unpack(files.pack(entries, {"rc_conf": {"a": True}})) == (entries, {"rc_conf": {"a": True}})


def test_the_last_one_counts() -> None:
    assert [entry.content for entry in merged([Entry("a", b"1"), Entry("b", b""), Entry("a", b"2")])] == [b"2", b""]


@pytest.mark.parametrize("path", ["master.passwd", "ssh/ssh_host_rsa_key", "ssl/x.KEY", "ppp/ppp.secret", ".netrc"])
def test_secrets(path: str) -> None:
    assert is_private(path, b"")


@pytest.mark.parametrize("path", ["passwd", "ssh/ssh_host_rsa_key.pub", "pam.d/passwd", "nsswitch.conf", "ssl/ca.pem"])
def test_no_secrets(path: str) -> None:
    assert not is_private(path, b"")
    assert is_private(path, b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n")
