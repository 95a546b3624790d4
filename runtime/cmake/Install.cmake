# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Included by the root CMakeLists.txt: what `cmake --install` copies, and the CMake and pkg-config files that find it.
# PREFIX/{bin/moec, include/moec.h, lib/libmoec.a, lib/cmake/moec/} has the same form in the build tree, so that
# CMAKE_PREFIX_PATH=build finds moec without installing it.
include(CMakePackageConfigHelpers)

# What a program that asks for this version also accepts: any 0.x.* for 0.x, any later 1.* for 1.x.
set(moec_compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(moec_compatibility SameMinorVersion)
endif()

# Files that differ between the two trees: where moec.h and moec.hpp are.
function(moec_configure_finders folder include_dirs pc_include_dir pc_cflags)
  set(MOEC_CONFIG_INCLUDE_DIRS "${include_dirs}")
  set(MOEC_PC_INCLUDE_DIR "${pc_include_dir}")
  set(MOEC_PC_CFLAGS "${pc_cflags}")
  set(from ${PROJECT_SOURCE_DIR}/runtime/cmake)
  configure_file(${from}/moecConfig.cmake.in ${folder}/cmake/moec/moecConfig.cmake COPYONLY)
  configure_file(${from}/moecAddLayer.cmake ${folder}/cmake/moec/moecAddLayer.cmake COPYONLY)
  configure_file(${from}/moecTargets.cmake.in ${folder}/cmake/moec/moecTargets.cmake @ONLY)
  configure_file(${from}/moec.pc.in ${folder}/pkgconfig/moec.pc @ONLY)
  write_basic_package_version_file(${folder}/cmake/moec/moecConfigVersion.cmake VERSION ${PROJECT_VERSION}
                                   COMPATIBILITY ${moec_compatibility})
endfunction()

set(headers ${PROJECT_SOURCE_DIR}/runtime)
moec_configure_finders(${PROJECT_BINARY_DIR}/lib "${headers};${headers}/bindings/cpp" "${headers}"
                       "-I\"${headers}\" -I\"${headers}/bindings/cpp\"")
moec_configure_finders(${PROJECT_BINARY_DIR}/install "\${_moec_prefix}/include" "\${prefix}/include"
                       "-I\${includedir}")
if(NOT MOEC_INSTALL)
  return()
endif()

install(TARGETS moec_runtime moec_runtime_shared ARCHIVE DESTINATION lib LIBRARY DESTINATION lib)
set(runtime ${PROJECT_SOURCE_DIR}/runtime)
install(FILES ${runtime}/moec.h ${runtime}/moec_abi.h ${runtime}/moec_cuda_abi.h ${runtime}/moec_dtype.h
              ${runtime}/bindings/cpp/moec.hpp DESTINATION include)
install(DIRECTORY ${runtime}/bindings/cpp/moec DESTINATION include)
install(DIRECTORY ${runtime}/bindings/rust DESTINATION share/moec PATTERN target EXCLUDE)
install(DIRECTORY ${PROJECT_BINARY_DIR}/install/cmake ${PROJECT_BINARY_DIR}/install/pkgconfig DESTINATION lib)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/runtime/NOTICE DESTINATION share/doc/moec)
if(NOT MOEC_RUNTIME_ONLY)
  install(FILES ${PROJECT_SOURCE_DIR}/dsl/layer.schema.json DESTINATION share/moec)
endif()
if(TARGET moec-run)
  install(TARGETS moec-run RUNTIME DESTINATION bin)
endif()
if(TARGET moec)
  # The LLVM libraries stand in a folder of their own that the loader does not search.
  set_target_properties(moec moec-opt PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS moec moec-opt RUNTIME DESTINATION bin)
endif()
