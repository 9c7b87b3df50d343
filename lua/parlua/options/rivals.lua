--- Options of GNU parallel and xargs, and how the same is said to parlua: for those who come from there.
local M = {}

local advice = {
  ["--arg-file"] = "--lines reads arguments from files that stand behind it all, as words",
  ["--bar"] = "on a terminal there is a bar anyway; --progress says how it looks",
  ["--colsep"] = "--tsv and --csv give columns by name, as {city}; --header NAMES names those of files without one",
  ["--delay"] = "tasks begin one behind the other as workers are free; a pause goes into the command: --shell --exec "
    .. "'sleep 1; ...'",
  ["--halt-on-error"] = "--halt ends the run at the first failure, --max-failures N at the N-th",
  ["--joblog"] = "--journal FILE records all tasks, `parlua export FILE` shows them",
  ["--jobs"] = "-n N sets the number of workers",
  ["--keep-order"] = "results come in order anyway; --unordered gives them as they come",
  ["--line-buffer"] = "the output of each program is kept whole; --unordered gives it as soon as the program ends",
  ["--link"] = "`paste a b | parlua --tsv --header x,y --exec 'echo {x} {y}'` takes from several lists together",
  ["--load"] = "-n N sets the number of workers",
  ["--max-args"] = "--batch N gives a program up to N arguments",
  ["--max-procs"] = "-n N sets the number of workers",
  ["--memfree"] = "--memory SIZE ends a task that takes more",
  ["--nice"] = "`nice parlua ...` does that",
  ["--results"] = "--save 'out/{#}' writes each task's output to a file of its own",
  ["--resume-failed"] = "--resume --retry-failed does that",
  ["--shuf"] = "`shuf list | parlua ...` does that",
  ["--sshlogin"] = "`mpirun --host a,b parlua ...` uses several machines",
  ["--ungroup"] = "the output of each program is kept whole; --unordered gives it as soon as the program ends",
}

local short = { ["--eta"] = "--bar", ["--noswap"] = "--memfree", ["--max-replace-args"] = "--max-args",
  ["--xapply"] = "--link", ["--group"] = "--keep-order",
  ["-a"] = "--arg-file", ["-k"] = "--keep-order", ["-u"] = "--ungroup", ["-P"] = "--max-procs", ["-N"] = "--max-args",
  ["-L"] = "--max-args", ["-S"] = "--sshlogin", ["-C"] = "--colsep", ["-I"] = "--replace", ["-X"] = "--max-args",
  ["-m"] = "--max-args" }

advice["--replace"] = "{} stands for the argument; {{}} for the text itself"

--- How an option of theirs is said here; "" where it is none of theirs.
---@param word string as "--colsep"
---@return string
function M.advice(word)
  local text = advice[word] or advice[short[word] or ""]
  return text and (": it is of GNU parallel or xargs; here, %s"):format(text) or ""
end

return M
