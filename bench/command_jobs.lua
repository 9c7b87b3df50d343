--- The jobs of docs/COMMANDS.md: reads them, runs them as they stand there, and compares. Also prints the table of
--- their
--- times: ./parlua bench/command_jobs.lua [repetitions]
local M = {}

local PAGE = "docs/COMMANDS.md"

---@class bench.CommandJob
---@field title string
---@field tools string[] in the order of the page
---@field commands table<string, string>

--- The jobs of the page, in order.
---@return bench.CommandJob[]
function M.read()
  local jobs, title, job = {}, nil, nil
  for line in io.lines(PAGE) do
    title = line:match "^## (.*)$" or title
    if line == "```sh" then
      job = { title = title, tools = {}, commands = {} }
      jobs[#jobs + 1] = job
    elseif line == "```" then
      job = nil
    elseif job then
      local tool, command = line:match "^(%l+): (.*)$"
      assert(tool, "not a tool and a command: " .. line)
      job.tools[#job.tools + 1], job.commands[tool] = tool, command
    end
  end
  return jobs
end

local FILES = {
  ["a.txt"] = "pear\napple\npear\nfig\n", ["b c.txt"] = "one two\nthree\n", ["d.txt"] = "last\n",
  ["people.tsv"] = "name\tage\nAnn\t31\nBo, jr\t7\n", ["one.list"] = "a b\nc\n", ["two.list"] = "d\n",
}

--- A command for the shell that runs a job's command in a new folder `directory`, with `parlua` in its PATH, and shows
--- what it writes, sorted, and the files that it leaves.
---@param command string
---@param directory string
---@param bin string the folder with parlua in it
function M.script(command, directory, bin)
  local lines = { ("mkdir -p '%s/home/.parallel' && cd '%s' && : >home/.parallel/will-cite"):format(directory,
    directory),
    "mkdir work && cd work" }
  for name, text in pairs(FILES) do
    lines[#lines + 1] = ("printf '%s' >'%s'"):format(text:gsub("\n", "\\n"), name)
  end
  lines[#lines + 1] = ("export HOME='%s/home' PATH='%s':\"$PATH\" LC_ALL=C"):format(directory, bin)
  lines[#lines + 1] = ("{ %s\n} >../out 2>../err"):format(command)
  lines[#lines + 1] = "sort ../out"
  lines[#lines + 1] = [[find . -type f ! -name '*.gz' | sort | while read -r name; do echo "$name"; cat "$name"; done]]
  lines[#lines + 1] = "find . -name '*.gz' | sort"
  return table.concat(lines, "\n") .. "\n"
end

local function seconds_of(command, directory, bin)
  local now = require("parlua.host").now
  os.execute(("rm -rf '%s'"):format(directory))
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(M.script(command, directory, bin))
  file:close()
  local began = now()
  os.execute(("sh '%s' >/dev/null"):format(path))
  os.remove(path)
  return now() - began
end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

local function print_table(repetitions)
  local bin = io.popen("pwd"):read "*l"
  local scratch = os.tmpname() .. ".jobs"
  print "| job | parlua | GNU parallel | xargs |\n|---|---|---|---|"
  local jobs = M.read()
  local nothing = { title = "(nothing: the files alone)", tools = { "parlua", "parallel", "xargs" }, commands = {} }
  for _, tool in ipairs(nothing.tools) do nothing.commands[tool] = "true" end
  table.insert(jobs, nothing)
  for _, job in ipairs(jobs) do
    local times = {}
    for _, tool in ipairs(job.tools) do times[tool] = {} end
    for _ = 1, repetitions do
      for _, tool in ipairs(job.tools) do
        table.insert(times[tool], seconds_of(job.commands[tool], scratch, bin))
      end
    end
    local cells = {}
    for k, tool in ipairs { "parlua", "parallel", "xargs" } do
      cells[k] = times[tool] and ("%.0f ms"):format(median(times[tool]) * 1000) or ""
    end
    if times.awk then cells[3] = ("(awk) %.0f ms"):format(median(times.awk) * 1000) end
    print(("| %s | %s |"):format(job.title, table.concat(cells, " | ")))
  end
  os.execute(("rm -rf '%s'"):format(scratch))
end

if arg and arg[0] and arg[0]:find "command_jobs%.lua$" then print_table(tonumber(arg[1]) or 5) end

return M
