# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The configuration for nanobsd.sh, pared down to what the layout of the collection needs.

NanoBSD builds and installs; it makes no file system and no medium (``-f``), gives no label, and leaves ``/etc`` and
``/var`` alone: ``setup_nanobsd_etc``, ``setup_nanobsd`` and ``prune_usr`` do nothing here, because the controller makes
the layout, the same for every way to build. All facts about NanoBSD are from tools/tools/nanobsd/{nanobsd,defaults,
legacy}.sh of FreeBSD 13.2, of which nothing is changed: its file for configurations may override any function.
"""

from __future__ import annotations

import re
import shlex
from typing import Dict, List, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import (
    Definition,
    Options,
    Place,
    Script,
)

#: what ``pkg query -a`` (pkg-query(8)) is asked, and the file in the state folder that the answers go to
QUERIES: Tuple[Tuple[str, str], ...] = (
    ("packages.txt", "%n\t%v\t%o"),
    ("licenses.txt", "%n\t%L"),
    ("options.txt", "%n\t%Ok\t%Ov"),
)

#: the file that has the packages fetched, and the customise function that does it
FETCH = "fetch"
FETCHING = "nz_packages"


def make_lines(options: Options) -> str:
    """Options as lines for make(1), where ``#`` begins a comment unless it is escaped."""
    return "\n".join("{0}={1}".format(name, value.replace("#", "\\#")) for name, value in options)


def kernel_path(definition: Definition, place: Place) -> str:
    """NANO_KERNEL: the name of a configuration, or the path of one."""
    return place.at("kernel", _ident(definition)) if definition.kernel_lines else definition.kernel


def _ident(definition: Definition) -> str:
    """A name for a kernel of our own; a name of a folder of objects, and part of ``uname -i``."""
    return re.sub("[^A-Z0-9_]", "_", "NZ_" + definition.name.upper())


def kernel_file(definition: Definition) -> str:
    """The kernel configuration with the additional lines.

    config(8) looks for what is included in the folder of the source tree's configurations too (``-I '${KRNLCONFDIR}'``
    in Makefile.inc1), and takes any name or path in quotes (usr.sbin/config/lang.l).
    """
    lines = ['include "{0}"'.format(definition.kernel), "ident " + _ident(definition), *definition.kernel_lines]
    return "\n".join(lines) + "\n"


def script_name(number: int, script: Script) -> str:
    """The name of a customise script on the build host, in the order in which they run."""
    return "{0:02d}-{1}".format(number, script.name)


def _set(name: str, value: str) -> str:
    return "{0}={1}".format(name, shlex.quote(value))


def _function(name: str, lines: List[str]) -> List[str]:
    return ["", name + " ( ) (", *["\t" + line for line in lines], ")"]


def _variables(definition: Definition, place: Place) -> List[str]:
    lines = [
        _set("NANO_NAME", definition.name),
        _set("NANO_SRC", definition.source),
        _set("NANO_TOOLS", definition.tools),
        _set("NANO_OBJ", place.obj),
        _set("NANO_LOG", place.logs),
        _set("NANO_ARCH", definition.arch),
        _set("NANO_KERNEL", kernel_path(definition, place)),
        "# NanoBSD installs no module at all unless it is told",
        _set("NANO_MODULES", " ".join(definition.modules) or "default"),
        "# the progress is read from the lines of these three levels",
        "PPLEVEL=3",
    ]
    if definition.jobs is not None:
        lines += [_set("NANO_NCPU", str(definition.jobs)), _set("NANO_PMAKE", "make -j {0}".format(definition.jobs))]
    world = "\n".join(part for part in (make_lines(definition.make_conf), make_lines(definition.world)) if part)
    lines += [
        _set("CONF_WORLD", world),
        _set("CONF_BUILD", make_lines(definition.build)),
        _set("CONF_INSTALL", make_lines(definition.install)),
    ]
    return lines


def _nothing() -> List[str]:
    lines = ["", "# the controller makes the layout of the image, the same for every way to build one"]
    for name in ("setup_nanobsd_etc", "setup_nanobsd", "prune_usr"):
        lines += ["{0} ( ) {{".format(name), "\t:", "}"]
    return lines


def _packages(definition: Definition, place: Place) -> List[str]:
    """Fetch packages before anything is built, and have NanoBSD's own function install them."""
    part = place.packages + ".part"
    pkg = "env ASSUME_ALWAYS_YES=yes IGNORE_OSVERSION=yes {0} {1} {2} pkg fetch -y -d -o {3} pkg {4}".format(
        _set("ABI", definition.abi),
        _set("PKG_DBDIR", place.at("pkg")),
        _set("REPOS_DIR", place.at("repos")),
        shlex.quote(part),
        " ".join(shlex.quote(each) for each in definition.packages),
    )
    lines = ["", _set("NANO_PACKAGE_DIR", place.packages), "NANO_PACKAGE_LIST='*'"]
    lines += _function(
        FETCHING,
        [
            "[ -e {0} ] || exit 0".format(shlex.quote(place.at(FETCH))),
            "rm -rf {0}".format(shlex.quote(part)),
            "mkdir -p {0}".format(shlex.quote(part + "/flat")),
            pkg,
            "# `pkg add` looks for dependencies as NAME-VERSION.pkg; repositories may have NAME-VERSION~HASH.pkg",
            "find {0} -type f -name '*.pkg' | while read -r file".format(shlex.quote(part + "/All")),
            "do",
            "\tname=${file##*/}",
            "\tname=${name%.pkg}",
            '\tmv "$file" {0}"${{name%%~*}}.pkg"'.format(shlex.quote(part + "/flat/")),
            "done",
            "rm -rf {0}".format(shlex.quote(place.packages)),
            "mv {0} {1}".format(shlex.quote(part + "/flat"), shlex.quote(place.packages)),
            "rm -rf {0}".format(shlex.quote(part)),
        ],
    )
    asked = ['[ -x "${NANO_WORLDDIR}/usr/local/sbin/pkg" ] || exit 0  # a customise script may have removed it']
    asked += [
        'CR "/usr/sbin/pkg query -a {0}" > {1}'.format(shlex.quote(query), shlex.quote(place.at(name)))
        for name, query in QUERIES
    ]
    lines += _function("nz_query", asked)
    lines += ["", "early_customize_cmd " + FETCHING, "customize_cmd cust_pkgng nz_query", "late_customize_cmd nz_query"]
    return lines


def _customise(definition: Definition, place: Place) -> List[str]:
    lines: List[str] = []
    for number, script in enumerate(definition.scripts, 1):
        name = re.sub("[^A-Za-z0-9_]", "_", "nz_{0:02d}_{1}".format(number, script.name))
        path = place.at("customise", script_name(number, script))
        lines += _function(name, ['cd "${NANO_WORLDDIR}"', ". " + shlex.quote(path)])
        lines += ["customize_cmd " + name]
    return lines


def config(definition: Definition, place: Place) -> str:
    """The text of the configuration.

    :param definition: checked.
    """
    lines = [
        "# The configuration of NanoBSD for the build {0}, made by nanobsd_build of nanozfs.fleet.".format(
            definition.name
        ),
        "# What is changed here is lost when it runs again.",
        "",
        "exec > {0} 2>&1".format(shlex.quote(place.log)),
        "umask 022",
        "",
    ]
    lines += _variables(definition, place)
    lines += _nothing()
    if definition.packages:
        lines += _packages(definition, place)
    lines += _customise(definition, place)
    return "\n".join(lines) + "\n"


def files(definition: Definition, place: Place) -> Dict[str, str]:
    """Everything that nanobsd.sh reads: text by path."""
    found = {place.config: config(definition, place)}
    if definition.kernel_lines:
        found[kernel_path(definition, place)] = kernel_file(definition)
    if definition.packages:
        found[place.at("repos", "nanozfs.conf")] = definition.repository.encode()
    for number, script in enumerate(definition.scripts, 1):
        found[place.at("customise", script_name(number, script))] = script.content
    return found
