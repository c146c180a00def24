# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments that all actions which publish images have; documented in the fragment ``publish``."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import BOOT0, GPT, SCHEMES, Form
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Terms

TERMS: Dict[str, Dict[str, Any]] = {
    "output": {"type": "path", "required": True},
    "signing_key": {"type": "path", "required": True},
    "medium": {"type": "bool", "default": True},
    "schemes": {"type": "list", "elements": "str", "choices": list(SCHEMES), "default": [GPT]},
    "efi": {"type": "bool"},
    "boot0": {"type": "str", "choices": list(BOOT0), "default": "boot0"},
    "swap_size": {"type": "int", "default": 0},
    "not_after": {"type": "int"},
    "codecs": {"type": "list", "elements": "str", "default": ["xz"]},
    "deltas": {"type": "int", "default": 3},
    "deltas_from": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "int", "default": 0},
    "rings": {"type": "dict", "default": {}},
    "bad": {"type": "dict", "default": {}},
    "channel_not_after": {"type": "int"},
    "replace": {"type": "bool", "default": False},
    "sbom": {"type": "bool"},
    "sbom_vex": {"type": "bool", "default": False},
    **look.ARGUMENTS,
}


def _texts(values: Mapping[Any, Any]) -> List[Tuple[str, str]]:
    """A mapping of the operator, in order; nothing is the empty text."""
    found = {str(key): "" if value is None else str(value) for key, value in values.items()}
    return sorted(found.items())


def terms_of(arguments: Mapping[str, Any], find: Callable[[Any], Any]) -> Terms:
    """What the arguments of :data:`TERMS` say.

    :param find: where a file of the site is.
    :raises Refused: for what they must not say.
    """
    return Terms(
        output=str(arguments["output"]),
        signing_key=str(arguments["signing_key"]),
        codecs=[str(each) for each in arguments["codecs"]],
        deltas=arguments["deltas"],
        deltas_from=[str(each) for each in arguments["deltas_from"]],
        keep=arguments["keep"],
        rings=_texts(arguments["rings"]),
        bad=_texts(arguments["bad"]),
        channel_not_after=arguments["channel_not_after"],
        replace=arguments["replace"],
        sbom=arguments["sbom"],
        sbom_vex=arguments["sbom_vex"],
        holes=look.order_of(arguments, find).here,
    )


def media_of(arguments: Mapping[str, Any]) -> List[Form]:
    """The media that the arguments of :data:`TERMS` ask for."""
    if not arguments["medium"]:
        return []
    return [
        Form(scheme, arguments["swap_size"], arguments["efi"], arguments["boot0"]) for scheme in arguments["schemes"]
    ]
