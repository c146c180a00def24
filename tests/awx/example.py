# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example of an AWX project, as it is shipped."""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Dict, List, Set

import yaml

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

PATH = os.path.join(CHECKOUT, "examples", "awx")

#: where tools/setup has put awx.awx
AWX_COLLECTIONS = os.path.join(os.environ.get("NANOZFS_CACHE") or os.path.join(CHECKOUT, ".cache"), "awx")


class _Loader(yaml.SafeLoader):
    """YAML as a file of variables may have it."""


def _unsafe(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    assert isinstance(node, yaml.ScalarNode)
    return str(loader.construct_scalar(node))


_Loader.add_constructor("!unsafe", _unsafe)


def read(*names: str) -> Any:
    """A file of the example."""
    with open(os.path.join(PATH, *names), encoding="utf-8") as file:
        return yaml.load(file, Loader=_Loader)


def configuration() -> Dict[str, Any]:
    """The variables of the configuration, with their templates."""
    found: Dict[str, Any] = {}
    for path in sorted(glob.glob(os.path.join(PATH, "configuration", "*.yml"))):
        found.update(read("configuration", os.path.basename(path)))
    return found


def playbooks() -> List[str]:
    """The playbooks of the project, as AWX finds them: files that have plays or import playbooks."""
    found = []
    for path in sorted(glob.glob(os.path.join(PATH, "*.yml"))):
        content = read(os.path.basename(path))
        if isinstance(content, list) and any("hosts" in each or _IMPORT in each for each in content):
            found.append(os.path.basename(path))
    return found


def own_variables(playbook: str) -> Set[str]:
    """What a playbook of the project takes that is no variable of the collection: names that begin as its own does."""
    with open(os.path.join(PATH, playbook), encoding="utf-8") as file:
        return set(re.findall(r"\b{0}_[a-z_]+".format(playbook.replace(".yml", "")), file.read()))


_IMPORT = "ansible.builtin.import_playbook"
