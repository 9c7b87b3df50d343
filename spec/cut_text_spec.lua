-- A text file that others cut short while it is read: what is given is right, what can't be given is told, and nothing ends that should not.
local helper = require "spec.helper"

local prologue = [[
  local parlua, ffi = require "parlua", require "ffi"
  ffi.cdef "int truncate(const char *path, long length); void __asan_init(void);"
  local PATH = "numbers.txt"
  local function line_of(i) return ("line %d %s"):format(i, ("x"):rep(i % 60)) end
  local function write_lines(n)
    local file = assert(io.open(PATH, "r+") or io.open(PATH, "w"))
    for i = 1, n do file:write(line_of(i), "\n") end
    file:close()
  end
  local function cut(length) assert(ffi.C.truncate(PATH, length) == 0) end
  --- Every failure names the file.
  local function check(failures, least)
    assert(#failures >= (least or 1), "no failure")
    for _, failure in ipairs(failures) do
      assert(failure.message:find("'numbers.txt' was cut short", 1, true), failure.message)
    end
  end
  --- Calls f; where a worker opens the file only then, the call raises what the failures would say. Returns whether it did not.
  local function try(f)
    local ok, message = pcall(f)
    if not ok then check { { message = tostring(message) } } end
    return ok
  end
  local options = { window = 200, chunk = 10 }
]]

--- Runs the script in a directory of its own; it must print "right" and end well.
local function run(engine, text)
  local result = helper.with_directory(function(directory)
    helper.write(directory .. "/script.lua", prologue .. text)
    return helper.run_parlua(("--engine %s -n 2 script.lua"):format(engine), { directory = directory })
  end)
  assert.equal("right\n", result.stdout, result.stderr)
  assert.equal(0, result.status, result.stderr)
end

local function specs(engine)
  for name, source in pairs {
    lines = "parlua.lines(PATH)",
    csv = "parlua.csv(PATH, { header = false, separator = '|' })",
    ["lines with their numbers"] = "parlua.enumerate(parlua.lines(PATH))",
  } do
    it(name .. " that were read are right, and the others are told", function()
      run(engine, [[
        write_lines(100000)
        local count = 0
        local step, stream, at = parlua.imap(function(first, second)
          local text = second or first
          return type(text) == "table" and text[1] or text
        end, ]] .. source .. [[, options)
        local ended = try(function()
          for i, text in step, stream, at do
            assert(text == line_of(i), i)
            count = count + 1
            if count == 500 then cut(10000) end
          end
        end)
        if ended then check(stream.failures) end
        assert(count >= 500 and count < 10000, count)
        print("right")
      ]])
    end)
  end

  it("blocks that were read are right, and the others are told", function()
    run(engine, [[
      write_lines(100000)
      local seen, expected = {}, {}
      local count, bytes = 0, 0
      local step, stream, at = parlua.imap(function(text) return text end, parlua.blocks(PATH, { size = 5000 }), options)
      local ended = try(function()
        for i, text in step, stream, at do
          seen[i] = text
          count = count + 1
          if count == 100 then cut(10000) end
        end
      end)
      if ended then check(stream.failures) end
      local next_line = 1
      for i = 1, count do -- in order, up to the first that is lacking
        if not seen[i] then break end
        for line in seen[i]:gmatch("[^\n]*") do
          if line ~= "" then
            assert(line == line_of(next_line), line)
            next_line = next_line + 1
          end
        end
      end
      assert(next_line > 1000)
      print("right")
    ]])
  end)

  it("a small file, of which no page is missing: no zeros become a result", function()
    run(engine, [[
      write_lines(40)
      local results, failures, summary
      local ended = try(function() results, failures, summary = parlua.map(function(text)
        if text == "line 3 xxx" then
          local ffi = require "ffi"
          pcall(ffi.cdef, "int truncate(const char *path, long length);")
          ffi.C.truncate("numbers.txt", 60)
        end
        return text
      end, parlua.lines(PATH), { chunk = 20 }) end)
      if not ended then print("right") return end
      local right = 0
      for i = 1, 40 do
        assert(results[i] == nil or results[i] == line_of(i))
        if results[i] then right = right + 1 end
      end
      check(failures)
      assert(right + #failures == summary.tasks)
      print("right")
    ]])
  end)

  it("a file that was written anew when it is looked at again: no zeros become a result", function()
    if engine == "async" then return end -- its tasks have copies of what the script has read before
    run(engine, [[
      local n = 4000
      write_lines(n)
      local path, size = PATH, 50000
      local results, failures = parlua.map(function(bytes, length)
        local ffi = require "ffi"
        pcall(ffi.cdef, "int truncate(const char *path, long length);")
        local whole = assert(io.open("numbers.txt")):read("*a")
        ffi.C.truncate("numbers.txt", 0)
        local sum = 0
        for k = 0, length - 1 do sum = sum + bytes[k] end
        local file = assert(io.open("numbers.txt", "r+"))
        file:write(whole)
        file:close()
        return sum
      end, parlua.blocks(PATH, { size = 1e9, raw = true }))
      assert(results[1] == nil)
      check(failures)
      assert(#failures == 1)
      print("right")
    ]])
  end)

  it("each, find and reductions tell it", function()
    run(engine, [[
      local function cutting(text)
        if text == line_of(2000) then
          local ffi = require "ffi"
          pcall(ffi.cdef, "int truncate(const char *path, long length);")
          ffi.C.truncate("numbers.txt", 5000)
        end
        return #text
      end
      write_lines(50000)
      try(function() check((parlua.each(cutting, parlua.lines(PATH), options))) end)
      write_lines(50000)
      try(function()
        assert(parlua.find(function(text) return cutting(text) == 0 and false end, parlua.lines(PATH), options) == nil)
      end)
      write_lines(50000)
      local ok, value, told = pcall(parlua.reduce, cutting, parlua.lines(PATH), parlua.sum)
      if ok then check(told) else check { { message = tostring(value) } } end
      write_lines(50000)
      ok, value, told = pcall(parlua.reduce, cutting, parlua.lines(PATH), { init = 0, step = function(sum, n) return sum + n end })
      if ok then check(told) else check { { message = tostring(value) } } end
      print("right")
    ]])
  end)

  it("what is tried again finds its line gone: it fails for that, and nothing else does", function()
    run(engine, [[
      write_lines(3000)
      local function cutting(text)
        if text == line_of(1500) and require "parlua".task.attempt == 1 then
          local ffi = require "ffi"
          pcall(ffi.cdef, "int truncate(const char *path, long length);")
          ffi.C.truncate("numbers.txt", 5000)
          error("tried again")
        end
        return #text
      end
      local again = { chunk = 100, window = 200, retries = 1 }
      try(function() check((parlua.each(cutting, parlua.lines(PATH), again))) end)
      write_lines(3000)
      try(function() check((select(2, parlua.map(cutting, parlua.lines(PATH), again)))) end)
      print("right")
    ]])
  end)

  it("a journal keeps nothing of what was not read: with the file whole again, all is done", function()
    helper.with_directory(function(directory)
      helper.write(directory .. "/script.lua", prologue .. [[
        local resumes = arg[1] == "again"
        write_lines(3000)
        local count = 0
        local step, stream, at = parlua.imap(function(text) return #text end, parlua.lines(PATH),
          { journal = "journal", resume = resumes, chunk = 10, window = 50 })
        for i, n in step, stream, at do
          assert(n == #line_of(i))
          count = count + 1
          if count == 100 and not resumes then cut(5000) end
        end
        if resumes then
          assert(count == 3000 and #stream.failures == 0, count)
          local resumed = stream:summary().resumed
          assert(resumed >= 100 and resumed < 1000, resumed)
        else
          check(stream.failures)
        end
        print("right")
      ]])
      for _, word in ipairs { "first", "again" } do
        local result = helper.run_parlua(("--engine %s -n 2 script.lua %s"):format(engine, word), { directory = directory })
        assert.equal("right\n", result.stdout, result.stderr)
      end
    end)
  end)
end

describe("of a text that is cut short while it is read,", function()
  helper.for_each_engine(specs)
end)

describe("other memory that is not there", function()
  helper.for_each_engine(function(engine)
    it("costs one failure, also where texts are read", function()
      run(engine, [[
        write_lines(1000)
        local results, failures = parlua.map(function(text)
          if text ~= line_of(500) then return text end
          local ffi = require "ffi"
          pcall(ffi.cdef, "void *mmap(void *, size_t, int, int, int, long); int open(const char *, int, int); int ftruncate(int, long);")
          local file = ffi.C.open("own", 66, 384) -- O_RDWR, O_CREAT
          ffi.C.ftruncate(file, 4096)
          local bytes = ffi.cast("char *", ffi.C.mmap(nil, 4096, 1, 1, file, 0))
          ffi.C.ftruncate(file, 0)
          return bytes[0]
        end, parlua.lines(PATH))
        assert(#failures == 1 and failures[1].index == 500 and failures[1].kind == "crash", #failures)
        assert(failures[1].message:find("SIGBUS") or pcall(function() return ffi.C.__asan_init end), failures[1].message)
        for i = 1, 1000 do assert(i == 500 or results[i] == line_of(i)) end
        print("right")
      ]])
    end)
  end, { "process", "mpi" })
end)
