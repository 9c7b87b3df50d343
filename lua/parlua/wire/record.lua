--- What a script tells LuaJIT, as it happens: declarations of the FFI, types with metatables, options of the
--- compiler. LuaJIT does not tell it again, and workers with a state of their own are to know it. Loaded as a state
--- begins, before any script: it puts functions of its own in the places of a few that no program calls often. What
--- fails is not noted. It is called once more then, as the last act, so that the error names the line that called.
local ffi = require "ffi"
local jit = require "jit"
local opt = require "jit.opt"

jit.off(true, true) -- as modules are loaded, it is called often for once

local M = {}

local getinfo, pcall, select, type = debug.getinfo, pcall, select, type

--- Declarations in their order: a text, or a table of the text and the values for its `$`.
M.declarations = {}
--- Types with a metatable, in their order: { type, metatable }.
M.metatypes = {}
--- Libraries that were loaded with all their symbols made global.
M.libraries = {}
--- The words of each jit.opt.start.
M.options = {}
--- Functions (by their code: a prototype) for which jit.off was called: "code", or "all" for what is nested in them
--- too.
M.not_compiled = setmetatable({}, { __mode = "k" })
--- Was the compiler switched off as a whole?
M.is_off = false
--- Declarations that came from the script: one that a module repeats is no error in a worker.
M.known = {}

local declared = {}

--- Is code parlua's own, by its chunk name as debug.getinfo gives it? Own modules have names such as
--- "=parlua/run/init.lua".
---@param source string
---@return boolean
function M.is_own_source(source) return source:sub(1, 8) == "=parlua/" end

--- Does parlua itself call? Its own declarations are its own in every state.
local function is_own()
  local info = getinfo(3, "S")
  return info and M.is_own_source(info.source)
end

local cdef, metatype, load, typeof = ffi.cdef, ffi.metatype, ffi.load, ffi.typeof
local on, off, start = jit.on, jit.off, opt.start

M.cdef, M.metatype = cdef, metatype

function ffi.cdef(text, ...)
  local is_text = type(text) == "string"
  if is_text and select("#", ...) == 0 then
    if is_own() then return cdef(text) end
    if M.known[text] then return end
  end
  if not pcall(cdef, text, ...) then return cdef(text, ...) end -- it fails again, and nothing of it is declared
  if select("#", ...) > 0 then
    M.declarations[#M.declarations + 1] = { text, ... }
  elseif is_text and not declared[text] then
    declared[text] = true
    M.declarations[#M.declarations + 1] = text
  end
end

function ffi.metatype(ctype, metatable)
  if type(metatable) == "table" and not is_own() then
    if type(ctype) == "string" then -- a struct without a name is another type each time that it is written
      local ok, made = pcall(typeof, ctype)
      if ok then ctype = made end
    end
    local ok, made = pcall(metatype, ctype, metatable)
    if ok then
      M.metatypes[#M.metatypes + 1] = { ctype, metatable }
      return made
    end
  end
  return metatype(ctype, metatable)
end

local threads_are_set = false
local libraries_of_threads = { "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS" }

--- Numerical libraries that start threads of their own read, as they are loaded, how many: one, unless the user has
--- said so. Each worker has a processor; more threads than processors only wait for each other.
function M.one_thread()
  if threads_are_set then return end
  threads_are_set = true
  for _, name in ipairs(libraries_of_threads) do
    if not os.getenv(name) then require("parlua.codec").set_environment(name, "1") end
  end
end

function ffi.load(name, global)
  if require("parlua.array.known").role ~= "thread" then M.one_thread() end -- a thread's environment is the script's
  local ok, library = pcall(load, name, global)
  if not ok then return load(name, global) end
  if global then M.libraries[#M.libraries + 1] = name end
  return library
end

local util

--- Notes what jit.on or jit.off says of a function (true: the one that called).
local function note(f, nested, what)
  if f == true then
    local info = getinfo(3, "f")
    f = info and info.func
  end
  if type(f) ~= "function" then return end
  util = util or require "jit.util"
  local proto = util.funcinfo(f).proto
  if proto then M.not_compiled[proto] = what and (nested == nil and "code" or "all") or nil end
end

function jit.off(f, nested)
  if f ~= nil then note(f, nested, true) else M.is_off = true end
  return off(f, nested)
end

function jit.on(f, nested)
  if f ~= nil then note(f, nested, false) else M.is_off = false end
  return on(f, nested)
end

function opt.start(...)
  if not pcall(start, ...) then return start(...) end
  M.options[#M.options + 1] = { n = select("#", ...), ... }
end

return M
