# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh cpp_header.sh SOURCE: moec.hpp, and a program that uses all of it, have nothing that a compiler complains about.
set -eu
source_dir=$1
tried=0
for cxx in g++-12 clang++-22 "${CXX:-c++}"; do
  command -v "$cxx" >/dev/null 2>&1 || { echo "SKIPPED: $cxx is not here"; continue; }
  tried=$((tried + 1))
  for mode in '-std=c++17 -fno-exceptions -fno-rtti' '-std=c++17' '-std=c++20' '-std=c++23'; do
    # shellcheck disable=SC2086 # one word per flag
    "$cxx" $mode -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fsyntax-only -I"$source_dir/runtime" \
      -I"$source_dir/runtime/bindings/cpp" "$source_dir/tests/bindings/cpp_header.cpp" || {
      echo "$cxx $mode"
      exit 1
    }
  done
done
echo "moec.hpp compiles silently with $tried compilers"
