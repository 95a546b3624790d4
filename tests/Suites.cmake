# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What most folders of tests/ consist of. A test's name begins with its folder.
include(GoogleTest)

# moec_add_gtests(LIBRARY...) -> the binary FOLDER-tests of the *.cpp of the calling folder. Files of the repository are
# read, none is written.
function(moec_add_gtests)
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  add_executable(${folder}-tests ${sources})
  target_link_libraries(${folder}-tests PRIVATE ${ARGN} moec_warnings GTest::gtest_main)
  target_compile_definitions(${folder}-tests PRIVATE MOEC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${folder}-tests TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST)
endfunction()

# moec_add_lit(moe) -> ctest lit.moe, all .mlir and .test files of tests/moe.
function(moec_add_lit folder)
  find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
  get_filename_component(MOEC_TESTS_DIR ${CMAKE_CURRENT_FUNCTION_LIST_DIR} ABSOLUTE)
  configure_file(${MOEC_TESTS_DIR}/lit.site.cfg.py.in ${CMAKE_BINARY_DIR}/tests/lit.site.cfg.py @ONLY)
  find_program(MOEC_LIT NAMES lit llvm-lit HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/tests/${folder})
  add_test(NAME lit.${folder} COMMAND ${MOEC_LIT} -sv -j2 ${CMAKE_BINARY_DIR}/tests/${folder})
endfunction()
