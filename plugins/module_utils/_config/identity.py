# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The host's name and network, which the OS medium remembers for a start at which the pool, and so /cfg, is not there.

At every start that finds the pool, ``nanozfs reconcile`` reads them from rc.conf as the start did, and writes them to
nz-state if they are new. In recovery mode the early hook lays them over the image's own (``own_network`` in
``boot/nanozfs/early.subr``); ``boot/nanozfs/turns`` goes back to the image's where nobody answers.

What is remembered is what rc.conf said at the last such start, and not what the inventory says. It counts on the
machine where it was noted and on no other: a medium that is put into another one must not take addresses along. Nothing
secret is kept on the medium, which may be thrown away.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, Mapping, NamedTuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state

HOSTNAME, DEFAULT = "hostname", "ifconfig_DEFAULT"

#: the variables of rc.conf(5) that make a network, as extended regular expressions: what ``rc.d/hostname``, ``netif``,
#: ``routing`` and ``bridge`` and ``network.subr`` read (``libexec/rc``, 13.2 and 15.0). Wireless networks are left out:
#: their keys are in ``wpa_supplicant.conf``, and no secret goes onto the medium
NAMES = (
    HOSTNAME,
    "network_interfaces",
    "cloned_interfaces",
    "ifconfig_[A-Za-z0-9_]+",
    "ipv4_addrs_[A-Za-z0-9_]+",
    "ipv6_(ifconfig|prefix)_[A-Za-z0-9_]+",
    "ipv6_(network_interfaces|activate_all_interfaces|default_interface)",
    "vlans_[A-Za-z0-9_]+",
    "create_args_[A-Za-z0-9_]+",
    "(autobridge_interfaces|autobridge_[A-Za-z0-9_]+)",
    "(ipv6_)?defaultrouter(_fib[0-9]+)?",
    "(ipv6_)?static_routes(_[A-Za-z0-9_]+)?",
    "(ipv6_)?route_[A-Za-z0-9_]+",
    "rtsold_(enable|flags)",
)

#: which machine it is, in what is remembered; no variable of rc.conf
MACHINE = "machine."

#: those of them that can give an address
_GIVES = re.compile(r"ifconfig_|ipv4_addrs_|ipv6_(?:ifconfig|prefix)_|ipv6_activate_all_interfaces\Z")

#: said in any case, as it would be the image's otherwise: an interface too many that waits for DHCP delays the start
FIXED = (DEFAULT, "cloned_interfaces", "defaultrouter", "ipv6_defaultrouter", "static_routes", "ipv6_static_routes")

#: words of ifconfig(8) before a secret, and those of an address that several hosts share (CARP), which a host in
#: recovery mode must not take
_NEVER = re.compile(
    r"(?:^|\s)(?:vhid|pass|peervhid|auth(?:key|name|secret)?|(?:deft)?(?:nw|wep)key|WPA|HOSTAP)(?=\s|$)"
)

_DHCP = re.compile(r"(?:no|)(?:sync|)dhcp\Z", re.IGNORECASE)

#: lines of resolv.conf(5)
_RESOLVER = re.compile(r"(?:nameserver|search|domain|options)[ \t]+\S")

#: before the lines of resolv.conf, which are numbered
RESOLVER = "resolv."

#: ``$0`` is /etc, ``$1`` an expression for names. It tells the variables twice: as the defaults of system and image
#: have them, and as the start read them (``load_rc_config`` in rc.subr, for the scripts above). In a test /etc is
#: elsewhere
_SCRIPT = r"""
nz_etc=$0 nz_names=$1 nz_ifs=$IFS
tell() {
    IFS='
'
    for nz_name in $(set | LC_ALL=C sed -nE "s/^($nz_names)=.*/\1/p"); do
        eval "printf '%s=%s\0' \"\$nz_name\" \"\$$nz_name\""
    done
    IFS=$nz_ifs
    printf '=\0'
}
cd / && . "$nz_etc/defaults/rc.conf" > /dev/null || exit
command -v source_rc_confs > /dev/null || exit
tell
rc_conf_files=$(printf %s "$rc_conf_files" | sed "s|/etc/|$nz_etc/|g")
source_rc_confs > /dev/null
for nz_script in hostname network netif bridge routing rtsold; do
    for nz_folder in "$nz_etc" $local_startup; do
        nz_file=${nz_folder%/rc.d}/rc.conf.d/$nz_script
        if [ -f "$nz_file" ]; then
            . "$nz_file" > /dev/null
        elif [ -d "$nz_file" ]; then
            for nz_each in "$nz_file"/*; do
                if [ -f "$nz_each" ]; then . "$nz_each" > /dev/null; fi
            done
        fi
    done
done
tell
"""


class Network(NamedTuple):
    """What there is to remember.

    :param values: by variables of rc.conf; of a host that just asks DHCP, as the image does, only its name.
    :param kept_out: variables that have a secret, or an address that several hosts share.
    """

    values: Dict[str, str]
    kept_out: List[str]


def _plain(text: str) -> str:
    """A value on one line, with single blanks; empty where the early hook could not say it."""
    line = " ".join(text.split())
    return line if line.isprintable() and line.isascii() else ""


def chosen(settings: Mapping[str, str], defaults: Mapping[str, str], resolver: str = "") -> Network:
    """What of a host's settings is remembered.

    :param settings: values by name, as sh(1) has them.
    :param defaults: the same without rc.conf: what is as the image has it needs not to be remembered.
    :param resolver: the text of resolv.conf.
    """
    own = {name: value for name, value in settings.items() if value != defaults.get(name)}
    kept_out = sorted(name for name, value in own.items() if _NEVER.search(" ".join(value.split())))
    values = {name: _plain(value) for name, value in own.items() if name not in kept_out and _plain(value)}
    name = values.pop(HOSTNAME, "")
    found = {HOSTNAME: name} if name else {}
    if all(key == DEFAULT and _DHCP.match(value) for key, value in values.items() if _GIVES.match(key)):
        return Network(found, kept_out)
    found.update(dict.fromkeys(FIXED, ""))
    found.update(values)
    if not resolver.startswith("# Generated by"):  # resolvconf(8) makes it anew, of what DHCP or a router says
        lines = [_plain(line) for line in resolver.splitlines() if _RESOLVER.match(line.lstrip())]
        found.update(("{0}{1}".format(RESOLVER, number), line) for number, line in enumerate(lines[:16]) if line)
    return Network(found, kept_out)


def read(runner: Runner, places: Places) -> Network:
    """The name and network that rc.conf gives the host.

    :raises FleetError: when its settings cannot be read.
    """
    result = runner.query(["sh", "-c", _SCRIPT, places.etc, "|".join(NAMES)])
    told: List[Dict[str, str]] = [{}]
    for each in result.out.split("\0"):
        name, _equals, value = each.partition("=")
        if name:
            told[-1][name] = value
        elif each:
            told.append({})
    if result.rc != 0 or len(told) != 3:  # a file that ends the shell leaves one, and no error
        raise unexpected(result, "read the settings of the network", safe="nothing was changed")
    try:
        with open(os.path.join(places.etc, "resolv.conf"), encoding="utf-8", errors="replace") as file:
            resolver = file.read(8192)
    except OSError:
        resolver = ""
    return chosen(told[1], told[0], resolver)


def remember(runner: Runner, places: Places) -> str:
    """Let the OS medium know of them, unless it does.

    :returns: what there is to say: what went wrong, of which a host is none the worse, or was kept out; mostly nothing.
    """
    try:
        found, medium = read(runner, places), read_medium(runner)
    except FleetError as error:
        return "the medium was not told of this host's network: {0}".format(error.what)
    uuid = _plain(kenv(runner, "smbios.system.uuid"))
    values = dict(found.values, **({MACHINE + "uuid": uuid} if uuid else {}))
    if sum(len(key) + len(value) + 2 for key, value in values.items()) > _state.NETWORK.copy - 256:
        return "the medium was not told of this host's network: there are more settings than it has room for"
    if runner.check_mode:
        return ""
    problem = _state.remember(medium, values, _state.NETWORK)
    if problem:
        return "the medium was not told of this host's network: {0}".format(problem)
    if found.kept_out:
        return "kept off the medium, for a secret or an address that several hosts share: {0}".format(
            ", ".join(found.kept_out)
        )
    return ""
