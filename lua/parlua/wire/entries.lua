--- What the entries of a state are (state.lua): a list of { kind, name, value }, modules first, as what belongs to a
--- module is then found there. A worker needs no more of it to put a state in place.
local M = {
  MODULE = 1, PRELOAD = 2, LOADERS = 3, LIBRARY = 4, METATABLE = 5, METATYPE = 6, GLOBAL = 7, REMOVED = 8, SETTINGS = 9,
  -- Among differences only: an object that is there is given another content; a global is not there any more.
  PATCH = 10, GONE = 11,
}

--- By the name of each type whose values have one metatable together: a value of it.
M.basic = { ["nil"] = { n = 1 }, boolean = { true, n = 1 }, number = { 0, n = 1 }, string = { "", n = 1 },
            ["function"] = { next, n = 1 }, thread = { coroutine.create(next), n = 1 } }

return M
