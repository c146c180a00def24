# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building a FreeBSD system from source with NanoBSD, on a build host. Not on images.

``definition`` says what is wanted, ``config`` writes it down for nanobsd.sh, ``source`` tells one state of a source
tree from another, ``parts`` decides what has to be built, ``phases`` reads how far it is, ``archive`` packs the tree,
and ``build`` directs them.
"""
