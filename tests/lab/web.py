# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server for published images that can do byte ranges, and can be told to misbehave.

``web.py FOLDER ADDRESS PORT``. A file ``.faults.json`` in the folder, if there is one, maps file names to faults:
``{"<id>.pack": {"status": 500}}``, ``{"ignore_range": true}``, ``{"cut_after": 1000}`` (bytes of a body; it ends there,
or with ``"stall": 5`` after a silence of so many seconds), ``{"lie": 10}`` (a length that is so much too large),
``{"no_length": true}``, ``{"drip": 10}`` (so many more headers, five in a second), and ``{"times": 3}`` (how often,
then the file is served as it should be). What was asked for is in ``served``.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Optional, Tuple

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Faults:
    """The faults that are asked for at this moment."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, ".faults.json")
        self._lock = threading.Lock()
        self._spent: Dict[str, int] = {}
        self.served: List[Tuple[str, int, int]] = []

    def of(self, name: str) -> Dict[str, Any]:
        """The fault of a file, as long as it lasts."""
        try:
            with open(self._path, encoding="utf-8") as file:
                fault: Dict[str, Any] = json.load(file).get(name, {})
        except (OSError, ValueError):
            return {}
        with self._lock:
            used = self._spent.get(name, 0)
            if not fault or used >= fault.get("times", sys.maxsize):
                return {}
            self._spent[name] = used + 1
        return fault


class Handler(BaseHTTPRequestHandler):
    """Static files, whole or in single ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: str, faults: Faults, *rest: Any) -> None:
        self.folder = folder
        self.faults = faults
        super().__init__(*rest)

    def do_HEAD(self) -> None:
        """Only the headers."""
        self._answer(False)

    def do_GET(self) -> None:
        """A file."""
        self._answer(True)

    def _answer(self, with_body: bool) -> None:
        name = self.path.lstrip("/")
        path = os.path.join(self.folder, name)
        fault = self.faults.of(name)
        if "status" in fault:
            self._refuse(fault["status"])
            return
        if ".." in name or not os.path.isfile(path):
            self._refuse(404)
            return
        size = os.path.getsize(path)
        wanted = None if fault.get("ignore_range") else self._range(size)
        if wanted is not None and wanted[0] >= size:
            self._refuse(416)
            return
        first, last = wanted or (0, size - 1)
        self.log_message('"%s" %s %s', self.requestline, 206 if wanted else 200, last - first + 1 if with_body else 0)
        self.send_response_only(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", "bytes {0}-{1}/{2}".format(first, last, size))
        self.send_header("Accept-Ranges", "bytes")
        if fault.get("no_length"):
            self.close_connection = True  # the end of the connection is the end of the file
        else:
            self.send_header("Content-Length", str(last - first + 1 + fault.get("lie", 0)))
        if "drip" in fault:
            self._drip(fault["drip"])
        self.end_headers()
        if "lie" in fault:
            self.close_connection = True
        if with_body:
            self.faults.served.append((name, first, last - first + 1))
            self._send(path, first, last - first + 1, fault.get("cut_after"))
            time.sleep(fault.get("stall", 0))

    def _drip(self, count: int) -> None:
        """Headers, one at a time and slowly."""
        self.flush_headers()
        for number in range(count):
            try:
                self.wfile.write("X-Drip-{0}: x\r\n".format(number).encode())
            except OSError:
                return
            time.sleep(0.2)

    def _range(self, size: int) -> Optional[Tuple[int, int]]:
        match = _RANGE.match(self.headers.get("Range", ""))
        if match is None:
            return None
        last = int(match.group(2)) if match.group(2) else size - 1
        return int(match.group(1)), min(last, size - 1)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, path: str, first: int, length: int, cut_after: Optional[int]) -> None:
        if cut_after is not None and cut_after < length:
            length = cut_after
            self.close_connection = True
        with open(path, "rb") as file:
            file.seek(first)
            while length > 0:
                piece = file.read(min(1 << 18, length))
                if not piece:
                    break
                try:
                    self.wfile.write(piece)
                except ConnectionError:  # the client has seen enough
                    self.close_connection = True
                    return
                length -= len(piece)


def server(folder: str, address: str, port: int) -> ThreadingHTTPServer:
    """A server for a folder, not yet started."""
    return ThreadingHTTPServer((address, port), partial(Handler, folder, Faults(folder)))


def main(argv: List[str]) -> None:
    """Serve until killed."""
    folder, address, port = argv
    server(folder, address, int(port)).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
