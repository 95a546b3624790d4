#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/cuda/run.sh [BUNDLE.tar.gz] [RESULTS_FOLDER] -> every check on this machine's GPU, then the benchmark, into one
# file RESULTS_FOLDER/DATE-DEVICE.txt (default tests/cuda/results). Under 8 minutes. Without a bundle one is made, which needs
# the build; inside an unpacked bundle that one is used. Needs the driver and libc; the benchmark's peers need Python with
# PyTorch and are skipped, and named, without. Exit 0: no check failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bundle=${1:-}
results=${2:-$here/results}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
if [ -z "$bundle" ] && [ ! -x "$here/bin/moec-cuda-check" ]; then
  bundle=$work/bundle.tar.gz
  sh "$here/bundle.sh" "$bundle" || exit 1
fi
folder=$here
if [ -n "$bundle" ]; then
  tar xzf "$bundle" -C "$work" || exit 1
  folder=$work/moec-cuda-bundle
fi
check=$folder/bin/moec-cuda-check
mkdir -p "$results" || exit 1
file=$work/results.txt
failed=0
section() {
  printf '\n== %s\n' "$1" | tee -a "$file" >&2
}

{
  echo "moec on a GPU"
  echo "date: $(date -u '+%Y-%m-%d %H:%M UTC')"
  echo "commit: $(cat "$folder/commit" 2>/dev/null || echo unknown)"
  sed 's/^ptxas *[^,]*, /ptxas: /' "$folder/toolkit" 2>/dev/null
} >"$file"
"$check" device >>"$file" || exit 6
name=$(sed -n 's/^device: //p' "$file" | cut -d, -f1 | tr -cs 'A-Za-z0-9' '-' | sed 's/-*$//')

section "unit kernels against the emulator"
"$check" unit "$folder/units" >>"$file" 2>&1 || failed=1
section "golden cases"
"$check" golden "$folder/golden" >>"$file" 2>&1 || failed=1
section "random layers"
for part in "$folder"/random[0-9]; do
  ("$check" random "$part" >"$part.log" 2>&1 || echo "exit $?" >>"$part.failed") &
done
wait
for part in "$folder"/random[0-9]; do
  grep -v '^pass' "$part.log" >>"$file"
  [ ! -e "$part.failed" ] || failed=1
done
section "CUDA graphs and streams"
"$check" graph "$folder/graph" >>"$file" 2>&1 || failed=1
section "compute-sanitizer"
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ]; then
  mkdir "$work/few"
  first=$(ls "$folder/graph" | sed -n 's/\.json$//p' | head -n 1)
  cp "$folder/graph/$first.json" "$folder/graph/lib$first.so" "$work/few/"
  for tool in memcheck racecheck; do
    if timeout 60 "$sanitizer" --tool "$tool" --error-exitcode 9 "$check" random "$work/few" >"$work/sanitizer.txt" 2>&1; then
      echo "pass $tool $first" >>"$file"
    else
      echo "FAIL $tool $first" >>"$file"
      tail -n 20 "$work/sanitizer.txt" >>"$file"
      failed=1
    fi
  done
else
  echo "skip compute-sanitizer: it is not installed" >>"$file"
fi
section "benchmark"
bench=$folder/bench.py
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  timeout 300 python3 "$bench" "$folder" --seconds 220 >>"$file" 2>"$work/bench.err" || { failed=1; tail -n 5 "$work/bench.err" >>"$file"; }
else
  echo "skip benchmark: no Python with PyTorch that sees the GPU" >>"$file"
fi
out=$results/$(date -u '+%Y-%m-%d')-$name.txt
cp "$file" "$out" || exit 1
echo "$out" # results
[ "$failed" -eq 0 ]
