#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/random/random.sh MOEC RANDOM_SPEC FIRST COUNT SIZES [flags of moec verify] -> COUNT random layers, seeds FIRST and
# up, SIZES "MOST" or "MOST EXPERTS" as random_spec has them, against the reference. A layer this version does not build (exit 4) is counted by its reason. Fails at
# the end when any layer failed, naming the seeds; their specs stay in $TMPDIR/moec-random-SEED.json.
set -u
moec=$1 generator=$2 first=$3 count=$4 most=$5
shift 5
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
passed=0 refused=0 failed=""
seed=$first
while [ "$seed" -lt $((first + count)) ]; do
  spec=$folder/spec.json
  "$generator" "$seed" $most >"$spec" || exit 1
  "$moec" verify "$spec" -q "$@" >"$folder/out" 2>"$folder/err"
  code=$?
  case $code in
    0) passed=$((passed + 1)) ;;
    4) refused=$((refused + 1)); sed -n '1s/^.*error/error/p' "$folder/err" >>"$folder/reasons" ;;
    *)
      failed="$failed $seed"
      cp "$spec" "${TMPDIR:-/tmp}/moec-random-$seed.json"
      echo "seed $seed: exit $code" >&2
      cat "$folder/out" "$folder/err" >&2
      ;;
  esac
  seed=$((seed + 1))
done
if [ "$refused" -gt 0 ]; then
  sort "$folder/reasons" | uniq -c | sort -rn >&2
fi
echo "$count layers, $passed passed, $(echo $failed | wc -w) failed, $refused not built"
[ -z "$failed" ] && [ "$passed" -gt 0 ]
