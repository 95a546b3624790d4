// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer that is tuned -> what every record of it says.

#ifndef MOEC_CODEGEN_CLI_TUNELAYER_H
#define MOEC_CODEGEN_CLI_TUNELAYER_H

#include "codegen/emit/Manifest.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/tune/TuneRecord.h"

namespace moec {

// Hash of the spec, name of the layer, and the stamp of this program, now.
inline TuneRecord recordOfLayer(const StageCompiler &compiler) {
  const LaunchPlan &plan = compiler.plan();
  TuneRecord record;
  record.stage.spec = specHashText(plan);
  record.stage.layer = plan.string(plan.header.name).str();
  record.stamp = currentStamp(moecVersion());
  return record;
}

} // namespace moec

#endif
