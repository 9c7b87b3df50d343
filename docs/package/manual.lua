--- Writes the manual page, parlua(1), in mdoc: ./parlua docs/package/manual.lua DATE > parlua.1
--
-- The options come from the table that reads them (lua/parlua/options.lua), so the page can't lack one.
package.path = "docs/package/?.lua;" .. package.path
local common = require "common"

local date = assert(arg[1], "usage: parlua docs/package/manual.lua DATE")

--- Text for mdoc: what could be read as a request or an escape is made plain.
local function escape(text) return (text:gsub("\\", "\\e"):gsub("^([.'])", "\\&%1"):gsub("%-", "\\-")) end

local function options(list)
  local lines = { ".Bl -tag -width Ds" }
  for _, spelling in ipairs(list) do
    local names = {}
    for _, word in ipairs(spelling.words) do
      local text = "Fl " .. escape(word:sub(2))
      if spelling.metavar then text = text .. " Ar " .. escape(spelling.metavar) end
      names[#names + 1] = text
    end
    lines[#lines + 1] = ".It " .. table.concat(names, " , ")
    lines[#lines + 1] = escape(spelling.help)
  end
  lines[#lines + 1] = ".El"
  return table.concat(lines, "\n")
end

local run, own = common.spellings()

local page = [[
.\" Made by docs/package/manual.lua.
.Dd %s
.Dt PARLUA 1
.Os
.Sh NAME
.Nm parlua
.Nd run Lua functions in parallel
.Sh SYNOPSIS
.Nm
.Op Ar options
.Ar script.lua
.Op Ar arguments
.Nm
.Op Ar options
.Fl \-exec Ar template
.Op Ar words
.Nm
.Op Ar options
.Fl \-map Ar code | Fl \-each Ar code | Fl \-filter Ar code | Fl \-reduce Ar name
.Op Ar words
.Nm
.Sh DESCRIPTION
.Nm
is a LuaJIT whose scripts hand work to many workers:
.Pp
.Dl local parlua = require \(dqparlua\(dq
.Dl local squares = parlua.map(function(x) return x * x end, parlua.range(1000))
.Pp
The workers are threads, forked processes, or the ranks of an MPI job;
the results are the same on each.
A task that raises an error, crashes, or takes too long costs its own result:
it becomes a failure, and the others go on.
A script that returns a table with a function
.Ql map
is a job: its tasks are run, and its results are written.
With
.Fl \-exec , \-map , \-each , \-filter
or
.Fl \-reduce
there is no script: the command says itself what is done with each of its
words, or with each line of standard input.
Without script and words, on a terminal,
.Nm
is a prompt.
.Pp
Each option of a run may also stand in a call, as
.Ql { max_failures = 3 } ,
in a job's table
.Ql options ,
and in the environment, as
.Ev PARLUA_MAX_FAILURES .
The options
.Fl e , l , i , v , j , O , b , E
are those of
.Xr luajit 1 .
.Sh OPTIONS
%s
.Ss Without a script
%s
.Ss Commands
These words are commands only where there is no file of that very name:
.Pa ./journal
and
.Pa journal.lua
are scripts.
.Bl -tag -width Ds
.It Ic journal Ar file
tells where the run of a journal is, or was: progress, rate, time left,
failures by message, the slowest tasks.
.It Ic report Ar file Fl o Ar page.html
writes a page that shows how the run went.
.It Ic export Ar file Oo Fl \-format Ar jsonl | csv Oc Op Fl o Ar output
writes its tasks.
.It Ic merge Ar files Op Fl o Ar output
puts the journals or the outputs of a job's shards together.
.It Ic status Op Ar pid
asks the programs of this host that run tasks where they are, or one of
them, or what has started it, such as
.Xr mpirun 1 .
.El
.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev PARLUA_WORKERS , PARLUA_ENGINE , ...
Options of a run, by their names in capitals.
.It Ev NO_COLOR
If it is set, nothing is coloured.
.It Ev LUA_PATH , LUA_CPATH , LUA_INIT
As for
.Xr luajit 1 .
.El
.Sh EXIT STATUS
A plain script ends with its own status.
A job, or a command with
.Fl \-exec , \-map
and their like, ends with:
.Bl -tag -width Ds
.It 0
The script ended, or all tasks returned.
.It 1
The script raised an error that it did not catch, or some tasks failed.
.It 2
The command, or a job's script, is wrong: nothing was run.
.It 129, 130, 143
It was interrupted, by the terminal's end, Ctrl\-C or SIGTERM.
.It 141
Nobody reads the output any more.
.El
.Sh EXAMPLES
.Dl $ parlua \-\-engine threads primes.lua 1 1000000
.Dl $ parlua \-n 8 \-\-timeout 10 \-o sums.jsonl job.lua
.Dl $ parlua \-\-exec 'gzip \-9 {}' *.txt
.Dl $ seq 9 | parlua \-\-map 'x * x'
.Dl $ mpirun \-n 4 parlua job.lua
.Sh SEE ALSO
.Xr luajit 1 ,
.Xr mpirun 1 ,
.Xr parallel 1 ,
.Xr xargs 1
]]

local parts = { date, options(run), options(own) }
local k = 0
io.write((page:gsub("%%s", function()
  k = k + 1
  return parts[k]
end)))
