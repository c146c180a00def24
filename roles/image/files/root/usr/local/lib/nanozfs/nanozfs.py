# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Started by /usr/local/sbin/nanozfs: what it imports lies beside it."""

import sys

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._agent_program import main

sys.exit(main())
