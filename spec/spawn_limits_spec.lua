--- Where a run ends whose tasks spawn others, and that allows only so many failures: at the same task on every engine. It is compared
--- with a list of all tasks in their order: those of the source, what these have spawned, what those have, and so on.
local helper = require "spec.helper"
local parlua = require "parlua"

local function each_engine(body)
  helper.for_each_engine(body)
  if pcall(require, "cqueues") then describe("engine async:", function() body("async") end) end
end

--- What a node of a tree of tasks is: its value, whether it fails, and the numbers of its children.
local function node_of(state, depth)
  state = (state * 1103515245 + 12345) % 2147483648
  local r, children = math.floor(state / 65536), {}
  for k = 1, depth < 6 and r % 4 or 0 do children[k] = state + k * 7919 end
  return r % 1000, depth > 1 and r % 11 == 0, children
end

local function task(state, depth)
  local value, fails, children = node_of(state, depth)
  for _, child in ipairs(children) do parlua.spawn(task, child, depth + 1) end -- what a task that fails has spawned does not count
  if fails then error("task fails", 0) end
  return value
end

local function root(state) return task(state, 1) end

--- All nodes below these in their order: { value, fails, parent }.
local function all_of(roots)
  local list, generation = {}, {}
  for k, state in ipairs(roots) do generation[k] = { state = state } end
  for depth = 1, 7 do
    local next_generation = {}
    for _, made in ipairs(generation) do
      local value, fails, children = node_of(made.state, depth)
      list[#list + 1] = { value = value, fails = fails, parent = made.parent }
      for _, child in ipairs(fails and {} or children) do next_generation[#next_generation + 1] = { state = child, parent = #list } end
    end
    generation = next_generation
  end
  return list
end

--- The place of the failure behind which nothing counts; nil: there are fewer.
local function place_of(list, most)
  local failed = 0
  for k, node in ipairs(list) do
    if node.fails then failed = failed + 1 end
    if failed == most then return k end
  end
end

local function roots_of(seed)
  local roots = {}
  for k = 1, 5 do roots[k] = seed * 1000 + k * 17 end
  return roots
end

describe("a run of tasks that spawn others, with a limit of failures", function()
  each_engine(function(engine)
    it("ends at the failure of that number, in the order of the tasks", function()
      for seed = 1, 12 do
        local list = all_of(roots_of(seed))
        for _, most in ipairs { 1, 3, 10 } do
          local last = place_of(list, most) or #list
          local results, failures, summary = parlua.map(root, roots_of(seed), { engine = engine, workers = 2, max_failures = most })
          local values, parents, failed = { n = last }, {}, {}
          for k = 1, last do
            local node = list[k]
            if not node.fails then values[k] = node.value end
            parents[k] = node.parent
            if node.fails then failed[#failed + 1] = { k, node.parent } end
          end
          local told = {}
          for k, failure in ipairs(failures) do told[k] = { failure.index, failure.parent } end
          assert.same(failed, told)
          assert.same(parents, results.parents or {})
          results.parents = nil
          assert.same(values, results)
          assert.same({ last - #failed, #failed, 0, last }, { summary.returned, summary.failed, summary.cancelled, summary.tasks })
        end
      end
    end)

    it("raises the first failure, or what on_error raises for the first, though others may fail before", function()
      for seed = 1, 12 do
        local first = place_of(all_of(roots_of(seed)), 1)
        local ok, problem = pcall(parlua.map, root, roots_of(seed), { engine = engine, workers = 2, on_error = "halt" })
        assert.equal(first == nil, ok)
        if first then assert.equal(first, problem.index) end
        ok, problem = pcall(parlua.map, root, roots_of(seed), { engine = engine, workers = 2, on_error = function(failure)
          error({ failure.index, failure.parent })
        end })
        assert.equal(first == nil, ok)
        if first then assert.equal(first, problem[1]) end
      end
    end)

    it("tells no more failures than that where results come as they end", function()
      for seed = 1, 12 do
        local list, most = all_of(roots_of(seed)), 3
        local iterator, stream = parlua.imap(root, roots_of(seed), { engine = engine, workers = 2, max_failures = most, ordered = false })
        for _ in iterator, stream do end -- luacheck: ignore 542
        assert.equal(place_of(list, most) and most or (function()
          local failed = 0
          for _, node in ipairs(list) do failed = failed + (node.fails and 1 or 0) end
          return failed
        end)(), #stream.failures)
      end
    end)

    it("does not go on behind it for ever", function()
      local function deeper(n)
        if n == 3 then error("at three", 0) end
        parlua.spawn(deeper, n + 1)
      end
      local function chain(x)
        if x == 1 then return deeper(1) end
        local function forever(n) parlua.spawn(forever, n + 1) return n end
        return forever(1)
      end
      local _, failures = parlua.map(chain, { 1, 2 }, { engine = engine, workers = 2, max_failures = 1 })
      assert.equal(1, #failures)
      assert.equal("at three", failures[1].message)
    end)
  end)
end)
