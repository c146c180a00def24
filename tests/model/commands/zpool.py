# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zpool(8), and zdb(8) as far as it shows labels.

Source: the transcripts under tests/fixtures/freebsd-13.2/zpool and zpool-crossboot and freebsd-15.0/zpool; in what they
differ is in :mod:`tests.model.releases`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import features, labels, properties, releases, tables, zmounts
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output
from ansible_collections.nanozfs.fleet.tests.model.pools import (
    DEGRADED,
    DESTROYED,
    OFFLINE,
    ONLINE,
    REMOVED,
    STATES,
    SUSPENDED,
    UNAVAIL,
    UNSUPPORTED,
    Pool,
    Pools,
    Row,
    leaves,
)
from ansible_collections.nanozfs.fleet.tests.model.properties import nice
from ansible_collections.nanozfs.fleet.tests.model.space import Space

#: but for those that differ by release
_USAGE = {
    "clear": "\tclear [-nF] <pool> [device]\n",
    "create": (
        "\tcreate [-fnd] [-o property=value] ... \n"
        "\t    [-O file-system-property=value] ... \n"
        "\t    [-m mountpoint] [-R root] <pool> <vdev> ...\n"
    ),
    "destroy": "\tdestroy [-f] <pool>\n",
    "export": "\texport [-af] <pool> ...\n",
    "import": (
        "\timport [-d dir] [-D]\n"
        "\timport [-o mntopts] [-o property=value] ... \n"
        "\t    [-d dir | -c cachefile] [-D] [-l] [-f] [-m] [-N] [-R root] [-F [-n]] -a\n"
        "\timport [-o mntopts] [-o property=value] ... \n"
        "\t    [-d dir | -c cachefile] [-D] [-l] [-f] [-m] [-N] [-R root] [-F [-n]]\n"
        "\t    [--rewind-to-checkpoint] <pool | id> [newpool]\n"
    ),
    "offline": "\toffline [-f] [-t] <pool> <device> ...\n",
    "online": "\tonline [-e] <pool> <device> ...\n",
    "scrub": "\tscrub [-s | -p] [-w] <pool> ...\n",
    "set": "\tset <property=value> <pool> \n",
    "status": ("\tstatus [-c [script1,script2,...]] [-igLpPstvxD]  [-T d|u] [pool] ... \n\t    [interval [count]]\n"),
    "sync": "\tsync [pool] ...\n",
    "upgrade": "\tupgrade\n\tupgrade -v\n\tupgrade [-V version] <-a | pool ...>\n",
    "version": "\tversion\n",
}


def _usage(pools: Pools, verb: str) -> Callable[[str], Fail]:
    """Makes the failure for wrong usage."""

    def fail(message: str) -> Fail:
        text = pools.release.zpool_usage.get(verb) or _USAGE[verb]
        table = pools.release.native.pool_usage() if verb in ("set", "get", "list") else ""
        return Fail("{0}usage:\n{1}{2}".format(message, text, table), rc=2)

    return fail


def zpool(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command."""
    verb = argv[0] if argv else ""
    if verb not in _USAGE and verb not in releases.of(machine).zpool_usage:
        problem = "unrecognized command '{0}'\n".format(verb) if verb else "missing command\n"
        raise Fail(problem + "usage: zpool command args ...\n", rc=2)
    handler: Callable[[Pools, List[str]], Output] = globals()["_" + verb]
    return handler(Pools(machine), argv[1:])


_NO_POOL = "cannot open '{0}': no such pool\n"


def _no_pool(name: str) -> Fail:
    return Fail(_NO_POOL.format(name))


def _open(pools: Pools, name: str) -> Pool:
    pool = pools.by_name(name)
    if pool is None:
        raise _no_pool(name)
    return pool


def _chosen(pools: Pools, names: Sequence[str], missing_text: str = _NO_POOL) -> Tuple[List[Pool], str]:
    """The pools that are named, or all; and what to say of those that are not there."""
    if not names:
        return pools.imported(), ""
    found = [(name, pools.by_name(name)) for name in names]
    missing = "".join(missing_text.format(name) for name, pool in found if pool is None)
    return [pool for _name, pool in found if pool is not None], missing


def _end(out: str, err: str) -> Output:
    return Output(1 if err else 0, out, err)


def _version(pools: Pools, argv: List[str]) -> Output:
    return Output(0, pools.release.zfs_version)


# properties of pools


def _health(pool: Pool) -> str:
    return SUSPENDED if pool.suspended else pool.state


#: features as properties: those that the ZFS knows, and those that it does not
_FEATURE, _UNSUPPORTED = "feature@", "unsupported@"


def _unsupported(name: str) -> str:
    return _UNSUPPORTED + features.FEATURES[name].guid


class _Values:
    """The properties of one pool."""

    def __init__(self, pool: Pool, literal: bool) -> None:
        self._pool = pool
        self._literal = literal
        self._space = Space(pool)

    def _numbers(self) -> Dict[str, int]:
        size, allocated = self._pool.geometry.size, self._space.allocated()
        if self._pool.readonly and self._pool.release.empty_readonly:
            allocated = 0
        return {
            "size": size,
            "allocated": allocated,
            "free": size - allocated,
            "freeing": 0,
            "leaked": 0,
            "ashift": 0,
        }

    def _percent(self, number: int) -> str:
        return str(number) if self._literal else "{0}%".format(number)

    def get(self, key: str) -> Tuple[str, str]:
        """A value and its source."""
        pool = self._pool
        if key.startswith(_FEATURE):
            return pool.feature(key[len(_FEATURE) :]), "local"
        if key.startswith(_UNSUPPORTED):
            states = {_unsupported(name): state for name, state in pool.unknown_features().items()}
            return {features.ACTIVE: "readonly", features.ENABLED: "inactive"}.get(states.get(key, ""), "-"), "local"
        if key in ("altroot", "cachefile"):
            value = pool.running[key]
            return (value, "local") if value else ("-", "default")
        fixed = {
            "guid": pool.guid,
            "load_guid": pool.running["load_guid"],
            "dedupratio": "1.00" if self._literal else "1.00x",
            "bcloneratio": "1.00" if self._literal else "1.00x",
            "bcloneused": "0",
            "bclonesaved": "0",
            "dedup_table_size": "0",
            "last_scrubbed_txg": "0",
            "readonly": "on" if pool.readonly else "off",
            "expandsize": "-",
            "checkpoint": "-",
        }
        if key in fixed:
            return fixed[key], "-"
        if key == "name":
            return pool.name, "-"
        if key == "health":
            return _health(pool), "-"
        if key == "fragmentation":
            return self._percent(0), "-"
        if key == "capacity":
            return self._percent(self._space.allocated() * 100 // pool.geometry.size), "-"
        local = pool.record["properties"].get(key)
        numbers = self._numbers()
        if key in numbers:
            number = int(local or numbers[key])
            source = "-" if key != "ashift" else "local" if local else "default"
            return (str(number) if self._literal else nice(number)), source
        return (local, "local") if local else (pool.release.native.pools[key].default, "default")


def _all(release: releases.Release) -> List[str]:
    return list(release.native.pools) + [_FEATURE + each for each in release.features]


def _wanted(release: releases.Release, text: str, everything: Sequence[str], usage: Callable[[str], Fail]) -> List[str]:
    """A list of properties."""
    if text == "all":
        return list(everything)
    keys = [release.native.canonical_pool(key) for key in text.split(",")]
    for key in keys:
        known = key == "name" or key in release.native.pools or key.startswith(_UNSUPPORTED)
        if not known and not (key.startswith(_FEATURE) and key[len(_FEATURE) :] in release.features):
            raise usage("bad property list: invalid property '{0}'\n".format(key))
    return keys


def _get(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "get")
    options = tables.parse(argv, "Hpo:", usage)
    if not options.words:
        raise usage("missing property argument\n")
    columns = ["name", "property", "value", "source"]
    if "o" in options and options.value("o", "") != "all":
        known = ("name", "property", "value", "source")
        columns = tables.choices(options.value("o", ""), known, "invalid column name '{0}'\n", usage)
    chosen, missing = _chosen(pools, options.words[1:], pools.release.no_pool_to_get)
    strange = {_unsupported(name): None for pool in chosen for name in pool.unknown_features()}
    keys = _wanted(pools.release, options.words[0], [*_all(pools.release), *strange], usage)
    rows = []
    for pool in chosen:
        values = _Values(pool, "p" in options)
        rows += [tables.Got(pool.name, key, *values.get(key)) for key in keys]
    widths = {
        "name": max([0] + [len(pool.name) for pool in chosen]),
        "property": max(len(key) for key in keys),
        "value": max([pools.release.native.pool_width(key) for key in keys] + [len(row.value) for row in rows]),
    }
    widths["source"] = widths["name"] + len("inherited from")
    return _end(tables.got(rows, columns, widths, "H" in options), missing)


def _set(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "set")
    if len(argv) < 2:
        raise usage("missing property=value argument\n" if not argv else "missing pool name\n")
    if len(argv) > 2:
        raise usage("too many pool names\n")
    given, equals, value = argv[0].partition("=")
    if not equals:
        raise usage("missing value in property=value argument\n")
    pool = _open(pools, argv[1])
    action = "cannot set property for '{0}'".format(pool.name)
    key = pools.release.native.canonical_pool(given)
    said = _check_set_features(pool, key, value)
    problem = _setting_problem(pools, key, value)
    if problem:
        raise Fail("{0}{1}: {2}".format(said, action, problem))
    pool.check_change(action, 6, 2, Space(pool).total())
    if key == "cachefile":
        pool.running["cachefile"] = value
    elif key.startswith(_FEATURE):
        pool.enable_features([key[len(_FEATURE) :]])
    else:
        pool.record["properties"][key] = value
    pool.tick()
    pool.save()
    return Output(0, "", said)


def _check_set_features(pool: Pool, key: str, value: str) -> str:
    """What zpool looks at before it asks the kernel; what it says when that is no reason to refuse.

    Source: ``set_pool_callback()`` in ``zpool_main.c``.
    """
    if key == "compatibility":
        wanted = pool.release.requested(value)
        if wanted.features is None:
            raise Fail(wanted.said)
        if any(name in pool.release.features and name not in wanted.features for name in pool.record["features"]):
            return wanted.said + (
                "Warning: one or more features already enabled on pool '{0}'\n"
                "are not present in this compatibility set.\n".format(pool.name)
            )
        return wanted.said
    if not key.startswith(_FEATURE) or value != features.ENABLED or key[len(_FEATURE) :] not in pool.release.features:
        return ""
    name = key[len(_FEATURE) :]
    wanted = pool.release.requested(pool.record["properties"].get("compatibility", features.OFF))
    cannot = "Error: cannot enable feature '{0}' on pool '{1}'\n".format(name, pool.name)
    if wanted.features is None:
        raise Fail(wanted.said + cannot + "because the pool's 'compatibility' property cannot be parsed.\n")
    if name not in wanted.features:
        raise Fail(
            wanted.said + cannot + "as it is not specified in this pool's current compatibility set.\n"
            "Consider setting 'compatibility' to a less restrictive set, or to 'off'.\n"
        )
    return wanted.said


def _setting_problem(pools: Pools, key: str, value: str) -> str:
    """Why a property of a pool cannot be set."""
    known = pools.release.native.pools.get(key)
    if key.startswith(_FEATURE) and key[len(_FEATURE) :] not in pools.release.features:
        return "feature '{0}' unsupported by kernel".format(key[len(_FEATURE) :])
    if key.startswith(_FEATURE):
        return (
            "" if value == features.ENABLED else "property '{0}' can only be set to 'enabled' or 'disabled'".format(key)
        )
    if known is None:
        return "invalid property '{0}'".format(key)
    if not known.editable:
        return "'{0}' is readonly".format(key)
    if known.kind == "index" and value not in known.words():
        return "'{0}' must be one of '{1}'".format(key, known.values)
    if key == "multihost" and value == "on" and not labels.hostid(pools.machine):
        return "requires a non-zero system hostid"
    if key == "altroot":
        return "property 'altroot' can only be set during pool creation or import"
    if key == "readonly":
        return "property 'readonly' can only be set at import time"
    if key == "bootfs" and value and pools.find(value) is None:
        return "no such pool or dataset"
    return ""


# list


_LIST = "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot"


def _list(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "list")
    options = tables.parse(argv, "gHLo:pPT:v", usage)
    keys = _wanted(pools.release, options.value("o", _LIST), ["name", *_all(pools.release)], usage)
    chosen, missing = _chosen(pools, options.words)
    if not chosen:
        none = "" if missing or "H" in options else "no pools available\n"
        return _end(none, missing)
    literal, scripted, verbose = "p" in options, "H" in options, "v" in options
    trees = {pool.guid: pool.rows("g" in options, "P" in options)[1:] if verbose else [] for pool in chosen}
    names = [len(row.name) + 2 * row.depth for rows in trees.values() for row in rows]
    columns = [_column(pools.release, key, names if verbose and not at else []) for at, key in enumerate(keys)]
    values = [(pool, _Values(pool, literal)) for pool in chosen]
    rows = [[each.get(key)[0] for key in keys] for _pool, each in values]
    if not verbose:
        return _end(tables.listing(columns, rows, scripted, literal), missing)
    width = max([columns[0].width] + [len(pool.name) for pool in chosen])
    columns[0] = columns[0]._replace(width=width)
    head, *lines = tables.listing(columns, rows, scripted, literal).splitlines(True)
    if scripted:
        head, lines = "", [head] + lines
    out = head
    for line, (pool, _values) in zip(lines, values):
        out += line + "".join(_vdev_line(pool, row, width, options) for row in trees[pool.guid])
    return _end(out, missing)


def _column(release: releases.Release, key: str, names: List[int]) -> tables.Column:
    known = release.native.pools.get(key)
    if known is None:
        return tables.Column(key.upper(), False, max([4 if key == "name" else len(key)] + names), False)
    return tables.Column(known.column, known.right, known.width, known.kind != "string")


def _vdev_line(pool: Pool, row: Row, width: int, options: tables.Options) -> str:
    """A vdev in ``zpool list -v``. Disks below a group have no more than their size."""
    vdev = row.vdev or {}
    show: Callable[[int], str] = str if "p" in options else nice
    size = vdev.get("size") or vdev["asize"] >> vdev["shift"] << vdev["shift"]
    cells = [show(size), "-", "-", "-", "-", "-", "-", "-", row.state]
    if "asize" in vdev:
        room = vdev["asize"] >> vdev["shift"] << vdev["shift"]
        taken = Space(pool).allocated() * room // pool.geometry.size
        share = taken * 10000 // room
        percent = "{0:.2f}%" if share < 1000 else "{0:.1f}%" if share < 10000 else "{0:3.0f}%"
        cells[1:3] = [show(taken), show(room - taken)]
        cells[5:7] = ["0", str(share // 100)] if "p" in options else ["0%", percent.format(share / 100)]
    if "H" in options:
        return "\t" + "\t".join([row.name] + cells) + "\n"
    wide = (5, 5, 5, 7, 8, 5, 5, 5, 8)
    name = "  " * row.depth + row.name
    return name.ljust(width) + "".join("  " + cell.rjust(each) for cell, each in zip(cells, wide)) + "\n"


# status and import: what is wrong with a pool


class _Trouble(NamedTuple):
    """What is wrong with a pool: a mark for the page with more about it, and what status and import say."""

    page: str
    status: str
    action: str
    listed: str


_TROUBLES = {
    "elsewhere": _Trouble("ZFS-8000-EY", "", "", "The pool was last accessed by another system."),
    "missing, insufficient": _Trouble(
        "ZFS-8000-3C",
        "One or more devices could not be opened.  There are insufficient\n"
        "\treplicas for the pool to continue functioning.",
        "Attach the missing device and online it using 'zpool online'.",
        "One or more devices are missing from the system.",
    ),
    "corrupt": _Trouble(
        "ZFS-8000-72",
        "The pool metadata is corrupted and the pool cannot be opened.",
        "Destroy and re-create the pool from\n\ta backup source.",
        "The pool metadata is corrupted.",
    ),
    "missing": _Trouble(
        "ZFS-8000-2Q",
        "One or more devices could not be opened.  Sufficient replicas exist for\n"
        "\tthe pool to continue functioning in a degraded state.",
        "Attach the missing device and online it using 'zpool online'.",
        "One or more devices are missing from the system.",
    ),
    "suspended": _Trouble(
        "ZFS-8000-HC",
        "One or more devices are faulted in response to IO failures.",
        "Make sure the affected devices are connected, then run 'zpool clear'.",
        "",
    ),
    "errors": _Trouble(
        "ZFS-8000-9P",
        "One or more devices has experienced an unrecoverable error.  An\n"
        "\tattempt was made to correct the error.  Applications are unaffected.",
        "Determine if the device needs to be replaced, and clear the errors\n"
        "\tusing 'zpool clear' or replace the device with 'zpool replace'.",
        "",
    ),
    "offline": _Trouble(
        "",
        "One or more devices has been taken offline by the administrator.\n\t"
        "Sufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.",
        "Online the device using 'zpool online' or replace the device with\n\t'zpool replace'.",
        "One or more devices are offlined.",
    ),
    "removed": _Trouble(
        "",
        "{removed}\n\tSufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.",
        "Online the device using zpool online' or replace the device with\n\t'zpool replace'.",
        "",
    ),
    "unsupported": _Trouble(
        "",
        "",
        "",
        "The pool uses the following feature(s) not supported on this system:\n{unsupported}",
    ),
    "unsupported for writing": _Trouble(
        "",
        "",
        "",
        "The pool can only be accessed in read-only mode on this system. It\n"
        "\tcannot be accessed in read-write mode because it uses the following\n"
        "\tfeature(s) not supported on this system:\n{unsupported}",
    ),
    "disabled features": _Trouble(
        "",
        "Some supported and requested features are not enabled on the pool.\n"
        "\tThe pool can still be used, but some features are unavailable.",
        "Enable all features using 'zpool upgrade'. Once this is done,\n"
        "\tthe pool may no longer be accessible by software that does not support\n"
        "\tthe features. See zpool-features(7) for details.",
        "Some supported features are not enabled on the pool.\n"
        "\t(Note that they may be intentionally disabled if the\n"
        "\t'compatibility' property is set.)",
    ),
    "incompatible features": _Trouble(
        "",
        "One or more features are enabled on the pool despite not being\n\trequested by the 'compatibility' property.",
        "Consider setting 'compatibility' to an appropriate value, or\n"
        "\tadding needed features to the relevant file in\n"
        "\t/etc/zfs/compatibility.d or /usr/share/zfs/compatibility.d.",
        "",
    ),
    "compatibility": _Trouble(
        "",
        "This pool has a compatibility list specified, but it could not be\n"
        "\tread/parsed at this time. The pool can still be used, but this\n"
        "\tshould be investigated.",
        "Check the value of the 'compatibility' property against the\n"
        "\tappropriate file in /etc/zfs/compatibility.d or /usr/share/zfs/compatibility.d.",
        "",
    ),
}

#: ``zpool status -x`` finds a pool healthy that has nothing worse
_MINOR = ("disabled features", "incompatible features", "compatibility")


def _features_trouble(pool: Pool) -> str:
    """What is wrong with the features of a pool.

    An import asks for all of them, whatever the pool's own property says. Source: the end of ``check_status()`` in
    ``libzfs_status.c``.
    """
    compatibility = pool.record["properties"].get("compatibility", features.OFF) if pool.running else features.OFF
    wanted = pool.release.requested(compatibility).features
    if wanted is None:
        return "compatibility"
    for name in pool.release.features:
        there = pool.feature(name) != features.DISABLED
        if features.FEATURES[name].upgraded and there != (name in wanted):
            return "incompatible features" if there else "disabled features"
    return ""


def _trouble(pool: Pool, rows: List[Row]) -> str:
    """The worst that is wrong: a key of :data:`_TROUBLES`, or nothing."""
    states = [row.state for row in rows[1:] if row.vdev is not None and "children" not in row.vdev]
    importing = not pool.running
    name = ""
    if importing and labels.used_elsewhere(pool):
        name = "elsewhere"
    elif rows[0].remark == UNSUPPORTED:
        readonly = all(each.readonly for each in pool.unsupported)
        name = "unsupported for writing" if readonly else "unsupported"
    elif pool.suspended:
        name = "suspended"
    elif rows[0].state == UNAVAIL:
        name = "missing, insufficient"
    elif rows[0].state not in (ONLINE, DEGRADED):
        name = "corrupt"
    elif UNAVAIL in states:
        name = "missing"
    elif not importing and any(row.vdev and row.vdev.get("errors") for row in rows):
        name = "errors"
    elif OFFLINE in states:
        name = "offline"
    elif REMOVED in states:
        name = "removed"
    return name or _features_trouble(pool)


def _status(pools: Pools, argv: List[str]) -> Output:
    options = tables.parse(argv, "c:igLpPsvxDtT:", _usage(pools, "status"))
    chosen, missing = _chosen(pools, options.words)
    if not chosen and not missing:
        return Output(0, "", "no pools available\n")
    parts = []
    for pool in chosen:
        rows = pool.rows("g" in options, "P" in options)
        trouble = _trouble(pool, rows)
        if "x" not in options or (trouble and trouble not in _MINOR):
            parts.append(_status_of(pool, rows, trouble))
        elif options.words:
            parts.append("pool '{0}' is healthy\n".format(pool.name))
    if not parts and not missing:
        return Output(0, "all pools are healthy\n")
    return _end("\n".join(parts), missing)


def _status_of(pool: Pool, rows: List[Row], name: str) -> str:
    trouble = _TROUBLES.get(name)
    lines = ["  pool: " + pool.name, " state: " + _health(pool)]
    if trouble:
        lines += ["status: " + trouble.status.format(removed=pool.release.removed), "action: " + trouble.action]
        lines += _see(trouble)
    if pool.record["scan"]:
        lines.append("  scan: " + pool.record["scan"])
    width = _name_width(rows)
    lines += ["config:", "", "\t{0:<{w}}  {1:<8} {2:>5} {3:>5} {4:>5}".format(*_STATUS_HEAD, w=width)]
    for row in rows:
        errors = nice((row.vdev or {}).get("errors", 0))
        line = "\t{0:<{w}}  {1:<8} {2:>5} {2:>5} {3:>5}".format(
            "  " * row.depth + row.name, row.state, 0, errors, w=width
        )
        remark = row.remark
        if row.vdev is not None and "children" not in row.vdev and pool.not_present(row.vdev):
            remark = "was " + row.vdev["path"]
        lines.append(line + ("  " + remark if remark else ""))
    return "\n".join(lines + ["", "errors: No known data errors"]) + "\n"


_STATUS_HEAD = ("NAME", "STATE", "READ", "WRITE", "CKSUM")


def _see(trouble: _Trouble, indent: str = "") -> List[str]:
    page = "{0}   see: https://openzfs.github.io/openzfs-docs/msg/{1}"
    return [page.format(indent, trouble.page)] if trouble.page else []


def _name_width(rows: List[Row]) -> int:
    return max([10] + [len(row.name) + 2 * row.depth for row in rows])


def _candidate(pool: Pool) -> str:
    """A pool as ``zpool import`` lists it."""
    rows = pool.rows()
    name = _trouble(pool, rows)
    trouble = _TROUBLES.get(name)
    state = rows[0].state
    comment = pool.record["properties"].get("comment", "")
    indent, more = pool.release.listing_indents(bool(comment))
    lines = [
        "{0}  pool: {1}".format(indent, pool.name),
        "{0}    id: {1}".format(indent, pool.guid),
        "{0} state: {1}".format(indent, state + (" (DESTROYED)" if pool.record["state"] == DESTROYED else "")),
    ]
    if trouble:
        text = trouble.listed.replace("\t", "\t" + more).format(unsupported=pool.unsupported_text())
        # FreeBSD 13.2 forgets to indent this word
        lines.append("{0}status: {1}".format(indent if pool.release.narrow_listing else "", text.rstrip("\n")))
    lines.append("{0}action: {1}".format(indent, _import_action(state, name).replace("\t", "\t" + more)))
    lines += ["comment: " + comment] if comment else []
    lines += _see(trouble, indent if pool.release.narrow_listing else "") if trouble else []
    lines += [indent + "config:", ""]
    width = _name_width(rows)
    for row in rows:
        line = "\t{0:<{w}}  {1}".format("  " * row.depth + row.name, row.state, w=width)
        lines.append(line + ("  " + row.remark if row.remark else ""))
    return "\n".join(lines) + "\n"


_IMPORT_ENDS = {
    "elsewhere": " and\n\tthe '-f' flag.",
    "disabled features": ", though\n\tsome features will not be available without an explicit 'zpool upgrade'.",
}


def _import_action(state: str, trouble: str) -> str:
    if state == ONLINE:
        return "The pool can be imported using its name or numeric identifier" + _IMPORT_ENDS.get(trouble, ".")
    if state == DEGRADED:
        return (
            "The pool can be imported despite missing or damaged devices.  The\n"
            "\tfault tolerance of the pool may be compromised if imported."
        )
    if trouble == "unsupported":
        return (
            "The pool cannot be imported. Access the pool on a system that supports\n"
            "\tthe required feature(s), or recreate the pool from backup."
        )
    if trouble == "unsupported for writing":
        return (
            "The pool cannot be imported in read-write mode. Import the pool with\n"
            "\t'-o readonly=on', access the pool on a system that supports the\n"
            "\trequired feature(s), or recreate the pool from backup."
        )
    if trouble == "missing, insufficient":
        return "The pool cannot be imported. Attach the missing\n\tdevices and try again."
    return "The pool cannot be imported due to damaged devices or data."


def _import(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "import")
    options = tables.parse(argv, "aCc:d:DEfFlmnNo:R:stT:VX", usage)
    if "n" in options and "F" not in options:
        raise usage("-n or -X only meaningful with -F\n")
    if len(options.words) > (0 if "a" in options else 2):
        raise usage("too many arguments\n")
    pairs, mount_options = _import_settings(pools.release, options)
    found = [pool for pool in pools.candidates() if _searched(pool, options.values("d"))]
    found = [pool for pool in found if (pool.record["state"] == DESTROYED) == ("D" in options)]
    how = labels.ImportOptions(
        pairs, force="f" in options, mount="N" not in options, rewind="F" in options, dry_run="n" in options
    )
    if options.words:
        return _import_one(pools, found, options.words, how, "ro" in mount_options)
    if not found:
        return Output(0, "", "no pools available to import\n")
    if "a" not in options:
        return Output(0, "\n".join(_candidate(pool) for pool in found))
    out, err = "", ""
    for pool in found:
        done = _import_and_mount(pools, pool, how, "ro" in mount_options)
        out, err = out + done.out, err + done.err
    return _end(out, err)


def _import_settings(release: releases.Release, options: tables.Options) -> Tuple[Dict[str, str], List[str]]:
    """Properties and mount options that are given with -o and -R."""
    pairs, mount_options = {}, []
    for letter, value in options.pairs:
        key, equals, setting = value.partition("=")
        if letter == "R":
            pairs["altroot"] = value
        elif letter == "o" and equals:
            key = release.native.canonical_pool(key)
            if key not in release.native.pools and not key.startswith(_FEATURE):
                # zpool import forgets here that it has failed (transcript zpool/071-import-bad-option)
                raise Fail(release.no_pool_property.format(key), rc=0)
            pairs[key] = setting
        elif letter == "o":
            mount_options += value.split(",")
    return pairs, mount_options


def _searched(pool: Pool, places: Sequence[str]) -> bool:
    """Whether a pool is found where -d says: directories or devices."""
    if not places:
        return True
    paths = ["/dev/" + name for name in pool.present().values()]
    return any(path == place or path.startswith(place.rstrip("/") + "/") for path in paths for place in places)


def _import_one(pools: Pools, found: List[Pool], words: List[str], how: labels.ImportOptions, readonly: bool) -> Output:
    wanted, new = words[0], words[1] if len(words) > 1 else None
    by_guid = wanted.isdigit()
    if any(wanted == (pool.guid if by_guid else pool.name) for pool in pools.imported()) and new in (None, wanted):
        raise Fail(
            "cannot import '{0}': a pool with that name already exists\n"
            "use the form 'zpool import <pool | id> <newpool>' to give it a new name".format(wanted)
        )
    matching = [pool for pool in found if wanted == (pool.guid if by_guid else pool.name)]
    if not matching:
        raise Fail("cannot import '{0}': no such pool available".format(wanted))
    if len(matching) > 1:
        raise Fail("cannot import '{0}': more than one matching pool\nimport by numeric ID instead".format(wanted))
    return _import_and_mount(pools, matching[0], how._replace(name=new), readonly)


def _import_and_mount(pools: Pools, pool: Pool, how: labels.ImportOptions, readonly: bool) -> Output:
    try:
        said = labels.import_pool(pools, pool, how)
        if how.mount:
            _mount_all(pool, readonly)
    except Fail as failure:
        return failure.output
    return Output(0, said)


def _mount_all(pool: Pool, readonly: bool) -> None:
    """Mount what is to be mounted without asking; all of it, even where something fails."""
    err = ""
    for dataset in sorted(pool.datasets, key=pool.mountpoint):
        if pool.value(dataset, "canmount") == "on":
            try:
                zmounts.mount(pool, dataset, readonly)
            except Fail as failure:
                err += failure.output.err
    if err:
        raise Fail(err)


# making and letting go


def _create(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "create")
    options = tables.parse(argv, "fndR:m:o:O:t:", usage)
    pairs, root = _create_settings(pools.release, options)
    if not options.words:
        raise usage("missing pool name argument\n")
    if len(options.words) < 2:
        raise usage("missing vdev specification\n")
    name = options.words[0]
    if "/" in name:
        raise Fail(
            "cannot create '{0}': invalid character '/' in pool name\nuse 'zfs create' to create a dataset".format(name)
        )
    specs = labels.parse_specs(pools.machine, options.words[1:])
    if root.get("mountpoint", "/")[:1] != "/" and root["mountpoint"] not in ("legacy", "none"):
        raise Fail("invalid mountpoint '{0}': must be an absolute path, 'legacy', or 'none'".format(root["mountpoint"]))
    if "n" in options:
        lines = ["\t{0}{1}\n".format("  " * depth, each) for depth, each in [(0, name)] + labels.names_of(specs)]
        return Output(0, "would create '{0}' with the following layout:\n\n{1}".format(name, "".join(lines)))
    action = "cannot create '{0}'".format(name)
    enabled, said = _features_to_make(pools.release, pairs, "d" in options)
    native = pools.release.native
    settings, root = labels.check_settings(native, pairs, action), _root_properties(native, root, action)
    pool = labels.create(pools, name, specs, settings, root, enabled, "f" in options)
    zmounts.mount(pool, "")
    return Output(0, "", said)


def _features_to_make(release: releases.Release, pairs: Dict[str, str], none: bool) -> Tuple[List[str], str]:
    """The features that a new pool gets, and what zpool says of them.

    Source: ``zpool_do_create()`` in ``zpool_main.c``.

    :param pairs: properties of the pool.
    :param none: no features but those that are named, by -d.
    """
    wanted = release.requested(pairs.get("compatibility", features.OFF))
    if wanted.features is None:
        raise Fail(wanted.said)
    enabled, said = [], wanted.said
    for name in release.features:
        value = pairs.get(_FEATURE + name)
        if value == features.ENABLED and name not in wanted.features:
            said += "Warning: feature \"{0}\" enabled but is not in specified 'compatibility' feature set.\n".format(
                name
            )
        if value == features.ENABLED or (value is None and not none and name in wanted.features):
            enabled.append(name)
    return enabled, said


def _create_settings(release: releases.Release, options: tables.Options) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Properties of the pool and of its root dataset."""
    pairs: Dict[str, str] = {}
    root: Dict[str, str] = {}
    for letter, value in options.pairs:
        key, equals, setting = value.partition("=")
        if letter in "oO" and not equals:
            raise Fail("missing '=' for -{0} option".format(letter))
        if letter == "R":
            pairs["altroot"] = value
        elif letter == "m":
            root["mountpoint"] = value
        elif letter == "o":
            key = release.native.canonical_pool(key)
            if key not in release.native.pools and not key.startswith(_FEATURE):
                raise Fail(release.no_pool_property.format(key))
            pairs[key] = setting
        elif letter == "O":
            key = release.native.canonical(key)
            if key not in release.native.datasets and not properties.is_user(key):
                raise Fail("property '{0}' is not a valid filesystem property".format(key))
            root[key] = setting
    return pairs, root


def _root_properties(native: properties.Native, root: Dict[str, str], action: str) -> Dict[str, str]:
    checked = {}
    for key, value in root.items():
        try:
            checked[key] = value if properties.is_user(key) else properties.check_value(native.datasets[key], value)
        except properties.Bad as reason:
            raise Fail("{0}: {1}".format(action, reason))
    return checked


def _each(pools: Pools, names: Sequence[str], change: Callable[[Pool], None]) -> Output:
    """Do something with several pools, as far as it can be done."""
    chosen, err = _chosen(pools, names)
    for pool in chosen:
        try:
            change(pool)
        except Fail as failure:
            err += failure.output.err
    return _end("", err)


def _export(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "export")
    options = tables.parse(argv, "afF", usage)
    if not options.words and "a" not in options:
        raise usage("missing pool argument\n")
    return _each(pools, options.words, lambda pool: labels.export(pool, "f" in options))


def _destroy(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "destroy")
    options = tables.parse(argv, "f", usage)
    if len(options.words) != 1:
        raise usage("too many arguments\n" if options.words else "missing pool argument\n")
    if "/" in options.words[0] and pools.by_name(options.words[0]) is None:
        raise Fail(_no_pool(options.words[0]).output.err + "use 'zfs destroy' to destroy a dataset")
    labels.destroy(_open(pools, options.words[0]), "f" in options)
    return Output()


# upgrading


def _upgrade(pools: Pools, argv: List[str]) -> Output:
    """``zpool upgrade``: which pools could have more features; with -a or names, let them have those.

    Source: ``zpool_do_upgrade()`` in ``zpool_main.c``; the transcripts zpool/047 and 327, 349, 350 and 353 of 15.0.
    """
    usage = _usage(pools, "upgrade")
    options = tables.parse(argv, "a", usage)
    everything = "a" in options
    if everything and options.words:
        raise usage("-a option should not be used along with a pool name\n")
    out = "This system supports ZFS pool feature flags.\n\n"
    if not everything and not options.words:
        return Output(0, out + _upgradable(pools))
    chosen, err = _chosen(pools, options.words)
    done = ""
    for pool in chosen:
        try:
            done += _upgrade_one(pool, everything)
        except Fail as failure:
            err += failure.output.err
    if everything and not done and not err:
        done = (
            "All pools are already formatted using feature flags.\n\n"
            "Every feature flags pool already has all supported and requested features enabled.\n"
        )
    return _end(out + done, err)


def _upgradable(pools: Pools) -> str:
    """What ``zpool upgrade`` prints: features that are not enabled, be they requested or not."""
    out = "All pools are formatted using feature flags.\n\n"
    lines = ""
    for pool in pools.imported():
        missing = [name for name in pool.release.features if pool.feature(name) == features.DISABLED]
        lines += pool.name + "\n" if missing else ""
        for name in missing:
            lines += "      {0}{1}\n".format(name, "" if features.FEATURES[name].upgraded else "(*)")
    if not lines:
        return out + "Every feature flags pool has all supported and requested features enabled.\n"
    return (
        out + "\nSome supported features are not enabled on the following pools. Once a\n"
        "feature is enabled the pool may become incompatible with software\n"
        "that does not support the feature. See zpool-features(7) for details.\n\n"
        "Note that the pool 'compatibility' feature can be used to inhibit\n"
        "feature upgrades.\n\n" + pools.release.upgrade_notes + "POOL  FEATURE\n---------------\n" + lines + "\n"
    )


def _upgrade_one(pool: Pool, quiet: bool) -> str:
    """Enable what a pool may have, and say so.

    :param quiet: say nothing where there is nothing to do.
    """
    wanted = pool.release.requested(pool.record["properties"].get("compatibility", features.OFF))
    if wanted.features is None:
        raise Fail(wanted.said)
    enabled = [
        name
        for name in pool.release.features
        if pool.feature(name) == features.DISABLED and features.FEATURES[name].upgraded and name in wanted.features
    ]
    if not enabled:
        text = "Pool '{0}' already has all supported and requested features enabled.\n"
        return "" if quiet else text.format(pool.name)
    pool.check_change("cannot set property for '{0}'".format(pool.name), 6, 2, Space(pool).total())
    pool.enable_features(enabled)
    pool.tick()
    pool.save()
    names = "".join("  {0}\n".format(name) for name in enabled)
    text = "Enabled the following features on '{0}':\n{1}\n".format(pool.name, names)
    if "bootfs" in pool.record["properties"]:
        text += (
            "Pool '{0}' has the bootfs property set, you might need to update\n"
            "the boot code. See gptzfsboot(8) and loader.efi(8) for details.\n".format(pool.name)
        )
    return text


# devices


def _devices(pools: Pools, verb: str, letters: str, argv: List[str], change: Callable[[Pool, str], None]) -> Output:
    usage = _usage(pools, verb)
    options = tables.parse(argv, letters, usage)
    if len(options.words) < 2:
        raise usage("missing device name\n" if options.words else "missing pool name\n")
    pool = _open(pools, options.words[0])
    for word in options.words[1:]:
        change(pool, word)
    return Output()


def _online(pools: Pools, argv: List[str]) -> Output:
    return _devices(pools, "online", "e", argv, labels.online)


def _offline(pools: Pools, argv: List[str]) -> Output:
    return _devices(pools, "offline", "ft", argv, labels.offline)


def _scrub(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "scrub")
    options = tables.parse(argv, "spw", usage)
    if not options.words:
        raise usage("missing pool name argument\n")
    return _each(pools, options.words, labels.scrub)


def _clear(pools: Pools, argv: List[str]) -> Output:
    usage = _usage(pools, "clear")
    options = tables.parse(argv, "FnX", usage)
    if not options.words:
        raise usage("missing pool name\n")
    return _each(pools, options.words[:1], labels.clear)


def _sync(pools: Pools, argv: List[str]) -> Output:
    return _each(pools, argv, lambda pool: None)


# labels


def _tree(release: releases.Release, lines: List[str], vdev: Dict[str, Any], indent: int, number: int) -> None:
    """A vdev as zdb shows it."""

    def add(key: str, value: object) -> None:
        shown = "'{0}'".format(value) if isinstance(value, str) and not value.isdigit() else value
        lines.append("{0}{1}: {2}".format(" " * indent, key, shown))

    add("type", vdev["type"])
    add("id", number)
    add("guid", vdev["guid"])
    if "path" in vdev:
        add("path", vdev["path"])
        add("whole_disk", 1)
    if "parity" in vdev:
        add("nparity", vdev["parity"])
    if vdev.get("not_present"):
        add("not_present", 1)
    if vdev.get("offline"):
        add("offline", 1)
    if "asize" in vdev:
        for key, value in (
            ("metaslab_array", release.metaslab_array),
            ("metaslab_shift", vdev["shift"]),
            ("ashift", 9),
        ):
            add(key, value)
        add("asize", vdev["asize"])
        lines += [" " * indent + each for each in release.label_vdev]
        add("is_log", 0)
    add("create_txg", 4)
    for at, child in enumerate(vdev.get("children", [])):
        lines.append("{0}children[{1}]:".format(" " * indent, at))
        _tree(release, lines, child, indent + 4, at)


def _is_device(machine: Machine, name: str) -> bool:
    if name in machine.hardware["disks"]:
        return True
    from ansible_collections.nanozfs.fleet.tests.model import geom  # noqa: PLC0415 - slow to import

    return geom.find(machine, name) is not None


def zdb(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``zdb -l DEVICE``."""
    if len(argv) != 2 or argv[0] != "-l":
        raise Fail("Usage:\tzdb -l [-A] [-u] <device>", rc=1)
    name = argv[1][len("/dev/") :] if argv[1].startswith("/dev/") else argv[1]
    if not _is_device(machine, name):
        if argv[1].startswith("/"):
            return Output(1, "cannot open '{0}': No such file or directory\n".format(argv[1]))
        return Output(1, "failed to find device {0}, try specifying absolute path instead\n".format(name))
    label = machine.hardware["disks"].get(name, {}).get("zfs")
    pool = Pools(machine).pool(label["pool"]) if label else None
    if pool is None:
        return Output(2, "".join("failed to unpack label {0}\n".format(each) for each in range(4)))
    top = next(top for top in pool.record["vdevs"] if label["vdev"] in [leaf["guid"] for leaf in leaves(top)])
    ruler, record = "-" * 36, pool.record
    lines = [ruler, pool.release.label_title, ruler, "    version: 5000", "    name: '{0}'".format(record["name"])]
    lines += [
        "    state: {0}".format(STATES.index(record["state"])),
        "    txg: {0}".format(label["txg"]),
        "    pool_guid: {0}".format(pool.guid),
        "    errata: 0",
        *("    " + each for each in pool.release.label_pool),
    ]
    if "comment" in record["properties"]:
        lines.append("    comment: '{0}'".format(record["properties"]["comment"]))
    if record["hostid"]:
        lines.append("    hostid: {0}".format(record["hostid"]))
    lines += [
        "    hostname: '{0}'".format(record["hostname"]),
        "    top_guid: {0}".format(top["guid"]),
        "    guid: {0}".format(label["vdev"]),
        "    vdev_children: {0}".format(len(record["vdevs"])),
        "    vdev_tree:",
    ]
    _tree(pool.release, lines, top, 8, record["vdevs"].index(top))
    in_label = [
        each for each in features.FEATURES.values() if each.in_label and pool.feature(each.name) == features.ACTIVE
    ]
    lines += ["    features_for_read:"] + ["        " + each.guid for each in in_label]
    return Output(0, "\n".join(lines + ["    labels = 0 1 2 3 "]) + "\n")
