# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of /etc made of fields: one function for each kind, from what the inventory says to the text of the file.

Sources: resolver(5), hosts(5), sysctl.conf(5), crontab(5), newsyslog.conf(5), syslog.conf(5), periodic.conf(5),
ntp.conf(5).
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rcconf, rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

_SAFE = "nothing was changed"
HEAD = "# Written by nanozfs.fleet.configure; changes belong into the inventory.\n"

#: a name of a file in cron.d and the like: cron(8) and syslogd(8) leave out those with other characters
_FILE = re.compile(r"[A-Za-z0-9_-]+\Z")
_OID = re.compile(r"[A-Za-z0-9_.%-]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HOST = re.compile(r"[A-Za-z0-9_.-]+\Z")


def wrong(variable: str, what: str) -> Refused:
    """The error for what an inventory says wrongly."""
    return Refused("configure_{0}: {1}".format(variable, printable(what)), safe=_SAFE)


def mapping(value: Any, variable: str, keys: Sequence[str] = ()) -> Mapping[Any, Any]:
    """A mapping, with none but these keys where there are some.

    :raises Refused: for anything else.
    """
    if not isinstance(value, Mapping):
        raise wrong(variable, "it must be a mapping")
    strange = sorted(str(key) for key in value if keys and key not in keys)
    if strange:
        raise wrong(variable, "it has {0}, and may have {1}".format(", ".join(strange), ", ".join(sorted(keys))))
    return value


def line(value: Any, variable: str, what: str) -> str:
    """One line of text, of a number or a text.

    :raises Refused: for anything else.
    """
    try:
        found = rcconf.text_of(what, value, _SAFE)
    except Refused as error:
        raise wrong(variable, error.what)
    if not found.strip():
        raise wrong(variable, "{0} is empty".format(what))
    return found


def lines(value: Any, variable: str, what: str) -> List[str]:
    """Texts of one line each; one alone is a list of it."""
    many = value if isinstance(value, (list, tuple)) else [value]
    return [line(each, variable, what) for each in many]


def listed(value: Any, variable: str) -> List[str]:
    """A list of texts, which as a text has commas, as Ansible's own check of variables takes it (``-e``).

    :raises Refused: for anything else.
    """
    many = value.split(",") if isinstance(value, str) else value
    if not isinstance(many, (list, tuple)) or not all(isinstance(each, (str, int)) for each in many):
        raise wrong(variable, "it must be a list of texts")
    return [text for text in (str(each).strip() for each in many) if text]


def number(value: Any) -> Any:
    """A number that came as text, as ``-e`` and the templates of ansible-core 2.18 give it; anything else as it is."""
    return int(value) if isinstance(value, str) and re.match(r"[0-9]{1,10}\Z", value) else value


def _name(value: Any, variable: str) -> str:
    if not isinstance(value, str) or not _FILE.match(value):
        raise wrong(variable, "{0!r} must be a name of letters, digits, - and _".format(value))
    return value


def resolver(value: Any) -> Dict[str, str]:
    """resolv.conf."""
    given = mapping(value, "resolver", ("nameservers", "search", "options"))
    text = HEAD
    if given.get("search"):
        text += "search {0}\n".format(" ".join(lines(given["search"], "resolver", "search")))
    for each in lines(given.get("nameservers") or [], "resolver", "nameservers"):
        text += "nameserver {0}\n".format(each)
    if given.get("options"):
        text += "options {0}\n".format(" ".join(lines(given["options"], "resolver", "options")))
    return {"resolv.conf": text}


def hosts(value: Any) -> Dict[str, str]:
    """Hosts. localhost is in it whatever is given."""
    text = HEAD + "::1 localhost\n127.0.0.1 localhost\n"
    for address, names in mapping(value, "hosts").items():
        words = lines(names, "hosts", str(address))
        if not all(_HOST.match(word) for each in words for word in each.split()):
            raise wrong("hosts", "{0}: {1} are no names of hosts".format(address, " ".join(words)))
        text += "{0} {1}\n".format(line(address, "hosts", "an address"), " ".join(words))
    return {"hosts": text}


def sysctl(value: Any) -> Dict[str, str]:
    """sysctl.conf."""
    text = HEAD
    for name, each in sorted(mapping(value, "sysctl").items()):
        if not isinstance(name, str) or not _OID.match(name):
            raise wrong("sysctl", "{0!r} is no name of a sysctl".format(name))
        said = str(int(each)) if isinstance(each, bool) else line(each, "sysctl", name)
        if "#" in said:  # sysctl(8) would end the value there
            raise wrong("sysctl", "{0}: # begins a remark".format(name))
        text += "{0}={1}\n".format(name, said)
    return {"sysctl.conf": text}


_WHEN = ("minute", "hour", "day", "month", "weekday")


def cron(value: Any) -> Dict[str, str]:
    """Files of cron.d, by their names."""
    found = {}
    for name, jobs in mapping(value, "cron").items():
        text = HEAD + "SHELL=/bin/sh\nPATH=/etc:/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin\n"
        for each in [jobs] if isinstance(jobs, Mapping) else jobs or []:
            given = mapping(each, "cron", (*_WHEN, "special", "user", "command", "environment"))
            for key, setting in sorted(mapping(given.get("environment") or {}, "cron").items()):
                if not isinstance(key, str) or not _VARIABLE.match(key):
                    raise wrong("cron", "{0!r} is no name in an environment".format(key))
                text += "{0}={1}\n".format(key, line(setting, "cron", key))
            if given.get("special"):
                when = "@" + line(given["special"], "cron", "special").lstrip("@")
            else:
                when = " ".join(line(given.get(key, "*"), "cron", key) for key in _WHEN)
                if len(when.split()) != len(_WHEN):
                    raise wrong("cron", "{0}: a blank in {1}".format(name, when))
            user = line(given.get("user", "root"), "cron", "user")
            if len(user.split()) != 1:
                raise wrong("cron", "{0}: a blank in the user {1}".format(name, user))
            text += "{0} {1} {2}\n".format(when, user, line(given.get("command"), "cron", "command"))
        found["cron.d/" + _name(name, "cron")] = text
    return found


def newsyslog(value: Any) -> Dict[str, str]:
    """Files of newsyslog.conf.d, by their names."""
    found = {}
    for name, logs in mapping(value, "newsyslog").items():
        text = HEAD
        for each in [logs] if isinstance(logs, Mapping) else logs or []:
            keys = ("file", "owner", "mode", "count", "size", "when", "flags", "pid_file", "signal")
            given = mapping(each, "newsyslog", keys)
            words = [line(given.get("file"), "newsyslog", "file")]
            words += [str(given["owner"])] if given.get("owner") else []
            words.append(line(given.get("mode", "644"), "newsyslog", "mode"))
            words += [line(given.get(key, default), "newsyslog", key) for key, default in _LOG]
            for key in ("pid_file", "signal"):
                words += [line(given[key], "newsyslog", key)] if given.get(key) else []
            if any(len(word.split()) != 1 for word in words):
                raise wrong("newsyslog", "{0}: a blank in {1}".format(name, words[0]))
            text += " ".join(words) + "\n"
        found["newsyslog.conf.d/{0}.conf".format(_name(name, "newsyslog"))] = text
    return found


_LOG = (("count", 7), ("size", "*"), ("when", "@T00"), ("flags", "J"))


def syslog(value: Any) -> Dict[str, str]:
    """Files of syslog.d, by their names."""
    return {
        "syslog.d/{0}.conf".format(_name(name, "syslog")): HEAD
        + "".join(each + "\n" for each in lines(rows, "syslog", str(name)))
        for name, rows in mapping(value, "syslog").items()
    }


def periodic(value: Any) -> Dict[str, str]:
    """periodic.conf, which is a script of sh(1) as rc.conf is."""
    return {"periodic.conf": HEAD + rcconf.render(mapping(value, "periodic"), (), "configure_periodic")}


def ntp(value: Any) -> Dict[str, str]:
    """ntp.conf. What the base has besides (leap seconds, nobody may ask or set) is in it."""
    given = mapping(value, "ntp", ("servers", "pools", "lines"))
    text = HEAD
    for key in ("pool", "server"):
        for each in lines(given.get(key + "s") or [], "ntp", key):
            text += "{0} {1} iburst\n".format(key, each)
    text += "restrict default limited kod nomodify notrap noquery nopeer\n"
    text += "restrict source limited kod nomodify notrap noquery\nrestrict 127.0.0.1\nrestrict ::1\n"
    text += 'leapfile "/var/db/ntpd.leap-seconds.list"\n'
    text += "".join(each + "\n" for each in lines(given.get("lines") or [], "ntp", "lines"))
    return {"ntp.conf": text}


def rc_conf(value: Any, network: Mapping[str, str]) -> Dict[str, str]:
    """rc.conf.local: what counts more than rc.conf, which deploy writes.

    :param network: settings that are made of configure_network.
    """
    given = mapping(value, "rc_conf")
    if "hostname" in given:
        raise wrong("rc_conf", "the name of a host is that of deploy_hostname")
    if not given and not network:
        return {}
    return {"rc.conf.local": HEAD + rcconf.render({**network, **given}, rules.PINNED, "configure_rc_conf")}


def pf(value: Any) -> Dict[str, str]:
    """pf.conf, as it is given."""
    if not isinstance(value, str):
        raise wrong("pf", "it must be text")
    return {"pf.conf": value if value.endswith("\n") else value + "\n"}


#: by variable, without its prefix; those that are set make files
KINDS: Mapping[str, Callable[[Any], Dict[str, str]]] = {
    "resolver": resolver,
    "hosts": hosts,
    "sysctl": sysctl,
    "cron": cron,
    "newsyslog": newsyslog,
    "syslog": syslog,
    "periodic": periodic,
    "ntp": ntp,
    "pf": pf,
}
