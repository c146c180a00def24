-- Ties the root file system to the slice that the loader was read from, so that the slices can be identical and a kernel
-- never runs on the root of another one; and takes the recovery slice instead of waiting at a prompt when that slice has
-- no kernel that can be loaded. The stock loader runs this file if it is there (stand/lua/loader.lua).
-- The partition indices are the same in every GPT layout of nanozfs.fleet; see docs/layout.md.

local color = require("color")
local config = require("config")
local core = require("core")

local RECOVERY = "3"
local slices = {[RECOVERY] = "nz-recovery", ["4"] = "nz-a", ["5"] = "nz-b"}

-- The build that the slice in $currdev holds: the hook compares it with that of the root file system.
local function build()
	local file = io.open("/boot/nanozfs/image.conf")
	local text = file and io.read(file, 4096) or ""
	if file then
		io.close(file)
	end
	return text:match("NZ_BUILD=(%x+)")
end

-- Boot from the slice with that partition index of the disk that the loader was read from.
local function tie(disk, index)
	loader.setenv("currdev", disk .. "p" .. index .. ":")
	loader.setenv("nanozfs.slice", slices[index])
	loader.setenv("nanozfs.build", build() or "")
	-- The second one is for a root that cannot be mounted; the early hook sees that root and kernel are not of one slice.
	-- The third is no file system: the kernel cannot make sense of the line that it makes of it, and panics, which is a
	-- restart, where it would otherwise ask for a root file system and wait for ever (vfs_mountroot_parse in
	-- sys/kern/vfs_mountroot.c: an error below zero ends the list, and .onfail is panic).
	loader.setenv("vfs.root.mountfrom", "ufs:/dev/gpt/" .. slices[index] .. " ufs:/dev/gpt/nz-recovery .timeout")
end

local function recover(disk)
	if loader.getenv("kernelname") ~= nil then
		loader.perform("unload")
	end
	tie(disk, RECOVERY)
end

local loaded = loader.getenv("loaddev") or loader.getenv("currdev") or ""
local disk, index = loaded:match("^(disk%d+)p(%d+):?$")

if disk and slices[index] then
	tie(disk, index)

	local loadelf = config.loadelf
	config.loadelf = function()
		local done = loadelf()
		if loader.getenv("kernelname") == nil and loader.getenv("nanozfs.slice") ~= slices[RECOVERY] then
			print("nanozfs: " .. slices[index] .. " has no kernel that can be loaded; taking nz-recovery")
			loader.setenv("nanozfs.failed", slices[index])
			recover(disk)
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
					recover(disk)
					core.boot()
				end,
			})
			return list
		end
	end
end
