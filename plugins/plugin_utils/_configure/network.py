# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of a host: from the inventory to settings of rc.conf(5), judged by netaddr.

Sources: rc.conf(5) (``ifconfig_``, ``create_args_``, ``static_routes``), ifconfig(8), the handbook, chapter 34.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure.texts import listed, number

try:
    import netaddr
except ImportError:
    HAVE_NETADDR = False
else:
    HAVE_NETADDR = True

_SAFE = "nothing was changed"
VARIABLE = "configure_network"

#: IFNAMSIZ of net/if.h is 16 with the end; rc.conf takes letters, digits and underscores in the name of a setting
_NAME = re.compile(r"[a-z][a-z0-9_]{0,14}\Z")
_CLONE = re.compile(r"[a-z_]+[0-9]+\Z")
_ROUTE = re.compile(r"[A-Za-z0-9_]+\Z")
_OPTIONS = re.compile(r"[A-Za-z0-9 .:_+-]*\Z")

_KEYS = {"addresses", "dhcp", "slaac", "mtu", "options", "vlan", "lagg", "bridge"}
_PROTOCOLS = ("failover", "lacp", "loadbalance", "roundrobin", "broadcast")


def _wrong(what: str, todo: Optional[str] = None) -> Refused:
    return Refused("{0}: {1}".format(VARIABLE, printable(what)), safe=_SAFE, todo=todo)


def _mapping(value: Any, what: str, keys: Set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or set(value) - keys:
        raise _wrong("{0} must be a mapping with some of {1}".format(what, ", ".join(sorted(keys))))
    return value


def _list(value: Any, what: str) -> List[str]:
    if value is None:
        return []
    try:
        return listed(value, "network")
    except Refused:
        raise _wrong("{0} must be a list of texts".format(what))


def _switch(value: Any, what: str) -> bool:
    """Whether something is to be: the text ``false`` of ``-e`` says no."""
    try:
        return bool(boolean(False if value is None else value))
    except TypeError:
        raise _wrong("{0} must be true or false, and is {1!r}".format(what, value))


def _whole(value: Any, what: str, least: int, most: int) -> int:
    value = number(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong("{0} must be a number from {1} to {2}, and is {3!r}".format(what, least, most, value))
    return value


def _address(text: Any, what: str) -> Any:
    try:
        return netaddr.IPAddress(str(text))
    except (netaddr.AddrFormatError, ValueError):
        raise _wrong("{0}: {1!r} is no address".format(what, text))


def _interface_address(text: str, name: str) -> Any:
    """An address with its net, as 192.0.2.11/24."""
    if "/" not in text:
        raise _wrong("{0}: {1} has no length of its prefix, as in 192.0.2.11/24".format(name, text))
    try:
        found = netaddr.IPNetwork(text)
    except (netaddr.AddrFormatError, ValueError):
        raise _wrong("{0}: {1!r} is no address with the length of its prefix".format(name, text))
    if found.version == 4 and found.prefixlen < 31 and found.ip in (found.network, found.broadcast):
        raise _wrong("{0}: {1} is the address of the net itself, or its broadcast address".format(name, text))
    if found.ip.is_multicast() or found.ip.is_loopback() or int(found.ip) == 0:
        raise _wrong("{0}: {1} is no address that an interface could have".format(name, text))
    return found


@dataclass
class Interface:
    """One interface."""

    name: str
    addresses: List[Any] = field(default_factory=list)
    dhcp: bool = False
    slaac: bool = False
    words: List[str] = field(default_factory=list)
    create: str = ""
    cloned: bool = False
    parts: List[str] = field(default_factory=list)


@dataclass
class Network:
    """The network of a host."""

    interfaces: Dict[str, Interface] = field(default_factory=dict)
    gateways: Dict[int, Any] = field(default_factory=dict)
    routes: Dict[str, Tuple[Any, Any]] = field(default_factory=dict)

    def addresses(self) -> List[Any]:
        return [each for interface in self.interfaces.values() for each in interface.addresses]


def _interface(name: str, value: Any) -> Interface:
    if not isinstance(name, str) or not _NAME.match(name):
        raise _wrong("{0!r} is no name for an interface".format(name))
    given = _mapping(value or {}, name, _KEYS)
    found = Interface(
        name, dhcp=_switch(given.get("dhcp"), name + ": dhcp"), slaac=_switch(given.get("slaac"), name + ": slaac")
    )
    found.addresses = [_interface_address(each, name) for each in _list(given.get("addresses"), name + ": addresses")]
    kinds = [kind for kind in ("vlan", "lagg", "bridge") if given.get(kind) is not None]
    if len(kinds) > 1:
        raise _wrong("{0} cannot be {1}".format(name, " and ".join(kinds)))
    if kinds:
        if not _CLONE.match(name):
            raise _wrong("{0} is made, and its name must end with a number, as in {1}0".format(name, kinds[0]))
        found.cloned = True
        {"vlan": _vlan, "lagg": _lagg, "bridge": _bridge}[kinds[0]](found, given[kinds[0]])
    if given.get("mtu") is not None:
        found.words += ["mtu", str(_whole(given["mtu"], name + ": mtu", 576, 65535))]
    options = given.get("options") or ""
    if not isinstance(options, str) or not _OPTIONS.match(options):
        raise _wrong("{0}: options must be words of ifconfig(8)".format(name))
    found.words += options.split()
    if found.dhcp and any(each.version == 4 for each in found.addresses):
        raise _wrong("{0} has dhcp and an IPv4 address of its own".format(name))
    return found


def _vlan(found: Interface, value: Any) -> None:
    given = _mapping(value, found.name + ": vlan", {"id", "parent"})
    number = _whole(given.get("id"), found.name + ": vlan: id", 1, 4094)
    found.parts = [str(given.get("parent"))]
    found.create = "vlan {0} vlandev {1}".format(number, given.get("parent"))


def _lagg(found: Interface, value: Any) -> None:
    given = _mapping(value, found.name + ": lagg", {"protocol", "ports"})
    protocol = given.get("protocol", "failover")
    if protocol not in _PROTOCOLS:
        raise _wrong("{0}: lagg: protocol must be one of {1}".format(found.name, ", ".join(_PROTOCOLS)))
    found.parts = _list(given.get("ports"), found.name + ": lagg: ports")
    found.words = ["laggproto", str(protocol)] + [word for port in found.parts for word in ("laggport", port)]


def _bridge(found: Interface, value: Any) -> None:
    given = _mapping(value, found.name + ": bridge", {"members", "stp"})
    found.parts = _list(given.get("members"), found.name + ": bridge: members")
    found.words = [word for member in found.parts for word in ("addm", member)]
    if _switch(given.get("stp"), found.name + ": bridge: stp"):
        found.words += [word for member in found.parts for word in ("stp", member)]


def read(value: Mapping[str, Any]) -> Network:
    """The network that an inventory describes.

    :raises Refused: when something in it is wrong by itself.
    :raises FleetError: when netaddr is not there.
    """
    if not HAVE_NETADDR:
        raise FleetError(
            "configure_network needs the Python package netaddr on this machine",
            safe=_SAFE,
            todo="pip install netaddr, or write the settings into configure_rc_conf",
        )
    given = _mapping(value, "it", {"interfaces", "gateway", "gateway6", "routes"})
    interfaces = given.get("interfaces") or {}
    if not isinstance(interfaces, Mapping):
        raise _wrong("interfaces must be a mapping, by their names")
    found = Network({name: _interface(name, each) for name, each in interfaces.items()})
    for key, version in (("gateway", 4), ("gateway6", 6)):
        if given.get(key) is not None:
            # the zone of a link-local address stays in the setting
            found.gateways[version] = _gateway(given[key], key, version)
    routes = given.get("routes") or {}
    if not isinstance(routes, Mapping):
        raise _wrong("routes must be a mapping, by their names")
    for name, each in routes.items():
        found.routes[name] = _route(name, each)
    _check_parts(found)
    _check_nets(found)
    _check_ways(found)
    return found


def _gateway(value: Any, key: str, version: int) -> Any:
    text, _mark, zone = str(value).partition("%")
    found = _address(text, key)
    if found.version != version:
        raise _wrong("{0}: {1} is no IPv{2} address".format(key, value, version))
    if zone and not found.is_link_local():
        raise _wrong("{0}: {1} has an interface, and is no link-local address".format(key, value))
    return found, zone


def _route(name: Any, value: Any) -> Tuple[Any, Any]:
    if not isinstance(name, str) or not _ROUTE.match(name):
        raise _wrong("{0!r} is no name for a route".format(name))
    given = _mapping(value, "routes: " + name, {"to", "via"})
    try:
        net = netaddr.IPNetwork(str(given.get("to")))
    except (netaddr.AddrFormatError, ValueError):
        raise _wrong("routes: {0}: {1!r} is no net".format(name, given.get("to")))
    if net.ip != net.network:
        raise _wrong("routes: {0}: {1} is no net, that would be {2}".format(name, given["to"], net.cidr))
    via = _address(given.get("via"), "routes: " + name)
    if via.version != net.version:
        raise _wrong("routes: {0}: {1} and {2} are of two kinds".format(name, net, via))
    return net, via


def _check_parts(network: Network) -> None:
    """See that what interfaces are made of is there once, and has no address of its own."""
    taken: Dict[str, str] = {}
    tags: Set[str] = set()
    for each in network.interfaces.values():
        if each.cloned and not each.parts and not each.words:
            raise _wrong("{0} is made of nothing".format(each.name))
        for part in each.parts:
            if not _NAME.match(part) or part == each.name:
                raise _wrong("{0}: {1!r} is no interface that it could be made of".format(each.name, part))
            if each.create:  # any number of VLANs have one parent
                continue
            if part in taken:
                raise _wrong("{0} is a part of {1} and of {2}".format(part, taken[part], each.name))
            taken[part] = each.name
            other = network.interfaces.get(part)
            if other is not None and (other.addresses or other.dhcp or other.slaac):
                raise _wrong("{0} is a part of {1}, and has an address of its own".format(part, each.name))
        if each.create and each.create in tags:
            raise _wrong("{0}: there is another interface with that VLAN".format(each.name))
        tags.add(each.create)
    _order(network)


def _order(network: Network) -> List[str]:
    """Made interfaces, each after those that it is made of: rc(8) makes them in this order.

    :raises Refused: where one is made of itself.
    """
    found: List[str] = []
    left = {name: each for name, each in network.interfaces.items() if each.cloned}
    while left:
        ready = [name for name, each in left.items() if not set(each.parts) & set(left)]
        if not ready:
            raise _wrong("{0} are made of each other".format(", ".join(sorted(left))))
        for name in sorted(ready):
            found.append(name)
            del left[name]
    return found


def _check_nets(network: Network) -> None:
    """See that no address is there twice, and no net at two interfaces."""
    seen: List[Tuple[str, Any]] = []
    for each in network.interfaces.values():
        for address in each.addresses:
            for name, other in seen:
                if other.ip == address.ip:
                    raise _wrong("{0} has the address {1}, and {2} has it too".format(each.name, address.ip, name))
                apart = name == each.name or address.version != other.version or address.ip.is_link_local()
                if not apart and (address in other or other in address):
                    raise _wrong(
                        "{0} ({1}) and {2} ({3}) are in one net".format(each.name, address.cidr, name, other.cidr),
                        "give the addresses to one interface, or make a bridge or lagg of them",
                    )
            seen.append((each.name, address))


def _check_ways(network: Network) -> None:
    """See that gateways are in a net of an interface, and none is the host itself."""
    ways = [("gateway" if version == 4 else "gateway6", *each) for version, each in network.gateways.items()]
    ways += [("routes: " + name, via, "") for name, (_net, via) in network.routes.items()]
    for what, via, zone in ways:
        if zone:
            if zone not in network.interfaces:
                raise _wrong("{0}: {1} is no interface of this host".format(what, zone))
            continue
        if any(each.ip == via for each in network.addresses()):
            raise _wrong("{0}: {1} is an address of the host itself".format(what, via))
        learned = any(each.dhcp if via.version == 4 else each.slaac for each in network.interfaces.values())
        if not learned and not any(via in each for each in network.addresses()):
            raise _wrong(
                "{0}: {1} is in no net of this host, and so cannot be reached".format(what, via),
                "correct the address, or the length of the prefix of an interface",
            )


def settings(network: Network) -> Dict[str, str]:
    """The settings of rc.conf(5) that make it."""
    found: Dict[str, str] = {}
    parts = {part for each in network.interfaces.values() for part in each.parts}
    for name in sorted(parts - set(network.interfaces)):
        found["ifconfig_" + name] = "up"
    for name, each in network.interfaces.items():
        found.update(_of_interface(name, each, name in parts))
    cloned = _order(network)
    if cloned:
        found["cloned_interfaces"] = " ".join(cloned)
    for version, (via, zone) in network.gateways.items():
        found["defaultrouter" if version == 4 else "ipv6_defaultrouter"] = str(via) + ("%" + zone if zone else "")
    for version, prefix in ((4, ""), (6, "ipv6_")):
        names = sorted(name for name, (net, _via) in network.routes.items() if net.version == version)
        for name in names:
            net, via = network.routes[name]
            how = "-net {0} {1}" if version == 4 else "{0} {1}"  # rc.d/routing adds -inet6 itself
            found["{0}route_{1}".format(prefix, name)] = how.format(net, via)
        if names:
            found[prefix + "static_routes"] = " ".join(names)
    return found


def _of_interface(name: str, interface: Interface, is_part: bool) -> Dict[str, str]:
    """The first IPv4 address beside what the interface is, the first IPv6 address in ``_ipv6``, others as aliases."""
    found: Dict[str, str] = {}
    four = [str(each) for each in interface.addresses if each.version == 4]
    six = ["{0} prefixlen {1}".format(each.ip, each.prefixlen) for each in interface.addresses if each.version == 6]
    words = list(interface.words)
    if interface.dhcp:
        words.append("SYNCDHCP")
    elif four:
        words = ["inet", four[0], *words]
    elif is_part or six or interface.slaac or interface.cloned:
        words.append("up")
    if interface.create:
        found["create_args_" + name] = interface.create
    found["ifconfig_" + name] = " ".join(words) or "up"
    auto = ["accept_rtadv"] if interface.slaac else []
    if six or auto:
        found["ifconfig_{0}_ipv6".format(name)] = " ".join(["inet6", *six[:1], *auto])
    aliases = ["inet " + each for each in four[1:]] + ["inet6 " + each for each in six[1:]]
    for place, each in enumerate(aliases):
        found["ifconfig_{0}_alias{1}".format(name, place)] = each
    return found


def twice(mine: Network, others: Mapping[str, Network]) -> List[str]:
    """Addresses of a host that others in the inventory have too, a sentence each.

    :param others: their networks by their names.
    """
    own = {str(each.ip) for each in mine.addresses() if not each.ip.is_link_local()}
    return [
        "{0} is an address of {1} too".format(address, printable(name))
        for name, network in sorted(others.items())
        for address in sorted(own & {str(each.ip) for each in network.addresses()})
    ]


def leftovers(mine: Network, given: Mapping[str, Any], written: Mapping[str, Any]) -> List[str]:
    """Settings of deploy_rc_conf about an interface that is described, and that would be added to what is described.

    :param given: deploy_rc_conf.
    :param written: what is written for the network.
    """
    return sorted(
        name
        for name in given
        for interface in mine.interfaces
        if re.match(r"(ifconfig|ipv4_addrs|create_args|vlans)_{0}(_|\Z)".format(re.escape(interface)), str(name))
        and name not in written
    )


def refuse_both(names: Sequence[str]) -> None:
    """See that nobody describes a network twice.

    :param names: settings of configure_rc_conf that configure_network writes.
    :raises Refused: when there is one.
    """
    if names:
        raise Refused(
            "{0} is in configure_rc_conf, and {1} writes it".format(", ".join(sorted(names)), VARIABLE),
            safe=_SAFE,
            todo="give it once",
        )
