// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// FuseStages and PlanLaunch as passes.

#include "codegen/moe/Passes.h"

namespace moec {

void registerMoePasses() {}

} // namespace moec
