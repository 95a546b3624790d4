// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Everything one forward call wrote -> is it the same as another call's, and does it agree with the oracle.

#ifndef MOEC_TESTS_CPU_CALLRESULT_H
#define MOEC_TESTS_CPU_CALLRESULT_H

#include "codegen/check/Sensitivity.h"
#include "dsl/reference/Reference.h"
#include "runtime/moec.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace moec {

struct CallResult {
  moec_status status = MOEC_INTERNAL;
  std::vector<unsigned char> yBytes;  // [T,H] in the output type
  std::vector<double> y;              // the same, widened
  std::vector<float> logits, weights; // [T,R], [T,K]
  std::vector<int32_t> ids, counts;   // [T,K], [E]
  bool inBounds = false;              // canaries beside y, the optional outputs and the workspace are intact

  // Buffer: data() and size() in bytes, contents of the type of the field.
  template <class Buffer>
  void copy(const Buffer &y, const Buffer &logits, const Buffer &weights, const Buffer &ids, const Buffer &counts);
  void widenY(DataType output); // yBytes -> y
  bool sameBits(const CallResult &other) const;
  bool sameRowBits(const CallResult &other, int64_t token) const; // y, ids and weights of one token
};

template <class Buffer>
void CallResult::copy(const Buffer &y, const Buffer &logits, const Buffer &weights, const Buffer &ids,
                      const Buffer &counts) {
  auto take = [](auto &to, const Buffer &from) {
    to.resize(from.size() / sizeof(to[0]));
    if (from.size())
      std::memcpy(to.data(), from.data(), from.size());
  };
  take(yBytes, y), take(this->logits, logits), take(this->weights, weights), take(this->ids, ids);
  take(this->counts, counts);
}

// What the reference makes of a call, and how far rounding may move it.
struct OracleAnswer : ReferenceOutputs {
  Sensitivity sensitivity;
};

// Compares rows [0, T) of a call with the first rows of the oracle: y, and ids and weights where the choice was clear,
// which at least half of the tokens must be. Empty: they agree.
std::string disagreement(const LayerSpec &spec, const CallResult &actual, const OracleAnswer &expected);

} // namespace moec

#endif
