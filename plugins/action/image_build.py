# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building an image on the controller; documented in the module of the same name."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Dict

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import scripts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Terms
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.metalog import REFUSE, UNLISTED
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.settings import Settings, hash_password
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.base import base_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.choose import NO_WISH, Wish, places
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.freebsd_keys import FREEBSD_FOLDER
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import FINGERPRINTS, TYPES
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.arguments import TERMS, media_of, terms_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import SitePaths, found_input, paths_of

display = Display()

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "seq": {"type": "int", "required": True},
    "min_seq": {"type": "int", "default": 0},
    "arch": {"type": "str", "default": ""},
    "abi": {"type": "str", "default": ""},
    "pool": {"type": "str", "required": True},
    "size": {"type": "int", "required": True},
    "tree": {"type": "raw"},
    "sources": {"type": "list", "elements": "raw", "default": []},
    "manifest": {"type": "raw", "default": ""},
    "base": {"type": "dict"},
    "metalog": {"type": "path"},
    "metalog_unlisted": {"type": "str", "choices": list(UNLISTED), "default": REFUSE},
    "packages": {"type": "list", "elements": "raw", "default": []},
    "pkg": {"type": "list", "elements": "str", "default": []},
    "pkg_repository": {"type": "raw", "default": "pkg+http://pkg.FreeBSD.org/${ABI}/quarterly"},
    "pkg_signature_type": {"type": "str", "choices": list(TYPES), "default": FINGERPRINTS},
    "pkg_signature_trust": {"type": "str", "default": FREEBSD_FOLDER},
    "pkg_lock": {"type": "str"},
    "pkg_update": {"type": "bool", "default": False},
    "pkg_scripts": {"type": "str", "choices": [scripts.REPORT, scripts.REFUSE], "default": scripts.REPORT},
    "pkg_scripts_known": {"type": "dict", "default": {}},
    "base_files": {"type": "path"},
    "overlays": {"type": "list", "elements": "path", "default": []},
    "recovery": {"type": "list", "elements": "path", "default": []},
    "signers": {"type": "list", "elements": "str", "required": True},
    "etc_size": {"type": "int", "default": 20971520},
    "epoch": {"type": "int"},
    "revoked": {"type": "list", "elements": "str", "default": []},
    "rc_conf": {"type": "dict", "default": {}},
    "loader_conf": {"type": "dict", "default": {}},
    "recovery_rc_conf": {"type": "dict", "default": {}},
    "recovery_ssh_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "recovery_root_password": {"type": "str", "no_log": True},
    "recovery_root_hash": {"type": "str", "no_log": True},
    "metrics": {"type": "str", "default": ""},
    "allow_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    **TERMS,
}

#: arguments that are files of the controller, or (the manifest) a URL
FILES = ("metalog", "manifest", "signing_key")

#: 2024-01-01: any fixed time does, as long as it lies before the unpacking of the sources
EPOCH = 1704067200


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS = ARGUMENTS
    LINES = ("signers", "revoked", "recovery_ssh_keys", "vuxml_ignore")

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Build; ``changed`` is false when exactly this image was published before."""
        site = paths_of(self, self._vars)
        wish = _wish(site, arguments)
        definition = self._definition(site, self._found(site, arguments), wish)
        built = build.run(definition, self.runner, self._say(arguments))
        for each in built.pop("warnings"):
            display.warning(each)
        return built

    @staticmethod
    def _found(site: SitePaths, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """The arguments, with the files and folders of the site where they are."""
        folders = {
            key: [site.need(str(each), "image_" + key, kind=os.path.isdir) for each in arguments[key]]
            for key in ("overlays", "recovery")
        }
        if arguments["base_files"]:
            for key, name in (("overlays", "root"), ("recovery", "recovery")):
                folders[key].insert(0, os.path.join(arguments["base_files"], name))
        inputs = {key: [found_input(site, each) for each in arguments[key]] for key in ("sources", "packages")}
        if arguments["tree"]:
            inputs["sources"].insert(0, arguments["tree"])
        files = {key: arguments[key] and found_input(site, arguments[key], os.path.isfile) for key in FILES}
        return dict(arguments, **folders, **inputs, **files)

    @staticmethod
    def _say(arguments: Dict[str, Any]) -> build.Say:
        title = "{0}-{1}".format(arguments["name"], arguments["version"])
        return lambda text: display.display("  {0}: {1}".format(title, text))

    @staticmethod
    def _definition(site: SitePaths, arguments: Dict[str, Any], wish: Wish) -> build.Definition:
        epoch = arguments["epoch"]
        if epoch is None:
            epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
        return build.Definition(
            identity=Identity(
                name=str(arguments["name"]),
                version=str(arguments["version"]),
                seq=arguments["seq"],
                min_seq=arguments["min_seq"],
                arch=str(arguments["arch"]),
                abi=str(arguments["abi"]),
                pool=str(arguments["pool"]),
            ),
            sources=arguments["sources"],
            supply=Terms(manifest=arguments["manifest"], cache=str(arguments["cache"])),
            metalog=arguments["metalog"],
            unlisted=arguments["metalog_unlisted"],
            packages=arguments["packages"],
            wish=wish,
            scripts=scripts.answers(arguments["pkg_scripts"], arguments["pkg_scripts_known"]),
            settings=_settings(arguments),
            secrets=arguments["allow_secrets"],
            overlays=[str(each) for each in arguments["overlays"]],
            recovery=[str(each) for each in arguments["recovery"]],
            signers=[str(each) for each in arguments["signers"]],
            revoked=[str(each) for each in arguments["revoked"]],
            terms=terms_of(arguments, lambda given: found_input(site, given, os.path.isfile)),
            size=arguments["size"],
            etc_size=arguments["etc_size"],
            epoch=epoch,
            not_after=arguments["not_after"],
            media=media_of(arguments),
        )


def _wish(site: SitePaths, arguments: Dict[str, Any]) -> Wish:
    """The packages of repositories, with the files of the site where they are.

    :raises FleetError: when a repository is none.
    """
    names = [name for each in arguments["pkg"] for name in each.split()]  # -e image_pkg="nginx python312"
    base = base_of(arguments["base"]) if arguments["base"] else None
    if not names and base is None:
        return NO_WISH
    found = places(arguments["pkg_repository"], arguments["pkg_signature_type"], arguments["pkg_signature_trust"])
    return Wish(
        names=names,
        places=[
            replace(each, url=_found_folder(site, each.url), trust=each.trust and site.place(each.trust))
            for each in (found if names else [])
        ],
        base=base and replace(base, url=_found_folder(site, base.url), trust=base.trust and site.place(base.trust)),
        lock=site.home(arguments["pkg_lock"] or "{0}.packages.lock.json".format(arguments["name"]), "image_pkg_lock"),
        update=arguments["pkg_update"],
    )


def _found_folder(site: SitePaths, url: str) -> str:
    """The address of a repository; of a folder of the site its full path, in which the ABI is not known yet."""
    folder, slash, rest = url.partition("/${")
    return str(found_input(site, folder)) + slash + rest


def _settings(arguments: Dict[str, Any]) -> Settings:
    """What is set in the image.

    :raises FleetError: when both a password and a hash are given, or the password cannot be hashed.
    """
    hashed, password = arguments["recovery_root_hash"], arguments["recovery_root_password"]
    if hashed and password:
        raise Refused("recovery_root_password and recovery_root_hash are both given: one of them is enough")
    return Settings(
        rc_conf=arguments["rc_conf"],
        loader_conf=arguments["loader_conf"],
        recovery_rc_conf=arguments["recovery_rc_conf"],
        recovery_ssh_keys=[str(each) for each in arguments["recovery_ssh_keys"]],
        recovery_root_hash=hash_password(password, str(arguments["name"])) if password else hashed or "",
        metrics=arguments["metrics"],
    )
