# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of AWX as code: by the modules' own argument specs, and run against a stand-in for AWX, twice."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Set, Tuple

import ansible_collections
import dateutil.rrule
import pytest
from jinja2.sandbox import SandboxedEnvironment
from zoneinfo import ZoneInfo

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _variables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.hosts import settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.order import share, sizes
from ansible_collections.nanozfs.fleet.tests.awx import example
from ansible_collections.nanozfs.fleet.tests.awx.stub import Awx, BadRequest, check_rrule, check_survey, served
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

#: what AWX is to have in the end; ``python -m ansible_collections.nanozfs.fleet.tests.awx.test_configuration FOLDER``
#: writes it
GOLDEN = os.path.join(CHECKOUT, "tests", "fixtures", "awx", "objects.json")

SECRETS = {
    "NANOZFS_SSH_KEY": "the-key-that-logs-in",
    "NANOZFS_BECOME_PASSWORD": "the-password-of-su",
    "NANOZFS_VAULT_PASSWORD": "the-password-of-the-vault",
    "NANOZFS_SIGNING_KEY": "the-key-that-signs",
}


def configure(awx: Awx, url: str, folder: str, **more: str) -> Tuple[int, str]:
    """Run the play as its user does; exit status and output."""
    environment = dict(
        {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        ANSIBLE_COLLECTIONS_PATH=example.AWX_COLLECTIONS,
        ANSIBLE_NOCOLOR="1",
        HOME=folder,
        LC_ALL="C.UTF-8",
        CONTROLLER_HOST=url,
        CONTROLLER_OAUTH_TOKEN=awx.token,
        **{**SECRETS, **more},
    )
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-v", "configure.yml"],
        cwd=os.path.join(folder, "project"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def project(folder: str) -> str:
    """A copy of the example in a folder; the folder."""
    shutil.copytree(example.PATH, os.path.join(folder, "project"))
    return folder


def golden_text(awx: Awx) -> str:
    """What is there, as the golden file has it."""
    return json.dumps(awx.summary(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_twice(tmp_path: Any) -> None:
    """The first run makes everything, the second one changes nothing, and no secret is shown by any."""
    folder, awx = project(str(tmp_path)), Awx("token", example.playbooks())
    with served(awx) as url:
        code, first = configure(awx, url, folder)
        assert code == 0, first[-6000:]
        with open(GOLDEN, encoding="utf-8") as file:
            assert golden_text(awx) == file.read()
        before = len(awx.changes)
        assert before > 40
        code, second = configure(awx, url, folder)
    assert code == 0 and re.search(r"changed=0 ", second), second[-6000:]
    assert awx.changes[before:] == []
    for secret in SECRETS.values():
        assert secret not in first + second + json.dumps(awx.summary())
        assert secret in str(awx.objects["credentials"]), "AWX has it"


def test_without_secrets_nothing_is_begun(tmp_path: Any) -> None:
    folder, awx = project(str(tmp_path)), Awx("token", example.playbooks())
    with served(awx) as url:
        code, out = configure(awx, url, folder, NANOZFS_SIGNING_KEY="")
    assert code == 2 and "signing_key of configuration/credentials.yml is empty" in " ".join(out.split()), out
    assert awx.changes == []


class Captured(Exception):
    """The specification of a module."""


def specification(name: str, monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """The argument spec that a module of awx.awx really has."""
    where = os.path.join(example.AWX_COLLECTIONS, "ansible_collections")
    if where not in ansible_collections.__path__:
        ansible_collections.__path__.append(where)
    api = importlib.import_module("ansible_collections.awx.awx.plugins.module_utils.controller_api")
    module = importlib.import_module("ansible_collections.awx.awx.plugins.modules." + name)

    def capture(_self: Any, argument_spec: Dict[str, Any], **_more: Any) -> None:
        raise Captured({**api.ControllerModule.AUTH_ARGSPEC, **argument_spec})

    monkeypatch.setattr(api.ControllerAPIModule, "__init__", capture)
    with pytest.raises(Captured) as found:
        module.main()
    captured: Dict[str, Any] = found.value.args[0]
    return captured


def tasks() -> List[Dict[str, Any]]:
    (play,) = example.read("configure.yml")
    return [each for each in play["tasks"] if any(key.startswith("awx.awx.") for key in each)]


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task["name"].replace(" ", "-"))
def test_arguments_are_those_of_the_modules(task: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = [key for key in task if key.startswith("awx.awx.")]
    options, given = specification(module.rpartition(".")[2], monkeypatch), task[module]
    assert set(given) <= set(options), "no aliases, nothing that it does not know"
    assert {name for name, option in options.items() if option.get("required")} <= set(given)
    for name, value in given.items():
        choices = options[name].get("choices")
        if choices and "{{" not in str(value):
            assert value in choices, name


def surveys() -> Iterator[Tuple[str, Dict[str, Any]]]:
    """The questions, each with the playbook that is asked for it."""
    found = example.configuration()
    for template in found["config_templates"]:
        for question in template.get("survey", []):
            yield template["playbook"], {**found["config_question_defaults"], **question}
    for question in found["config_workflow"]["survey"]:
        yield "upgrade.yml", {**found["config_question_defaults"], **question}


ROLES = os.path.join(CHECKOUT, "roles")


def options_of(variable: str) -> List[Dict[str, Any]]:
    """What the roles say of a variable; nothing for one of a playbook."""
    entries = [options for role in os.listdir(ROLES) for options in _variables.read(os.path.join(ROLES, role)).values()]
    return [options[variable] for options in entries if variable in options]


@pytest.mark.parametrize(
    ("playbook", "question"), list(surveys()), ids=lambda each: each if isinstance(each, str) else each["variable"]
)
def test_questions(playbook: str, question: Dict[str, Any]) -> None:
    """Each asks for a variable that somebody knows; and every answer that AWX itself can give is right as text."""
    variable = question["variable"]
    assert variable in _variables.known_names(ROLES) or variable in example.own_variables(playbook), "nobody knows it"
    assert question["type"] in ("text", "multiplechoice"), "answers are text"
    assert playbook in example.playbooks()
    answers = [question["default"], *question["choices"]]
    assert all(isinstance(each, str) for each in answers)
    if question["required"] and question["default"] == "":
        answers.remove("")  # AWX wants one
    for option in options_of(variable):
        for answer in answers:
            assert _variables.problems({variable: dict(option, required=False)}, {variable: answer}) == [], answer
        if question["type"] == "multiplechoice" and option.get("choices"):
            assert set(question["choices"]) == {str(each) for each in option["choices"]}


def test_an_unknown_question_would_be_found() -> None:
    assert "upgrade_verzion" not in _variables.known_names(ROLES) and options_of("upgrade_verzion") == []
    option = options_of("upgrade_trial_timeout")[0]
    assert _variables.problems({"x": option}, {"x": "soon"})


def test_templates() -> None:
    """What decides whether a job may be given to AWX at night."""
    found = example.configuration()
    specs = _variables.read(os.path.join(ROLES, "upgrade"))["main"]
    longest = 2 * specs["upgrade_boot_timeout"]["default"] + specs["upgrade_trial_timeout"]["default"]
    for each in found["config_templates"]:
        template = {**found["config_template_defaults"], **each}
        assert template["job_slice_count"] == 1 and template["allow_simultaneous"] is False
        assert template["playbook"] in example.playbooks()
        if (
            template["playbook"] in ("stage.yml", "upgrade.yml", "rollback.yml", "commit.yml")
            and template["job_type"] == "run"
        ):
            assert template["timeout"] > 3 * longest, "as long as its waves may take"
    used = {each["playbook"] for each in found["config_templates"]}
    assert used == set(example.playbooks()) - {"configure.yml"}, "each playbook has its template"
    arguments = next(task for task in tasks() if "awx.awx.job_template" in task)["awx.awx.job_template"]
    asked = {key: value for key, value in arguments.items() if key.startswith("ask_")}
    assert len(asked) > 4 and not any(asked.values()), "no prompts"


def test_playbooks_ask_nothing() -> None:
    """A job has nobody to ask."""
    for folder in (example.PATH, os.path.join(CHECKOUT, "playbooks"), ROLES):
        for place, _folders, names in os.walk(folder):
            for name in names:
                if name.endswith(".yml"):
                    with open(os.path.join(place, name), encoding="utf-8") as file:
                        assert not re.search(r"(?m)^\s*-?\s*(vars_prompt|ansible\.builtin\.pause):", file.read()), name


@pytest.mark.parametrize("schedule", example.configuration()["config_schedules"], ids=lambda each: each["name"])
def test_schedules(schedule: Dict[str, Any]) -> None:
    """Once a week or a day, at the same hour of the site's clock in winter and in summer."""
    with open(GOLDEN, encoding="utf-8") as file:
        rrule = json.load(file)["schedules"][schedule["name"]]["rrule"]
    check_rrule(rrule)
    rule = dateutil.rrule.rrulestr(rrule.replace(" ", "\n"))
    zone = ZoneInfo(schedule["zone"])
    year = list(rule.between(*(datetime.datetime(year, 1, 1, tzinfo=zone) for year in (2026, 2027))))
    assert {each.strftime("%H:%M") for each in year} == {schedule["time"]}
    days = {each.strftime("%a").upper()[:2] for each in year}
    weekly = re.search(r"BYDAY=(\w+)", schedule["rule"])
    assert days == {weekly.group(1)} if weekly else len(days) == 7
    assert len(year) in ((52, 53) if weekly else (364, 365))
    assert len({each.utcoffset() for each in year}) == 2, "summer time"
    # an hour that a day of the year has not, or twice, is none
    assert all(each.astimezone(datetime.timezone.utc).astimezone(zone) == each and not each.fold for each in year)


def test_sites_are_those_of_the_inventory() -> None:
    """Each is upgraded by a schedule in its own time zone."""
    children = example.read("inventory.yml")["all"]["children"]
    upgraded = {
        each["answers"]["fleet_hosts"]: each["zone"]
        for each in example.configuration()["config_schedules"]
        if each["template"] == "fleet upgrade"
    }
    sites = {name: group["vars"] for name, group in children.items() if "fleet_site" in group.get("vars", {})}
    assert upgraded == {name: variables["fleet_time_zone"] for name, variables in sites.items()}
    assert all(variables["fleet_site"] == name for name, variables in sites.items())


def test_waves_of_the_survey() -> None:
    """What the run takes as text."""
    asked = {question["variable"]: question["default"] for playbook, question in surveys() if playbook == "upgrade.yml"}
    run = settings("upgrade", [("web-1", asked), ("web-2", asked)])
    assert sizes(run.serial, 30, "upgrade_serial") == [1, 3, 30]
    assert share(run.failures, 30, "upgrade_max_failures") == 0 and run.back is False


#: by the node that upgrades hosts, the one that takes them back
TAKEN_BACK = {"canary": "canaries taken back", "rest": "rest taken back"}


@pytest.mark.parametrize(
    ("upgrade", "committed", "taken_back"),
    [
        ("canary", ["web-1"], ["web-1"]),
        ("rest", ["web-2", "web-3"], ["web-2", "web-3"]),
        ("rest", ["web-1"], []),  # rest was cancelled: those are the artefacts of canary
        ("rest", ["web-1", "web-3"], ["web-3"]),
        ("rest", ["web-9"], []),
        ("rest", [], []),
        ("", ["web-1", "web-2", "web-3"], []),
    ],
)
def test_who_is_taken_back(upgrade: str, committed: List[str], taken_back: List[str], tmp_path: Any) -> None:
    """The playbook as it is shipped, with the inventory as it is shipped and what a node of the workflow gives."""
    nodes = {each["identifier"]: each for each in example.configuration()["config_workflow_nodes"]}
    ends = {"web-{0}".format(number): {"result": "reverted", "what": ""} for number in (1, 2, 3)}
    ends.update({host: {"result": "committed", "what": ""} for host in committed})
    given = {"nanozfs": ends, **(nodes[TAKEN_BACK[upgrade]]["extra_data"] if upgrade else {})}
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
            *("-i", "inventory.yml", "--list-hosts", "take_back.yml", "-e", json.dumps(given)),
        ],
        cwd=os.path.join(project(str(tmp_path)), "project"),
        env=dict(os.environ, ANSIBLE_NOCOLOR="1", HOME=str(tmp_path), LC_ALL="C.UTF-8"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.split("play #2")[0]
    assert "hosts ({0}):".format(len(taken_back)) in first, done.stdout
    assert sorted(re.findall(r"(?m)^ {6}(web-\d)$", first)) == taken_back, done.stdout


def test_workflow() -> None:
    """Nodes come after those that they lead to, and every way leads on."""
    nodes = example.configuration()["config_workflow_nodes"]
    known: Set[str] = set()
    for node in nodes:
        leads = [*node.get("success", []), *node.get("failure", [])]
        assert set(leads) <= known, node["identifier"]
        known.add(node["identifier"])
    by_name = {node["identifier"]: node for node in nodes}
    way = ["plan"]
    while by_name[way[-1]].get("success"):
        way += by_name[way[-1]]["success"]
    assert way == ["plan", "approval", "canary", "health", "canaries upgraded", "rest", "state"]
    assert by_name["canary"]["failure"] == by_name["health"]["failure"] == ["canaries taken back"]
    assert "degraded" in by_name["health"]["extra_data"]["report_fail_on"].split(",")
    reached = by_name["canaries upgraded"]
    assert reached["extra_data"] == {"fleet_hosts": "canary", "report_fail_on": "behind"}
    assert "failure" not in reached, "the workflow fails, and nobody is taken back"
    assert [each["variable"] for each in example.configuration()["config_workflow"]["survey"]] == ["upgrade_version"]
    assert by_name["canary"]["extra_data"] == {"fleet_hosts": "canary"}
    assert by_name["rest"]["extra_data"] == {"fleet_hosts": "all:!canary"}
    for upgrade in ("canary", "rest"):
        (back,) = [by_name[name] for name in by_name if name == TAKEN_BACK[upgrade]]
        assert back["extra_data"] == {"take_back_within": by_name[upgrade]["extra_data"]["fleet_hosts"]}


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen")
def test_the_signing_key_as_a_file(tmp_path: Any) -> None:
    """AWX lays the file down as its own Jinja makes it, with mode 0600: ssh-keygen must be able to sign with it."""
    (kind,) = example.configuration()["config_credential_types"]
    made = str(tmp_path / "release")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    with open(made, encoding="utf-8") as file:
        key = file.read()
    for given in (key, key.rstrip("\n")):
        path = str(tmp_path / "injected")
        text = SandboxedEnvironment().from_string(kind["injectors"]["file"]["template"]).render(key=given)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", "nanozfs-image"]
        done = subprocess.run(sign, input=b"x", capture_output=True, check=False)
        assert done.returncode == 0 and b"BEGIN SSH SIGNATURE" in done.stdout, done.stderr
    variables = kind["injectors"]["extra_vars"]
    assert variables == {"image_signing_key": "{{ tower.filename }}"}, "where it is, and not what"


@pytest.mark.parametrize(
    "rrule",
    [
        "RRULE:FREQ=WEEKLY;INTERVAL=1",
        "DTSTART:20260101T010000 RRULE:FREQ=WEEKLY;INTERVAL=1",
        "DTSTART:20260101T010000Z",
    ],
)
def test_the_stand_in_refuses_rules(rrule: str) -> None:
    with pytest.raises(BadRequest):
        check_rrule(rrule)


def test_the_stand_in_refuses_surveys() -> None:
    with pytest.raises(BadRequest, match="any items"):
        check_survey({"name": "", "description": "", "spec": []})
    question = {"type": "multiplechoice", "question_name": "?", "variable": "x", "required": True, "choices": ["a"]}
    with pytest.raises(BadRequest, match="must be among"):
        check_survey({"name": "", "description": "", "spec": [dict(question, default="b")]})


def main(folder: str) -> None:
    """Write the golden file anew, to be looked at."""
    awx = Awx("token", example.playbooks())
    with served(awx) as url:
        code, out = configure(awx, url, project(folder))
    if code != 0:
        sys.exit(out)
    with open(GOLDEN, "w", encoding="utf-8") as file:
        file.write(golden_text(awx))


if __name__ == "__main__":
    main(sys.argv[1])
