# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of a site are on the controller.

Files of a site lie beside its playbooks, or beside its inventory. Ansible's own search knows neither when a playbook of
this collection is run: what it calls the folder of the playbook is then the collection's, and the implicit localhost
has no ``inventory_dir``.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Optional, Sequence

from ansible import context
from ansible.plugins.action import ActionBase

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

#: the folder of a site that has what goes to hosts and into images
FILES = "files"

#: tells whether a path is one of the kind that is looked for
Kind = Callable[[str], bool]

#: this collection: its own folders are no site's
COLLECTION = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))


def _is_ours(folder: str) -> bool:
    """Whether a folder is one of the collection itself; examples in a checkout are sites like any other."""
    real = os.path.realpath(folder)
    return any(
        real == place or real.startswith(place + os.sep) for place in (COLLECTION + "/roles", COLLECTION + "/playbooks")
    )


def _of_playbooks(names: object) -> List[str]:
    """The folder of the playbooks that were named on the command line; one that only imports the collection's is not
    known to Ansible any more when a task runs. None where they have several: nobody knows whose turn it is.
    """
    files = [str(name) for name in names if os.path.isfile(str(name))] if isinstance(names, (list, tuple)) else []
    found = list(dict.fromkeys(os.path.dirname(os.path.abspath(name)) for name in files))
    return found if len(found) == 1 else []


def _of_inventories(sources: object) -> Iterator[str]:
    """The folders of inventories, which may be files, folders, or lists of hosts."""
    for source in sources if isinstance(sources, (list, tuple)) else ():
        if os.path.isdir(str(source)):
            yield str(source)
        elif os.path.isfile(str(source)):
            yield os.path.dirname(os.path.abspath(str(source)))


class SitePaths:
    """The folders of a site, in the order in which they are searched.

    :param folders: their paths.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        found = [os.path.abspath(folder) for folder in folders if folder and not _is_ours(folder)]
        self.folders: Sequence[str] = list(dict.fromkeys(found))

    def find(self, name: str, within: str = FILES, kind: Kind = os.path.exists) -> Optional[str]:
        """The full path of a file or folder; none when it is nowhere.

        :param name: as the site wrote it. With ``/`` or ``~`` at its beginning it is a full path already.
        :param within: the folder that has its kind in a site: ``files``, ``tasks``.
        :param kind: what counts: a folder does not hide a file of its name that comes later.
        """
        name = os.path.expanduser(name.strip())
        if os.path.normpath(name) in (".", "..", "/"):  # an empty name in a list is no wish for everything
            return None
        places: List[str] = [name] if os.path.isabs(name) else []
        for folder in self.folders if not places else ():
            places += [os.path.join(folder, within, name), os.path.join(folder, name)]
        return next((path for path in map(os.path.normpath, places) if kind(path)), None)

    def place(self, name: str, kind: Kind = os.path.exists) -> str:
        """The full path of what is in the site; the name as it is of what is not, for whoever uses it to say so."""
        return self.find(name, kind=kind) or name

    def home(self, name: str, variable: str) -> str:
        """The full path of a file that the site has, or where it will be made: in the first of the folders.

        :param variable: the role's variable that names it.
        :raises Refused: when the site has no folder.
        """
        found = self.find(name, kind=os.path.isfile)
        if found is None and os.path.isabs(os.path.expanduser(name)):
            return os.path.normpath(os.path.expanduser(name))
        if found is None and not self.folders:
            raise Refused(
                "{0}: nobody knows where {1} belongs, as neither a playbook nor an inventory is in a folder".format(
                    variable, name
                ),
                safe="nothing was changed",
                todo="give its full path ({0})".format(variable),
            )
        return found or os.path.join(self.folders[0], name)

    def need(self, name: str, variable: str, within: str = FILES, kind: Kind = os.path.exists) -> str:
        """The full path of what must be there.

        :param variable: the role's variable that names it.
        :raises Refused: when it is nowhere.
        """
        found = self.find(name, within, kind)
        if found is None:
            where = "it was looked for in {0}/ of, and in: {1}".format(within, ", ".join(self.folders) or "no folder")
            what = "folder " if kind is os.path.isdir else "file " if kind is os.path.isfile else ""
            raise Refused(
                "{0}: there is no {1}{2}".format(variable, what, name if name.strip() else "without a name"),
                safe="nothing was changed",
                todo="correct the name, or give the full path"
                if os.path.isabs(os.path.expanduser(name))
                else "put it beside the playbook or the inventory, or give its full path ({0})".format(where),
            )
        return found


def paths_of(action: ActionBase, variables: Mapping[str, Any]) -> SitePaths:
    """Those of the site whose play an action runs in.

    :param variables: those of the task.
    """
    return SitePaths(
        [
            *action._task.get_search_path(),
            action._loader.get_basedir(),
            *_of_playbooks(context.CLIARGS.get("args")),
            str(variables.get("inventory_dir") or ""),
            *_of_inventories(variables.get("ansible_inventory_sources")),
        ]
    )


def found_input(site: SitePaths, given: Any, kind: Kind = os.path.exists) -> Any:
    """A file or folder of the site where it is: a path, or a dictionary with one (``src``). An address is left alone;
    of what is missing, whoever uses it says what is wrong.
    """
    if isinstance(given, dict) and isinstance(given.get("src"), str):
        return dict(given, src=found_input(site, given["src"]))
    if not isinstance(given, str) or "://" in given:
        return given
    return site.place(given, kind)
