# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# PRESET_DIR/*.json and SCHEMA in -> OUTPUT, a C++ file that defines the tables of Presets.h, out.
file(GLOB files ${PRESET_DIR}/*.json)
list(SORT files)
set(text "// Generated from dsl/presets and dsl/layer.schema.json.\n#include \"dsl/Presets.h\"\n\n")
string(APPEND text "namespace moec {\nconst EmbeddedText embeddedPresets[] = {\n")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WLE)
  # NAME_WLE cuts at the last dot only: glm-4.5.json is glm-4.5.
  file(READ ${file} content)
  string(APPEND text "    {\"${name}\", R\"moec(${content})moec\"},\n")
endforeach()
list(LENGTH files count)
string(APPEND text "    {\"\", \"\"}};\nconst unsigned numEmbeddedPresets = ${count};\n")
file(READ ${SCHEMA} content)
string(APPEND text "const char embeddedSchema[] = R\"moec(${content})moec\";\n} // namespace moec\n")
file(WRITE ${OUTPUT} "${text}")
