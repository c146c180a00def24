# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws results.json: ``plot.py RESULTS FOLDER``. Runs in an environment of its own, with nothing but matplotlib."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Dict, Sequence, Tuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

#: colour and line of each play
LOOK: Dict[str, Tuple[str, str]] = {
    "upgrade": ("#c1440e", "-"),
    "bare, upgrade": ("#c1440e", ":"),
    "no change": ("#2f6f8f", "-"),
    "bare, no change": ("#2f6f8f", ":"),
    "--check": ("#6b8f2f", "-"),
}

#: the limits of the project: seconds of CPU time a host
LIMITS = {"upgrade": 2.0, "no change": 0.4}

#: heading and value of each panel
PANELS: Sequence[Tuple[str, Callable[[Dict[str, Any]], float]]] = (
    ("controller CPU a host, s", lambda each: each["cpu"] / each["hosts"]),
    ("controller CPU, s", lambda each: each["cpu"]),
    ("controller memory, MiB", lambda each: each["memory"]),
    ("lines on the screen a host", lambda each: each["lines"] / each["hosts"]),
)


def panel(axes: Any, run: Dict[str, Any], value: Callable[[Dict[str, Any]], float]) -> None:
    """One figure of all plays, over the number of hosts."""
    for kind, (colour, line) in LOOK.items():
        found = sorted((each for each in run["figures"] if each["kind"] == kind), key=lambda each: int(each["hosts"]))
        axes.plot(
            [each["hosts"] for each in found],
            [value(each) for each in found],
            color=colour,
            linestyle=line,
            marker="o",
            markersize=3,
            label=kind,
        )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("hosts", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def draw(run: Dict[str, Any]) -> Any:
    """The figure."""
    figure, grid = pyplot.subplots(1, len(PANELS), figsize=(3.3 * len(PANELS), 3.2))
    for axes, (title, value) in zip(grid, PANELS):
        panel(axes, run, value)
        axes.set_title(title, fontsize=9, loc="left")
    for kind, limit in LIMITS.items():
        grid[0].axhline(limit, color=LOOK[kind][0], linewidth=0.6, linestyle="--")
        grid[0].text(0, limit, " limit, {0}".format(kind), fontsize=7, va="bottom", color=LOOK[kind][0])
    grid[0].set_ylim(0, max(LIMITS.values()) * 1.15)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    return figure


def main(argv: Sequence[str]) -> int:
    """Write the figure as SVG and PNG."""
    with open(argv[0], encoding="utf-8") as file:
        run = json.load(file)
    figure = draw(run)
    for kind in ("svg", "png"):
        figure.savefig(os.path.join(argv[1], "results." + kind), dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
