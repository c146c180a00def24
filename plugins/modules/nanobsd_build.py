#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nanobsd_build
short_description: Build a FreeBSD system from source with NanoBSD
version_added: 1.0.0
description:
  - Builds world and kernel of a source tree with options of one's own, installs them with packages into a folder, runs
    customise scripts there, and packs the result, with owners, into an archive. M(nanozfs.fleet.image_build) makes an
    image of that, on the controller; the layout of the image, its file system and its signature are made there.
  - Runs on a build host with FreeBSD, as root. The work is done by C(nanobsd.sh) of the source tree, which is not
    changed. It makes neither a file system nor a medium here.
  - World, kernel, packages and the tree are built again only when something that decides about them has changed.
    Check mode says what would be built and why, diff mode how the configuration changes.
  - The build is done by a process of its own on the build host, which goes on when the controller or the network fails;
    a play that is started meanwhile takes it over. What was broken off goes on where it stopped.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.job
options:
  name:
    description: Name of the build.
    type: str
    required: true
  source:
    description: Path of the source tree on the build host.
    type: path
    default: /usr/src
  folder:
    description:
      - Folder of the build on the build host, with some 20 GB of room. Nothing else may be in it.
    type: path
    required: true
  arch:
    description: Architecture, C(TARGET_ARCH). Empty for V(amd64).
    type: str
    default: ""
  abi:
    description: ABI of the packages. By default that of the source tree.
    type: str
    default: ""
  kernel:
    description:
      - Kernel configuration - the name of one in the source tree, or the path of one on the build host.
    type: str
    default: GENERIC
  kernel_lines:
    description: Lines to add to the kernel configuration (config(5)).
    type: list
    elements: str
    default: []
  modules:
    description:
      - The kernel modules to install, as in C(MODULES_OVERRIDE). By default all that the kernel configuration builds.
        An image of this collection needs C(zfs).
    type: list
    elements: str
    default: []
  world_options:
    description:
      - Options of src.conf(5), such as C(WITHOUT_LPR). V(true) sets one; one that is V(false) is left out, because
        src.conf(5) does not look at values.
      - C(WITH_REPRODUCIBLE_BUILD) is added, unless it or its opposite is given.
    type: dict
    default: {}
  make_conf:
    description: Variables of make.conf(5), for building and installing, such as C(CPUTYPE?).
    type: dict
    default: {}
  build_options:
    description: Variables for building only, C(CONF_BUILD) of NanoBSD.
    type: dict
    default: {}
  install_options:
    description: Variables and options for installing only, C(CONF_INSTALL) of NanoBSD. They do not need a new world.
    type: dict
    default: {}
  packages:
    description: Packages to install, by name or origin; what they depend on comes with them.
    type: list
    elements: str
    default: []
  repository:
    description:
      - Where packages come from, with C(${ABI}) where the ABI belongs. For ports with options of one's own give the
        repository that poudriere has made, at an address or in a folder (V(file:///usr/local/poudriere/…)).
      - Packages are fetched once, and kept in O(folder). They are fetched again when O(packages) or this changes, or
        with O(refresh=true).
    type: str
    default: pkg+http://pkg.FreeBSD.org/${ABI}/quarterly
  signature_type:
    description: How the repository is signed (pkg.conf(5)).
    type: str
    choices: [fingerprints, pubkey, none]
    default: fingerprints
  signature_trust:
    description: Folder with the fingerprints, or path of the public key, on the build host.
    type: path
    default: /usr/share/keys/pkg
  refresh:
    description: Fetch packages in any case.
    type: bool
    default: false
  customise:
    description:
      - Files on the controller, with lines for sh(1) that change the finished system, run in this order. They run as
        root on the build host, in the root of that system, in a shell that ends at the first error; C(NANO_WORLDDIR)
        and the functions of NanoBSD, such as C(CR) for a command in a chroot, are there.
    type: list
    elements: path
    default: []
  jobs:
    description: How many jobs make(1) runs at once. By default one for each processor.
    type: int
  dest:
    description: Path on the controller to which the archive is fetched, unless it is there already.
    type: path
  scripts:
    description: The contents of O(customise). The action of this module gives them, and so they need not be given.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the script.
        type: str
        required: true
      content:
        description: Its lines.
        type: str
        required: true
  reader:
    description: The user who may read the archive besides root. The action of this module gives it where it is needed.
    type: str
"""

EXAMPLES = r"""
- name: Build a small system with nginx
  nanozfs.fleet.nanobsd_build:
    name: web
    source: /usr/src
    folder: /usr/obj/nanozfs/web
    kernel: GENERIC
    kernel_lines: [nodevice sound]
    world_options:
      WITHOUT_LPR: true
      WITHOUT_TESTS: true
    install_options:
      WITHOUT_DEBUG_FILES: true
    packages: [nginx, python39]
    repository: file:///usr/local/poudriere/data/packages/13amd64-default
    signature_type: none
    customise: [files/no-ftpd.sh]
    dest: ~/.cache/nanozfs/web.tar.xz
"""

RETURN = r"""
parts:
  description: What the build consists of, whether each part was (in check mode, would be) built, and why.
  returned: success
  type: list
  elements: dict
  sample:
    - {part: packages, build: false, reason: unchanged}
    - {part: world, build: true, reason: "changed: source, src.conf:WITHOUT_LPR"}
    - {part: kernel, build: true, reason: "new: world"}
    - {part: tree, build: true, reason: "new: world, kernel"}
archive:
  description: Path of the archive on the build host.
  returned: success
  type: str
  sample: /usr/obj/nanozfs/web/tree.tar.xz
sha256:
  description: Its SHA-256; null before the first build.
  returned: success
  type: str
  sample: 3fa9c1d2...
size:
  description: Its size in bytes.
  returned: success
  type: int
  sample: 312475648
release:
  description: What C(freebsd-version -u) says on the built system.
  returned: success
  type: str
  sample: 13.2-RELEASE-p4
revision:
  description: Commit of the source tree, with C(-dirty) where files differ from it; empty without version control.
  returned: success
  type: str
  sample: 8a2f1b7c9d0e8a2f1b7c9d0e8a2f1b7c9d0e8a2f
packages:
  description: The packages that are installed.
  returned: success
  type: list
  elements: str
  sample: [nginx-1.24.0_7, pkg-1.19.2]
dest:
  description: Path of the archive on the controller.
  returned: with O(dest)
  type: str
  sample: /home/ann/.cache/nanozfs/web.tar.xz
phase:
  description: The step that failed, as nanobsd.sh calls it.
  returned: when a step failed
  type: str
  sample: run buildworld
log:
  description: Path of the log of the step that failed, on the build host.
  returned: when a step failed
  type: str
  sample: /usr/obj/nanozfs/web/obj/_.bw
tail:
  description: The end of that log.
  returned: when a step failed
  type: list
  elements: str
  sample: ["*** [buildworld] Error code 2"]
errors:
  description: The lines near its end that look like the reason; with many jobs they may be far above the end.
  returned: when a step failed
  type: list
  elements: str
  sample: ["main.c:12:1: error: unknown type name 'in'"]
finished:
  description: Whether the build is over.
  returned: success
  type: bool
  sample: true
job:
  description: Name of the build that goes on.
  returned: while it is not finished
  type: str
  sample: 1795000000-4711
progress:
  description: How far it is. Times in seconds.
  returned: while it is not finished
  type: dict
  sample:
    {phase: run buildworld, elapsed: 1260, step: "stage 4.2: building libraries", log: /usr/obj/nanozfs/web/obj/_.bw}
"""

import os
import time
from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import JOB
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job as jobs
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd import build
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd import definition as definitions
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import abi_of


def definition_of(params: Mapping[str, Any]) -> definitions.Definition:
    """What the arguments ask for."""
    options = {
        name: definitions.options_of(params[name], name)
        for name in ("world_options", "make_conf", "build_options", "install_options")
    }
    arch = params["arch"] or "amd64"
    others = [options["make_conf"], options["build_options"], options["install_options"]]
    return definitions.Definition(
        name=params["name"],
        source=params["source"],
        arch=arch,
        abi=params["abi"] or abi_of(params["source"], arch),
        kernel=params["kernel"],
        kernel_lines=tuple(params["kernel_lines"]),
        modules=tuple(params["modules"]),
        world=definitions.reproducible(options["world_options"], others),
        make_conf=options["make_conf"],
        build=options["build_options"],
        install=options["install_options"],
        packages=tuple(params["packages"]),
        repository=definitions.Repository(params["repository"], params["signature_type"], params["signature_trust"]),
        scripts=tuple(definitions.Script(each["name"], each["content"]) for each in params["scripts"]),
        jobs=params["jobs"],
    )


def still(module: AnsibleModule, record: Dict[str, Any], place: definitions.Place) -> Dict[str, Any]:
    """What to tell about a build that somebody else has begun.

    :raises FleetError: when it goes on, and the caller wanted to see its end.
    """
    if not record.get("finished") and not module.params["detach"]:
        raise FleetError(
            "an earlier play still builds in {0}".format(place.folder),
            safe="that build goes on",
            todo="run the play again later; it takes the build over",
        )
    return jobs.answer(record)


def begun(module: AnsibleModule, job: jobs.Job, ident: str) -> Dict[str, Any]:
    """Wait a little for a build that was begun in a process of its own, and tell about it.

    :raises FleetError: when it died at once.
    """
    record = jobs.await_change(job, ident, module.params["wait"])
    if record is None:
        raise FleetError(
            "the process that looks after the build died",
            safe="what ended well is kept",
            todo="look for the reason (dmesg: out of memory?), then run the play again; it goes on from here",
        )
    return jobs.answer(record)


def begin(module: AnsibleModule, runner: Runner, job: jobs.Job, plan: build.Plan) -> Dict[str, Any]:
    """Build, with the lock of the job."""
    params = module.params
    started = time.time()
    head = {"job": "{0}-{1}".format(int(started), os.getpid()), "image": plan.ident, "describe": plan.describe}
    difference = build.changes(plan)

    def work() -> Dict[str, Any]:
        return dict(build.run(plan, runner, params["reader"]), diff=difference)

    def look() -> Dict[str, Any]:
        return build.course_of(plan.place, head, time.time() - started)

    job.save(dict(head, phase="starting", elapsed=0, log="", step="", finished=False))
    if params["detach"]:
        jobs.start(job, head, look, work)
        return begun(module, job, head["job"])
    record = jobs.finished(head, jobs.outcome_of(work))
    job.save(record)
    return jobs.answer(record)


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    definition = definition_of(params)
    place = definitions.Place(params["folder"])
    definitions.check(definition, place)
    job = jobs.Job(place.folder, jobs.BUILD)
    if params["job"]:
        record = jobs.await_change(job, params["job"], params["wait"])
        if record is not None:
            return jobs.answer(record)
    plan = build.plan(definition, place, runner, params["refresh"])
    if module.check_mode:
        if job.under_way():
            record = job.read()
            jobs.refuse_other(job, record, plan.ident, plan.describe)
            return dict(build.result(plan), **jobs.answer(record or {}))
        return dict(build.result(plan), diff=build.changes(plan))
    other = jobs.take(job, plan.ident, plan.describe, params["wait"] if params["detach"] else 0)
    if other is not None:
        return still(module, other, place)
    try:
        build.check_alone(place)
        plan = build.plan(definition, place, runner, params["refresh"])  # another one may have ended since
        if plan.changed:
            return begin(module, runner, job, plan)
        build.hand_over(place.archive, params["reader"])
        return build.result(plan)
    finally:
        job.unlock()


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "source": {"type": "path", "default": "/usr/src"},
            "folder": {"type": "path", "required": True},
            "arch": {"type": "str", "default": ""},
            "abi": {"type": "str", "default": ""},
            "kernel": {"type": "str", "default": "GENERIC"},
            "kernel_lines": {"type": "list", "elements": "str", "default": []},
            "modules": {"type": "list", "elements": "str", "default": []},
            "world_options": {"type": "dict", "default": {}},
            "make_conf": {"type": "dict", "default": {}},
            "build_options": {"type": "dict", "default": {}},
            "install_options": {"type": "dict", "default": {}},
            "packages": {"type": "list", "elements": "str", "default": []},
            "repository": {"type": "str", "default": "pkg+http://pkg.FreeBSD.org/${ABI}/quarterly"},
            "signature_type": {"type": "str", "choices": ["fingerprints", "pubkey", "none"], "default": "fingerprints"},
            "signature_trust": {"type": "path", "default": "/usr/share/keys/pkg"},
            "refresh": {"type": "bool", "default": False},
            "customise": {"type": "list", "elements": "path", "default": []},
            "jobs": {"type": "int"},
            "dest": {"type": "path"},
            "scripts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            "reader": {"type": "str"},
            **JOB,
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
