-- Writes README.md and the pages of docs/ as HTML, with cmark-gfm: lua pages.lua FOLDER PAGE.md...
local directory = arg[1]

local STYLE = [[
:root { --page: #fff; --text: #1c2330; --faint: #667085; --line: #dfe3ea; --code: #f3f5f8; --link: #1f5fcc; }
@media (prefers-color-scheme: dark) { :root { --page: #12161d; --text: #e4e8ef; --faint: #98a2b3; --line: #2d3644;
  --code: #1a202a; --link: #7fb0ff; } }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.6 system-ui, sans-serif; }
nav, main { max-width: 860px; margin: 0 auto; padding: 12px 16px; }
nav { font-size: 14px; border-bottom: 1px solid var(--line); line-height: 1.9; }
nav a { margin-right: 12px; white-space: nowrap; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h1, h2, h3 { line-height: 1.25; margin: 1.6em 0 .6em; } h1 { margin-top: .6em; }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: var(--code); border-radius: 4px; }
code { padding: 1px 4px; } pre { padding: 12px; overflow-x: auto; } pre code { padding: 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); }
img { max-width: 100%; }
]]

local function read(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  assert(pipe:close(), command)
  return text
end

--- The name of a heading, as GitHub makes it.
local function anchor(heading)
  return (heading:gsub("<[^>]*>", ""):gsub("&%w+;", ""):lower():gsub("[^%w%- ]", ""):gsub(" ", "-"))
end

local function page_name(path) return path == "README.md" and "index" or path:match "([%w_]+)%.md$" end

--- Links between pages of the tree lead between pages here; others lead to nothing, and become text.
local function link(target, text)
  if target:find "^https?:" or target:find "^#" then return nil end
  local path, rest = target:match "^([^#]*)(.*)$"
  if path:find "README%.md$" and not path:find "examples" then return ('<a href="index.html%s">%s</a>'):format(rest, text) end
  local name = path:match "([%w_]+)%.md$"
  if name and not path:find "examples" then return ('<a href="%s.html%s">%s</a>'):format(name, rest, text) end
  return text
end

local pages, navigation = {}, {}
for k = 2, #arg do
  local path = arg[k]
  local file = assert(io.open(path))
  local title = file:read("*l"):gsub("^#%s*", "")
  file:close()
  pages[#pages + 1] = { path = path, name = page_name(path), title = title }
  navigation[#navigation + 1] = ('<a href="%s.html">%s</a>'):format(page_name(path), title:match "^[^:]*")
end
navigation = table.concat(navigation, "\n")

for _, page in ipairs(pages) do
  local body = read(("cmark-gfm --unsafe -e table -e autolink '%s'"):format(page.path))
  body = body:gsub("<h(%d)>(.-)</h%d>", function(level, text)
    return ('<h%s id="%s">%s</h%s>'):format(level, anchor(text), text, level)
  end)
  body = body:gsub('<a href="([^"]*)">(.-)</a>', link):gsub('<img src="docs/', '<img src="')
  local file = assert(io.open(("%s/%s.html"):format(directory, page.name), "w"))
  assert(file:write(([[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title><style>
%s</style></head><body><nav>
%s
<a href="reference/index.html">Reference of the interface</a></nav><main>
]]):format(page.title, STYLE, navigation), body, "</main></body></html>\n"))
  assert(file:close())
end
