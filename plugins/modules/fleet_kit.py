#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_kit
short_description: Write what must be at hand when the controller is gone
version_added: 1.1.0
description:
  - Writes one encrypted file with the site's folder, the keys that it names elsewhere, the passwords of its vaults, the
    addresses of hosts and backup hosts, and this collection. With it and its passphrase the fleet can be run from an
    empty machine.
  - It is a tar archive in a vault of Ansible, which C(ansible-vault decrypt) opens. A text beside it, C(.txt), says
    how, in the clear and without a secret.
  - What was written is read back and opened before it takes the place of the kit of before. Nothing is written where
    the kit that is there has the same already.
  - Says in C(lacking) what a kit usually has and this one has not.
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  diff_mode:
    support: full
    details: Names and modes, never what is in a file.
options:
  path:
    description: The file to write, perhaps on a stick. Its folder must be there.
    type: path
    required: true
  passphrase:
    description: What it is encrypted with, at least 16 characters. People must know it who do not have the kit.
    type: str
  passphrase_file:
    description: A file with that alone.
    type: path
  signing_key:
    description: The private key that images are signed with.
    type: path
  ssh_keys:
    description: Private ssh keys that plays log in with. Those that hosts have as C(ansible_ssh_private_key_file) are
      added.
    type: list
    elements: path
    default: []
  include:
    description: Other files and folders that belong to it.
    type: list
    elements: path
    default: []
  exclude:
    description: Names, or paths below the site's folder, to leave out. C(*) and C(?) stand for other characters.
    type: list
    elements: str
    default: []
  leave:
    description: Folders to leave out by their path, such as those of images.
    type: list
    elements: path
    default: []
  collection:
    description: Whether this collection is in it.
    type: bool
    default: true
  backup_group:
    description: The group of the inventory that has the backup hosts.
    type: str
    default: backup
  size:
    description: How much may be in it, in bytes.
    type: int
    default: 33554432
"""

EXAMPLES = r"""
- name: Write the kit to a stick
  nanozfs.fleet.fleet_kit:
    path: /media/stick/fleet.kit
    passphrase_file: /dev/fd/3
    signing_key: ~/.ssh/release
    ssh_keys: [~/.ssh/id_ed25519]
    leave: ["{{ image_output }}"]
"""

RETURN = r"""
path:
  description: The kit.
  type: str
  returned: success
files:
  description: How many files, links and empty folders are in it, without its own description.
  type: int
  returned: success
bytes:
  description: How much that is, before it is packed.
  type: int
  returned: success
lacking:
  description: What a kit usually has, and this one has not.
  type: list
  elements: str
  returned: success
"""
