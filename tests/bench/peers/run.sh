#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/bench/peers/run.sh [OPTION...] -> moec beside other implementations of the same layers on this CPU: a table
# of ratios and a JSON file. Needs moec built in build/ (sh examples/quickstart.sh does that), Python from 3.10 with
# venv, and what pip may install into a folder of its own. Not part of the product or of its tests.
#
#   --venv DIR       folder of the Python environment; default build/peers. Kept for the next run
#   --no-install     use DIR as it is
#   --layers LIST    presets of bf16 SwiGLU experts, or spec files; default qwen3-30b-a3b,deepseek-v2-lite,mixtral-8x7b
#   --peers LIST     of eager,grouped_mm,zentorch,kt-kernel,onednn; default all
#   --tokens LIST    default 1,2,4,8,16,32,64,128,256,512,1024,4096
#   --threads LIST   default 1,2
#   --skew NAME      uniform or zipf; default uniform
#   --pairs N        pairs of calls that must count per T; default 15
#   --seconds N      and how long to wait for them; default 24
#   --tuning FILE    records of moec tune for moec's side, besides those that ship with moec
#   -o DIR           where peers.md and peers.json go; default DIR of --venv
#
# PYTHON names the interpreter that makes the environment (python3), CXX the C++ compiler (c++). pip takes its index
# from its own settings. A peer that cannot be installed, fails or crashes is skipped with the reason.
#
# Exit: 0 measured, 1 moec's output was wrong, a layer is refused, or nothing was measured, 2 usage, 5 no Python
# environment or no PyTorch, 8 a file cannot be written.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 8
root=$(cd "$here/../../.." && pwd) || exit 8
peers=eager,grouped_mm,zentorch,kt-kernel,onednn
venv=$root/build/peers install=yes out=

# name version, as pip takes it; changing a line installs again
torch='torch==2.14.0 numpy'
zentorch='zentorch==2.14.0.1'
kt_kernel='kt-kernel==0.7.2' # asks for an older torch, which it does not need: installed without dependencies
kt_needs='gguf>=0.17.0 safetensors>=0.4.0'

manual() { sed -n '4,/^set -u/{/^#/s/^# \{0,1\}//p}' "$here/run.sh"; }
usage() {
  echo "run.sh: $*" >&2
  manual >&2
  exit 2
}
refuse() { status=$1; shift; echo "run.sh: $*" >&2; exit "$status"; }
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac }

# What compare.py reads is kept as its arguments.
set -- "$@" --end
while [ "$1" != --end ]; do
  case $1 in
    --venv | --layers | --peers | --tokens | --threads | --skew | --pairs | --seconds | --tuning | -o)
      [ "$2" != --end ] || usage "$1 needs a value" ;;
  esac
  case $1 in
    --venv) venv=$(absolute "$2"); shift 2 ;;
    --no-install) install=; shift ;;
    -o) out=$(absolute "$2"); shift 2 ;;
    --peers) peers=$2; shift 2 ;;
    --tuning) set -- "$@" "$1" "$(absolute "$2")"; shift 2 ;;
    --layers | --tokens | --threads | --skew | --pairs | --seconds) set -- "$@" "$1" "$2"; shift 2 ;;
    -h | --help) manual; exit ;;
    *) usage "found $1" ;;
  esac
done
shift
out=${out:-$venv}

for peer in $(echo "$peers" | tr , ' '); do
  case $peer in eager | grouped_mm | zentorch | kt-kernel | onednn) ;; *) usage "found peer $peer" ;; esac
done
has() { case ,$peers, in *,"$1",*) return 0 ;; esac; return 1; }

for file in bin/moec lib/libmoec.so; do
  [ -e "$root/build/$file" ] || refuse 5 "build/$file does not exist; sh examples/quickstart.sh builds moec"
done
mkdir -p "$venv" "$out" || refuse 8 "$venv or $out cannot be made"
exec 9>"$venv/lock" || refuse 8 "$venv/lock cannot be written"
flock -n 9 || refuse 8 "another run uses $venv; wait for it, or name another folder with --venv"
notes=$venv/notes # a line "peer: reason" for each peer that cannot run
: >"$notes" || refuse 8 "$notes cannot be written"
# note PEER LOG REASON: the last line of pip or the compiler that says anything, or REASON.
note() {
  said=$(grep -iE 'error|fatal|no module' "$2" 2>/dev/null | tail -n 1)
  echo "$1: ${3}${said:+: $said}" >>"$notes"
  echo "run.sh: going on without $1: ${3}${said:+: $said}" >&2
}

python=$venv/venv/bin/python
log=$venv/install.log
installed=$venv/venv/installed
# get FLAGS... REQUIREMENT...: installs, unless the same words were installed here before.
get() {
  grep -qsxF -- "$*" "$installed" && return
  [ "$install" ] || return 1
  echo "installing $*" >&2
  "$python" -m pip install --disable-pip-version-check "$@" >"$log" 2>&1 && echo "$*" >>"$installed"
}
if [ "$install" ] && [ ! -x "$python" ]; then
  "${PYTHON:-python3}" -m venv "$venv/venv" >"$log" 2>&1 || {
    cat "$log" >&2
    refuse 5 "no Python environment in $venv/venv; on Debian the package python3-venv has what is missing"
  }
fi
# shellcheck disable=SC2086 # one word per requirement
{
  if [ "$install" ]; then
    get $torch || {
      cat "$log" >&2
      refuse 5 "pip could not install $torch, which also makes weights and answers"
    }
    ! has zentorch || get $zentorch || note zentorch "$log" "pip could not install $zentorch"
    ! has kt-kernel || { get --no-deps $kt_kernel && get $kt_needs; } ||
      note kt-kernel "$log" "pip could not install $kt_kernel"
  fi
}
"$python" -c 'import torch' 2>"$log" || refuse 5 "$python cannot import torch: $(tail -n 1 "$log")"

cxx=${CXX:-c++}
sh "$here/build_probe.sh" "$root/build" "$venv/libpeers_probe.so" ||
  refuse 8 "$cxx could not build $venv/libpeers_probe.so"
if has onednn; then
  rm -f "$venv/libpeers_onednn.so"
  if ! echo '#include <oneapi/dnnl/dnnl.hpp>' | $cxx -std=c++20 -E -x c++ - >/dev/null 2>"$log"; then
    note onednn /dev/null "its headers are missing; on Debian: apt-get install libdnnl-dev"
  else
    # shellcheck disable=SC2086
    $cxx -std=c++20 -O3 -march=native -fopenmp -fPIC -shared -o "$venv/libpeers_onednn.so" "$here/onednn.cpp" -ldnnl \
      2>"$log" || note onednn "$log" "$cxx could not build onednn.cpp"
  fi
fi

exec "$python" -B "$here/compare.py" --build "$root/build" --work "$venv" --out "$out" --peers "$peers" "$@"
