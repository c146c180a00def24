# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of what all modules that publish have."""

from __future__ import annotations


class ModuleDocFragment:
    """How images are published."""

    DOCUMENTATION = r"""
options:
  output:
    description: Folder to publish in.
    type: path
    required: true
  signing_key:
    description: Private key to sign with, or a public key whose private half C(ssh-agent(1)) holds.
    type: path
    required: true
  medium:
    description: Also lay out bootable media.
    type: bool
    default: true
  schemes:
    description:
      - What partition tables the media have, each on a medium of its own. V(gpt) boots by BIOS and UEFI. V(mbr) is for
        machines whose BIOS does not boot a GPT; a trial cannot end by itself there if the new system does not come up
        at all.
    type: list
    elements: str
    choices: [gpt, mbr]
    default: [gpt]
  efi:
    description:
      - Whether media with a GPT boot by UEFI as well. By default they do where the image has C(/boot/gptboot.efi). That
        takes C(mformat), C(mmd) and C(mcopy) of the package mtools where Ansible runs.
    type: bool
  boot0:
    description: The boot manager of media with an MBR, V(boot0) for a screen, or V(boot0sio) for a serial line.
    type: str
    choices: [boot0, boot0sio]
    default: boot0
  swap_size:
    description: Size of a swap partition on the medium, in bytes; 0 for none. A medium with an MBR has no room for one.
    type: int
    default: 0
  not_after:
    description: Time after which hosts refuse to install the image, in seconds since the epoch.
    type: int
  codecs:
    description:
      - How packs and deltas are compressed. V(xz) is the one that every host has and must be among them. V(zstd) is
        larger and unpacks much quicker; it is used by hosts whose Python has a module for it. The controller needs one
        too.
    type: list
    elements: str
    default: [xz]
  deltas:
    description: From how many of the images before this one there are to be deltas.
    type: int
    default: 3
  deltas_from:
    description: Images from which there are to be deltas in any case, as versions or ids.
    type: list
    elements: str
    default: []
  keep:
    description:
      - How many images of the name to keep in the folder; 0 for all. What a ring should run is kept in any case.
    type: int
    default: 0
  rings:
    description:
      - Which version each ring of the fleet should run. It is signed and published as a channel; hosts follow it with
        V(ring:NAME) in place of a version. Rings that are not named here stay as they are; one without a version ends.
      - A ring that names an image which is replaced (O(replace)) follows to the new one.
    type: dict
    default: {}
  bad:
    description:
      - Images that no host should run, by version or id, and why. They are published in the channel, and hosts refuse
        them. Images that are not named here stay as they are, also when they are removed; one without a reason is taken
        off the list.
      - Refused is what leaves a ring with a bad image; O(rings) of the same call count.
    type: dict
    default: {}
    version_added: 1.1.0
  channel_not_after:
    description: Time after which hosts do not follow the channel any more, in seconds since the epoch.
    type: int
  replace:
    description: Publish although another image has the same name and version, and take that one off the index.
    type: bool
    default: false
  sbom:
    description:
      - Whether a bill of materials in CycloneDX is published with the image. It takes the Python package
        C(cyclonedx-python-lib) where Ansible runs. By default there is one where that is installed, and otherwise it is
        said that there is none; with V(true) a missing package is an error.
    type: bool
  sbom_vex:
    description:
      - Whether the bill of materials has the known holes of the image (VEX), as of when it is published, by the list
        that is on this machine (O(vuxml)); a build asks no server for it. Those in O(vuxml_ignore) are
        C(not_affected), the others C(in_triage).
    type: bool
    default: false
    version_added: 1.1.0
"""
