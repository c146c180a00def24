# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zpool(8), and zdb(8) as far as it shows labels.

Source: the transcripts under tests/fixtures/freebsd-13.2/zpool and zpool-crossboot.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import labels, properties, tables, zmounts
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
    Pool,
    Pools,
    Row,
    leaves,
)
from ansible_collections.nanozfs.fleet.tests.model.properties import nice
from ansible_collections.nanozfs.fleet.tests.model.space import Space

_USAGE = {
    "clear": "\tclear [-nF] <pool> [device]\n",
    "create": (
        "\tcreate [-fnd] [-o property=value] ... \n"
        "\t    [-O file-system-property=value] ... \n"
        "\t    [-m mountpoint] [-R root] <pool> <vdev> ...\n"
    ),
    "destroy": "\tdestroy [-f] <pool>\n",
    "export": "\texport [-af] <pool> ...\n",
    "get": '\tget [-Hp] [-o "all" | field[,...]] <"all" | property[,...]> <pool> ...\n',
    "import": (
        "\timport [-d dir] [-D]\n"
        "\timport [-o mntopts] [-o property=value] ... \n"
        "\t    [-d dir | -c cachefile] [-D] [-l] [-f] [-m] [-N] [-R root] [-F [-n]] -a\n"
        "\timport [-o mntopts] [-o property=value] ... \n"
        "\t    [-d dir | -c cachefile] [-D] [-l] [-f] [-m] [-N] [-R root] [-F [-n]]\n"
        "\t    [--rewind-to-checkpoint] <pool | id> [newpool]\n"
    ),
    "list": "\tlist [-gHLpPv] [-o property[,...]] [-T d|u] [pool] ... \n\t    [interval [count]]\n",
    "offline": "\toffline [-f] [-t] <pool> <device> ...\n",
    "online": "\tonline [-e] <pool> <device> ...\n",
    "scrub": "\tscrub [-s | -p] [-w] <pool> ...\n",
    "set": "\tset <property=value> <pool> \n",
    "status": ("\tstatus [-c [script1,script2,...]] [-igLpPstvxD]  [-T d|u] [pool] ... \n\t    [interval [count]]\n"),
    "sync": "\tsync [pool] ...\n",
    "version": "\tversion\n",
}

VERSION = "zfs-2.1.9-FreeBSD_g92e0d9d18\nzfs-kmod-2.1.9-FreeBSD_g92e0d9d18\n"


def _usage(verb: str) -> Callable[[str], Fail]:
    """Makes the failure for wrong usage."""

    def fail(message: str) -> Fail:
        table = properties.pool_usage() if verb in ("set", "get", "list") else ""
        return Fail("{0}usage:\n{1}{2}".format(message, _USAGE[verb], table), rc=2)

    return fail


def zpool(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command."""
    verb = argv[0] if argv else ""
    if verb not in _USAGE:
        problem = "unrecognized command '{0}'\n".format(verb) if verb else "missing command\n"
        raise Fail(problem + "usage: zpool command args ...\n", rc=2)
    handler: Callable[[Pools, List[str]], Output] = globals()["_" + verb]
    return handler(Pools(machine), argv[1:])


def _no_pool(name: str) -> Fail:
    return Fail("cannot open '{0}': no such pool".format(name))


def _open(pools: Pools, name: str) -> Pool:
    pool = pools.by_name(name)
    if pool is None:
        raise _no_pool(name)
    return pool


def _chosen(pools: Pools, names: Sequence[str]) -> Tuple[List[Pool], str]:
    """The pools that are named, or all; and what to say of those that are not there."""
    if not names:
        return pools.imported(), ""
    found = [(name, pools.by_name(name)) for name in names]
    missing = "".join(_no_pool(name).output.err for name, pool in found if pool is None)
    return [pool for _name, pool in found if pool is not None], missing


def _end(out: str, err: str) -> Output:
    return Output(1 if err else 0, out, err)


def _version(pools: Pools, argv: List[str]) -> Output:
    return Output(0, VERSION)


# properties of pools


def _health(pool: Pool) -> str:
    return SUSPENDED if pool.suspended else pool.state


class _Values:
    """The properties of one pool."""

    def __init__(self, pool: Pool, literal: bool) -> None:
        self._pool = pool
        self._literal = literal
        self._space = Space(pool)

    def _numbers(self) -> Dict[str, int]:
        size, allocated = self._pool.geometry.size, self._space.allocated()
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
        if key.startswith("feature@"):
            return properties.feature(key[len("feature@") :]), "local"
        if key in ("altroot", "cachefile"):
            value = pool.running[key]
            return (value, "local") if value else ("-", "default")
        fixed = {
            "guid": pool.guid,
            "load_guid": pool.running["load_guid"],
            "dedupratio": "1.00" if self._literal else "1.00x",
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
        return (local, "local") if local else (properties.POOL_PROPERTIES[key].default, "default")


def _wanted(text: str, everything: Sequence[str], usage: Callable[[str], Fail]) -> List[str]:
    """A list of properties."""
    if text == "all":
        return list(everything)
    keys = [properties.canonical_pool(key) for key in text.split(",")]
    for key in keys:
        known = key == "name" or key in properties.POOL_PROPERTIES
        if not known and not (key.startswith("feature@") and key[len("feature@") :] in properties.FEATURES):
            raise usage("bad property list: invalid property '{0}'\n".format(key))
    return keys


_ALL = list(properties.POOL_PROPERTIES) + ["feature@" + each for each in properties.FEATURES]


def _get(pools: Pools, argv: List[str]) -> Output:
    usage = _usage("get")
    options = tables.parse(argv, "Hpo:", usage)
    if not options.words:
        raise usage("missing property argument\n")
    columns = ["name", "property", "value", "source"]
    if "o" in options and options.value("o", "") != "all":
        known = ("name", "property", "value", "source")
        columns = tables.choices(options.value("o", ""), known, "invalid column name '{0}'\n", usage)
    keys = _wanted(options.words[0], _ALL, usage)
    chosen, missing = _chosen(pools, options.words[1:])
    rows = []
    for pool in chosen:
        values = _Values(pool, "p" in options)
        rows += [tables.Got(pool.name, key, *values.get(key)) for key in keys]
    widths = {
        "name": max([0] + [len(pool.name) for pool in chosen]),
        "property": max(len(key) for key in keys),
        "value": max([_width(key) for key in keys] + [len(row.value) for row in rows]),
    }
    widths["source"] = widths["name"] + len("inherited from")
    return _end(tables.got(rows, columns, widths, "H" in options), missing)


def _width(key: str) -> int:
    known = properties.POOL_PROPERTIES.get(key)
    return properties.width(known, key)


def _set(pools: Pools, argv: List[str]) -> Output:
    usage = _usage("set")
    if len(argv) < 2:
        raise usage("missing property=value argument\n" if not argv else "missing pool name\n")
    if len(argv) > 2:
        raise usage("too many pool names\n")
    given, equals, value = argv[0].partition("=")
    if not equals:
        raise usage("missing value in property=value argument\n")
    pool = _open(pools, argv[1])
    action = "cannot set property for '{0}'".format(pool.name)
    key = properties.canonical_pool(given)
    problem = _setting_problem(pools, key, value)
    if problem:
        raise Fail("{0}: {1}".format(action, problem))
    pool.check_change(action, 6, 2, Space(pool).total())
    if key == "cachefile":
        pool.running["cachefile"] = value
    elif not key.startswith("feature@"):
        pool.record["properties"][key] = value
    pool.tick()
    pool.save()
    return Output()


def _setting_problem(pools: Pools, key: str, value: str) -> str:
    """Why a property of a pool cannot be set."""
    known = properties.POOL_PROPERTIES.get(key)
    if key.startswith("feature@"):
        return "" if value == "enabled" else "property '{0}' can only be set to 'enabled' or 'disabled'".format(key)
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
    usage = _usage("list")
    options = tables.parse(argv, "gHLo:pPT:v", usage)
    keys = _wanted(options.value("o", _LIST), ["name"] + _ALL, usage)
    chosen, missing = _chosen(pools, options.words)
    if not chosen:
        none = "" if missing or "H" in options else "no pools available\n"
        return _end(none, missing)
    literal, scripted, verbose = "p" in options, "H" in options, "v" in options
    trees = {pool.guid: pool.rows("g" in options, "P" in options)[1:] if verbose else [] for pool in chosen}
    names = [len(row.name) + 2 * row.depth for rows in trees.values() for row in rows]
    columns = [_column(key, names if verbose and not at else []) for at, key in enumerate(keys)]
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


def _column(key: str, names: List[int]) -> tables.Column:
    known = properties.POOL_PROPERTIES.get(key)
    if known is None:
        return tables.Column(key.upper(), False, max([4 if key == "name" else len(key)] + names), False)
    return tables.Column(known.column, known.right, _width(key), known.kind != "string")


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
        "One or more devices has been removed by the administrator.\n\t"
        "Sufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.",
        "Online the device using zpool online' or replace the device with\n\t'zpool replace'.",
        "",
    ),
}


def _trouble(pool: Pool, rows: List[Row]) -> Optional[_Trouble]:
    """The worst that is wrong, or nothing."""
    states = [row.state for row in rows[1:] if row.vdev is not None and "children" not in row.vdev]
    importing = not pool.running
    name = ""
    if importing and labels.used_elsewhere(pool):
        name = "elsewhere"
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
    return _TROUBLES[name] if name else None


def _status(pools: Pools, argv: List[str]) -> Output:
    options = tables.parse(argv, "c:igLpPsvxDtT:", _usage("status"))
    chosen, missing = _chosen(pools, options.words)
    if not chosen and not missing:
        return Output(0, "", "no pools available\n")
    parts = []
    for pool in chosen:
        rows = pool.rows("g" in options, "P" in options)
        trouble = _trouble(pool, rows)
        if "x" not in options or trouble:
            parts.append(_status_of(pool, rows, trouble))
        elif options.words:
            parts.append("pool '{0}' is healthy\n".format(pool.name))
    if not parts and not missing:
        return Output(0, "all pools are healthy\n")
    return _end("\n".join(parts), missing)


def _status_of(pool: Pool, rows: List[Row], trouble: Optional[_Trouble]) -> str:
    lines = ["  pool: " + pool.name, " state: " + _health(pool)]
    if trouble:
        lines += ["status: " + trouble.status, "action: " + trouble.action]
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


def _see(trouble: _Trouble) -> List[str]:
    page = "   see: https://openzfs.github.io/openzfs-docs/msg/{0}"
    return [page.format(trouble.page)] if trouble.page else []


def _name_width(rows: List[Row]) -> int:
    return max([10] + [len(row.name) + 2 * row.depth for row in rows])


def _candidate(pool: Pool) -> str:
    """A pool as ``zpool import`` lists it."""
    rows = pool.rows()
    trouble = _trouble(pool, rows)
    state = rows[0].state
    lines = [
        "   pool: " + pool.name,
        "     id: " + pool.guid,
        "  state: " + state + (" (DESTROYED)" if pool.record["state"] == DESTROYED else ""),
    ]
    lines += ["status: " + trouble.listed] if trouble else []
    lines.append(" action: " + _import_action(state, trouble))
    lines += ["comment: " + pool.record["properties"]["comment"]] if "comment" in pool.record["properties"] else []
    lines += _see(trouble) if trouble else []
    lines += [" config:", ""]
    width = _name_width(rows)
    for row in rows:
        line = "\t{0:<{w}}  {1}".format("  " * row.depth + row.name, row.state, w=width)
        lines.append(line + ("  " + row.remark if row.remark else ""))
    return "\n".join(lines) + "\n"


def _import_action(state: str, trouble: Optional[_Trouble]) -> str:
    if state == ONLINE:
        force = trouble is _TROUBLES["elsewhere"]
        end = " and\n\tthe '-f' flag." if force else "."
        return "The pool can be imported using its name or numeric identifier" + end
    if state == DEGRADED:
        return (
            "The pool can be imported despite missing or damaged devices.  The\n"
            "\tfault tolerance of the pool may be compromised if imported."
        )
    if trouble is _TROUBLES["missing, insufficient"]:
        return "The pool cannot be imported. Attach the missing\n\tdevices and try again."
    return "The pool cannot be imported due to damaged devices or data."


def _import(pools: Pools, argv: List[str]) -> Output:
    usage = _usage("import")
    options = tables.parse(argv, "aCc:d:DEfFlmnNo:R:stT:VX", usage)
    if "n" in options and "F" not in options:
        raise usage("-n or -X only meaningful with -F\n")
    if len(options.words) > (0 if "a" in options else 2):
        raise usage("too many arguments\n")
    pairs, mount_options = _import_settings(options)
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


def _import_settings(options: tables.Options) -> Tuple[Dict[str, str], List[str]]:
    """Properties and mount options that are given with -o and -R."""
    pairs, mount_options = {}, []
    for letter, value in options.pairs:
        key, equals, setting = value.partition("=")
        if letter == "R":
            pairs["altroot"] = value
        elif letter == "o" and equals:
            key = properties.canonical_pool(key)
            if key not in properties.POOL_PROPERTIES and not key.startswith("feature@"):
                # zpool import forgets here that it has failed (transcript zpool/071-import-bad-option)
                raise Fail("property '{0}' is not a valid pool property".format(key), rc=0)
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
    usage = _usage("create")
    options = tables.parse(argv, "fndR:m:o:O:t:", usage)
    pairs, root = _create_settings(options)
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
    pool = labels.create(
        pools, name, specs, labels.check_settings(pairs, action), _root_properties(root, action), "f" in options
    )
    zmounts.mount(pool, "")
    return Output()


def _create_settings(options: tables.Options) -> Tuple[Dict[str, str], Dict[str, str]]:
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
            key = properties.canonical_pool(key)
            if key not in properties.POOL_PROPERTIES and not key.startswith("feature@"):
                raise Fail("property '{0}' is not a valid pool property".format(key))
            pairs[key] = setting
        elif letter == "O":
            key = properties.canonical(key)
            if key not in properties.PROPERTIES and not properties.is_user(key):
                raise Fail("property '{0}' is not a valid filesystem property".format(key))
            root[key] = setting
    return pairs, root


def _root_properties(root: Dict[str, str], action: str) -> Dict[str, str]:
    checked = {}
    for key, value in root.items():
        try:
            checked[key] = (
                value if properties.is_user(key) else properties.check_value(properties.PROPERTIES[key], value)
            )
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
    usage = _usage("export")
    options = tables.parse(argv, "afF", usage)
    if not options.words and "a" not in options:
        raise usage("missing pool argument\n")
    return _each(pools, options.words, lambda pool: labels.export(pool, "f" in options))


def _destroy(pools: Pools, argv: List[str]) -> Output:
    usage = _usage("destroy")
    options = tables.parse(argv, "f", usage)
    if len(options.words) != 1:
        raise usage("too many arguments\n" if options.words else "missing pool argument\n")
    if "/" in options.words[0] and pools.by_name(options.words[0]) is None:
        raise Fail(_no_pool(options.words[0]).output.err + "use 'zfs destroy' to destroy a dataset")
    labels.destroy(_open(pools, options.words[0]), "f" in options)
    return Output()


# devices


def _devices(pools: Pools, verb: str, letters: str, argv: List[str], change: Callable[[Pool, str], None]) -> Output:
    usage = _usage(verb)
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
    usage = _usage("scrub")
    options = tables.parse(argv, "spw", usage)
    if not options.words:
        raise usage("missing pool name argument\n")
    return _each(pools, options.words, labels.scrub)


def _clear(pools: Pools, argv: List[str]) -> Output:
    usage = _usage("clear")
    options = tables.parse(argv, "FnX", usage)
    if not options.words:
        raise usage("missing pool name\n")
    return _each(pools, options.words[:1], labels.clear)


def _sync(pools: Pools, argv: List[str]) -> Output:
    return _each(pools, argv, lambda pool: None)


# labels


def _tree(lines: List[str], vdev: Dict[str, Any], indent: int, number: int) -> None:
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
        for key, value in (("metaslab_array", 133), ("metaslab_shift", vdev["shift"]), ("ashift", 9)):
            add(key, value)
        add("asize", vdev["asize"])
        add("is_log", 0)
    add("create_txg", 4)
    for at, child in enumerate(vdev.get("children", [])):
        lines.append("{0}children[{1}]:".format(" " * indent, at))
        _tree(lines, child, indent + 4, at)


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
    lines = [ruler, "LABEL 0", ruler, "    version: 5000", "    name: '{0}'".format(record["name"])]
    lines += [
        "    state: {0}".format(STATES.index(record["state"])),
        "    txg: {0}".format(label["txg"]),
        "    pool_guid: {0}".format(pool.guid),
        "    errata: 0",
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
    _tree(lines, top, 8, record["vdevs"].index(top))
    lines += ["    features_for_read:", "        com.delphix:hole_birth", "        com.delphix:embedded_data"]
    return Output(0, "\n".join(lines + ["    labels = 0 1 2 3 "]) + "\n")
