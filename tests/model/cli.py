# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model's commands as programs: ``python3 -m …tests.model.cli COMMAND ARGUMENT …``.

``MODEL_HOME`` and ``MODEL_SHELF`` say which machine; ``MODEL_KERNEL=lab`` makes mounts real, on a lab host.
"""

from __future__ import annotations

import os
import sys
from typing import List

from ansible_collections.nanozfs.fleet.tests.model import streams
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine


def kernel() -> Kernel:
    """The kernel that the environment asks for."""
    if os.environ.get("MODEL_KERNEL") == "lab":
        from ansible_collections.nanozfs.fleet.tests.lab.kernel import LabKernel  # noqa: PLC0415 - lab hosts only

        return LabKernel()
    return Kernel()


def main(argv: List[str]) -> int:
    """Run one command, with this process's standard input and outputs."""
    machine = Machine(os.environ["MODEL_HOME"], os.environ.get("MODEL_SHELF"), kernel())
    # a stream comes in, or goes out; nobody else has anything that is not text
    receives = argv[:1] == ["zfs"] and argv[1:2] in (["receive"], ["recv"]) and "-A" not in argv
    output = machine.run(argv, streams.as_text(sys.stdin.buffer.read()) if receives else None)
    sys.stdout.flush()
    sys.stdout.buffer.write(streams.as_bytes(output.out))
    sys.stdout.flush()
    sys.stderr.write(output.err)
    return output.rc


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
