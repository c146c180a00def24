# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a recovery kit; documented in the module of the same name."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar, Collection, Dict, List, Tuple

from ansible.release import __version__ as core_version

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.provenance import collection_version
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit import bundle, contents, words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import COLLECTION, paths_of


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "path": {"type": "path", "required": True},
        "passphrase": {"type": "str", "no_log": True},
        "passphrase_file": {"type": "path"},
        "signing_key": {"type": "path"},
        "ssh_keys": {"type": "list", "elements": "path", "default": []},
        "include": {"type": "list", "elements": "path", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "leave": {"type": "list", "elements": "path", "default": []},
        "collection": {"type": "bool", "default": True},
        "backup_group": {"type": "str", "default": "backup"},
        "size": {"type": "int", "default": 32 << 20},
    }
    RULES: ClassVar[Dict[str, Any]] = {
        "required_one_of": [("passphrase", "passphrase_file")],
        "mutually_exclusive": [("passphrase", "passphrase_file")],
    }
    LINES = ("ssh_keys", "include", "exclude", "leave")

    _requires_connection = False

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Write it, where what is in it has changed."""
        path = os.path.abspath(arguments["path"])
        passphrase = _passphrase(arguments)
        wish = self._wish(arguments, path)
        members = contents.gather(wish)
        before = bundle.open_kit(path, passphrase) if os.path.lexists(path) else None
        prints = bundle.fingerprints(members)
        differs = bundle.differences(before, prints)
        lacking = contents.lacking(members, wish)
        result: Dict[str, Any] = {
            "changed": any(differs.values()),
            "path": path,
            "files": len(members),
            "bytes": sum(len(each.content) for each in members),
            "lacking": lacking,
            "warnings": lacking,
        }
        if self._task.diff:
            result["diff"] = {
                "before": _listing(before.prints if before else {}, ()),
                "after": _listing(prints, differs["changed"]),
                "before_header": path,
                "after_header": path,
            }
        if result["changed"] and not self._task.check_mode:
            self._write(path, passphrase, members, wish, arguments["backup_group"], lacking)
        return result

    def _write(
        self,
        path: str,
        passphrase: str,
        members: List[contents.Member],
        wish: contents.Wish,
        group: str,
        lacking: List[str],
    ) -> None:
        made = int(time.time())
        backups = set(self._vars.get("groups", {}).get(group, ()))
        every = [self._host(name) for name in sorted(self._vars.get("groups", {}).get("all", ()))]
        told = words.Told(
            made=time.strftime("%Y-%m-%d", time.gmtime(made)),
            core=core_version,
            collection=collection_version(),
            hosts=[each for each in every if each.name not in backups],
            backups=[each for each in every if each.name in backups],
            lacking=lacking,
        )
        homes = contents.homes(wish.roots)
        description = {
            "ansible_core": told.core,
            "collection": told.collection,
            "homes": homes,
            "hosts": {each.name: each.address for each in told.hosts},
            "backup_hosts": {each.name: each.address for each in told.backups},
        }
        bundle.write(path, passphrase, members, description, words.inside(members, told, homes), made)
        bundle.write_beside(path, words.beside(os.path.basename(path), told))

    def _host(self, name: str) -> words.Host:
        known = self.known_of(name)
        return words.Host(name, str(known.get("ansible_host") or name))

    def _wish(self, arguments: Dict[str, Any], path: str) -> contents.Wish:
        """What shall be in it."""
        site = paths_of(self, self._vars)
        named: List[Tuple[str, str]] = []
        if arguments["signing_key"]:
            named += _pair("signing", site.need(arguments["signing_key"], "image_signing_key", kind=os.path.isfile))
        for key in self._login_keys(arguments["ssh_keys"]):
            named += _pair("login", site.need(key, "kit_ssh_keys", kind=os.path.isfile))
        for each in arguments["include"]:
            named += [("included", found) for found in _files(site.need(each, "kit_include"))]
        return contents.Wish(
            roots=site.folders,
            named=list(dict.fromkeys(named)),
            collection=COLLECTION if arguments["collection"] else None,
            vaults=self._vaults(),
            left=[os.path.realpath(each) for each in (*arguments["leave"], path, path + bundle.BESIDE)],
            patterns=arguments["exclude"],
            limit=arguments["size"],
        )

    def _login_keys(self, given: List[str]) -> List[str]:
        """The private keys that plays log in with: those that were given, and those that the inventory names."""
        found = list(given)
        for name in self._vars.get("groups", {}).get("all", ()):
            key = self.known_of(name).get("ansible_ssh_private_key_file")
            if isinstance(key, str) and "{{" not in key and os.path.isfile(os.path.expanduser(key)):
                found.append(os.path.expanduser(key))
        return list(dict.fromkeys(found))

    def _vaults(self) -> Dict[str, bytes]:
        """The passwords of the vaults that this play was run with, wherever they came from."""
        known = getattr(getattr(self._loader, "_vault", None), "secrets", None) or []
        return {str(ident): bytes(secret.bytes) for ident, secret in known if getattr(secret, "bytes", None)}


def _passphrase(arguments: Dict[str, Any]) -> str:
    if not arguments["passphrase_file"]:
        return str(arguments["passphrase"])
    try:
        with open(arguments["passphrase_file"], encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise Refused(
            "kit_passphrase_file cannot be read: {0}".format(error),
            safe="no kit was written; one that was there is as it was",
            todo="name a file with the passphrase alone",
        )


def _pair(what: str, path: str) -> List[Tuple[str, str]]:
    """A private key, and its public half where that lies beside it."""
    return [(what, each) for each in (path, path + ".pub") if os.path.isfile(each)]


def _files(path: str) -> List[str]:
    """A file, or all files below a folder."""
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(folder, name) for folder, _folders, names in os.walk(path) for name in names)


def _listing(prints: Dict[str, str], changed: Collection[str]) -> str:
    """What a kit has, for a diff: no digests, because that of a short secret would give it away."""
    lines = []
    for name, text in sorted(prints.items()):
        kind, mode, _digest = text.split(" ")
        lines.append("{0} {1} {2}{3}\n".format(kind, mode, printable(name), ", other content" * (name in changed)))
    return "".join(lines)
