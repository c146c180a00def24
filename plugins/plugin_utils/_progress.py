# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a write or a build is, as a line for the operator."""

from __future__ import annotations

from typing import Any, Dict, Mapping


def duration(seconds: int) -> str:
    """Seconds as minutes, or hours, for people."""
    hours, rest = divmod(seconds, 3600)
    return (
        "{0}:{1:02d}:{2:02d}".format(hours, rest // 60, rest % 60) if hours else "{0}:{1:02d}".format(*divmod(rest, 60))
    )


def _number(value: Any) -> int:
    """A number that a host said; 0 for what is none."""
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def line(progress: Mapping[str, Any]) -> str:
    """The line.

    :param progress: from the module image_write: bytes, bytes per second, seconds.
    """
    phase = str(progress.get("phase", ""))
    total = _number(progress.get("total"))
    text = "{0} {1}: {2} % of {3} MiB".format(
        phase, progress.get("describe", "the image"), _number(progress.get("percent")), total >> 20
    )
    if progress.get("rate"):
        text += ", {0:.1f} MB/s".format(_number(progress["rate"]) / 1e6)
    if phase == "writing" and progress.get("to_fetch"):
        text += ", fetched {0:.1f} of {1:.1f} MB".format(
            _number(progress.get("fetched")) / 1e6, _number(progress["to_fetch"]) / 1e6
        )
    if progress.get("eta") is not None:
        text += ", {0} to go".format(duration(_number(progress["eta"])))
    return text


def figures(progress: Mapping[str, Any]) -> Dict[str, Any]:
    """The same as numbers, for a screen that shows them in columns."""
    found: Dict[str, Any] = {"percent": _number(progress.get("percent"))}
    if progress.get("rate"):
        found["rate"] = _number(progress["rate"])
    if progress.get("eta") is not None:
        found["eta"] = _number(progress["eta"])
    if progress.get("to_fetch"):
        fetched, to_fetch = _number(progress.get("fetched")) / 1e6, _number(progress["to_fetch"]) / 1e6
        found["note"] = "fetched {0:.1f} of {1:.1f} MB".format(fetched, to_fetch)
    return found


def build_line(progress: Mapping[str, Any]) -> str:
    """The line about a build.

    :param progress: from the module nanobsd_build: times in seconds.
    """
    text = "{0}, {1} since the start".format(progress.get("phase", ""), duration(_number(progress.get("elapsed"))))
    return "{0}: {1}".format(text, progress["step"]) if progress.get("step") else text
