# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to the report, in JMESPath (https://jmespath.org)."""

from __future__ import annotations

import json
from typing import Any, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import plain

try:
    import jmespath
    from jmespath.exceptions import JMESPathError

    HAVE_JMESPATH = True
except ImportError:
    HAVE_JMESPATH = False


def compiled(query: str) -> Any:
    """A query, judged before anything is looked at.

    :raises Refused: when it is none.
    """
    if not HAVE_JMESPATH:
        raise Refused(
            "report_query needs the Python package jmespath on this machine",
            safe="nothing was looked at",
            todo="pip install jmespath, or leave report_query out",
        )
    try:
        return jmespath.compile(query)
    except JMESPathError as error:
        raise Refused(
            "report_query is no JMESPath: {0}".format(plain(error)),
            safe="nothing was looked at",
            todo="text in a query has single quotes, as in hosts[?condition=='behind'].name; see https://jmespath.org",
        )


def ask(query: Any, document: Mapping[str, Any]) -> Any:
    """The answer of a report to a query.

    :raises Refused: when what it asks for is of the wrong kind, as a sum of texts.
    """
    try:
        return query.search(document)
    except JMESPathError as error:
        raise Refused(
            "report_query cannot be answered: {0}".format(plain(error)),
            safe="the report was made; no host was changed",
            todo="-e report_json=FILE writes what can be asked for",
        )


def shown(answer: Any) -> List[str]:
    """An answer as lines: one for each element of a list of simple things, JSON otherwise."""
    if isinstance(answer, list) and all(isinstance(each, (str, int, float)) for each in answer):
        return [plain(each) for each in answer]
    if isinstance(answer, str):
        return [plain(answer)]
    # ensure_ascii: what a terminal would obey is written in digits
    return json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=True).splitlines()
