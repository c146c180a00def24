# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What actions have in common that run a module on the host."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import NO_ANSWER
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _channel
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables

display = Display()

#: how much of what a host says is shown on a line (characters)
LINE = 2000

#: what ssh(1) says of a host whose key it does not know, or knows as another one (``sshconnect.c``), and what Ansible
#: makes of that where a password is used (``plugins/connection/ssh.py``)
KEY_REFUSED = ("Host key verification failed", "Host Key checking is enabled")


def unmet(host: str, said: str) -> str:
    """What a connection says that failed, with what to do where ssh does not know the host.

    :param said: what it says.
    """
    if not any(words in said for words in KEY_REFUSED):
        return said
    return (
        "ssh does not know the key of {0}, or knows another one. Safe now: nothing was sent to it. Next: `nanozfs "
        "status` at its console shows its SSH KEY; meet it once with ssh, compare, say yes, and run the play again. "
        "(ssh said: {1})"
    ).format(host, " ".join(said.split()))


def no_answer(host: str, limit: Any, said: str) -> FleetError:
    """What a look at a host ends with that gives no answer, and how to go on without it.

    :param limit: what the play is limited to, if anything.
    :param said: what the connection says.
    """
    limit = str(limit or "all")
    # where there is a comma, a colon separates nothing (split_host_pattern in ansible/inventory/manager.py)
    without = "{0}{1}!{2}".format(limit, "," if "," in limit or limit.startswith("@") else ":", host)
    others = "" if limit == host else ", or leave it out: -l '{0}'".format(without)
    return FleetError(
        "{0} gives no answer: {1}".format(host, " ".join(said.split())[:400]),
        safe="nothing was changed",
        todo="see what is wrong with it" + others,
        condition=NO_ANSWER,
    )


class ModuleAction(ActionBase):
    """Arguments, work, the module, and the one place where errors end."""

    #: the module that does the work on the host
    MODULE = ""

    #: what is safe when the host gives no answer in the middle of it. Where that is said it is a failure; to Ansible it
    #: is none, and it does nothing more for that host, not even noting how it stands with it
    SILENT = ""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Do it; the result of the task.

        :param arguments: those of the task, to do with as one likes.
        :raises FleetError: which the task fails with.
        """
        raise NotImplementedError

    def variables(self, task_vars: Mapping[str, Any]) -> Dict[str, Any]:
        """Those that the module is run with."""
        return dict(task_vars)

    def own_variables(self) -> Mapping[str, Any]:
        """Those of the host with what their templates mean; a task has them as the inventory has them."""
        return HostVariables(self._host, self._vars["hostvars"][self._host])

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """What Ansible calls."""
        result = super().run(tmp, task_vars)
        self._vars = self.variables(task_vars or {})
        self._host = str(self._vars.get("inventory_hostname", "the host"))
        try:
            result.update(self._answered(dict(self._task.args)))
        except FleetError as error:
            result.update(error.details, failed=True, msg=str(error), story=error.story)
        return result

    def _answered(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Do it; the result of the task.

        :raises FleetError: also when the host gives no answer, where :data:`SILENT` says what is safe then.
        """
        try:
            return self.work(arguments)
        except AnsibleConnectionFailure as error:
            if not self.SILENT:
                raise
            raise FleetError(
                "{0} gives no answer any more: {1}".format(self._host, " ".join(str(error).split())[:400]),
                safe=self.SILENT,
                todo="see why it is silent, and run the play again, which goes on from there",
                condition=NO_ANSWER,
            )

    def say(self, text: str) -> None:
        """A line about the host, which may have said what is in it. It stays on the screen."""
        self._tell(text)

    def moves(self, phase: str, text: str, **figures: Any) -> None:
        """What the host does now: a line, or what the screen shows of it until something else comes.

        :param phase: in a word or two, the same for as long as it lasts.
        :param figures: how far it is, by the names of :class:`plugin_utils._screen.model.Told`.
        """
        self._tell(text, phase=phase, **figures)

    def _tell(self, text: str, **more: Any) -> None:
        text = printable(text)[:LINE]
        if not _channel.tell(self._host, text, **more):
            display.display("  {0}: {1}".format(self._host, text))

    def module(self, arguments: Mapping[str, Any], name: str = "") -> Dict[str, Any]:
        """Run the module once; its result.

        :param name: of another one.
        """
        try:
            found: Dict[str, Any] = self._execute_module(
                module_name=name or self.MODULE, module_args=dict(arguments), task_vars=self._vars
            )
        except AnsibleConnectionFailure as error:
            raise AnsibleConnectionFailure(unmet(self._host, str(error)))
        if isinstance(found.get("msg"), str):  # what the host says of a failure is for a terminal
            found["msg"] = printable(found["msg"])
        if isinstance(found.get("story"), dict):
            found["story"] = {str(key): printable(str(part)) for key, part in found["story"].items()}
        return found
