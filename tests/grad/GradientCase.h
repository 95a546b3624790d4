// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: one spec with random tensors; its gradients by the interpreter and, along random directions, by central
// differences of the reference, which shares no code with differentiation.

#ifndef MOEC_TESTS_GRAD_GRADIENTCASE_H
#define MOEC_TESTS_GRAD_GRADIENTCASE_H

#include "tests/interpret/BothAnswers.h"

#include "codegen/check/Compare.h"
#include "codegen/check/GoldenCase.h"

namespace moec {

struct GradientCase {
  BothAnswers both;
  std::map<std::string, std::vector<double>> tensors; // every tensor that is differentiated, "x" among them
  MemoryWeights weights;                              // views of `tensors`
  std::vector<double> dy, coefficients;
  interpret::CallResults got;

  // Draws everything for a call of `tokens` tokens; `both.built` has its spec and both.buildGradient() was called.
  bool prepare(int64_t tokens, uint64_t seed);
  // The same from a golden case.
  bool take(const GoldenCase &golden);
  bool runInterpreter();
  std::vector<std::pair<std::string, interpret::TensorRef>> gradients() const; // by role
  Comparison compareForward(); // y of the interpreter, which ran, and of the reference

  // <dy, y> + sum c_i loss_i of the reference; `choices` gets everything that was chosen, `size` the sum of magnitudes.
  double valueAt(std::vector<int64_t> &choices, double *size = nullptr);

  struct Difference {
    double wanted = 0, found = 0; // derivative along the direction: by differences, by gradients
    double size = 0;              // sum of the magnitudes of the gradient's products
    double value = 0;             // sum of the magnitudes that L is the sum of
    bool steady = true;           // the choices are the same at both ends
  };
  // Along a random direction of one tensor. Where L has kinks a smaller step crosses fewer of them: of several steps
  // the one counts that comes closest.
  Difference along(const std::string &name, uint64_t seed);

  // <grad.ROLE, direction> over all arguments that hold a part of tensor `name`.
  void productOf(const std::string &name, const std::vector<double> &direction, Difference &out);
};

} // namespace moec

#endif
