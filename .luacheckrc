std = "luajit"
max_line_length = 140
codes = true

-- What busted gives to specs.
files["spec"] = { std = "+busted" }

-- A job or program may be run as it stands, with the words of its command line.
files["examples"] = { std = "+lua51" }
