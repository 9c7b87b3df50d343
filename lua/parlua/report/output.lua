--- What tasks print comes from each worker in pieces, cut anywhere: here they become whole lines again, so that lines
--- of different workers never mix.
local M = {}

-- A line without an end is passed on as it is when it has grown to this: memory stays bounded.
local LONGEST_LINE = 16 * 2 ^ 20

local Output = {}
Output.__index = Output

---@param print fun(stream: 1|2|3, text: string)
---@param is_tagged? boolean no line is left without an end: each has the tag of its task
function M.open(print, is_tagged)
  return setmetatable({ print = print, is_tagged = is_tagged, held = {} }, Output)
end

--- Takes the next piece that a worker printed on a stream; prints the lines that end in it.
function Output:add(worker, stream, text)
  local key = 4 * worker + stream
  local held = self.held[key]
  if held and held.is_over then
    held[#held + 1] = "\n"
    self:flush(key)
    held = nil
  end
  if not held then
    if text:byte(-1) == 10 then return self.print(stream, text) end
    held = { stream = stream, bytes = 0 }
    self.held[key] = held
  end
  local rest = text:match("^.*\n()")
  if rest then
    held[#held + 1] = text:sub(1, rest - 1)
    self:flush(key)
    text = text:sub(rest)
    if text == "" then return end
    held = { stream = stream, bytes = 0 }
    self.held[key] = held
  end
  held[#held + 1] = text
  held.bytes = held.bytes + #text
  if held.bytes > LONGEST_LINE then self:flush(key) end
end

--- A worker has ended: to what it left of a line nothing is joined that its replacement prints.
function Output:end_worker(worker)
  for stream = 1, 3 do
    local held = self.held[4 * worker + stream]
    if held then held.is_over = true end
  end
end

--- Prints what is held under a key.
function Output:flush(key)
  local held = self.held[key]
  self.held[key] = nil
  self.print(held.stream, table.concat(held))
end

--- Prints what has no line end, worker by worker: no more of it will come. Only the last of each stream is left without
--- one, and no line with a tag.
function Output:close()
  local keys, last = {}, {}
  for key in pairs(self.held) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do last[self.held[key].stream] = key end
  for _, key in ipairs(keys) do
    local held = self.held[key]
    if self.is_tagged or last[held.stream] ~= key then held[#held + 1] = "\n" end
    self:flush(key)
  end
end

return M
