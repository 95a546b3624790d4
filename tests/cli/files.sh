# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Inputs that are no files, names that nobody expects, outputs for which there is no room.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

# Pipes: what is written into one is read, and one without a writer is refused at once.
mkfifo pipe
mkdir routings
mkfifo routings/a.safetensors
mkdir golden
mkfifo golden/a.json golden/a.safetensors
for words in 'check pipe' 'compile pipe' 'explain pipe' 'verify pipe' 'bench pipe' 'import hf pipe' 'report pipe' \
  'explain tiny.json --schedule pipe' 'compare pipe pipe' 'tunedb ls pipe' 'explain tiny.json --routings routings' \
  'verify --golden golden'; do
  # shellcheck disable=SC2086 # one word per argument
  run --timeout 20 $words
  expect_that 'a pipe without a writer is refused at once' test "$status" = 8 -o "$status" = 3
done
run check pipe
expect_err 'moec: error[E-FILE]: cannot read the spec "pipe": it is a pipe or device that holds nothing'
last='cat tiny.json | moec check /dev/stdin'
cat tiny.json | "$moec" check /dev/stdin >out 2>err
status=$?
expect_status 0
last='a writer that is slow'
(sleep 1; cat tiny.json) | "$moec" check /dev/stdin >out 2>err
status=$?
expect_status 0
for words in 'check /' 'check /dev/null' 'check /dev/zero' 'import hf /dev/zero' 'verify /dev/null' 'report /'; do
  # shellcheck disable=SC2086
  run --timeout 20 $words
  expect_that 'exit 3 or 8' test "$status" = 8 -o "$status" = 3
done

# Names.
long=$(printf 'n%.0s' $(seq 255))
run compile tiny.json -q -o "$long" --target cpu:avx2
expect_status 0
expect_that 'a folder of the longest name' test -f "$long/lib/libtiny.a"
run compile tiny.json -q -o "$long" --target cpu:avx2 --force
expect_status 0
run compile tiny.json -q -o "${long}n" --target cpu:avx2 --fault crash@build
expect_status 8
expect_in err 'File name too long'
run init -o "$long.x" --force
expect_status 8
run init -o "$(printf 'j%.0s' $(seq 255))"
expect_status 0
run compile tiny.json -q -o tiny.json/below --fault crash@build
expect_status 8
expect_err 'moec: error[E-WRITE]: cannot make folder "tiny.json/below": Not a directory'
odd=$(printf 'a\033[31m\nb')
run compile tiny.json -q -o "$odd" --target cpu:avx2
expect_status 0
expect_out 'a\x1b[31m\x0ab'
run init -o "$odd.json"
expect_out 'a\x1b[31m\x0ab.json'
run check "$odd.json"
expect_in out 'a\x1b[31m\x0ab.json: valid'
printf '{"moec": 1, "hidden": 8, "router": {"top_k": 1}, "experts": {"count": 4, "intermediate": 6},
  "weights": {"exp\\u001b[31m\\u0007.up": {"tensor": "a", "stack": "perexpert"}}}' >escape.json
run check escape.json
expect_status 3
expect_in err 'weights.exp\x1b[31m\x07.up.stack does not know "perexpert"'
expect_that 'no control character is printed' sh -c '! tr -d "\n" <err | grep -q "[[:cntrl:]]"'

# What a killed run left behind is in nobody's way.
last='SIGKILL while the package is written'
"$moec" compile tiny.json -q -o q --target cpu:avx2 --fault hang@package >out 2>err &
pid=$!
wait_until 20 sh -c 'ls -d q.tmp-*'
kill -KILL $pid
wait $pid 2>/dev/null
for pid in 1 2 3 4 5 6 7 8 9 10; do mkdir -p "q.tmp-$pid"; done
run compile tiny.json -q -o q --target cpu:avx2
expect_status 0

# No room: the old file stays, and there is no new one.
run init -o old.json
cp old.json before.json
mkdir empty
full() { # full BLOCKS WORD...: under a limit of the size of files
  blocks=$1
  shift
  last="ulimit -f $blocks; moec $*"
  (trap '' XFSZ; ulimit -f "$blocks"; exec "$moec" "$@" >empty/out 2>/dev/null </dev/null)
  status=$?
}
for words in 'init --preset deepseek-v3 -o old.json --force' 'init -o new.json' \
  "import hf $work/config.json -o old.json --force" "tunedb export $source_dir/templates/tuning/amd-zen4.jsonl -o old.json --force"; do
  printf '{"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 32, "num_local_experts": 8,
    "num_experts_per_tok": 2, "hidden_act": "silu", "torch_dtype": "float32", "num_hidden_layers": 2}' >config.json
  # shellcheck disable=SC2086
  full 0 $words
  expect_that 'no success' test "$status" != 0
  expect_that 'the old file stays' cmp -s old.json before.json
  expect_that 'no new file' test ! -e new.json
  expect_that 'no staging file' sh -c '! ls -d *.tmp-* 2>/dev/null | grep -v ^q.tmp-'
done
(trap '' XFSZ; ulimit -f 8; exec "$moec" compile tiny.json -q -o shared --emit shared) >out 2>err
status=$?
last='ulimit -f 8; moec compile --emit shared'
expect_status 8
expect_in err 'error[E-WRITE]'
expect_in err 'File too large'
expect_that 'nothing is left' sh -c '! ls -d shared* 2>/dev/null'
done_testing
