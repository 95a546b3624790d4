# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# sh cmake.sh SOURCE BUILD CMAKE: what runtime/cmake/README.md promises to CMake users. A project whose layer and program
# are in different folders, with Ninja and with Make, static and shared: from an installed moec, then from moec's
# sources (add_subdirectory and FetchContent) and a package that somebody else compiled. Paths hold blanks.
set -eu
source_dir=$1
build=$2
cmake=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/moec cmake-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
say() { printf '== %s\n' "$*"; }
quietly() { "$@" >log 2>&1 || { cat log; exit 1; }; }
fails_with() { # fails_with TEXT COMMAND...
  text=$1
  shift
  if "$@" >log 2>&1; then
    echo "should have failed: $*"
    exit 1
  fi
  grep -qF "$text" log || { cat log; exit 1; }
}

quietly "$cmake" --install "$build" --prefix "$work/prefix"
moec=$work/prefix/bin/moec

mkdir -p project/layers project/engine
cp "$source_dir/examples/tiny.json" project/layers/spec.json
cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(engine LANGUAGES C CXX)
if(MOEC_SOURCES AND USE_FETCHCONTENT)
  include(FetchContent)
  FetchContent_Declare(moec SOURCE_DIR ${MOEC_SOURCES})
  FetchContent_MakeAvailable(moec)
elseif(MOEC_SOURCES)
  add_subdirectory(${MOEC_SOURCES} moec)
else()
  find_package(moec 0.1 REQUIRED COMPONENTS compiler)
endif()
add_subdirectory(layers)
add_subdirectory(engine)
END
cat >project/layers/CMakeLists.txt <<'END'
moec_add_layer(mine SPEC spec.json KIND ${KIND} TOKENS 1-64 OPTIONS --reports all)
moec_install_layer(mine COMPONENT layers)
if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/CMakeLists.txt OR NOT mine_MANIFEST STREQUAL
   "${mine_PACKAGE_DIR}/share/mine/manifest.json")
  message(FATAL_ERROR "mine_MANIFEST is ${mine_MANIFEST}")
endif()
END
cat >project/engine/CMakeLists.txt <<'END'
add_executable(engine engine.cpp)
target_link_libraries(engine PRIVATE mine::mine)
install(TARGETS engine)
END
cat >project/engine/engine.cpp <<'END'
#include <mine.h>
#include <moec.hpp>

int main() {
  moec::Layer layer = moec::Layer::create(mine_package()).value();
  return layer.info().reports != 0 && layer.info().max_tokens == 64 ? 0 : 1;
}
END

# compiled FOLDER: how often the last build compiled the layer
compiled() { grep -c 'moec: compiling mine' log || true; }

# Each generator with one kind of library: the four combinations differ in nothing else.
for tree in 'Ninja STATIC' 'Unix Makefiles SHARED'; do
  say "installed moec, $tree"
  quietly "$cmake" -S project -B "$tree" -G "${tree% *}" -DCMAKE_PREFIX_PATH="$work/prefix" -DKIND="${tree##* }"
  quietly "$cmake" --build "$tree" --target engine -j 2
  [ "$(compiled)" = 1 ] || { cat log; exit 1; }
  "$tree/engine/engine"
  quietly "$cmake" --build "$tree" -j 2
  [ "$(compiled)" = 0 ] || { echo 'a second build compiles the layer again'; exit 1; }
done

say 'a change of the spec, or new records of moec tune, compile the layer again'
for tree in 'Ninja STATIC' 'Unix Makefiles SHARED'; do
  sed 's/"hidden": 8/"hidden": 16/' "$source_dir/examples/tiny.json" >project/layers/spec.json
  quietly "$cmake" --build "$tree"
  [ "$(compiled)" = 1 ] || { cat log; exit 1; }
  grep -q 'MINE_HIDDEN 16' "$tree/layers/moec/mine/include/mine.h"
  : >project/layers/spec.tune.jsonl
  quietly "$cmake" --build "$tree"
  [ "$(compiled)" = 1 ] || { echo 'new records did not compile the layer'; cat log; exit 1; }
  rm project/layers/spec.tune.jsonl
  cp "$source_dir/examples/tiny.json" project/layers/spec.json
  quietly "$cmake" --build "$tree"
done

for tree in 'Ninja STATIC' 'Unix Makefiles SHARED'; do
  kind=${tree##* }
  say "what a project installs, $kind"
  quietly "$cmake" --install "$tree" --component layers --prefix "$work/only layers $kind"
  [ ! -e "only layers $kind/bin" ] && [ -e "only layers $kind/include/mine.h" ]
  quietly "$cmake" --install "$tree" --prefix "$work/everything $kind"
  LD_LIBRARY_PATH="$work/everything $kind/lib" "everything $kind/bin/engine"
done

mkdir consumer
cat >consumer/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
if(MOEC_SOURCES)
  add_subdirectory(${MOEC_SOURCES} moec EXCLUDE_FROM_ALL)
endif()
find_package(mine 0.1 REQUIRED)
add_executable(engine ${CMAKE_CURRENT_SOURCE_DIR}/../project/engine/engine.cpp)
target_link_libraries(engine PRIVATE mine::mine)
END
for tree in 'Ninja SHARED' 'Unix Makefiles STATIC'; do
  say "find_package of an installed layer, $tree"
  quietly "$cmake" -S consumer -B "consumer $tree" -G "${tree% *}" \
    -DCMAKE_PREFIX_PATH="$work/only layers ${tree##* };$work/prefix"
  quietly "$cmake" --build "consumer $tree"
  "consumer $tree/engine"
done

say 'pkg-config of an installed layer'
for runtime in '' '--define-variable=moec_library=-l:libmoec.a'; do
  # shellcheck disable=SC2086 # nothing, or one flag
  flags=$(PKG_CONFIG_PATH="$work/only layers STATIC/lib/pkgconfig:$work/prefix/lib/pkgconfig" \
    pkg-config --cflags --libs $runtime mine)
  eval "c++ -std=c++17 project/engine/engine.cpp -o pc $flags -Wl,-rpath,'$work/prefix/lib'"
  ./pc
  [ "$(readelf -d pc | grep -c 'NEEDED.*libmoec')" = "$([ -z "$runtime" ] && echo 1 || echo 0)" ]
done
flags=$(PKG_CONFIG_PATH="$build/lib/pkgconfig" pkg-config --cflags moec)
eval "c++ -std=c++17 -fsyntax-only -I'$work/only layers STATIC/include' project/engine/engine.cpp $flags"

say 'moec from its sources'
for tree in 'add_subdirectory Unix Makefiles' 'FetchContent Ninja'; do
  say "$tree"
  fetch=OFF
  [ "${tree%% *}" = add_subdirectory ] || fetch=ON
  PATH="$work/prefix/bin:$PATH" quietly "$cmake" -S project -B "$tree" -G "${tree#* }" -DMOEC_SOURCES="$source_dir" \
    -DUSE_FETCHCONTENT=$fetch -DKIND=STATIC
  quietly "$cmake" --build "$tree" -j 2
  "$tree/engine/engine"
  [ ! -e "$tree/bin" ] && [ ! -e "$tree/lib" ] || { echo "files of moec lie in the project's own folders"; exit 1; }
  quietly "$cmake" --install "$tree" --prefix "$work/installed $tree"
  [ -e "installed $tree/lib/libmine.a" ] && [ ! -e "installed $tree/lib/libmoec.a" ]
done
tree='FetchContent Ninja'
quietly "$cmake" -S project -B "$tree" -DMOEC_INSTALL=ON
quietly "$cmake" --build "$tree" -j 2
quietly "$cmake" --install "$tree" --prefix "$work/with moec"
quietly "$cmake" -S consumer -B 'consumer with moec' -DCMAKE_PREFIX_PATH="$work/with moec"
quietly "$cmake" --build 'consumer with moec'
'consumer with moec/engine'

say 'a package of somebody else, and the runtime from its sources'
quietly "$cmake" -S consumer -B 'consumer sources' -DMOEC_SOURCES="$source_dir" -DCMAKE_PREFIX_PATH="$work/only layers STATIC"
quietly "$cmake" --build 'consumer sources' -j 2
'consumer sources/engine'

say 'the compiler from its sources, too: what would be built, and in which order'
quietly "$cmake" -S project -B whole -G Ninja -DMOEC_SOURCES="$source_dir" -DKIND=STATIC -DMOEC_RUNTIME_ONLY=OFF \
  -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22
ninja -C whole -t commands engine/engine >log
linked=$(grep -n ' -o moec/bin/moec ' log | cut -d: -f1) ran=$(grep -n '/moec/bin/moec. *compile\|/moec/bin/moec"* compile' log | cut -d: -f1)
[ -n "$linked" ] && [ -n "$ran" ] && [ "$linked" -lt "$ran" ] || { tail -5 log; exit 1; }

say 'mistakes are sentences'
mistake() { # mistake TEXT ARGUMENTS-OF-MOEC_ADD_LAYER
  mkdir -p wrong
  printf 'cmake_minimum_required(VERSION 3.25)\nproject(wrong C)\nfind_package(moec REQUIRED)\nmoec_add_layer(%s)\n' "$2" \
    >wrong/CMakeLists.txt
  fails_with "$1" "$cmake" -S wrong -B wrong-build -DCMAKE_PREFIX_PATH="$work/prefix"
}
mistake 'moec_add_layer(mine): SPEC is missing' 'mine'
mistake 'moec_add_layer(mine): unknown argument SPECS' 'mine SPECS spec.json'
mistake 'moec_add_layer(Mine): the name is a symbol prefix: use [a-z][a-z0-9_]*' 'Mine SPEC spec.json'
mistake 'moec_add_layer(mine): KIND is STATIC or SHARED, not BOTH' 'mine SPEC spec.json KIND BOTH'
mistake 'moec_add_layer(mine): TOKENS is <max> or <first>-<max>, not many' 'mine SPEC spec.json TOKENS many'
mistake 'moec_add_layer(mine): SPEC does not exist:' 'mine SPEC spec.json'
fails_with 'moec_add_layer(mine): no moec program found; set moec_HOST_EXECUTABLE' env PATH=/usr/bin:/bin "$cmake" -S project \
  -B nobody -DMOEC_SOURCES="$source_dir" -DKIND=STATIC
fails_with 'component compiler is not there; for the compiler set moec_HOST_EXECUTABLE' "$cmake" -S project -B nowhere \
  -DCMAKE_PREFIX_PATH="$work/with moec" -DKIND=STATIC
echo 'CMake and pkg-config users get what runtime/cmake/README.md promises'
