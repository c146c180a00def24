# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Building a FreeBSD system from source with NanoBSD, on a build host. Not on images.

``definition`` says what is wanted, ``config`` writes it down for nanobsd.sh, ``source`` tells one state of a source
tree from another, ``parts`` decides what has to be built, ``phases`` reads how far it is, ``archive`` packs the tree,
and ``build`` directs them.
"""
