// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Widths of E experts -> classes of experts, and the names of their parameters. A class is computed at the largest
// width of its experts.
//
// Every class has its own route and matmuls, so the number of classes is bounded. Experts whose widths fill the same
// number of panels form one class at no cost.

#ifndef MOEC_CODEGEN_BUILD_EXPERTCLASSES_H
#define MOEC_CODEGEN_BUILD_EXPERTCLASSES_H

#include "dsl/LayerSpec.h"

namespace moec {

struct ExpertClass {
  std::vector<int64_t> experts; // ascending
  int64_t width = 0;            // the largest width among them
};

// The partition into at most 8 classes (fewer if an expert has many matrices) that computes the fewest columns, in
// ascending width. Experts of equal width form one class.
std::vector<ExpertClass> expertClasses(const ExpertsSpec &experts);

// The name of a class's part of a role: "experts.gate" -> "experts.class0.gate".
std::string classRole(const std::string &role, size_t number);

// Extra columns (in whole panels) that the classes compute, relative to the experts' own columns.
double paddedShare(const ExpertsSpec &experts);

} // namespace moec

#endif
