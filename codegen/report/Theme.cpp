// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The style sheet. Colours are variables, so that a theme is a list of values.

#include "Theme.h"

namespace moec {

const char *const reportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f8fa; --ink: #1b1f24; --muted: #57606a; --grid: #d8dee4; --axis: #6e7781;
  --c0: #0064a8; --c1: #b24a00; --c2: #00775a; --c3: #a03c7b; --c4: #6b5b00; --c5: #5a4fcf; --c6: #b3263c;
  --c7: #4f5b66; --on-colour: #ffffff; --slower: 178, 74, 0; --faster: 0, 100, 168;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1318; --panel: #171c23; --ink: #e6edf3; --muted: #a3adb8; --grid: #2b323b; --axis: #8b949e;
    --c0: #6cb6ff; --c1: #ffa666; --c2: #4ad6a7; --c3: #f39bd0; --c4: #e3c341; --c5: #b4a7ff; --c6: #ff8f9c;
    --c7: #b9c4cf; --on-colour: #0f1318; --slower: 255, 166, 102; --faster: 108, 182, 255;
  }
}
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --panel: #ffffff; --ink: #000000; --muted: #444444; --grid: #d8dee4; --axis: #6e7781;
    --c0: #0064a8; --c1: #b24a00; --c2: #00775a; --c3: #a03c7b; --c4: #6b5b00; --c5: #5a4fcf; --c6: #b3263c;
    --c7: #4f5b66; --on-colour: #ffffff; --slower: 178, 74, 0; --faster: 0, 100, 168;
  }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  figure, .card, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  body { padding: 0; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1000px; padding: 24px 20px 48px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-bottom: 6px; border-bottom: 1px solid var(--grid); }
h3 { font-size: 15px; margin: 0 0 8px; }
p { margin: 6px 0; }
.muted, .note { color: var(--muted); font-size: 13px; }
figure { margin: 0; }
figcaption { font-size: 13px; font-weight: 600; margin-bottom: 4px; }
figcaption .muted { font-weight: 400; }
.grid-of-charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 22px; }
figure.small { display: flex; flex-direction: column; }
figure.small + figure.small { margin-top: 16px; }
.grid-of-charts figure.small + figure.small { margin-top: 0; }
svg.chart { display: block; max-width: 100%; height: auto; overflow: visible; }
svg text {
  font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--ink);
}
svg text.tick, svg text.axis-title { fill: var(--muted); }
svg text.axis-title { font-size: 12px; }
svg text.roof-label { fill: var(--muted); }
svg text.dot-label, svg text.roof-label { paint-order: stroke; stroke: var(--page); stroke-width: 3; }
svg text.dot-label { fill: var(--c); }
svg text.in-segment { fill: var(--on-colour); }
.grid { stroke: var(--grid); stroke-width: 1; }
.axis { stroke: var(--axis); stroke-width: 1; }
.s0 { --c: var(--c0); } .s1 { --c: var(--c1); } .s2 { --c: var(--c2); } .s3 { --c: var(--c3); }
.s4 { --c: var(--c4); } .s5 { --c: var(--c5); } .s6 { --c: var(--c6); } .s7 { --c: var(--c7); }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
.bound { fill: none; stroke: var(--c); stroke-width: 1.3; stroke-dasharray: 5 4; }
.band { fill: var(--c); fill-opacity: 0.22; }
.whisker { stroke: var(--c); stroke-width: 2; }
.mark { fill: var(--c); stroke: var(--page); stroke-width: 1; }
.segment { fill: var(--c); stroke: var(--page); stroke-width: 1; }
.roof { fill: none; stroke: var(--c, var(--ink)); stroke-width: 1.8; stroke-linejoin: round; }
.unit { fill: none; stroke: var(--axis); stroke-width: 1.2; stroke-dasharray: 2 4; }
.candidate { fill: var(--c0); }
.failed { fill: none; stroke: var(--c6); stroke-width: 1.6; }
.default { fill: var(--c1); stroke: var(--page); stroke-width: 1; }
.default-line { stroke: var(--c1); stroke-width: 1.2; stroke-dasharray: 5 4; }
.cell { stroke: var(--grid); stroke-width: 1; fill: none; }
.cell.unknown { fill: var(--panel); }
.h0, .l0 { fill: var(--panel); }
.h1 { fill: rgba(var(--slower), 0.10); } .l1 { fill: rgba(var(--faster), 0.10); }
.h2 { fill: rgba(var(--slower), 0.18); } .l2 { fill: rgba(var(--faster), 0.18); }
.h3 { fill: rgba(var(--slower), 0.26); } .l3 { fill: rgba(var(--faster), 0.26); }
.h4 { fill: rgba(var(--slower), 0.34); } .l4 { fill: rgba(var(--faster), 0.34); }
.h5 { fill: rgba(var(--slower), 0.42); } .l5 { fill: rgba(var(--faster), 0.42); }
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 0 0 8px; padding: 0; font-size: 13px;
}
.legend li { display: flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }
.failures { margin: 6px 0 0; padding-left: 18px; color: var(--muted); font-size: 12px; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
thead th { color: var(--muted); font-weight: 600; }
th:first-child { text-align: left; font-weight: 500; white-space: normal; }
table.distance th:first-child { min-width: 240px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); gap: 16px; }
.card { background: var(--panel); border: 1px solid var(--grid); border-radius: 8px; padding: 14px 16px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; margin: 0; font-size: 13px; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
.hash { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12px; }
)css";

} // namespace moec
