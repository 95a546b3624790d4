// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A template's name -> its text: from an overlay folder if that has the file, otherwise from the binary.

#ifndef MOEC_CODEGEN_TEMPLATEFILES_H
#define MOEC_CODEGEN_TEMPLATEFILES_H

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

// One file below templates/, by its path there: "functions/silu.mlir".
struct EmbeddedTemplate {
  const char *path, *text;
};
extern const EmbeddedTemplate embeddedTemplates[];
extern const unsigned numEmbeddedTemplates;

struct TemplateText {
  std::string text;
  std::string file;    // for messages: the overlay's path, or "templates/functions/silu.mlir"
  bool builtIn = true; // the text is the binary's own, also where an overlay repeats it
};

// The text of `path` ("functions/silu.mlir"); nullopt: the file does not exist. Error E-TEMPLATE: the file exists, but
// has more than 1 MiB or cannot be read.
Result<std::optional<TemplateText>> readTemplate(llvm::StringRef overlayDir, llvm::StringRef path);

// Names of the templates in a folder ("functions" -> "silu", "gelu", ...), overlay included, sorted.
std::vector<std::string> templateNames(llvm::StringRef overlayDir, llvm::StringRef folder);

} // namespace moec

#endif
