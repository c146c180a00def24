# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Started by /usr/local/sbin/nanozfs: what it imports lies beside it."""

import sys

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._agent_program import main

sys.exit(main())
