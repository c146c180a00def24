# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The programs that judge single files before anything is written, by a table that sites extend.

``master.passwd`` is judged by pwd_mkdb(8), and rc.conf and its like by the next start, in ``_install/configuration``.
Sources: sshd(8) ``-t``, pfctl(8) ``-n``, newsyslog(8) ``-n``, visudo(8) ``-c``, doas(1) ``-C``, sh(1) ``-n``.
"""

from __future__ import annotations

import fnmatch
import os
import tempfile
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import CHECKS, verdict
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import MASTER
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.configuration import File, private
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: stands for the file that is judged
FILE = "{}"

#: what a command that is not there ends with, as of sh(1)
_NOT_THERE = 127


class Judge(NamedTuple):
    """A command that judges the files of a pattern (fnmatch, relative to /etc)."""

    pattern: str
    argv: Tuple[str, ...]


TABLE = (
    *(Judge(path, (*argv, FILE)) for path, argv in CHECKS if path != MASTER),
    Judge("pf.conf", ("pfctl", "-n", "-f", FILE)),
    Judge("newsyslog.conf.d/*", ("newsyslog", "-n", "-f", FILE)),
    Judge("periodic.conf", ("sh", "-n", FILE)),
    Judge("rc.d/*", ("sh", "-n", FILE)),
    Judge("local/rc.d/*", ("sh", "-n", FILE)),
    Judge("local/sudoers", ("visudo", "-c", "-f", FILE)),
    Judge("local/sudoers.d/*", ("visudo", "-c", "-f", FILE)),
    Judge("local/doas.conf", ("doas", "-C", FILE)),
)


def given(rows: Sequence[Mapping[str, Any]]) -> List[Judge]:
    """The rows of a site.

    :param rows: each with ``path`` and ``command``, a list in which ``{}`` stands for the file.
    """
    return [Judge(str(row["path"]), tuple(str(word) for word in row["command"])) for row in rows]


def judge(runner: Runner, files: Sequence[File], judges: Sequence[Judge]) -> None:
    """Have each file judged, as a copy that only root can read.

    :param judges: those of the site; they go before :data:`TABLE`, where one pattern is in both.
    :raises Refused: with what the programs say.
    """
    own = {each.pattern for each in judges}
    table = [*judges, *(each for each in TABLE if each.pattern not in own)]
    problems = []
    with tempfile.TemporaryDirectory(prefix="nanozfs.") as folder:
        for number, file in enumerate(files):
            for each in table:
                if not fnmatch.fnmatchcase(file.path, each.pattern):
                    continue
                copy = os.path.join(folder, "{0}-{1}".format(number, os.path.basename(file.path)))
                if not os.path.exists(copy):
                    with private(copy) as target:
                        target.write(file.content)
                result = runner.query([copy if word == FILE else word for word in each.argv])
                if result.rc == _NOT_THERE:
                    problems.append("{0}: {1} judges it, and is not on this host".format(file.path, each.argv[0]))
                elif result.rc != 0:
                    said = printable(verdict(result)).replace(copy, file.path)
                    problems.append("{0}: {1}".format(file.path, said))
    if problems:
        raise Refused(
            "the configuration is not fit to be used: {0}".format("; ".join(problems)),
            safe="nothing was changed",
            todo="mend that in the inventory, and run the play again",
        )
