# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The edge between the collection's logic and Ansible: the only module_utils file that knows ``AnsibleModule``."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Execute, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import secrets_in


def ansible_execute(module: AnsibleModule) -> Execute:
    """Commands by way of ``AnsibleModule.run_command``."""

    def execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        try:
            rc, out, err = module.run_command(
                list(argv),
                data=stdin,
                binary_data=True,
                environ_update=ENVIRONMENT,
                errors="surrogate_then_replace",
                expand_user_and_vars=False,  # an argument is what it says, never a template
                handle_exceptions=False,
            )
        except FileNotFoundError:
            return 127, "", "{0}: not found".format(argv[0])
        return rc, out, err

    return execute


def run_module(module: AnsibleModule, logic: Callable[[AnsibleModule, Runner], Dict[str, Any]]) -> None:
    """Run *logic* behind the one error boundary of the modules and leave the module.

    *logic* returns the module result; ``changed`` defaults to false, ``actions`` to the changing commands that ran
    (in check mode: that would have run). A ``diff`` is only handed on in diff mode; ``warnings`` go to the user.
    """
    for address in ("repository", "relay"):
        with contextlib.suppress(ValueError):  # what is no address is refused later
            module.no_log_values.update(secrets_in(str(module.params.get(address) or "")))
    runner = Runner(ansible_execute(module), check_mode=module.check_mode)
    try:
        result = logic(module, runner)
    except FleetError as error:
        module.fail_json(msg=str(error), story=error.story, actions=runner.actions, **error.details)
    result.setdefault("changed", False)
    result.setdefault("actions", runner.actions)
    if not module._diff:  # pylint: disable=protected-access
        result.pop("diff", None)
    for text in result.pop("warnings", ()):
        module.warn(text)
    module.exit_json(**result)
