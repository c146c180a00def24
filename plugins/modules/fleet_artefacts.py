#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_artefacts
short_description: Note how hosts have ended, as artefacts of a job
version_added: 1.1.0
description:
  - Notes for each host how an upgrade or a rollback has ended, as M(ansible.builtin.set_stats) notes things. AWX keeps
    that with the job as its artefacts, and hands it to the next node of a workflow as the extra variable C(nanozfs).
  - That is a mapping with an entry for each host, which always has the same keys - C(result) in a word, C(what) in a
    sentence, the versions C(from) and C(to), and the transaction C(txn).
  - The results are C(committed), C(reverted), C(on trial), C(not begun), C(unknown) and C(no answer) as
    M(nanozfs.fleet.trial) and the looks tell them; C(rolled back) for a rollback that
    was kept, C(nothing to do), C(planned) in check mode, C(staged), C(given up), C(failed), and C(unfinished) where the
    play ended on the way.
  - Entries are ASCII, without what could be a template, and of at most 250 bytes, so that a thousand hosts take a
    quarter of a megabyte.
  - Ansible drops what a task that fails wants to note. So this is for a task of its own, in C(always).
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  check_mode:
    details: Nothing is changed. What it notes is then what would be done.
  diff_mode:
    support: N/A
    details: This module changes nothing.
options:
  results:
    description:
      - The variables in which the results of the tasks were registered, in the order of the tasks, the look first.
        Those that a host has not come to are left out.
    type: list
    elements: str
    required: true
  hosts:
    description:
      - The hosts to note. By default the one that the task is run for.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Upgrade
  block:
    - name: Upgrade the host
      ansible.builtin.include_role:
        name: nanozfs.fleet.upgrade
  always:
    - name: Note how it ended
      nanozfs.fleet.fleet_artefacts:
        results: [upgrade_plan, upgrade_opened, upgrade_written, trial_ended]
"""

RETURN = r""" # """
