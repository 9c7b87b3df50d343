--- Signals that come while no run is at work: they do what they do in any program.
local helper = require "spec.helper"

--- A script's beginning that sends it a signal soon, while it does something else.
local send_soon = [[
  local parlua = require "parlua"
  local ffi = require "ffi"
  ffi.cdef "int getpid(void);"
  local function send_soon(signal)
    os.execute(("(sleep 0.3; kill -%s %d) >/dev/null 2>&1 &"):format(signal, ffi.C.getpid()))
  end
  local function compute() while true do end end
]]

describe("outside of calls", function()
  local directory

  before_each(function() directory = helper.new_directory() end)
  after_each(function() helper.remove(directory) end)

  --- What a script was doing when the signal came.
  local before = {
    ["after a call"] = "parlua.map(tostring, parlua.range(10))",
    ["after a submitted call"] = "parlua.submit(tostring, 1):get()",
    ["while a submitted call waits to be asked for"] = "parlua.submit(tostring, 1)",
    ["after a loop that was left"] = "for i in parlua.imap(tostring, parlua.range(1e9)) do if i == 5 then break end end",
    ["in the body of a loop that does not go on"] = "stream = parlua.imap(tostring, parlua.range(1e9)); stream()",
    ["beside a pool"] = "pool = parlua.pool { workers = 2 }; pool:map(tostring, parlua.range(10)); pool:submit(tostring, 1)",
  }

  helper.for_each_engine(function(engine)
    for what, code in pairs(before) do
      for signal, number in pairs { INT = 2, TERM = 15 } do
        it(("SIG%s ends a script that computes, %s"):format(signal, what), function()
          helper.write(directory .. "/script.lua", ("%s\n%s\nsend_soon %q\ncompute()"):format(send_soon, code, signal))
          local result = helper.run(helper.command(engine) .. " script.lua", { directory = directory, seconds = 20 })
          assert.is_true(helper.is_ended_by(engine, number, result.status), result.status)
        end)
      end
    end

    it("SIGTERM in a loop's body is the loop's: it ends early, and the script goes on", function()
      helper.write(directory .. "/script.lua", send_soon .. [[
        local step, stream = parlua.imap(tostring, parlua.range(1e9))
        local count, began = 0, os.time()
        for _ in step, stream do
          count = count + 1
          if count == 1 then send_soon "TERM" end
          assert(os.time() - began < 10)
        end
        print(stream:summary().interrupted)
      ]])
      local result = helper.run(helper.command(engine) .. " script.lua", { directory = directory, seconds = 60 })
      assert.equal("SIGTERM\n", result.stdout, result.stderr)
      assert.equal(143, result.status)
    end)
  end)

  it("a library in C that writes to a process which has ended does not end the program; the script's own pipe does", function()
    helper.write(directory .. "/script.lua", [[
      local ffi = require "ffi"
      ffi.cdef [=[
        extern volatile int signals_elsewhere;
        void signals_keep_off(int number);
        int pipe(int *ends); int close(int fd); long write(int fd, const void *bytes, size_t count);
      ]=]
      local C, ends = ffi.C, ffi.new "int[2]"
      assert(C.pipe(ends) == 0 and C.close(ends[0]) == 0)
      C.signals_keep_off(13)
      C.signals_elsewhere = 1
      print(tonumber(C.write(ends[1], "x", 1)), ffi.errno() == 32)
      C.signals_elsewhere = 0
      io.stdout:flush()
      C.write(ends[1], "x", 1)
      print "not reached"
    ]])
    local result = helper.run(helper.quote(helper.parlua) .. " script.lua", { directory = directory })
    assert.same({ "-1\ttrue\n", 141 }, { result.stdout, result.status })
  end)

  it("SIGINT raises an error that a script can catch, as in luajit", function()
    helper.write(directory .. "/script.lua", send_soon .. [[
      parlua.map(tostring, { 1 })
      send_soon "INT"
      print(select(2, pcall(function()
        while true do os.tmpname():gsub(".", string.upper) end
      end)))
      print "goes on"
    ]])
    local result = helper.run(helper.command "process" .. " script.lua", { directory = directory, seconds = 20 })
    assert.truthy(result.stdout:find("interrupted!\ngoes on\n$"), result.stdout .. result.stderr)
    assert.equal(0, result.status)
    helper.write(directory .. "/script.lua", send_soon .. 'send_soon "INT" while true do os.tmpname():gsub(".", string.upper) end')
    result = helper.run(helper.command "process" .. " script.lua", { directory = directory, seconds = 20 })
    assert.truthy(result.stderr:find("^parlua: .-interrupted!\nstack traceback:"), result.stderr)
    assert.equal(1, result.status)
  end)
end)
