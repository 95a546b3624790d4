// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A text of templates/package/ with @key@ places, and typed values for them -> the text of a package file.
//
// Text of a spec reaches a generated file only through identifier(), which checks its grammar (isLayerName): everything
// else is a number or a word this program chose.

#ifndef MOEC_CODEGEN_EMIT_PACKAGETEMPLATE_H
#define MOEC_CODEGEN_EMIT_PACKAGETEMPLATE_H

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moec {

class PackageValues {
public:
  bool identifier(llvm::StringRef key, llvm::StringRef text);      // false: not an identifier, nothing is set
  bool upperIdentifier(llvm::StringRef key, llvm::StringRef text); // the same in capitals, for macros
  void integer(llvm::StringRef key, int64_t value);
  void word(llvm::StringRef key, llvm::StringRef text); // text of this program, never of a spec
  // Appends a comment line " *   role  [dims]". False: `role` has characters outside [a-z0-9_.].
  bool roleLine(llvm::StringRef key, llvm::StringRef role, const std::vector<int64_t> &dims);

  const std::string *find(llvm::StringRef key) const; // null: not set

private:
  std::map<std::string, std::string> values;
};

// Replaces every @key@ of templates/package/NAME, which is built into the binary, and leaves out the line of its
// what moec writes belongs to its user (runtime/NOTICE). An error, E-INTERNAL: no such
// template, or a key without a value.
Result<std::string> fillPackageTemplate(llvm::StringRef name, const PackageValues &values);

} // namespace moec

#endif
