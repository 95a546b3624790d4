#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/style/format.sh ROOT [--fix] -> every C and C++ file is as clang-format-22 leaves it; with --fix it is then.
set -eu
cd "$1"
command -v clang-format-22 >/dev/null || { echo "clang-format-22 is not installed"; exit 77; }
mode='--dry-run -Werror'
[ "${2:-}" != --fix ] || mode=-i
# shellcheck disable=SC2086 # two words
find dsl codegen runtime templates examples tests \( -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.c' \) -print0 |
  xargs -0 clang-format-22 $mode
