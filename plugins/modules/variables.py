#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: variables
short_description: Refuse variables of a role that are wrong or mistyped
version_added: 1.0.0
description:
  - Compares the variables of the role whose task it is with the specification of its arguments, before anything is
    looked at - what is missing, empty, or cannot be turned into its type. Text is turned as modules turn it, so a list
    may be given with commas, as C(-e) and surveys of AWX give it.
  - Refuses a variable that this collection does not know when its name is nearly that of one of the role or of the
    playbooks, as C(upgrade_comit) is, unless it is in the list C(nanozfs_own_variables).
  - What is wrong is said in one message, a sentence for each variable, without the value of a secret.
  - Ansible validates the same specification, and prints all of it when something is wrong. The playbooks of this
    collection leave that out (C(rolespec_validate)).
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.decides
options:
  entry_point:
    description: Which entry point of the role it is.
    type: str
    default: main
"""

EXAMPLES = r"""
# the first task of a role of this collection
- name: See that the variables are right
  nanozfs.fleet.variables:
    entry_point: publish
"""

RETURN = r""" # """
