--- Rows of a journal that an agent prepares of the results of its workers (src/lua/rows.h): in the batches in which the
--- driver gives these to the script, and by the code that records them there. So the script only appends the rows.
local ffi = require "ffi"
local codec = require "parlua.codec"
local host = require "parlua.host"
local indexed = require "parlua.source.indexed"
local outcomes = require "parlua.drive.outcomes"
local plain = require "parlua.journal.plain"
local recorder = require "parlua.journal.record"
require "parlua.wire.header" "run/event.h"
require "parlua.wire.header" "lua/ffi_journal.h"

local M = {}

local C = ffi.C
local cast = ffi.cast
local SPARSE = C.BLOCK_SPARSE
local MOST_BYTES = 65536 -- of a source: each agent is sent a copy

-- ---- in the script ----

--- What agents are to know of a run to prepare rows; false: they can't. Rows lack the arguments where agents can't make
--- them.
---@param run parlua.Run
---@return string|false
function M.describe(run)
  local journal = run.journal
  if not journal then return false end
  local source = journal.make and codec.encode_data(run.source:plain()) or nil
  journal.completes = not source or #source > MOST_BYTES
  return codec.encode_data(journal.run, not journal.completes and source)
end

-- ---- in an agent ----

--- A driver over the events of results, which tells a receiver of what returned. Failures are the script's business.
local Maker = { give = outcomes.give, dense = outcomes.dense, sparse = outcomes.sparse }
Maker.__index = Maker

function Maker:special(out, half, k) return (plain.read(out, half, k)) end

function Maker:tuple(out, half, k) return (select(2, plain.read(out, half, k))) end

function Maker:failure() end

--- Makes what prepares rows of an event's results.
---@param journal lightuserdata
---@param what string as `describe` has made it
---@return fun(event: lightuserdata)
function M.begin(journal, what)
  local number, source = plain.decode(what)
  local maker = setmetatable({ batch = outcomes.new_batch() }, Maker)
  local receiver = { run = number, hashes = {}, texts = {}, notes = false, here = host.hostname(),
    make = source and indexed.maker((plain.decode(source))) or nil,
    file = { handle = cast("struct journal *", journal), row = ffi.new("struct journal_row"),
      broken = function() return "not enough memory" end } }
  function receiver:host_of() return self.here end
  function receiver:take(batch) recorder.take(self, batch, self) end
  return function(pointer)
    local event, batch = cast("struct event *", pointer), maker.batch
    batch.attempt, batch.worker, batch.seconds = event.attempt, event.worker, event.seconds
    if event.block.kind == SPARSE then maker:sparse(receiver, event) else maker:dense(receiver, event) end
  end
end

return M
