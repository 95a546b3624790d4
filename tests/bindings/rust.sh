# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh rust.sh SOURCE BUILD MOEC CARGO FAKE_CUDA NOISY MASKED SLOTTED: the Rust crates, without a network: their tests and documented
# examples, nothing to complain about for the compiler, rustdoc, clippy and rustfmt, the static and the shared library.
# FAKE_CUDA is the library of fake_cuda.cpp, NOISY the package of noisy.json, MASKED that of masked.json, SLOTTED that of
# slotted.json. Everything is built in BUILD/rust.
set -eu
source_dir=$1
build=$2
moec=$3
cargo=$4
export MOEC_TEST_CUDA="$5" MOEC_TEST_NOISY="$6" MOEC_TEST_MASKED="$7" MOEC_TEST_SLOTTED="$8"
crates=$source_dir/runtime/bindings/rust
export CARGO_TARGET_DIR="$build/rust" CARGO_NET_OFFLINE=true MOEC_LIB_DIR="$build/lib" RUST_BACKTRACE=0
unset MOEC_LINK MOEC_MAX_ISA
mkdir -p "$build/rust"
# What later versions warn of does not fail the suite.
linted=no
case $("$cargo" --version) in
  'cargo 1.95.'*)
    linted=yes
    export RUSTFLAGS='-D warnings' RUSTDOCFLAGS='-D warnings'
    ;;
esac
export MOEC_TEST_PACKAGE="$build/rust/tiny"
"$moec" -q compile "$source_dir/examples/tiny.json" --emit both --force -o "$MOEC_TEST_PACKAGE" >/dev/null
cd "$crates"
say() { printf '== %s\n' "$*"; }
quietly() { "$@" >"$build/rust/log" 2>&1 || { cat "$build/rust/log"; exit 1; }; }

say tests
quietly "$cargo" test --locked --all-targets
grep 'test result' "$build/rust/log" | awk '{ passed += $4 } END { print passed " tests passed"; exit passed < 29 }'

# Only with RUSTC_BOOTSTRAP does rustdoc compare the code of a compile_fail block with the error.
say 'documented examples, and misuse that must not compile'
RUSTC_BOOTSTRAP=1 quietly "$cargo" test --locked --doc
grep 'test result' "$build/rust/log" | awk '{ passed += $4 } END { print passed " examples as documented"; exit passed < 14 }'
quietly "$cargo" doc --locked --no-deps

say 'the program of examples/hello.rs'
cat >"$build/rust/hello.txt" <<'END'
  0.512   0.302   0.008   0.037  -0.344  -0.146   0.157   0.464
 -0.638   0.755   0.791   0.798  -0.268  -1.483   0.614  -0.207
END
"$cargo" run -q --locked --example hello "$MOEC_TEST_PACKAGE" | diff "$build/rust/hello.txt" -

say 'libmoec: shared, through pkg-config, and not there'
unset MOEC_LIB_DIR
LD_LIBRARY_PATH="$build/lib" MOEC_LINK=shared PKG_CONFIG_PATH="$build/lib/pkgconfig" "$cargo" run -q --locked --example hello \
  --target-dir "$build/rust/shared" "$MOEC_TEST_PACKAGE" | diff "$build/rust/hello.txt" -
for case in 'MOEC_LIB_DIR=/nowhere|moec-sys: /nowhere/libmoec.so does not exist' \
  'PKG_CONFIG=/nowhere/pkg-config|set MOEC_LIB_DIR to the folder of libmoec' \
  "PKG_CONFIG_LIBDIR=/nowhere|set MOEC_LIB_DIR to the folder of libmoec" \
  'MOEC_LIB_DIR=/ MOEC_LINK=dynamic|MOEC_LINK is "dynamic", expected static or shared'; do
  # shellcheck disable=SC2086 # one word per variable
  if env ${case%%|*} "$cargo" build -q --locked --target-dir "$build/rust/absent" >"$build/rust/log" 2>&1; then
    echo "built with ${case%%|*}"
    exit 1
  fi
  grep -qF "${case#*|}" "$build/rust/log" || { cat "$build/rust/log"; exit 1; }
done
export MOEC_LIB_DIR="$build/lib"

# lint NAME COMMAND...
lint() {
  if [ $linted = no ] || ! "$cargo" "$1" --version >/dev/null 2>&1; then
    echo "SKIPPED: cargo $1 of Rust 1.95 is not here"
    return
  fi
  say "$1"
  quietly "$cargo" "$@"
}
lint clippy --locked --all-targets
lint fmt --check
