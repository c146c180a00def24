# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws results.json: ``plot.py RESULTS FOLDER``. Runs in an environment of its own, with nothing but matplotlib."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Dict, List, Sequence, Tuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

OURS, OTHERS, FAILED = "#c1440e", "#7c8fa6", "#bbbbbb"

#: heading and value of each column of panels
PANELS: Sequence[Tuple[str, Callable[[Dict[str, Any]], float]]] = (
    ("fetched, MB", lambda each: each["received"] / 1e6),
    ("requests", lambda each: each["requests"]),
    ("client CPU, s", lambda each: each["client"]["cpu"]),
    ("client memory, MiB", lambda each: each["client"]["rss"]),
    ("publisher CPU, s", lambda each: each["publisher"]["cpu"]),
)


def shown(value: float) -> str:
    """A figure at the end of its bar."""
    return "{0:,.0f}".format(value) if value >= 100 else "{0:.1f}".format(value) if value % 1 else str(int(value))


def panel(axes: Any, results: List[Dict[str, Any]], value: Callable[[Dict[str, Any]], float]) -> None:
    """One figure of all contenders as bars."""
    figures = [0.0 if each["failed"] else value(each) for each in results]
    colours = [OURS if each["name"].startswith("ours") else OTHERS for each in results]
    axes.barh(range(len(results)), figures, color=colours, height=0.7)
    # room for the figures at the ends of the bars
    most = max(figures, default=0.0) or 1.0
    axes.set_xlim(0, most * 1.3)
    axes.set_yticks(range(len(results)), [each["title"] for each in results])
    axes.invert_yaxis()
    for place, (figure, each) in enumerate(zip(figures, results)):
        text, colour = ("failed", FAILED) if each["failed"] else (shown(figure), "black")
        axes.text(figure + most * 0.02, place, text, va="center", fontsize=8, color=colour)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def draw(run: Dict[str, Any]) -> Any:
    """The figure: a row of panels for each pair."""
    pairs = list(dict.fromkeys(each["pair"] for each in run["results"]))
    tallest = max(sum(each["pair"] == pair for each in run["results"]) for pair in pairs)
    size = (3.0 * len(PANELS) + 1.5, len(pairs) * (0.3 * tallest + 1.2) + 0.5)
    figure, grid = pyplot.subplots(len(pairs), len(PANELS), figsize=size, squeeze=False, sharey="row")
    for row, pair in zip(grid, pairs):
        results = [each for each in run["results"] if each["pair"] == pair]
        for axes, (title, value) in zip(row, PANELS):
            panel(axes, results, value)
            axes.set_title("{0}: {1}".format(pair, title), fontsize=9, loc="left")
    figure.suptitle("Update of a 1 GiB image (less is better)", fontsize=11)
    figure.tight_layout()
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
