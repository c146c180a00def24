# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web server that clients fetch from: nginx with plain settings, on the loopback.

It is unpacked but never installed: Debian's package would start a service of its own.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import time
from types import TracebackType
from typing import List, Optional, Tuple, Type

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: what is in the access log for each request: status, bytes down with headers, bytes up, what was asked for
LOG_FORMAT = "$status $bytes_sent $request_length $request_uri"

SETTINGS = """\
daemon off;
user nobody nogroup;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format bench "{log}";
    access_log {folder}/access.log bench;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


class ServerError(FleetError):
    """The web server cannot be run."""


def unpack(cache: str) -> str:
    """The path of an nginx below the cache."""
    folder = os.path.join(cache, "nginx")
    program = os.path.join(folder, "usr/sbin/nginx")
    if not os.path.exists(program):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "nginx"], cwd=folder, check=True)
        for deb in glob.glob(os.path.join(folder, "*.deb")):
            subprocess.run(["dpkg", "-x", deb, folder], check=True)
    return program


def free_port() -> int:
    """A port of the loopback that nobody uses at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """nginx, serving a folder while the context lasts."""

    def __init__(self, program: str, root: str, folder: str) -> None:
        self.program, self.folder = program, folder
        self.port = free_port()
        self.url = "http://127.0.0.1:{0}/".format(self.port)
        self.log = os.path.join(folder, "access.log")
        self.seen = 0
        self.process: Optional[subprocess.Popen[bytes]] = None
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(os.path.join(folder, "nginx.conf"), "w", encoding="utf-8") as file:
            file.write(SETTINGS.format(folder=folder, log=LOG_FORMAT, port=self.port, root=root))

    def __enter__(self) -> Server:
        settings, errors = (os.path.join(self.folder, name) for name in ("nginx.conf", "error.log"))
        # however this process ends, the server does not stay behind
        argv = ["setpriv", "--pdeathsig", "TERM", self.program, "-p", self.folder, "-e", errors, "-c", settings]
        self.process = subprocess.Popen(argv)
        for _try in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise ServerError("nginx does not answer; see {0}".format(errors))

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def _rows(self) -> List[List[str]]:
        # a request is logged when its last byte has gone, a moment after the client has it
        size = -1
        while size != os.path.getsize(self.log):
            size = os.path.getsize(self.log)
            time.sleep(0.2)
        with open(self.log, encoding="utf-8") as file:
            return [line.split(" ", 3) for line in file]

    def reset(self) -> None:
        """Count from here."""
        self.seen = len(self._rows())

    def totals(self) -> Tuple[int, int]:
        """Requests, and bytes that were sent (headers included), since the last reset.

        Those for files that are not there count as well: some clients ask for what need not be there.
        """
        rows = self._rows()[self.seen :]
        return len(rows), sum(int(row[1]) for row in rows)
