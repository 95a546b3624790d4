// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a call gives a layer besides x, by the names of moec_forward_args.

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
  // Stores `values` under `name`: i32 where the input is one of integers, `activation` for the residual, else f32.
  // False: there is no input of this name.
  bool set(const std::string &name, const std::vector<double> &values, DataType activation);
  // Points `args` at them; they must stay where they are.
  void fill(moec_forward_args &args) const;
};

// The field of `args` that is called `name`; null: there is none.
const void **inputField(moec_forward_args &args, const std::string &name);

} // namespace moec

#endif
