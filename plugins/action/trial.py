# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a trial to its end; documented in the module of the same name."""

from __future__ import annotations

import time
from typing import Any, Dict

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import ROLLBACK
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _hooks
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LeasingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._play import holder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import NotThere
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._trial import Failed, Follow, Times, patient

#: how a play may end that is no failure
GOOD = (words.COMMITTED, words.ON_TRIAL)


class ActionModule(LeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.trial"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Follow the trial; the result of the task."""
        if self._task.check_mode:
            return {"changed": True, "skipped": True, "msg": "a trial is only made when this is no check mode"}
        site, hooks = paths_of(self, self._vars), (_hooks.AFTER_COMMIT, _hooks.AFTER_REVERT)
        after = _hooks.find(site, arguments, hooks, "upgrade")
        adopted = arguments.get("step") == "adopt"
        both = [_hooks.ROLLBACK + each for each in hooks] if adopted else []
        after.update(_hooks.find(site, arguments, both, "trial"))
        wait = float(arguments.get("backup_wait") or 0)
        follow = Follow(
            patient(self._ask(arguments), wait, self.moves, time.monotonic, time.sleep),
            self._connection.reset,
            self.moves,
            Times(float(arguments.get("boot_timeout") or 900), float(arguments.get("trial_timeout") or 600)),
            time.monotonic,
            time.sleep,
        )
        try:
            ended = follow.run(
                str(arguments.get("step") or "begin"),
                str(arguments.get("reason") or ""),
                str(arguments.get("boot_id") or ""),
            )
        except Failed as error:
            return {
                "failed": True,
                "msg": str(error),
                "story": error.details.get("story") or error.story,
                "after": "" if follow.begun else after[_hooks.AFTER_REVERT],
            }
        told = self._told(ended, str(arguments.get("what") or "the trial"))
        how = _hooks.ENDS.get(told["story"].get("result"), "") if not ended.get("idle") else ""
        if adopted and how and told["journal"].get("kind") == ROLLBACK:
            how = _hooks.ROLLBACK + how
        return dict(told, after=after.get(how, ""))

    def _ask(self, arguments: Dict[str, Any]) -> Any:
        """How the host is asked: one call of the module."""

        def ask(step: str, **more: Any) -> Dict[str, Any]:
            call = dict(arguments, step=step, holder=holder(self._vars), **more)
            try:
                found = self.module(call)
            except AnsibleConnectionFailure as error:
                raise NotThere(str(error))
            except AnsibleError as error:  # a host that goes down kills what runs there
                raise NotThere(str(error))
            if found.get("unreachable") or (found.get("failed") and "module_stdout" in found):
                raise NotThere(str(found.get("msg") or "its answer was cut off"))
            if found.get("failed"):
                raise Failed(str(found.get("msg")), story=found.get("story"))
            if found.get("lease"):
                arguments["lease"] = found["lease"]
            return dict(found)

        return ask

    def _told(self, ended: Dict[str, Any], what: str) -> Dict[str, Any]:
        """The result, in words."""
        story = dict(ended.get("story") or {})
        if ended.get("silent"):
            story = {
                "result": "unknown",
                "what": "it does not answer ({0})".format(ended["silent"]),
                "safe": "nothing was lost: the snapshot of before is held, and a host on trial goes back by itself",
                "todo": "look at its console, then run this play again",
            }
        good = story.get("result") in GOOD
        text = "{what}. Safe now: {safe}".format(**story) if story.get("safe") else str(story.get("what"))
        text += ". Next: {0}.".format(story["todo"]) if story.get("todo") else "."
        journal = ended.get("journal") or {}
        shown = {
            "changed": bool(ended.get("changed")),
            "story": story,
            "journal": journal,
            "msg": text,
        }
        if good:
            self.moves(str(story["result"]), text)
            return shown
        why = ended.get("refused") or ended.get("why")
        failed = "{0} failed on {1}".format(what, self._host) + (": {0}. ".format(why) if why else ": ")
        return dict(shown, failed=True, msg=failed + text[0].upper() + text[1:] if why else failed + text)
