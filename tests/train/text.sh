# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh text.sh PYTHON FOLDER: the texts of the example are what its script makes.
set -eu
work=$(mktemp -d "${TMPDIR:-/tmp}/moec-text-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$1" "$2/make_text.py" "$work"
cmp "$work/log.txt" "$2/log.txt"
cmp "$work/songs.txt" "$2/songs.txt"
