# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of what all modules have that compare with the list of known holes."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the list is, and what somebody lives with."""

    DOCUMENTATION = r"""
options:
  vuxml:
    description:
      - The list of known holes of FreeBSD (VuXML), as it is or packed with xz, bzip2 or gzip - a path or URL
        (V(https:)), or a dictionary of C(src) and C(sha256). By default that of FreeBSD,
        U(https://vuxml.freebsd.org/freebsd/vuln.xml.xz).
      - Of a server a copy is kept in O(cache).
    type: raw
    default: ""
    version_added: 1.1.0
  cache:
    description:
      - Folder for what is fetched; files of a build under their digest. What is there is not fetched again, so a second
        build needs no network.
    type: path
    default: ~/.cache/nanozfs-fleet
  vuxml_max_age:
    description:
      - How old the newest entry of that list may be, in days. There are some every week, so an old one says nothing of
        what became known since. With V(0) its age is told, and not judged.
    type: int
    default: 14
    version_added: 1.1.0
  vuxml_ignore:
    description:
      - Known holes that somebody has looked into and lives with - dictionaries of C(id) (a CVE, the UUID of an entry,
        or FreeBSD's name of an advisory), C(until) (the last day on which that counts) and C(reason), perhaps with
        C(justification) in the words of CycloneDX (V(code_not_reachable) and the like); or lines with the first three
        in this order.
      - An entry with several CVEs is left out where all of them are named, or its UUID.
    type: list
    elements: raw
    default: []
    version_added: 1.1.0
"""
