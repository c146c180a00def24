# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kit says to whoever holds it: beside it, in the clear, how to open it; in it, how to work with it."""

from __future__ import annotations

import shlex
from typing import List, Mapping, NamedTuple, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit.bundle import TOP
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._kit.contents import (
    COLLECTIONS,
    OUTSIDE,
    SITE,
    VAULT,
    Member,
)

#: what the controller needs besides ansible-core (requirements of the collection)
NEEDED = ("jmespath", "netaddr", "passlib")


class Host(NamedTuple):
    """A machine, and where it is."""

    name: str
    address: str


class Told(NamedTuple):
    """What a kit's texts say.

    :param made: when, as people write it.
    :param core: version of the ansible-core that it was made with.
    :param collection: version of this collection.
    """

    made: str
    core: str
    collection: str
    hosts: Sequence[Host]
    backups: Sequence[Host]
    lacking: Sequence[str]


def _python(core: str) -> List[str]:
    return [
        "    python3 -m venv ansible",
        "    . ansible/bin/activate",
        "    pip install ansible-core=={0} {1}".format(core, " ".join(NEEDED)),
    ]


def beside(name: str, told: Told) -> str:
    """What lies beside a kit in the clear: no secret, and no name of a host.

    :param name: of the kit's file.
    """
    lines = [
        "{0} is a recovery kit of nanozfs.fleet, made {1}.".format(name, told.made),
        "",
        "It is encrypted. Whoever knows its passphrase can run the fleet with it when the controller is gone.",
        "On any machine with Python, network, and this file:",
        "",
        *_python(told.core),
        "    ansible-vault decrypt --output kit.tar.xz {0}".format(shlex.quote(name)),
        "    tar -xpf kit.tar.xz && rm kit.tar.xz",
        "",
        "Then read {0}/README.txt.".format(TOP),
    ]
    return "\n".join(lines) + "\n"


def _table(hosts: Sequence[Host]) -> List[str]:
    width = max((len(each.name) for each in hosts), default=0)
    return ["    {0:<{1}}  {2}".format(printable(each.name), width, printable(each.address)) for each in hosts]


def inside(members: Sequence[Member], told: Told, homes: Mapping[str, str]) -> str:
    """What is in the kit for whoever has opened it.

    :param homes: where the folders of the site were, by their name in the kit.
    """
    names = [each.name for each in members]
    outside = [name for name in names if name.startswith(OUTSIDE + "/")]
    vaults = [name for name in names if name.startswith(VAULT + "/")]
    lines = [
        "Recovery kit of a fleet, made {0} with ansible-core {1} and nanozfs.fleet {2}.".format(
            told.made, told.core, told.collection
        ),
        "",
        "1. Put back what the site names outside of its folder (keys). From the folder of this file:",
        "",
        *(
            "    install -D -m {0:o} {1} {2}".format(
                each.mode, shlex.quote(each.name), shlex.quote(each.name[len(OUTSIDE) :])
            )
            for each in members
            if each.name in outside
        ),
        *([] if outside else ["    (nothing)"]),
        "",
        "2. Work from the site's folder:",
        "",
        *("    # {0} was {1}".format(name, printable(home)) for name, home in homes.items()),
        "    export ANSIBLE_COLLECTIONS_PATH=$PWD/{0}".format(COLLECTIONS),
        *(["    export ANSIBLE_VAULT_IDENTITY_LIST={0}".format(_identities(vaults))] if vaults else []),
        "    cd {0}".format(SITE),
        "    ansible-playbook status.yml",
        "",
        "3. A host that is lost comes back from its backup: restore.yml, docs/restore.md. Its OS medium is any medium",
        "   of the fleet. Hosts that run do not need the controller: leave them alone.",
        "",
        "4. When all is well again, make a new kit on the new controller, and think of who had this one.",
        "",
        "The backup hosts:",
        "",
        *(_table(told.backups) or ["    (none in the inventory's group backup)"]),
        "",
        "The hosts, as the inventory had them:",
        "",
        *_table(told.hosts),
    ]
    if told.lacking:
        lines += ["", "What is not in this kit:", "", *("  - {0}".format(each) for each in told.lacking)]
    return "\n".join(lines) + "\n"


def _identities(vaults: Sequence[str]) -> str:
    """The list of vaults as Ansible takes it, from the folder of the kit."""
    return ",".join("{0}@$PWD/{1}".format(name.rpartition("/")[2], shlex.quote(name)) for name in vaults)
