// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LaunchPlan: the structs of runtime/moec_abi.h while they are being filled. PlanStages makes one from fused stages,
// the schedule fills each step's ISA variants, serialize() lays the blob out as moec_abi.h says.

#ifndef MOEC_CODEGEN_PLAN_LAUNCHPLAN_H
#define MOEC_CODEGEN_PLAN_LAUNCHPLAN_H

#include "codegen/package/PlanTables.h"

#include "runtime/moec_abi.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mlir {
class Operation;
}

namespace moec {

struct LaunchPlan : PlanTables {
  std::vector<mlir::Operation *> stageOf; // per step: the stage op in the fused module, null for runtime steps
  std::map<std::string, uint16_t> roleOfName, regionOfKey; // first of `roles`; of `weights`, by layout and roles

  uint32_t addString(llvm::StringRef text);    // offset of `text`, shared when already there
  uint32_t appendString(llvm::StringRef text); // always a new copy
  llvm::StringRef string(uint32_t offset) const { return text(offset); }
  llvm::ArrayRef<uint16_t> argsOf(const moec_step &step) const; // its buffers, in the order of StepArgs.h
  std::vector<char> serialize();           // fills the spans and sizes of `header`, returns the blob
  void print(llvm::raw_ostream &os) const; // the text of --stop-after=plan
};

// The number of columns that one unit of a columns step reduces.
constexpr int64_t tokenReduceBlock = 64;

// A unit of ops of whole parameters: so many elements.
constexpr int64_t parameterBlock = 16384;

inline llvm::StringRef stepKindName(const moec_step &step) { return stepKindText(step); }

// Steps that are kernels of the package, not calls of the runtime.
inline bool isKernelStep(const moec_step &step) {
  return step.kind == MOEC_STEP_ROWS || step.kind == MOEC_STEP_MATMUL || step.kind == MOEC_STEP_COLUMNS ||
         step.kind == MOEC_STEP_GROUPS;
}

// The region of `weights` that holds the matrices of `weight` too, side by side in every group, and which of its parts
// is their first.
struct SharedMatrices {
  size_t owner;
  unsigned part;
};
std::optional<SharedMatrices> sharedMatrices(llvm::ArrayRef<moec_weight> weights, const moec_weight &weight);

// Packed layout of a weight region; sets panels, n_padded, k_padded and bytes from parts, groups, n, k and dtype.
void finishWeightLayout(moec_weight &weight);

} // namespace moec

#endif
