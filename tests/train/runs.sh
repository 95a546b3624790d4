# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh runs.sh TRAIN MOEC PYTHON EXAMPLE: short runs of the example: it learns, resumes with the same bits, writes, teaches a
# dense model, grows, and says what is wrong with what it is given.
set -eu
train=$1 moec=$2 python=$3 example=$4
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/moec-train-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
say() { printf '== %s\n' "$*"; }
fail() { echo "$1"; cat log; exit 1; }
# below NUMBER FILE: the last "held out" of a log is below NUMBER
below() { awk -v most="$1" '/^held out: [0-9.]+$/ { loss = $3 } END { exit !(loss > 0 && loss < most) }' log || fail "held-out loss is not below $1"; }
small="--text $example/text/log.txt --layers 2 --context 48 --sequences 12 --report-every 10 --check-every 40"

say learn
"$train" --threads 2 train $small --steps 80 --dynamics -o whole.safetensors >log || fail 'train'
grep -q '67 characters, ln(67) = 4.205' log || fail 'vocabulary'
grep -qE '^held out: 4\.[12][0-9]* before step 1$' log || fail 'the first loss is not near ln(67)'
below 2.6
grep -qE '^ +80/80 fine-tuning loss .*\(held out .*use .* balance .* k 2 ' log || fail 'progress'
[ "$(grep -c '<polyline' whole.svg)" = 5 ] || fail 'picture'

say 'stopped and resumed on one thread: the same bits'
"$train" --threads 1 train $small --steps 80 --dynamics --stop-after 30 -o part.safetensors >log || fail 'stop'
"$train" --threads 1 resume part.safetensors --text "$example/text/log.txt" --report-every 10 --check-every 40 >log || fail 'resume'
cmp whole.safetensors part.safetensors
cmp whole.svg part.svg

say write
"$train" generate whole.safetensors --prompt 'Day 7. ' --length 60 >one
"$train" --threads 1 generate whole.safetensors --prompt 'Day 7. ' --length 60 >two
cmp one two
[ "$(head -c 7 one)" = 'Day 7. ' ] && [ "$(wc -c <one)" = 68 ]

say 'the checkpoint is one for moec, too'
"$moec" check "$example/moe.json" --weights whole.safetensors --prefix layers.1.moe. >log || fail 'check'

say 'a dense model learns from it'
"$train" distil whole.safetensors $(echo "$small" | sed 's/--layers 2 --context 48//') --steps 50 -o dense.safetensors >log || fail 'distil'
grep -q 'experts' log && fail 'the dense model has experts'
below 2.9

say 'new experts learn another text, old ones stay'
"$train" finetune whole.safetensors --text "$example/text/songs.txt" --steps 30 --rate 1e-3 -o grown.safetensors >log || fail 'finetune'
grep -q '1 layers of 10 experts' log || fail 'it has not grown'
"$python" "$here/experts.py" whole.safetensors grown.safetensors
before=$(sed -n 's/^held out: \([0-9.]*\) before.*/\1/p' log)
below "$before"
"$train" generate grown.safetensors --length 5 >/dev/null

say errors
refused() { # refused MESSAGE ARGUMENT...: the program ends with 1 and says MESSAGE
  message=$1
  shift
  status=0
  "$train" "$@" >log 2>&1 || status=$?
  [ $status = 1 ] && grep -qF "$message" log || fail "expected: $message"
}
refused "the model does not know the character '#' (35)" generate whole.safetensors --prompt '#'
refused 'whole.safetensors: has done all of its 80 steps' resume whole.safetensors --text "$example/text/log.txt"
refused 'none: cannot be read' generate none
head -c 5000 whole.safetensors >damaged
refused 'damaged: is not safetensors' generate damaged
refused 'has 10 experts in a layer, and cannot grow to 10' finetune grown.safetensors --text "$example/text/songs.txt"
refused 'no package has 12 experts' finetune whole.safetensors --experts 12 --text "$example/text/songs.txt"
refused 'heads must be a multiple of kv-heads' train --text "$example/text/songs.txt" --heads 3 --kv-heads 2
printf 'short' >short.txt
refused 'the text has 5 characters' train --text short.txt
echo 'the example trains, resumes, writes, teaches and grows'
