--- How far all tasks have ended: ranges come in any order.
local Prefix = {}
Prefix.__index = Prefix

---@class parlua.Prefix
---@field last integer all tasks up to this one have ended
local function open() return setmetatable({ last = 0, waiting = {} }, Prefix) end

--- Tasks first..last have ended.
function Prefix:add(first, last)
  if first > self.last + 1 then
    self.waiting[first] = math.max(last, self.waiting[first] or 0)
    return
  end
  while last do
    self.last = math.max(self.last, last)
    last = self.waiting[self.last + 1]
    if last then self.waiting[self.last + 1] = nil end
  end
end

return { open = open }
