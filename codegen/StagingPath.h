// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file or folder to be written -> the name beside it under which it is written first, until a rename shows it whole.

#ifndef MOEC_CODEGEN_STAGINGPATH_H
#define MOEC_CODEGEN_STAGINGPATH_H

#include <string>

namespace moec {

// "FOLDER/NAME.tmp-0d3f9a1c" for "FOLDER/NAME". Every call gives another name: processes of two containers may have the
// same id, and what a killed one left behind must not block the next. NAME is cut where the whole would
// be longer than a file system takes.
std::string stagingPathOf(const std::string &path);

} // namespace moec

#endif
