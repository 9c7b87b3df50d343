--- What is installed, and the package for Debian: the program, its manual page, the completions of shells.
local helper = require "spec.helper"
local terminal = require "spec.terminal"

--- Runs a command, which must succeed; returns what it printed.
local function shell(command, directory)
  local result = helper.run(command, { directory = directory })
  assert.equal(0, result.status, result.stdout .. result.stderr)
  return result.stdout
end

local function has(program) return helper.run("command -v " .. program).status == 0 end

describe("what is installed", function()
  local root

  setup(function()
    root = helper.new_directory()
    shell("make -s install PREFIX=/usr DESTDIR=" .. root)
  end)

  teardown(function() helper.remove(root) end)

  it("runs from where it was put, and tells its version", function()
    local text = shell(root .. "/usr/bin/parlua --version")
    assert.matches("^parlua " .. require("parlua")._VERSION:gsub("%.", "%%.") .. " ", text)
    assert.equal("3\n", shell(root .. "/usr/bin/parlua -e 'print(#require(\"parlua\").map(math.sqrt, {1, 4, 9}))'"))
  end)

  it("has a manual page that mandoc finds nothing wrong in, with every option of --help", function()
    shell("gunzip -k " .. root .. "/usr/share/man/man1/parlua.1.gz")
    local page = root .. "/usr/share/man/man1/parlua.1"
    assert.equal("", shell("mandoc -T lint -W warning " .. page))
    local text = shell("mandoc -T utf8 " .. page):gsub(".\b", ""):gsub("‐", "-"):gsub("−", "-")
    local count = 0
    for option in shell("./parlua --help"):gmatch "\n%s+%-?%w?,?%s*(%-%-%l[%l-]+)" do
      count = count + 1
      assert.truthy(text:find(option, 1, true), option)
    end
    assert.is_true(count > 30)
  end)

  it("completes options, their values and files in bash", function()
    local script = [[
      source usr/share/bash-completion/completions/parlua
      try() { COMP_WORDS=(parlua "$@"); COMP_CWORD=$#; _parlua; echo "${COMPREPLY[@]}"; }
      try --engine t
      try --max
      try --journal us
      try -n 4 --retry
      try us
      try jour
      try -n 4 jour
      try export run.db --format ""
      try export run.db -
      try journal us
      try status --
    ]]
    helper.write(root .. "/complete.sh", script)
    assert.equal("threads\n--max-tasks --max-failures\nusr\n--retry-on --retry-failed\nusr\njournal\n\n"
      .. "csv jsonl tsv\n-o --output --format\nusr\n\n", (shell("bash complete.sh", root)
      :gsub("%-%-retries ", "")))
  end)

  it("completes options, their values, commands and files in zsh", function()
    if not has "zsh" then return pending "there is no zsh" end
    local folder = root .. "/usr/share/zsh/vendor-completions"
    assert.equal("", shell("zsh -fn " .. folder .. "/_parlua"))
    local shown = { files = { ["work.lua"] = "", [".zshrc"] = ([[
      fpath=(%s $fpath)
      autoload -Uz compinit
      compinit -u -d $HOME/.dump
      PS1='> '
    ]]):format(folder) }, columns = 100 }
    shown.command, shown.env = "zsh -d -i", { ZDOTDIR = "." }
    terminal.with_prompt(shown, function(t)
      for typed, completed in pairs {
        ["parlua --engine thr"] = "parlua --engine threads", ["parlua --max-t"] = "parlua --max-tasks",
        ["parlua merg"] = "parlua merge", ["parlua export x --form"] = "parlua export x --format",
        ["parlua export x --format j"] = "parlua export x --format jsonl", ["parlua -n 2 wo"] = "parlua -n 2 work.lua",
        ["parlua --journal w"] = "parlua --journal work.lua",
      } do
        t:wait_for_prompt()
        t:type(typed)
        t:press "Tab"
        t:wait("> " .. completed)
        t:press "C-u"
      end
    end)
  end)
end)

describe("make demo", function()
  it("ends with commands to try next, which work", function()
    local tried = 0
    for command in shell("make -n demo"):gmatch '"  ([^"]-)  +[^" ][^"]*"' do
      if command:find("[|-]") then -- the others wait for a person, or write a large picture
        tried = tried + 1
        assert.is_true(#shell(command) > 0, command)
      end
    end
    assert.is_true(tried >= 2)
  end)
end)

describe("make dist", function()
  it("makes a tarball with all that git has, and one with the program", function() -- make package-test builds the former
    helper.with_directory(function(directory)
      shell("make -s dist DIST_FOLDER=" .. directory)
      local version = require("parlua")._VERSION
      shell("for file in *.tar.gz; do tar -xzf $file; mv parlua-" .. version .. " ${file%.tar.gz}.d; done", directory)
      local folders = shell("ls -d *.d", directory)
      local program, sources = folders:match("(%S+linux%S+%.d)"), folders:match "(parlua%-[%d.]+%.d)"
      local told = shell("./parlua --version")
      assert.equal(told, shell("bin/parlua --version", directory .. "/" .. program))
      local all = shell("git ls-files; echo .commit")
      assert.equal(shell("LC_ALL=C sort <<'END'\n" .. all .. "END"), shell("find . -type f -printf '%P\\n' | LC_ALL=C sort", directory
        .. "/" .. sources))
    end)
  end)
end)

describe("the top level of the tree", function()
  it("holds no more than it should: what a run leaves there is not taken along", function()
    local allowed = { Makefile = true, ["README.md"] = true, ["CHANGELOG.md"] = true, LICENSE = true, src = true, lua = true, examples = true,
      spec = true, ["spec-cluster"] = true, bench = true, docs = true, fuzz = true, soak = true, simulate = true }
    local others = {}
    for path in shell("git ls-files"):gmatch "[^\n]+" do
      local top = path:match "^[^/]+"
      if not allowed[top] and top:sub(1, 1) ~= "." then others[#others + 1] = path end
    end
    assert.same({}, others)
  end)
end)

describe("the package for Debian", function()
  it("installs, runs, and leaves nothing behind when it is purged", function()
    helper.with_directory(function(directory)
      local package = directory .. "/parlua.deb"
      shell("docs/package/deb.sh 0.1.0 " .. package)
      if has "lintian" then shell("lintian --fail-on error --allow-root " .. package) end
      local root = directory .. "/root"
      shell(("mkdir -p %s && cd %s && mkdir updates info && touch status available"):format(root .. "/var/lib/dpkg",
        root .. "/var/lib/dpkg"))
      local dpkg = "PATH=/usr/sbin:/sbin:$PATH dpkg --force-not-root --force-depends --log=/dev/null --root=" .. root
      shell(dpkg .. " -i " .. package)
      local program = [[ -e 'local parlua = require "parlua"; print((parlua.reduce(math.abs, { -5, 7 }, parlua.sum)))']]
      assert.equal("12\n", shell(root .. "/usr/bin/parlua" .. program))
      shell(dpkg .. " --purge parlua")
      assert.equal("", shell("find usr opt etc -name '*parlua*' 2> /dev/null; true", root))
    end)
  end)
end)
