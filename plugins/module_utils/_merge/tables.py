# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files that are tables: services, logs to rotate, terminals, jobs, aliases, rules of access."""

from __future__ import annotations

import re
from typing import Dict, Hashable, Iterator, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.forms import (
    Fields,
    Key,
    Span,
    Table,
    is_remark,
    logical,
    words,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Token, lines_of


class Words(Table):
    """Files of which each line is one word: shells(5), ftpusers(5)."""


class Numbers(Table):
    """services(5), protocols(5), networks(5) and hosts(5): a name or address, a number, other names.

    A comment behind them is that of the override.

    :param pattern: the line, with groups that are named as the fields are.
    :param keys: the groups that make it the same entry.
    :param additive: whether the base's entries may come into an override whose base is not known.
    """

    fields = Fields({"aliases": " "})
    gap = " "

    def __init__(self, pattern: str, keys: List[str], additive: bool) -> None:
        self._line = re.compile(pattern + r"(?=[\s#]|\Z)")
        self._keys = keys
        self.additive = additive

    def key(self, line: str) -> Optional[Key]:
        """A name with its protocol, a name, or an address."""
        match = self._line.match(line)
        return tuple(match.group(each) for each in self._keys) if match else None

    def spans(self, text: str) -> Optional[List[Span]]:
        """The fields that are there."""
        match = self._line.match(text)
        if not match:
            return None
        spans = [Span(name, *match.span(name)) for name in match.groupdict()]
        rest = text[match.end() :].partition("#")[0]
        end = match.end() + len(rest.rstrip())
        start = match.end() + len(rest) - len(rest.lstrip())
        return spans + ([Span("aliases", start, end)] if start < end else [])

    def value(self, token: Token) -> Hashable:
        """All but the comment."""
        return " ".join(token.text.partition("#")[0].split())


SERVICES = Numbers(r"[ \t]*(?P<name>[^\s#]+)[ \t]+(?P<port>\d+)[/,](?P<protocol>[^\s#]+)", ["name", "protocol"], True)
PROTOCOLS = Numbers(r"[ \t]*(?P<name>[^\s#]+)[ \t]+(?P<number>[\d.]+)", ["name"], True)
HOSTS = Numbers(r"[ \t]*(?P<address>[^\s#]+)", ["address"], False)


class Logs(Table):
    """newsyslog.conf(5): a log, its owner (which may be missing), mode, count, size, when, flags, process, signal.

    As parse_file of usr.sbin/newsyslog/newsyslog.c reads it: an owner has a colon or a dot; what begins with a slash is
    the file of a process, and what is a number or the name of a signal is one.
    """

    _FIXED = ("mode", "count", "size", "when")

    def key(self, line: str) -> Optional[Key]:
        """The log; for ``<include>`` also what is included."""
        parts = line.split()
        return tuple(parts[:2]) if parts[0] == "<include>" else (parts[0],)

    def spans(self, text: str) -> Optional[List[Span]]:
        """The fields by their order."""
        found = list(re.finditer(r"(?:\\.|[^\s#\\])+", re.sub(r"(?<!\\)#.*", "", text)))
        parts = [each.group() for each in found]
        if parts[:1] == ["<include>"]:
            return None
        owner = ["owner"] if len(parts) > 1 and re.search("[:.]", parts[1]) else []
        names = ["log"] + owner + list(self._FIXED)
        if len(parts) < len(names):
            return None
        for part in parts[len(names) :]:
            kind = "process" if part.startswith("/") else "signal" if re.match(r"\d|SIG", part) else "flags"
            names.append(kind if kind not in names else "more " + kind)
        if len(set(names)) != len(names):
            return None
        return [Span(name, each.start(), each.end()) for name, each in zip(names, found)]


class Terminals(Table):
    """ttys(5): a terminal, its program, type, and flags in any order, of which each group is a field."""

    _GROUPS: Mapping[str, str] = {
        "on": "status",
        "off": "status",
        "onifconsole": "status",
        "onifexists": "status",
        "secure": "security",
        "insecure": "security",
    }
    gap = " "

    def spans(self, text: str) -> Optional[List[Span]]:
        """Three fields by their order, the others by what they are."""
        found = words(text, [""] * 40)
        texts = [text[each.start : each.end] for each in found]
        names = ["terminal", "program", "type"][: len(texts)]
        names += [self._GROUPS.get(each, each.partition("=")[0]) for each in texts[3:]]
        if len(set(names)) != len(names):
            return None
        return [Span(name, each.start, each.end) for name, each in zip(names, found)]


class Daemons(Table):
    """inetd.conf(5)."""

    _NAMES = ("service", "type", "protocol", "wait", "user", "program")

    def key(self, line: str) -> Optional[Key]:
        """Service, type of socket, protocol."""
        return tuple(line.split()[:3])

    def spans(self, text: str) -> Optional[List[Span]]:
        """The fields by their order; arguments are one."""
        return words(text, self._NAMES, "arguments")


class Jobs(Table):
    """crontab(5) of the system, with a user in each line: settings of the environment, and jobs.

    A job is the same one when its user and its command are; when it runs is what may be changed. What is a setting is
    told as load_env of usr.sbin/cron/lib/env.c does: a word, and then an equals sign.
    """

    _SETTING = re.compile(r"\s*(\"[^\"\n]*\"|'[^'\n]*'|[^\s=\"']+)\s*=")
    _JOB = re.compile(r"\s*(?:@\S+|(?:\S+\s+){4}\S+)\s+(\S+)\s+(\S.*)")

    def key(self, line: str) -> Optional[Key]:
        """The name of a setting, or user and command of a job."""
        setting, job = self._SETTING.match(line), self._JOB.match(line)
        if setting:
            return ("setting", setting.group(1).strip("\"'"))
        return ("job of", job.group(1) + ":", " ".join(job.group(2).split())) if job else None


class Aliases(Table):
    """aliases(5): a name, a colon, and addresses, which may go on in lines that begin with a blank."""

    _NAME = re.compile(r"(\"[^\"\n]*\"[ \t]*|[^\s:#\"][^:\n]*):")

    def lines(self, text: str) -> Iterator[str]:
        """Entries with the lines that belong to them, and remarks."""
        pending = ""
        for line in lines_of(text):
            if pending and line[:1] in (" ", "\t") and not is_remark(line):
                pending += line
                continue
            if pending:
                yield pending
            pending = "" if is_remark(line) else line
            if not pending:
                yield line
        if pending:
            yield pending

    def key(self, line: str) -> Optional[Key]:
        """The name, which is the same in any case."""
        match = self._NAME.match(line)
        return (match.group(1).strip().lower(),) if match else None

    def name(self, token: Token) -> str:
        """The alias."""
        return "alias {0}".format(super().name(token))


class Access(Table):
    """hosts_access(5) and hosts_options(5): the first line that fits counts, so order means something.

    Daemons, clients and options have colons between them, those of addresses in brackets and behind a backslash not
    counted. A line, also a comment, goes on where a backslash ends it (xgets in contrib/tcp_wrappers/misc.c).
    """

    ordered = True
    _FIELD = re.compile(r"(?:\\.|\[[^\]\n]{0,500}\]|[^:\\])*", re.DOTALL)

    def lines(self, text: str) -> Iterator[str]:
        """Rules and remarks."""
        return logical(lines_of(text), comments_go_on=True)

    def value(self, token: Token) -> Hashable:
        """The rule, however it is laid out."""
        return " ".join(token.text.replace("\\\n", " ").split())

    def key(self, line: str) -> Optional[Key]:
        """For which daemons and which clients a rule is."""
        line = line.replace("\\\n", " ")
        daemons = self._FIELD.match(line)
        end = daemons.end() if daemons else len(line)
        clients = self._FIELD.match(line, min(end + 1, len(line)))
        texts = [" ".join(each.group().split()) if each else "" for each in (daemons, clients)]
        return (" : ".join(each for each in texts if each),)


class Modules(Table):
    """pam.conf(5), in pam.d/ without the first column: what is asked in which order is what it means.

    A line is the same one when its facility and its module are. Control and each argument are merged by themselves.

    :param service: whether a line begins with the name of a service.
    """

    ordered = True
    public = True
    gap = " "

    def __init__(self, service: bool) -> None:
        self._names = (["service"] if service else []) + ["facility", "control", "module"]

    def lines(self, text: str) -> Iterator[str]:
        """Lines that a backslash joins are one (openpam_readlinev(3))."""
        return logical(lines_of(text))

    def _words(self, text: str) -> List[Span]:
        found = list(re.finditer(r"\[[^\]\n]{0,500}\]|[^\s#\\\[]+", text.partition("#")[0]))
        return [Span("", each.start(), each.end()) for each in found]

    def key(self, line: str) -> Optional[Key]:
        """Facility and module; for ``include`` also that word."""
        texts = [line[each.start : each.end] for each in self._words(line)]
        if len(texts) < len(self._names):
            return None
        by: Dict[str, str] = dict(zip(self._names, texts))
        include = ["include"] if by["control"] == "include" else []
        return tuple([by.get("service", ""), by["facility"].lower()] + include + [by["module"]])

    def spans(self, text: str) -> Optional[List[Span]]:
        """The columns, and each argument by its name."""
        found = self._words(text)
        names = list(self._names[: len(found)])
        names += [text[each.start : each.end].partition("=")[0] for each in found[len(names) :]]
        if len(set(names)) != len(names):
            return None
        return [each._replace(name=name) for name, each in zip(names, found)]

    def name(self, token: Token) -> str:
        """Facility and module."""
        return super().name(token).strip()
