# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh package.sh SOURCE BUILD CMAKE: installs moec from BUILD into a folder of its own, then uses a package of
# examples/tiny.json as other people would: through CMake (static and shared), pkg-config and dlopen. The program of
# examples/quickstart checks the results in each of them.
set -eu
source_dir=$1
build=$2
cmake=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/moec-e2e-XXXXXX")
trap 'rm -rf "$work"' EXIT
say() { printf '== %s\n' "$*"; }

say install
"$cmake" --install "$build" --prefix "$work/prefix" >/dev/null
for file in bin/moec bin/moec-run include/moec.h include/moec_abi.h include/moec_cuda_abi.h include/moec_dtype.h \
  include/moec.hpp include/moec/layer.hpp share/moec/layer.schema.json lib/libmoec.a lib/libmoec.so lib/cmake/moec/moecConfig.cmake \
  lib/cmake/moec/moecTargets.cmake lib/cmake/moec/moecConfigVersion.cmake lib/cmake/moec/moecAddLayer.cmake \
  lib/pkgconfig/moec.pc share/doc/moec/LICENSE share/doc/moec/NOTICE share/moec/layer.schema.json; do
  [ -e "$work/prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
if grep -rn "$source_dir" "$work/prefix/lib/cmake" "$work/prefix/lib/pkgconfig"; then
  echo 'an installed file names the source folder'
  exit 1
fi
moec=$work/prefix/bin/moec
version=$("$moec" --version)
version=${version#moec }
minor=${version%.*} next=${version%%.*}.$((${minor#*.} + 1))
[ "$(readelf -d "$work/prefix/lib/libmoec.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" = "libmoec.so.$minor" ] || {
  echo "libmoec.so has another name than libmoec.so.$minor"
  exit 1
}

say 'the runtime with a C compiler alone'
"$cmake" -S "$source_dir" -B "$work/runtime-build" -DMOEC_RUNTIME_ONLY=ON -DCMAKE_C_COMPILER=cc \
  -DCMAKE_CXX_COMPILER=/nonexistent -DCMAKE_INSTALL_PREFIX="$work/runtime" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/runtime-build" --target install -j 2 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
[ ! -e "$work/runtime/bin" ] && [ -e "$work/runtime/lib/libmoec.so.$minor" ] && [ -e "$work/runtime/share/doc/moec/NOTICE" ]

for kind in STATIC SHARED; do
  say "CMake, $kind"
  "$cmake" -S "$source_dir/examples/quickstart" -B "$work/$kind" -DCMAKE_PREFIX_PATH="$work/prefix" \
    -DQUICKSTART_SPEC="$source_dir/examples/tiny.json" -DQUICKSTART_KIND=$kind >"$work/log" || { cat "$work/log"; exit 1; }
  "$cmake" --build "$work/$kind" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  "$work/$kind/quickstart"
  "$cmake" --build "$work/$kind" >"$work/log" 2>&1
  if grep -q 'moec: compiling' "$work/log"; then
    echo 'a second build compiled the layer again'
    exit 1
  fi
done

say 'a block of four packages'
"$cmake" -S "$source_dir/examples/switchall" -B "$work/switchall" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/switchall" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/switchall/switchall"

say 'a model of 48 layers, from its checkpoint and from packed files'
"$cmake" -S "$source_dir/examples/model48" -B "$work/model48" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/model48" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/model48/model48" "$work/model.safetensors"
wide=3,7,11,15,19,23,27,31,35,39,43,47
narrow=0-2,4-6,8-10,12-14,16-18,20-22,24-26,28-30,32-34,36-38,40-42,44-46
for kind in narrow wide; do
  [ $kind = wide ] && layers=$wide || layers=$narrow
  "$moec" check "$source_dir/examples/model48/$kind.json" --weights "$work/model.safetensors" \
    --prefix 'model.layers.{l}.' --layers $layers >"$work/log" || { cat "$work/log"; exit 1; }
  "$moec" -q pack "$work/model48/moec/$kind" "$work/model.safetensors" --prefix 'model.layers.{l}.' --layers $layers \
    -o "$work/packed/{l}" >"$work/log" || { cat "$work/log"; exit 1; }
done
"$work/model48/model48" "$work/model.safetensors" "$work/packed/{l}"
printf 'x' | dd of="$work/packed/5" bs=1 seek=9000 conv=notrunc 2>/dev/null
if "$work/model48/model48" "$work/model.safetensors" "$work/packed/{l}" 2>"$work/log"; then
  echo 'a damaged packed file was taken'
  exit 1
fi
grep -q '/packed/5: packed weights are damaged, probably at byte 9000, in router.weight' "$work/log" || { cat "$work/log"; exit 1; }

say 'a transformer that trains'
"$cmake" -S "$source_dir/examples/train" -B "$work/train" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Debug \
  >"$work/log" || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/train" -j 2 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/train/train" train --text "$source_dir/examples/train/text/songs.txt" --layers 2 --context 16 --sequences 4 --steps 2 \
  -o "$work/train.safetensors" | grep '2/2 fine-tuning loss'

say 'the smallest program'
cat >"$work/hello.txt" <<'END'
  0.512   0.302   0.008   0.037  -0.344  -0.146   0.157   0.464
 -0.638   0.755   0.791   0.798  -0.268  -1.483   0.614  -0.207
END
"$cmake" -S "$source_dir/examples" -B "$work/hello" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/hello" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/hello/hello" | diff "$work/hello.txt" -
"$moec" compile "$source_dir/examples/tiny.json" -o "$work/tiny" -q >/dev/null
cc -std=c11 -Wall -Wextra -Werror -I"$work/tiny/include" -I"$work/prefix/include" "$source_dir/examples/hello.c" \
  "$work/tiny/lib/libtiny.a" "$work/prefix/lib/libmoec.a" -lpthread -ldl -o "$work/hello-cc"
"$work/hello-cc" | diff "$work/hello.txt" -

say 'a package judged without the compiler'
"$work/prefix/bin/moec-run" inspect "$work/tiny" | grep '^files .* as manifest.json lists them'
"$work/prefix/bin/moec-run" verify "$work/tiny" --tokens 1-4 | grep ' 0 failed, '

say 'outputs of another program'
python3 "$source_dir/examples/golden.py" "$work/golden"
"$moec" verify --golden "$work/golden" | grep '1 cases, 1 passed, 0 failed'

cd "$work"
"$moec" compile "$source_dir/examples/tiny.json" --name layer -o static -q >/dev/null
"$moec" compile "$source_dir/examples/tiny.json" --name layer -o shared --emit shared -q >/dev/null

say 'find_package of a package folder'
mkdir consumer
cat >consumer/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(layer ${VERSION} REQUIRED)
add_executable(quickstart ${QUICKSTART}/quickstart.c)
target_link_libraries(quickstart PRIVATE layer::layer m)
END
for kind in static shared; do
  "$cmake" -S consumer -B "consumer-$kind" -DCMAKE_PREFIX_PATH="$work/$kind;$work/prefix" \
    -DQUICKSTART="$source_dir/examples/quickstart" -DVERSION=$minor >log || { cat log; exit 1; }
  "$cmake" --build "consumer-$kind" >log 2>&1 || { cat log; exit 1; }
  "consumer-$kind/quickstart" >log || { cat log; exit 1; }
done
# VERSION of find_package, and whether the package serves it
for case in "$version yes" "$minor...<$next yes" "$minor...$version yes" "$next no" "$next...2 no" "0.0 no" "9 no"; do
  status=no
  "$cmake" -S consumer -B consumer-static -DVERSION="${case% *}" -DCMAKE_PREFIX_PATH="$work/static;$work/prefix" \
    >log 2>&1 && status=yes
  [ $status = "${case#* }" ] || { echo "find_package(layer ${case% *}): found: $status"; cat log; exit 1; }
done

say 'a layer that a project installs, and the runtime alone'
mkdir installer
cat >installer/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(installer LANGUAGES C)
find_package(moec REQUIRED COMPONENTS compiler)
moec_add_layer(layer SPEC ${SPEC})
moec_install_layer(layer)
END
"$cmake" -S installer -B installer-build -DCMAKE_PREFIX_PATH="$work/prefix" -DSPEC="$source_dir/examples/tiny.json" \
  -DCMAKE_INSTALL_PREFIX="$work/runtime" >log || { cat log; exit 1; }
"$cmake" --build installer-build --target install >log 2>&1 || { cat log; exit 1; }
diff -r static "$work/runtime" | grep -v "^Only in $work/runtime" && { echo 'installed otherwise than compiled'; exit 1; }
"$cmake" -S consumer -B consumer-installed -DCMAKE_PREFIX_PATH="$work/runtime" -DVERSION=$minor \
  -DQUICKSTART="$source_dir/examples/quickstart" >log || { cat log; exit 1; }
"$cmake" --build consumer-installed >log 2>&1 || { cat log; exit 1; }
consumer-installed/quickstart >log || { cat log; exit 1; }
sed 's/moec_install_layer(layer)/moec_install_layer(other)/' installer/CMakeLists.txt >CMakeLists.txt
"$cmake" -S . -B installer-other -DCMAKE_PREFIX_PATH="$work/prefix" -DSPEC="$source_dir/examples/tiny.json" >log 2>&1 && exit 1
grep -q 'moec_install_layer(other): moec_add_layer has made no layer of this name' log || { cat log; exit 1; }

for cc in cc gcc-12 clang-22; do
  command -v $cc >/dev/null 2>&1 || { echo "SKIPPED: $cc is not here"; continue; }
  say "pkg-config, $cc"
  flags=$(PKG_CONFIG_PATH=$work/static/lib/pkgconfig:$work/prefix/lib/pkgconfig pkg-config --cflags --libs layer)
  # shellcheck disable=SC2086 # one word per flag
  $cc -std=c11 -Wall -Wextra -Werror -O1 "$source_dir/examples/quickstart/quickstart.c" -o "pc-$cc" $flags -lm -Wl,-rpath,"$work/prefix/lib"
  "./pc-$cc" >log || { cat log; exit 1; }
done
say 'pkg-config: the static runtime, and bounds of its version'
flags=$(PKG_CONFIG_PATH=$work/static/lib/pkgconfig:$work/prefix/lib/pkgconfig pkg-config --cflags --libs \
  --define-variable=moec_library=-l:libmoec.a layer)
# shellcheck disable=SC2086
cc -std=c11 -O1 "$source_dir/examples/quickstart/quickstart.c" -o pc-static $flags -lm
./pc-static >log || { cat log; exit 1; }
grep -qxF "Requires: moec >= $version, moec < $next" static/lib/pkgconfig/layer.pc
mkdir later
sed "s/^Version: .*/Version: $next.0/" "$work/prefix/lib/pkgconfig/moec.pc" >later/moec.pc
if PKG_CONFIG_PATH=$work/static/lib/pkgconfig:later pkg-config --libs layer >log 2>&1; then
  echo "a package of $version accepts the runtime of $next.0"
  exit 1
fi

say 'what moec writes carries no licence of moec'
if grep -rl 'Apache-2.0' static | grep -v 'share/layer/templates/'; then
  echo 'a file of a package names the licence of moec'
  exit 1
fi

say 'a layer that the quickstart does not know'
sed 's/, *"normalize": *{[^}]*}//' "$source_dir/examples/tiny.json" >raw.json
if cmp -s raw.json "$source_dir/examples/tiny.json"; then
  echo 'examples/tiny.json has lost its normalize'
  exit 1
fi
"$moec" compile raw.json -q --name layer -o raw
# shellcheck disable=SC2046
cc -std=c11 -O1 -Iraw/include "$source_dir/examples/quickstart/quickstart.c" raw/lib/liblayer.a -o raw-quickstart \
  $(PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig pkg-config --cflags --libs moec) -lm -Wl,-rpath,"$work/prefix/lib"
status=0
./raw-quickstart >log 2>&1 || status=$?
[ $status = 2 ] && grep -q 'divided by their sum; `moec verify`' log || { cat log; exit 1; }

say dlopen
flags=$(PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig pkg-config --cflags --libs moec)
# shellcheck disable=SC2086
cc -std=c11 -O1 -Ishared/include "$source_dir/examples/quickstart/quickstart.c" "$source_dir/tests/e2e/dlopen_layer.c" -o dl \
  $flags -lm -ldl -Wl,-rpath,"$work/prefix/lib"
LAYER_LIBRARY=$work/shared/lib/liblayer.so ./dl

say 'symbols'
exported=$(nm -D --defined-only shared/lib/liblayer.so | awk '{print $3}' | grep -v '^__tvm_ffi_')
[ "$exported" = layer_package ] || { echo "exported: $exported"; exit 1; }
# it needs the C library of glibc 2.34 and its loader; what it takes of libtvm_ffi may be missing
needed=$(readelf -d shared/lib/liblayer.so | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
[ "$needed" = 'ld-linux-x86-64.so.2 libc.so.6 ' ] || { echo "needed: $needed"; exit 1; }
if nm -D shared/lib/liblayer.so | awk '$1 == "U" {print $2}' |
  grep -vE '^[a-z_0-9]+@GLIBC_2\.([0-9]|[12][0-9]|3[0-4])(\.[0-9]+)?$'; then
  echo 'a shared package needs the symbols above'
  exit 1
fi
weak=$(nm -D shared/lib/liblayer.so | awk '$1 == "w" {print $2}' | grep -v '^TVMFFI' || true)
[ -z "$weak" ] || { echo "weak: $weak"; exit 1; }
size=$(wc -c <shared/lib/liblayer.so)
[ "$size" -le 2097152 ] || { echo "the shared library has $size bytes"; exit 1; }
wanted=$(nm -u static/lib/liblayer.a | awk '$1 == "U" {print $2}' | sort -u |
  grep -vE '^(memcpy|memmove|memset|moec_[a-z0-9_]*|_GLOBAL_OFFSET_TABLE_)$' || true)
defined=$(nm --defined-only static/lib/liblayer.a | awk 'NF == 3 {print $3}' | sort -u)
for symbol in $wanted; do
  echo "$defined" | grep -qxF "$symbol" || { echo "needs $symbol"; exit 1; }
done
size=$(wc -c <static/lib/liblayer.a)
[ "$size" -le 2097152 ] || { echo "the static library has $size bytes"; exit 1; }

say 'header in C99 and C++11'
for mode in 'cc -std=c99 -x c' 'g++ -std=c++11 -x c++'; do
  # shellcheck disable=SC2086
  $mode -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only -Istatic/include -Iprefix/include static/include/layer.h
done
echo 'a package works through CMake, pkg-config and dlopen'
