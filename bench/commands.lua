--- Programs and code from the command line: beside GNU parallel, xargs and mawk. All with two at a time.
local measure = require "measure"

--- Seconds of a shell's command; what it prints is the check.
local function side(name, command)
  return { name = name, run = measure.timed(function() return (measure.shell(command):gsub("%s+$", "")) end) }
end

local function run_rows(list)
  local n = measure.size(10000, 200)
  local few = measure.size(1000, 20) -- of GNU parallel, which takes minutes for all
  measure.shell(("seq %d >'%s'; seq %d >'%s.few'"):format(n, list, few, list))
  local got = measure.compare {
    side("parlua", ("'%s' -n 2 --exec 'true {}' <'%s' 2>/dev/null"):format(measure.parlua, list)),
    side("xargs", ("xargs -P 2 -n 1 true <'%s'"):format(list)),
    side("parallel", ("parallel --will-cite -j 2 true {} <'%s.few'"):format(list)),
    measure.c { name = "c", program = "spawn", words = { n, "/bin/true" } },
    measure.c { name = "kept", program = "spawn", words = { n, "/bin/true", "kept" } },
  }
  local ours, bare = got.parlua.seconds / n * 1e6, got.c.seconds / n * 1e6
  local kept, parallel = got.kept.seconds / n * 1e6, got.parallel.seconds / few * 1e6
  return {
    measure.row { what = ("--exec true over %d words, a program"):format(n), ours = ours, unit = "us",
      rival = ("GNU parallel, over %d"):format(few), theirs = parallel, ratio_at_least = 10 },
    measure.row { what = "", ours = ours, unit = "us", rival = "xargs -P 2 -n 1", theirs = got.xargs.seconds / n * 1e6,
      ratio_at_least = 1 },
    measure.row { what = "", ours = ours, unit = "us", rival = "C: vfork, exec, wait in two processes", theirs = bare },
    measure.row { what = "", ours = ours, unit = "us", rival = "C: the same, its output kept by pipes", theirs = kept },
    -- nothing can be so many times faster than GNU parallel here
    measure.row { what = "(the C loop, which keeps no output)", ours = bare, unit = "us", rival = "GNU parallel",
      theirs = parallel },
  }
end

local function map_row(path)
  local n = measure.size(1e7, 1e4)
  measure.shell(("seq %d >'%s'"):format(n, path))
  local program = ("'%s' -n 2 --map 'x * x' <'%s' 2>/dev/null"):format(measure.parlua, path)
  measure.compare { -- the same numbers come out; mawk's own print gives six digits of them
    side("parlua", program .. " | md5sum"),
    side("mawk", ("mawk '{ printf \"%%.17g\\n\", $1 * $1 }' <'%s' | md5sum"):format(path)),
  }
  local got = measure.compare { side("parlua", ("%s >'%s.out'"):format(program, path)) }
  local short = measure.compare { side("mawk", ("mawk '{ print $1 * $1 }' <'%s' >'%s.out'"):format(path, path)) }
  return measure.row { what = ("--map 'x * x' over %s lines of standard input"):format(measure.count(n)),
    ours = got.parlua.seconds, unit = "s", rival = "mawk '{ print $1 * $1 }'", theirs = short.mawk.seconds,
    ratio_at_least = 5 }
end

local function each_rows(list)
  local n = measure.size(8800, 200) -- as many as there are
  measure.shell(("find /usr/include /usr/lib /usr/share -type f -name '*.h*' 2>/dev/null | head -n %d >'%s'"):format(n,
    list))
  local code = "local f = io.open(line) local text = f:read(\"*a\") f:close() local counts = {} "
    .. "for k = 1, #text do local b = text:byte(k) counts[b] = (counts[b] or 0) + 1 end"
  local function with(workers)
    return side(workers .. "", ("'%s' -n %d --each '%s' <'%s' 2>/dev/null"):format(measure.parlua, workers, code, list))
  end
  -- the same in plain LuaJIT, half of the files in each of two processes: as much as a second processor can give
  measure.shell(("awk 'NR %% 2 == 0' '%s' >'%s.even'; awk 'NR %% 2' '%s' >'%s.odd'"):format(list, list, list, list))
  local file = assert(io.open(list .. ".lua", "w"))
  file:write("for line in io.lines(arg[1]) do ", code, " end\n")
  file:close()
  local plain = ("luajit '%s.lua' '%s"):format(list, list)
  local got = measure.compare { with(2), with(1), side("plain", plain .. "'"),
    side("halves", ("%s.even' & %s.odd'; wait"):format(plain, plain)) }
  return measure.row { what = ("--each over %d headers (bytes counted)"):format(n), ours = got["2"].seconds, unit = "s",
    rival = "one worker", theirs = got["1"].seconds, ratio_at_least = 1.9 },
    measure.row { what = "", ours = got["2"].seconds, unit = "s", rival = "luajit alone", theirs = got.plain.seconds },
    measure.row { what = "(two luajits, half of the files each)", ours = got.halves.seconds, unit = "s", rival = "luajit alone",
      theirs = got.plain.seconds }
end

local function gzip_row(folder)
  local n = measure.size(200, 10)
  measure.shell(("mkdir -p '%s'; for i in $(seq %d); do seq $i 20000 >'%s'/$i; done"):format(folder, n, folder))
  local function gzips(name, start)
    return side(name, ("cd '%s' && %s 2>/dev/null && cat *.gz | gzip -d | md5sum && rm *.gz"):format(folder, start))
  end
  local got = measure.compare {
    gzips("parlua", ("ls | '%s' -n 2 --exec 'gzip -9nk {}'"):format(measure.parlua)),
    gzips("parallel", "ls | parallel --will-cite -j 2 gzip -9nk"),
    gzips("xargs", "ls | xargs -P 2 -n 1 gzip -9nk"),
  }
  return measure.row { what = ("%d gzips of 110 kB"):format(n), ours = got.parlua.seconds, unit = "s",
    rival = "GNU parallel", theirs = got.parallel.seconds, ratio_at_least = 2 },
    measure.row { what = "", ours = got.parlua.seconds, unit = "s", rival = "xargs -P 2 -n 1",
      theirs = got.xargs.seconds }
end

local parts = {
  exec = function(scratch) return unpack(run_rows(scratch .. "/words")) end,
  map = function(scratch) return map_row(scratch .. "/numbers") end,
  each = function(scratch) return each_rows(scratch .. "/files") end,
  gzip = function(scratch) return gzip_row(scratch .. "/gzips") end,
}

--- All, or one part.
return function(wanted)
  local rows = {}
  for _, name in ipairs { "exec", "map", "each", "gzip" } do
    if wanted == nil or wanted == name then
      for _, row in ipairs { parts[name](measure.scratch) } do rows[#rows + 1] = row end
    end
  end
  if #rows == 0 then error("commands has the parts exec, map, each, gzip; there is no " .. wanted, 0) end
  return rows
end
