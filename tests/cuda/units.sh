#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/cuda/units.sh MOEC_CUDA_UNITS -> every unit kernel is built, emulated without a finding and assembled.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
"$1" "$folder"
code=$?
[ $code -eq 5 ] && exit 77 # skipped: there is no ptxas
exit $code
