--- The mpi engine: mpirun on this machine, beside mpi4py.futures. Empty tasks, chunks of one, large strings, tasks of heavy-tailed
--- length, each on two ranks; 64 ranks; and what a chunk costs rank 0, by the number of ranks.
-- mpi4py.futures has a master that runs no tasks: it gets three ranks, so that two work on either side. Its master sleeps between looks,
-- as parlua's rank 0 does. Both launch through mpirun each time; times begin when all ranks are up and have run a task.
local lengths_of = require "lengths"
local measure = require "measure"
local parlua = require "parlua"

local LARGE = 8000000 -- bytes
local RIVAL = "mpi4py.futures"

--- As root too, with more ranks than processors, over shared memory.
local MPIRUN = { "env", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "mpirun", "-q", "--oversubscribe", "--mca",
                 "pml", "ob1", "--mca", "btl", "self,vader", "-n" }

--- The words of a command under mpirun.
local function under_mpirun(ranks, words)
  local all = { unpack(MPIRUN) }
  all[#all + 1] = ranks
  for _, word in ipairs(words) do all[#all + 1] = word end
  return all
end

--- A side that is parlua on `ranks` ranks: a function of cluster_side.lua.
local function ours(name, ranks, ...)
  return { name = name, run = measure.command(under_mpirun(ranks, { measure.parlua, measure.directory .. "/cluster_side.lua", ... })) }
end

--- A side that is mpi4py.futures with two workers: a function of cluster_rivals.py. With `chunks`, the best of these sizes counts.
local function theirs(name, call, words, chunks)
  local launch = under_mpirun(3, { measure.python_path, "-m", RIVAL, measure.directory .. "/cluster_rivals.py" })
  return measure.python { name = name, call = call, words = words, chunks = chunks, launch = launch }
end

--- A side of two bare MPI ranks: bench/ping.c.
local function bare(name, program, ...)
  return { name = name, run = measure.command(under_mpirun(2, { program, ... })) }
end

--- Chunks of one task on two workers of this host, without MPI.
local function single_here(n)
  local options = { engine = "process", workers = 2, chunk = 1 }
  return { name = "single here", run = measure.timed(function()
    return parlua.map(function(x) return x end, parlua.range(n), options).n
  end) }
end

--- What a chunk costs rank 0: chunks a second and microseconds of its processor time a chunk, at each number of ranks.
local function coordinator_rows(got, counts)
  local rows = {}
  for _, ranks in ipairs(counts) do
    local one = got["coordinator " .. ranks]
    rows[#rows + 1] = measure.row { what = ("rank 0's processor time a chunk, %d ranks, tasks that sleep 1 ms"):format(ranks),
                                    ours = one.seconds, unit = "us" }
  end
  return rows
end

--- How many values the script merges of a reduction over 64 ranks, by the number of blocks that take as long in all.
local function merge_rows(got, blocks)
  local rows = {}
  for _, n in ipairs(blocks) do
    rows[#rows + 1] = measure.row { what = ("values that rank 0 merges of %s blocks, 64 ranks, 128 workers"):format(measure.count(n)),
                                    ours = got["merges " .. n].seconds, unit = "" }
  end
  return rows
end

return function()
  local empty, empty_rival = measure.size(1e7, 1e6), measure.size(1e7, 1e5)
  local single, single_rival = measure.size(2e5, 1e4), measure.size(2e4, 1e3)
  local large, crowd = measure.size(64, 8), measure.size(1e6, 1e5)
  local counts = { 2, 8, 32, 64 }
  local lengths = lengths_of.draw(measure.size(1000, 100))
  local path = lengths_of.write(measure.scratch .. "/lengths", lengths)
  local ideal = lengths_of.sum(lengths) / 2

  local ping = measure.compile("ping", "mpicc")
  local sides = {
    bare("bare", ping, "echo", large / 2, LARGE), -- the other half is rank 0's own
    bare("bare, copied", ping, "echo", large / 2, LARGE, "copy"),
    bare("bare, new", ping, "echo", large / 2, LARGE, "new"),
    single_here(single),
    ours("empty", 2, "empty", empty),
    theirs("empty, mpi4py", "empty", { empty_rival }, measure.quick and { 10000 } or { 1000, 10000, 100000, 1000000 }),
    ours("single", 2, "single", single),
    theirs("single, mpi4py", "single", { single_rival }),
    ours("large", 2, "large", large, LARGE),
    ours("large again", 2, "large", large, LARGE, 3),
    theirs("large, mpi4py", "large", { large, LARGE }),
    ours("heavy", 2, "heavy_tail", path),
    theirs("heavy, mpi4py", "heavy_tail", { path }, { 1 }),
    ours("crowd", 64, "empty", crowd),
    ours("crowd single", 64, "single", single_rival),
  }
  for _, ranks in ipairs(counts) do
    sides[#sides + 1] = ours("coordinator " .. ranks, ranks, "coordinator", ranks * measure.size(500, 50), 1e-3)
  end
  local blocks = { measure.size(32000, 3200), measure.size(128000, 12800) }
  for k, n in ipairs(blocks) do sides[#sides + 1] = ours("merges " .. n, 64, "merges", n, k == 1 and 4e-3 or 1e-3, 2) end
  local got = measure.compare(sides)
  local function rate(name, n) return n / got[name].seconds end

  local rows = {
    measure.row { what = ("empty tasks over a range of %s, mpirun -n 2"):format(measure.count(empty)), unit = "M/s", more = true,
                  ours = rate("empty", empty) / 1e6, at_least = 40, ratio_at_least = 10,
                  rival = got["empty, mpi4py"].note:gsub("^empty, mpi4py", RIVAL), theirs = rate("empty, mpi4py", empty_rival) / 1e6 },
    measure.row { what = "tasks in chunks of one, 2 ranks", unit = "k/s", more = true, ours = rate("single", single) / 1e3,
                  ratio_at_least = 10, rival = RIVAL .. ", chunksize 1", theirs = rate("single, mpi4py", single_rival) / 1e3 },
    measure.row { what = "", ours = rate("single", single) / 1e3, unit = "k/s", more = true, rival = "process, 2 workers, no MPI",
                  theirs = rate("single here", single) / 1e3 },
    measure.row { what = ("%d tasks, a string of 8 MB in and out, 2 ranks"):format(large), unit = "s", ours = got.large.seconds,
                  ratio_at_least = 2, rival = RIVAL, theirs = got["large, mpi4py"].seconds },
    measure.row { what = "", ours = got.large.seconds, unit = "s",
                  rival = "bare MPI, half of them there and back, all into new memory", theirs = got["bare, new"].seconds },
    measure.row { what = "the same, a program's third call", ours = got["large again"].seconds, unit = "s",
                  rival = "bare MPI, half of them there and back", theirs = got.bare.seconds },
    measure.row { what = "", ours = got["large again"].seconds, unit = "s", rival = "the same, copied once at each end",
                  theirs = got["bare, copied"].seconds },
    measure.row { what = "heavy-tailed tasks, random, 2 ranks, of the ideal", unit = "%", more = true,
                  ours = 100 * ideal / got.heavy.seconds, at_least = 96, rival = RIVAL .. ", chunksize 1",
                  theirs = 100 * ideal / got["heavy, mpi4py"].seconds },
    measure.row { what = ("empty tasks over a range of %s, 64 ranks"):format(measure.count(crowd)), unit = "M/s", more = true,
                  ours = rate("crowd", crowd) / 1e6 },
    measure.row { what = "tasks in chunks of one, 64 ranks", unit = "k/s", more = true, ours = rate("crowd single", single_rival) / 1e3 },
  }
  for _, row in ipairs(coordinator_rows(got, counts)) do rows[#rows + 1] = row end
  for _, row in ipairs(merge_rows(got, blocks)) do rows[#rows + 1] = row end
  return rows
end
