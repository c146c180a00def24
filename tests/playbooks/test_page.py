# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of the report in a real browser: Chromium, headless. Skipped, and said, where there is none.

The page itself runs nothing that is not its own, so it is put into a frame, and what frames it looks at it from
outside. The browser prints what that found. ``NANOZFS_SCREENSHOTS`` names a folder to leave pictures in, which
somebody should look at.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import page
from ansible_collections.nanozfs.fleet.tests.fleetpage import sample

CHROMIUM = next((each for each in ("chromium", "chromium-browser", "google-chrome") if shutil.which(each)), "")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (Debian: apt-get install chromium)")

#: how the pages are looked at: width and height, and whether by night
VIEWS = {
    "telephone": (390, 844, False),
    "telephone-dark": (390, 844, True),
    "desktop": (1280, 900, False),
    "desktop-dark": (1280, 900, True),
}

#: looks at the page in a frame of its width, and writes down what it found
LOOK = """<!DOCTYPE html><meta charset="utf-8"><iframe src="%(page)s" width="%(width)d" height="800"></iframe>
<pre id="found"></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const doc = frame.contentDocument, view = frame.contentWindow, found = {};
  const rows = () => [...doc.querySelectorAll(".hosts tbody")].filter((row) => !row.hidden).length;
  const wide = () => doc.documentElement.scrollWidth;
  const beyond = (each) => each.scrollWidth - each.clientWidth;
  const sheets = () => Math.max(...[...doc.querySelectorAll(".sheet")].map(beyond));
  try {
    found.rows = rows(); found.wide = wide(); found.sheets = sheets();
    found.background = view.getComputedStyle(doc.body).backgroundColor;
    found.tools = !doc.querySelector(".tools").hidden;
    const more = doc.querySelector(".more"); more.click();
    found.open = more.getAttribute("aria-expanded");
    found.details = doc.querySelector(".open .facts").getBoundingClientRect().height > 20;
    found.wideOpen = wide();
    doc.querySelector("button[data-c=c-degraded]").click(); found.degraded = rows();
    doc.querySelector("button[data-c=c-degraded]").click();
    const search = doc.getElementById("search");
    const type = (text) => { search.value = text; search.dispatchEvent(new view.Event("input")); };
    type("no such host anywhere"); found.none = rows(); found.said = doc.getElementById("shown").textContent;
    type("web-1 normal"); found.searched = rows(); type("");
    const head = [...doc.querySelectorAll("thead button")].find((each) => each.textContent === "Host");
    const first = () => [...doc.querySelectorAll(".hosts tbody th > bdi")].slice(0, 3).map((each) => each.textContent);
    head.click(); found.sorted = first(); head.click(); found.reversed = first();
    found.sort = head.parentNode.getAttribute("aria-sort");
    found.scripted = doc.title + (view.owned || "");
    found.loaded = view.performance.getEntriesByType("resource").length;
  } catch (problem) { found.problem = String(problem.stack); }
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""


def browser(folder: str, *arguments: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the browser once; it may look out of its file into others, as only the one that frames the page does."""
    words = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ]
    words += [
        "--user-data-dir=" + os.path.join(folder, "profile"),
        "--virtual-time-budget=10000",
        "--disable-web-security",
    ]
    words += ["--allow-file-access-from-files", "--disable-site-isolation-trials"]
    words += ["--blink-settings=preferredColorScheme=0", "--force-dark-mode"] if dark else []
    return subprocess.run([*words, *arguments], capture_output=True, text=True, timeout=120, check=True)


def looked(folder: str, path: str, width: int, dark: bool = False) -> Dict[str, Any]:
    """What the framing page finds."""
    frame = os.path.join(folder, "frame.html")
    with open(frame, "w", encoding="utf-8") as file:
        file.write(LOOK % {"page": "file://" + path, "width": width})
    done = browser(folder, "--window-size=1500,900", "--dump-dom", "file://" + frame, dark=dark)
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    values: Dict[str, Any] = json.loads(html.unescape(found.group(1)))
    assert "problem" not in values, values["problem"]
    return values


@pytest.fixture(name="path", scope="module")
def fixture_path(tmp_path_factory: Any) -> str:
    path = str(tmp_path_factory.mktemp("page") / "fleet.html")
    fleet, past, support = sample(30)
    with open(path, "w", encoding="utf-8") as file:
        file.write(page.render(fleet, past, support, "Web fleet"))
    return path


@pytest.mark.parametrize("width", [320, 390, 768, 1000, 1280])
def test_it_fits_and_works(path: str, width: int, tmp_path: Any) -> None:
    found = looked(str(tmp_path), path, width)
    assert (found["rows"], found["tools"], found["open"], found["details"]) == (30, True, "true", True)
    # nothing is scrolled sideways, neither the page nor what is in it, also with a host unfolded
    assert found["wide"] <= width and found["wideOpen"] <= width and found["sheets"] <= 0
    assert (found["degraded"], found["none"], found["said"]) == (3, 0, "0 of 30 shown")
    assert (
        found["sorted"] == ["db-1", "db-2", "db-3"]
        and found["reversed"][0] == "web-10"
        and found["sort"] == "descending"
    )
    assert found["searched"] >= 1 and found["loaded"] == 0


def test_by_night(path: str, tmp_path: Any) -> None:
    day, night = (looked(str(tmp_path), path, 390, dark)["background"] for dark in (False, True))
    assert sum(map(int, re.findall(r"\d+", day)[:3])) > 700 and sum(map(int, re.findall(r"\d+", night)[:3])) < 150


def test_a_thousand_hosts_and_hostile_ones(tmp_path: Any) -> None:
    fleet, past, support = sample(1000, hostile=True)
    path = str(tmp_path / "fleet.html")
    text = page.render(fleet, past, support, "</title><script>owned = 1</script>")
    assert len(text.encode("utf-8")) < 5_000_000
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    found = looked(str(tmp_path), path, 390)
    assert found["rows"] == 1000 and found["wide"] <= 390 and found["wideOpen"] <= 390 and found["sheets"] <= 0
    assert found["scripted"] == "</title><script>owned = 1</script>: 1000 hosts"


@pytest.mark.skipif(not os.environ.get("NANOZFS_SCREENSHOTS"), reason="NANOZFS_SCREENSHOTS names no folder")
def test_pictures(path: str, tmp_path: Any) -> None:
    folder = os.environ["NANOZFS_SCREENSHOTS"]
    made: List[str] = []
    for name, (width, height, dark) in VIEWS.items():
        # a window of a browser is never narrower than 500, a frame is
        frame = str(tmp_path / "shot.html")
        with open(frame, "w", encoding="utf-8") as file:
            file.write(
                '<body style="margin:0"><iframe src="file://{0}" width="{1}" height="{2}" style="border:0">'.format(
                    path, width, height
                )
            )
        target = os.path.join(folder, "report-{0}.png".format(name))
        browser(
            str(tmp_path),
            "--window-size={0},{1}".format(width, height),
            "--screenshot=" + target,
            "file://" + frame,
            dark=dark,
        )
        made.append(target)
    assert all(os.path.getsize(each) > 5000 for each in made)
