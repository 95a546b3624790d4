// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A measured number -> JSON.

#ifndef MOEC_CODEGEN_BENCH_JSONNUMBER_H
#define MOEC_CODEGEN_BENCH_JSONNUMBER_H

#include "llvm/Support/JSON.h"

namespace moec {

// "key": value with six digits, as many as a measurement has.
void writeNumber(llvm::json::OStream &os, llvm::StringRef key, double value);

} // namespace moec

#endif
