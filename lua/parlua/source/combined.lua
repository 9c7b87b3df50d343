--- Indexed sources that are made of others. As indexed.lua, which loads this where a call has such a source.
local own = require "parlua.lazy" "parlua.source.own"

local concat = require("parlua.wire.start").libraries.table.concat -- a script may have put its own in its place

--- Adds them to what is known of kinds of sources.
---@param indexed table the module
return function(indexed)
  local makes, fillers, emit = indexed.makes, indexed.fillers, indexed.emit_part

  local function fillers_of(source)
    local list = {}
    for k, part in ipairs(source.parts) do list[k] = indexed.filler(part) end
    return list
  end

  function fillers.zip(source)
    local parts = fillers_of(source)
    return function(list, at, i)
      for k = 1, #parts do at = parts[k](list, at, i) end
      return at
    end
  end

  function fillers.product(source)
    local parts, n, indices = fillers_of(source), {}, {}
    for k, part in ipairs(source.parts) do n[k] = part.n end
    return function(list, at, i)
      local rest = i - 1
      for k = #parts, 2, -1 do
        local quotient = math.floor(rest / n[k])
        indices[k], rest = rest - quotient * n[k] + 1, quotient
      end
      indices[1] = rest + 1
      for k = 1, #parts do at = parts[k](list, at, indices[k]) end
      return at
    end
  end

  function fillers.take(source) return indexed.filler(source.parts[1]) end

  function fillers.enumerate(source)
    local fill = indexed.filler(source.parts[1])
    return function(list, at, i)
      list[at + 1] = i
      return fill(list, at + 1, i)
    end
  end

  function makes.product(source, builder, i)
    local parts, indices = source.parts, {}
    local rest = builder:variable(i .. " - 1")
    for k = #parts, 1, -1 do
      if k == 1 then
        indices[1] = builder:variable(rest .. " + 1")
      else
        local n = builder:constant(parts[k].n)
        local quotient = builder:variable(("floor(%s / %s)"):format(rest, n))
        indices[k] = builder:variable(("%s - %s * %s + 1"):format(rest, quotient, n))
        rest = quotient
      end
    end
    local expressions = {}
    for k, part in ipairs(parts) do
      for _, expression in ipairs(emit(part, builder, indices[k])) do expressions[#expressions + 1] = expression end
    end
    return expressions
  end

  function makes.zip(source, builder, i)
    local expressions = {}
    for _, part in ipairs(source.parts) do
      for _, expression in ipairs(emit(part, builder, i)) do expressions[#expressions + 1] = expression end
    end
    return expressions
  end

  --- One table with named fields.
  function makes.record(source, builder, i)
    local names, part = source.names, source.parts[1]
    if #names <= indexed.MOST_WRITTEN then
      local fields = {}
      for k, expression in ipairs(emit(part, builder, i)) do fields[k] = ("[%q] = %s"):format(names[k], expression) end
      return { "{ " .. concat(fields, ", ") .. " }" }
    end
    local fill = indexed.filler(part)
    local function record(index)
      local list, made = {}, {}
      fill(list, 0, index)
      own.own_items(list, #names)
      for k, name in ipairs(names) do made[name] = list[k] end
      return made
    end
    return { ("%s(%s)"):format(builder:constant(record), i) }
  end

  function makes.take(source, builder, i) return emit(source.parts[1], builder, i) end

  function makes.enumerate(source, builder, i) return { i, unpack(emit(source.parts[1], builder, i)) } end

  function makes.batch(source, builder, i)
    local part, size = source.parts[1], source.size
    local make, n = indexed.maker(part), part.n
    local function batch(b)
      local list, first = {}, (b - 1) * size
      for k = 1, math.min(size, n - first) do list[k] = indexed.pack(make(first + k)) end
      return list
    end
    return { ("%s(%s)"):format(builder:constant(batch), i) }
  end
end
