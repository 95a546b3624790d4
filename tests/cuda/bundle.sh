#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/cuda/bundle.sh [OUT.tar.xz] -> everything that tests/cuda/run.sh needs on a machine that has a GPU and a
# driver but no compiler, at most 48 MiB. BUILD names the build folder (default build), which must be built; needs
# python3 and xz.
#
#   units     unit kernels                                    random   layers of every kind, every fourth for sm_80
#   core      tests/cuda/specs: expert kernels at toy size    graph    layers that take x alone
#   presets   every preset with narrow experts (narrow.py)    bench    layers of real size (variants.txt), those that
#                                                                      train with narrow experts too
#   golden    tests/golden                                    backward small layers that train (trained.txt)
#   classes, preset-classes   what kernels those are
#
# Finished packages are kept in BUILD/cuda-bundle by the hash of what they are made of: a second run, after an interrupt
# too, makes only what is missing. For a smaller bundle:
#
#   RANDOM_LAYERS (40), GRAPH_LAYERS (12)     how many
#   GOLDEN (*), PRESETS (*), LAYERS (*)       names of golden cases, of presets, of cases of the table; globs
#   TRAINED (*)                               names of layers that train, of trained.txt; globs
#   VARIANTS                                  another table than variants.txt
#   CACHE (BUILD/cuda-bundle)                 finished packages
#   JOBS                                      compilers at a time (all processors)
#
# Exit: 0 done, 1 a package failed or the bundle is too large, 2 nothing is built, 5 a tool is missing.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/cuda
build=${BUILD:-$root/build}
out=${1:-$root/moec-cuda-bundle.tar.xz}
layers=${RANDOM_LAYERS:-40} graphs=${GRAPH_LAYERS:-12} jobs=${JOBS:-$(nproc)}
variants=${VARIANTS:-$here/variants.txt}
golden=${GOLDEN-*} presets=${PRESETS-*} cases=${LAYERS-*} trained=${TRAINED-*}
most=49152 # KiB of the packed bundle

say() { echo "bundle.sh: $*" >&2; }
die() { code=$1; shift; say "$*"; exit "$code"; }
for tool in python3 xz sha256sum; do
  command -v $tool >/dev/null || die 5 "$tool is not installed"
done
for program in moec moec-cuda-check moec-cuda-units moec-cuda-gradients; do
  [ -x "$build/bin/$program" ] || die 2 "no $build/bin/$program; build first: sh tests/run.sh"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export MOEC="$build/bin/moec" CACHE="${CACHE:-$build/cuda-bundle}" FINISHED="$work/finished" PYTHONDONTWRITEBYTECODE=1
export GRADIENTS="$build/bin/moec-cuda-gradients" TEMPLATES="$root/templates"
MOEC_HASH=$(sha256sum "$MOEC" | cut -d' ' -f1) GRADIENTS_HASH=$(sha256sum "$GRADIENTS" | cut -d' ' -f1)
export MOEC_HASH GRADIENTS_HASH
mkdir -p "$CACHE"
for left in "$CACHE"/tmp.*; do # of compilers that are gone; another bundle.sh may be at work
  kill -0 "${left##*.}" 2>/dev/null || rm -rf "$left"
done
folder=$work/moec-cuda-bundle
for part in bin lib units core presets golden random backward graph bench; do mkdir -p "$folder/$part"; done
jobs_file=$work/jobs
: >"$jobs_file"
is_chosen() { # NAME GLOB...
  chosen_name=$1
  shift
  for glob; do
    # shellcheck disable=SC2254 # a glob on purpose
    case $chosen_name in $glob) return 0 ;; esac
  done
  return 1
}
set -f # globs of the environment are matched with names, not with files
# job CASE SPEC SCHEDULE SCRIPT FLAG...: a line for xargs, to which a blank at its end would join the next one
job() {
  printf "'%s'" "$1" >>"$jobs_file"
  shift
  for word; do printf " '%s'" "$word"; done >>"$jobs_file"
  echo >>"$jobs_file"
}
# compile WHAT [SCRIPT]: package.sh, or another script, for every job of the file; says how far it is.
compile() {
  total=$(wc -l <"$jobs_file")
  : >"$FINISHED"
  xargs -r -P "$jobs" -L 1 sh "$here/${2:-package.sh}" <"$jobs_file" &
  compiling=$!
  while sleep 1 && kill -0 $compiling 2>/dev/null; do
    finished=$(wc -l <"$FINISHED")
    [ $((finished % 10)) -ne 0 ] || [ "$finished" = "${said:-}" ] ||
      say "$1: $finished of $total, $(($(date +%s) - began)) s"
    said=$finished
  done
  wait $compiling || die 1 "$1: one failed"
  : >"$jobs_file"
  check_size "$1"
}
# Packed, a bundle takes about a sixth of its size.
check_size() {
  raw=$(du -sk "$folder" | cut -f1)
  [ $((raw / 6)) -le $most ] || die 1 "after $1: $raw KiB, about $((raw / 6)) packed, at most $most"
}

began=$(date +%s)
preset_names=$(cd "$root/dsl/presets" && set +f && ls ./*.json | sed 's|^\./||; s|\.json$||')
golden_names=$(cd "$root/tests/golden" && set +f && ls ./*.safetensors | sed 's|^\./||; s|\.safetensors$||')
count() { # NAMES GLOB...: how many of the names a glob chooses
  counted=0 counted_names=$1
  shift
  for one in $counted_names; do
    ! is_chosen "$one" "$@" || counted=$((counted + 1))
  done
  echo $counted
}
num_golden=$(count "$golden_names" $golden) num_presets=$(count "$preset_names" $presets)
num_cases=$(count "$(sed -n 's/^\([a-z0-9-]*\)  *|.*/\1/p' "$variants")" $cases)
num_cases=$((num_cases + $(count "$(sed -n 's/^\([a-z0-9-]*\)  *|.*| *backward .*/\1/p' "$variants")" $cases))) # narrow
set +f
mkdir "$work/trained"
# shellcheck disable=SC2086 # one word per glob
(set -f && python3 "$here/trained.py" table "$here/trained.txt" "$work/trained" ${trained:-none}) >"$work/trained.list"
set -f
num_trained=$(wc -l <"$work/trained.list")
packages=$((2 + num_golden + 2 * num_presets + num_cases + layers + graphs + num_trained))
# KiB packed, measured: 1200 programs and units, 66 a golden case, 80 a preset or layer of real size, 95 a random layer,
# 350 a layer that trains, most of it gradients
estimate=$((1200 + 66 * num_golden + 80 * (num_presets + num_cases) + 95 * (layers + graphs) + 350 * num_trained))
[ $estimate -le $most ] || die 1 "$packages packages are about $estimate KiB, at most $most; set RANDOM_LAYERS lower"
say "$packages packages, about $estimate KiB, at $jobs a time"

cp "$build/bin/moec-cuda-check" "$folder/bin/"
strip "$folder/bin/moec-cuda-check" 2>/dev/null || true
cp -L "$(find "$build" -name libmoec.so | head -n 1)" "$folder/lib/libmoec.so"
set +f
cp "$here"/run.sh "$here"/*.awk "$here"/*.py "$here"/bench/*.py "$folder/"
rm "$folder"/*_test.py
set -f
git -C "$root" rev-parse HEAD >"$folder/commit" 2>/dev/null || echo unknown >"$folder/commit"
"$MOEC" doctor -q 2>/dev/null | sed -n 's/.*ptxas/ptxas/p' | head -n 1 >"$folder/toolkit"
"$build/bin/moec-cuda-units" "$folder/units" >&2

# All packages but those that need another's schedule.
for file in "$here"/specs/hopper-core.json "$here"/specs/hopper-tiles.json; do
  name=$(basename "$file" .json)
  cp "$file" "$folder/core/$name.json"
  echo "1 2 7 17 33 64 130" >"$folder/core/$name.tokens"
  job "$folder/core/$name" "$file" - - --max-tokens 256
done
for name in $preset_names; do
  is_chosen "$name" $presets || continue
  job "$work/whole/$name" "$root/dsl/presets/$name.json" - - --max-tokens 32768 --reports all
done
mkdir "$work/whole"
for name in $golden_names; do
  is_chosen "$name" $golden || continue
  "$folder/bin/moec-cuda-check" spec "$root/tests/golden" "$name" >"$work/$name.json"
  cp "$root/tests/golden/$name.safetensors" "$root/tests/golden/$name.json" "$folder/golden/"
  job "$folder/golden/$name" "$work/$name.json" - - --max-tokens 256
done
seed=1
while [ "$seed" -le "$layers" ]; do
  target=cuda:sm_90a
  [ $((seed % 4)) -ne 0 ] || target=cuda:sm_80 # its PTX, which every later GPU takes
  "$MOEC" verify --random 1 --seed $seed --print-specs >"$folder/random/random_$seed.json"
  job "$folder/random/random_$seed" "$folder/random/random_$seed.json" - - --max-tokens 256 --target $target
  seed=$((seed + 1))
done
found=0 seed=1001
while [ $found -lt $((graphs + graphs / 4)) ]; do # a few more than needed: some layers are not built
  "$MOEC" verify --random 1 --seed $seed --print-specs >"$work/graph.json"
  if "$folder/bin/moec-cuda-check" takes-x-alone "$work/graph.json"; then
    cp "$work/graph.json" "$folder/graph/random_$seed.json"
    job "$folder/graph/random_$seed" "$folder/graph/random_$seed.json" - - --max-tokens 256
    found=$((found + 1))
  fi
  seed=$((seed + 1))
done
while IFS='|' read -r name tokens flags; do
  cp "$work/trained/$name.json" "$folder/backward/"
  echo $tokens >"$folder/backward/$name.tokens"
  job "$folder/backward/$name" "$folder/backward/$name.json" - - --max-tokens 512 $flags
done <"$work/trained.list"
# CASE | PRESET | T checked | T timed | flags | script
grep '|' "$variants" | grep -v '^#' >"$work/variants"
: >"$folder/measured"
: >"$folder/trained"
while IFS='|' read -r case preset checked timed flags script; do
  case=$(echo $case) preset=$(echo $preset)
  is_chosen "$case" $cases || continue
  echo $checked >"$folder/bench/$case.tokens"
  spec=$root/dsl/presets/$preset.json
  case $timed in
  *backward*)
    python3 "$here/trained.py" spec "$spec" "$work/trained/$case.json"
    spec=$work/trained/$case.json
    echo $case $(echo $timed | sed 's/backward *//') >>"$folder/trained"
    echo "$case $flags" >>"$work/narrow" ;;
  *with*) sed -i "/^$(echo $timed | sed 's/with *//') /s/\$/,$case/" "$folder/measured" ;;
  *) echo $case $timed '' >>"$folder/measured" ;;
  esac
  script=$(printf '%s\n' "$script" | sed 's/^ *//; s/ *$//; s/^$/-/')
  job "$folder/bench/$case" "$spec" - "$script" --max-tokens 32768 $flags
  case $timed in *backward*) ;; *) echo "$preset $case" >>"$work/big" ;; esac
done <"$work/variants"
sed -i 's/ ,/ /' "$folder/measured"
touch "$work/big" "$work/narrow"
# A process of run.sh per preset, whose cases share their weights.
awk '{ if (!($1 in names)) order[++n] = $1; names[$1] = names[$1] " " $2 }
  END { for (i = 1; i <= n; ++i) print names[order[i]] }' "$work/big" | sed 's/^ //' >"$folder/big"
compile "packages"

while IFS='|' read -r name tokens flags; do
  job "$folder/backward/$name.gradients" "$folder/backward/$name.json" $tokens
done <"$work/trained.list"
compile "gradients in float64" gradients.sh

# Presets with narrow experts, by the schedules of the whole ones.
for name in $preset_names; do
  is_chosen "$name" $presets || continue
  python3 "$here/narrow.py" spec "$root/dsl/presets/$name.json" "$folder/presets/$name.json"
  python3 "$here/narrow.py" tokens "$work/whole/$name" "$folder/presets/$name.tokens"
  job "$folder/presets/$name" "$folder/presets/$name.json" "$work/whole/$name/schedule.txt" - --max-tokens 32768
done
# Layers that train in the same way: their calls reach the ranges of T that are too slow to check at real size.
: >"$folder/narrow"
while read -r name flags; do
  [ -d "$folder/bench/$name" ] || continue # this version does not build it
  python3 "$here/narrow.py" spec "$work/trained/$name.json" "$folder/bench/$name-narrow.json"
  python3 "$here/narrow.py" tokens "$folder/bench/$name" "$folder/bench/$name-narrow.tokens"
  echo "$name-narrow" >>"$folder/narrow"
  job "$folder/bench/$name-narrow" "$folder/bench/$name-narrow.json" "$folder/bench/$name/schedule.txt" - \
    --max-tokens 32768 $flags
done <"$work/narrow"
compile "narrow layers"

# Cases that this version does not build go; of graph layers those beyond the number.
set +f
for spec in "$folder"/random/*.json "$folder"/graph/*.json; do
  [ ! -e "$spec" ] || [ -d "${spec%.json}" ] || rm "$spec"
done
for file in "$folder"/golden/*.safetensors; do
  [ ! -e "$file" ] || [ -d "${file%.safetensors}" ] || rm "$file" "${file%.safetensors}.json"
done
kept=0
for spec in "$folder"/graph/*.json; do
  [ -e "$spec" ] || continue
  kept=$((kept + 1))
  [ $kept -le "$graphs" ] || rm -r "$spec" "${spec%.json}"
done
[ $kept -ge "$graphs" ] || die 1 "$kept graph layers are built, expected $graphs"

# Every kernel of a preset, and of a layer that trains, must be one of the packages that are checked.
named() { for case in "$1"/*/; do [ ! -d "$case" ] || echo "$(basename "$case")=${case%/}"; done; }
trained_layers() { while read -r case _; do [ ! -d "$folder/bench/$case" ] || echo "$case=$folder/bench/$case"; done; }
for part in core presets golden random backward graph bench; do
  # shellcheck disable=SC2046 # one word per case; paths have no blanks
  python3 "$here/kernel_classes.py" of $part $(named "$folder/$part")
done >"$folder/classes"
# shellcheck disable=SC2046
set -- $(named "$work/whole") $(trained_layers <"$folder/trained")
if [ $# -gt 0 ]; then
  python3 "$here/kernel_classes.py" presets "$@" >"$folder/preset-classes"
  python3 "$here/kernel_classes.py" missing "$folder/classes" "$folder/preset-classes" >&2 ||
    die 1 "kernels of presets are in no package that is checked"
  say "$(wc -l <"$folder/preset-classes") classes of kernels that presets have, $(grep -c '^[^ ]* backward ' \
    "$folder/preset-classes") of backward passes, each in a package that is checked"
fi
for part in core presets golden random backward graph; do
  rm -f "$folder/$part"/*/manifest.json "$folder/$part"/*/schedule.txt "$folder/$part"/*/spec.json
done

check_size "all packages"
say "packing $(du -sk "$folder" | cut -f1) KiB, $(($(date +%s) - began)) s"
tar c --sort=name --owner=0 --group=0 --mtime=@0 -C "$work" moec-cuda-bundle | xz -9 -T0 >"$out.tmp"
kib=$(($(wc -c <"$out.tmp") / 1024))
[ $kib -le $most ] || { rm "$out.tmp"; die 1 "$kib KiB packed, at most $most"; }
mv "$out.tmp" "$out"
say "$out: $kib KiB, $(($(date +%s) - began)) s"
