// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Inputs of a call besides x, by their names in moec_forward_args.

#ifndef MOEC_CODEGEN_CHECK_CALLINPUTS_H
#define MOEC_CODEGEN_CHECK_CALLINPUTS_H

#include "dsl/DataType.h"

#include "runtime/moec.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

struct CallInputs {
  int64_t tokensPerSequence = 0;                  // 0: one sequence
  std::map<std::string, std::vector<char>> bytes; // elements as the layer reads them

  bool empty() const { return bytes.empty() && !tokensPerSequence; }
  // Stores `values` under `name`: as i32 for integer inputs, as `activation` for the residual, otherwise as f32. False:
  // no input has this name.
  bool set(const std::string &name, const std::vector<double> &values, DataType activation);
  // Points `args` at them; they must stay where they are.
  void fill(moec_forward_args &args) const;
  void fill(moec_backward_args &args) const;
};

// The field of `args` called `name`; null: no such field.
const void **inputField(moec_forward_args &args, const std::string &name);
const void **inputField(moec_backward_args &args, const std::string &name);

} // namespace moec

#endif
