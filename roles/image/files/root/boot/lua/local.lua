-- Ties the root file system to the slice that the loader was read from, so that the slices can be identical and a kernel
-- never runs on the root of another one. The stock loader runs this file if it is there (stand/lua/loader.lua).
-- The partition indices are the same in every GPT layout of nanozfs.fleet; see docs/layout.md.

local slices = {["3"] = "nz-recovery", ["4"] = "nz-a", ["5"] = "nz-b"}

local loaded = loader.getenv("loaddev") or loader.getenv("currdev") or ""
local index = loaded:match("^disk%d+p(%d+):?$")
local slice = index and slices[index]

if slice then
	loader.setenv("vfs.root.mountfrom", "ufs:/dev/gpt/" .. slice)
	loader.setenv("nanozfs.slice", slice)
end
