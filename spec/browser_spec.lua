--- The page that --report writes, in a real browser. It needs Debian's chromium, which is too large (300 MB with what it
--- needs) to be installed for the suite alone: without it nothing is checked here, and a line says so.
local helper = require "spec.helper"
local json = require("parlua").json

local has_browser = os.execute "command -v chromium > /dev/null" == 0
if not has_browser then print "spec/browser_spec.lua: chromium is not installed; the page is not looked at in a browser" end

local SCRIPT = [[
local parlua = require "parlua"
local function busy(n) local x = 0 for k = 1, n do x = x + k % 7 end return x end
parlua.map(function(i)
  busy(i == 9 and 3e6 or 2e4)
  if i % 10 == 4 then error("no row " .. i .. " in <table>: " .. ("long "):rep(60), 0) end
  return i
end, parlua.range(60), { chunk = 1 })
parlua.reduce(function(i) return i end, parlua.range(2e5), parlua.sum)
]]

-- What is added to the page: it looks at it as it is drawn, and writes down what it has seen.
local PROBE = [[<script>
(function () {
  function channels(color) { return color.match(/[\d.]+/g).slice(0, 3).map(Number); }
  function light(color) {
    var part = channels(color).map(function (c) { c /= 255; return c <= .03928 ? c / 12.92 : Math.pow((c + .055) / 1.055, 2.4); });
    return .2126 * part[0] + .7152 * part[1] + .0722 * part[2];
  }
  function contrast(a, b) { return (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05); }
  function behind(node) {
    for (; node; node = node.parentElement) {
      var color = getComputedStyle(node).backgroundColor;
      if (color && !/, 0\)$|transparent/.test(color)) return color;
    }
  }
  var told = { errors: errors, charts: 0, empty: 0, outside: [], contrast: 21, background: getComputedStyle(document.body).backgroundColor };
  told.overflow = document.documentElement.scrollWidth - window.innerWidth;
  document.querySelectorAll("svg.chart").forEach(function (svg) {
    var box = svg.getBoundingClientRect();
    told.charts++;
    if (box.width < 100 || box.height < 10) told.empty++;
  });
  document.querySelectorAll("h1, h2, h3, p, td, th, li, .tile b, .tile span, svg text").forEach(function (node) {
    if (!node.textContent.trim()) return;
    var style = getComputedStyle(node), is_svg = node.ownerSVGElement;
    told.contrast = Math.min(told.contrast, contrast(is_svg ? style.fill : style.color, behind(is_svg ? is_svg.parentElement : node)));
    var box = node.getBoundingClientRect();
    if (!node.closest(".scroll, .wide, section") && box.right > window.innerWidth + 1) told.outside.push(node.textContent);
  });
  function closed() { return document.querySelectorAll("details:not([open])").length; }
  told.closed = closed();
  window.dispatchEvent(new Event("beforeprint"));
  told.closed_on_paper = closed();
  window.dispatchEvent(new Event("afterprint"));
  told.closed_again = closed();
  var button = document.querySelector(".zoom button:last-of-type"), drawing = document.querySelector(".zoom svg");
  var before = drawing.getBoundingClientRect().width;
  button.click();
  told.zoom = drawing.getBoundingClientRect().width / before;
  told.overflow_after = document.documentElement.scrollWidth - window.innerWidth;
  document.body.innerHTML = "<pre id=told>" + btoa(JSON.stringify(told)) + "</pre>";
})();
</script>]]

if has_browser then
  describe("the report's page in a browser", function()
    local directory

    setup(function()
      directory = helper.new_directory()
      helper.write(directory .. "/script.lua", SCRIPT)
      local result = helper.run_parlua("-n 2 --no-warn --report run.html script.lua", { directory = directory })
      assert.equal(0, result.status, result.stderr)
      local page = helper.read(directory .. "/run.html")
      helper.write(directory .. "/probe.html", (page:gsub("<head>", function()
        return "<head><script>var errors = []; window.onerror = function (text) { errors.push(text); };</script>"
      end, 1)) .. PROBE)
    end)
    teardown(function() helper.remove(directory) end)

    --- What the probe saw at this width in this theme.
    local function look(width, theme)
      local result = helper.run(("HOME=$PWD chromium --headless=new --no-sandbox --disable-gpu --user-data-dir=$PWD/profile "
        .. "--window-size=%d,900 --blink-settings=preferredColorScheme=%d --dump-dom file://$PWD/probe.html")
        :format(width, theme == "dark" and 0 or 1), { directory = directory })
      local told = result.stdout:match 'id="told">([^<]+)<'
      assert.truthy(told, result.stdout:sub(-500) .. result.stderr:sub(-500))
      helper.write(directory .. "/told", told)
      return json.decode(helper.run("base64 -d told", { directory = directory }).stdout)
    end

    local function check(told)
      assert.same({}, told.errors)
      assert.is_true(told.charts >= 6, told.charts)
      assert.equal(0, told.empty)
      assert.same({}, told.outside)
      assert.is_true(told.overflow <= 0, "the page is wider than the window by " .. told.overflow)
      assert.is_true(told.overflow_after <= 0)
      assert.is_true(told.contrast >= 4.5, "the least contrast is " .. told.contrast)
      assert.is_true(told.zoom > 1.3, told.zoom)
      assert.is_true(told.closed > 0)
      assert.same({ 0, told.closed }, { told.closed_on_paper, told.closed_again }) -- tracebacks
    end

    local backgrounds = {}
    for _, case in ipairs { { 1200, "light" }, { 500, "dark" } } do
      it(("draws its charts, can be read and zoomed, and fits: %d pixels, %s"):format(case[1], case[2]), function()
        local told = look(case[1], case[2])
        check(told)
        backgrounds[case[2]] = told.background
      end)
    end

    it("has two themes", function() assert.are_not.equal(backgrounds.light, backgrounds.dark) end)
  end)
end
