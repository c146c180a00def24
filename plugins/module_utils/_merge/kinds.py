# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which grammar a file of /etc has."""

from __future__ import annotations

import fnmatch
from typing import Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge import accounts, settings, tables
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.forms import Pairs
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Lines

#: packages have their configuration there (/usr/local/etc is a link to it), much of it in the same forms
_PACKAGES = "local/"

#: names of files, as fnmatch has them, and their grammar; the first that fits counts
KINDS: Sequence[Tuple[Tuple[str, ...], Grammar]] = (
    (("master.passwd",), accounts.USERS),
    (("group",), accounts.GROUPS),
    (("login.conf",), accounts.CLASSES),
    (("services",), tables.SERVICES),
    (("protocols", "networks"), tables.PROTOCOLS),
    (("hosts",), tables.HOSTS),
    (
        ("rc.conf", "rc.conf.local", "rc.conf.d/*", "defaults/rc.conf", "periodic.conf*", "defaults/periodic.conf"),
        settings.Variables(),
    ),
    (("sysctl.conf*", "sysctl.conf.d/*", "sysctl.kld.d/*"), Pairs("=:", "variable")),
    (("loader.conf*", "nanozfs.conf"), Pairs("=", "variable")),
    (("nsswitch.conf", "host.conf"), Pairs(":", "database")),
    (("newsyslog.conf", "newsyslog.conf.d/*"), tables.Logs()),
    (("syslog.conf", "syslog.d/*"), settings.SYSLOG),
    (("crontab", "cron.d/*"), tables.Jobs()),
    (("ttys",), tables.Terminals()),
    (("inetd.conf",), tables.Daemons()),
    (("hosts.allow", "hosts.deny"), tables.Access()),
    (("pam.d/*",), tables.Modules(False)),
    (("pam.conf",), tables.Modules(True)),
    (("ssh/*_config", "ssh/*_config.d/*"), settings.Blocks()),
    (("devfs.rules", "defaults/devfs.rules"), settings.Rulesets()),
    (("pkg/*.conf", "pkg/repos/*.conf", "pkg.conf"), settings.Objects()),
    (("mail/aliases", "aliases"), tables.Aliases()),
    (("ftpusers", "ftpchroot", "shells"), tables.Words()),
)


def grammar_of(path: str) -> Grammar:
    """The grammar of a file; one that is not known is merged by lines.

    :param path: relative to /etc.
    """
    name = path[len(_PACKAGES) :] if path.startswith(_PACKAGES) else path
    for patterns, grammar in KINDS:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return grammar
    return Lines()
