"""The application of the lab's images: keeps notes in /var, answers on port 8080, and changes the form of its data with
every version. A version with the file "broken" beside its version changes the data and then fails to start, which is
what an upgrade has to survive.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
from typing import Any, Dict

HOME = "/var/db/fleetapp"
DATA = HOME + "/data.json"
SHARE = "/usr/local/share/fleetapp"


def read(path: str, default: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return default


VERSION = read(SHARE + "/version", "0.0").strip()
SCHEMA = int(VERSION.split(".")[1]) + 1


def load() -> Dict[str, Any]:
    data = json.loads(read(DATA, '{"schema": 1, "notes": []}'))
    if data["schema"] > SCHEMA:
        sys.exit("the data has schema %d, this version knows %d" % (data["schema"], SCHEMA))
    if data["schema"] < SCHEMA:
        data["notes"].append("changed from schema %d to %d by %s" % (data["schema"], SCHEMA, VERSION))
        data["schema"] = SCHEMA
    os.makedirs(HOME, exist_ok=True)
    with open(DATA, "w", encoding="utf-8") as file:
        json.dump(data, file)
    return data


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(dict(json.loads(read(DATA, "{}")), version=VERSION)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        pass


load()
if os.path.exists(SHARE + "/broken"):
    sys.exit("this version does not work")
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
