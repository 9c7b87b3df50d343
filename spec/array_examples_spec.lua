--- The examples about arrays, each at a small size, on every engine: what they print is the same.
local helper = require "spec.helper"
local parlua = require "parlua"

helper.for_each_engine(function(engine)
  --- Runs an example in a directory, and gives what it printed.
  local function run(directory, words)
    local path = helper.run("pwd").stdout:gsub("\n", "")
    local result = helper.run(("%s --engine %s -n 2 %s/examples/%s"):format(helper.quote(helper.parlua), engine, path, words),
      { directory = directory })
    assert.same({ 0, "" }, { result.status, result.stderr })
    return result.stdout
  end

  it("image_filter.lua makes images smoother, and leaves pictures of it", function()
    helper.with_directory(function(directory)
      local printed = run(directory, "image_filter.lua 3 40 60 2")
      local before, after = printed:match "spread before ([%d.]+), after ([%d.]+)"
      assert.truthy(printed:find("3 images of 40 x 60, sigma 2", 1, true))
      assert.is_true(tonumber(after) < 0.5 * tonumber(before), printed)
      for _, name in ipairs { "before.png", "after.png" } do
        assert.equal("\137PNG\r\n\26\n", helper.read(directory .. "/" .. name):sub(1, 8))
      end
    end)
  end)

  it("spectrogram.lua finds the tone that rises, also in a file that is given", function()
    helper.with_directory(function(directory)
      assert.equal("511 frames of 512 samples; loudest at the beginning 0.021, at the end 0.420 of the sampling rate\n",
        run(directory, "spectrogram.lua"))
      assert.equal("\137PNG\r\n\26\n", helper.read(directory .. "/spectrogram.png"):sub(1, 8))
      local tone = parlua.array("double", 4096)
      for i = 1, #tone do tone[i] = math.sin(2 * math.pi * 0.25 * i) end
      tone:save(directory .. "/tone.npy")
      assert.equal("15 frames of 512 samples; loudest at the beginning 0.250, at the end 0.250 of the sampling rate\n",
        run(directory, "spectrogram.lua tone.npy"))
    end)
  end)

  it("kmeans.lua finds the groups, the same on every engine", function()
    helper.with_directory(function(directory)
      assert.equal("30000 points, 4 groups, 5 iterations\nmean squared distance from the centre: 2.710 at first, 1.338 in the end\n",
        run(directory, "kmeans.lua 30000 4 5"))
    end)
  end)
end, helper.one_host)
