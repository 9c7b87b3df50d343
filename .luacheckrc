std = "luajit"
max_line_length = 150
-- W581: not (x < y) is meant, and holds for nan.
ignore = { "212/self", "581" }
codes = true

-- What busted gives to specs.
files["spec"] = { std = "+busted" }
files["spec-cluster"] = { std = "+busted" }

-- A job or program may be run as it stands, with the words of its command line.
files["examples"] = { std = "+lua51" }

-- What a state replaces before any script runs in it.
files["lua/parlua/task.lua"] = { globals = { "math.random", "math.randomseed" } }
files["lua/parlua/worker/library.lua"] = { globals = { "os.execute", "os.exit", "io.popen" } }

-- Stubs: their parameters are named for editors.
files["lua/parlua/types.lua"] = { unused_args = false, ignore = { "212", "241" } }

-- Lines end at 120 columns, in the program and in what is to be read.
files["lua"] = { max_line_length = 120 }
files["examples"].max_line_length = 120
