# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building an image: from a tree or archives to a published, signed slice image and a medium."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, Input
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look, match
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import (
    database,
    fitness,
    guards,
    layout,
    packages,
    provenance,
    settings,
    ufs,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import inputs as supply
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import MASTER, Accounts, add_member
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied, Written
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.metalog import REFUSE, read_folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.metalog import find as find_metalog
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import Archive
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import NO_ANSWERS, Answers
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.settings import NOTHING, Settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import base, choose, lock
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.choose import NO_WISH, Choice, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.lock import Lock
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.resolver import ASKED, System
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import esp, publish, release
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.keys import check_successors
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Form

Say = release.Say

#: the database of passwords that pwd_mkdb(8) makes
SPWD_DB = "etc/spwd.db"

#: of an overlay: what stands there is kept
FSTAB = "etc/fstab"

#: where a system of nanobsd.sh looks for its own /cfg (``setup_nanobsd`` in tools/tools/nanobsd/defaults.sh)
REMOUNT = "conf/default/etc/remount"


@dataclass(frozen=True)
class Definition:
    """Everything that makes an image. Sizes in bytes, times in seconds since the epoch.

    :param sources: folders and archives, paths or URLs, that the system is made of; ``packages`` likewise.
    :param wish: packages that come from repositories.
    :param scripts: what becomes of scripts of packages that cannot be run.
    :param metalog: path of the METALOG of the folders; by default each one's own, where it has one.
    :param unlisted: what becomes of files that a METALOG does not name, one of :data:`UNLISTED`.
    :param secrets: files that may hold a password or a private key.
    """

    identity: layout.Identity
    sources: Sequence[Written]
    overlays: Sequence[str]
    recovery: Sequence[str]
    signers: Sequence[str]
    terms: release.Terms
    size: int
    etc_size: int
    epoch: int
    not_after: Optional[int] = None
    media: Sequence[Form] = (Form(),)
    revoked: Sequence[str] = ()
    supply: supply.Terms = supply.USUAL
    metalog: Optional[str] = None
    unlisted: str = REFUSE
    packages: Sequence[Written] = ()
    wish: Wish = NO_WISH
    scripts: Answers = NO_ANSWERS
    settings: Settings = NOTHING
    secrets: Sequence[str] = ()


def check(definition: Definition, runner: Runner) -> None:
    """Refuse a definition that could not become an image, or one that nobody could replace.

    :raises Refused: with the reason.
    """
    if definition.size <= 0 or definition.size % GRID:
        raise Refused("an image of {0} bytes: the size must be a multiple of {1}".format(definition.size, GRID))
    if not definition.sources and definition.wish.base is None:
        raise Refused(
            "there is no tree or archive to build from",
            todo="give base.txz and kernel.txz (image_sources), or have the base system come as packages (image_base)",
        )
    if not definition.signers:
        raise Refused(
            "the image would trust nobody (image_signers is empty)",
            todo="give the public keys of those who may sign its successors, as lines of allowed_signers",
        )
    ufs.check_program()
    release.check_terms(definition.terms, runner)
    check_successors(runner, definition.terms.signing_key, definition.signers, definition.revoked)
    settings.check(definition.settings, layout.VENDOR_SETTINGS, layout.LOADER_SETTINGS)
    for text, what in ((definition.identity.name, "name"), (definition.identity.version, "version")):
        if not text or not all(character.isalnum() or character in "._-" for character in text):
            raise Refused("{0!r} is no usable {1} for an image".format(text, what))


def plan(definition: Definition, scratch: str, say: Say, warn: Optional[Say] = None) -> Tuple[Tree, str]:
    """Put the tree together.

    :param scratch: a folder for the contents of archives.
    :param say: told what is being done.
    :param warn: told what has to be known of the image; by default as *say*.
    :returns: the tree and the build that it is.
    :raises FleetError: when something that it is made of is missing, wrong, or must not be in an image.
    """
    warn = warn or say
    planned = _complete(_begin(definition, scratch, say, warn), scratch, say, warn)
    return planned.tree, planned.build


class Begun(NamedTuple):
    """A tree of sources alone, and the packages that belong over it: ``given`` are those that came as files.

    ``definition`` is the one that was given, with the architecture and ABI of the sources where it did not say them.
    """

    definition: Definition
    tree: Tree
    laid: Laid
    given: List[Archive]
    choice: Optional[Choice]
    system: System


class Planned(NamedTuple):
    """A tree, the build that it is, and the lock of its packages where it has some of repositories."""

    tree: Tree
    build: str
    lock: Optional[Lock]


def _begin(definition: Definition, scratch: str, say: Say, warn: Say) -> Begun:
    """Lay the sources, and choose packages. Those are not fetched yet."""
    tree = Tree()
    sources = supply.supply(definition.sources, definition.supply, say)
    laid = _lay_sources(tree, definition, sources, scratch, warn)
    tree.remove(REMOUNT)
    identity, release, wanted = definition.identity, provenance.release_in(tree), definition.wish.base
    if wanted is not None:
        wanted.check_sources(tree)
        identity, release = replace(identity, arch=identity.arch or base.ARCH), wanted.release
    identity = fitness.settled(identity, tree, release)
    fitness.refuse_foreign(identity.arch)
    definition = replace(definition, identity=identity)
    given = _given(definition, say)
    there = [each.name for each in provenance.said(tree).packages]
    system = choose.system_of(tree, identity.abi, release, there, given, wanted)
    choose.check_release(given, system)
    choice = None
    if definition.wish.all_names:
        choice = choose.choose(definition.wish, system, given, definition.supply.cache, say, warn)
    return Begun(definition, tree, laid, given, choice, system)


def _complete(begun: Begun, scratch: str, say: Say, warn: Say) -> Planned:
    """Lay packages and overlays, and make an image of it all."""
    definition, tree, laid, given, choice, system = begun
    archives = given + _chosen(choice, say)
    choose.check_release(archives, system)
    packages.check(archives, [each.name for each in provenance.said(tree).packages], definition.identity.abi)
    overlays = Tree()
    for folder in definition.overlays:
        overlays.add_folder(folder)
    guards.check_overlays(overlays, definition.secrets)
    accounts = Accounts()
    accounts.add(tree)
    accounts.add(overlays)
    lines, privileged, members = packages.lay(tree, archives, accounts, scratch, warn, definition.scripts)
    locked = None
    inputs = laid.inputs
    if choice is not None:
        digests = {each.package.name: each.package.sha256 for each in archives}
        locked = choice.after.completed(digests, privileged)
        inputs += tuple(choice.inputs(locked))
    for folder in definition.overlays:
        tree.add_folder(folder)
    for path, line in lines:  # an overlay may have brought another master.passwd
        tree.append(path, line)
    for group, user in members:
        add_member(tree, group, user)
    database.add(tree, archives, _source_of(given, choice), definition.epoch, os.path.join(scratch, "packages.sqlite"))
    origin = provenance.describe(tree, inputs, packages.packages_of(archives))
    provenance.write(tree, origin)
    extras = layout.Extras(
        recovery=definition.recovery,
        signers=definition.signers,
        revoked=definition.revoked,
        etc_size=definition.etc_size,
        epoch=definition.epoch,
        form="{0}, {1}".format(" ".join(ufs.command("", "", "", definition.size, definition.epoch)), ufs.ORDER),
        settings=definition.settings,
        stale_accounts=MASTER in tree and _digest(tree, MASTER) != laid.accounts,
        secrets=definition.secrets,
        fstab=overlays.nodes[FSTAB].content().decode("utf-8", "replace") if FSTAB in overlays else "",
    )
    build = layout.apply(tree, definition.identity, extras)
    fitness.check(tree, definition.identity.arch, definition.identity.abi, origin.release)
    for text in fitness.python_problems(tree) + fitness.login_problems(tree):
        warn(text)
    return Planned(tree, build, locked)


def _source_of(given: Sequence[Archive], choice: Optional[Choice]) -> database.Source:
    """Where packages are from."""
    locked = choice.after.packages if choice is not None else ()
    return database.Source(
        repositories={each.name: each.repository for each in locked},
        asked={each.package.name for each in given} | {each.name for each in locked if each.why == ASKED},
    )


def _digest(tree: Tree, path: str) -> str:
    return tree.nodes[path].digest() if path in tree else ""


class Laid(NamedTuple):
    """What is known of sources that were laid over each other.

    ``inputs``: the archives among them, but for one that says itself where it comes from. ``accounts``: digest of the
    master.passwd that came with the database of passwords.
    """

    inputs: Tuple[Input, ...]
    accounts: str


def _lay_sources(tree: Tree, definition: Definition, sources: Sequence[Supplied], scratch: str, warn: Say) -> Laid:
    inputs: List[Input] = []
    accounts = ""
    for each in sources:
        before = {path: tree.nodes.get(path) for path in (SPWD_DB, ORIGIN_JSON)}
        named = find_metalog(each.path, definition.metalog) if each.is_folder else None
        if named is not None:
            tree.add_tree(read_folder(each.path, named, definition.unlisted, tree, warn))
        elif each.is_folder:
            tree.add_folder(each.path, exact=True)
        else:
            tree.add_archive(each.path, scratch)
        if tree.nodes.get(SPWD_DB) is not before[SPWD_DB]:
            accounts = _digest(tree, MASTER)
        if not each.is_folder and tree.nodes.get(ORIGIN_JSON) is before[ORIGIN_JSON]:
            inputs.append(Input(each.name, each.sha256))
    return Laid(tuple(inputs), accounts)


def _given(definition: Definition, say: Say) -> List[Archive]:
    """The packages that are given as files, looked into."""
    terms = replace(definition.supply, manifest="")  # a MANIFEST knows sets only
    return [packages.read(each) for each in packages.expand(supply.supply(definition.packages, terms, say))]


def _chosen(choice: Optional[Choice], say: Say) -> List[Archive]:
    """The packages of repositories, fetched and looked into."""
    if choice is None:
        return []
    archives = [packages.read(each) for each in choice.supply(say)]
    choice.check(archives)
    return archives


def run(definition: Definition, runner: Runner, say: Say) -> Dict[str, Any]:
    """Build and publish, unless exactly this was published before.

    :param runner: its check mode decides whether anything is written.
    :param say: told what is being done.
    :returns: the result of the module; ``warnings`` is what has to be known of the image.
    :raises FleetError: when anything fails; what was published before is as it was.
    """
    check(definition, runner)
    warnings: List[str] = []
    terms = definition.terms
    folder = publish.Folder(terms.output)
    with tempfile.TemporaryDirectory(prefix="nanozfs-image-") as scratch:
        say("putting the tree together")
        begun = _begin(definition, scratch, say, warnings.append)
        definition = begun.definition
        for text in _odd_number(folder, definition.identity):
            say(text)
            warnings.append(text)
        if begun.choice is not None and begun.choice.missing and runner.check_mode:
            return _foretold(begun, begun.choice, warnings, say)
        tree, build, locked = _complete(begun, scratch, say, warnings.append)
        about = _about(begun.choice, locked) if begun.choice is not None and locked is not None else {}
        said = about.pop("says", [])
        holes = _holes(definition, match.subject_of(_title(definition), provenance.said(tree)), say)
        moved = bool(about.pop("changed", False))
        if any(form.boots_efi("boot/gptboot.efi" in tree) for form in definition.media):
            esp.check_programs()
        with folder.locked(runner.check_mode):
            if moved and begun.choice is not None:
                lock.check_unchanged(definition.wish.lock, begun.choice.before)
            found = folder.find(definition.identity, build)
            if found is not None and found.size == definition.size and not _wanting(folder, definition, found):
                manifest, changed = found, False
            elif runner.check_mode:
                told = found if found is not None and found.size == definition.size else None
                says = release.foretell(terms, definition.identity, build, told, _order(definition))
                return dict(about, changed=True, build=build, image=None, says=said + says + holes, warnings=warnings)
            else:
                manifest, changed = _make(definition, runner, folder, tree, build, scratch, say)
            if moved and locked is not None and not runner.check_mode:  # not before there is an image with them
                for text in said:
                    say(text)
                lock.write(definition.wish.lock, locked)
            done = release.finish(terms, manifest.name, manifest, changed, runner, say)
            if "diff" in about:
                about["diff"] = [about["diff"], done["diff"]]
            done.update(about, changed=done["changed"] or moved, says=said + done["says"] + holes, warnings=warnings)
            return done


def _title(definition: Definition) -> str:
    return "{0}-{1}".format(definition.identity.name, definition.identity.version)


def _holes(definition: Definition, subject: match.Subject, say: Say) -> List[str]:
    """What is known of holes in an image, and of the support of its FreeBSD."""
    return look.told(subject, definition.terms.holes, time.time(), say)


def _foretold(begun: Begun, choice: Choice, warnings: List[str], say: Say) -> Dict[str, Any]:
    """What check mode says where packages are missing: what is in them, and so the build, nobody can know."""
    definition = begun.definition
    says = [
        "{0}: would be built, of packages that are not here yet".format(_title(definition)),
        *choice.foretell(),
    ]
    about = _about(choice, choice.after)
    says += about.pop("says")
    origin = provenance.describe(begun.tree, packages=packages.packages_of(begun.given))
    there = {each.name: each.version for each in origin.packages}
    there.update((each.name, each.version) for each in choice.after.packages)
    release, kernel = origin.release, origin.kernel_release
    if definition.wish.base is not None:
        release = base.release_of(there, "FreeBSD-runtime")
        kernel = kernel or base.release_of(there, "FreeBSD-kernel-")
    subject = match.subject(_title(definition), release, kernel, sorted(there.items()))
    says += _holes(definition, subject, say)
    return dict(about, changed=True, build=None, image=None, says=says, warnings=warnings)


def _about(choice: Choice, after: Lock) -> Dict[str, Any]:
    """What a result says of the lock."""
    before = choice.before
    found: Dict[str, Any] = {
        "changed": before != after,
        "lock": {"path": choice.wish.lock, "changes": lock.changes(before, after)},
        "says": choice.told(after),
    }
    if before != after:
        found["diff"] = {
            "before_header": choice.wish.lock,
            "after_header": choice.wish.lock,
            "before": before.lines() if before else "",
            "after": after.lines(),
        }
    return found


def _odd_number(folder: publish.Folder, identity: layout.Identity) -> List[str]:
    """What there is to say of a number that does not grow. It may be meant so: a mended version of an older line."""
    above = [
        "{0} ({1})".format(each.get("version"), number)
        for number, each in reversed(folder.numbered(identity.name, identity.arch))
        if number >= identity.seq and each.get("version") != identity.version
    ]
    if not above:
        return []
    return [
        "image_seq is {0}, and published are {1}: hosts that run these take this image only with "
        "upgrade_allow_older".format(identity.seq, ", ".join(above))
    ]


def _order(definition: Definition) -> release.Order:
    return release.Order(media=definition.media, not_after=definition.not_after)


def _wanting(folder: publish.Folder, definition: Definition, found: Manifest) -> bool:
    return release.wanting(folder, definition.identity, found, _order(definition), definition.terms)


def _make(
    definition: Definition,
    runner: Runner,
    folder: publish.Folder,
    tree: Tree,
    build: str,
    scratch: str,
    say: Say,
) -> Tuple[Manifest, bool]:
    # made in the output folder, so that putting it in place is a rename and needs no second copy
    with publish.passing(folder.full(".{0}-{1}.part".format(definition.identity.name, build))) as partial:
        say("making a file system of {0} MiB from {1} files".format(definition.size >> 20, len(tree.nodes)))
        ufs.make(tree, scratch, partial, definition.size, definition.epoch)
        guards.check_label(partial)
        manifest, changed = release.publish(definition.terms, partial, _order(definition), runner, say)
    if manifest is None:  # only in check mode there is none
        raise AssertionError("nothing was published")
    return manifest, changed
