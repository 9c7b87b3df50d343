--- How the page of a report looks, and what its buttons do.
local M = {}

M.css = [[
:root { --page: #f7f8fa; --box: #fff; --text: #1c2330; --faint: #667085; --line: #dfe3ea; --lane: #eef1f5;
  --c1: #2f6fdb; --c2: #e08a1e; --c3: #9a5bd0; --c4: #d0518c; --c5: #8fa3bd; --c6: #4aa3a2; --c7: #c9d1dc;
  --bad: #cf3b32; --warn: #9a5b00; --mark: #1c2330; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #12161d; --box: #1a202a; --text: #e4e8ef;
  --faint: #98a2b3; --line: #2d3644; --lane: #232b37; --c1: #6aa0f7; --c2: #f0a94b; --c3: #bd8cec; --c4: #ec83b3;
  --c5: #6d809b; --c6: #63c4c2; --c7: #3d4858; --bad: #f2766d; --warn: #f3bd62; --mark: #e4e8ef; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 16px; }
h1 { font-size: 22px; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 24px 0 0; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 0 0 8px; }
.note { color: var(--faint); margin: 0 0 8px; font-size: 13px; }
section, .tile { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
section { margin: 12px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 10px; }
.tile b { display: block; font-size: 20px; }
.tile span, .tile small { color: var(--faint); font-size: 13px; }
.tile small { display: block; }
.advice { border-left: 4px solid var(--c2); }
.advice ul { margin: 0; padding-left: 18px; }
.warn { color: var(--warn); font-style: normal; }
svg.chart { display: block; width: 100%; height: auto; }
svg.stack { height: 28px; border-radius: 4px; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .tick { stroke: var(--faint); }
.mark { stroke: var(--mark); stroke-dasharray: 3 3; }
.lane { fill: var(--lane); }
.piece { fill: var(--c1); stroke: var(--box); stroke-width: .3; } .bad { fill: var(--bad); }
.l1, .l2, .l3, .l4, .l5 { stroke: none; }
.l1 { opacity: .25; } .l2 { opacity: .42; } .l3 { opacity: .6; } .l4 { opacity: .8; }
.work, .rate, .memory { fill: var(--c1); background: var(--c1); } .start { fill: var(--c5); background: var(--c5); }
.source { fill: var(--c2); background: var(--c2); } .sink { fill: var(--c3); background: var(--c3); }
.between { fill: var(--c4); background: var(--c4); } .finish { fill: var(--c6); background: var(--c6); }
.unused { fill: var(--c7); background: var(--c7); } .children { fill: var(--c6); background: var(--c6); }
.f1 { fill: var(--bad); background: var(--bad); } .f2 { fill: var(--c2); background: var(--c2); }
.f3 { fill: var(--c3); background: var(--c3); } .f4 { fill: var(--c4); background: var(--c4); }
.f5 { fill: var(--c6); background: var(--c6); } .f6 { fill: var(--c5); background: var(--c5); }
.legend { list-style: none; margin: 8px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px;
  font-size: 13px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.wide, .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--faint); font-weight: 500; white-space: nowrap; }
.r { text-align: right; white-space: nowrap; }
td code, pre { font: 12px ui-monospace, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; white-space: pre-wrap; margin: 6px 0; }
summary { color: var(--faint); cursor: pointer; }
.zoom { position: relative; }
.buttons { position: absolute; right: 0; top: -42px; margin: 0; }
.zoom button { margin-left: 6px; width: 26px; height: 24px; border: 1px solid var(--line);
  border-radius: 5px; background: var(--box); color: var(--text); cursor: pointer; }
@media (max-width: 700px) { .scroll svg, section > svg.chart:not(.stack) { min-width: 620px; }
  section { overflow-x: auto; }
  section:has(> svg.chart:not(.stack)) > h3::after { content: " \2192  scroll"; color: var(--faint); }
  .buttons { position: static; text-align: right; } }
@media print { .zoom button { display: none; } section, .tile { break-inside: avoid; } h2, h3 { break-after: avoid; }
  main { max-width: none; padding: 0; } body { font-size: 11px; } * { print-color-adjust: exact; } }
]]

--- The timeline can be zoomed. On paper tracebacks are open.
M.script = [[
document.querySelectorAll(".zoom").forEach(function (box) {
  var scale = 1, scroll = box.querySelector(".scroll"), svg = box.querySelector("svg");
  box.querySelectorAll("button").forEach(function (button) {
    button.onclick = function () {
      var middle = (scroll.scrollLeft + scroll.clientWidth / 2) / scroll.scrollWidth;
      scale = Math.min(64, Math.max(1, scale * Number(button.dataset.by)));
      svg.style.width = 100 * scale + "%";
      svg.style.height = scale > 1 ? svg.viewBox.baseVal.height + "px" : "";
      svg.setAttribute("preserveAspectRatio", scale > 1 ? "none" : "xMidYMid");
      scroll.scrollLeft = middle * scroll.scrollWidth - scroll.clientWidth / 2;
    };
  });
});
var opened = [];
window.addEventListener("beforeprint", function () {
  opened = Array.from(document.querySelectorAll("details:not([open])"));
  opened.forEach(function (one) { one.open = true; });
});
window.addEventListener("afterprint", function () { opened.forEach(function (one) { one.open = false; }); });
]]

return M
