# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a change of the configuration means: which services are told of it, and what may cut the host off.

Sources: rc(8), rc.conf(5), ``libexec/rc/rc.d`` of 13.2 and 15.0: sshd, pf, syslogd, sysctl and devfs know ``reload`` or
do it at ``start``; ntpd only restarts; netif takes down what the rc.conf of that moment names, so it is stopped before
the files are replaced, and started after.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT, Runner

RC_LOCAL = "rc.conf.local"

#: where settings come from that it does not have, in order (rc.conf(5), ``libexec/rc/rc.conf``)
RC_BELOW = ("defaults/rc.conf", "defaults/vendor.conf", "rc.conf")

#: settings of rc.conf that make the network; those of recovery mode and more (network.subr(8), rc.conf(5))
NETWORK = (
    "ifconfig_*",
    "ipv4_addrs_*",
    "ipv6_*",
    "vlans_*",
    "create_args_*",
    "cloned_interfaces",
    "network_interfaces",
    "autobridge_*",
    "rtsold_*",
    "dhclient_*",
)
ROUTES = (
    "defaultrouter*",
    "static_routes*",
    "route_*",
    "ipv6_defaultrouter*",
    "ipv6_static_routes*",
    "ipv6_route_*",
    "gateway_enable",
    "ipv6_gateway_enable",
)

#: services of the base system that are restarted when a setting of theirs (``NAME_*``) changes. Others read it at the
#: next start of the host: some would take down what runs on them (zfs, devfs, var)
RESTARTED = ("pf", "pflog", "ntpd", "syslogd", "cron", "inetd", "powerd", "watchdogd", "blacklistd", "sshd")

#: files and settings that decide whether somebody can reach the host and log in: fnmatch, relative to /etc
TRIAL_FILES = (
    "ssh/*",
    "rootssh/*",
    "pf.conf",
    "pf.*",
    "hosts.allow",
    "master.passwd",
    "group",
    "login.conf",
    "login.access",
    "pam.d/*",
    "nsswitch.conf",
    "shells",
    "rc.conf",
    "rc.conf.d/*",
    "local/sudoers",
    "local/sudoers.d/*",
    "local/doas.conf",
    "local/pam.d/*",
    "profile",
    "csh.*",
)
TRIAL_SETTINGS = (*NETWORK, *ROUTES, "sshd_*", "pf_*", "firewall_*", "ipfilter_*", "hostname", "devd_*")


#: what timeout(1) exits with; in the foreground, where it had to kill, with the signal (``128 + SIGKILL``)
_ENDED = (TIMED_OUT, 137)

#: seconds that a command has: one that never ends would keep a trial from ever going back
LIMIT = 180


def _bounded(argv: Sequence[str]) -> List[str]:
    """A command with an end, and without one for what it leaves behind.

    timeout(1) would wait for daemons that a service starts, and end them, unless it is in the foreground.
    """
    return ["timeout", "--foreground", "-k", "5", str(LIMIT), *argv]


class Effect(NamedTuple):
    """What is done around the change of files. ``argv`` is run after it, ``before`` with the old files still there.

    :param running: name of the service that must run for it: one that does not run reads the new file at its start.
    :param judges: whether a failure of it ends a trial. Of the network it does not: what rc.d/netif exits with says
        little, and a host that can be reached over a new connection has one.
    """

    argv: Tuple[str, ...]
    before: Tuple[str, ...] = ()
    running: str = ""
    judges: bool = False


#: services whose failure ends a trial: they are what a host is reached by
_JUDGES = ("sshd", "pf")


def _service(name: str, action: str, running: bool = True) -> Effect:
    return Effect(("service", name, action), running=name if running else "", judges=name in _JUDGES)


NETIF = Effect(("service", "netif", "start"), ("service", "netif", "stop"))
ROUTING = Effect(("service", "routing", "start"), ("service", "routing", "stop"))

#: by file; in the order in which they are done
TABLE: Tuple[Tuple[str, Effect], ...] = (
    ("sysctl.conf", _service("sysctl", "start", running=False)),
    ("sysctl.conf.local", _service("sysctl", "start", running=False)),
    ("pf.conf", _service("pf", "reload")),
    ("pf.*", _service("pf", "reload")),
    ("syslog.conf", _service("syslogd", "reload")),
    ("syslog.d/*", _service("syslogd", "reload")),
    ("ntp.conf", _service("ntpd", "restart")),
    ("mail/aliases", Effect(("newaliases",))),
    ("ssh/sshd_config", _service("sshd", "reload")),
)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits."""
    return any(fnmatch.fnmatchcase(name, each) for each in patterns)


def is_yes(value: str) -> bool:
    """Whether rc.subr(8) takes a value for yes (``checkyesno``). A remark may follow it, as in defaults/rc.conf."""
    return value.partition("#")[0].strip().strip("\"'").lower() in ("yes", "true", "on", "1")


def changed_settings(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    """The names of settings that are others."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def on_trial(paths: Sequence[str], settings: Sequence[str], more: Sequence[str]) -> List[str]:
    """What of a change may cut the host off: files, and settings of rc.conf.local.

    :param paths: files that change.
    :param settings: settings that do.
    :param more: patterns of files of the site.
    """
    found = [path for path in paths if path != RC_LOCAL and matches(path, (*TRIAL_FILES, *more))]
    return found + ["{0} in {1}".format(name, RC_LOCAL) for name in settings if matches(name, TRIAL_SETTINGS)]


#: files that only the next start of the host reads
AT_START = ("rc.conf.d/*", "rc.local", "rc.d/*", "local/rc.d/*", "devfs.rules")

#: a line of a file like rc.conf that is a setting and nothing else, or a remark
_PLAIN = re.compile(r"\s*(#.*)?\Z|[A-Za-z_][A-Za-z0-9_]*=(\"[^\"$`\\]*\"|'[^']*'|[A-Za-z0-9_./:-])*\s*(#.*)?\Z")


def is_settings(text: str) -> bool:
    """Whether a file like rc.conf only has settings, one a line: what else is in it means what only a shell knows."""
    return all(_PLAIN.match(line) for line in text.split("\n"))


def untried(pending: Sequence[str]) -> List[str]:
    """What of the settings and files that only the next start reads may cut the host off then."""
    return [name for name in pending if matches(name, TRIAL_SETTINGS) or matches(name, TRIAL_FILES)]


class Site(NamedTuple):
    """A row of a site: which command follows the change of files or settings."""

    pattern: str
    settings: str
    argv: Tuple[str, ...]


def given(rows: Sequence[Mapping[str, Any]]) -> List[Site]:
    """The rows of a site.

    :param rows: each with ``command``, a list, and ``path`` or ``settings``, a pattern.
    """
    return [
        Site(str(row.get("path") or ""), str(row.get("settings") or ""), tuple(str(word) for word in row["command"]))
        for row in rows
    ]


def _restarted(service: str, enabled: Optional[str]) -> Effect:
    """What follows a changed setting of a service.

    Of one that is not enabled rc.subr(8) takes no ``restart``, and exits with 0. So where neither file says whether it
    is (the image may), it is only restarted where it runs, and in the way that asks nobody.

    :param enabled: what ``NAME_enable`` is.
    """
    if enabled is None:
        return _service(service, "onerestart")
    return _service(service, "restart", running=False) if is_yes(enabled) else _service(service, "onestop")


def _of_settings(settings: Sequence[str], values: Mapping[str, str]) -> Tuple[List[Effect], List[str]]:
    """What follows from settings; and those that only count from the next start on."""
    found: List[Effect] = []
    left = []
    network = [name for name in settings if matches(name, NETWORK) and not matches(name, ROUTES)]
    routes = [name for name in settings if matches(name, ROUTES)]
    if network:
        found.append(NETIF)
    if network or routes:
        found.append(ROUTING)
    for name in settings:
        service = name.partition("_")[0]
        if name in network or name in routes:
            continue
        if name == "hostname":
            found.append(_service("hostname", "start", running=False))
        elif service in RESTARTED:
            found.append(_restarted(service, values.get(service + "_enable")))
        else:
            left.append(name)
    return found, left


def effects(
    paths: Sequence[str], settings: Sequence[str], values: Mapping[str, str], site: Sequence[Site]
) -> Tuple[List[Effect], List[str]]:
    """What is done for a change, each once and in order; and the settings that only the next start of the host reads.

    :param paths: files that change.
    :param settings: settings of rc.conf.local that change.
    :param values: what they are then.
    :param site: rows of the site.
    """
    found, left = _of_settings(settings, values)
    restarted = {each.argv[1] for each in found if each.argv[0] == "service"}
    for pattern, effect in TABLE:
        if any(fnmatch.fnmatchcase(path, pattern) for path in paths) and effect.argv[1:2] not in [
            (name,) for name in restarted
        ]:
            found.append(effect)
    for row in site:
        by_path = row.pattern and any(fnmatch.fnmatchcase(path, row.pattern) for path in paths)
        by_setting = row.settings and any(fnmatch.fnmatchcase(name, row.settings) for name in settings)
        if by_path or by_setting:
            found.append(Effect(row.argv))
        if row.settings:
            left = [name for name in left if not fnmatch.fnmatchcase(name, row.settings)]
    # whoever logs in comes last: by then the network is there
    ordered = sorted(dict.fromkeys(found), key=lambda each: each.argv[:2] == ("service", "sshd"))
    return ordered, left


class Done(NamedTuple):
    """What was done, and what went wrong: so that it ends a trial, or so that it is told."""

    done: List[str]
    failed: List[str]
    odd: List[str]


def _run(runner: Runner, argv: Sequence[str], done: Done, judges: bool) -> None:
    result = runner.attempt(_bounded(argv))
    said = " ".join(argv)
    if result.rc == 0:
        done.done.append(said)
    else:
        why = (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()[-1]
        if result.rc in _ENDED:
            why = "it did not end within {0} seconds, and was stopped".format(LIMIT)
        (done.failed if judges else done.odd).append("{0}: {1} (exit status {2})".format(said, why, result.rc))


def running(runner: Runner, wanted: Sequence[Effect]) -> Dict[str, bool]:
    """Which of the services run that must for it."""
    names = dict.fromkeys(each.running for each in wanted if each.running)
    return {name: runner.query(_bounded(["service", name, "onestatus"])).rc == 0 for name in names}


def around(
    runner: Runner, wanted: Sequence[Effect], change: Callable[[], None], ran: Optional[Mapping[str, bool]] = None
) -> Done:
    """Change files, with what comes before and after it. What fails does not keep the rest from being done.

    :param change: replaces the files.
    :param ran: services that ran before a trial: one that does not any more is started, for it died of what is taken
        back (of a ``reload`` sshd, which cannot have its new address).
    :raises FleetError: of the change; then what was taken down is brought up again before.
    """
    now = running(runner, wanted)
    done = Done([], [], [])
    for each in reversed(wanted):
        if each.before:
            _run(runner, each.before, done, False)
    try:
        change()
    finally:
        for each in wanted:
            if now.get(each.running, True):
                _run(runner, each.argv, done, each.judges)
            elif ran and ran.get(each.running) and each.argv[2] != "onestop":
                _run(runner, ("service", each.running, "onestart"), done, each.judges)
    return done
