// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "1,2,4-64*2,100-108,0-32+8" -> {1, 2, 4, 8, 16, 32, 64, 100, .. 108, 0, 8, 16, 24, 32}.

#ifndef MOEC_CODEGEN_CHECK_TOKENRANGE_H
#define MOEC_CODEGEN_CHECK_TOKENRANGE_H

#include "dsl/text/Result.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace moec {

// Items: N, FIRST-LAST, FIRST-LAST+STEP, FIRST-LAST*FACTOR. An error, E-USAGE: a text of another form, a number over
// `largest`, or more than 4096 numbers.
Result<std::vector<int64_t>> parseTokenRange(std::string_view text, int64_t largest);

} // namespace moec

#endif
