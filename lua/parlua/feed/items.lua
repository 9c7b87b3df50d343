--- The puller of a list whose values must be sent: the worker does not inherit them. Those of all other sources:
--- feed/pullers.lua.
local function fill(puller, writer, want)
  local at = puller.at
  local count = writer:items(puller.items, at + 1, math.min(puller.n, at + want))
  puller.at = at + count
  return count
end

--- The same from the end: what does not fit comes the next time.
local function fill_last(puller, writer, want)
  local last = puller.n
  local first = math.max(puller.at + 1, last - want + 1)
  local count = writer:items(puller.items, first, last)
  while first + count <= last do
    first = last - count + 1
    writer:begin(0)
    count = writer:items(puller.items, first, last)
  end
  puller.n = first - 1
  return count
end

--- Task `last` is wanted, and then those before it.
local function turn(puller, last) puller.fill, puller.n = fill_last, last end

return function(source) return { items = source.items, n = source.n, at = 0, fill = fill, turn = turn } end
