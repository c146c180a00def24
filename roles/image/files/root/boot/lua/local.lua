-- Ties the root file system to the slice that the loader was read from, so that the slices can be identical and a kernel
-- never runs on the root of another one; and takes the recovery slice instead of waiting at a prompt when that slice has
-- no kernel that can be loaded. The stock loader runs this file if it is there (stand/lua/loader.lua).
-- The numbers of the partitions are the same in every layout of nanozfs.fleet; see docs/layout.md.

local color = require("color")
local config = require("config")
local core = require("core")

local RECOVERY = "nz-recovery"
-- By the kind of table: how the loader calls a slice, what the slices are, where the kernel finds their file systems.
-- With an MBR that is partition a of the slice, labelled by glabel(8).
local tables = {
	gpt = {pattern = "^(disk%d+p)(%d+):?$", tail = ":", root = "ufs:/dev/gpt/",
	    slices = {["3"] = RECOVERY, ["4"] = "nz-a", ["5"] = "nz-b"}},
	mbr = {pattern = "^(disk%d+s)(%d+)a:?$", tail = "a:", root = "ufs:/dev/label/",
	    slices = {["1"] = RECOVERY, ["2"] = "nz-a", ["3"] = "nz-b"}},
}

-- The build that the slice in $currdev holds: the hook compares it with that of the root file system.
local function build()
	local file = io.open("/boot/nanozfs/image.conf")
	local text = file and io.read(file, 4096) or ""
	if file then
		io.close(file)
	end
	return text:match("NZ_BUILD=(%x+)")
end

-- Boot from a slice of the disk that the loader was read from. A place: which table, which disk, which index.
local function tie(place, index)
	local name = place.table.slices[index]
	loader.setenv("currdev", place.disk .. index .. place.table.tail)
	loader.setenv("nanozfs.slice", name)
	loader.setenv("nanozfs.build", build() or "")
	-- The second one is for a root that cannot be mounted; the early hook sees that root and kernel are not of one slice.
	-- The third is no file system: the kernel cannot make sense of the line that it makes of it, and panics, which is a
	-- restart, where it would otherwise ask for a root file system and wait for ever (vfs_mountroot_parse in
	-- sys/kern/vfs_mountroot.c: an error below zero ends the list, and .onfail is panic).
	local root = place.table.root
	loader.setenv("vfs.root.mountfrom", root .. name .. " " .. root .. RECOVERY .. " .timeout")
end

local function recover(place)
	if loader.getenv("kernelname") ~= nil then
		loader.perform("unload")
	end
	for index, name in pairs(place.table.slices) do
		if name == RECOVERY then
			tie(place, index)
		end
	end
end

local function find(device)
	for _, each in pairs(tables) do
		local disk, index = device:match(each.pattern)
		if disk and each.slices[index] then
			return {table = each, disk = disk, index = index, name = each.slices[index]}
		end
	end
end

local place = find(loader.getenv("loaddev") or loader.getenv("currdev") or "")

if place then
	tie(place, place.index)

	local loadelf = config.loadelf
	config.loadelf = function()
		local done = loadelf()
		if loader.getenv("kernelname") == nil and loader.getenv("nanozfs.slice") ~= RECOVERY then
			print("nanozfs: " .. place.name .. " has no kernel that can be loaded; taking nz-recovery")
			loader.setenv("nanozfs.failed", place.name)
			recover(place)
			done = loadelf()
		end
		if loader.getenv("kernelname") == nil then
			print("nanozfs: no kernel can be loaded; restarting in 10 seconds")
			loader.delay(10000000)
			loader.perform("reboot")
		end
		return done
	end

	if not core.isMenuSkipped() then
		local menu = require("menu")
		local entries = menu.welcome.entries
		menu.welcome.entries = function()
			local list = entries()
			table.insert(list, 3, {
				entry_type = core.MENU_ENTRY,
				name = "Recover" .. color.highlight("y") .. " system (the pool is left alone)",
				alias = {"y", "Y"},
				func = function()
					recover(place)
					core.boot()
				end,
			})
			return list
		end
	end
end
