# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs(8): its arguments and what it prints. What it does is in :mod:`tests.model.datasets`.

Source: the transcripts under tests/fixtures/freebsd-13.2/zfs and freebsd-15.0/zfs; in what they differ is in
:mod:`tests.model.releases`.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import datasets, properties, releases, streams, tables, zmounts
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output
from ansible_collections.nanozfs.fleet.tests.model.pools import Item, Pool, Pools
from ansible_collections.nanozfs.fleet.tests.model.properties import BOOKMARK, FILESYSTEM, SNAPSHOT, VOLUME
from ansible_collections.nanozfs.fleet.tests.model.selection import Selection
from ansible_collections.nanozfs.fleet.tests.model.space import Space
from ansible_collections.nanozfs.fleet.tests.model.values import Values, user_keys

#: but for those that differ by release
_USAGE = {
    "allow": (
        "\tallow <filesystem|volume>\n"
        '\tallow [-ldug] <"everyone"|user|group>[,...] <perm|@setname>[,...]\n'
        "\t    <filesystem|volume>\n"
        "\tallow [-ld] -e <perm|@setname>[,...] <filesystem|volume>\n"
        "\tallow -c <perm|@setname>[,...] <filesystem|volume>\n"
        "\tallow -s @setname <perm|@setname>[,...] <filesystem|volume>\n"
    ),
    "bookmark": "\tbookmark <snapshot|bookmark> <newbookmark>\n",
    "clone": "\tclone [-p] [-o property=value] ... <snapshot> <filesystem|volume>\n",
    "create": (
        "\tcreate [-Pnpuv] [-o property=value] ... <filesystem>\n"
        "\tcreate [-Pnpsv] [-b blocksize] [-o property=value] ... -V <size> <volume>\n"
    ),
    "destroy": (
        "\tdestroy [-fnpRrv] <filesystem|volume>\n"
        "\tdestroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]\n"
        "\tdestroy <filesystem|volume>#<bookmark>\n"
    ),
    "hold": "\thold [-r] <tag> <snapshot> ...\n",
    "holds": "\tholds [-rH] <snapshot> ...\n",
    "inherit": "\tinherit [-rS] <property> <filesystem|volume|snapshot> ...\n",
    "load-key": "\tload-key [-rn] [-L <keylocation>] <-a | filesystem|volume>\n",
    "mount": "\tmount\n\tmount [-flvO] [-o opts] <-a | filesystem>\n",
    "promote": "\tpromote <clone-filesystem>\n",
    "receive": (
        "\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n"
        "\t    <filesystem|volume|snapshot>\n"
        "\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ... \n"
        "\t    [-d | -e] <filesystem>\n"
        "\treceive -A <filesystem|volume>\n"
    ),
    "release": "\trelease [-r] <tag> <snapshot> ...\n",
    "rename": (
        "\trename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>\n"
        "\trename -p [-f] <filesystem|volume> <filesystem|volume>\n"
        "\trename -u [-f] <filesystem> <filesystem>\n"
        "\trename -r <snapshot> <snapshot>\n"
    ),
    "rollback": "\trollback [-rRf] <snapshot>\n",
    "send": (
        "\tsend [-DnPpRVvLecwhb] [-[i|I] snapshot] <snapshot>\n"
        "\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>\n"
        "\tsend [-DnPpVvLec] [-i bookmark|snapshot] --redact <bookmark> <snapshot>\n"
        "\tsend [-nVvPe] -t <receive_resume_token>\n"
        "\tsend [-PnVv] --saved filesystem\n"
    ),
    "set": "\tset <property=value> ... <filesystem|volume|snapshot> ...\n",
    "snapshot": "\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...\n",
    "unmount": "\tunmount [-fu] <-a | filesystem|mountpoint>\n",
    "version": "\tversion\n",
}

_ALIASES = {"umount": "unmount", "recv": "receive", "snap": "snapshot", "-V": "version", "--version": "version"}

_KINDS: Dict[str, Tuple[str, ...]] = {
    "filesystem": (FILESYSTEM,),
    "volume": (VOLUME,),
    "snapshot": (SNAPSHOT,),
    "snap": (SNAPSHOT,),
    "bookmark": (BOOKMARK,),
    "all": (FILESYSTEM, VOLUME, SNAPSHOT, BOOKMARK),
}


def _usage(release: releases.Release, text: str, verb: str) -> Callable[[str], Fail]:
    """Makes the failure for wrong usage."""

    def fail(message: str) -> Fail:
        end = (
            release.native.usage()
            if verb in ("set", "get", "inherit", "list")
            else (
                "\nFor the property list, run: zfs set|get\n"
                "\nFor the delegated permission list, run: zfs allow|unallow\n" + release.zfs_usage_end
            )
        )
        return Fail("{0}usage:\n{1}{2}".format(message, text, end), rc=2)

    return fail


def zfs(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command."""
    verb = _ALIASES.get(argv[0], argv[0]) if argv else ""
    release = releases.of(machine)
    texts = dict(_USAGE, **release.zfs_usage)
    if verb not in texts:
        problem = "unrecognized command '{0}'\n".format(verb) if verb else "missing command\n"
        raise Fail(problem + "usage: zfs command args ...\n", rc=2)
    usage = _usage(release, texts[verb], verb)
    if verb == "receive":
        return _receive(Pools(machine), tables.parse(argv[1:], _LETTERS[verb], usage), usage, stdin or "")
    handler: Callable[[Pools, tables.Options, Callable[[str], Fail]], Output] = globals()["_" + verb.replace("-", "_")]
    return handler(Pools(machine), tables.parse(argv[1:], _LETTERS.get(verb, ""), usage), usage)


def _load_key(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    """Keys are always loaded here, but for what came in a raw stream."""
    item = datasets.open_item(pools, _one_word(options, usage, "missing dataset argument"), (FILESYSTEM,))
    if (item.record.get("crypt") or {}).pop("locked", None):
        item.pool.save()
    return Output()


def _send(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    """A stream of one snapshot, or the rest of one; with -nvP what that would be."""
    dry = "n" in options
    if "t" in options:
        token = streams.token_of(pools, options.value("t", ""), dry)
        if not dry:
            return Output(0, streams.as_text(streams.resume(token)))
        return Output(0, token.text + _estimate(token.item, None, token.offset))
    item = datasets.open_item(pools, _one_word(options, usage, "missing snapshot argument"), (SNAPSHOT,))
    base = streams.base_of(pools, item, options.value("i", "")) if "i" in options else None
    if dry:
        return Output(0, _estimate(item, base, 0))
    features = streams.features_of("".join(letter for letter, _value in options.pairs))
    return Output(0, streams.as_text(streams.send(item, base, features)))


def _estimate(item: Item, base: Optional[Item], offset: int) -> str:
    size = streams.size_of(item) - offset
    begin = "incremental\t{0}".format(base.record["name"]) if base else "full"
    return "{0}\t{1}\t{2}\nsize\t{2}\n".format(begin, item.name, size)


def _receive(pools: Pools, options: tables.Options, usage: _Usage, text: str) -> Output:
    """Take a stream in; nothing is mounted here, with -u or without."""
    name = _one_word(options, usage, "missing snapshot argument")
    if "A" in options:
        streams.abort(datasets.open_item(pools, name, (FILESYSTEM,)))
    else:
        streams.receive(pools, name, streams.as_bytes(text), "s" in options)
    return Output()


_LETTERS = {
    "allow": "ceglsdu",
    "clone": "o:p",
    "create": "PV:b:nso:puv",
    "destroy": "vpndfrR",
    "get": "d:o:s:rt:Hp",
    "hold": "rt",
    "holds": "rH",
    "inherit": "rS",
    "list": "HS:d:o:prs:t:",
    "load-key": "rnL:a",
    "mount": "alvo:Of",
    "receive": "suA",
    "release": "r",
    "rename": "pruf",
    "rollback": "rRf",
    "send": "i:t:LecwnvP",
    "snapshot": "ro:",
    "unmount": "afu",
}

_Usage = Callable[[str], Fail]


def _end(out: str, err: str) -> Output:
    return Output(1 if err else 0, out, err)


def _one_word(options: tables.Options, usage: _Usage, missing: str) -> str:
    if len(options.words) != 1:
        raise usage("too many arguments\n" if options.words else missing + "\n")
    return options.words[0]


def _two_words(options: tables.Options, usage: _Usage, missing: Tuple[str, str]) -> Tuple[str, str]:
    if len(options.words) != 2:
        raise usage("too many arguments\n" if len(options.words) > 2 else missing[len(options.words)] + "\n")
    return options.words[0], options.words[1]


def _version(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    return Output(0, pools.release.zfs_version)


#: sections of what ``allow`` prints, in their order, by the options that put a permission there
_SECTIONS = {
    "s": "Permission sets",
    "c": "Create time permissions",
    "l": "Local permissions",
    "d": "Descendent permissions",
    "ld": "Local+Descendent permissions",
}


def _allow(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    """Delegate permissions, or show who has which; here users and groups are only known by number."""
    if not options.pairs:
        item = datasets.open_item(pools, _one_word(options, usage, "missing dataset argument"), (FILESYSTEM,))
        return Output(0, "".join(_permissions(item.pool, each) for each in _upwards(item.dataset)))
    words = options.words
    item = datasets.open_item(pools, words[-1], (FILESYSTEM,))
    kind = next((letter for letter in "sceug" if letter in options), "")
    where = "".join(letter for letter in "ld" if letter in options) or "ld"
    who, what = ("", words[0]) if kind in ("c", "e") else (words[0], words[1])
    if kind in ("u", "g") and not who.isdigit():
        raise usage("invalid {0} {1}\n".format({"u": "user", "g": "group"}[kind], who))
    section = kind if kind in ("s", "c") else where
    given = item.record.setdefault("allowed", {}).setdefault(section, {}).setdefault(kind + who, [])
    item.record["allowed"][section][kind + who] = sorted(set(given) | set(what.split(",")))
    item.pool.tick()
    item.pool.save()
    return Output()


def _upwards(dataset: str) -> List[str]:
    parts = dataset.split("/") if dataset else []
    return ["/".join(parts[:size]) for size in range(len(parts), -1, -1)]


def _permissions(pool: Pool, dataset: str) -> str:
    """What was delegated on one dataset."""
    allowed = pool.datasets[dataset].get("allowed")
    if not allowed:
        return ""
    head = "---- Permissions on {0} ".format(pool.full(dataset))
    text = head + "-" * (70 - len(head)) + "\n"
    for section, title in _SECTIONS.items():
        who = allowed.get(section, {})
        text += title + ":\n" if who else ""
        for key in sorted(who, key=lambda each: ("ugesc".index(each[0]), each)):
            names = {"u": "user (unknown: {0}) ", "g": "group (unknown: {0}) ", "e": "everyone ", "s": "{0} ", "c": ""}
            text += "\t{0}{1}\n".format(names[key[0]].format(key[1:]), ",".join(who[key]))
    return text


# reading


def _depth(options: tables.Options, usage: _Usage) -> Optional[int]:
    text = options.value("d", "")
    if not text:
        return None
    if not text.lstrip("-").isdigit():
        raise usage("{0} is not an integer\n".format(text))
    if text.startswith("-"):
        raise usage("Depth can not be negative.\n")
    return int(text)


def _select(
    pools: Pools, options: tables.Options, words: Sequence[str], default: Sequence[str], usage: _Usage
) -> Selection:
    """What ``list`` and ``get`` are about."""
    kinds: Tuple[str, ...] = tuple(default)
    if "t" in options:
        chosen = tables.choices(options.value("t", ""), list(_KINDS), "invalid type '{0}'\n", usage)
        kinds = tuple(kind for each in chosen for kind in _KINDS[each])
    limit = _depth(options, usage)
    recurse = "r" in options or limit is not None
    if kinds in ((SNAPSHOT,), (BOOKMARK,)) and words and not recurse:
        recurse, limit = True, 1
    selection = Selection(pools, kinds, "t" not in options and BOOKMARK not in default)
    selection.add(words, recurse, limit)
    return selection


def _keys(native: properties.Native, text: str, usage: _Usage) -> List[str]:
    """A list of properties."""
    keys = [native.canonical(key) for key in text.split(",")]
    for key in keys:
        known = key == "name" or key in native.datasets or properties.is_quota(key)
        if not known and not properties.is_user(key) and not properties.is_written(key):
            raise usage("bad property list: invalid property '{0}'\n".format(key))
    return keys


_SPACE = "name,available,used,usedbysnapshots,usedbydataset,usedbyrefreservation,usedbychildren"


def _list(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    literal, scripted, native = "p" in options, "H" in options, pools.release.native
    for key in options.values("s") + options.values("S"):
        if key != "name" and native.canonical(key) not in native.datasets and not properties.is_user(key):
            raise usage("invalid property '{0}'\n".format(key))
    wanted = options.value("o", "name,used,available,referenced,mountpoint")
    default = (FILESYSTEM,) if wanted == "space" else (FILESYSTEM, VOLUME, SNAPSHOT)
    keys = _keys(native, _SPACE if wanted == "space" else wanted, usage)
    selection = _select(pools, options, options.words, default, usage)
    values = Values(literal)
    items = _ordered(native, selection.sorted(), options, values)
    rows = [[(values.get(item, key) or ("-", ""))[0] for key in keys] for item in items]
    if not rows:
        none = "" if scripted or selection.err else "no datasets available\n"
        return Output(1 if selection.err else 0, "", selection.err + none)
    return _end(tables.listing([_column(native, key) for key in keys], rows, scripted, literal), selection.err)


def _column(native: properties.Native, key: str) -> tables.Column:
    known = native.datasets.get(key)
    if known is None:
        return tables.Column(key.upper(), properties.is_written(key), len(key), False)
    return tables.Column(known.column, known.right, known.width, known.kind not in ("string", "date"))


def _ordered(native: properties.Native, items: List[Item], options: tables.Options, values: Values) -> List[Item]:
    """Sorted as -s and -S say, the first of them above all; what has no such property comes last."""
    for letter, given in reversed([pair for pair in options.pairs if pair[0] in "sS"]):
        key = native.canonical(given)

        def sortable(item: Item, key: str = key) -> Tuple[int, str]:
            value = values.raw(item, key) or ""
            return (int(value), "") if value.isdigit() and key != "name" else (0, value)

        having = [item for item in items if values.raw(item, key) is not None]
        rest = [item for item in items if values.raw(item, key) is None]
        items = sorted(having, key=sortable, reverse=letter == "S") + rest
    return items


def _get(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    if not options.words:
        raise usage("missing property argument\n")
    columns: Sequence[str] = ("name", "property", "value", "source")
    if "o" in options:
        columns = tables.choices(
            options.value("o", ""), tables.GET_COLUMNS + ("all",), "invalid column name '{0}'\n", usage
        )
        columns = tables.GET_COLUMNS if "all" in columns else columns
    sources: Sequence[str] = tables.SOURCES
    if "s" in options:
        sources = tables.choices(options.value("s", ""), tables.SOURCES, "invalid source '{0}'\n", usage)
    everything, native = options.words[0] == "all", pools.release.native
    keys = list(native.datasets) if everything else _keys(native, options.words[0], usage)
    kinds = (FILESYSTEM, VOLUME, SNAPSHOT, BOOKMARK)
    selection = _select(pools, options, options.words[1:], kinds, usage)
    values = Values("p" in options)
    items = selection.sorted()
    rows: List[tables.Got] = []
    for item in items:
        for key in keys + (user_keys(item) if everything else []):
            found = values.get(item, key)
            if found or not everything:
                rows.append(tables.Got(item.name, key, *(found or ("-", "-"))))
    widths = {
        "name": max([0] + [len(item.name) for item in items]),
        "property": max([len(key) for key in keys] + [len(row.key) for row in rows]),
        "value": max([_value_width(native, row) for row in rows] + [native.width(key) for key in keys]),
    }
    widths["source"] = widths["name"] + len("inherited from")
    shown = [row for row in rows if row.kind in sources]
    return _end(tables.got(shown, columns, widths, "H" in options), selection.err)


def _value_width(native: properties.Native, row: tables.Got) -> int:
    known = native.datasets.get(row.key)
    return len(row.value) if known is None or known.kind in ("string", "date") else 0


def _moment(seconds: int) -> str:
    return time.strftime("%a %b %e %H:%M %Y", time.gmtime(seconds))


def _holds(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    if not options.words:
        raise usage("")
    err, found = "", []
    for word in options.words:
        dataset, delimiter, tag = word.partition("@")
        if not delimiter:
            err += "'{0}' is not a snapshot\n".format(word)
            continue
        try:
            if "r" in options:
                top = datasets.open_item(pools, dataset, (FILESYSTEM,))
                found += [
                    Item(top.pool, name, SNAPSHOT, each)
                    for name in [top.dataset] + top.pool.below(top.dataset)
                    for each in top.pool.snapshots(name)
                    if each["name"] == tag
                ]
            else:
                found.append(datasets.open_item(pools, word, (SNAPSHOT,)))
        except Fail as failure:
            err += failure.output.err
    rows = [(item.name, tag, _moment(item.record["holds"][tag])) for item in found for tag in item.record["holds"]]
    wide = max([0] + [len(item.name) for item in found]), max([0] + [len(row[1]) for row in rows])
    out = "".join("\t".join(row) + "\n" for row in rows)
    if "H" not in options:
        lines = [("NAME", "TAG", "TIMESTAMP")] + rows
        out = "".join("{0:<{a}}  {1:<{b}}  {2}\n".format(*line, a=wide[0], b=wide[1]) for line in lines)
    none = "" if found else "no datasets available\n"
    return Output(1 if err else 0, out, err + none)


# making


def _create(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    pairs = datasets.parse_pairs(options.values("o"))
    name = _one_word(options, usage, "missing filesystem argument")
    size = None
    if "V" in options:
        try:
            size = properties.number_of(options.value("V", ""))
        except properties.Bad as reason:
            raise usage("bad volume size '{0}': {1}\n".format(options.value("V", ""), reason))
    if "p" in options and not datasets.name_problem(name, (FILESYSTEM,)):
        if pools.find(name) is not None:
            return Output()
        datasets.create_parents(pools, name)
    made = datasets.create(pools, name, pairs, size, "s" in options)
    return Output() if "u" in options else _mount_new(made)


def _mount_new(made: datasets.Created) -> Output:
    """Mount a dataset that was just made; it stays when that fails."""
    if made.pool.value(made.dataset, "canmount") == "on":
        try:
            zmounts.mount(made.pool, made.dataset)
        except Fail as failure:
            raise Fail(failure.output.err + "filesystem successfully created, but not mounted")
    return Output()


def _clone(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    pairs = datasets.parse_pairs(options.values("o"))
    missing = ("missing source dataset argument", "missing target dataset argument")
    source, name = _two_words(options, usage, missing)
    item = datasets.open_item(pools, source, (SNAPSHOT,))
    if "p" in options and not datasets.name_problem(name, (FILESYSTEM,)):
        if pools.find(name) is not None:
            return Output()
        datasets.create_parents(pools, name)
    return _mount_new(datasets.clone(pools, item, name, pairs))


def _snapshot(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    pairs = datasets.parse_pairs(options.values("o"))
    if not options.words:
        raise usage("missing snapshot argument\n")
    wanted: List[Tuple[str, str]] = []
    chosen: Optional[Pool] = None
    for word in options.words:
        name, delimiter, tag = word.partition("@")
        if not delimiter:
            raise usage("")
        try:
            item = datasets.open_item(pools, name, (FILESYSTEM,))
        except Fail as failure:
            raise usage(failure.output.err)
        chosen = chosen or item.pool
        below = item.pool.below(item.dataset) if "r" in options else []
        wanted += [(each, tag) for each in [item.dataset] + below if (each, tag) not in wanted]
    assert chosen is not None
    try:
        datasets.snapshot(chosen, wanted, pairs)
    except Fail as failure:
        several = "r" in options or len(options.words) > 1
        raise Fail(failure.output.err + ("no snapshots were created\n" if several else ""))
    return Output()


def _bookmark(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    source, name = _two_words(options, usage, ("missing source argument", "missing bookmark argument"))
    if not set("@#") & set(source):
        raise usage("invalid source name '{0}': must contain a '@' or '#'\n".format(source))
    if "#" not in name:
        raise usage("invalid bookmark name '{0}': must contain a '#'\n".format(name))
    if name.startswith("#"):
        name = source.partition("@")[0].partition("#")[0] + name
    elif source.startswith(("@", "#")):
        source = name.partition("#")[0] + source
    kind = SNAPSHOT if "@" in source else BOOKMARK
    try:
        item = datasets.open_item(pools, source, (kind,))
    except Fail as failure:
        raise usage(failure.output.err)
    datasets.bookmark(pools, item, name)
    return Output()


# properties


def _set(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    words = options.words
    if not words:
        raise usage("missing arguments\n")
    size = next((at for at, word in enumerate(words) if "=" not in word), len(words))
    if size == 0:
        raise usage("missing property=value argument(s)\n" if len(words) == 1 else "invalid argument order\n")
    if size == len(words):
        raise usage("missing dataset name(s)\n")
    if any("=" in word for word in words[size:]):
        raise usage("invalid argument order\n")
    pairs = datasets.parse_pairs(words[:size])
    return _each(
        pools,
        words[size:],
        datasets.DATASET,
        lambda item: datasets.set_properties(item, pairs),
        pools.release.set_refused,
    )


def _each(
    pools: Pools, words: Sequence[str], kinds: Sequence[str], change: Callable[[Item], Any], refused: int = 1
) -> Output:
    """Do something with several objects, as far as it can be done.

    :param refused: exit status for one that is there and cannot be changed.
    """
    err, rc = "", 0
    for word in words:
        status = 1
        try:
            item = datasets.open_item(pools, word, kinds)
            status = refused
            change(item)
        except Fail as failure:
            err += failure.output.err
            rc |= status
    return Output(rc, "", err)


def _inherit(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    if len(options.words) < 2:
        raise usage("missing dataset argument\n" if options.words else "missing property argument\n")
    given, names = options.words[0], options.words[1:]
    key = pools.release.native.canonical(given)
    known = pools.release.native.datasets.get(key)
    if known is None and not properties.is_user(key):
        raise usage("invalid property '{0}'\n".format(given))
    if known is not None and not known.editable:
        raise Fail("{0} property is read-only".format(given))
    if known is not None and not known.inheritable and "S" not in options:
        how = "use 'zfs set {0}=none' to clear\nuse 'zfs inherit -S {0}' to revert to received value\n".format(given)
        limits = ("quota", "reservation", "refquota", "refreservation")
        raise Fail("'{0}' property cannot be inherited\n{1}".format(given, how if key in limits else ""))

    def change(item: Item) -> None:
        datasets.inherit(item, key)
        for name in item.pool.below(item.dataset) if "r" in options and item.kind == FILESYSTEM else []:
            datasets.inherit(Item(item.pool, name, FILESYSTEM, item.pool.datasets[name]), key)

    return _each(pools, names, datasets.DATASET, change)


# holds


def _held(pools: Pools, options: tables.Options, usage: _Usage, change: Callable[..., None]) -> Output:
    if len(options.words) < 2:
        raise usage("")
    tag, err = options.words[0], ""
    for word in options.words[1:]:
        dataset, delimiter, name = word.partition("@")
        try:
            if not delimiter:
                raise Fail("'{0}' is not a snapshot".format(word))
            item = datasets.open_item(pools, dataset, (FILESYSTEM,))
            change(item.pool, item.dataset, tag, name, "r" in options)
        except Fail as failure:
            err += failure.output.err
    return _end("", err)


def _hold(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    if options.words and options.words[0].startswith("."):
        raise usage("tag may not start with '.'\n")
    return _held(pools, options, usage, datasets.hold)


def _release(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    return _held(pools, options, usage, datasets.release)


# moving


def _promote(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    datasets.promote(
        datasets.open_item(pools, _one_word(options, usage, "missing clone filesystem argument"), (FILESYSTEM,))
    )
    return Output()


def _rename(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    missing = ("missing source dataset argument", "missing target dataset argument")
    old, new = _two_words(options, usage, missing)
    recursive = "r" in options
    for letter in "pu":
        if letter in options and ("r" in options or ("p" in options and "u" in options)):
            raise usage("-{0} and -{1} options are mutually exclusive\n".format(*("pr" if recursive else "up")))
    if recursive and "@" not in old:
        raise usage("source dataset for recursive rename must be a snapshot\n")
    kinds = (FILESYSTEM,) if "p" in options or "u" in options else datasets.DATASET
    item = datasets.open_item(pools, old, kinds)
    if item.name == new:
        return Output()
    if item.kind == SNAPSHOT:
        datasets.rename_snapshot(item, new, recursive)
        return Output()
    if "p" in options and not datasets.name_problem(new, (FILESYSTEM,)):
        datasets.create_parents(pools, new)
    unmounting = "u" not in options and not datasets.nothing_unmounted(item)
    datasets.rename(pools, item, new, unmounting, "f" in options)
    return Output()


def _rollback(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    item = datasets.open_item(pools, _one_word(options, usage, "missing dataset argument"), (SNAPSHOT,))
    datasets.check_rollback(item, "r" in options or "R" in options, "R" in options)
    datasets.rollback(item, "f" in options)
    return Output()


# destroying


class _Destroying:
    """One call of ``zfs destroy``, with what it prints on the way."""

    def __init__(self, options: tables.Options) -> None:
        self.options = options
        self.recurse = "r" in options or "R" in options
        self.clones = "R" in options
        self.dry = "n" in options
        self.out = ""

    def say(self, item: Item) -> None:
        """What is about to be destroyed, with -v or -p."""
        if "p" in self.options:
            self.out += "destroy\t{0}\n".format(item.name)
        elif "v" in self.options:
            self.out += "{0} destroy {1}\n".format("would" if self.dry else "will", item.name)

    def reclaimed(self, size: int) -> None:
        """How much that gives."""
        if "p" in self.options:
            self.out += "reclaim\t{0}\n".format(size)
        elif "v" in self.options:
            self.out += "{0} reclaim {1}\n".format("would" if self.dry else "will", properties.nice(size, "B"))

    def check_dependents(self, item: Item) -> None:
        """Refuse to destroy more than was agreed to."""
        everything = [each.name for each in datasets.dependents(item)]
        names = [name for name in everything if name.startswith((item.name + "/", item.name + "@"))]
        clones = [name for name in everything if name not in names]
        action = "cannot destroy '{0}'".format(item.name)
        if names and not self.recurse:
            raise Fail(
                "{0}: {1} has children\nuse '-r' to destroy the following datasets:\n{2}".format(
                    action, item.kind, "\n".join(names)
                )
            )
        if clones and (self.recurse or item.kind == SNAPSHOT):
            raise Fail(
                "{0}: {1} has dependent clones\nuse '-R' to destroy the following datasets:\n{2}".format(
                    action, item.kind, "\n".join(clones)
                )
            )


def _destroy(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    name = _one_word(options, usage, "missing dataset argument")
    call = _Destroying(options)
    try:
        if "@" in name:
            _destroy_snapshots(pools, call, name)
        elif "#" in name:
            _destroy_bookmark(pools, call, name)
        else:
            _destroy_filesystem(pools, call, name)
    except Fail as failure:
        raise Fail(failure.output.err, failure.output.rc, call.out)
    return Output(0, call.out)


def _destroy_bookmark(pools: Pools, call: _Destroying, name: str) -> None:
    for given, what in ((call.dry, "dryrun"), ("d" in call.options, "defer destroy"), (call.recurse, "recursive")):
        if given:
            raise Fail("{0} is not supported with bookmark".format(what), rc=255)
    item = pools.find(name)
    if item is None:
        raise Fail("bookmark '{0}' does not exist.".format(name))
    datasets.destroy_bookmark(item)


def _destroy_filesystem(pools: Pools, call: _Destroying, name: str) -> None:
    kinds = (SNAPSHOT,) if "d" in call.options else datasets.DATASET
    item = datasets.open_item(pools, name, kinds)
    if not call.recurse and not item.dataset:
        raise Fail(
            "cannot destroy '{0}': operation does not apply to pools\n"
            "use 'zfs destroy -r {0}' to destroy all datasets in the pool\n"
            "use 'zpool destroy {0}' to destroy the pool itself".format(name)
        )
    if not call.clones:
        call.check_dependents(item)
    errors, batch = "", []
    for each in list(datasets.dependents(item)) + [item]:
        call.say(each)
        if call.dry:
            continue
        if each.kind == SNAPSHOT:
            batch.append(each)
            continue
        try:
            datasets.destroy_snapshots(item.pool, batch, False)
            if each.dataset:
                datasets.destroy_filesystem(each, "f" in call.options)
        except Fail as failure:
            errors += failure.output.err
        batch = []
    if errors:
        raise Fail(errors)


def _destroy_snapshots(pools: Pools, call: _Destroying, name: str) -> None:
    dataset, _delimiter, spec = name.partition("@")
    top = datasets.open_item(pools, dataset, (FILESYSTEM,))
    chosen: List[Item] = []
    freed = 0
    errors = ""
    for each in [top.dataset] + (top.pool.below(top.dataset) if call.recurse else []):
        found = _matching(top.pool, each, spec)
        for item in found:
            if not call.clones and "d" not in call.options:
                try:
                    call.check_dependents(item)
                except Fail as failure:
                    errors += failure.output.err
        if "v" in call.options or "p" in call.options:
            for item in found:
                call.say(item)
            freed += _freed(top.pool, each, found)
        chosen += found
    if errors:
        raise Fail(errors)
    if not chosen:
        raise Fail("could not find any snapshots to destroy; check snapshot names.")
    call.reclaimed(freed)
    if call.dry:
        return
    if call.clones:
        for other in [other for item in chosen for other in datasets.dependents(item)]:
            if other.kind == FILESYSTEM:
                datasets.destroy_filesystem(other, "f" in call.options)
            else:
                datasets.destroy_snapshots(top.pool, [other], False)
    datasets.destroy_snapshots(top.pool, chosen, "d" in call.options)


def _matching(pool: Pool, dataset: str, spec: str) -> List[Item]:
    """The snapshots of a dataset that are meant by names and ranges, oldest first."""
    records = pool.snapshots(dataset)
    names = [each["name"] for each in records]
    chosen = set()
    for part in spec.split(","):
        first, percent, last = part.partition("%")
        if not percent:
            chosen.update({first} & set(names))
        elif (not first or first in names) and (not last or last in names):
            begin = names.index(first) if first else 0
            end = names.index(last) if last else len(names) - 1
            chosen.update(names[begin : end + 1])
    return [Item(pool, dataset, SNAPSHOT, each) for each in records if each["name"] in chosen]


def _freed(pool: Pool, dataset: str, chosen: List[Item]) -> int:
    """What becomes free with snapshots; those in a row share what only they have."""
    space, records = Space(pool), pool.snapshots(dataset)
    numbers = [records.index(item.record) for item in chosen]
    total, begin = 0, 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            total += space.range_used(dataset, numbers[begin], number)
            begin = at + 1
    return total


# mounts


def _mount(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    readonly = any("ro" in value.split(",") for value in options.values("o"))
    if "a" in options:
        if options.words:
            raise usage("too many arguments\n")
        return _mount_all(pools, readonly)
    if not options.words:
        mounts = [each for each in pools.machine.running["mounts"] if each["type"] == "zfs" and "@" not in each["from"]]
        return Output(0, "".join("{0:<30}  {1}\n".format(each["from"], each["on"]) for each in mounts))
    name = _one_word(options, usage, "")
    item = datasets.open_item(pools, name, (FILESYSTEM,))
    problem = _mount_problem(item)
    if problem:
        raise Fail("cannot mount '{0}': {1}".format(name, problem))
    zmounts.mount(item.pool, item.dataset, readonly)
    return Output()


def _mount_problem(item: Item) -> str:
    """Why a dataset cannot be mounted by zfs."""
    where = item.pool.mountpoint(item.dataset)
    if where == "legacy":
        return "legacy mountpoint\nuse mount(8) to mount this filesystem"
    if where == "none":
        return "no mountpoint set"
    if item.pool.value(item.dataset, "canmount") == "off":
        return "'canmount' property is set to 'off'"
    return "filesystem already mounted" if zmounts.mount_of(item.pool, item.dataset) else ""


def _mount_all(pools: Pools, readonly: bool) -> Output:
    err = ""
    waiting = [
        (pool.mountpoint(name), pool, name)
        for pool in pools.imported()
        for name in pool.datasets
        if pool.value(name, "canmount") == "on" and zmounts.mount_of(pool, name) is None
    ]
    for _where, pool, name in sorted(waiting, key=lambda each: each[0]):
        try:
            zmounts.mount(pool, name, readonly)
        except Fail as failure:
            err += failure.output.err
    return _end("", err)


def _unmount(pools: Pools, options: tables.Options, usage: _Usage) -> Output:
    force = "f" in options
    if "a" in options:
        if options.words:
            raise usage("too many arguments\n")
        return _unmount_all(pools, force)
    word = _one_word(options, usage, "missing filesystem argument")
    if word.startswith("/"):
        item = _mounted_at(pools, word)
    else:
        item = datasets.open_item(pools, word, (FILESYSTEM,))
    name = word if word.startswith("/") else item.name
    if item.pool.mountpoint(item.dataset) == "legacy":
        raise Fail(
            "cannot unmount '{0}': legacy mountpoint\nuse umount(8) to unmount this filesystem".format(item.name)
        )
    if zmounts.mount_of(item.pool, item.dataset) is None:
        raise Fail("cannot unmount '{0}': not currently mounted".format(name))
    chosen = [each for each in [item.dataset] + item.pool.below(item.dataset) if item.pool.mountpoint(each) != "legacy"]
    for each in sorted(chosen, key=item.pool.mountpoint, reverse=True):
        zmounts.unmount_dataset(item.pool, each, force)
    return Output()


def _mounted_at(pools: Pools, path: str) -> Item:
    """The file system that is mounted at a path."""
    mounts = [each for each in pools.machine.running["mounts"] if each["on"] == path.rstrip("/")]
    if not mounts:
        raise Fail("cannot unmount '{0}': not a mountpoint".format(path))
    if mounts[-1]["type"] != "zfs":
        raise Fail("cannot unmount '{0}': not a ZFS filesystem".format(path))
    return datasets.open_item(pools, mounts[-1]["from"], (FILESYSTEM,))


def _unmount_all(pools: Pools, force: bool) -> Output:
    """Everything but legacy mounts and what is not mounted by itself, in the reverse order of names."""
    err = ""
    chosen = [
        (pool.full(name), pool, name)
        for pool in pools.imported()
        for name in pool.datasets
        if pool.mountpoint(name) != "legacy" and pool.value(name, "canmount") != "noauto"
    ]
    for _name, pool, name in sorted(chosen, key=lambda each: each[0], reverse=True):
        try:
            zmounts.unmount_dataset(pool, name, force)
        except Fail as failure:
            err += failure.output.err
    return _end("", err)
