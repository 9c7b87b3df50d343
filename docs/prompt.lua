--- Draws docs/prompt.svg, a session at the prompt, typed in a real terminal; and records the sessions of docs/PROMPT.md:
--- types their statements again, and puts what the prompt shows in their place. Run in the root of the tree: ./parlua
--- docs/prompt.lua
local sessions = require "spec.sessions"
local terminal = require "spec.terminal"
local width = require "parlua.prompt.width"

local COLUMNS, ROWS = 92, 46
local CELL, LINE, MARGIN = 8.4, 17, 14 -- pixels

local session = {
  "local function pi_of(seed)\nlocal inside, n = 0, 1e6\nfor _ = 1, n do\nlocal x, y = math.random(), math.random()\n"
    .. "if x * x + y * y < 1 then inside = inside + 1 end\nend\nreturn 4 * inside / n\nend",
  "estimates = parlua.map(pi_of, parlua.range(400))",
  "parlua.reduce(function(x) return x end, estimates, parlua.mean)",
  "parlua.histogram(estimates, { bins = 7, title = '400 estimates of pi' })",
  "checked = parlua.map(function(x) if x > 3.144 then error('too large') end return x end, estimates)",
}
local typed_last = "parlua.map(pi_of, parlua.range(9), { re"

local colours = { [30] = "#3b4252", [31] = "#d9534f", [32] = "#4e9a06", [33] = "#b58900", [34] = "#3b6fb6", [35] = "#8f4fb0", [36] = "#17838c",
                  [37] = "#555555", [90] = "#8a8a8a" }

local function escape(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

--- Pieces of a line with colours: {column, text, colour, bold}.
local function pieces_of(line)
  local pieces, column, colour, bold, at = {}, 0, nil, false, 1
  while at <= #line do
    local codes, after = line:match("^\27%[([%d;]*)m()", at)
    if codes then
      for code in (codes == "" and "0" or codes):gmatch "%d+" do
        code = tonumber(code)
        if code == 0 then colour, bold = nil, false
        elseif code == 1 then bold = true
        elseif code == 39 then colour = nil
        elseif colours[code] then colour = colours[code] end
      end
      at = after
    else
      local text = line:match("^[^\27]+", at)
      pieces[#pieces + 1] = { column = column, text = text, colour = colour, bold = bold }
      column, at = column + width.of(text), at + #text
    end
  end
  return pieces
end

local function svg_of(screen)
  local lines = {}
  for line in screen:gsub("\n*$", "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  local wide, high = COLUMNS * CELL + 2 * MARGIN, #lines * LINE + 2 * MARGIN
  local out = { ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f"'):format(wide, high, wide, high)
    .. ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
    ('<rect width="%.0f" height="%.0f" rx="8" fill="#fbfbf8" stroke="#d0d0c8"/>'):format(wide, high) }
  for number, line in ipairs(lines) do
    for _, piece in ipairs(pieces_of(line)) do
      if piece.text:find("%S") then
        local lead = #piece.text:match("^ *")
        out[#out + 1] = ('<text x="%.1f" y="%.1f" fill="%s"%s textLength="%.1f" xml:space="preserve">%s</text>'):format(
          MARGIN + (piece.column + lead) * CELL, MARGIN + number * LINE - 4, piece.colour or "#222222", piece.bold and ' font-weight="bold"' or "",
          (width.of(piece.text) - lead) * CELL, escape(piece.text:sub(lead + 1)))
      end
    end
  end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

terminal.with_prompt({ columns = COLUMNS, rows = ROWS, env = { NO_COLOR = "" } }, function(t)
  for _, statement in ipairs(session) do
    t:wait_for_prompt()
    t:type(statement)
    t:press("Enter")
    t:wait_for(function(text) return not text:find("\n> *\n$") or text:find("\n> *\n$") and #text > 0 end)
    t:wait_for_prompt()
  end
  t:type(typed_last)
  t:press("Tab")
  t:wait("retry_on")
  local file = assert(io.open("docs/prompt.svg", "wb"))
  assert(file:write(svg_of(t:tmux("capture-pane -p -e -t main"))))
  assert(file:close())
  print("docs/prompt.svg is written")
end)

local page = assert(io.open("docs/PROMPT.md", "rb"))
local text = page:read "*a"
page:close()
local recorded = sessions.recorded(text, function(body)
  terminal.with_prompt(sessions.terminal, function(t) body(function(statement) return t:run(statement) end) end)
end)
page = assert(io.open("docs/PROMPT.md", "wb"))
assert(page:write(recorded))
assert(page:close())
print(("the sessions of docs/PROMPT.md are %s"):format(recorded == text and "as they were" or "recorded anew"))
