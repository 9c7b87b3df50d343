--- Which books the codec goes by (src/lua/codec/book.h): a run's own, while its values are encoded and decoded.
--- Another run may have been made in between, by an iterator say, so each use says which it wants; the same again
--- costs a comparison.
local arrays = require "parlua.array.known"
local codec = require "parlua.codec"

local M = {}

local none = {}
local spare, MOST_SPARE = {}, 4 -- books that runs have given back
local current_shares, current_fresh, current_lasting = false, nil, nil

--- The chain that is in use.
M.current = none

--- In a worker: the chain of its job.
M.base = none

--- The next values are those of this chain of books (nil: of none).
---@param chain? table
---@param shares? boolean the other side has the same memory
---@param fresh? integer the books behind so many were made just now
---@param lasting? boolean the others are as old as a pool
function M.use(chain, shares, fresh, lasting)
  chain = chain or none
  if chain == M.current and shares == current_shares then return end
  M.current, current_shares = none, false
  codec.context(chain, shares, fresh, lasting)
  arrays.to_forked = chain.inherits or false
  M.current, current_shares, current_fresh, current_lasting = chain, shares, fresh, lasting
end

--- Calls f from a finalizer: garbage may be collected in the midst of a message, which then goes on by the books that
--- it began with.
function M.aside(f)
  local chain, shares, fresh, lasting = M.current, current_shares, current_fresh, current_lasting
  local ok, message = pcall(f)
  M.use(chain, shares, fresh, lasting)
  if not ok then error(message, 0) end
end

--- A chain and more books behind it.
function M.longer(chain, ...)
  local longer = { inherits = chain.inherits, unpack(chain) }
  for k = 1, select("#", ...) do longer[#longer + 1] = (select(k, ...)) end
  return longer
end

--- Is one of these books in the chain?
local function has_any(chain, books)
  for _, book in ipairs(books) do
    for _, each in ipairs(chain) do
      if each == book then return true end
    end
  end
  return false
end

--- A run has ended: nothing is kept alive for it. The values under way may be another run's: of the task that this run
--- was in, or of a run that was decoding a message when the collector found this one forgotten. Their chain stays.
---@param chain table|false its `own`: books that are the run's alone
function M.forget(chain)
  if not chain then return end
  if M.current == chain or has_any(M.current, chain.own) then M.use(none, false) end
  for k, book in ipairs(chain.own) do
    codec.clear(book)
    if #spare < MOST_SPARE then spare[#spare + 1] = book end
    chain.own[k] = nil
  end
  chain.f, chain.setup = nil, nil
  for k = #chain, 1, -1 do chain[k] = nil end
end

--- An empty book, which `forget` gives back when it is in the `own` of a chain.
function M.book() return table.remove(spare) or codec.book() end

return M
