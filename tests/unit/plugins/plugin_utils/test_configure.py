# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory says of a host's configuration: what is made of it, and what is refused."""

from __future__ import annotations

import subprocess
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import Wish, unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure import network, people, texts, wanted

FULL: Dict[str, Any] = {
    "interfaces": {
        "igb0": {"addresses": ["192.0.2.11/24", "192.0.2.12/32", "2001:db8::11/64", "2001:db8::12/64"], "mtu": 9000},
        "lagg0": {"lagg": {"protocol": "lacp", "ports": ["igb1", "igb2"]}},
        "vlan10": {"vlan": {"id": 10, "parent": "lagg0"}, "addresses": ["10.0.0.1/24"]},
        "bridge0": {"bridge": {"members": ["vlan11", "igb3"], "stp": True}},
        "vlan11": {"vlan": {"id": 11, "parent": "lagg0"}},
        "igb4": {"dhcp": True, "slaac": True},
    },
    "gateway": "192.0.2.1",
    "gateway6": "fe80::1%igb0",
    "routes": {
        "office": {"to": "10.20.0.0/16", "via": "10.0.0.254"},
        "lab6": {"to": "2001:db8:1::/48", "via": "2001:db8::1"},
    },
}


def of(**interfaces: Any) -> Dict[str, Any]:
    return {"interfaces": interfaces}


class TestNetwork:
    def test_settings(self) -> None:
        assert network.settings(network.read(FULL)) == {
            "ifconfig_igb0": "inet 192.0.2.11/24 mtu 9000",
            "ifconfig_igb0_alias0": "inet 192.0.2.12/32",
            "ifconfig_igb0_ipv6": "inet6 2001:db8::11 prefixlen 64",
            "ifconfig_igb0_alias1": "inet6 2001:db8::12 prefixlen 64",
            "ifconfig_igb1": "up",
            "ifconfig_igb2": "up",
            "ifconfig_igb3": "up",
            "ifconfig_lagg0": "laggproto lacp laggport igb1 laggport igb2 up",
            "create_args_vlan10": "vlan 10 vlandev lagg0",
            "ifconfig_vlan10": "inet 10.0.0.1/24",
            "create_args_vlan11": "vlan 11 vlandev lagg0",
            "ifconfig_vlan11": "up",
            "ifconfig_bridge0": "addm vlan11 addm igb3 stp vlan11 stp igb3 up",
            "ifconfig_igb4": "SYNCDHCP",
            "ifconfig_igb4_ipv6": "inet6 accept_rtadv",
            "cloned_interfaces": "lagg0 vlan10 vlan11 bridge0",
            "defaultrouter": "192.0.2.1",
            "ipv6_defaultrouter": "fe80::1%igb0",
            "route_office": "-net 10.20.0.0/16 10.0.0.254",
            "static_routes": "office",
            "ipv6_route_lab6": "2001:db8:1::/48 2001:db8::1",
            "ipv6_static_routes": "lab6",
        }

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (of(igb0={"addresses": ["192.0.2.11"]}), "no length of its prefix"),
            (of(igb0={"addresses": ["192.0.2.300/24"]}), "is no address"),
            (of(igb0={"addresses": ["192.0.2.0/24"]}), "the net itself"),
            (of(igb0={"addresses": ["192.0.2.255/24"]}), "the net itself"),
            (of(igb0={"addresses": ["127.0.0.1/8"]}), "no address that an interface could have"),
            (of(igb0={"addresses": {"a": 1}}), "must be a list"),
            (of(igb0={"addresses": ["192.0.2.1/24"], "dhcp": True}), "dhcp and an IPv4 address"),
            (of(igb0={"address": ["192.0.2.1/24"]}), "must be a mapping with some of"),
            (of(**{"igb0; reboot": {}}), "no name for an interface"),
            (of(igb0={"options": "up; reboot"}), "words of ifconfig"),
            (of(igb0={"mtu": 100}), "from 576 to 65535"),
            (of(igb0={"addresses": ["192.0.2.1/24", "192.0.2.1/24"]}), "has it too"),
            (of(igb0={"addresses": ["192.0.2.1/24"]}, igb1={"addresses": ["192.0.2.2/25"]}), "are in one net"),
            (of(vlan={"vlan": {"id": 1, "parent": "igb0"}}), "must end with a number"),
            (of(vlan1={"vlan": {"id": 4095, "parent": "igb0"}}), "from 1 to 4094"),
            (of(vlan1={"vlan": {"id": 1}}), ["no interface that it could be made of", " 'None'"][0]),
            (of(vlan1={"vlan": {"id": 1, "parent": "igb0"}}, vlan2={"vlan": {"id": 1, "parent": "igb0"}}), "that VLAN"),
            (of(lagg0={"lagg": {"protocol": "x", "ports": ["igb0"]}}), "protocol must be one of"),
            (of(lagg0={"lagg": {"ports": ["igb0"]}}, bridge0={"bridge": {"members": ["igb0"]}}), "a part of lagg0 and"),
            (of(lagg0={"lagg": {"ports": ["igb0"]}}, igb0={"dhcp": True}), "and has an address of its own"),
            (of(lagg0={"lagg": {"ports": ["lagg1"]}}, lagg1={"lagg": {"ports": ["lagg0"]}}), "made of each other"),
            (dict(of(igb0={"addresses": ["192.0.2.1/24"]}), gateway="192.0.3.1"), "is in no net of this host"),
            (dict(of(igb0={"addresses": ["192.0.2.1/24"]}), gateway="192.0.2.1"), "an address of the host itself"),
            (dict(of(igb0={"addresses": ["192.0.2.1/24"]}), gateway="2001:db8::1"), "no IPv4 address"),
            (dict(of(igb0={"slaac": True}), gateway="192.0.2.1"), "is in no net of this host"),
            (dict(of(igb0={"dhcp": True}), gateway6="fe80::1%igb9"), "igb9 is no interface of this host"),
            (dict(of(igb0={"dhcp": True}), routes={"a": {"to": "10.0.0.1/8", "via": "10.0.0.1"}}), "is no net"),
            (dict(of(igb0={"dhcp": True}), routes={"a-b": {}}), "no name for a route"),
        ],
    )
    def test_refused(self, given: Mapping[str, Any], says: str) -> None:
        with pytest.raises(Refused) as refused:
            network.read(given)
        assert says in str(refused.value)

    def test_a_gateway_by_dhcp_may_be_anywhere(self) -> None:
        network.read(dict(of(igb0={"dhcp": True}), gateway="192.0.2.1"))

    def test_no_address_twice_among_hosts(self) -> None:
        mine = network.read(of(igb0={"addresses": ["192.0.2.1/24", "fe80::1/64"]}))
        assert network.twice(mine, {"web-2": mine}) == ["192.0.2.1 is an address of web-2 too"]


def read_by(shell: str, name: str) -> str:
    return subprocess.run(
        ["sh", "-c", '. /dev/stdin; eval "printf %s \\"\\$$1\\""', "sh", name],
        input=shell,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class TestTexts:
    def test_rc_conf_means_what_it_says(self) -> None:
        text = texts.rc_conf({"motto": 'a `date` "$b" it\'s', "ntpd_enable": True}, {"ifconfig_igb0": "up"})[
            "rc.conf.local"
        ]
        assert read_by(text, "motto") == 'a `date` "$b" it\'s' and read_by(text, "ntpd_enable") == "YES"
        assert read_by(text, "ifconfig_igb0") == "up"

    @pytest.mark.parametrize(
        ("kind", "value", "path", "line"),
        [
            (
                "resolver",
                {"nameservers": ["192.0.2.1"], "search": ["a.example", "b"]},
                "resolv.conf",
                "search a.example b",
            ),
            ("hosts", {"192.0.2.1": ["gw", "gw.example"]}, "hosts", "192.0.2.1 gw gw.example"),
            ("sysctl", {"net.inet.ip.forwarding": True}, "sysctl.conf", "net.inet.ip.forwarding=1"),
            ("cron", {"a": [{"hour": 3, "command": "x"}]}, "cron.d/a", "* 3 * * * root x"),
            ("cron", {"a": {"special": "daily", "user": "www", "command": "x"}}, "cron.d/a", "@daily www x"),
            ("newsyslog", {"a": {"file": "/var/log/a"}}, "newsyslog.conf.d/a.conf", "/var/log/a 644 7 * @T00 J"),
            ("syslog", {"a": "*.* @loghost"}, "syslog.d/a.conf", "*.* @loghost"),
            ("periodic", {"daily_clean_tmps_enable": True}, "periodic.conf", 'daily_clean_tmps_enable="YES"'),
            ("ntp", {"pools": ["pool.example"]}, "ntp.conf", "pool pool.example iburst"),
            ("pf", "pass", "pf.conf", "pass"),
        ],
    )
    def test_kinds(self, kind: str, value: Any, path: str, line: str) -> None:
        (found,) = texts.KINDS[kind](value).items()
        assert found[0] == path and line in found[1].splitlines() and found[1].endswith("\n")

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("resolver", {"nameserver": ["192.0.2.1"]}),
            ("hosts", {"192.0.2.1": "a\nb"}),
            ("hosts", {"192.0.2.1": "a # b"}),
            ("sysctl", {"a b": 1}),
            ("sysctl", {"a": "1 # 2"}),
            ("cron", {"../a": []}),
            ("cron", {"a.b": []}),
            ("cron", {"a": [{"hour": "1 2", "command": "x"}]}),
            ("cron", {"a": [{"hour": 1}]}),
            ("cron", {"a": [{"command": "x\nroot * y"}]}),
            ("newsyslog", {"a": [{"file": "/var/log/a b"}]}),
            ("syslog", ["a"]),
            ("periodic", {"IFS": "x"}),
            ("ntp", {"server": ["a"]}),
            ("pf", ["pass"]),
        ],
    )
    def test_refused(self, kind: str, value: Any) -> None:
        with pytest.raises(Refused):
            texts.KINDS[kind](value)

    def test_the_name_of_a_host_is_deploys(self) -> None:
        with pytest.raises(Refused, match="deploy_hostname"):
            texts.rc_conf({"hostname": "x"}, {})


class TestPeople:
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ({"a b": {"uid": 1}}, "is no name"),
            ({"ann": {"uid": "1001x"}}, "must be a number"),
            ({"ann": {"uid": 1}, "bob": {"uid": 1}}, "have the same uid"),
            ({"ann": {"home": "/home/a:b"}}, "has a colon"),
            ({"ann": {"gecos": "a\nroot::0:0"}}, "line feed"),
            ({"ann": {"password": "s3cret"}}, "must be a hash"),
            ({"ann": {"Password": "*"}}, "may have"),
        ],
    )
    def test_refused(self, value: Any, says: str) -> None:
        with pytest.raises(Refused, match=says) as refused:
            people.users(value)
        assert "s3cret" not in str(refused.value)

    @pytest.mark.parametrize(
        "value", ["*", "*LOCKED*", "*LOCKED*$6$abc$def", "$6$rounds=5000$abcdefgh$ijklmnop", "$2b$12$abcdefgh"]
    )
    def test_what_is_a_hash(self, value: str) -> None:
        assert people.users({"ann": {"password": value}})["ann"]["password"] == value

    def test_sshd_is_told_of_keys(self) -> None:
        assert people.sshd({}, True) == {"AuthorizedKeysFile": [".ssh/authorized_keys /etc/ssh/authorized_keys.d/%u"]}
        assert people.sshd({"UseDNS": False, "Port": [22, 2222]}, False) == {"UseDNS": ["no"], "Port": ["22", "2222"]}
        with pytest.raises(Refused, match="does not have /etc/ssh"):
            people.sshd({"authorizedkeysfile": "x"}, True)

    @pytest.mark.parametrize(
        "value", [{"Match": "User x"}, {"Include": "x"}, {"UseDNS": True, "usedns": False}, {"a b": 1}]
    )
    def test_what_is_no_setting_of_sshd(self, value: Any) -> None:
        with pytest.raises(Refused):
            people.sshd(value, False)


def wish(
    settings: Mapping[str, Any], absent: Sequence[str] = (), more: Optional[List[Entry]] = None, **rest: Any
) -> Wish:
    deployed = dict({"rc.conf": "deploy_rc_conf"}, **rest.pop("deployed", {}))
    return wanted.wish(
        settings, absent, deployed, rest.pop("rc_conf", {}), rest.pop("others", {}), lambda _names: more or []
    )


class TestTogether:
    def test_it_travels(self) -> None:
        made = wish(
            {"files": {"a": "\u00e4 {{ x }}\n"}, "users": {"ann": {"uid": 1, "keys": ["k"]}}, "doas": "permit ann"}
        )
        there = unpacked(made.packed())
        assert list(there.files) == list(made.files) and there.users == made.users and there.sshd == made.sshd
        assert {each.path: each.mode for each in there.files} == {
            "a": None,
            "local/doas.conf": 0o600,
            "ssh/authorized_keys.d/ann": 0o644,
        }

    def test_a_pattern_that_came_as_text_is_one_pattern(self) -> None:
        """As letters, one of them would be ``*``: every file would be shown, with what secrets it has."""
        made = wish({"show": "local/*.conf", "trial": "local/a,local/b*", "files": {"local/x": "secret"}})
        assert (made.shown, made.trial) == (["local/*.conf"], ["local/a", "local/b*"])

    @pytest.mark.parametrize("key", ["show", "trial", "folders", "checks", "services"])
    def test_what_is_no_list(self, key: str) -> None:
        with pytest.raises(Refused, match="must be a"):
            wish({key: {"local/x": 1}})

    def test_numbers_lists_and_switches_that_came_as_text(self) -> None:
        people_wish = wish({"users": {"ann": {"uid": "1001", "groups": "wheel,www"}}, "groups": {"a": {"gid": "7"}}})
        assert people_wish.users["ann"] == {"uid": 1001, "groups": ["wheel", "www"]}
        assert people_wish.groups == {"a": {"gid": 7}}
        found = network.read(of(igb0={"dhcp": "false", "slaac": "no", "mtu": "9000", "addresses": "192.0.2.1/24"}))
        assert network.settings(found) == {"ifconfig_igb0": "inet 192.0.2.1/24 mtu 9000"}
        for wrong in ({"dhcp": "perhaps"}, {"addresses": {"a": 1}}, {"addresses": 5}):
            with pytest.raises(Refused):
                network.read(of(igb0=wrong))

    @pytest.mark.parametrize(
        "settings",
        [
            {"users": {"ann": "text"}},
            {"cron": {"a": [{"command": "x", "user": "root sh"}]}},
            {"cron": {"a": [{"command": "x", "environment": {"A\n* * * * * root x": "1"}}]}},
            {"network": {"routes": ["x"]}},
        ],
    )
    def test_refused_with_a_reason(self, settings: Mapping[str, Any]) -> None:
        with pytest.raises(Refused):
            wish(settings)

    def test_nothing_is_nothing(self) -> None:
        made = wish(dict.fromkeys(wanted.NAMES))
        assert made.packed() == Wish(known=["rc.conf"]).packed()

    @pytest.mark.parametrize(
        ("settings", "more", "says"),
        [
            (
                {"files": {"resolv.conf": "x"}, "resolver": {"nameservers": ["192.0.2.1"]}},
                {},
                "configure_resolver and by configure_files",
            ),
            (
                {"files": {"ssh/sshd_config": "x"}, "sshd": {"UseDNS": True}},
                {},
                "given by configure_files and by configure_sshd",
            ),
            (
                {"files": {"group": "x"}, "groups": {"a": {"gid": 1}}},
                {},
                "given by configure_files and by configure_groups",
            ),
            ({"files": {"a": "x"}}, {"deployed": {"a": "deploy_files"}}, "each playbook would undo"),
            (
                {"sshd": {"UseDNS": True}},
                {"deployed": {"ssh/sshd_config": "deploy_folders"}},
                "each playbook would undo",
            ),
            ({"files": {"rc.conf": "x"}}, {}, "deploy_rc_conf"),
            (
                {"files": {"rootssh/authorized_keys": "x"}},
                {"deployed": {"rootssh/authorized_keys": "deploy_authorized_keys"}},
                "undo",
            ),
            ({"files": {"a": "x"}}, {"absent": ["a"]}, "in configure_absent"),
            ({}, {"absent": ["../a"]}, "no path of a file in /etc"),
            ({}, {"absent": ["rc.conf"]}, "deploy_rc_conf"),
            (
                {"network": of(igb0={"dhcp": True}), "rc_conf": {"ifconfig_igb0": "up"}},
                {},
                "configure_network writes it",
            ),
            ({"network": of(igb0={"dhcp": True})}, {"rc_conf": {"ifconfig_igb0_alias0": "x"}}, "would be added to"),
            ({"users": {"root": {"keys": ["k"]}}}, {}, "deploy_authorized_keys"),
            ({"rc_conf": {"root_rw_mount": True}}, {}, "set by the layout itself"),
            ({"checks": [{"path": "a"}]}, {}, "command, a list of words"),
            ({"services": [{"command": ["x"]}]}, {}, "path or settings"),
            ({"nonsense": 1}, {}, "no setting nonsense"),
        ],
    )
    def test_refused(self, settings: Mapping[str, Any], more: Mapping[str, Any], says: str) -> None:
        with pytest.raises(Refused) as refused:
            wish(settings, **more)
        assert says in str(refused.value)

    def test_what_is_only_of_another_interface_is_no_conflict(self) -> None:
        wish({"network": of(igb1={"dhcp": True})}, rc_conf={"ifconfig_igb10": "DHCP", "ifconfig_DEFAULT": "DHCP"})

    def test_what_configure_says_of_an_interface_counts_more(self) -> None:
        wish({"network": of(igb1={"dhcp": True})}, rc_conf={"ifconfig_igb1": "inet 192.0.2.1/24"})

    def test_no_address_of_another_host(self) -> None:
        mine = of(igb0={"addresses": ["192.0.2.1/24"]})
        with pytest.raises(Refused, match=r"192\.0\.2\.1 is an address of web-2 too"):
            wish({"network": mine}, others={"web-2": network.read(mine)})
