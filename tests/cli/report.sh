# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec report: the page that it writes, by its text, and inputs and files that it refuses.
. "$2/tests/cli/expect.sh"
python3 "$source_dir/tests/cli/report_inputs.py"

run report uniform.json zipf.jsonl threads.json layer.tune.jsonl -o report.html
expect_status 0
expect_out ''
expect_that 'stderr names the file' grep -Eq '^wrote report.html, [0-9]+ KiB$' err
expect_that 'every chart has its marks' python3 -c '
import re, html.parser
page = open("report.html", encoding="utf-8").read()
charts = {}
for classes, body in re.findall(r"<svg class=\"chart ([a-z]+)\"(.*?)</svg>", page, re.S):
    charts.setdefault(classes, []).append(body)
count = lambda chart, mark: sum(len(re.findall(r"class=\"%s[ \"]" % mark, body)) for body in charts[chart])
found = {(chart, mark): count(chart, mark) for chart, mark in (
    ("latency", "mark"), ("latency", "line"), ("latency", "band"), ("roofline", "mark"), ("roofline", "roof"),
    ("stages", "segment"), ("skew", "cell"), ("tuning", "candidate"), ("tuning", "failed"), ("tuning", "default"),
    ("course", "line"), ("course", "bound"), ("course", "mark"))}
assert found == {
    ("latency", "mark"): 11 + 12 + 12, ("latency", "line"): 3, ("latency", "band"): 3, ("roofline", "mark"): 35,
    ("roofline", "roof"): 2, ("stages", "segment"): 11 * 5, ("skew", "cell"): 2 * 12, ("tuning", "candidate"): 58,
    ("tuning", "failed"): 2, ("tuning", "default"): 2, ("course", "line"): 1, ("course", "bound"): 1,
    ("course", "mark"): 1}, found
# Every mark has a tooltip, every chart with axes their titles.
for chart, bodies in charts.items():
    for body in bodies:
        if chart != "swatch":
            assert "axis-title" in body and "aria-label" in body, chart
            for mark in re.findall(r"<path [^>]*>(.{0,7})", body):
                assert mark == "<title>", (chart, mark)
# Elements are closed in the order in which they were opened.
class Nesting(html.parser.HTMLParser):
    stack = []
    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.stack.append(tag)
    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, (tag, self.getpos())
parser = Nesting()
parser.feed(page)
assert parser.stack == [], parser.stack
assert "left-out" not in page and "no round accepted" in page'
# How far the default is, what failed and why, and what no record reaches.
expect_in report.html '<p>The default takes 1.088 x the time of what was chosen (geometric mean of 1 cell), at most 1.088 x; at most 1.25 x in 100.0 % of the cells.</p>'
expect_in report.html '<tr><th>qwen3_30b_a3b experts_gate_up, cpu:avx512, rows 9..12</th><td>60.0 %</td><td>1 ms</td><td>1.088</td><td>8.8 % (7.8 % .. 9.8 %)</td><td>29</td><td>1</td><td>block_m 12 -&gt; 2, prefetch_block 32 -&gt; 16</td></tr>'
expect_in report.html '<td>not decided</td>'
expect_in report.html '<li>wrong: row 3, column 7 — block_m 12 -&gt; 8, prefetch_block 32 -&gt; 16</li>'
expect_that 'what was not reached' grep -q '<p class="not-reached">Not reached by the budget: 1 cell was not searched to the end; layer.tune.jsonl: qwen3_30b_a3b experts_down, cpu:avx512: ranges with 40.0 % of the work have no record; .*experts_gate_up' report.html
expect_that 'the search over its time' grep -q '<title>after 40 s: decided qwen3_30b_a3b experts_gate_up, cpu:avx512, rows 9..12; 95.9 % of the default&#39;s time</title>' report.html
run report uniform.json zipf.jsonl threads.json layer.tune.jsonl -o again.html
expect_that 'equal inputs give equal pages' cmp report.html again.html

# One input: what it cannot show is said.
run -q report threads.json -o one.html
expect_status 0
expect_err ''
for text in 'Where a call spends its time: no input was measured with --stages.' \
  'Cost of uneven routing: no layer was measured with --skew uniform and with another routing.' \
  'Tuning landscape: no input holds records of tuning.'; do
  expect_in one.html "<li>$text</li>"
done
run -q report layer.tune.jsonl -o tuning.html
expect_status 0
expect_in tuning.html '<h1>Tuning</h1>'

# What bench writes is what report reads.
cp "$source_dir/examples/tiny.json" tiny.json
run bench tiny.json -q --tokens 1,8 --rounds 3 --stages --json
cp out bench.json
run -q report bench.json -o bench.html
expect_status 0
expect_in bench.html '<h1>tiny</h1>'

# Files are never replaced by accident, and never half-written.
run report uniform.json -o report.html
expect_status 8
expect_err 'moec: error[E-EXISTS]: file "report.html" exists
  hint: choose another file with -o, or pass --force to replace it'
expect_that 'the report is as it was' cmp report.html again.html
run -q report uniform.json -o report.html --force
expect_status 0
expect_that 'the report is another one' sh -c '! cmp -s report.html again.html'
ln -s report.html link.html
run report uniform.json -o link.html --force
expect_that 'a link is replaced by nothing' test -L link.html
expect_status 8
run report uniform.json -o nowhere/report.html
expect_status 8
expect_err 'moec: error[E-WRITE]: cannot write "nowhere/report.html": No such file or directory'
run report uniform.json -o /dev/full --force
expect_status 8
run report uniform.json nowhere.json -o absent.html
expect_status 8
printf '{"moec_bench": 1, "name": "x"}\n' >bad.json
run report uniform.json bad.json -o absent.html
expect_status 3
expect_in err 'bad.json:1:1: error[E-RESULT]: "isa" is missing; expected a string'
# Broken lines among records are warnings; a file without a record is an error.
{ head -n 3 layer.tune.jsonl && printf '{"schema":"moec.tune/1"}\n{"schema":"mo'; } >cut.tune.jsonl
run report cut.tune.jsonl -o cut.html
expect_status 0
expect_in err 'cut.tune.jsonl:4:'
expect_in cut.html 'experts_gate_up, cpu:avx512, rows 9..12'
printf '{"schema":"moec.tune/9"}\n' >bad.tune.jsonl
run report bad.tune.jsonl -o absent.html
expect_status 3
expect_in err 'moec: error[E-RESULT]: "bad.tune.jsonl" holds no record of tuning that this version reads'
run report tiny.json -o absent.html
expect_status 3
expect_that 'a failed report leaves nothing' sh -c '! ls | grep -e absent -e tmp'
run report
expect_status 2
done_testing
