# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ROOT/{functions,derivatives,kernels,kernels/cuda}/*.mlir, ROOT/package/*.in, ROOT/tuning/*.jsonl, ROOT/runner/* and
# the files RUNTIME of ROOT/.. in -> OUTPUT, a C++ file that defines the table of codegen/TemplateFiles.h, out.
file(GLOB files RELATIVE ${ROOT} ${ROOT}/functions/*.mlir ${ROOT}/derivatives/*.mlir
     ${ROOT}/kernels/*.mlir ${ROOT}/kernels/cuda/*.mlir
     ${ROOT}/package/*.in ${ROOT}/tuning/*.jsonl ${ROOT}/runner/*.c ${ROOT}/runner/*.h ${ROOT}/runner/*.txt
     ${ROOT}/runner/cuda/*.c ${ROOT}/runner/cuda/*.h)
list(SORT files)
separate_arguments(RUNTIME)
set(text "// Generated from templates/.\n#include \"codegen/TemplateFiles.h\"\n\nnamespace moec {\n")
string(APPEND text "const EmbeddedTemplate embeddedTemplates[] = {\n")
foreach(file IN LISTS files)
  file(READ ${ROOT}/${file} content)
  string(APPEND text "    {\"${file}\", R\"moec(${content})moec\"},\n")
endforeach()
foreach(file IN LISTS RUNTIME)
  file(READ ${ROOT}/../${file} content)
  string(APPEND text "    {\"${file}\", R\"moec(${content})moec\"},\n")
endforeach()
list(APPEND files ${RUNTIME})
list(LENGTH files count)
string(APPEND text "    {\"\", \"\"}};\nconst unsigned numEmbeddedTemplates = ${count};\n} // namespace moec\n")
file(WRITE ${OUTPUT} "${text}")
