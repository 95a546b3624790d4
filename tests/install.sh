# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by tests/run.sh and examples/quickstart.sh: installs with apt-get what is missing, and does nothing otherwise.
moec_packages='cmake ninja-build ccache g++ clang-22 clang-format-22 lld-22 llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools
nlohmann-json3-dev libcli11-dev libgtest-dev pkg-config python3'

moec_install() {
  missing=
  for package in $moec_packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
    [ "$status" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  echo "installing:$missing" >&2
  as_root=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
      echo "sudo is not installed; run this as root, then start again:" >&2
      echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
      return 1
    }
    as_root=sudo
  fi
  $as_root apt-get update -qq >&2 || return 5
  # shellcheck disable=SC2086 # one word per package
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 || {
    echo "apt-get could not install$missing; the package sources must offer LLVM 22" >&2
    return 5
  }
}

# Configures and builds the preset $1 in the current folder; a second run finds nothing to do.
moec_build() {
  [ -f "$2/build.ninja" ] || cmake --preset "$1" >&2 || return
  cmake --build --preset "$1" >&2
}
