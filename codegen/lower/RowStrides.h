// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The memory layout of a row kernel's arguments.

#ifndef MOEC_CODEGEN_LOWER_ROWSTRIDES_H
#define MOEC_CODEGEN_LOWER_ROWSTRIDES_H

#include <cstdint>
#include <vector>

namespace moec {

// Bytes from one row to the next of each kernel argument, in argument order; 0 for arguments without rows.
using RowStrides = std::vector<int64_t>;

} // namespace moec

#endif
