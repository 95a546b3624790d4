#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/cuda/run.sh BUNDLE RESULTS [PART...] -> every check on this machine's GPU, then the benchmark, into the
# folder RESULTS. BUNDLE is what bundle.sh made, packed or unpacked. Needs the driver, libc, tar and timeout; bench
# needs Python with PyTorch.
#
#   part              what                                                                             seconds at most
#   device            name, driver, clocks                                                                         20
#   units             one instruction each, against the emulator                                                   30
#   core              every expert kernel of sm_90a at toy size, each launch waited for, then overlapping           40
#   presets           every preset with narrow experts and its own schedule: all kernels that presets have         60
#   golden-watched    stored vectors, each launch waited for                                                       40
#   golden-unwatched  the same, kernels overlapping as in a program                                                30
#   backward          layers that train: gradients against stored ones, watched, then overlapping                  40
#   big               layers of real size against float64 of sampled tokens                                        70
#   trained           the same of layers that train, and their gradients; with narrow experts at every range of T  80
#   random            layers of every kind, in 16 processes                                                        60
#   graph             captured calls, replayed; two streams; calls behind each other on one workspace              40
#   bench             beside PyTorch, one process per layer                                                       110
#   profile           microseconds of every kernel of a call, of backward passes first                             70
#   sanitizer         memcheck and racecheck of a core case; memcheck of a red one comes with core                 80
#
# Every line is in RESULTS/results.txt when it is known. A kernel that hangs or faults ends its case, is named with
# grid, block and shared bytes, and the cases behind it run in a fresh process; a part stops after three hangs and at
# its limit. At the end classes.txt says which kernels of presets ran; a full run is not green while one has not.
#
#   RESULTS/results.txt   lines "pass|FAIL|skip KIND CASE: text"    bench.jsonl   rows of the benchmark
#           kernels.txt   what ran in cases that passed             bench.txt     measured beside predicted
#           classes.txt   kernels of presets: ran or not            log.txt       stderr of all parts
#
# MOEC_SECONDS_PART (golden-watched: MOEC_SECONDS_golden_watched) sets a part's limit, MOEC_SECONDS that of all parts
# (540), MOEC_HANG_AFTER that of a kernel (10).
#
# Exit: 0 green, 1 a check failed, 2 usage, 6 no GPU that the bundle runs on, 8 the bundle cannot be read or the results
# cannot be written, 9 nothing failed but a limit of time cut the run.
set -u
all_parts='device units core presets golden-watched golden-unwatched backward big trained random graph bench profile sanitizer'

usage() {
  echo "usage: sh run.sh BUNDLE RESULTS [PART...], parts: $all_parts" >&2
  exit 2
}
[ $# -ge 2 ] || usage
bundle=$1 results=$2
shift 2
parts=${*:-$all_parts}
for part in $parts; do
  case " $all_parts " in *" $part "*) ;; *) echo "run.sh: found part '$part'" >&2; usage ;; esac
done

start=$(date +%s)
work=$(mktemp -d) || exit 8
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
refuse() { echo "run.sh: $*" >&2; exit 8; }

folder=$bundle
if [ ! -d "$bundle" ]; then
  [ -r "$bundle" ] || refuse "$bundle cannot be read; sh tests/cuda/bundle.sh makes a bundle"
  unpack='import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])'
  if ! tar xf "$bundle" -C "$work" 2>"$work/tar" && # tar needs the program xz, Python has its own
    ! python3 -c "$unpack" "$bundle" "$work" 2>>"$work/tar"; then
    refuse "$bundle cannot be unpacked: $(tail -n 1 "$work/tar")"
  fi
  folder=$work/moec-cuda-bundle
fi
check=$folder/bin/moec-cuda-check
[ -x "$check" ] || refuse "$bundle is not a bundle: expected moec-cuda-bundle/bin/moec-cuda-check in it"
mkdir -p "$results" || exit 8
file=$results/results.txt log=$results/log.txt kernels=$results/kernels.txt
[ ! -s "$file" ] || refuse "$file exists; name another folder, or remove it"

export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64:/usr/local/nvidia/lib"
hang_after=${MOEC_HANG_AFTER:-10} total=${MOEC_SECONDS:-540}

now() { echo $(($(date +%s) - start)); }
unwritable() {
  : >"$work/unwritable" # for the shell that waits for this one
  refuse "$file cannot be written: is the disk full?"
}
say() { { printf '%s\n' "$*" >>"$file"; } 2>/dev/null || unwritable; }
fail() { : >"$work/failed"; say "FAIL $*"; }

# limit_of PART SECONDS -> SECONDS or what the environment says, and no more than what is left of the run
limit_of() {
  eval "asked=\${MOEC_SECONDS_$(echo "$1" | tr - _):-$2}"
  left=$((total - $(now)))
  [ "$asked" -le "$left" ] || asked=$left
  echo "$asked"
}

# cases PART SECONDS NAME OPTION... KIND FOLDER [CASE...]: one process, and a fresh one behind each case that ended it.
# NAME is of this process alone among those of the part.
cases() {
  part_name=$1 part_end=$(($(date +%s) + $2)) begun=$work/begun.$3 after=
  shift 3
  while :; do
    seconds=$((part_end - $(date +%s)))
    : >"$begun"
    code=124
    if [ "$seconds" -gt 0 ]; then
      code=0
      timeout -k 2 "$seconds" "$check" --hang-after "$hang_after" --begun "$begun" --kernels "$kernels" --after "$after" \
        "$@" >>"$file" 2>>"$log" || code=$?
    fi
    case $code in
    0) return ;;
    1) : >"$work/failed"; return ;;
    8) unwritable ;;
    20) : >"$work/failed" ;; # the line is written
    21) : >"$work/failed"; echo hang >>"$work/hangs.$part_name" ;;
    124 | 137)
      : >"$work/limited"
      at=$(cat "$begun")
      say "FAIL $part_name: the time of the part is over, ${at:+at case }${at:-before the first case of $*}"
      return ;;
    *) fail "$part_name $(cat "$begun"): the process ended with code $code" ;;
    esac
    after=$(cat "$begun")
    if [ -z "$after" ]; then
      fail "$part_name: the process ended with code $code before its first case; see log.txt"
      return
    fi
    if [ "$(wc -l 2>/dev/null <"$work/hangs.$part_name" || echo 0)" -ge 3 ]; then
      fail "$part_name: stopped after three hangs; the cases behind $after are not run"
      return
    fi
  done
}

# What of the part a person reads first: all but what passed and what was measured.
show() {
  tail -n "+$1" "$file" | grep -vE '^(pass|call|stage) ' | head -n 40 | cut -c1-240
  echo "   passed: $(tail -n "+$1" "$file" | grep -c '^pass ')"
}

run_device() {
  code=0
  timeout -k 2 "$1" "$check" device >>"$file" 2>"$work/device" || code=$?
  cat "$work/device" >>"$log"
  case $code in
  0) ;;
  8) unwritable ;;
  *) say "FAIL device: $(tail -n 1 "$work/device")"
    cat "$work/device" >&2
    exit 6 ;;
  esac
  asked=name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit,temperature.gpu
  nvidia-smi --query-gpu=$asked --format=csv >>"$file" 2>>"$log"
}

run_random() {
  i=0
  while [ $i -lt 16 ]; do
    (cases random "$1" $i --share $i/16 random "$folder/random") &
    i=$((i + 1))
  done
  wait
}

run_presets() {
  i=0
  while [ $i -lt 8 ]; do
    (cases presets "$1" $i --share $i/8 --as presets large "$folder/presets") &
    i=$((i + 1))
  done
  wait
}

# Its kernels wait for each other at first.
run_backward() {
  ls "$folder"/backward/*.gradients >/dev/null 2>&1 || { say "skip backward: the bundle has no layers that train"; return; }
  end=$(($(date +%s) + $1))
  for form in backward "backward-unwatched --unwatched"; do
    i=0
    while [ $i -lt 8 ]; do
      # shellcheck disable=SC2086 # an option is a word
      (cases backward $((end - $(date +%s))) $i --share $i/8 --as $form backward "$folder/backward") &
      i=$((i + 1))
    done
    wait
  done
}

# A line of `big` names the packages of one layer, which share their weights.
run_big() {
  [ -s "$folder/big" ] || say "skip big: the bundle has no layers of real size"
  end=$(($(date +%s) + $1))
  while read -r names; do
    # shellcheck disable=SC2086 # one word per case
    cases big $((end - $(date +%s))) 0 --unwatched --as big large "$folder/bench" $names
  done <"$folder/big"
}

# Every layer has weights of its own.
run_trained() {
  [ -s "$folder/trained" ] || say "skip trained: the bundle has no layers of real size that train"
  end=$(($(date +%s) + $1))
  cat "$folder/trained" "$folder/narrow" >"$work/trained"
  while read -r name _; do
    cases trained $((end - $(date +%s))) 0 --unwatched --as trained large "$folder/bench" "$name"
  done <"$work/trained"
}

run_bench() {
  if ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>>"$log"; then
    say "skip bench: no Python with a PyTorch that sees the GPU"
    return
  fi
  end=$(($(date +%s) + $1)) layers=$(wc -l <"$folder/measured")
  while read -r name tokens variants; do
    left=$((end - $(date +%s))) layers=$((layers - 1))
    seconds=$((layers > 0 ? left * 2 / 5 : left)) # the first layer has all variants, and leaves time to the others
    if [ $seconds -lt 5 ]; then
      : >"$work/limited"
      say "FAIL bench $name: not run, the time of the part is over"
      continue
    fi
    code=0
    timeout -k 2 $seconds python3 "$folder/bench.py" "$folder" "$name" --tokens "$tokens" --seconds $((seconds - 3)) \
      ${variants:+--variants "$variants"} >>"$results/bench.jsonl" 2>>"$log" || code=$?
    case $code in
    0) say "pass bench $name: measured" ;;
    1) fail "bench $name: $(grep '"row": "FAIL"' "$results/bench.jsonl" | tail -n 1 | cut -c1-300)" ;;
    124 | 137) : >"$work/limited"; say "FAIL bench $name: the time of the part is over" ;;
    *) fail "bench $name: the process ended with code $code; see log.txt" ;;
    esac
  done <"$folder/measured"
}

# The largest layers last: their weights take the host longest.
run_profile() {
  end=$(($(date +%s) + $1))
  { cat "$folder/trained"; grep -v '^deepseek' "$folder/measured"; grep '^deepseek' "$folder/measured"; } >"$work/profiled"
  while read -r name tokens _; do
    cases profile $((end - $(date +%s))) 0 --unwatched --tokens "$tokens" profile "$folder/bench" "$name"
  done <"$work/profiled"
}

# sanitize KIND SECONDS CASE: one core case under compute-sanitizer; a line for what it says.
sanitize() {
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  [ -n "$sanitizer" ] || { say "skip sanitizer $1: compute-sanitizer is not installed"; return; }
  # the runtime asks the driver whether plain host memory is the device's, which is an error of the API to this tool
  code=0
  timeout -k 2 "$2" "$sanitizer" --tool "$1" --report-api-errors no --error-exitcode 9 \
    "$check" --unwatched --hang-after 60 --tokens 1,33,130 --as "$1" large "$folder/core" "$3" \
    >"$work/sanitizer" 2>&1 || code=$?
  if [ $code -eq 0 ]; then
    say "pass sanitizer $1: $3"
  elif grep -qi 'not supported' "$work/sanitizer"; then
    say "skip sanitizer $1: $(grep -i -m 1 'not supported' "$work/sanitizer")"
  else
    fail "sanitizer $1: $3: exit code $code"
    tail -n 20 "$work/sanitizer" | cut -c1-240 >>"$file" || unwritable
  fi
}

# A core case that is red is what everything else hangs on: what memcheck says of it comes at once.
run_core() {
  end=$(($(date +%s) + $1))
  cases core "$1" 0 --as core large "$folder/core"
  cases core $((end - $(date +%s))) 0 --as core-unwatched --unwatched large "$folder/core"
  red=$(sed -n 's/^FAIL core \([^ :]*\):.*/\1/p' "$file" | head -n 1)
  [ -z "$red" ] || sanitize memcheck 40 "$red"
}

# Some of the small layers that train, those the bundle has.
trained_for_graphs() {
  for name in rows-bf16 rows-f16 odd; do
    [ ! -e "$folder/backward/$name.json" ] || echo $name
  done
}

# The core cases too: their kernels of experts overlap as those of real layers do.
run_graph() {
  end=$(($(date +%s) + $1))
  cases graph "$1" 0 graph "$folder/core"
  some=$(trained_for_graphs)
  # shellcheck disable=SC2086 # one word per case
  [ -z "$some" ] || cases graph $((end - $(date +%s))) 0 graph "$folder/backward" $some
  cases graph $((end - $(date +%s))) 0 graph "$folder/graph"
}

run_sanitizer() {
  for name in "$folder"/core/*.json; do break; done
  for kind in memcheck racecheck; do
    sanitize $kind $(($1 / 2)) "$(basename "$name" .json)"
  done
}

# Which classes of kernels that presets have ran in a case that passed.
run_classes() {
  [ -s "$folder/preset-classes" ] || { say "skip classes: the bundle names no kernels of presets"; return; }
  grep -q ' sm_90,' "$file" || { say "skip classes: kernels of presets are those of sm_90a"; return; }
  : >>"$kernels"
  awk -f "$folder/classes.awk" "$folder/classes" "$kernels" "$folder/preset-classes" >"$results/classes.txt" ||
    unwritable
  ran=$(grep -c '^ran ' "$results/classes.txt") missing=$(grep -c '^MISSING ' "$results/classes.txt")
  if [ "$missing" -eq 0 ]; then
    say "pass classes: all $ran kernels of presets ran"
  elif [ "$parts" = "$all_parts" ]; then
    fail "classes: $missing of $((ran + missing)) kernels of presets did not run; see classes.txt"
  else
    say "skip classes: $missing of $((ran + missing)) kernels of presets did not run in the parts chosen"
  fi
}

run_report() {
  [ -s "$results/bench.jsonl" ] || grep -q '^call ' "$file" || return
  if ! command -v python3 >/dev/null; then
    say "skip report: python3 is not installed"
  elif ! python3 "$folder/report.py" "$folder" "$file" "$results/bench.jsonl" >"$results/bench.txt" 2>>"$log"; then
    fail "report: bench.txt cannot be made; see log.txt"
  fi
}

part() { # PART
  case $1 in
  device) run_device "$2" ;;
  units) cases units "$2" 0 unit "$folder/units" ;;
  core) run_core "$2" ;;
  presets) run_presets "$2" ;;
  golden-watched) cases golden-watched "$2" 0 golden "$folder/golden" ;;
  golden-unwatched) cases golden-unwatched "$2" 0 --unwatched golden "$folder/golden" ;;
  backward) run_backward "$2" ;;
  big) run_big "$2" ;;
  trained) run_trained "$2" ;;
  random) run_random "$2" ;;
  graph) run_graph "$2" ;;
  bench) run_bench "$2" ;;
  profile) run_profile "$2" ;;
  sanitizer) run_sanitizer "$2" ;;
  esac
}

say "moec on a GPU, $(date -u '+%Y-%m-%d %H:%M UTC')"
say "commit: $(cat "$folder/commit" 2>/dev/null), $(cat "$folder/toolkit" 2>/dev/null)"
case " $parts " in *" device "*) ;; *) run_device 20 ;; esac
for one in $parts; do
  seconds=$(limit_of "$one" "$(sed -n "s/^#   $one  *.* \([0-9][0-9]*\)\$/\1/p" "$0")")
  first=$(($(wc -l <"$file") + 1))
  say "== $one (at $(now) s)"
  if [ "$seconds" -le 0 ]; then
    : >"$work/limited"
    say "FAIL $one: not run, the time of the run is over"
  else
    part "$one" "$seconds"
    [ ! -e "$work/unwritable" ] || exit 8
  fi
  show "$first"
done
first=$(($(wc -l <"$file") + 1))
say "== classes and report (at $(now) s)"
run_classes
run_report
code=0
[ ! -e "$work/limited" ] || code=9
[ ! -e "$work/failed" ] || code=1
lines() { grep -c "^$1 " "$file"; }
say "finished at $(now) s: $(lines pass) passed, $(lines FAIL) failed, $(lines skip) skipped, exit $code"
show "$first"
for one in "$results"/*.txt "$results"/*.jsonl; do # what comes back from a lent machine may be limited to 16 MiB a file
  [ -e "$one" ] && [ "$(wc -c <"$one")" -gt 16777216 ] || continue
  head -c 16777000 "$one" >"$work/cut" && cat "$work/cut" >"$one"
done
exit $code
