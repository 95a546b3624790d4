// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec -> random weights for it, and what a layer made of them against the float64 reference.

#ifndef MOEC_CODEGEN_CHECK_ORACLECHECK_H
#define MOEC_CODEGEN_CHECK_ORACLECHECK_H

#include "codegen/check/OutputCheck.h"
#include "codegen/check/Sensitivity.h"

#include "dsl/reference/Reference.h"
#include "dsl/reference/ReferenceWeights.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

// The type in which the tensor of a role is drawn: what the layer stores, except that vectors have dtype.weight and the
// ids of router.table are f32.
DataType drawnType(const LayerSpec &spec, const Role &role);

// One random set of weights; kept whole because the oracle reads the unpacked form.
struct RandomLayer {
  std::vector<PageBuffer> memory;
  RoleTensors tensors;
  MemoryWeights view;
  std::map<std::string, std::string> functions; // texts of activations that are not built in
  bool tf32 = false;                            // what runs may round f32 operands of matmuls to tf32 ...
  bool unordered = false;                       // ... and was made with --det off

  bool make(const LayerSpec &spec, uint64_t seed); // false: no memory
};

struct OracleResult : CheckResult {
  size_t tied = 0; // tokens about which rounding decides: only their logits are compared
};

// Two experts whose logits differ by rounding only may change places; everything else that differs by more than the
// layer's own sensitivity to rounding (Sensitivity.h) is wrong. `inputs` is what the call was given besides x. All
// tokens of small layers are compared, and all tokens of layers in which one token's experts depend on others; at least
// 2 tokens of other layers. False: `reason`.
bool compareToOracle(const LayerSpec &spec, const RandomLayer &weights, const void *x, const ReferenceInputs &inputs,
                     const CallOutputs &out, OracleResult &result, std::string &reason);

// MOEC_REPORT_* bits that a package of the spec must have; `ordered`: it was not made with --det off.
uint32_t reportsOf(const LayerSpec &spec, bool ordered);

// The call's reports against the oracle's, which must have seen all of its tokens; `tied`: some token's choice was a
// tie. False: `reason`.
bool compareReports(const LayerSpec &spec, const CallOutputs &out, const ReferenceOutputs &want,
                    const Sensitivity &sensitivity, bool tied, OracleResult &result, std::string &reason);

} // namespace moec

#endif
