# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One Lua script of a package, in a process of its own that has nothing but the script and two pipes.

It is started by its path (see ``lua.py``). All that a script asks for (``pkg_lua_script_run`` in
``libpkg/lua_scripts.c``, ``lua.c`` of freebsd/pkg) goes as a line of JSON to the process that builds, which has the
tree, judges and answers; bytes are letters of Latin 1. Standard libraries that reach the machine, load bytecode or look
into Python are not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any, Tuple

#: of Lua, and of the whole process, whose Python needs most of it (bytes)
MAX_LUA = 64 << 20
MAX_PROCESS = 1 << 30

#: the most that it computes (seconds); the process that started it waits a little longer
MAX_COMPUTING = 8

#: what a script sees. Handles of files hold the whole content: they are read at once, and written when they are closed
BOOT = r"""
local call, script, args, name, prefix = ...
local error, getmetatable, load, next, pairs, pcall, rawget, select, setmetatable, tostring, type =
  error, getmetatable, load, next, pairs, pcall, rawget, select, setmetatable, tostring, type
local find, gmatch, gsub, match, sub = string.find, string.gmatch, string.gsub, string.match, string.sub
local concat, pack, sort, unpack, tonumber, floor =
  table.concat, table.pack, table.sort, table.unpack, tonumber, math.floor

local function text(value)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then error("bad argument (string expected, got " .. type(value) .. ")", 3) end
  return value
end

local function ask(...)
  local answer = pack(call(...))
  if not answer[1] then error(answer[2], 0) end
  return unpack(answer, 2, answer.n)
end

local File, files = {__name = "FILE*"}, {}
File.__index = File

local function usable(file)
  if type(file) ~= "table" or not file.data then error("attempt to use a closed file", 3) end
end

local function flush(file)
  if file.changed then
    ask("write", file.path, file.data)
    file.changed = false
  end
end

local function open(path, mode)
  path, mode = text(path), mode == nil and "r" or text(mode)
  local kind, plus = match(mode, "^([rwa])(%+?)b?$")
  if not kind then error("bad argument #2 to 'open' (invalid mode)", 2) end
  local data, why, number = ask("open", path, kind)
  if not data then return nil, path .. ": " .. why, number end
  local file = {path = path, data = data, at = 0, append = kind == "a", changed = false}
  file.reads, file.writes = kind == "r" or plus == "+", kind ~= "r" or plus == "+"
  files[#files + 1] = setmetatable(file, File)
  return file
end

local function one(file, form)
  if type(form) == "number" then
    if file.at >= #file.data then return nil end
    local found = sub(file.data, file.at + 1, file.at + floor(form))
    file.at = file.at + #found
    return found
  end
  form = sub(gsub(text(form), "^%*", ""), 1, 1)
  if form == "a" then
    local found = sub(file.data, file.at + 1)
    file.at = #file.data
    return found
  end
  if form ~= "l" and form ~= "L" then error("bad argument to 'read' (invalid format)", 3) end
  if file.at >= #file.data then return nil end
  local stop = find(file.data, "\n", file.at + 1, true)
  local found = sub(file.data, file.at + 1, (stop or #file.data) - ((stop and form == "l") and 1 or 0))
  file.at = stop or #file.data
  return found
end

function File:read(...)
  usable(self)
  if not self.reads then return nil, "Bad file descriptor", 9 end
  local forms, found = pack(...), {}
  if forms.n == 0 then return one(self, "l") end
  for number = 1, forms.n do
    found[number] = one(self, forms[number])
    if found[number] == nil then return unpack(found, 1, number) end
  end
  return unpack(found, 1, forms.n)
end

function File:lines(form)
  usable(self)
  return function() return one(self, form or "l") end
end

function File:write(...)
  usable(self)
  if not self.writes then return nil, "Bad file descriptor", 9 end
  for number = 1, select("#", ...) do
    local piece = text((select(number, ...)))
    if self.append then self.at = #self.data end
    self.data = sub(self.data, 1, self.at) .. piece .. sub(self.data, self.at + #piece + 1)
    self.at = self.at + #piece
    self.changed = true
  end
  return self
end

function File:seek(whence, offset)
  usable(self)
  local from = ({set = 0, cur = self.at, ["end"] = #self.data})[whence or "cur"]
  local at = from and from + (offset or 0)
  if not at or at < 0 or at > #self.data then return nil, "Invalid argument", 22 end
  self.at = at
  return at
end

function File:flush() usable(self) flush(self) return self end
function File:setvbuf() return true end
function File:close() usable(self) flush(self) self.data = nil return true end
File.__close = function(file) if file.data then file:close() end end

local keep = {}
for word in gmatch("_G _VERSION assert coroutine error getmetatable ipairs math next pairs pcall rawequal rawget "
  .. "rawlen rawset select setmetatable string table tonumber tostring type utf8 xpcall", "%S+") do
  keep[word] = true
end
local gone = {}
for key in next, _G do
  if not keep[key] then gone[#gone + 1] = key end
end
for number = 1, #gone do _G[gone[number]] = nil end
string.dump = nil
math.randomseed(0) -- the same image twice
-- likewise: Lua itself has another order in each process (luai_makeseed in lstate.c)
local ranks = {number = 1, string = 2}
local function before(one, other)
  local first, second = ranks[type(one)] or 3, ranks[type(other)] or 3
  if first ~= second then return first < second end
  return first < 3 and one < other
end
_G.pairs = function(value)
  local step, state, start = pairs(value)
  if step ~= next then return step, state, start end
  local keys, places = {}, {}
  for key in next, state do keys[#keys + 1] = key end
  sort(keys, before)
  for place = 1, #keys do places[keys[place]] = place end
  return function(_, last)
    local place = last == nil and 0 or places[last]
    repeat place = place + 1 until keys[place] == nil or rawget(state, keys[place]) ~= nil
    if keys[place] ~= nil then return keys[place], rawget(state, keys[place]) end
  end, state, nil
end
_G.load = function(chunk, title, _, ...) return load(chunk, title, "t", ...) end

local function say(...)
  local words = pack(...)
  for number = 1, words.n do words[number] = tostring(words[number]) end
  ask("print", concat(words, "\t"))
end

_G.print = say
_G.io = {open = open, write = say, type = function(file)
  if type(file) ~= "table" or getmetatable(file) ~= File then return nil end
  return file.data and "file" or "closed file"
end}
_G.os = {
  remove = function(path) return ask("remove", text(path)) end,
  rename = function(from, to) return ask("rename", text(from), text(to)) end,
}
local function forbidden(what)
  return function(argv)
    local words = {}
    if type(argv) == "table" then
      for number = 1, #argv do words[number] = tostring(argv[number]) end
    end
    ask("exec", what, concat(words, " "))
  end
end
_G.os.execute, _G.os.exit = forbidden("os.execute"), function() error("os.exit not available", 2) end
_G.pkg = {
  print_msg = function(message) ask("print", text(message)) end,
  prefixed_path = function(path)
    path = text(path)
    return sub(path, 1, 1) == "/" and path or prefix .. "/" .. path
  end,
  filecmp = function(one, other) return ask("filecmp", text(one), text(other)) end,
  copy = function(from, to) return ask("copy", text(from), text(to)) end,
  symlink = function(target, path) return ask("symlink", text(target), text(path)) end,
  stat = function(path)
    local kind, size, uid, gid = ask("stat", text(path))
    return kind and {type = kind, size = size, uid = uid, gid = gid}
  end,
  readdir = function(path)
    local names, why, number = ask("readdir", text(path))
    if not names then return nil, why, number end
    local found = {}
    for each in gmatch(names, "[^/]+") do found[#found + 1] = each end
    return found
  end,
  metalog_copy = function(from, to) text(from) text(to) return true end,
  exec = forbidden("pkg.exec"),
  exec_capture = forbidden("pkg.exec_capture"),
}
_G.pkg_name, _G.pkg_prefix, _G.pkg_rootdir, _G.pkg_upgrade = name, prefix, "/", false
if args then
  _G.arg = {}
  for each in gmatch(args, "[^\0]+") do _G.arg[#_G.arg + 1] = each end
end

local chunk, why = load(script, "=script", "t")
if not chunk then return false, why end
local done = pack(pcall(chunk))
if done[1] then
  local last = done.n > 1 and tonumber(done[done.n]) or 0
  if last ~= 0 then return false, "it gives back " .. last end
  done = pack(pcall(function() for number = 1, #files do if files[number].data then flush(files[number]) end end end))
end
if done[1] then return true, "" end
local fine, shown = pcall(tostring, done[2])
return false, fine and sub(shown, 1, 500) or "an error that cannot be shown"
"""


def limit() -> None:
    """Let the process have no more than it needs: no file to write, no other process, some memory."""
    for kind, most in (
        (resource.RLIMIT_CPU, MAX_COMPUTING),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, MAX_PROCESS),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS does not know all of them
            resource.setrlimit(kind, (most, most))


def call(*words: Any) -> Tuple[Any, ...]:
    """Ask the process that started this one. Lua gets to see no exception: it would be an object of Python."""
    try:
        if not all(isinstance(word, str) for word in words):
            return False, "bad argument"
        send(list(words))
        return tuple(json.loads(sys.stdin.readline()))
    except BaseException:  # whatever it is, nobody may go on after it
        os._exit(3)


def send(value: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def no_attributes(_object: Any, name: Any, _setting: bool) -> Any:
    """The filter for what Lua may see of an object of Python."""
    raise AttributeError(name)


def main() -> None:
    """Run what the first line of standard input says."""
    request = json.loads(sys.stdin.readline())
    sys.path[:] = request["path"]
    try:
        from lupa import lua54  # noqa: PLC0415 - the path is known now only
    except ImportError as error:
        send(["failed", "lupa has no Lua 5.4: {0}".format(error)])
        return
    limit()
    runtime = lua54.LuaRuntime(
        encoding="latin-1",
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=no_attributes,
        max_memory=MAX_LUA,
    )
    words = [request[key] for key in ("script", "args", "name", "prefix")]
    try:
        done, why = runtime.execute(BOOT, call, *words)
    except (lua54.LuaError, MemoryError) as error:
        done, why = False, str(error)[:500] or "not enough memory"
    send(["done" if done else "failed", str(why)])


if __name__ == "__main__":
    main()
