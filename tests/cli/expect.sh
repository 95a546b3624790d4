# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by the tests of this folder, which run as `sh NAME.sh MOEC SOURCE_DIR` in an empty folder of their own.
#
#   run WORD...         runs moec; then $status, out (stdout) and err (stderr) are what it did
#   expect_status N     expect_out TEXT, expect_err TEXT: the whole text, without the last line end
set -u
moec=$1
source_dir=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/moec-cli-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset NO_COLOR MOEC_MAX_ISA
failures=0
last=

run() {
  last="moec $*"
  "$moec" "$@" >out 2>err </dev/null
  status=$?
}

complain() {
  failures=$((failures + 1))
  printf 'FAILED after: %s\n%s\n' "$last" "$1"
  printf -- '--- status %s, stdout\n' "$status"
  head -40 out
  printf -- '--- stderr\n'
  head -40 err
}

expect_status() { [ "$status" = "$1" ] || complain "expected status $1"; }
expect_out() { [ "$(cat out)" = "$1" ] || complain "expected stdout:
$1"; }
expect_err() { [ "$(cat err)" = "$1" ] || complain "expected stderr:
$1"; }
expect_in() { grep -qF -- "$2" "$1" || complain "expected in $1: $2"; }
expect_that() { # expect_that TEXT COMMAND...: the command succeeds
  what=$1
  shift
  "$@" || complain "expected: $what"
}
wait_until() { # wait_until SECONDS COMMAND...: tries it ten times a second; fails if it never succeeds
  tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    sleep 0.1
  done
}
done_testing() { [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }; }
