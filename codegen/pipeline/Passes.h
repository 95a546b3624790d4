// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The moe passes under the names that moec-opt takes.

#ifndef MOEC_CODEGEN_PIPELINE_PASSES_H
#define MOEC_CODEGEN_PIPELINE_PASSES_H

namespace moec {

// --moe-fuse-stages, --moe-print-plan, --moe-evaluate. Once per process.
void registerMoePasses();

} // namespace moec

#endif
