// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's roles and checkpoints -> where each role is, what differs, and what nobody reads, for people and programs.
// The rules are those of moec_weights_load: runtime/weights/weight_survey.h. Reads headers only.

#ifndef MOEC_CODEGEN_CLI_CHECKPOINTREPORT_H
#define MOEC_CODEGEN_CLI_CHECKPOINTREPORT_H

#include "WeightPlan.h"

#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace moec {

// A checkpoint, or an adapter of it, and what its names of tensors begin with.
struct WeightSource {
  std::string path, prefix;
};

struct ReportedRole {
  std::string role;
  std::string tensor;             // without prefix; "{e}" stands for the expert's number
  int64_t tensors = 0, found = 0; // expected, and there in the expected form
  size_t source = 0;              // index of the checkpoint
  std::vector<int64_t> shape;     // expected of one tensor
  std::string type;               // as stored: "BF16"; empty: nothing was found
  std::string load;               // what loading does to it: "as it is", "rounded to bf16, axes swapped"
  std::string problem, hint;      // of its first tensor that cannot be loaded; empty: all can
};

struct UnusedTensor {
  std::string name; // with prefix
  size_t source = 0;
  std::vector<int64_t> shape;
  std::string type; // empty: only an index names it
};

struct CheckpointReport {
  std::vector<std::string> files; // read, one for each source
  std::vector<ReportedRole> roles;
  std::vector<UnusedTensor> unused; // of those whose names begin with a source's prefix, which is not empty
  std::string problem;              // of the checkpoint as a whole
  bool fits() const;
  int64_t tensors() const;
};

// The last error of a call of the runtime that reads checkpoints: E-CHECKPOINT, E-FILE or E-MEMORY.
Diagnostic checkpointError(moec_status status, const std::string &before = "");

// An error of checkpointError says that a checkpoint cannot be read at all.
Result<CheckpointReport> surveyCheckpoints(const WeightPlan &plan, const std::vector<WeightSource> &sources);

// What does not fit, one error E-CHECKPOINT for each role.
std::vector<Diagnostic> problemsOf(const CheckpointReport &report);

void writeText(llvm::raw_ostream &os, const CheckpointReport &report);
// `layer` is left out if it is negative.
void writeJson(llvm::json::OStream &os, const CheckpointReport &report, const std::vector<WeightSource> &sources,
               int64_t layer);

} // namespace moec

#endif
