# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lua scripts of packages: run by a Lua in a process of its own, and those that mean no good."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import lua, packages, standard
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import Accounts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Script
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.staging import Staging
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, LINK, Node, Tree
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest

real = pytest.mark.skipif(not lua.is_there(), reason="lupa is not installed")

#: as the ports tree makes them
SAMPLE = """-- args: {0}
  args = {{}}
  for arg in string.gmatch("{0}", "%S+") do
    table.insert(args, arg)
  end
  sample_file = pkg.prefixed_path(args[1])
  if args[2] == nil then
    target_file = string.gsub(sample_file,'%.sample$', "")
  else
    target_file = pkg.prefixed_path(args[2])
  end
  if not pkg.stat(target_file) then
    pkg.copy(sample_file, target_file)
    if pkg_metalog ~= nil and pkg.metalog_copy ~= nil then
      pkg.metalog_copy(sample_file, target_file)
    end
  end
"""
SHELL = """shell_path = pkg.prefixed_path("bin/bash")
  shell = assert(io.open("/etc/shells", "r+"))
  while true do
    line = shell:read()
    if line == nil then break end
    if line == shell_path then
      -- the shell path is already in the shell file
      shell:close()
      return
    end
  end
  assert(shell:write(shell_path .. "\\n"))
  assert(shell:close())
"""


def system() -> Tree:
    tree = Tree()
    tree.write("etc/master.passwd", "root::0:0::0:0::/root:/bin/sh\nwww:*:80:80::0:0::/:/nologin\n", 0o600)
    tree.write("etc/group", "wheel:*:0:root\nwww:*:80:\n")
    tree.write("etc/shells", "/bin/sh\n")
    tree.put("usr/local/etc/app.conf.sample", Node(FILE, 0o640, uid=0, gid=80, mtime=5, data=b"\x00\xff = 1\n"))
    tree.put("usr/bin/su", Node(FILE, 0o4555, data=b"su"))
    tree.put("usr/local/bin/helper", Node(FILE, 0o4750, data=b"helper"))
    tree.link("usr/local/etc/out", "/boot")
    tree.link("usr/local/etc/loop", "loop")
    return tree


def run(tree: Tree, text: str, deadline: float = 10.0) -> Tuple[str, Staging]:
    staging = Staging(tree)
    return lua.run(Script("post-install", True, text), "app", "/usr/local", staging, deadline), staging


def own(tree: Tree, text: str) -> Tuple[str, Staging]:
    staging = Staging(tree)
    return standard.run(Script("post-install", True, text), "/usr/local", staging), staging


Runs = Callable[[Tree, str], Tuple[str, Staging]]
both = pytest.mark.parametrize("runs", [pytest.param(run, marks=real), own], ids=["lua", "own"])


@both
def test_sample(runs: Runs) -> None:
    before = system()
    why, staging = runs(before, SAMPLE.format("etc/app.conf.sample"))
    assert why == "" and staging.changed() == ["usr/local/etc/app.conf"] and "usr/local/etc/app.conf" not in before
    assert staging.tree.get("usr/local/etc/app.conf") == before.get("usr/local/etc/app.conf.sample")
    why, staging = runs(before, SAMPLE.format("/usr/local/etc/app.conf.sample etc/new.d/app.conf"))
    assert why == "" and staging.tree.get("usr/local/etc/new.d/app.conf").uid == 0
    why, staging = runs(staging.tree, SAMPLE.format("etc/none.sample etc/new.d/app.conf"))
    assert why == "" and staging.changed() == [], "a file that is there stays"
    why, staging = runs(before, SAMPLE.format("etc/app.conf.sample /boot/loader.conf"))
    assert why == "it wants to change /boot/loader.conf, which no script may"


@both
def test_shell(runs: Runs) -> None:
    why, staging = runs(system(), SHELL)
    node = staging.tree.get("etc/shells")
    assert why == "" and node.content() == b"/bin/sh\n/usr/local/bin/bash\n" and node.mtime == 0
    why, staging = runs(staging.tree, SHELL)
    assert why == "" and staging.changed() == []
    without = system()
    without.remove("etc/shells")
    assert "/etc/shells" in runs(without, SHELL)[0]


@pytest.mark.parametrize(
    "text",
    [SAMPLE + "x", SAMPLE.replace("not pkg.stat", "pkg.stat"), "os.remove('/etc/shells')", "", SAMPLE.format(" ")],
)
def test_own_code_is_for_exact_texts(text: str) -> None:
    why, staging = own(system(), text)
    assert "install the Python package lupa" in why and staging.changed() == []


@real
def test_calls() -> None:
    """What pkg's own calls give, and its io and os."""
    tree = system()
    why, staging = run(
        tree,
        """-- args: one "two words"
        assert(arg[1] == "one" and arg[2] == "two words" and #arg == 2)
        assert(pkg_name == "app" and pkg_prefix == "/usr/local" and pkg_rootdir == "/" and pkg_upgrade == false)
        assert(pkg_metalog == nil and pkg.metalog_copy("a", "b"))
        local about = pkg.stat("/usr/local/etc/app.conf.sample")
        assert(about.type == "reg" and about.size == 7 and about.uid == 0 and about.gid == 80)
        assert(pkg.stat("/none") == nil and pkg.stat("/usr/local/etc/out").type == "lnk")
        assert(pkg.stat("/etc").type == "dir")
        assert(table.concat(pkg.readdir("/usr/local"), " ") == "bin etc" and pkg.readdir("/none") == nil)
        assert(table.concat(pkg.readdir("/"), " ") == "etc usr")
        assert(pkg.copy("/usr/local/etc/app.conf.sample", "/usr/local/etc/a") == nil)
        assert(pkg.copy("/usr/local/etc/app.conf.sample", "/usr/local/etc/a") == 2 and pkg.copy("/none", "/etc/x") == 2)
        assert(pkg.filecmp("/usr/local/etc/a", "/usr/local/etc/app.conf.sample") == 0)
        assert(pkg.filecmp("/usr/local/etc/a", "/etc/shells") == 1 and pkg.filecmp("/none", "/etc/shells") == 2)
        assert(pkg.symlink("a", "/usr/local/etc/b") == true and pkg.symlink("a", "/usr/local/etc/b") == nil)
        local file = assert(io.open("/usr/local/etc/b", "rb"))
        assert(file:read("a") == "\\0\\255 = 1\\n" and io.type(file) == "file")
        assert(file:close() and io.type(file) == "closed file")
        file = assert(io.open("usr/local/etc/new", "w"))
        assert(file:write("one\\n", 2, "\\nthree"):seek("set", 0) == 0)
        file:close()
        file = io.open("/usr/local/etc/new", "a+")
        assert(file:read(3) == "one" and file:read("L") == "\\n" and file:read("l", "l", "l") == "2")
        file:write("\\nfour") -- nobody closes it
        local lines = {}
        for line in io.open("/usr/local/etc/new"):lines() do lines[#lines + 1] = line end
        assert(table.concat(lines, ",") == "one,2,three")
        local none, message, number = io.open("/none")
        assert(none == nil and message == "/none: No such file or directory" and number == 2)
        assert(select("#", pcall(io.open, "/etc/shells", "rw")) == 2)
        assert(os.remove("/usr/local/etc/b") and os.remove("/none") and not os.remove("/usr/local/etc"))
        assert(os.rename("/usr/local/etc/a", "/usr/local/etc/c") and not os.rename("/none", "/etc/x"))
        assert(not io.open("/usr/local/none/x", "w") and not pkg.symlink("a", "/usr/local/none/x"))
        assert(load("return 5")() == 5)
        pkg.print_msg("hello") print("a", 1)
        """,
    )
    assert why == "" and staging.messages == ["hello", "a\t1"]
    assert staging.tree.get("usr/local/etc/new").content() == b"one\n2\nthree\nfour"
    node = staging.tree.get("usr/local/etc/new")
    assert (node.mode, node.uid, node.gid, node.mtime) == (0o644, 0, 0, 0)
    copied = staging.tree.get("usr/local/etc/c")
    assert (copied.mode, copied.gid, copied.mtime, copied.content()) == (0o640, 80, 5, b"\x00\xff = 1\n")
    assert "usr/local/etc/b" not in staging.tree and "usr/local/etc/a" not in staging.tree


@real
def test_pairs_have_one_order() -> None:
    """Lua's own is another one in each process, and the same image would not be made twice."""
    why, staging = run(
        system(),
        """
        local many, words = {[true] = 0, [1.5] = 0, [3] = 0, [1] = 0, [2] = 0}, {}
        for n = 1, 30 do many["k" .. n % 10 .. n] = n end
        for key, value in pairs(many) do
          words[#words + 1] = tostring(key)
          assert(many[key] == value)
          many[key], many.k010 = nil, nil
        end
        assert(next(many) == nil)
        print(table.concat(words, " "))
        for key, value in pairs(setmetatable({}, {__pairs = function() return ipairs({"own"}) end})) do print(value) end
        local step, state, first = pairs({"x"})
        assert(step(state, first) == 1 and step(state, 1) == nil and not pcall(pairs, nil))
        for _ in pairs({}) do error("nothing is in it") end
        """,
    )
    keys = sorted("k{0}{1}".format(n % 10, n) for n in range(1, 31))
    keys.remove("k010")
    assert why == "" and staging.messages == [" ".join(["1", "1.5", "2", "3", *keys, "true"]), "own"]


HOSTILE: Dict[str, Tuple[str, str]] = {
    "loop": ("while true do end", "not done in 1 seconds"),
    "loop that catches": ("while true do pcall(string.rep, 'x', 1 << 40) end", "not done in 1 seconds"),
    "pattern": ("string.find(('a'):rep(100000), ('.-'):rep(50) .. 'b')", "not done in 1 seconds"),
    "many calls": ("while true do pkg.stat('/') end", "not done in 1 seconds"),
    "memory": ("local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end", "memory"),
    "much output": ("while true do pkg.print_msg(('x'):rep(1000)) end", "says more than 16 KiB"),
    "much written": (
        "for n = 1, 9 do local f = io.open('/etc/x' .. n, 'w') f:write(('x'):rep(5000000)) f:close() end",
        "writes more than 32 MiB",
    ),
    "parent": ("io.open('/usr/local/../../etc/passwd')", "leads out of the image"),
    "parent of root": ("pkg.copy('../../../etc/passwd', '/etc/x')", "leads out of the image"),
    "nul": ("io.open('/etc/x\\0', 'w')", "leads out of the image"),
    "long path": ("io.open(('a/'):rep(1000000))", "is longer than a path can be"),
    "long name": ("io.open('/etc/' .. ('x'):rep(256), 'w')", "is longer than a path can be"),
    "long path by links": (
        "for n = 1, 9 do pkg.symlink('/usr/local/l' .. n - 1 .. ('/a'):rep(200), '/usr/local/l' .. n) end "
        "pkg.copy('/etc/shells', '/usr/local/l9/x')",
        "is longer than a path can be",
    ),
    "link to a long path": ("pkg.symlink(('a/'):rep(1000000), '/etc/x')", "is longer than a path can be"),
    "link to NUL": ("pkg.symlink('a\\0b', '/etc/x')", "which is no path"),
    "link to nothing": ("pkg.symlink('', '/etc/x')", "which is no path"),
    "link out": ("io.open('/usr/local/etc/out/loader.conf', 'w')", "change /boot/loader.conf, which no script may"),
    "link made for it": (
        "pkg.symlink('/boot', '/usr/local/x') pkg.copy('/etc/shells', '/usr/local/x/nanozfs')",
        "change /boot/nanozfs, which no script may",
    ),
    "link with parents": (
        "pkg.symlink('../../../../etc', '/usr/local/x') io.open('/usr/local/x/group', 'w')",
        "change /etc/group, which no script may",
    ),
    "link without end": ("io.open('/usr/local/etc/loop')", "symbolic links without end"),
    "users": ("io.open('/etc/master.passwd', 'a')", "change /etc/master.passwd, which no script may"),
    "users renamed": ("os.rename('/etc/shells', '/etc/group')", "change /etc/group, which no script may"),
    "users removed": ("os.remove('/etc/master.passwd')", "change /etc/master.passwd, which no script may"),
    "passwords read": ("io.open('/etc/master.passwd')", "read /etc/master.passwd, which no script may"),
    "passwords copied": ("pkg.copy('/etc/master.passwd', '/etc/x')", "read /etc/master.passwd, which no script may"),
    "system": ("pkg.copy('/etc/shells', '/bin/x')", "change /bin/x, which no script may"),
    "consoles": ("io.open('/etc/ttys', 'w')", "change /etc/ttys, which no script may"),
    "logins": ("io.open('/etc/login.access', 'w')", "change /etc/login.access, which no script may"),
    "jobs": ("io.open('/etc/crontab', 'a')", "change /etc/crontab, which no script may"),
    "start": ("io.open('/etc/rc.d/x', 'w')", "change /etc/rc.d/x, which no script may"),
    "boot": ("io.open('/boot/nanozfs/early.subr', 'w')", "change /boot/nanozfs/early.subr, which no script may"),
    "set-user-ID": ("pkg.copy('/usr/bin/su', '/usr/local/bin/su')", "copy /usr/bin/su, which runs as somebody else"),
    "in its place": (
        "io.open('/usr/local/bin/helper', 'w')",
        "change /usr/local/bin/helper, which runs as somebody else",
    ),
    "caught": (
        "pcall(io.open, '/boot/x', 'w') pkg.copy('/etc/shells', '/etc/y')",
        "change /boot/x, which no script may",
    ),
    "program": ("pkg.exec({'mkfontscale', '/x'})", "pkg.exec: it needs the program mkfontscale /x"),
    "program's output": ("pkg.exec_capture({'id'})", "pkg.exec_capture: it needs the program id"),
    "shell": ("os.execute('id')", "os.execute: it needs the program"),
    "exit": ("os.exit(0)", "os.exit not available"),
    "bytecode": ("assert(load('\\27Lua', 'x', 'b'))", "attempt to load a binary chunk"),
    "bytecode from pieces": (
        "local n = 0 assert(load(function() n = n + 1 return n == 1 and '\\27Lua' or nil end))",
        "binary chunk",
    ),
    "syntax": ("x x", "syntax error"),
    "bytes": ("\x1bLua", "binary chunk"),
    "fails": ("error({})", "table:"),
    "fails badly": ("error(setmetatable({}, {__tostring = function() error('x') end}))", "cannot be shown"),
    "says so": ("return 1", "gives back 1"),
    "types": ("pkg.copy({}, print)", "string expected, got table"),
}


@real
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_scripts_that_mean_no_good(name: str, tmp_path: Path) -> None:
    text, message = HOSTILE[name]
    begun = time.monotonic()
    why, _staging = run(system(), text, 1.0 if "seconds" in message else 10.0)
    assert message in why and time.monotonic() - begun < 9


@real
def test_what_is_not_there() -> None:
    """Nothing that reaches the machine, loads bytecode or looks into Python."""
    names = (
        "require package debug python dofile loadfile loadstring collectgarbage warn string.dump os.getenv "
        "os.tmpname os.time os.clock io.popen io.lines io.input io.output io.tmpfile io.stdout rootfd msgfd "
        "getmetatable(print) getmetatable(pkg.copy) getmetatable('').__index.dump getmetatable(io.open)"
    )
    why, staging = run(
        system(), "".join("print('{0}', {1})\n".format(each.replace("'", '"'), each) for each in names.split())
    )
    assert why == "" and len(staging.messages) == len(names.split())
    assert [text for text in staging.messages if not text.endswith("\tnil")] == []
    why, staging = run(
        system(),
        """
        local seen = {}
        local function look(value, path)
          if type(value) == "userdata" or type(value) == "thread" then print(path) end
          if type(value) == "table" and not seen[value] then
            seen[value] = true
            for key, each in next, value do look(key, path) look(each, path .. "." .. tostring(key)) end
            look(getmetatable(value), path .. "!")
          end
        end
        look(_G, "_G") look(getmetatable(""), "string") look(getmetatable(io.open("/etc/shells")), "file")
        local ok, why = pcall(pkg.copy, nil) assert(type(why) == "string")
        """,
    )
    assert why == "" and staging.messages == [], "no object of Python is in reach"


@real
def test_the_process_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gets out of hand in another way, and one that says what is no JSON."""
    for code in ("import os; os._exit(0)", "print('[1]', flush=True)", "print('[]' * 9, flush=True)", "print('x')"):
        child = tmp_path / "child.py"
        child.write_text(code)
        monkeypatch.setattr(lua, "CHILD", str(child))
        assert "ended before it was done" in run(system(), "")[0]
    child.write_text("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)")  # before the deadline (MAX_COMPUTING)
    assert "computes too long" in run(system(), "")[0]
    child.write_text('print(\'["other"]\', flush=True); input(); input(); print(\'["failed", "x"]\')')
    assert run(system(), "")[0] == "it calls other, which is nothing"


@real
def test_a_lupa_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lupa").mkdir()
    (tmp_path / "lupa" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "lupa has no Lua 5.4: cannot import name 'lua54'" in run(system(), "")[0]
    monkeypatch.delitem(sys.modules, "lupa", raising=False)
    assert not lua.is_there(), "so what can be done without one is done"


def install(tree: Tree, tmp_path: Path, *paths: str) -> List[str]:
    said: List[str] = []
    found = packages.expand([Supplied(path, os.path.basename(path), digest_file(path)) for path in paths])
    accounts = Accounts()
    accounts.add(tree)
    packages.lay(tree, [packages.read(each) for each in found], accounts, str(tmp_path), said.append)
    return said


def post(name: str, *texts: str, **values: Any) -> Any:
    return manifest(name, lua_scripts={"post-install": list(texts)}, **values)


@real
def test_packages(tmp_path: Path) -> None:
    """In the order in which they need each other, twice the same, and what fails leaves nothing behind."""
    first = make(tmp_path, post("zlib", "io.open('/usr/local/etc/order', 'a'):write('zlib ')"))
    text = (
        "io.open('/usr/local/etc/order', 'a'):write(pkg.stat('/usr/local/bin/app') and 'app' or 'early') "
        "pkg.copy('/etc/shells', '/var/db/app') pkg.print_msg('see \\27[2J the manual')"
    )
    bad = "io.open('/usr/local/etc/half', 'w'):close() pkg.exec({'fc-cache', '\\27[2J'})"
    values = post("app", text, bad, SHELL, deps={"zlib": {"origin": "x", "version": "1"}})
    values["lua_scripts"]["pre-install"] = ["assert(not pkg.stat('/usr/local/bin/app')) print('before')"]
    second = make(tmp_path, values)
    trees = [system(), system()]
    told = [install(tree, tmp_path, second, first) for tree in trees]
    tree, said = trees[0], told[0]
    assert tree.get("usr/local/etc/order").content() == b"zlib app" and "usr/local/etc/half" not in tree
    assert tree.get("etc/shells").content() == b"/bin/sh\n/usr/local/bin/bash\n"
    assert said[:2] == ["the package app says: before", "the package app says: see ?[2J the manual"]
    assert "the package app has below /var is not on the image" in said[2] and "host's own: /var/db/app;" in said[2]
    assert len(said) == 4 and said[3].startswith(
        "the package app has a script that was not run (post-install, Lua: io.open('/usr/local/etc/half'"
    )
    assert ": pkg.exec: it needs the program fc-cache ?[2J; `pkg info" in said[3]
    assert trees[0].identity() == trees[1].identity() and told[0] == told[1]


def test_packages_without_lupa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lupa", None)
    assert not lua.is_there()
    tree = system()
    said = install(tree, tmp_path, make(tmp_path, post("app", SAMPLE.format("etc/app.conf.sample"), "print('x')")))
    assert "usr/local/etc/app.conf" in tree and len(said) == 1
    assert "(post-install, Lua: print('x')): it needs a Lua: install the Python package lupa" in said[0]


def test_packages_that_need_each_other(tmp_path: Path) -> None:
    def needs(*names: str) -> Dict[str, Any]:
        return {name: {"origin": "x", "version": "1"} for name in names}

    made = [("a", needs("c", "b")), ("b", needs("d")), ("c", needs("a", "none")), ("d", needs())]
    paths = [make(tmp_path, manifest(name, deps=deps)) for name, deps in made]
    archives = [packages.read(Supplied(path, "x", "0")) for path in paths]
    assert [each.package.name for each in packages._in_order(archives[::-1])] == ["d", "b", "c", "a"]


def test_links_of_the_tree() -> None:
    """The copy that a script has is its own."""
    tree = system()
    staging = Staging(tree)
    assert staging.answer("symlink", ["x", "/etc/new"]) == [True, True] and staging.tree.get("etc/new").kind == LINK
    assert staging.answer("stat", []) != [True] and staging.refused and "etc/new" not in tree
    assert staging.answer("stat", ["/"])[0] is False, "nothing goes on after a refusal"
