# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a release of an image: everything that is published of it, from its raw bytes to the signed manifest.

What is published is tried first, with the same code that hosts use: every pack and every delta has made the image once
before its manifest is signed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import NotUfs, Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    CHANNEL_NAMESPACE,
    GRID,
    IMAGE_JSON,
    NAMESPACE,
    Artefact,
    Bad,
    Channel,
    Manifest,
    Offer,
    channel_name,
    find_in_index,
    is_digest,
    parse_inside,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, Origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import parse as parse_origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import FolderRepository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import manifest_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Writer
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import subject_of as subject_of_origin
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audited
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import delta, medium, pack, sbom
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.compare import (
    FILES,
    Difference,
    Subject,
    compare,
    subject_of,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.keys import check_key
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.listing import Listing, read_listing
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.maps import Placed, encode_map
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import CODE, Form
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import (
    Description,
    Folder,
    artefact_of,
    check_version,
    digest_image,
    passing,
)

Say = Callable[[str], None]
#: codec and base of offers that are to be made; no base for a pack
Todo = List[Tuple[str, Optional[str]]]

#: the kind of the bill of materials in a manifest's files
SBOM = "sbom"

#: how long a reason may be why an image is bad (characters), and how many images may be: a channel is one small file
#: (``manifest.MAX_SMALL_FILE``)
MAX_REASON, MAX_BAD = 500, 1000

#: how much time passes between two lines about the same step (seconds)
SAY_EVERY = 5.0


@dataclass(frozen=True)
class Order:
    """What is to be published. Sizes in bytes, times in seconds since the epoch.

    :param image: path of the raw bytes of an image; or
    :param name: the name of images, and with
    :param version: the version of one that is published already and may lack something.
    :param media: what media there are to be of it.
    :param not_after: time after which hosts refuse it.
    """

    image: Optional[str] = None
    name: Optional[str] = None
    version: Optional[str] = None
    media: Sequence[Form] = (Form(),)
    not_after: Optional[int] = None


@dataclass(frozen=True)
class Terms:
    """How images are published. Sizes in bytes, times in seconds since the epoch.

    :param codecs: how payloads are compressed; xz is always among them.
    :param deltas: from how many of the images before there are deltas.
    :param deltas_from: images from which there are deltas in any case: versions or ids.
    :param keep: how many images of a name stay in the folder; 0 for all.
    :param rings: which version each ring of the channel should run; rings that are not named stay as they are.
    :param bad: images that nobody should run, by version or id, and why; an empty reason takes one off the list.
    :param sbom: whether there is to be a bill of materials; ``None`` for where one can be made.
    :param sbom_vex: whether it has the known holes of the image.
    :param holes: what an image is compared with for that.
    """

    output: str
    signing_key: str
    codecs: Sequence[str] = (codec.XZ,)
    deltas: int = 3
    deltas_from: Sequence[str] = ()
    keep: int = 0
    rings: Sequence[Tuple[str, str]] = ()
    bad: Sequence[Tuple[str, str]] = ()
    channel_not_after: Optional[int] = None
    replace: bool = False
    sbom: Optional[bool] = None
    sbom_vex: bool = False
    holes: look.Order = look.Order(source.Terms(fetch=False))  # noqa: RUF009 - it cannot be changed


class Progress:
    """Lines about a step that takes its time."""

    def __init__(self, say: Say, what: str) -> None:
        self._say, self._what = say, what
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= SAY_EVERY and done:
            self._said = now
            left = (now - self._started) / done * (total - done)
            self._say("{0}: {1:.0f} %, {2:.0f} s to go".format(self._what, 100 * done / total, left))


def check_terms(terms: Terms, runner: Runner) -> None:
    """Refuse what cannot be done, before anything is.

    :raises Refused: with the reason.
    """
    check_key(runner, terms.signing_key)
    if terms.keep < 0:
        raise Refused(
            "keep is {0}, and there is no such number of images".format(terms.keep),
            safe="nothing was published or removed",
            todo="image_keep says how many images of a name stay; 0 keeps all",
        )
    if codec.XZ not in terms.codecs:
        raise Refused("the codecs {0} lack xz, the only one that every host has".format(", ".join(terms.codecs)))
    missing = sorted(set(terms.codecs) - set(codec.unpackers()))
    if missing:
        raise Refused(
            "this machine cannot compress with {0}".format(", ".join(missing)),
            todo="install the Python package zstandard where Ansible runs",
        )
    if terms.sbom or terms.sbom_vex:
        sbom.check_available()
    if terms.sbom_vex:
        look.check(terms.holes, "image_sbom_vex")


class Look(NamedTuple):
    """What an image says of itself.

    :param code: the boot code for a medium of it.
    :param origin: where it comes from; ``None`` where it does not say.
    :param moment: its time in seconds since the epoch.
    """

    identity: Identity
    build: str
    code: Dict[str, bytes]
    origin: Optional[Origin]
    moment: int


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Ufs]:
    """The file system of an image.

    :raises FleetError: when it is none, or damaged.
    """
    try:
        with open(path, "rb") as file:
            yield Ufs(lambda offset, length: os.pread(file.fileno(), length, offset))
    except NotUfs as error:
        raise FleetError("{0} is no image: {1}".format(path, error.what))
    except OSError as error:
        raise FleetError("{0} cannot be read: {1}".format(path, error.strerror))


def look_inside(path: str) -> Look:
    """What an image says of itself.

    :raises FleetError: when it is no image of ours.
    """
    with _opened(path) as ufs:
        raw, inode, said = ufs.read(IMAGE_JSON), ufs.find(IMAGE_JSON), ufs.read(ORIGIN_JSON)
        code = {name: ufs.read("boot/" + name) or b"" for name in CODE}
    if raw is None or inode is None:
        raise FleetError(
            "{0} has no {1} in it".format(path, IMAGE_JSON),
            todo="build it with the layout of the collection (image_build)",
        )
    inside = parse_inside(raw)
    identity = Identity(
        inside.name,
        inside.version,
        inside.seq,
        inside.min_seq,
        inside.arch,
        inside.abi,
        inside.pool,
        inside.features,
    )
    origin = parse_origin(said.decode("utf-8", "replace")) if said is not None else None
    return Look(identity, inside.build, code, origin, inode.mtime)


def listing_of(path: str) -> Listing:
    """The list of the files in an image.

    :raises FleetError: when it is none, or damaged.
    """
    with _opened(path) as ufs:
        return read_listing(ufs)


def bases_of(folder: Folder, identity: Identity, ident: str, terms: Terms) -> List[str]:
    """The ids of the images from which there are to be deltas, without repetition."""
    wanted = folder.before(identity.name, identity.arch, identity.seq, terms.deltas)
    index = tuple(folder.index())
    wanted += [find_in_index(index, each, identity.name) for each in terms.deltas_from]
    return [each for number, each in enumerate(wanted) if each != ident and each not in wanted[:number]]


def _name(ident: str, kind: str, name: str) -> str:
    return "{0}.{1}{2}".format(ident, "" if name == codec.XZ else name + ".", kind)


class Press:
    """Makes the files of one image."""

    def __init__(self, folder: Folder, image: str, ident: str, say: Say) -> None:
        self._folder = folder
        self._image = image
        self._ident = ident
        self._size = os.path.getsize(image)
        self._say = say

    def _publish(
        self, name: str, frames: Callable[[Any], List[Placed]], base: Optional[str]
    ) -> Tuple[Artefact, Artefact]:
        """Write a file with payloads and its map; the map comes last, so that one without the other is never used."""
        with passing(self._folder.full("." + name + ".part")) as partial:
            with open(partial, "w+b") as out:
                placed = frames(out)
                out.flush()
                os.fsync(out.fileno())
            os.replace(partial, self._folder.full(name))
        replace_file(self._folder.full(name + ".map"), encode_map(self._ident, base, self._size, placed))
        return artefact_of(self._folder.path, name + ".map"), artefact_of(self._folder.path, name)

    def pack(self, name: str) -> Offer:
        """The full pack."""
        tick = Progress(self._say, "packing ({0})".format(name))
        with open(self._image, "rb") as image:
            found = self._publish(
                _name(self._ident, "pack", name), lambda out: pack.make_pack(image, self._size, out, name, tick), None
            )
        return Offer(name, found[0], found[1])

    def delta(self, name: str, base: Manifest, old: str) -> Offer:
        """A delta.

        :param base: the image that it starts from.
        :param old: path of that image.
        """
        what = "delta from {0} ({1})".format(base.version, name)
        tick = Progress(self._say, what)
        with open(self._image, "rb") as new, open(old, "rb") as before:
            found = self._publish(
                _name(self._ident, "from-{0}.delta".format(base.id[:16]), name),
                lambda out: delta.make_delta(before, new, out, name, tick),
                base.id,
            )
        self._say("{0}: {1:.2f} MB".format(what, (found[0].size + found[1].size) / 1e6))
        return Offer(name, found[0], found[1], base.id, base.build, base.version)

    def medium(self, code: Mapping[str, bytes], form: Form) -> Artefact:
        """A medium, out of the pack.

        :param code: the boot code of the image.
        """
        name = self._ident + form.suffix
        source = self._folder.full(_name(self._ident, "pack", codec.XZ))
        with passing(self._folder.full("." + name + ".part")) as partial:
            medium.make(partial, source, self._size, self._size, self._ident, code, form)
            os.replace(partial, self._folder.full(name))
        return artefact_of(self._folder.path, name)

    def write(self, suffix: str, content: bytes) -> Artefact:
        """Publish a small file.

        :param suffix: what its name has after the id.
        """
        replace_file(self._folder.full(self._ident + suffix), content)
        return artefact_of(self._folder.path, self._ident + suffix)

    def prove(self, draft: Description, offer: Offer, bases: Dict[str, str], say: Say) -> None:
        """See that an offer makes the image, before anything is signed.

        :param draft: what the manifest will say of the image.
        :param bases: path of the image that a delta starts from, by its build.
        :raises FleetError: when it does not.
        """
        say("trying {0} ({1})".format(offer.describe(), offer.codec))
        manifest = parse_manifest(replace(draft, offers=[offer]).encode())
        with passing(self._folder.full(".{0}.try.part".format(self._ident))) as path:
            unpack_image(self._folder, manifest, path, [offer], bases)


def unpack_pack(folder: Folder, manifest: Manifest, path: str) -> None:
    """Make an image out of its pack, which needs nothing else."""
    unpack_image(folder, manifest, path, [each for each in manifest.offers if each.base is None], {})


def unpack_image(folder: Folder, manifest: Manifest, path: str, offers: Iterable[Offer], bases: Dict[str, str]) -> None:
    """Make an image out of what is published, as a host would.

    :param offers: what may be used.
    :param bases: paths of other images by their build.
    :raises FleetError: when that does not give the image.
    """
    with open(path, "wb") as file:
        file.truncate(manifest.size)
    only = replace(manifest, offers=tuple(offers))
    writer = Writer(FolderRepository(folder.path), only, path, bases, Wishes(deltas=bool(bases)))
    outcome = writer.write()
    if outcome.notes or digest_file(path) != manifest.id:
        raise FleetError(
            "what was published of {0} does not make it: {1}".format(
                manifest.describe(), "; ".join(outcome.notes) or "other bytes"
            ),
            safe="its manifest was not signed",
        )


def publish(terms: Terms, image: str, order: Order, runner: Runner, say: Say) -> Tuple[Optional[Manifest], bool]:
    """Publish an image, or what is missing of it.

    :param terms: those that :func:`check_terms` has passed.
    :param image: path of its raw bytes.
    :returns: its manifest (``None`` in check mode when there would be a new one), and whether anything is new.
    :raises FleetError: when anything fails; what was published before is as it was.
    """
    inside = look_inside(image)
    identity, build = inside.identity, inside.build
    folder = Folder(terms.output)
    size = os.path.getsize(image)
    if size % GRID:
        raise Refused("an image of {0} bytes: the size must be a multiple of {1}".format(size, GRID))
    say("hashing {0}-{1}".format(identity.name, identity.version))
    ident, windows = digest_image(image)
    found = folder.find(identity, build)
    if found is not None and found.id != ident:
        found = None
    offers = list(found.offers) if found is not None else []
    files = dict(found.files) if found is not None else {}
    not_after = order.not_after if found is None or order.not_after is not None else found.not_after
    if found is not None and not wanting(folder, identity, found, order, terms):
        return found, False
    if not terms.replace:
        _check_version(folder, identity, ident, image, runner.check_mode)
    if runner.check_mode:
        return found, True
    press = Press(folder, image, ident, say)
    if "windows" not in files:
        files["windows"] = press.write(".win", windows)
    if FILES not in files:
        say("listing its files")
        files[FILES] = press.write(".files.xz", listing_of(image).encode())
    if sbom_wanted(terms) and SBOM not in files:
        # of what does not say where it comes from there is at least who made it be an image
        origin = inside.origin or Origin("")
        raw = sbom.make(identity, build, ident, origin, inside.moment, _holes(terms, identity, origin, say))
        files[SBOM] = press.write(".cdx.json", raw)
    elif terms.sbom is None and SBOM not in files:
        say("the Python package {0} is not installed: there will be no bill of materials".format(sbom.LIBRARY))
    todo = missing(folder, identity, ident, terms, offers)
    draft = Description(ident, size, identity, build, not_after, files, offers)
    offers += _packs(press, draft, todo, say)
    offers += _deltas(folder, press, draft, todo, say)
    for form in order.media:
        if form.kind not in files:
            say("laying out a medium ({0})".format(form.scheme))
            files[form.kind] = press.medium(inside.code, form)
    offers.sort(key=lambda offer: (offer.base or "", offer.codec))
    raw = replace(draft, files=files, offers=offers).encode()
    manifest = folder.add(runner, raw, terms.signing_key, terms.replace)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_left_of_refused(folder, identity))
    return manifest, True


def wanting(folder: Folder, identity: Identity, found: Manifest, order: Order, terms: Terms) -> bool:
    """Whether anything has to be published of an image besides what is."""
    return (
        bool(missing(folder, identity, found.id, terms, found.offers))
        or any(kind not in found.files for kind in ("windows", FILES))
        or (sbom_wanted(terms) and SBOM not in found.files)
        or any(form.kind not in found.files for form in order.media)
        or (order.not_after is not None and order.not_after != found.not_after)
        or not folder.signed_by(manifest_name(found.id), terms.signing_key, NAMESPACE)
    )


def sbom_wanted(terms: Terms) -> bool:
    """Whether there is to be a bill of materials: by default, where one can be made."""
    return sbom.available() if terms.sbom is None else terms.sbom


def _holes(terms: Terms, identity: Identity, origin: Origin, say: Say) -> Optional[Audited]:
    """The known holes of an image, where they are asked for.

    :raises FleetError: when there is nothing to compare it with.
    """
    if not terms.sbom_vex:
        return None
    title = "{0}-{1}".format(identity.name, identity.version)
    subject = subject_of_origin(title, origin)
    if not subject.things:  # no holes in the bill of materials would mean that there are none
        raise Refused(
            "{0} does not say what is in it, so nothing is known of its holes".format(title),
            safe="it was not published",
            todo="leave image_sbom_vex out",
        )
    return look.look(subject, terms.holes, time.time(), say)[0]


def _left_of_refused(folder: Folder, identity: Identity) -> str:
    """Where the list of the files of an image lies that was not published."""
    return folder.full(".{0}-{1}.refused.files.xz".format(identity.name, identity.version))


def _check_version(folder: Folder, identity: Identity, ident: str, image: str, check_mode: bool) -> None:
    """Refuse to publish a version again with other contents, and say what differs.

    The list of the files of what is refused stays in the folder, because there is no other trace of it then.

    :raises Refused: when the version was published already.
    """
    rivals = folder.rivals(identity.name, identity.version, ident)
    differs = todo = ""
    if rivals and not check_mode:
        listing = listing_of(image)
        left = _left_of_refused(folder, identity)
        replace_file(left, listing.encode())
        settings = [shlex.quote("image_output=" + folder.path), "image_old=" + rivals[0][:12]]
        settings.append(shlex.quote("image_new=" + left))
        todo = "see what differs: ansible-playbook nanozfs.fleet.image_diff {0}; ".format(
            " ".join("-e " + each for each in settings)
        )
        with contextlib.suppress(FleetError):  # one that was published before there were lists
            old = subject_of(FolderRepository(folder.path), folder.manifest(rivals[0]))
            differs = "; this build " + compare(old, Subject("this build", listing)).summary()
    check_version(identity.name, identity.version, rivals, differs, todo)


def run(terms: Terms, order: Order, runner: Runner, say: Say) -> Dict[str, Any]:
    """Publish what an order says, then the channel, and remove what is not kept.

    :returns: the result of the module.
    :raises FleetError: when anything fails; what was published before is as it was.
    """
    check_terms(terms, runner)
    folder = Folder(terms.output)
    manifest, changed, name = None, False, order.name
    with folder.locked(runner.check_mode):
        if order.image is not None:
            name = look_inside(order.image)[0].name
            manifest, changed = publish(terms, order.image, order, runner, say)
        elif order.version is not None and name is not None:
            manifest, changed = _complete(terms, folder, name, order, runner, say)
        return finish(terms, str(name), manifest, changed, runner, say)


def _complete(
    terms: Terms, folder: Folder, name: str, order: Order, runner: Runner, say: Say
) -> Tuple[Optional[Manifest], bool]:
    """Publish what is missing of an image that was published before and may not be anywhere else any more."""
    manifest = folder.manifest(find_in_index(tuple(folder.index()), str(order.version), name))
    identity = Identity(
        manifest.name, manifest.version, manifest.seq, manifest.min_seq, manifest.arch, manifest.abi, ""
    )
    manifest = folder.find(identity, manifest.build) or manifest
    if not wanting(folder, identity, manifest, order, terms):
        return manifest, False
    if runner.check_mode:
        return manifest, True
    with passing(folder.full(".{0}.again.part".format(manifest.id))) as path:
        say("unpacking {0}".format(manifest.describe()))
        unpack_pack(folder, manifest, path)
        return publish(terms, path, order, runner, say)


def missing(folder: Folder, identity: Identity, ident: str, terms: Terms, offers: Sequence[Offer]) -> Todo:
    """Codec and base of every offer that there should be and is not."""
    there = {(offer.codec, offer.base) for offer in offers}
    bases: List[Optional[str]] = [None]
    bases += bases_of(folder, identity, ident, terms)
    return [(name, base) for base in bases for name in terms.codecs if (name, base) not in there]


def _packs(press: Press, draft: Description, todo: Todo, say: Say) -> List[Offer]:
    """Make and try the packs that are missing."""
    offers = []
    for name in (name for name, base in todo if base is None):
        offers.append(press.pack(name))
        press.prove(draft, offers[-1], {}, say)
    return offers


def _deltas(folder: Folder, press: Press, draft: Description, todo: Todo, say: Say) -> List[Offer]:
    """Make and try the deltas that are missing, each from an image that is unpacked for it."""
    bases = sorted({base for _name_, base in todo if base is not None})
    if bases and not delta.has_bsdiff():
        say("the Python package bsdiff4 is not installed: deltas will be about three times as large")
    offers = []
    for base in bases:
        before = folder.manifest(base)
        with passing(folder.full(".{0}.old.part".format(base))) as old:
            say("unpacking {0}".format(before.describe()))
            unpack_pack(folder, before, old)
            for name in (name for name, each in todo if each == base):
                offers.append(press.delta(name, before, old))
                press.prove(draft, offers[-1], {before.build: old}, say)
    return offers


def finish(
    terms: Terms, name: str, manifest: Optional[Manifest], changed: bool, runner: Runner, say: Say
) -> Dict[str, Any]:
    """Do what concerns the folder and no single image, and report everything.

    :param name: of the images.
    :param manifest: what was published just now; it is kept, whatever else is.
    :param changed: whether that is new.
    :returns: the result of the module.
    """
    difference = against_before(Folder(terms.output), manifest) if manifest is not None else None
    if difference is not None:
        say(difference.summary())
    tidied = _tidy(terms, name, manifest, changed, runner, say)
    described = result(Folder(terms.output), manifest) if manifest is not None else {"image": None}
    now = Told(tidied.rings, tidied.bad)
    return dict(
        described,
        difference=None if difference is None else dict(difference.counts(), summary=difference.summary()),
        rings=tidied.rings,
        bad={ident: bad.reason for ident, bad in tidied.bad.items()},
        removed=tidied.removed,
        says=words(manifest, described, changed, tidied) + ([difference.summary()] if difference is not None else []),
        diff={
            "before": "".join(line + "\n" for line in tidied.shown(tidied.before)),
            "after": "".join(line + "\n" for line in tidied.shown(now)),
        },
        changed=changed or tidied.changed,
    )


def foretell(terms: Terms, identity: Identity, build: str, found: Optional[Manifest], order: Order) -> List[str]:
    """What publishing an image that is not made yet would do, for people.

    :param build: that it will be.
    :param found: its manifest, where it is published already, and something is missing of it.
    :raises Refused: when publishing it would be refused.
    """
    folder = Folder(terms.output)
    ident = found.id if found is not None else ""
    rivals = folder.rivals(identity.name, identity.version, ident)
    if not terms.replace:
        check_version(identity.name, identity.version, rivals, "; this one would be build {0}".format(build))
    said = "{0}-{1}: build {2} would be made and published".format(identity.name, identity.version, build)
    if found is not None:
        said = "{0}-{1}: of build {2} would be published what is missing".format(identity.name, identity.version, build)
    lines = [said]
    titles = _titles(folder, identity.name, {})
    if rivals:
        lines.append("replaced: {0}".format(", ".join(titles[each] for each in rivals)))
    offers = missing(folder, identity, ident, terms, found.offers if found is not None else ())
    ways = ["{0} ({1})".format("pack" if base is None else "delta from " + titles[base], name) for name, base in offers]
    media = [form.scheme for form in order.media if found is None or form.kind not in found.files]
    lines.append("; ".join(ways + ["medium ({0})".format(each.upper()) for each in media]) or "no way to it")
    new = New(ident or build, identity.version)
    index = [each for each in folder.index() if each["id"] not in (*rivals, ident)]
    index.append({**new._asdict(), "name": identity.name, "arch": identity.arch, "seq": identity.seq})
    channel = folder.channel(identity.name)
    rings = dict(channel.rings) if channel is not None else {}
    then = _rings_now(folder, tuple(index), identity.name, terms, new, rings, lambda _text: None)
    bad = bad_now(folder, tuple(index), identity.name, terms.bad, channel.bad if channel is not None else {})
    _check_rings(then, bad)
    wanted = dict(terms.rings)
    moved = ["{0}: {1}".format(ring, wanted.get(ring, "follows") or "ends") for ring in _changed(rings, then)]
    if moved:
        lines.append("rings: {0}".format(", ".join(moved)))
    if terms.bad:
        lines.append("bad images: {0}".format(", ".join(_bad_shown(bad)) or "none"))
    if terms.keep:
        doomed = folder.doomed(identity.name, terms.keep, _spared(folder, identity.name, terms, new, then), index)
        _check_may_remove(folder, terms, doomed)
        if doomed:
            lines.append("removed: {0}".format(", ".join(titles[each] for each in doomed)))
    return lines


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    """The rings that run something else, or nothing any more."""
    return sorted(ring for ring in {*before, *after} if before.get(ring) != after.get(ring))


def against_before(folder: Folder, manifest: Manifest) -> Optional[Difference]:
    """What differs from the image before; ``None`` where there is none, or nobody listed its files."""
    for ident in folder.before(manifest.name, manifest.arch, manifest.seq, 1):
        repository = FolderRepository(folder.path)
        with contextlib.suppress(FleetError):
            return compare(subject_of(repository, folder.manifest(ident)), subject_of(repository, manifest))
    return None


class Told(NamedTuple):
    """What a channel says.

    :param rings: ids by the name of the ring.
    :param bad: the bad images by their ids.
    """

    rings: Mapping[str, str]
    bad: Mapping[str, Bad]


class Tidied(NamedTuple):
    """What became of the channel and of old images.

    :param rings: ids by the name of the ring.
    :param removed: ids of images.
    :param before: the channel as it was.
    :param titles: version and id of images, for people, by id.
    :param bad: the bad images by their ids.
    """

    rings: Dict[str, str]
    removed: List[str]
    changed: bool
    before: Told
    titles: Mapping[str, str]
    bad: Mapping[str, Bad]

    def rings_shown(self, rings: Mapping[str, str]) -> List[str]:
        """Rings, a line each."""
        return ["{0}: {1}".format(ring, self.titles.get(ident, ident[:12])) for ring, ident in sorted(rings.items())]

    def shown(self, told: Told) -> List[str]:
        """A channel, a line for each ring and each bad image."""
        return self.rings_shown(told.rings) + ["bad: {0}".format(each) for each in _bad_shown(told.bad)]

    def removals(self) -> List[str]:
        """What was removed, for people."""
        return [self.titles.get(ident, ident[:12]) for ident in self.removed]


def _titles(folder: Folder, name: str, rings: Mapping[str, str]) -> Dict[str, str]:
    """Version and id of the images of a name, for people; also of those that only a ring names any more."""
    found = {str(each["id"]): str(each.get("version")) for each in folder.index() if each.get("name") == name}
    for ident in set(rings.values()) - set(found):
        with contextlib.suppress(FleetError):
            found[ident] = folder.manifest(ident).version
    return {ident: "{0} ({1})".format(version, ident[:12]) for ident, version in found.items()}


class New(NamedTuple):
    """The image that is published now, or would be."""

    id: str
    version: str


def _rings_now(
    folder: Folder,
    index: Tuple[Mapping[str, Any], ...],
    name: str,
    terms: Terms,
    new: Optional[New],
    rings: Mapping[str, str],
    say: Say,
) -> Dict[str, str]:
    """What the rings should run from now on.

    A ring that names an image which was replaced by another build of its version follows: otherwise its hosts would go
    on to install the old build, under the same version. A ring without a version ends.

    :param index: the entries of the images that there are, or would be.
    :param rings: as they are.
    :raises Refused: when there is no such version.
    """
    listed = {str(each["id"]) for each in index}
    found = dict(rings)
    for ring, ident in rings.items():
        if new is not None and ident not in listed:
            with contextlib.suppress(FleetError):
                if folder.manifest(ident).version == new.version:
                    say("the ring {0} follows to the new build of {1}".format(ring, new.version))
                    found[ring] = new.id
    for ring, version in terms.rings:
        if version:
            found[ring] = find_in_index(index, version, name)
        else:
            found.pop(ring, None)
    return found


def _bad_shown(bad: Mapping[str, Bad]) -> List[str]:
    """Bad images, each with its reason, for people."""
    return sorted(
        "{0} ({1}): {2}".format(each.version or "unknown version", ident[:12], printable(each.reason))
        for ident, each in bad.items()
    )


def _meant(index: Tuple[Mapping[str, Any], ...], name: str, wanted: str, bad: Mapping[str, Bad], off: bool) -> str:
    """The id of an image that is to be called bad, or not any more.

    An image that is gone from the index is found on the list. Where one is to be taken off, the list comes first: its
    version may have been published anew since.

    :raises Refused: when there is none or more than one.
    """
    if is_digest(wanted):
        return wanted
    listed = [
        ident
        for ident, each in bad.items()
        if wanted == each.version or (len(wanted) >= 8 and ident.startswith(wanted))
    ]
    there = [str(each["id"]) for each in index if each.get("name") == name and each.get("version") == wanted]
    if len(listed) == 1 and (off or not there):
        return listed[0]
    return find_in_index(index, wanted, name)


def bad_now(
    folder: Folder,
    index: Tuple[Mapping[str, Any], ...],
    name: str,
    changes: Sequence[Tuple[str, str]],
    bad: Mapping[str, Bad],
) -> Dict[str, Bad]:
    """The bad images from now on. Images that are not named stay as they are, also those that are not there any more.

    :param changes: see :class:`Terms`.
    :param bad: as they are.
    :raises Refused: when there is no such image, or a reason is no line of text.
    """
    found = dict(bad)
    for wanted, reason in changes:
        ident = _meant(index, name, wanted, bad, not reason.strip())
        found.pop(ident, None)
        if not reason.strip():
            continue
        if len(reason) > MAX_REASON or printable(reason) != reason:
            raise Refused(
                "the reason why {0} is bad is longer than {1} characters, or more than a line of text".format(
                    wanted, MAX_REASON
                ),
                safe="the channel was not changed",
                todo="give a shorter one (image_bad)",
            )
        entry = bad.get(ident, Bad(""))._replace(reason=reason.strip())
        with contextlib.suppress(FleetError):  # one that was removed, or is about to be published
            manifest = folder.manifest(ident)
            entry = Bad(entry.reason, manifest.version, manifest.build)
        found[ident] = entry
    if len(found) > MAX_BAD:
        raise Refused(
            "{0} images would be called bad, and no more than {1} can be".format(len(found), MAX_BAD),
            safe="the channel was not changed",
            todo="take old ones off (image_bad, with an empty reason), or raise min_seq in the next image",
        )
    return found


def _check_rings(rings: Mapping[str, str], bad: Mapping[str, Bad]) -> None:
    """Refuse a ring that runs a bad image.

    :raises Refused: with the ring.
    """
    for ring, ident in sorted(rings.items()):
        if ident in bad:
            raise Refused(
                "the ring {0} would run {1}, which is bad: {2}".format(
                    ring, bad[ident].version or ident[:12], printable(bad[ident].reason)
                ),
                safe="the channel was not changed",
                todo="give the ring another version in the same call (image_rings), or take the image off the list of "
                "bad ones (image_bad, with an empty reason)",
            )


def _spared(folder: Folder, name: str, terms: Terms, new: Optional[New], rings: Mapping[str, str]) -> Set[str]:
    """The ids of images that stay, however many there are: of rings, of what is published now, and of named deltas."""
    named = {find_in_index(tuple(folder.index()), each, name) for each in terms.deltas_from}
    return {*rings.values(), *named, *([new.id] if new is not None else [])}


def _check_may_remove(folder: Folder, terms: Terms, doomed: Sequence[str]) -> None:
    """Refuse to remove images in the name of a key that hosts do not know.

    :raises Refused: when it is none of those that have signed what is there.
    """
    if doomed and not folder.may_list(terms.signing_key):
        raise Refused(
            "images are to be removed, and {0} has signed none of those in {1}: hosts would not believe an index of "
            "its".format(terms.signing_key, terms.output),
            safe="no image was removed",
            todo="remove them with the key that signs the images (image_keep, image_replace)",
        )


def _tidy(terms: Terms, name: str, manifest: Optional[Manifest], changed: bool, runner: Runner, say: Say) -> Tidied:
    """Keep the channel, and remove images that are not kept any longer.

    :param changed: in check mode what is new is not in the folder, and only that can be said.
    """
    folder = Folder(terms.output)
    channel = folder.channel(name)
    before = Told(dict(channel.rings), channel.bad) if channel is not None else Told({}, {})
    titles = _titles(folder, name, before.rings)
    if runner.check_mode and changed:
        return Tidied(dict(before.rings), [], True, before, titles, before.bad)
    new = New(manifest.id, manifest.version) if manifest is not None else None
    rings = _rings_now(folder, tuple(folder.index()), name, terms, new, before.rings, say)
    bad = bad_now(folder, tuple(folder.index()), name, terms.bad, before.bad)
    _check_rings(rings, bad)
    not_after = terms.channel_not_after
    if not_after is None and channel is not None:
        not_after = channel.not_after
    wanted = Channel(name, rings, not_after, bad=bad)
    signed = folder.signed_by(channel_name(name), terms.signing_key, CHANNEL_NAMESPACE)
    renewed = (bool(rings) or bool(bad) or channel is not None) and (wanted != channel or not signed)
    if renewed and not runner.check_mode:
        say("signing the channel")
        folder.set_channel(runner, wanted, terms.signing_key)
    doomed = folder.doomed(name, terms.keep, _spared(folder, name, terms, new, rings)) if terms.keep else []
    doomed += sorted(
        set(before.rings.values()) - set(rings.values()) - set(folder.idents())
    )  # replaced, and no ring names it any more
    _check_may_remove(folder, terms, doomed)
    if doomed and not runner.check_mode:
        say("removing {0} images".format(len(doomed)))
        folder.remove(runner, doomed, terms.signing_key)
    signs = not doomed and folder.sign_index(runner, terms.signing_key)
    return Tidied(rings, doomed, renewed or signs or bool(doomed), before, titles, bad)


def words(manifest: Optional[Manifest], described: Mapping[str, Any], changed: bool, tidied: Tidied) -> List[str]:
    """What was published, for people, a line each; the media last, as they are what somebody takes away."""
    lines = []
    if manifest is not None:
        lines.append(
            "{0}-{1}: build {2}, {3}".format(
                manifest.name, manifest.version, manifest.build, "published" if changed else "as published before"
            )
        )
        lines.append("id {0}".format(manifest.id))
        lines.append("; ".join(each["title"] for each in described["offers"]) or "no way to it is published")
    lines.append("rings: {0}".format(", ".join(tidied.rings_shown(tidied.rings)) or "none"))
    if tidied.bad:
        lines.append("bad images: {0}".format(", ".join(_bad_shown(tidied.bad))))
    if tidied.removed:
        lines.append("removed: {0}".format(", ".join(tidied.removals())))
    for kind, path in sorted(described.get("files", {}).items()):
        if kind.startswith("medium"):
            lines.append(
                "medium ({0}): {1} - write it with `xz -dc {1} | dd of=/dev/DISK bs=1m`, or the playbook spare".format(
                    "MBR" if kind.endswith("mbr") else "GPT", path
                )
            )
    return lines


def result(folder: Folder, manifest: Manifest) -> Dict[str, Any]:
    """What the modules report of an image."""
    return {
        "build": manifest.build,
        "image": manifest.as_dict(),
        "files": {kind: folder.full(each.name) for kind, each in manifest.files.items()},
        "offers": [
            {
                "title": "{0} ({1}): {2:.2f} MB".format(
                    offer.describe(), offer.codec, (offer.data.size + offer.map.size) / 1e6
                ),
                "kind": offer.kind,
                "codec": offer.codec,
                "from": offer.version or None,
                "file": folder.full(offer.data.name),
                "bytes": offer.data.size + offer.map.size,
            }
            for offer in manifest.offers
        ],
        "manifest": folder.full(manifest_name(manifest.id)),
    }
