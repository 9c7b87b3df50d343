--- The sink of a pool's submitted calls: each outcome becomes that of its future.
--
-- Futures that have not ended stand under the numbers of their tasks, which grow without end: so in pages, which are
-- arrays. In one table they would be in its hash, and a tenth of the time of many calls was its growing and rehashing.
local new_table = require "table.new"

local NOTHING = { n = 0 }
local PAGE = 512 -- tasks of a page: at 0 to 511, and at 512 how many of them have not ended

local Futures = { keep = "all", limit = math.huge, is_enough = false }
Futures.__index = Futures

---@class parlua.Futures
---@field pages table<integer, table> by their first task
---@field submitted integer calls
---@field handed integer tasks of the run
---@param settle fun(future: parlua.Future, content: any, failure?: parlua.Failure, raised?: {value: any}) content: one
--- value, or several(list with n); raised: by the pool's on_error
---@param several fun(values: table): table
---@param here table of calls in the script's own state: future/here.lua
local function open(settle, several, here)
  return setmetatable({ settle = settle, several = several, here = here, pages = {}, submitted = 0, handed = 0,
    is_serial = false, run = false, raised = nil, page = false, page_first = -1, spare = false }, Futures)
end

function Futures:begin(run) self.run = run end

--- Serial: no task is handed out before it is there. Elsewhere none comes from the source: they are pushed.
function Futures:ahead() return self.is_serial and self.handed or 0 end

local function drop(self, first, page)
  self.pages[first], self.spare = nil, page
end

--- The page from here on, to which futures are added now. One that is empty behind it is let go.
local function open_page(self, first)
  local before = self.page
  if before and before[PAGE] == 0 then drop(self, self.page_first, before) end
  local page = self.spare or new_table(PAGE, 0)
  self.spare, page[PAGE] = false, 0
  self.pages[first], self.page, self.page_first = page, page, first
  return page
end

--- The future's call was handed out, as this task of the run. Tasks are added in order.
function Futures:add(index, future)
  local place = index % PAGE
  local first, page = index - place, self.page
  if first ~= self.page_first then page = open_page(self, first) end
  page[place], page[PAGE] = future, page[PAGE] + 1
  self.handed = index
end

--- The future of a task that has not ended; nil: there is none.
---@return parlua.Future?
function Futures:of(index)
  local place = index % PAGE
  local page = self.pages[index - place]
  return page and page[place]
end

--- The same; it is not kept here any longer.
---@return parlua.Future?
function Futures:remove(index)
  local place = index % PAGE
  local first = index - place
  local page = self.pages[first]
  local future = page and page[place]
  if not future then return nil end
  local left = page[PAGE] - 1
  page[place], page[PAGE] = nil, left
  if left == 0 and page ~= self.page then drop(self, first, page) end
  return future
end

--- Takes out all.
---@return parlua.Future[]
function Futures:remove_all()
  local list = {}
  for _, page in pairs(self.pages) do
    for place = 0, PAGE - 1 do list[#list + 1] = page[place] end
  end
  self.pages, self.page, self.page_first, self.spare = {}, false, -1, false
  return list
end

function Futures:take(batch)
  local values, lists, settle = batch.numbers or batch.values, batch.several, self.settle
  for j = 0, batch.n - 1 do
    local future = self:remove(batch.first + j)
    if future then
      local list = lists and lists[j]
      if self.is_serial then
        self.here.settle(future, list or { n = 1, values[j] })
      elseif list then settle(future, self.several(list)) else settle(future, values[j]) end
    end
  end
end

--- One call has returned one value, or nothing.
function Futures:take_one(index, value, is_nothing)
  local future = self:remove(index)
  if not future then return end
  if self.is_serial then return self.here.settle(future, is_nothing and { n = 0 } or { n = 1, value }) end
  if is_nothing then value = self.several(NOTHING) end
  self.settle(future, value)
end

--- The pool's on_error has raised this for the task whose failure is told next.
function Futures:note_raised(raised) self.raised = raised end

function Futures:fail(failure)
  local future, failures, raised = self:remove(failure.index), self.run.failures, self.raised
  failures[#failures], self.raised = nil, nil -- they are the future's
  if not future then return end
  failure.index, failure.args, failure.place = future.index, future.args or { n = 0 }, future.place
  if self.is_serial then failure.value = self.here.raised(future, failure.value) end
  if failure.kind == "cancelled" and self.run.signal then failure.message = self.run.interruption() end
  self.settle(future, nil, failure, raised)
end

return { open = open }
