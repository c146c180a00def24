-- Ties the root file system to the slice that the loader was read from, so that the slices can be identical and a kernel
-- never runs on the root of another one. The stock loader runs this file if it is there (stand/lua/loader.lua).
-- The partition indices are the same in every GPT layout of nanozfs.fleet; see docs/layout.md.

local slices = {["3"] = "nz-recovery", ["4"] = "nz-a", ["5"] = "nz-b"}

local loaded = loader.getenv("loaddev") or loader.getenv("currdev") or ""
local index = loaded:match("^disk%d+p(%d+):?$")
local slice = index and slices[index]

if slice then
	-- The second one is for a root that cannot be mounted: the kernel would wait at its mountroot> prompt for ever. The
	-- early hook sees that root and kernel are not of one slice, and a trial then ends by its timer.
	loader.setenv("vfs.root.mountfrom", "ufs:/dev/gpt/" .. slice .. " ufs:/dev/gpt/nz-recovery")
	loader.setenv("nanozfs.slice", slice)
end
