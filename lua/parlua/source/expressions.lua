--- The code that makes the arguments of a task of an indexed source from its index. It goes into the worker's loop,
--- where LuaJIT compiles it together with the map function.
local start = require "parlua.wire.start"
local own = require "parlua.lazy" "parlua.source.own"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place

--- Adds what stands here to the module of indexed sources.
---@param M table
return function(M)
  local width = M.width

  --- By kind of source: function(source, builder, i) -> expressions; function(source) -> see M.filler.
  local makes, fillers = {}, {}
  M.makes, M.fillers = makes, fillers

  --- What is known of a kind of source.
  local function known(by_kind, kind)
    if not makes[kind] then require("parlua.source.combined")(M) end
    return by_kind[kind]
  end

  -- A source of more values is not written out in the code, but made in a table: a function of LuaJIT has at most 60
  -- upvalues and 200 locals, and a call a frame of 250 slots.
  local MOST_WRITTEN = 12
  M.MOST_WRITTEN = MOST_WRITTEN

  --- The expressions of one source, whatever they are.
  local function emit(source, builder, i)
    return known(makes, source.kind)(source, builder, i)
  end
  M.emit_part = emit

  --- Appends to `builder` what makes the arguments of task `i` (the name of a number from 1). Returns the expressions,
  --- the last of which may have several values.
  ---@param source parlua.Source
  ---@param builder parlua.Builder
  ---@param i string
  ---@return string[]
  function M.emit(source, builder, i)
    local n = width(source)
    if n <= MOST_WRITTEN then
      local expressions = emit(source, builder, i)
      if builder.items[1] then
        own.emit(builder, builder.items)
        builder.items = {}
      end
      return expressions
    end
    local fill = M.filler(source)
    local function values(index)
      local list = {}
      fill(list, 0, index)
      return own.own_items(list, n)
    end
    return { ("unpack(%s(%s), 1, %d)"):format(builder:constant(values), i, n) }
  end

  --- A function (list, at, i) that puts the arguments of task i into a list, behind `at`, and returns where the last
  --- one stands.
  function M.filler(source)
    local make = known(fillers, source.kind)
    if make then return make(source) end
    local value = M.maker(source) -- of one value
    return function(list, at, i)
      list[at + 1] = value(i)
      return at + 1
    end
  end

  function fillers.list(source)
    local items = source.items
    return function(list, at, i)
      list[at + 1] = items[i]
      return at + 1
    end
  end

  function makes.range(source, builder, i)
    local first, step = source.first, source.step
    if step == 1 then
      if first == 1 then return { i } end
      return { ("(%s + %s)"):format(i, builder:constant(first - 1)) }
    end
    return { ("(%s + (%s - 1) * %s)"):format(builder:constant(first), i, builder:constant(step)) }
  end

  --- The builder's items become the task's own when all its arguments are known.
  local function add_item(builder, expression)
    local name = builder:variable(expression)
    table.insert(builder.items, name)
    return name
  end

  function makes.list(source, builder, i)
    local item = ("%s[%s]"):format(builder:constant(source.items), i)
    return { M.is_plain_list(source) and item or add_item(builder, item) }
  end

  --- The items of a list of lists, each spread over several arguments.
  function makes.spread(source, builder, i)
    local list = add_item(builder, ("%s[%s]"):format(builder:constant(source.items), i))
    return { ("unpack(%s, 1, %s.n or #%s)"):format(list, list, list) }
  end

  --- One value as it is, several as a list with `n`. Tables are copied: a generator may give the same one again and
  --- again.
  function M.pack(...)
    if select("#", ...) == 1 then return own.own((...)) end
    local values = own.pack(...)
    values.has_tables = nil
    return values
  end

  --- A function from a task's index to its arguments, for indexed sources.
  ---@return fun(i: integer): ...
  function M.maker(source)
    local builder = M.builder()
    local expressions = M.emit(source, builder, "i")
    local names = concat(builder.names, ", ")
    local text = ("local floor, unpack%s = ...\nreturn function(i)\n%s\nreturn %s\nend"):format(
      names ~= "" and ", " .. names or "",
      concat(builder.lines, "\n"), concat(expressions, ", "))
    return start.compile(text, "=parlua.source")(math.floor, unpack, unpack(builder.constants))
  end
end
