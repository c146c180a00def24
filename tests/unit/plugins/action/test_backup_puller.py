# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts are told of a backup host."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import pytest

from ansible_collections.nanozfs.fleet.plugins.action.backup_vault import ActionModule


class Action(ActionModule):
    """The action, with a machine that answers as it likes.

    :param answer: of the module.
    :param variables: of the backup host.
    """

    def __init__(self, answer: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self._host = "vault"
        self._vars = {"hostvars": {"vault": variables}}
        self.answer = dict(answer)

    def module(self, _arguments: Mapping[str, Any], *_more: Any) -> Dict[str, Any]:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "reached", "given", "puller"),
    [
        ({"label": "vault"}, "192.0.2.5", None, {"label": "vault", "key": "k", "addresses": ["192.0.2.5"]}),
        ({"label": "vault"}, "vault.example", None, {"label": "vault", "key": "k", "addresses": []}),
        ({"label": "vault"}, "::1", ["192.0.2.9 "], {"label": "vault", "key": "k", "addresses": ["192.0.2.9"]}),
        # one that would take the place of another backup host
        ({"label": "vault-2"}, "192.0.2.5", None, {"label": "vault", "key": "k", "addresses": ["192.0.2.5"]}),
    ],
)
def test_a_backup_host_does_not_say_who_it_is(answer: Any, reached: str, given: Any, puller: Any) -> None:
    action = Action({**answer, "public_key": "k"}, {"ansible_host": reached})
    found = action.work({"state": "key", "label": "vault", "hosts": [], "addresses": given})
    assert found["puller"] == puller
