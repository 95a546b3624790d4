#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh tests/fuzz.sh MINUTES [TARGET...]: the fuzz targets of tests/fuzz (all, or those named) under libFuzzer, the address
# and the undefined-behaviour sanitizer, MINUTES together on all cores. A corpus grows in build-fuzz/corpus/TARGET from
# run to run. Inputs that end a target stay in build-fuzz/crashes; `build-fuzz/bin/fuzz-TARGET FILE` repeats one.
# Exit 1: something was found.
set -eu
case ${1:-} in
'' | *[!0-9]*)
  echo 'usage: sh tests/fuzz.sh MINUTES [TARGET...]' >&2
  exit 2
  ;;
esac
minutes=$1
shift
cd "$(dirname "$0")/.."
. tests/install.sh
moec_test_packages="$moec_test_packages libclang-rt-22-dev"
moec_install tests
[ -f build-fuzz/build.ninja ] || cmake --preset fuzz -DMOEC_BUILD_TESTS=ON >&2
[ $# -gt 0 ] || set -- spec import schedule tune mlir package weight-file packed-weights plan
targets=$(printf 'fuzz-%s ' "$@")
# shellcheck disable=SC2086 # one word per target
cmake --build build-fuzz --target $targets >&2
mkdir -p build-fuzz/corpus build-fuzz/crashes build-fuzz/logs
python3 tests/fuzz/seeds.py . build-fuzz/seeds
# Memory of LLVM's libraries, which are built without sanitizers, must not be poisoned by code that is.
export ASAN_OPTIONS=allow_user_poisoning=0:detect_leaks=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# Seconds of each target, $cores of them at a time.
cores=$(nproc)
rounds=$((($# + cores - 1) / cores))
seconds=$((minutes * 60 / rounds))
[ "$seconds" -gt 0 ] || seconds=1
fuzz() { # fuzz TARGET
  found=
  [ ! -d "tests/fuzz/found/$1" ] || found=tests/fuzz/found/$1
  mkdir -p "build-fuzz/corpus/$1"
  # shellcheck disable=SC2086 # no word if there is none
  "build-fuzz/bin/fuzz-$1" -max_total_time="$seconds" -timeout=20 -report_slow_units=20 -rss_limit_mb=4096 -max_len=16384 -reload=0 \
    -print_final_stats=1 -artifact_prefix="build-fuzz/crashes/$1-" \
    "build-fuzz/corpus/$1" "build-fuzz/seeds/$1" $found >"build-fuzz/logs/$1" 2>&1 || echo "$1" >>build-fuzz/logs/failed
}
rm -f build-fuzz/logs/failed
running=0
for target in "$@"; do
  fuzz "$target" &
  running=$((running + 1))
  if [ "$running" -ge "$cores" ]; then
    wait
    running=0
  fi
done
wait
printf '%-16s %12s %8s %8s  %s\n' target executions covered corpus result
for target in "$@"; do
  log=build-fuzz/logs/$target
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)
  result=nothing
  ! grep -qs "^$target\$" build-fuzz/logs/failed || result="ENDED, see $log"
  printf '%-16s %12s %8s %8s  %s\n' "$target" "${runs:-?}" "${covered:-?}" \
    "$(ls "build-fuzz/corpus/$target" | wc -l)" "$result"
done
if [ -f build-fuzz/logs/failed ]; then
  ls build-fuzz/crashes
  exit 1
fi
