// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a kernel of rows must know of its arguments' memory.

#ifndef MOEC_CODEGEN_LOWER_ROWSTRIDES_H
#define MOEC_CODEGEN_LOWER_ROWSTRIDES_H

#include <cstdint>
#include <vector>

namespace moec {

// Bytes from one row to the next of each kernel argument, in argument order; 0 where it has no rows.
using RowStrides = std::vector<int64_t>;

} // namespace moec

#endif
