# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A spec -> an imported library target that is compiled by moec when the build needs it.
#
#   moec_add_layer(<name>
#     SPEC <file>              layer.json, or a .mlir file whose function is called <name>
#     [TARGETS <target>...]    default: cpu
#     [TOKENS <max>|1-<max>]   largest T, default 8192
#     [KIND STATIC|SHARED]     default STATIC
#     [SCHEDULE <file>] [TEMPLATES <folder>]
#     [OPTIONS <flag>...])     further flags of moec compile: --reports all
#
# The package is called <name> whatever the spec calls itself, so every path is known when CMake configures and the
# compiler runs in the build only. Sets <name>_PACKAGE_DIR and <name>_MANIFEST in the caller's scope. The target is also
# called <name>::<name>, as find_package(<name>) calls it.
#
# The compiler is moec_HOST_EXECUTABLE, otherwise that of the same build (moec::compiler), otherwise the one in PATH.
function(moec_add_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "SPEC;TOKENS;KIND;SCHEDULE;TEMPLATES" "TARGETS;OPTIONS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "moec_add_layer(${name}): unknown argument ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_SPEC)
    message(FATAL_ERROR "moec_add_layer(${name}): SPEC is missing")
  endif()
  if(NOT name MATCHES "^[a-z][a-z0-9_]*$")
    message(FATAL_ERROR "moec_add_layer(${name}): the name is a symbol prefix: use [a-z][a-z0-9_]*")
  endif()
  set(compiler "${moec_HOST_EXECUTABLE}")
  if(NOT compiler AND TARGET moec::compiler)
    set(compiler "$<TARGET_FILE:moec::compiler>")
  endif()
  if(NOT compiler)
    find_program(moec_PROGRAM moec)
    set(compiler "${moec_PROGRAM}")
  endif()
  if(NOT compiler)
    message(FATAL_ERROR "moec_add_layer(${name}): no moec program found; set moec_HOST_EXECUTABLE")
  endif()
  if(NOT ARG_KIND)
    set(ARG_KIND STATIC)
  endif()
  if(NOT ARG_KIND MATCHES "^(STATIC|SHARED)$")
    message(FATAL_ERROR "moec_add_layer(${name}): KIND is STATIC or SHARED, not ${ARG_KIND}")
  endif()
  if(NOT ARG_TARGETS)
    set(ARG_TARGETS cpu)
  endif()
  if(NOT ARG_TOKENS)
    set(ARG_TOKENS 8192)
  endif()
  if(NOT ARG_TOKENS MATCHES "^([0-9]+-)?([0-9]+)$")
    message(FATAL_ERROR "moec_add_layer(${name}): TOKENS is <max> or <first>-<max>, not ${ARG_TOKENS}")
  endif()
  set(max_tokens ${CMAKE_MATCH_2})

  get_filename_component(spec "${ARG_SPEC}" ABSOLUTE)
  get_source_file_property(generated "${spec}" GENERATED)
  if(NOT generated AND NOT EXISTS "${spec}")
    message(FATAL_ERROR "moec_add_layer(${name}): SPEC does not exist: ${spec}")
  endif()
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/moec/${name}")
  string(TOLOWER ${ARG_KIND} emit)
  set(library "${folder}/lib/lib${name}.a")
  if(ARG_KIND STREQUAL "SHARED")
    set(library "${folder}/lib/lib${name}.so")
  endif()
  list(JOIN ARG_TARGETS "," targets)
  set(options --quiet --force --emit ${emit} --target ${targets} --max-tokens ${max_tokens} -o ${folder})
  set(depends "${spec}" "${compiler}")
  # Records of moec tune, which need not be there yet.
  string(REGEX REPLACE "[.](json|mlir)$" "" stem "${spec}")
  file(GLOB records CONFIGURE_DEPENDS "${stem}.tune.jsonl")
  list(APPEND depends ${records})
  if(NOT spec MATCHES "[.]mlir$")
    list(APPEND options --name ${name})
  endif()
  if(ARG_SCHEDULE)
    get_filename_component(schedule "${ARG_SCHEDULE}" ABSOLUTE)
    list(APPEND options --schedule ${schedule})
    list(APPEND depends "${schedule}")
  endif()
  if(ARG_TEMPLATES)
    get_filename_component(templates "${ARG_TEMPLATES}" ABSOLUTE)
    list(APPEND options --templates ${templates})
    file(GLOB_RECURSE template_files CONFIGURE_DEPENDS "${templates}/*.mlir")
    list(APPEND depends ${template_files})
  endif()

  list(APPEND options ${ARG_OPTIONS})

  set(header "${folder}/include/${name}.h")
  set(manifest "${folder}/share/${name}/manifest.json")
  add_custom_command(
    OUTPUT "${library}" "${header}" "${manifest}"
    COMMAND "${compiler}" compile "${spec}" ${options}
    DEPENDS ${depends}
    COMMENT "moec: compiling ${name}"
    VERBATIM)
  add_custom_target(${name}_package DEPENDS "${library}" "${header}" "${manifest}")

  # An imported target's include folder must exist when CMake generates.
  file(MAKE_DIRECTORY "${folder}/include")
  add_library(${name} ${ARG_KIND} IMPORTED GLOBAL)
  add_dependencies(${name} ${name}_package)
  set_target_properties(${name} PROPERTIES
    IMPORTED_LOCATION "${library}"
    INTERFACE_INCLUDE_DIRECTORIES "${folder}/include"
    INTERFACE_LINK_LIBRARIES moec::moec
    MOEC_PACKAGE_DIR "${folder}")
  add_library(${name}::${name} ALIAS ${name})
  set(${name}_PACKAGE_DIR "${folder}" PARENT_SCOPE)
  set(${name}_MANIFEST "${manifest}" PARENT_SCOPE)
endfunction()

# Installs the package of a layer: header, library, manifest, CMake and pkg-config files, so that find_package(<name>)
# finds it under the prefix.
#
#   moec_install_layer(<name>
#     [DESTINATION <folder>]   below the prefix, default: the prefix itself
#     [COMPONENT <component>])
function(moec_install_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "DESTINATION;COMPONENT" "")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "moec_install_layer(${name}): unknown argument ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  set(folder)
  if(TARGET ${name})
    get_target_property(folder ${name} MOEC_PACKAGE_DIR)
  endif()
  if(NOT folder)
    message(FATAL_ERROR "moec_install_layer(${name}): moec_add_layer has made no layer of this name")
  endif()
  if(NOT ARG_DESTINATION)
    set(ARG_DESTINATION .)
  endif()
  set(component)
  if(ARG_COMPONENT)
    set(component COMPONENT ${ARG_COMPONENT})
  endif()
  # A layer that nothing links is compiled too, because it is installed.
  add_custom_target(${name}_to_install ALL)
  add_dependencies(${name}_to_install ${name}_package)
  install(DIRECTORY "${folder}/" DESTINATION ${ARG_DESTINATION} USE_SOURCE_PERMISSIONS ${component})
endfunction()
