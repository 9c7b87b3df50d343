--- The puller of a list whose values must be sent: the worker does not inherit them. Those of all other sources:
--- feed/pullers.lua.
local function fill(puller, writer, want)
  local at = puller.at
  local count = writer:items(puller.items, at + 1, math.min(puller.n, at + want))
  puller.at = at + count
  return count
end

return function(source) return { items = source.items, n = source.n, at = 0, fill = fill } end
