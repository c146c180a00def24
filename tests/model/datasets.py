# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zfs(8) does to datasets and snapshots.

A function that fails raises :class:`Fail` with the words of zfs. As with the real one, what it had done before stays
done where the real one does not undo it either, e.g. in a rollback that meets a held snapshot.

Sources: zfs(8) and its sub-pages of OpenZFS 2.1; the transcripts under tests/fixtures/freebsd-13.2/zfs. How much room a
change needs and which part of the slop it may use: the calls of ``dsl_sync_task`` in ``sys/contrib/openzfs``.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import properties, trees, zmounts
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail
from ansible_collections.nanozfs.fleet.tests.model.pools import EXTRA, NORMAL, RESERVED, Item, Pool, Pools, new_guid
from ansible_collections.nanozfs.fleet.tests.model.properties import BOOKMARK, FILESYSTEM, SNAPSHOT, VOLUME
from ansible_collections.nanozfs.fleet.tests.model.space import Space

#: names are shorter than this (ZFS_MAX_DATASET_NAME_LEN)
_MAX_NAME = 256

#: the kinds that most commands take, and all that there are
DATASET = (FILESYSTEM, SNAPSHOT)
ANYTHING = (FILESYSTEM, SNAPSHOT, BOOKMARK)


def _check_change(pool: Pool, action: str, units: int, reserve: int) -> None:
    pool.check_change(action, units, reserve, Space(pool).total())


def check_room(pool: Pool, action: str, size: int) -> None:
    """Refuse what does not fit into a pool any more."""
    _check_change(pool, action, -(-size // (1 << 17)) * 32, NORMAL)


# names


def _component_problem(part: str, delimited: bool) -> str:
    for character in part:
        if not (character.isascii() and character.isalnum()) and character not in "-_.: %":
            first = character.encode("utf-8", "surrogateescape")[:1].decode("utf-8", "surrogateescape")
            return "invalid character '{0}' in name".format(first)
    if delimited:
        return ""
    return {
        ".": "self reference, '.' is found in name",
        "..": "parent reference, '..' is found in name",
    }.get(part, "")


def name_problem(name: str, kinds: Sequence[str], modifying: bool = False) -> str:
    """What is wrong with a name, or nothing.

    :param kinds: what it may name.
    :param modifying: it is to be made or changed.
    """
    if SNAPSHOT not in kinds and "@" in name:
        return "snapshot delimiter '@' is not expected here"
    if tuple(kinds) == (SNAPSHOT,) and "@" not in name:
        return "missing '@' delimiter in snapshot name"
    if BOOKMARK not in kinds and "#" in name:
        return "bookmark delimiter '#' is not expected here"
    if modifying and "%" in name:
        return "invalid character % in name"
    if len(name.encode("utf-8", "surrogateescape")) >= _MAX_NAME:
        return "name is too long"
    if name.startswith("/"):
        return "leading slash in name"
    delimited = False
    rest = name
    while True:
        size = next((at for at, character in enumerate(rest) if character in "/@#"), len(rest))
        part, end, rest = rest[:size], rest[size : size + 1], rest[size + 1 :]
        if not part and not end and name.endswith("/"):
            return "trailing slash in name"
        problem = _component_problem(part, end in ("@", "#"))
        if problem:
            return problem
        if end in ("@", "#"):
            if delimited:
                return "multiple '@' and/or '#' delimiters in name"
            delimited = True
        if not part:
            return "empty component or misplaced '@' or '#' delimiter in name"
        if not end:
            return ""
        if end == "/" and delimited:
            return "trailing slash in name"


def open_item(pools: Pools, name: str, kinds: Sequence[str]) -> Item:
    """What a command was given.

    :raises Fail: when it is not there, or something else.
    """
    action = "cannot open '{0}'".format(name)
    problem = name_problem(name, kinds)
    if problem:
        raise Fail("{0}: {1}".format(action, problem))
    item = pools.find(name)
    if item is None:
        raise Fail("{0}: dataset does not exist".format(action))
    if item.kind not in kinds:
        raise Fail("{0}: operation not applicable to datasets of this type".format(action))
    return item


# properties that are set


def parse_pairs(words: Sequence[str]) -> Dict[str, str]:
    """Arguments of the form KEY=VALUE."""
    pairs: Dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Fail("missing '=' for property=value argument")
        if key in pairs:
            raise Fail("property '{0}' specified multiple times".format(key))
        pairs[key] = value
    return pairs


def _checked(
    native: properties.Native, pairs: Dict[str, str], kind: str, action: str, creating: bool
) -> Dict[str, str]:
    """The pairs with the names and values to keep.

    :raises Fail: at the first one that is wrong, before anything is changed.
    """
    checked = {}
    for given, value in pairs.items():
        key = native.canonical(given)
        if properties.is_quota(key):
            continue
        try:
            checked[key] = _checked_value(native, key, value, kind, creating)
        except properties.Bad as reason:
            raise Fail("{0}: {1}".format(action, reason))
    return checked


def _checked_value(native: properties.Native, key: str, value: str, kind: str, creating: bool) -> str:
    if properties.is_user(key):
        if len(key) > properties.MAX_NAME:
            raise properties.Bad("property name '{0}' is too long".format(key))
        return value
    if kind == SNAPSHOT:
        raise properties.Bad("this property can not be modified for snapshots")
    if properties.is_written(key):
        raise properties.Bad("'{0}' is readonly".format(key))
    known = native.datasets.get(key)
    if known is None:
        raise properties.Bad("invalid property '{0}'".format(key))
    if kind not in known.types:
        raise properties.Bad("'{0}' does not apply to datasets of this type".format(key))
    if not known.editable and not (creating and known.rule == properties.ONCE):
        raise properties.Bad("'{0}' is readonly".format(key))
    return properties.check_value(known, value)


def _set_quotas(record: Dict[str, Any], pairs: Dict[str, str]) -> None:
    """Quotas of users are kept with the data."""
    for key, value in pairs.items():
        if properties.is_quota(key):
            record.setdefault("quotas", {})[key] = 0 if value == "none" else properties.number_of(value)


def _check_reserved(pool: Pool, above: str, checked: Dict[str, str], action: str) -> None:
    """Refuse a new dataset that shall keep more free than there is."""
    wanted = max(int(checked.get(key, "0")) for key in ("reservation", "refreservation"))
    if wanted > Space(pool).available(above):
        raise Fail("{0}: out of space".format(action))


def _room_problem(item: Item, key: str, value: str) -> str:
    """Why a quota or reservation cannot be what it shall be."""
    space, wanted = Space(item.pool), int(value)
    if key in ("quota", "refquota") and wanted:
        now = space.used(item.dataset) if key == "quota" else space.whole(space.live(item.dataset))
        return "size is less than current used or reserved space" if wanted < now else ""
    now = int(item.pool.value(item.dataset, key))
    if wanted - now > space.available(item.dataset):
        return "size is greater than available space"
    return ""


#: these are set one by one and need next to no room
_LIMITS = ("quota", "refquota", "reservation", "refreservation")


def _value_problem(item: Item, key: str, value: str, crowded: bool) -> str:
    """Why the kernel does not set a property that zfs found right."""
    if key in _LIMITS:
        return _room_problem(item, key, value)
    if len(value.encode("utf-8", "surrogateescape")) > properties.MAX_VALUE:
        return "property value too long"
    return "out of space" if crowded else ""


def _is_crowded(item: Item, action: str, checked: Dict[str, str]) -> bool:
    """Whether there is no room to set anything but limits.

    :raises Fail: when nothing at all can be set.
    """
    _check_change(item.pool, action, 0, EXTRA)
    try:
        _check_change(item.pool, action, 2 * len([key for key in checked if key not in _LIMITS]), RESERVED)
    except Fail:
        return True
    return False


def set_properties(item: Item, pairs: Dict[str, str]) -> None:
    """``zfs set``: what is no property, or a value that a property cannot have, makes that nothing is set at all.

    A quota that does not fit or a value that is too long is found out later; then the others are set.
    """
    action = "cannot set property for '{0}'".format(item.name)
    checked = _checked(item.pool.release.native, pairs, item.type, action, False)
    _set_quotas(item.record, pairs)
    crowded = _is_crowded(item, action, checked)
    problems = {key: _value_problem(item, key, value, crowded) for key, value in checked.items()}
    was_none = item.kind == FILESYSTEM and nothing_unmounted(item)
    automatic = was_none and item.pool.value(item.dataset, "canmount") != "noauto"
    change = zmounts.Change(item.pool, _touched(item, checked), "mountpoint" in checked and automatic)
    if "volsize" in checked:
        item.record["volsize"] = int(checked.pop("volsize"))
    item.record["properties"].update({key: value for key, value in checked.items() if not problems[key]})
    item.pool.tick()
    item.pool.save()
    zmounts.refresh(item.pool)
    change.finish()
    errors = ["{0}: {1}\n".format(action, problem) for problem in problems.values() if problem]
    if errors:
        raise Fail("".join(errors))


def _touched(item: Item, checked: Dict[str, str]) -> List[str]:
    """The datasets that must be unmounted for new values."""
    if item.kind != FILESYSTEM:
        return []
    unmounts = checked.get("canmount") == "off" and zmounts.mount_of(item.pool, item.dataset) is not None
    return zmounts.inheriting(item.pool, item.dataset) if "mountpoint" in checked or unmounts else []


def inherit(item: Item, key: str) -> None:
    """``zfs inherit``: forget what was set."""
    action = "cannot inherit {0} for '{1}'".format(key, item.name)
    known = item.pool.release.native.datasets.get(key)
    if item.type not in (known.types if known else (*DATASET, VOLUME)):
        raise Fail("{0}: property doesn't apply to datasets of this type".format(action))
    _check_change(item.pool, action, 0, RESERVED)
    touched = zmounts.inheriting(item.pool, item.dataset) if key == "mountpoint" else []
    change = zmounts.Change(item.pool, touched)
    item.record["properties"].pop(key, None)
    item.pool.tick()
    item.pool.save()
    zmounts.refresh(item.pool)
    change.finish()


# making datasets


class Created(NamedTuple):
    """A new dataset; it may be there although it could not be mounted."""

    pool: Pool
    dataset: str


def _check_parent(pools: Pools, name: str) -> Tuple[Pool, str]:
    """The pool and the name below it of a dataset that is to be made."""
    action = "cannot create '{0}'".format(name)
    parent, slash, _last = name.rpartition("/")
    if not slash:
        raise Fail("{0}: missing dataset name".format(action))
    pool_name = parent.partition("/")[0]
    pool = pools.by_name(pool_name)
    if pool is None:
        raise Fail("{0}: no such pool '{1}'".format(action, pool_name))
    if pools.find(parent) is None:
        raise Fail("{0}: parent does not exist".format(action))
    return pool, name.partition("/")[2]


def _new_record(pool: Pool, checked: Dict[str, str]) -> Tuple[Dict[str, Any], str]:
    number, folder = pool.new_folder("fs")
    record: Dict[str, Any] = {
        "guid": new_guid(),
        "object": number,
        "creation": int(pool.machine.kernel.now()),
        "createtxg": pool.tick(),
        "properties": checked,
        "origin": None,
        "snapshots": [],
        "bookmarks": [],
    }
    return record, folder


def _crypt_of(pool: Pool, above: str, number: int, checked: Dict[str, str]) -> Optional[Dict[str, Any]]:
    """What a new dataset is encrypted with: a key of its own, or the one of the dataset above."""
    given = {key: checked.pop(key) for key in ("encryption", "keyformat", "keylocation") if key in checked}
    if "keyformat" in given:
        given.setdefault("keylocation", "prompt")
        return dict({"encryption": "aes-256-gcm"}, **given, root=number)
    inherited: Optional[Dict[str, Any]] = pool.datasets[above].get("crypt")
    return None if given.get("encryption") == "off" else inherited


def create(pools: Pools, name: str, pairs: Dict[str, str], size: Optional[int] = None, sparse: bool = False) -> Created:
    """``zfs create``, without the mount that may follow.

    :param size: of a volume, which keeps as much free as it may need one day, unless it is *sparse*.
    """
    action = "cannot create '{0}'".format(name)
    problem = name_problem(name, (FILESYSTEM,), True)
    if problem:
        raise Fail("{0}: {1}".format(action, problem))
    pool, dataset = _check_parent(pools, name)
    if dataset in pool.datasets:
        raise Fail("{0}: dataset already exists".format(action))
    checked = _checked(pools.release.native, pairs, FILESYSTEM if size is None else VOLUME, action, True)
    if size is not None and not sparse:
        checked.setdefault("refreservation", str(size + size // 32))
    above = dataset.rpartition("/")[0]
    _check_change(pool, action, 6, NORMAL)
    _check_reserved(pool, above, checked, action)
    record = _new_record(pool, checked)[0]
    record.update({"volsize": size, "crypt": _crypt_of(pool, above, record["object"], checked)})
    _set_quotas(record, pairs)
    pool.datasets[dataset] = record
    pool.save()
    return Created(pool, dataset)


def create_parents(pools: Pools, name: str) -> None:
    """Make and mount the datasets above one that is to be made."""
    parts = name.split("/")
    if pools.by_name(parts[0]) is None:
        raise Fail("cannot create '{0}': no such pool '{1}'".format(name, parts[0]))
    for size in range(2, len(parts)):
        above = "/".join(parts[:size])
        if pools.find(above) is None:
            made = create(pools, above, {})
            zmounts.mount(made.pool, made.dataset)


def clone(pools: Pools, source: Item, name: str, pairs: Dict[str, str]) -> Created:
    """``zfs clone``, without the mount that may follow."""
    action = "cannot create '{0}'".format(name)
    problem = name_problem(name, (FILESYSTEM,), True)
    if problem:
        raise Fail("{0}: {1}".format(action, problem))
    pool, dataset = _check_parent(pools, name)
    checked = _checked(
        pools.release.native, pairs, VOLUME if source.record.get("volsize") else FILESYSTEM, action, False
    )
    if pool.guid != source.pool.guid:
        raise Fail("{0}: source and target pools differ".format(action))
    if dataset in pool.datasets:
        raise Fail("{0}: dataset already exists".format(action))
    _check_change(pool, action, 6, NORMAL)
    _check_reserved(pool, dataset.rpartition("/")[0], checked, action)
    record, folder = _new_record(pool, checked)
    trees.copy(pool.kept(source.record), folder)
    record["origin"] = source.record["guid"]
    record.update({"volsize": source.record.get("volsize"), "crypt": pool.datasets[source.dataset].get("crypt")})
    record["quotas"] = dict(source.record.get("quotas", {}))
    pool.datasets[dataset] = record
    pool.save()
    return Created(pool, dataset)


# snapshots


def _check_free(pool: Pool, wanted: List[Tuple[str, str]]) -> None:
    lines = [
        "cannot create snapshot '{0}@{1}': dataset already exists\n".format(pool.full(dataset), tag)
        for dataset, tag in wanted
        if pool.snapshot(dataset, tag)
    ]
    if lines:
        raise Fail("".join(lines))


def _check_reserved_again(pool: Pool, datasets: List[str], action: str) -> None:
    """What a dataset with a refreservation has written is kept free once more by a snapshot of it."""
    space = Space(pool)
    for dataset in datasets:
        wanted = min(int(pool.value(dataset, "refreservation")), space.dataset_written(dataset))
        if wanted > max(0, space.room(dataset)):
            raise Fail("{0}: out of space".format(action))


def snapshot(pool: Pool, wanted: List[Tuple[str, str]], pairs: Dict[str, str]) -> None:
    """Take snapshots, all in one transaction group: given as pairs of dataset and name."""
    action = "cannot create snapshots "
    for dataset, tag in wanted:
        name = "{0}@{1}".format(pool.full(dataset), tag)
        problem = name_problem(name, (SNAPSHOT,), True)
        if problem:
            raise Fail("cannot create snapshot '{0}': {1}".format(name, problem))
    checked = _checked(pool.release.native, pairs, SNAPSHOT, action, False)
    if len({dataset for dataset, _tag in wanted}) < len(wanted):
        raise Fail("{0}: multiple snapshots of same fs not allowed".format(action))
    _check_change(pool, action, 3 * len(wanted), NORMAL)
    _check_free(pool, wanted)
    _check_reserved_again(pool, [dataset for dataset, _tag in wanted], action)
    txg = pool.tick()
    for dataset, tag in wanted:
        number, folder = pool.new_folder("snap")
        copied = time.time_ns()
        trees.copy(pool.live(dataset), folder)
        pool.snapshots(dataset).append(
            {
                "name": tag,
                "guid": new_guid(),
                "object": number,
                "creation": int(pool.machine.kernel.now()),
                "createtxg": txg,
                "properties": dict(checked),
                "volsize": pool.datasets[dataset].get("volsize"),
                "quotas": dict(pool.datasets[dataset].get("quotas", {})),
                "holds": {},
                "defer": False,
                "copied": copied,
            }
        )
        _note_change(pool, dataset)
    pool.save()


def _note_change(pool: Pool, dataset: str) -> None:
    """When a snapshot came or went last."""
    pool.datasets[dataset]["snapshots_changed"] = int(pool.machine.kernel.now())


def hold(pool: Pool, dataset: str, tag: str, name: str, recursive: bool) -> None:
    """``zfs hold``: all of them or none."""
    chosen = _tagged(pool, dataset, name, recursive)
    if not chosen:
        raise Fail("cannot hold snapshot '{0}@{1}': dataset does not exist".format(pool.full(dataset), name))
    _check_change(pool, "cannot hold", len(chosen), RESERVED)
    for each, record in chosen:
        if tag in record["holds"]:
            whole = "{0}@{1}".format(pool.full(each), name)
            raise Fail("cannot hold snapshot '{0}': tag already exists on this dataset".format(whole))
    for _each, record in chosen:
        record["holds"][tag] = int(pool.machine.kernel.now())
    pool.tick()
    pool.save()


def release(pool: Pool, dataset: str, tag: str, name: str, recursive: bool) -> None:
    """``zfs release``. A snapshot that waits to be destroyed goes with its last hold."""
    chosen = _tagged(pool, dataset, name, recursive)
    held = [(each, record) for each, record in chosen if tag in record["holds"]]
    action = "cannot release hold from snapshot '{0}@{1}'".format(pool.full(dataset), name)
    if not held:
        raise Fail("{0}: {1}".format(action, "no such tag on this dataset" if chosen else "dataset does not exist"))
    _check_change(pool, action, 0, EXTRA)
    for each, record in held:
        del record["holds"][tag]
        _destroy_deferred(pool, each, record)
    pool.tick()
    pool.save()


def _tagged(pool: Pool, dataset: str, name: str, recursive: bool) -> List[Tuple[str, Dict[str, Any]]]:
    """The snapshots of one name, of a dataset and of those below it."""
    datasets = [dataset] + (pool.below(dataset) if recursive else [])
    found = [(each, pool.snapshot(each, name)) for each in datasets]
    return [(each, record) for each, record in found if record is not None]


def bookmark(pools: Pools, source: Item, name: str) -> None:
    """``zfs bookmark``."""
    action = "cannot create bookmark '{0}'".format(name)
    dataset, _delimiter, tag = name.partition("#")
    target = pools.find(dataset)
    if target is None:
        raise Fail("{0}: dataset does not exist".format(action))
    if target.pool.guid != source.pool.guid or target.dataset != source.dataset:
        raise Fail("{0}: source is not an ancestor of the new bookmark's dataset".format(action))
    if any(each["name"] == tag for each in target.record["bookmarks"]):
        raise Fail("{0}: bookmark exists".format(action))
    _check_change(target.pool, action, 1, NORMAL)
    space = Space(target.pool)
    referenced = space.whole(space.kept(source.record)) if source.kind == SNAPSHOT else int(source.record["referenced"])
    kept = {key: source.record[key] for key in ("guid", "creation", "createtxg")}
    target.record["bookmarks"].append(dict(kept, name=tag, referenced=referenced))
    target.pool.tick()
    target.pool.save()


# what depends on what


def dependents(item: Item, inside: Tuple[str, ...] = (), first: bool = True) -> Iterator[Item]:
    """What would have to go with something: what is below it, its snapshots, their clones. Leaves come first.

    :param inside: guids of the datasets on the way here: a clone may have been made below its own origin.
    """
    pool = item.pool
    if item.kind == SNAPSHOT:
        for name in pool.clones(item.record):
            yield from dependents(Item(pool, name, FILESYSTEM, pool.datasets[name]), inside, False)
    elif item.kind == FILESYSTEM:
        if item.record["guid"] in inside:
            return
        inside += (item.record["guid"],)
        for name in pool.children(item.dataset):
            yield from dependents(Item(pool, name, FILESYSTEM, pool.datasets[name]), inside, False)
        for record in item.record["snapshots"][:: -1 if pool.release.newest_first else 1]:
            yield from dependents(Item(pool, item.dataset, SNAPSHOT, record), inside, False)
    if not first:
        yield item


# destroying


def _drop_snapshot(pool: Pool, dataset: str, record: Dict[str, Any]) -> None:
    pool.snapshots(dataset).remove(record)
    _note_change(pool, dataset)
    pool.save()
    if not pool.readonly:
        trees.remove(pool.kept(record))


def _destroy_deferred(pool: Pool, dataset: str, record: Dict[str, Any]) -> None:
    if record["defer"] and not record["holds"] and not pool.clones(record):
        _drop_snapshot(pool, dataset, record)


def destroy_snapshots(pool: Pool, chosen: List[Item], defer: bool) -> None:
    """Destroy snapshots: all of them or none.

    :param defer: those that are held or cloned go when that ends.
    """
    if not chosen:
        return
    _check_change(pool, "cannot destroy snapshots", 0, EXTRA)
    lines = []
    for item in chosen:
        if not defer and item.record["holds"]:
            held = item.pool.release.held.format(item.name)
            lines.append("cannot destroy snapshot {0}: {1}\n".format(item.name, held))
        elif not defer and pool.clones(item.record):
            lines.append("cannot destroy snapshot {0}: snapshot is cloned\n".format(item.name))
    if lines:
        raise Fail("".join(lines))
    for item in chosen:
        if item.record["holds"] or pool.clones(item.record):
            item.record["defer"] = True
        else:
            _drop_snapshot(pool, item.dataset, item.record)
    pool.tick()
    pool.save()


def destroy_filesystem(item: Item, force: bool) -> None:
    """Destroy one file system that nothing depends on any more."""
    pool, action = item.pool, "cannot destroy '{0}'".format(item.name)
    zmounts.unmount_dataset(pool, item.dataset, force)
    _check_change(pool, action, 0, EXTRA)
    if pool.children(item.dataset):
        raise Fail("{0}: dataset already exists".format(action))  # so it says: EEXIST of dsl_destroy_head_check
    if item.record["snapshots"]:
        raise Fail("{0}: dataset is busy".format(action))
    folder, origin = pool.live(item.dataset), pool.origin(item.dataset)
    del pool.datasets[item.dataset]
    pool.tick()
    pool.save()
    trees.remove(folder)
    if origin:
        _destroy_deferred(pool, *origin)


def destroy_bookmark(item: Item) -> None:
    """Destroy a bookmark."""
    _check_change(item.pool, "cannot destroy bookmark", 0, EXTRA)
    item.pool.datasets[item.dataset]["bookmarks"].remove(item.record)
    item.pool.tick()
    item.pool.save()


# rollback


def newer(item: Item) -> List[Item]:
    """Snapshots and bookmarks that are newer than a snapshot, newest first."""
    pool, record = item.pool, item.pool.datasets[item.dataset]
    snapshots = [Item(pool, item.dataset, SNAPSHOT, each) for each in reversed(record["snapshots"])]
    bookmarks = [Item(pool, item.dataset, BOOKMARK, each) for each in reversed(record["bookmarks"])]
    return [each for each in snapshots + bookmarks if each.record["createtxg"] > item.record["createtxg"]]


def check_rollback(item: Item, recurse: bool, clones: bool) -> None:
    """Refuse a rollback that would destroy more than was agreed to."""
    if clones:
        return
    action = "cannot rollback to '{0}'".format(item.name)
    younger = newer(item)
    if younger and not recurse:
        raise Fail(
            "{0}: more recent snapshots or bookmarks exist\n"
            "use '-r' to force deletion of the following snapshots and bookmarks:\n{1}".format(
                action, "\n".join(each.name for each in younger)
            )
        )
    others = [other.name for each in younger for other in dependents(each)]
    if others:
        raise Fail(
            "{0}: clones of previous snapshots exist\n"
            "use '-R' to force deletion of the following clones and dependents:\n{1}".format(action, "\n".join(others))
        )


def rollback(item: Item, force: bool) -> None:
    """Make the live tree what it was, in its own directory, after everything newer is destroyed."""
    pool = item.pool
    errors = "".join(_destroy_younger(each, force) for each in newer(item))
    if errors:
        raise Fail(errors)
    _check_change(pool, "cannot rollback '{0}'".format(pool.full(item.dataset)), 1, RESERVED)
    live = pool.live(item.dataset)
    trees.empty(live)
    trees.copy(pool.kept(item.record), live)
    pool.tick()
    pool.save()


def _destroy_younger(item: Item, force: bool) -> str:
    """Destroy something newer with all that depends on it, as far as possible; what could not be said."""
    errors = ""
    for each in list(dependents(item)) + [item]:
        try:
            if each.kind == FILESYSTEM:
                destroy_filesystem(each, force)
            elif each.kind == BOOKMARK:
                destroy_bookmark(each)
            elif each.record["holds"] or each.pool.clones(each.record):
                errors += "cannot destroy '{0}': dataset is busy\n".format(each.name)
            else:
                destroy_snapshots(each.pool, [each], False)
        except Fail as failure:
            errors += failure.output.err
    return errors


# moving


def promote(item: Item) -> None:
    """Turn clone and origin around: the clone gets the snapshots up to the one that it was made from."""
    pool, action = item.pool, "cannot promote '{0}'".format(item.name)
    origin = pool.origin(item.dataset)
    if origin is None:
        raise Fail("{0}: not a cloned filesystem".format(action))
    parent, shared = origin
    theirs = pool.snapshots(parent)
    moved, left = theirs[: theirs.index(shared) + 1], theirs[theirs.index(shared) + 1 :]
    _check_change(pool, action, 2 + len(moved), RESERVED)
    conflict = next((each for each in moved if pool.snapshot(item.dataset, each["name"])), None)
    if conflict:
        raise Fail(
            "{0}: conflicting snapshot '{1}' from parent '{2}@{3}'".format(
                action, conflict["name"], pool.full(parent), shared["name"]
            )
        )
    item.record["snapshots"] = moved + item.record["snapshots"]
    item.record["origin"] = pool.datasets[parent].get("origin")
    pool.datasets[parent].update({"snapshots": left, "origin": shared["guid"]})
    for each in pool.datasets.values():  # the key of the two, and of all that has it from there, is the clone's now
        if each.get("crypt") and each["crypt"]["root"] == pool.datasets[parent]["object"]:
            each["crypt"] = dict(each["crypt"], root=item.record["object"])
    pool.tick()
    pool.save()


def rename_snapshot(item: Item, target: str, recursive: bool) -> None:
    """Rename a snapshot; *target* may be its new name only."""
    pool, old = item.pool, item.record["name"]
    dataset, delimiter, tag = target.partition("@")
    if not delimiter:
        tag = target
    elif dataset not in ("", pool.full(item.dataset)):
        raise Fail("cannot rename to '{0}': snapshots must be part of same dataset".format(target))
    whole = "{0}@{1}".format(pool.full(item.dataset), tag)
    problem = name_problem(whole, (SNAPSHOT,), True)
    if problem:
        raise Fail("cannot rename to '{0}': {1}".format(target, problem))
    action = "cannot rename '{0}'".format(item.name)
    _check_change(pool, action, 1, RESERVED)
    chosen = _tagged(pool, item.dataset, old, recursive)
    for each, _record in chosen:
        if pool.snapshot(each, tag):
            reason = "a child dataset already has a snapshot with the new name" if recursive else ""
            raise Fail("cannot rename '{0}@{1}': {2}".format(pool.full(each), old, reason or "dataset already exists"))
    for _each, record in chosen:
        record["name"] = tag
    pool.tick()
    pool.save()


def rename(pools: Pools, item: Item, target: str, unmounting: bool, force: bool) -> None:
    """Rename a dataset with all that is below it.

    :param unmounting: unmount what zfs mounted by itself, and mount it again under its new name.
    """
    pool, action = item.pool, "cannot rename to '{0}'".format(target)
    problem = name_problem(target, (FILESYSTEM,), True)
    if problem:
        raise Fail("{0}: {1}".format(action, problem))
    other, dataset = _check_parent(pools, target)
    if other.guid != pool.guid or not item.dataset:
        raise Fail("{0}: datasets must be within same pool".format(action))
    if dataset.startswith(item.dataset + "/"):
        raise Fail("{0}: New dataset name cannot be a descendant of current dataset name".format(action))
    action = "cannot rename '{0}'".format(item.name)
    if dataset in pool.datasets:
        raise Fail("{0}: dataset already exists".format(action))
    _check_change(pool, action, 3, RESERVED)
    moving = [item.dataset] + pool.below(item.dataset)
    automatic = [each for each in moving if pool.mountpoint(each) != "legacy"] if unmounting else []
    change = zmounts.Change(pool, automatic, force=force)
    for each in moving:
        pool.datasets[dataset + each[len(item.dataset) :]] = pool.datasets.pop(each)
    pool.tick()
    pool.save()
    zmounts.refresh(pool)
    change.finish()


def nothing_unmounted(item: Item) -> bool:
    """Whether a dataset is renamed without unmounting anything: zfs does not mount it."""
    return item.type == VOLUME or not item.pool.mountpoint(item.dataset).startswith("/")
