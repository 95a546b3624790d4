#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs what is missing, builds everything into build/ and runs every test; ends with ctest's summary.
set -eu
cd "$(dirname "$0")/.."
. tests/install.sh
moec_install tests
moec_build release build
exec ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
