// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every gradient that one backward call makes, in memory that shows what the call did not write and what it wrote
// beyond the ends.

#ifndef MOEC_CODEGEN_CHECK_CALLGRADIENTS_H
#define MOEC_CODEGEN_CHECK_CALLGRADIENTS_H

#include "codegen/check/LayerRun.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

struct Gradient {
  std::string name; // "x", "residual", "expert_weights", or a role
  DataType type = DataType::F32;
  std::vector<int64_t> shape;
  int32_t role = -1; // index of moec_layer_role; -1: of an input

  int64_t numElements() const;
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  void *data() const { return memory.data(); }
  std::vector<double> values() const;

  PageBuffer memory; // the elements, then bytes that no call may change
};

struct CallGradients {
  std::vector<Gradient> all;         // of inputs, then of the roles in their order
  DataType matrices = DataType::F32; // type of the gradients of matrices

  // For a call of T tokens: of `inputs`, and of every role that has one. `matrices` is the type of matrices' gradients.
  // Elements are NaN. An error: no memory, or the layer cannot be asked.
  static Result<CallGradients> make(const LayerRun &layer, int64_t tokens, const std::vector<std::string> &inputs,
                                    DataType matrices);
  // The call asks for those that `wanted` says.
  using Wanted = bool (*)(const Gradient &);
  void ask(moec_backward_args &args, Wanted wanted = nullptr);

  // Fills those of parameters with numbers of the size `sizes`' elements have, which a call may add to.
  void fillParameters(const CallGradients &sizes, uint64_t seed);

  // Those of parameters become those of `other`, which has the same types.
  void copyParameters(const CallGradients &other);
  // All become those of `other`, rounded to nearest.
  void convert(const CallGradients &other);

  // The name of one that differs in its bits, or holds bytes behind its end that were changed; empty: none. Those that
  // `wanted` leaves out are not looked at.
  std::string differing(const CallGradients &other, Wanted wanted = nullptr) const;
  std::string overrun() const;
  const Gradient *find(const std::string &name) const;

private:
  std::vector<void *> pointers; // of roles, for the call
};

} // namespace moec

#endif
