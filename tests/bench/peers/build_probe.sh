#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/bench/peers/build_probe.sh BUILD OUT -> OUT, the shared library that probe.py loads: the ceilings of moec
# bench without LLVM, linked against libmoec.so of the build folder BUILD. CXX names the compiler (c++).
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd) || exit 8
build=$(cd "$1" && pwd) || exit 8
# shellcheck disable=SC2086 # CXX may have flags
${CXX:-c++} -std=c++20 -O3 -fPIC -shared -pthread -Wl,-z,defs -I"$root" -o "$2" "$root/tests/bench/peers/probe.cpp" \
  "$root/codegen/Machine.cpp" "$root/codegen/bench/Ceilings.cpp" "$root/codegen/bench/CeilingKernels.cpp" \
  "$root/codegen/bench/RatioInterval.cpp" -L"$build/lib" -lmoec -Wl,-rpath,"$build/lib"
