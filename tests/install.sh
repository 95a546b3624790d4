# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by tests/run.sh, tests/sanitize.sh and examples/quickstart.sh: installs missing packages with apt-get, and
# builds.
moec_packages='cmake ninja-build ccache g++ clang-22 lld-22 llvm-22-dev libmlir-22-dev mlir-22-tools nlohmann-json3-dev
libcli11-dev'
moec_test_packages='clang-format-22 llvm-22-tools libgtest-dev make pkg-config python3 python3-numpy'
moec_browser=chromium # one test looks at a report with it, and is skipped without it

moec_has() {
  status=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) && [ "$status" = installed ]
}

# Installs what the compiler needs; `moec_install tests` also what the tests need. Does nothing if nothing is missing.
moec_install() {
  packages=$moec_packages
  [ "${1:-}" != tests ] || packages="$packages $moec_test_packages"
  missing=
  for package in $packages; do
    moec_has "$package" || missing="$missing $package"
  done
  [ -z "$missing" ] || moec_install_packages "$missing" || return
  if [ "${1:-}" = tests ] && ! moec_has $moec_browser && apt-cache show $moec_browser >/dev/null 2>&1; then
    moec_install_packages " $moec_browser" || echo "going on without $moec_browser: cli.browser will be skipped" >&2
  fi
}

moec_install_packages() {
  missing=$1
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
  [ -n "${moec_updated:-}" ] || $as_root apt-get update -qq >&2 || return 5
  moec_updated=yes
  # shellcheck disable=SC2086 # one word per package
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 || {
    echo "apt-get could not install$missing; the package sources must offer LLVM 22 (README.md says where it comes from)" >&2
    return 5
  }
}

# Configures the preset $1 in the folder $2 and builds everything, tests included; a second run finds nothing to do.
moec_build() {
  grep -qs '^MOEC_BUILD_TESTS:BOOL=ON' "$2/CMakeCache.txt" || cmake --preset "$1" -DMOEC_BUILD_TESTS=ON >&2 || return
  cmake --build --preset "$1" >&2
}

# Configures and builds only the compiler and the runtime. A new folder is configured without tests; moec_build in the
# same folder adds them later and builds nothing twice.
moec_build_tools() {
  [ -f "$2/build.ninja" ] || cmake --preset "$1" -DMOEC_BUILD_TESTS=OFF >&2 || return
  cmake --build --preset "$1" --target moec moec-run moec_runtime moec_runtime_shared >&2
}
