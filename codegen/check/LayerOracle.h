// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a layer that is being verified is compared to: random weights and inputs for it, and what it must make of them.

#ifndef MOEC_CODEGEN_CHECK_LAYERORACLE_H
#define MOEC_CODEGEN_CHECK_LAYERORACLE_H

#include "codegen/check/OracleCheck.h"

#include <cstdint>
#include <string>

namespace moec {

class LayerOracle {
public:
  virtual ~LayerOracle() = default;
  virtual int64_t hidden() const = 0;
  virtual DataType activation() const = 0; // of x

  // Bytes of memory that the weights, and what the comparison keeps of them, will take.
  virtual double weightBytes() const = 0;
  // Draws weights; `tf32`, `unordered`: how exact the kernels are that they are for. False: no memory.
  virtual bool drawWeights(uint64_t seed, bool tf32, bool unordered) = 0;
  virtual const RoleTensors &weights() const = 0; // those drawn last
  // Draws what a call of T tokens is given besides x.
  virtual void drawInputs(int64_t tokens, uint64_t seed) = 0;
  virtual const CallInputs &inputs() const = 0; // those drawn last
  // Outputs of that call on x. False: `reason` says which is wrong.
  virtual bool compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) = 0;
};

} // namespace moec

#endif
