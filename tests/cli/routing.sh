# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Reports of routing: of recorded ones by moec explain --routings, of a run's by moec verify --routing.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

# write.py FILE KEY=VALUE...: a safetensors file of small tables, values as Python lists of rows.
cat >write.py <<'PY'
import json, struct, sys
header, data = {}, b""
for argument in sys.argv[2:]:
    name, text = argument.split("=", 1)
    if name == "metadata":
        header["__metadata__"] = {"labels": text}
        continue
    value = eval(text)
    kind = "F32" if name in ("weights", "logits") else "I32"
    shape, flat = [len(value)], value
    if value and isinstance(value[0], list):
        shape, flat = [len(value), len(value[0])], sum(value, [])
    packed = struct.pack("<%d%s" % (len(flat), "f" if kind == "F32" else "i"), *flat)
    header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
    data += packed
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)
PY

# 40 tokens: all of math chooses expert 1, all of prose expert 2, and nobody expert 3.
mkdir runs
python3 write.py runs/a.safetensors 'ids=[[0,1]]*13+[[1,2]]*7' 'weights=[[0.5,0.5]]*19+[[1,0]]' 'logits=[[12,1,0,0]]+[[3,1,0,0]]*19' 'labels=[0]*20'
python3 write.py runs/b.safetensors 'ids=[[0,2]]*13+[[2,1]]*7' 'weights=[[0.5,0.5]]*20' 'labels=[1]*20' 'metadata=["math", "prose"]'
run explain tiny.json --routings runs
expect_status 0
expect_out 'routing of 40 tokens, 80 choices of 4 experts
expert     tokens     share   of even    dropped
     0         26   65.00 %      1.30          0
     1         27   67.50 %      1.35          0
     2         27   67.50 %      1.35          1
     3          0    0.00 %      0.00          0
load entropy 1.098 nats, balance 0.585, coefficient of variation 0.578, dead experts 1, largest logit 12.00

share of each label'"'"'s tokens that chose the expert
  expert       math      prose
       0    65.00 %    65.00 %
       1   100.00 %    35.00 %
       2    35.00 %   100.00 %
       3     0.00 %     0.00 %
  tokens         20         20
    best          1          2
   times       1.48       1.48
best: the expert that most of the label'"'"'s tokens chose; times: its share over that of all labelled tokens'
expect_err 'moec: warning[W-IDLE]: 1 expert is chosen by less than 1.0 % of the tokens: 3
  hint: they learn little and cost memory
moec: warning[W-LOGITS]: router logits reach 12.00, above 10.00 for 1 of 40 tokens
  hint: scores saturate; a z loss or a soft cap holds them'

run explain tiny.json --routings runs --json
expect_status 0
expect_that 'explain --routings --json says the same' python3 -c '
import json
r = json.load(open("out"))["routing"]
assert r["tokens"] == 40 and r["choices"] == 2 and r["dead_experts"] == 1 and r["largest_logit"] == 12, r
assert [e["tokens"] for e in r["experts"]] == [26, 27, 27, 0] and r["experts"][2]["dropped"] == 1, r
assert [(l["name"], l["best_expert"], l["tokens_by_expert"]) for l in r["labels"]] == [("math", 1, [13, 20, 7, 0]), ("prose", 2, [13, 7, 20, 0])], r
assert [w["code"] for w in r["warnings"]] == ["W-IDLE", "W-LOGITS"], r'

# All tokens to two experts.
mkdir collapsed
python3 write.py collapsed/a.safetensors 'ids=[[3,1]]*50'
run explain tiny.json --routings collapsed
expect_status 0
expect_in err 'warning[W-COLLAPSE]: routing collapses: expert 1 is chosen by 100.0 % of the tokens, an even share is 50.0 %; the balance of loads is 0.00 of 1'
expect_in out '     0          0    0.00 %      0.00          -'

# What a folder may not hold.
refused() { # refused TEXT: the last folder is refused with it
  run explain tiny.json --routings bad
  expect_status 3
  expect_out ''
  expect_in err "$1"
  rm -rf bad
  mkdir bad
}
mkdir bad
refused 'error[E-ROUTINGS]: "bad": it holds no *.safetensors'
python3 write.py bad/a.safetensors 'ids=[[0,4]]'
refused '"bad/a.safetensors": ids holds 4, expected an expert 0..3, or -1 for none'
python3 write.py bad/a.safetensors 'ids=[[0,1,2]]'
refused 'ids has 3 choices, the layer has 2'
python3 write.py bad/a.safetensors 'ids=[0,1]'
refused 'ids must be a tensor of rank 2 of I32 or I64'
python3 write.py bad/a.safetensors 'weights=[[1,1]]'
refused 'the file has no tensor ids'
python3 write.py bad/a.safetensors 'ids=[[0,1]]' 'labels=[0,0]'
refused 'labels has 2 rows, ids has 1'
python3 write.py bad/a.safetensors 'ids=[[0,1]]' 'labels=[70000]'
refused 'labels holds 70000'
python3 write.py bad/a.safetensors 'ids=[[0,1]]' 'labels=[1]'
echo '["only one"]' >bad/labels.json
refused 'label 1 has no name: there are 1 of them'
python3 write.py bad/a.safetensors 'ids=[[0,1]]'
echo '{"math": 1}' >bad/labels.json
refused '"bad/labels.json": labels are a list'
python3 write.py bad/a.safetensors 'ids=[[0,1]]' 'metadata=[1, 2]'
refused 'labels are a list of 1 to 1000 names'
python3 write.py bad/a.safetensors 'ids=[[0,1]]*9'
head -c 100 bad/a.safetensors >bad/b.safetensors
refused '"bad/b.safetensors": '
printf '\377\377\377\377\377\377\377\177{}' >bad/a.safetensors
refused 'the header does not fit into the 10 bytes of the file'
run explain tiny.json --routings nowhere
expect_status 8

run verify tiny.json -q --tokens 1-40 --threads 1 --routing
expect_status 0
expect_in out 'routing of 820 tokens, 1640 choices of 4 experts'
expect_that 'counts of the report are those of the tokens' python3 -c '
rows = [l.split() for l in open("out") if l[:6].strip().isdigit()]
assert len(rows) == 4 and sum(int(r[1]) for r in rows) == 1640 and all(r[-1] == "0" for r in rows), rows'
run verify tiny.json -q --tokens 5 --threads 1 --routing --json
expect_status 0
expect_that 'verify --routing --json has the report' python3 -c '
import json
d = json.load(open("out"))
assert d["failed"] == 0 and d["routing"]["tokens"] == 5 and sum(e["tokens"] for e in d["routing"]["experts"]) == 10, d'
# A layer with room for one token per expert drops the others, and says so.
sed 's/"hidden": 8,/&\n  "capacity": { "mode": "fixed", "value": 1 },/' tiny.json >tight.json
run verify tight.json -q --tokens 40 --threads 1 --routing --json
expect_status 0
expect_that 'drops are counted' python3 -c '
import json
e = json.load(open("out"))["routing"]["experts"]
assert all(x["tokens"] - x["dropped"] == min(1, x["tokens"]) for x in e) and sum(x["dropped"] for x in e) >= 70, e'
run verify --golden "$source_dir/tests/golden" --routing
expect_status 2
done_testing
