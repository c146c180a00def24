# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two Lua scripts that packages mostly have, without a Lua: ``@sample`` and ``@shell``.

Source: ``Keywords`` of the ports tree.

They are recognised as whole texts. What they do goes through the same calls as that of any script.
"""

from __future__ import annotations

import re

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Script
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.staging import Staging, latin

#: for everything else
WANTED = "it needs a Lua: install the Python package lupa, with Lua 5.4, where Ansible runs"

_SAMPLE = re.compile(
    r"""(?:-- args: [^\n]*\n)?args = \{\}
for arg in string\.gmatch\("(?P<words>[^"\\\n]+)", "%S\+"\) do
table\.insert\(args, arg\)
end
sample_file = pkg\.prefixed_path\(args\[1\]\)
if args\[2\] == nil then
target_file = string\.gsub\(sample_file,'%\.sample\$', ""\)
else
target_file = pkg\.prefixed_path\(args\[2\]\)
end
if not pkg\.stat\(target_file\) then
pkg\.copy\(sample_file, target_file\)
(?:if pkg_metalog ~= nil and pkg\.metalog_copy ~= nil then
pkg\.metalog_copy\(sample_file, target_file\)
end
)?end"""
)

_SHELL = re.compile(
    "\n".join(
        (
            r'shell_path = pkg\.prefixed_path\("(?P<path>[^"\\\n]+)"\)',
            r'shell = assert\(io\.open\("/etc/shells", "r\+"\)\)',
            "while true do",
            r"line = shell:read\(\)",
            "if line == nil then break end",
            "if line == shell_path then",
            "-- the shell path is already in the shell file",
            r"shell:close\(\)",
            "return",
            "end",
            "end",
            r'assert\(shell:write\(shell_path \.\. "\\n"\)\)',
            r"assert\(shell:close\(\)\)",
        )
    )
)

_SHELLS = "/etc/shells"


def run(script: Script, prefix: str, staging: Staging) -> str:
    """Do what a script does, where it is one of these.

    :param prefix: of the package.
    :returns: why nothing was done; empty when it is.
    """
    lines = (line.strip() for line in script.text.split("\n"))
    text = "\n".join(line for line in lines if line)
    sample, shell = _SAMPLE.fullmatch(text), _SHELL.fullmatch(text)
    if sample:
        words = sample["words"].split()
        if not words:
            return WANTED
        source = _prefixed(words[0], prefix)
        target = _prefixed(words[1], prefix) if len(words) > 1 else re.sub(r"\.sample\Z", "", source)
        if staging.answer("stat", [target]) == [True, None]:
            staging.answer("copy", [source, target])
    elif shell:
        path = _prefixed(shell["path"], prefix)
        answer = staging.answer("open", [_SHELLS, "r"])
        if answer[0] and answer[1] is None:
            return "the image has no {0}".format(_SHELLS)
        if answer[0] and path not in answer[1].split("\n"):
            staging.answer("write", [_SHELLS, "{0}{1}\n".format(answer[1], path)])
    else:
        return WANTED
    return staging.refused


def _prefixed(path: str, prefix: str) -> str:
    return latin(path if path.startswith("/") else "{0}/{1}".format(prefix, path))
