#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh run_test.sh FOLDER FAKE_DRIVER_FOLDER -> run.sh on the small bundle of FOLDER with a driver without a GPU
# (libcuda.c): every way a run can go wrong gives a file of results that names the case, and the exit code of its kind.
# Exit 77: there is no bundle.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 driver=$2
bundle=$folder/moec-cuda-bundle
[ -d "$bundle" ] || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH="$driver" MOEC_FAKE_CUDA_ANSWERS="$bundle/units"
failed=0

# run NAME CODE [VARIABLE=VALUE...] -- PART...: the command, its exit code compared; results in $work/NAME
run() {
  name=$1 want=$2 settings=
  shift 2
  while [ "$1" != -- ]; do settings="$settings $1"; shift; done
  shift
  code=0
  # shellcheck disable=SC2086 # one word per setting
  env $settings sh "$here/../run.sh" "$bundle" "$work/$name" "$@" >"$work/$name.out" 2>&1 || code=$?
  [ "$code" -eq "$want" ] || bad "exit $code, expected $want"
}
bad() {
  echo "FAIL $name: $*"
  tail -n 15 "$work/$name.out"
  failed=1
}
has() { # PATTERN [FILE]
  grep -qE -- "$1" "$work/$name/${2:-results.txt}" || bad "no line $1 in ${2:-results.txt}"
}
hasnt() { ! grep -qE -- "$1" "$work/$name/results.txt" || bad "a line $1"; }

# Kernels that write what they should: green.
run green 0 -- units
has '^pass unit wgmma_n128_bf16: 0 of 8192 words differ'
has '^finished .* 0 failed, .* exit 0$'

# Sums of products may be off by 2^-20 of the magnitudes they add, and by no more.
for share in 5e-7 2e-6; do
  mkdir "$work/units$share"
  python3 "$here/shift_unit.py" "$bundle/units/wgmma_n64_bf16.unit" "$work/units$share/wgmma.unit" $share
done
run near 1 MOEC_FAKE_CUDA_ANSWERS="$work/units5e-7" -- units
has '^pass unit wgmma_n64_bf16: 0 of 4096 words differ'
run far 1 MOEC_FAKE_CUDA_ANSWERS="$work/units2e-6" -- units
has '^FAIL unit wgmma_n64_bf16: [0-9]+ of 4096 words differ'

# Kernels that do nothing: every case is red by its name, the measured times of wrong kernels too; what did not run is
# listed.
run nothing 1 MOEC_FAKE_CUDA_ANSWERS= --
has '^FAIL unit fma: 128 of 128 words differ'
has '^FAIL core hopper-core: T=1: y of token 0 is not written or not finite'
has '^FAIL presets small-4x1: '
has '^FAIL golden mixtral-f32: logits'
has '^FAIL big small-4x1-det-off: '
has '^FAIL backward rows-f16: '
has '^FAIL backward-unwatched odd-f32: '
has '^FAIL trained small-4x1-trained: T=8: y of token 0 is not written'
has '^FAIL trained small-4x1-trained-narrow: T=1: y of token 0 is not written'
has '^call small-4x1-trained/backward 8 [0-9.]*$'
has '^stage small-4x1-trained/backward 8 moec_small_4x1.*wgrad'
has '^FAIL profile small-4x1-trained: T=8: values of y .*; values of gradients are not written'
has '^FAIL random random_1: '
has '^FAIL graph random_[0-9]*: T=1: a plain call leaves values of y unwritten'
has '^stage small-4x1 1 moec_small_4x1__[0-9]*_combine [0-9]+ [0-9]+ [0-9]+ -1 [0-9.]+$'
has '^FAIL profile small-4x1: T=1: values of y are not written'
has '^skip bench: '
has '^FAIL classes: [0-9]* of [0-9]* kernels of presets did not run'
has '^MISSING sm_90a rows combine .*\[small-4x1\]$' classes.txt
has '^MISSING sm_90a backward matmul .*experts_down_dgrad.*\[small-4x1-trained\]$' classes.txt
has '^small-4x1  *uniform  *1  *[0-9.]* ' bench.txt
has '^small-4x1-trained  *8  *backward  *[0-9.]* ' bench.txt
[ "$(find "$work/nothing" -type f | wc -l)" -le 8 ] || bad "more than 8 files of results"

# A kernel that never ends: its case ends, is named with its kernel, and the cases behind it run.
run hang 1 MOEC_FAKE_CUDA_DOES=hang MOEC_FAKE_CUDA_AT=mixtral__1_ MOEC_HANG_AFTER=1 -- golden-watched
has '^FAIL golden mixtral-f32: hang: kernel moec_mixtral__1_route_front_t0 grid [0-9]+ block [0-9]+ shared [0-9]+: not ended after 1 s'
has '^FAIL golden olmoe-f32: logits'

# Launches that overlap: the kernel is one of those that were not waited for.
run overlap 1 MOEC_FAKE_CUDA_DOES=hang MOEC_FAKE_CUDA_AT=mixtral__1_ MOEC_HANG_AFTER=1 -- golden-unwatched
has '^FAIL golden mixtral-f32: hang: one of [0-9]+ launches, in their order: .*kernel moec_mixtral__1_route_front_t0 grid '
has '^FAIL golden olmoe-f32: logits'

# A fault stays in its process: the cases behind it do not fail with it.
run fault 1 MOEC_FAKE_CUDA_DOES=fault MOEC_FAKE_CUDA_AT=mixtral__1_ -- golden-watched
has '^FAIL golden mixtral-f32: fault: kernel moec_mixtral__1_route_front_t0 grid .*: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)$'
has '^FAIL golden olmoe-f32: logits'
[ "$(grep -c 'CUDA_ERROR' "$work/fault/results.txt")" -eq 1 ] || bad "other cases fail with the fault of one"

# In one of sixteen processes.
run random_fault 1 MOEC_FAKE_CUDA_DOES=fault MOEC_FAKE_CUDA_AT=random_1__ -- random
has '^FAIL random random_1: fault: kernel moec_random_1__'
has '^FAIL random random_2: '

# A part that is over: the case under way is named; nothing else failed. The check itself may take seconds to start.
run limit 9 MOEC_FAKE_CUDA_DOES=hang MOEC_FAKE_CUDA_AT=__0_ MOEC_HANG_AFTER=60 MOEC_SECONDS_golden_watched=5 -- \
  units golden-watched
hasnt '^FAIL unit'
has '^FAIL golden-watched: the time of the part is over, at case mixtral-f32$'
has ' exit 9$'

# The whole run is over.
run total 9 MOEC_SECONDS=0 -- units
has '^FAIL units: not run, the time of the run is over'

# Three hangs stop a part, and the next one runs.
run three 1 MOEC_FAKE_CUDA_DOES=hang MOEC_FAKE_CUDA_AT=__0_ MOEC_HANG_AFTER=1 -- golden-watched units
[ "$(grep -c '^FAIL golden .*: hang: ' "$work/three/results.txt")" -eq 3 ] || bad "not three hangs"
has '^FAIL golden-watched: stopped after three hangs; the cases behind qwen3_moe-bf16 are not run$'
has '^pass unit fma: '

# What memcheck says of a red core case comes at once; here a tool that finds something.
mkdir "$work/tools"
printf '#!/bin/sh\necho "Invalid __global__ write of size 4 bytes"\nexit 9\n' >"$work/tools/compute-sanitizer"
chmod +x "$work/tools/compute-sanitizer"
run memcheck 1 PATH="$work/tools:$PATH" -- core sanitizer
has '^FAIL core-unwatched hopper-core: '
has '^Invalid __global__ write of size 4 bytes$'
[ "$(grep -c '^FAIL sanitizer memcheck: hopper-core: exit code 9' "$work/memcheck/results.txt")" -eq 2 ] ||
  bad "not two lines of memcheck"
has '^FAIL sanitizer racecheck: hopper-core: exit code 9'

# No line is lost without a word: a disk that is full ends the run.
mkdir "$work/full"
ln -s /dev/full "$work/full/results.txt"
run full 8 -- units
grep -q 'full/results.txt cannot be written: is the disk full?' "$work/full.out" || bad "the full disk is not said"
name=full_in_check
code=0
"$bundle/bin/moec-cuda-check" unit "$bundle/units" >/dev/full 2>"$work/$name.out" || code=$?
[ $code -eq 8 ] || bad "exit $code, expected 8"

# No driver, no device.
mkdir "$work/none"
: >"$work/none/libcuda.so.1"
run no_driver 6 LD_LIBRARY_PATH="$work/none" --
has '^FAIL device: moec-cuda-check: MOEC_UNSUPPORTED_DEVICE: no NVIDIA driver'
run no_device 6 MOEC_FAKE_CUDA_DEVICES=0 --
has '^FAIL device: .*CUDA error 100$'

# A bundle that is none, results that are there, parts that are unknown.
echo none >"$work/bundle.tar.xz"
good=$bundle
bundle=$work/bundle.tar.xz
run unreadable 8 --
grep -q 'bundle.tar.xz cannot be unpacked' "$work/unreadable.out" || bad "the bundle is not named"
bundle=$work/missing.tar.xz
run missing 8 --
bundle=$folder/bundle.tar.xz # packed
run packed 0 -- device
bundle=$good
run green 8 -- units
grep -q 'results.txt exists' "$work/green.out" || bad "results are overwritten"
run part 2 -- unit
name=nothing_given
code=0
sh "$here/../run.sh" "$bundle" >"$work/$name.out" 2>&1 || code=$?
[ $code -eq 2 ] || bad "exit $code, expected 2"

# A class of kernels that no checked package has is said.
name=classes
grep -q '^bench/small-4x1-trained-narrow moec_small_4x1__.*_dgrad_t.* sm_90a backward ' "$bundle/classes" ||
  bad "no kernel of the layer that trains with narrow experts"
grep -v '^presets/\|^bench/' "$bundle/classes" >"$work/classes"
code=0
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/../kernel_classes.py" missing "$work/classes" "$bundle/preset-classes" >"$work/classes.out" || code=$?
[ $code -eq 1 ] && grep -q '^MISSING sm_90a ' "$work/classes.out" || bad "exit $code, expected 1 and names"
grep -q '^MISSING sm_90a backward matmul ' "$work/classes.out" || bad "expected names of kernels of backward passes"
[ $failed -eq 0 ] && echo "run.sh: all as expected"
exit $failed
