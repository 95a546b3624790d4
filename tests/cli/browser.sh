# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A report in headless Chromium, in both themes: every chart has its marks, none without a size; texts are readable and
# labels do not overlap. Skipped (77) where there is no chromium.
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "skip: no chromium"
  exit 77
}
. "$2/tests/cli/expect.sh"
python3 "$source_dir/tests/cli/report_inputs.py"
run -q report uniform.json zipf.jsonl threads.json layer.tune.jsonl -o report.html
expect_status 0

# The page allows no script, so the measuring copy has another policy.
cat >probe.html <<'PROBE'
<script>
const color = text => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const page = color(getComputedStyle(document.body).backgroundColor);
const over = (top, below) => { const a = top[3] === undefined ? 1 : top[3]; return [0, 1, 2].map(i => a * top[i] + (1 - a) * below[i]); };
const behind = element => { let last = page; for (const up of (function* () { for (let e = element; e; e = e.parentElement) yield e; })()) {
  const own = color(getComputedStyle(up).backgroundColor); if (own.length === 3 || own[3] > 0) { last = own; break; } } return last; };
const found = {page, marks: {}, empty: [], faint: [], overlaps: [], outside: [], titles: 0};
const marks = ["mark", "line", "band", "bound", "segment", "roof", "cell", "candidate", "failed", "default"];
for (const svg of document.querySelectorAll("svg.chart:not(.swatch)")) {
  const name = svg.classList[1], frame = svg.getBoundingClientRect();
  if (!(frame.width > 100 && frame.height > 50)) found.empty.push(name);
  for (const mark of marks)
    for (const element of svg.querySelectorAll("." + mark)) {
      const box = element.getBoundingClientRect(), key = name + " " + mark;
      found.marks[key] = (found.marks[key] || 0) + 1;
      if (!(box.width > 0 && box.height > 0) && !(mark === "line" && box.width > 0)) found.empty.push(key);
      if (element.querySelector("title")) ++found.titles;
      if (["mark", "segment", "candidate", "default"].includes(mark) && contrast(color(getComputedStyle(element).fill), page) < 3)
        found.faint.push(key);
    }
  const texts = [...svg.querySelectorAll("text")].map(element => ({element, box: element.getBoundingClientRect()}));
  for (const {element, box} of texts)
    if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
      found.outside.push(name + ": " + element.textContent);
  const straight = texts.filter(({element}) => !element.hasAttribute("transform"));
  for (let i = 0; i < straight.length; ++i)
    for (let j = 0; j < i; ++j) {
      const a = straight[i].box, b = straight[j].box;
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
        found.overlaps.push(name + ": " + straight[i].element.textContent + " | " + straight[j].element.textContent);
    }
  for (const {element} of texts) {
    let below = page;
    if (element.classList.contains("in-segment")) below = color(getComputedStyle(element.previousElementSibling).fill);
    if (element.classList.contains("in-cell")) below = over(color(getComputedStyle(element.previousElementSibling).fill), page);
    if (contrast(color(getComputedStyle(element).fill), below) < 4.5)
      found.faint.push(name + ": " + element.textContent);
  }
}
for (const element of document.querySelectorAll("h1, h2, h3, p, li span, td, th, dt, dd, figcaption, li"))
  if (element.textContent.trim() && contrast(color(getComputedStyle(element).color), behind(element)) < 4.5)
    found.faint.push(element.tagName + " " + element.textContent);
found.wide = document.documentElement.scrollWidth > innerWidth;
const out = document.createElement("pre");
out.id = "found";
out.textContent = JSON.stringify(found);
document.body.append(out);
</script>
PROBE
python3 - <<'PY'
page = open("report.html", encoding="utf-8").read()
begin = page.index('<meta http-equiv="Content-Security-Policy"')
page = page[:begin] + page[page.index(">", begin) + 1:]
assert page.count("</body>") == 1
open("measured.html", "w", encoding="utf-8").write(page.replace("</body>", open("probe.html").read() + "</body>"))
PY

# look THEME SCHEME WIDTH: found.json is what the page measures of itself; 0 is dark, 1 light
look() {
  last="chromium, $1, $3 pixels wide"
  HOME=$work timeout 120 "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --user-data-dir="$work/profile" --window-size="$3",1200 --blink-settings=preferredColorScheme="$2" \
    --virtual-time-budget=5000 --dump-dom "file://$work/measured.html" >out 2>err
  expect_that 'chromium shows the page' grep -q 'id="found"' out
  python3 -c '
import html, re
print(html.unescape(re.search(r"<pre id=\"found\">(.*?)</pre>", open("out", encoding="utf-8").read(), re.S).group(1)))' >found.json
}

for view in 'light 1 1100' 'dark 0 1100' 'light 1 480' 'dark 0 480'; do
  # shellcheck disable=SC2086 # three words
  look $view
  expect_that "the page is right: $view" python3 -c '
import json, sys
theme, width = sys.argv[1], int(sys.argv[3])
d = json.load(open("found.json"))
assert (sum(d["page"][:3]) < 150) == (theme == "dark"), d["page"]
assert d["marks"] == {
    "latency mark": 35, "latency line": 3, "latency band": 3, "latency bound": 3, "stages segment": 55,
    "roofline mark": 35, "roofline roof": 2, "skew cell": 24, "tuning candidate": 58, "tuning failed": 2,
    "tuning default": 2, "course line": 1, "course bound": 1, "course mark": 1}, d["marks"]
assert d["empty"] == [], d["empty"]
assert d["faint"] == [], d["faint"]
assert d["overlaps"] == [], d["overlaps"]
assert d["outside"] == [], d["outside"]
assert d["titles"] > 200, d["titles"]
assert not d["wide"], "the page is wider than its window"' $view
done
done_testing
