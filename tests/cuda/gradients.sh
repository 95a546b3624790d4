#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh gradients.sh OUT SPEC T... -> OUT, calls of so many tokens of the layer SPEC and their gradients in float64. For
# bundle.sh, which sets:
#
#   GRADIENTS, GRADIENTS_HASH   moec-cuda-gradients and its sha256
#   TEMPLATES                   the folder of templates, with the derivatives
#   CACHE                       finished files by the hash of program, spec and T; an entry appears whole
#   FINISHED                    a file that gets a line when OUT is there; may be missing
set -eu
out=$1 spec=$2
shift 2
key=$({ echo "$GRADIENTS_HASH" "$@"; cat "$spec"; } | sha256sum | cut -c1-40)
if [ ! -e "$CACHE/$key" ]; then
  "$GRADIENTS" "$spec" "$CACHE/tmp.$$" "$TEMPLATES" "$@"
  mv "$CACHE/tmp.$$" "$CACHE/$key"
fi
cp "$CACHE/$key" "$out"
[ -z "${FINISHED:-}" ] || echo . >>"$FINISHED"
