# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way from an action at work to the screen."""

from __future__ import annotations

import json
import os
import time
from typing import Iterator

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _channel
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._channel import LONGEST, Channel, tell


@pytest.fixture(name="channel")
def fixture_channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.close()


def test_where_nobody_shows_it_the_sender_is_told() -> None:
    assert not _channel.is_open() and not tell("web-1", "restarts")


def test_a_fork_tells(channel: Channel) -> None:
    """Also one that has no standard files any more, as Ansible's workers."""
    pid = os.fork()
    if pid == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        os._exit(0 if tell("web-1", "restarts", phase="restarting", percent=5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert channel.messages() == [{"host": "web-1", "text": "restarts", "phase": "restarting", "percent": 5}]
    assert channel.messages() == []


def test_many_forks_at_once_garble_nothing(channel: Channel) -> None:
    pids = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            sent = sum(tell("web-{0}".format(number), "x" * 300, percent=each) for each in range(20))
            os._exit(0 if sent == 20 else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    found = channel.messages()
    assert len(found) == 160 and all(each["text"] == "x" * 300 for each in found)
    for number in range(8):
        assert [each["percent"] for each in found if each["host"] == "web-{0}".format(number)] == list(range(20))


def test_nobody_waits_for_a_screen_that_does_not_read(channel: Channel) -> None:
    began = time.monotonic()
    sent = [tell("web-1", "x" * 1000) for _each in range(2000)]
    assert time.monotonic() - began < 5 and sent[0] and not sent[-1]
    found = channel.messages()
    assert len(found) == sum(sent) and tell("web-1", "there is room again")


@pytest.mark.parametrize("text", ["x" * 100000, "å" * 5000, "\U0001f600" * 5000])
def test_what_is_too_long_is_cut(channel: Channel, text: str) -> None:
    assert tell("web-1", text, phase="writing")
    (found,) = channel.messages()
    assert text.startswith(found["text"]) and found["text"] and found["phase"] == "writing"


def test_a_host_whose_name_does_not_fit(channel: Channel) -> None:
    assert not tell("w" * LONGEST, "restarts") and channel.messages() == []


def test_what_is_no_message_is_left_out(channel: Channel) -> None:
    assert _channel._End.fd is not None
    os.write(_channel._End.fd, b'nonsense\n[1]\n\xff\n{"host": "web-1", "text": "a"}\n{"host": ')
    assert channel.messages() == [{"host": "web-1", "text": "a"}]
    os.write(_channel._End.fd, json.dumps("web-2").encode() + b"}\n")
    assert channel.messages() == [{"host": "web-2"}]


def test_when_it_was_closed(channel: Channel) -> None:
    channel.close()
    assert not tell("web-1", "restarts") and channel.messages() == []
    channel.close()
