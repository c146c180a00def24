# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server to test with what fetches."""

from __future__ import annotations

import http.server
import threading
from typing import Any, Dict, List, Optional


class Server:
    """A web server with one behaviour at a time.

    ``files``: what it has. ``cut``: after how many bytes each answer ends. ``ranges``: whether it sends parts.
    """

    def __init__(self) -> None:
        self.files: Dict[str, bytes] = {}
        self.cut: Optional[int] = None
        self.ranges = True
        self.asked: List[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append("{0} {1}".format(self.path, self.headers.get("Range", "all")))
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = 0
                if outer.ranges and "Range" in self.headers:
                    start = int(self.headers["Range"][len("bytes=") : -1])
                    if start >= len(content):
                        self.send_error(416)
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", "bytes {0}-{1}/{2}".format(start, len(content) - 1, len(content)))
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:][: outer.cut])

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{0}".format(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
