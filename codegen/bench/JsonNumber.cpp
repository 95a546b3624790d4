// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Six digits, as %.6g writes them.

#include "JsonNumber.h"

#include "llvm/Support/Format.h"

namespace moec {

void writeNumber(llvm::json::OStream &os, llvm::StringRef key, double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.6g", value);
  os.attributeBegin(key);
  os.rawValue(text);
  os.attributeEnd();
}

} // namespace moec
