# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the results of the collection's modules say of a host; and what of a failure is for people."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import sentence
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.words import size
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import NOTHING_TO_DO, PLANNED, Facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import lines_of, one_line

#: where the modules are
COLLECTION = "nanozfs.fleet."

#: steps of an installation that a line names
NAMED = 3

#: keys of a result that say nothing to whoever reads of a failure; ``-v`` shows them
QUIET = frozenset(
    ("actions", "after", "ansible_stats", "changed", "exception", "failed", "invocation", "journal", "msg")
    + ("skipped", "story", "unreachable", "deprecations", "warnings")
)

#: keys of a failed result that are shown beside its message, where they are there
LOUD = ("rc", "stdout", "stderr", "module_stdout", "module_stderr")

Result = Mapping[str, Any]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _version(value: Any) -> str:
    return str(_mapping(value).get("version") or "")


def _plan(result: Result, _arguments: Result) -> Facts:
    """Of ``upgrade_info`` and ``rollback_info``."""
    return Facts(
        text=str(result.get("says") or ""),
        result=NOTHING_TO_DO if result.get("step") == "done" else PLANNED,
        before=_version(result.get("running")),
        after=_version(result.get("target")),
    )


def _closed(result: Result, arguments: Result) -> Facts:
    """Of ``transaction``: one that was given up says something, and what became of the files in /cfg."""
    says = str(result.get("says") or "")
    if arguments.get("state") == "staged":
        return Facts(text=says)
    return Facts(text=says, result=("given up" if result.get("changed") else NOTHING_TO_DO) if says else "")


def _written(result: Result, _arguments: Result) -> Facts:
    """Of ``image_write`` and ``medium_write``."""
    fetched = result.get("fetched")
    if isinstance(fetched, bool) or not isinstance(fetched, (int, float)):
        fetched = None
    text, image = "", _mapping(result.get("image"))
    if result.get("changed") and result.get("slice") and image.get("name"):
        text = "{0} holds {1}-{2}".format(result["slice"], image["name"], image.get("version"))
        text += ", {0} fetched".format(size(float(fetched))) if fetched else ""
    return Facts(text=text, fetched=None if fetched is None else int(fetched))


def _installed(result: Result, arguments: Result) -> Facts:
    """Of ``host_install``."""
    state, done = str(arguments.get("state") or "present"), [str(each) for each in result.get("done") or []]
    if state == "planned":
        if result.get("step") == "medium":
            return Facts(text="has to be given its medium first")
        return Facts(text="to do: " + first_of(done, NAMED) if done else "", result=PLANNED if done else NOTHING_TO_DO)
    if state == "up":
        return Facts(text="is up as itself", result="installed")
    if not result.get("changed"):
        return Facts(result=NOTHING_TO_DO)
    return Facts() if result.get("restart") else Facts(result="brought up to date")


def _configured(result: Result, _arguments: Result) -> Facts:
    """Of ``configuration``."""
    files = [str(each) for each in result.get("files") or []]
    if not result.get("changed") and result.get("state") == "same":
        return Facts(result=NOTHING_TO_DO)
    kept = ", confirmed over a new connection" if result.get("state") == "confirmed" else ""
    return Facts(text="configured{0}: {1}".format(kept, first_of(files, NAMED)), result="configured")


#: by module
FACTS: Dict[str, Callable[[Result, Result], Facts]] = {
    "upgrade_info": _plan,
    "rollback_info": _plan,
    "transaction": _closed,
    "image_write": _written,
    "medium_write": _written,
    "host_install": _installed,
    "configuration": _configured,
}


#: modules that change something, and of which a phase or a line has said so
TOLD = frozenset(COLLECTION + name for name in (*FACTS, "trial", "host_restart"))


def facts(action: str, arguments: Result, result: Result, check: bool = False) -> Facts:
    """What the result of a task says of the host; nothing where it is no module of ours and tells no story.

    :param action: the full name of the module.
    :param check: the task has changed nothing: what it says is what would be.
    """
    told = story(result)
    if told:
        text = result.get("msg") if isinstance(result.get("msg"), str) else ""
        whole = text or sentence(told.what, told.safe, told.todo)
        return Facts(text=whole, result=told.result, why=told.what)
    find = FACTS.get(action[len(COLLECTION) :]) if action.startswith(COLLECTION) else None
    if find is None or result.get("failed"):
        return Facts()
    found = find(result, arguments)
    return found._replace(result=PLANNED) if check and found.result not in ("", NOTHING_TO_DO) else found


def waiting(action: str, result: Result) -> Dict[str, str]:
    """Why hosts are not begun in this run, by host; what ``wave_plan`` says of all of them at once.

    :param action: the full name of the module.
    """
    later = _mapping(_mapping(result.get("run")).get("later")) if action == COLLECTION + "wave_plan" else {}
    return {str(host): str(why) for host, why in later.items()}


class Story(NamedTuple):
    """How a task has ended for a host, in parts."""

    result: str
    what: str
    safe: str
    todo: str


def story(result: Result) -> Optional[Story]:
    """The story that a result tells, if it does."""
    told = result.get("story")
    if not isinstance(told, Mapping) or not told.get("result"):
        return None
    return Story(*(str(told.get(key) or "") for key in Story._fields))


def is_plain(result: Result) -> bool:
    """Whether a message, and what is shown beside it, is all that a failed result has to say."""
    if not isinstance(result.get("msg"), str) or "censored" in result or "results" in result:
        return False
    if story(result) is not None:  # what is beside it is for programs
        return True
    return all(key in QUIET or key in LOUD or key.startswith("_ansible_") for key in result)


def explanation(result: Result) -> List[str]:
    """What a failure says, as lines: what happened; what is safe and what to do next, where it says that; the rest."""
    told, whole = story(result), str(result.get("msg") or "")
    if told is None:
        lines = lines_of(whole)
    else:
        whole = whole or sentence(told.what, told.safe, told.todo)
        tail = sentence("", told.safe, told.todo)
        ends = tail != "." and whole.endswith(tail)
        lines = [one_line(whole[: -len(tail)]) + "."] if ends else lines_of(whole)
        for title, part in (("Safe now", told.safe), ("Next", told.todo)):
            if part and (ends or part not in whole):
                lines.append("  {0}: {1}.".format(title, one_line(part).rstrip(".")))
    for key in LOUD:
        value = result.get(key)
        if value not in (None, "", 0):
            shown = lines_of(value)
            lines += ["  {0}: {1}".format(key, shown[0]), *("    " + each for each in shown[1:])]
    return lines


def reason(result: Result) -> str:
    """Why, in a few words."""
    told = story(result)
    return one_line(told.what if told else result.get("msg") or "")
