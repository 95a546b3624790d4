// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Template lookup: overlay folder first, then the embedded table.

#include "codegen/TemplateFiles.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <algorithm>

namespace moec {

static constexpr uint64_t maxTemplateBytes = 1 << 20;

static Diagnostic unusable(llvm::StringRef file, std::string why) {
  Diagnostic error = Diagnostic::error("E-TEMPLATE", std::move(why));
  error.file = file.str();
  return error;
}

static const char *embeddedText(llvm::StringRef path) {
  for (unsigned i = 0; i < numEmbeddedTemplates; ++i)
    if (path == embeddedTemplates[i].path)
      return embeddedTemplates[i].text;
  return nullptr;
}

Result<std::optional<TemplateText>> readTemplate(llvm::StringRef overlayDir, llvm::StringRef path) {
  if (!overlayDir.empty()) {
    llvm::SmallString<256> file(overlayDir);
    llvm::sys::path::append(file, path);
    uint64_t bytes = 0;
    if (llvm::sys::fs::is_regular_file(file)) {
      if (llvm::sys::fs::file_size(file, bytes) || bytes > maxTemplateBytes)
        return unusable(file, "a template is at most 1 MiB");
      auto buffer = llvm::MemoryBuffer::getFile(file, /*IsText=*/true);
      if (!buffer)
        return unusable(file, buffer.getError().message());
      const char *own = embeddedText(path);
      return TemplateText{(*buffer)->getBuffer().str(), file.str().str(), own && (*buffer)->getBuffer() == own};
    }
  }
  if (const char *text = embeddedText(path))
    return TemplateText{text, "templates/" + path.str()};
  return std::nullopt;
}

std::vector<std::string> templateNames(llvm::StringRef overlayDir, llvm::StringRef folder) {
  std::vector<std::string> names;
  std::string prefix = folder.str() + "/";
  for (unsigned i = 0; i < numEmbeddedTemplates; ++i) {
    llvm::StringRef path = embeddedTemplates[i].path;
    if (path.consume_front(prefix) && path.consume_back(".mlir") && !path.contains('/'))
      names.push_back(path.str());
  }
  if (!overlayDir.empty()) {
    llvm::SmallString<256> dir(overlayDir);
    llvm::sys::path::append(dir, folder);
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(dir, code), end; it != end && !code; it.increment(code))
      if (llvm::sys::path::extension(it->path()) == ".mlir")
        names.push_back(llvm::sys::path::stem(it->path()).str());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

} // namespace moec
