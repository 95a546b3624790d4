// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Both public headers as C++11, in the other order; nothing to run.
#include "runtime/moec_abi.h"

#include "runtime/moec.h"

extern int moecHeaderCxx11(const moec_package *package);
int moecHeaderCxx11(const moec_package *package) {
  return package->magic == MOEC_ABI_MAGIC ? MOEC_OK : MOEC_VERSION_MISMATCH;
}
