// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Widths of E experts -> classes of experts that are computed at one width, the largest of the class.
//
// Every class is a route and a set of matmuls of its own, so their number is bounded; experts whose widths fill the
// same number of panels are one class at no cost.

#ifndef MOEC_CODEGEN_BUILD_EXPERTCLASSES_H
#define MOEC_CODEGEN_BUILD_EXPERTCLASSES_H

#include "dsl/LayerSpec.h"

namespace moec {

struct ExpertClass {
  std::vector<int64_t> experts; // ascending
  int64_t width = 0;            // the largest of theirs
};

// The partition into at most 8 classes (fewer where an expert has many matrices) that computes the fewest columns. One
// class of all experts where they do not differ. Classes stand in ascending width.
std::vector<ExpertClass> expertClasses(const ExpertsSpec &experts);

// Columns of whole panels that are computed beyond those the experts have, as a share of these.
double paddedShare(const ExpertsSpec &experts);

} // namespace moec

#endif
