#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The long sweep, apart from tests/run.sh: dsl, runtime and generated kernels under asan + ubsan, then under tsan. The
# compiler itself is built without sanitizers; it makes the packages that the sanitized builds run.
set -eu
cd "$(dirname "$0")/.."
. tests/install.sh
moec_install tests
moec_build release build
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
status=0
for preset in asan tsan; do
  moec_build "$preset" "build-$preset"
  ctest --test-dir "build-$preset" --output-on-failure -j "$(nproc)" "$@" || status=$?
done
exit "$status"
