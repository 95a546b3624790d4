// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "1,2,4-64*2,100-108,0-32+8" -> {1, 2, 4, 8, 16, 32, 64, 100, .. 108, 0, 8, 16, 24, 32}.

#ifndef MOEC_CODEGEN_CLI_TOKENRANGE_H
#define MOEC_CODEGEN_CLI_TOKENRANGE_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// Items: N, FIRST-LAST, FIRST-LAST+STEP, FIRST-LAST*FACTOR. False with the reason in `error`: a text of another form, a
// number over `largest`, or more than 4096 numbers.
bool parseTokenRange(llvm::StringRef text, int64_t largest, std::vector<int64_t> &out, std::string &error);

} // namespace moec

#endif
