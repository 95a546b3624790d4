#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tiles_test.sh MOEC CASE... -> layers of trained.txt on the emulator, every gradient: what a GPU is asked to run must
# be right by the book first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
moec=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PYTHONDONTWRITEBYTECODE=1 python3 "$here/trained.py" table "$here/trained.txt" "$folder" "$@" >"$folder/list"
while IFS='|' read -r name _ flags; do
  # shellcheck disable=SC2086 # one word per flag
  "$moec" verify "$folder/$name.json" --grad --emulate ${flags:---target cuda:sm_90a} --tokens 40 --seeds 1 -q </dev/null
done <"$folder/list"
