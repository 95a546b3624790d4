#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh package.sh CASE SPEC SCHEDULE SCRIPT FLAG... -> CASE/lib*.so, manifest.json, schedule.txt, spec.json of the layer
# SPEC, and the spec as CASE.json where there is none. SCHEDULE `-`: the layer's own; SCRIPT, where it is not `-`, a sed
# script for it. Nothing appears where this version does not build the layer. For bundle.sh, which sets:
#
#   MOEC, MOEC_HASH   the compiler and its sha256
#   CACHE             finished packages by the hash of compiler, spec, schedule and flags; an entry appears whole
#   FINISHED          a file that gets a line when the case is there; may be missing
set -eu
case=$1 spec=$2 schedule=$3 script=$4
shift 4
case " $* " in *" --target "*) ;; *) set -- "$@" --target cuda:sm_90a ;; esac

# entry SCHEDULE FLAG... -> the folder in CACHE, made where it is missing
entry() {
  text=$1
  shift
  key=$({ echo "$MOEC_HASH" "$@"; cat "$spec"; [ "$text" = - ] || cat "$text"; } | sha256sum | cut -c1-40)
  if [ ! -e "$CACHE/$key" ]; then
    made=$CACHE/tmp.$$
    rm -rf "$made"
    code=0
    [ "$text" = - ] || set -- "$@" --schedule "$text"
    "$MOEC" compile "$spec" -q --emit shared "$@" -o "$made" >/dev/null 2>"$case.err" || code=$?
    case $code in
    0) ;;
    4) mkdir "$made" && : >"$made/not-built"
      echo "package.sh: $case is left out: $(head -n 1 "$case.err")" >&2 ;;
    *) echo "package.sh: $case: moec compile ended with code $code" >&2
      cat "$case.err" >&2
      exit 1 ;;
    esac
    rm -f "$case.err"
    mv "$made" "$CACHE/$key" 2>/dev/null || rm -rf "$made" # another process was faster
  fi
  echo "$CACHE/$key"
}

made=$(entry "$schedule" "$@")
if [ "$script" != - ]; then
  own=$(echo "$made"/share/*/schedule.txt)
  sed "$script" "$own" >"$case.schedule"
  if cmp -s "$own" "$case.schedule"; then
    echo "package.sh: $case: the script $script changes nothing in its schedule" >&2
    exit 1
  fi
  made=$(entry "$case.schedule" "$@")
  rm "$case.schedule"
fi
if [ ! -e "$made/not-built" ]; then
  mkdir -p "$case"
  cp "$made"/lib/*.so "$case/"
  find "$made"/share/* -maxdepth 1 -type f -exec cp {} "$case/" \; # what it was made from stays behind
  [ -e "$case.json" ] || cp "$case/spec.json" "$case.json"
fi
[ -z "${FINISHED:-}" ] || echo . >>"$FINISHED"
