// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A call of the float64 reference -> derivatives of  L = <dy, y> + sum_i c_i loss_i  along directions, by central
// differences. Shares no code with differentiation.

#ifndef MOEC_CODEGEN_GRADCHECK_REFERENCESLOPES_H
#define MOEC_CODEGEN_GRADCHECK_REFERENCESLOPES_H

#include "dsl/reference/Reference.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

// `count` numbers of a standard normal draw, as f32 holds them.
std::vector<double> normalNumbers(int64_t count, uint64_t seed);

struct Slope {
  double wanted = 0, found = 0; // the derivative: by differences, by gradients
  double size = 0;              // sum of the magnitudes of the gradient's products
  double value = 0;             // sum of the magnitudes that L is the sum of
  bool steady = true;           // the choices are the same at both ends of some step
};

struct ReferenceSlopes {
  const LayerSpec *spec = nullptr;
  ReferenceInputs inputs;                             // without x and weights
  std::map<std::string, std::vector<double>> tensors; // what L is a function of: "x", "residual", ..., and the roles
  std::vector<double> dy, coefficients;
  std::string error; // of the last run that failed

  // L; `choices` gets everything that was chosen, `size` the sum of magnitudes. NaN: an error, or L is not finite.
  double valueAt(std::vector<int64_t> &choices, double *size = nullptr);

  // Along `direction` of tensor `name`, whose `gradient` is to be checked. Where L has kinks a smaller step crosses
  // fewer of them: of several steps the one counts that comes closest.
  Slope along(const std::string &name, const std::vector<double> &direction, const std::vector<double> &gradient);
};

// Whether the derivatives agree. A slope that is not steady does. `relative`: what constants of the text, which are f32
// numbers, may do to the parts of both.
bool agrees(const Slope &slope, double relative);

} // namespace moec

#endif
