#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_machine
short_description: Say how a virtual machine on a backup host is reached
version_added: 1.1.0
description:
  - A copy of a host comes up in a virtual machine on a backup host, which only that one can reach. This says by which
    variables Ansible reaches it through the backup host, and which ones the host itself has.
  - The name in RV(way.host) is one that nobody has (C(.invalid)), so that without the way through the backup host
    nothing is reached at all. The only key that ssh takes for it is the one that the backup host has seen, in a file of
    this run alone, to which M(nanozfs.fleet.restore) adds the one that the host comes back with.
  - Runs on the controller, and changes nothing.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  check_mode:
    details: Nothing is changed.
  diff_mode:
    support: N/A
    details: This module changes nothing.
options:
  vault:
    description: The backup host, as it is called in the inventory.
    type: str
    required: true
  port:
    description: The port of 127.0.0.1 there that leads to the machine.
    type: int
    required: true
  key:
    description: The public key that the machine is known by to ssh.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See how it is reached
  nanozfs.fleet.backup_machine:
    vault: vault
    port: 40022
    key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
  register: found
"""

RETURN = r"""
way:
  description: What leads to the copy.
  returned: success
  type: dict
  contains:
    host:
      description: For C(ansible_host).
      type: str
      returned: always
      sample: web-1.40022.invalid
    port:
      description: For C(ansible_port).
      type: int
      returned: always
      sample: 40022
    arguments:
      description: For C(ansible_ssh_common_args).
      type: str
      returned: always
      sample: -o ProxyCommand=...
back:
  description: The same of the host itself.
  returned: success
  type: dict
  sample: {host: 192.0.2.11, port: 22, arguments: ""}
"""
