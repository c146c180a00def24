# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of known holes to test with, in the form of security/vuxml of freebsd-ports."""

from __future__ import annotations

from typing import Sequence
from xml.sax.saxutils import escape

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE vuxml PUBLIC "-//vuxml.org//DTD VuXML 1.1//EN" "http://www.vuxml.org/dtd/vuxml-1/vuxml-11.dtd" [
<!ENTITY vuln-2025 SYSTEM "vuln/2025.xml">
]>
<vuxml xmlns="http://www.vuxml.org/apps/vuxml-1">
"""

TAIL = "</vuxml>\n"


def package(names: Sequence[str], *ranges: str, element: str = "package") -> str:
    """What is affected: names, and ranges as ``ge 1.0 lt 2.0``."""
    text = "".join("\n\t<name>{0}</name>".format(escape(each)) for each in names)
    for each in ranges:
        words = each.split()
        bounds = "".join(
            "<{0}>{1}</{0}>".format(kind, escape(version)) for kind, version in zip(words[::2], words[1::2])
        )
        text += "\n\t<range>{0}</range>".format(bounds)
    return "      <{0}>{1}\n      </{0}>\n".format(element, text)


def vuln(number: int, *affected: str, topic: str = "", cves: Sequence[str] = (), entered: str = "2026-11-20") -> str:
    """An entry."""
    return """  <vuln vid="{0:08d}-b996-11f1-ad2b-40b034429ecf">
    <topic>{1}</topic>
    <affects>
{2}    </affects>
    <description>
\t<body xmlns="http://www.w3.org/1999/xhtml">
\t<p>The project reports:</p>
\t<blockquote cite="https://example.org/"><p>Its <em>name</em> is &lt;script&gt;.</p></blockquote>
\t</body>
    </description>
    <references>
{3}      <url>https://example.org/</url>
    </references>
    <dates>
      <discovery>2026-01-01</discovery>
      <entry>{4}</entry>
    </dates>
  </vuln>

""".format(
        number,
        escape(topic or "thing -- hole {0}".format(number)),
        "".join(affected),
        "".join("      <cvename>{0}</cvename>\n".format(escape(each)) for each in cves),
        entered,
    )


def document(*entries: str) -> bytes:
    """A whole list."""
    return (HEAD + "".join(entries) + TAIL).encode("utf-8")
