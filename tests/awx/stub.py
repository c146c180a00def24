# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the API of AWX that keeps what it is told, and refuses what AWX 24.6.1 refuses.

What it answers is what the modules of awx.awx look at. Rules for surveys are those of ``awx/api/views/__init__.py``
(JobTemplateSurveySpec), those for rrules of ``awx/api/serializers.py`` (SchedulePreviewSerializer). Secrets that were
given are never said again: their place is taken by ``$encrypted$``.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

Object = Dict[str, Any]

#: what the singular of a collection is called (``type``)
TYPES = {
    "credential_types": "credential_type",
    "credentials": "credential",
    "execution_environments": "execution_environment",
    "inventories": "inventory",
    "inventory_sources": "inventory_source",
    "job_templates": "job_template",
    "notification_templates": "notification_template",
    "organizations": "organization",
    "projects": "project",
    "schedules": "schedule",
    "workflow_approval_templates": "workflow_approval_template",
    "workflow_job_template_nodes": "workflow_job_template_node",
    "workflow_job_templates": "workflow_job_template",
}

#: what unified_job_templates lists
UNIFIED = ("inventory_sources", "job_templates", "projects", "workflow_approval_templates", "workflow_job_templates")

#: fields that hold the id of another object, and in which collection that is
REFERENCES = {
    "credential_type": ("credential_types",),
    "default_environment": ("execution_environments",),
    "execution_environment": ("execution_environments",),
    "inventory": ("inventories",),
    "organization": ("organizations",),
    "project": ("projects",),
    "source_project": ("projects",),
    "unified_job_template": UNIFIED,
    "workflow_job_template": ("workflow_job_templates",),
}

#: lists of other objects that belong to one, and in which collection those are
ASSOCIATIONS = {
    "credentials": "credentials",
    "failure_nodes": "workflow_job_template_nodes",
    "notification_templates_approvals": "notification_templates",
    "notification_templates_error": "notification_templates",
    "success_nodes": "workflow_job_template_nodes",
}

#: what every AWX has, with the ids of its secret inputs
MANAGED = {"Machine": ("ssh_key_data", "become_password"), "Vault": ("vault_password",)}

ENCRYPTED = "$encrypted$"

#: of the questions of a survey
_QUESTION_TYPES = {"text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float"}


class BadRequest(Exception):
    """AWX would refuse that."""


def check_survey(survey: Object) -> None:
    """:raises BadRequest: for a survey that AWX refuses."""
    if not isinstance(survey.get("name"), str) or not isinstance(survey.get("description"), str):
        raise BadRequest("'name' or 'description' missing from survey spec.")
    if not survey.get("spec"):
        raise BadRequest("'spec' doesn't contain any items.")
    seen: Set[str] = set()
    for question in survey["spec"]:
        missing = {"type", "question_name", "variable", "required"} - set(question)
        if missing:
            raise BadRequest("missing from survey question: {0}".format(sorted(missing)))
        if question["type"] not in _QUESTION_TYPES or question["variable"] in seen:
            raise BadRequest("type or variable of {0}".format(question["variable"]))
        seen.add(question["variable"])
        default = question.get("default", "")
        if default != "" and question["type"] in ("text", "textarea") and not isinstance(default, str):
            raise BadRequest("Default value for '{0}' expected to be a string.".format(question["variable"]))
        if question["type"] == "multiplechoice":
            choices = question.get("choices")
            if not choices or not all(isinstance(each, str) for each in choices):
                raise BadRequest("choices of {0}".format(question["variable"]))
            if default != "" and default not in choices:
                raise BadRequest("Default choice for {0} must be among the choices.".format(question["variable"]))


def check_rrule(rrule: str) -> None:
    """:raises BadRequest: for a rule that AWX refuses."""
    starts = re.findall(r"DTSTART(?:;TZID=\S+?:\d{8}T\d{6}|:\d{8}T\d{6}Z)", rrule)
    rules = re.findall(r"RRULE:\S+", rrule)
    if len(starts) != 1 or rrule.count("DTSTART") != 1:
        raise BadRequest("one valid DTSTART with a time zone is required in rrule: {0}".format(rrule))
    if not rules or any("INTERVAL=" not in rule or "SECONDLY" in rule for rule in rules):
        raise BadRequest("INTERVAL required in rrule, SECONDLY is not supported: {0}".format(rrule))
    if " ".join([*starts, *rules]) != rrule:
        raise BadRequest("something else in rrule: {0!r}".format(rrule))


class Awx:
    """What is there.

    :param token: what a request must bring.
    :param playbooks: those of the project.
    """

    def __init__(self, token: str, playbooks: Sequence[str]) -> None:
        self.token = token
        self.playbooks = set(playbooks)
        self.objects: Dict[str, Dict[int, Object]] = {name: {} for name in TYPES}
        #: surveys, by the address of their template
        self.surveys: Dict[str, Object] = {}
        #: by object and kind the ids of what belongs to it
        self.associated: Dict[Tuple[str, int, str], List[int]] = {}
        #: method and path of what was to be changed
        self.changes: List[str] = []
        self.lock = threading.Lock()
        self._next = 1
        for name, secrets in MANAGED.items():
            fields = [{"id": each, "secret": True} for each in secrets]
            self._add("credential_types", {"name": name, "managed": True, "inputs": {"fields": fields}})

    # objects

    def _add(self, collection: str, fields: Object) -> Object:
        self._check(collection, fields, None)
        number, self._next = self._next, self._next + 1
        url = "/api/v2/{0}/{1}/".format(collection, number)
        related = {"survey_spec": url + "survey_spec/"} if collection.endswith("job_templates") else {}
        base = {"id": number, "url": url, "type": TYPES[collection], "related": related, "summary_fields": {}}
        if collection == "projects":
            base["scm_revision"] = "0123abcd"
        self.objects[collection][number] = {**fields, **base}
        return self.objects[collection][number]

    def _find(self, collections: Sequence[str], number: Any) -> Optional[Object]:
        return next((self.objects[name][number] for name in collections if number in self.objects[name]), None)

    def _check(self, collection: str, fields: Object, number: Optional[int]) -> None:
        for name, collections in REFERENCES.items():
            if fields.get(name) and self._find(collections, fields[name]) is None:
                raise BadRequest("{0}: Invalid pk {1!r}".format(name, fields[name]))
        key = "identifier" if collection == "workflow_job_template_nodes" else "name"
        for other in self.objects[collection].values():
            same = all(other.get(each) == fields.get(each) for each in (key, "organization", "workflow_job_template"))
            if same and other["id"] != number and fields.get(key):
                raise BadRequest("{0} with this name already exists: {1}".format(collection, fields[key]))
        if collection == "job_templates" and fields.get("playbook") not in self.playbooks:
            raise BadRequest("Playbook not found for project: {0}".format(fields.get("playbook")))
        if collection == "schedules":
            check_rrule(str(fields.get("rrule")))
            self._accepts(fields["unified_job_template"], fields.get("extra_data") or {})
        if collection == "workflow_job_template_nodes" and fields.get("extra_data"):
            self._accepts(fields["unified_job_template"], fields["extra_data"])

    def _accepts(self, template: int, variables: Object) -> None:
        """Without ``ask_variables_on_launch`` only what its survey asks for is taken."""
        found = self._find(UNIFIED, template) or {}
        asked = {each["variable"]: each for each in self.surveys.get(found.get("url", ""), {}).get("spec", [])}
        for name, value in variables.items():
            if name not in asked or not isinstance(value, str):
                raise BadRequest("Variables {0} are not allowed on launch.".format(name))
        missing = [each for each in asked.values() if each["required"] and not each.get("default")]
        if any(each["variable"] not in variables for each in missing):
            raise BadRequest("variables needed to start: {0}".format([each["variable"] for each in missing]))

    def shown(self, each: Object) -> Object:
        """An object as AWX says it."""
        found = copy.deepcopy(each)
        if each["type"] == "credential":
            kind = self.objects["credential_types"][each["credential_type"]]
            for field in kind["inputs"]["fields"]:
                if field.get("secret") and found["inputs"].get(field["id"]):
                    found["inputs"][field["id"]] = ENCRYPTED
        if each["type"] == "notification_template" and each["notification_configuration"].get("password"):
            found["notification_configuration"]["password"] = ENCRYPTED
        if each["type"] == "workflow_job_template_node" and each.get("unified_job_template"):
            target = self._find(UNIFIED, each["unified_job_template"]) or {}
            found["related"]["unified_job_template"] = target.get("url")
        return found

    def listed(self, collection: str, query: Dict[str, str]) -> List[Object]:
        """Objects of a collection, as a query has them."""
        names = UNIFIED if collection == "unified_job_templates" else (collection,)
        found = [each for name in names for each in self.objects[name].values()]
        for key, value in query.items():
            found = [each for each in found if str(each.get(key)) == value]
        return [self.shown(each) for each in found]

    # requests

    def answer(self, method: str, path: str, query: Dict[str, str], data: Object) -> Tuple[int, Optional[Object]]:
        """Status and body.

        :raises BadRequest: for what AWX refuses.
        :raises KeyError: for what is not there.
        """
        words = path.strip("/").split("/")[2:]
        if method != "GET":
            self.changes.append("{0} {1}".format(method, path))
        if len(words) == 1 and method == "GET":
            found = self.listed(words[0], query)
            return 200, {"count": len(found), "next": None, "previous": None, "results": found}
        if len(words) == 1 and method == "POST":
            return 201, self.shown(self._add(words[0], data))
        each = self.objects[words[0]][int(words[1])]
        if len(words) == 2 and method == "PATCH":
            self._check(words[0], {**each, **data}, each["id"])
            inputs = {**each.get("inputs", {}), **data.get("inputs", {})}
            each.update(data, **({"inputs": inputs} if "inputs" in data else {}))
        if len(words) == 2:
            return 200, self.shown(each)
        if words[2] == "survey_spec":
            return self._survey(method, each, data)
        if words[2] == "create_approval_template" and method == "POST":
            made = self._add("workflow_approval_templates", data)
            each["unified_job_template"] = made["id"]
            return 201, made
        return self._association(method, words[0], each["id"], words[2], data)

    def _survey(self, method: str, each: Object, data: Object) -> Tuple[int, Optional[Object]]:
        if method == "POST":
            check_survey(data)
            self.surveys[each["url"]] = data
        return 200, self.surveys.get(each["url"], {})

    def _association(
        self, method: str, collection: str, number: int, kind: str, data: Object
    ) -> Tuple[int, Optional[Object]]:
        there = self.associated.setdefault((collection, number, kind), [])
        others = self.objects[ASSOCIATIONS[kind]]
        if method == "GET":
            found = [self.shown(others[each]) for each in there]
            return 200, {"count": len(found), "next": None, "results": found}
        if data.get("disassociate"):
            there.remove(data["id"])
        else:
            there.append(others[data["id"]]["id"])
        return 204, None

    # for tests

    def summary(self) -> Object:
        """Everything that was made, by collection and name, with names in place of ids, and without secrets."""
        found: Object = {}
        for collection, objects in self.objects.items():
            for each in objects.values():
                if each.get("managed"):
                    continue
                told = {key: value for key, value in self.shown(each).items() if value not in ("", None, [], {})}
                for key in ("id", "url", "type", "related", "summary_fields", "managed", "scm_revision"):
                    told.pop(key, None)
                for key, collections in REFERENCES.items():
                    if key in told:
                        told[key] = _name(self._find(collections, told[key]) or {})
                for kind, others in ASSOCIATIONS.items():
                    ids = self.associated.get((collection, each["id"], kind))
                    if ids:
                        told[kind] = sorted(_name(self.objects[others][number]) for number in ids)
                if each["url"] in self.surveys:
                    told["survey"] = [
                        {key: value for key, value in question.items() if value not in ("", [])}
                        for question in self.surveys[each["url"]]["spec"]
                    ]
                name = told.pop("identifier", None) or told.pop("name")
                found.setdefault(collection, {})[name] = told
        return found


def _name(each: Object) -> str:
    return str(each.get("identifier") or each.get("name"))


class _Handler(BaseHTTPRequestHandler):
    """HTTP."""

    protocol_version = "HTTP/1.1"
    awx: Awx

    def _do(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status: int
        body: Any
        with self.awx.lock:
            if self.headers.get("Authorization") != "Bearer " + self.awx.token:
                status, body = 401, {"detail": "Authentication credentials were not provided."}
            else:
                try:
                    status, body = self.awx.answer(self.command, parts.path, query, json.loads(text) if text else {})
                except BadRequest as error:
                    status, body = 400, {"__all__": [str(error)]}
                except (KeyError, IndexError, ValueError) as error:
                    status, body = 404, {"detail": repr(error)}
        answer = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        """What is there."""
        self._do()

    def do_POST(self) -> None:
        """A new object, or something that belongs to one."""
        self._do()

    def do_PATCH(self) -> None:
        """An object that changes."""
        self._do()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(awx: Awx) -> Iterator[str]:
    """Serve it; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"awx": awx}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield "http://127.0.0.1:{0}".format(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
