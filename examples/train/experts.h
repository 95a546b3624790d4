// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// experts.h - experts that begin apart, dead ones that begin again, new ones beside trained ones.
#ifndef TRAIN_EXPERTS_H
#define TRAIN_EXPERTS_H

#include "adam.h"
#include "moe_layer.h"

namespace train {

// First values. The experts' matrices are drawn one by one, so that no two are alike. The router's rows are at right
// angles to each other, so that each expert begins with tokens of its own direction.
void draw_experts(MoeLayer &layer, Random &random, double output_factor);

// Expert `to` and its router row become those of `from`, each value times 1 + `spread` * N(0,1).
void copy_expert(MoeLayer &layer, int64_t from, int64_t to, double spread, Random &random);

// Experts that fewer than `least` of an equal share of the choices named since the last call begin again as copies of
// the most chosen ones. Returns how many. adam forgets their moments; it may be NULL.
int64_t revive_dead(MoeLayer &layer, double least, Random &random, Adam *adam);

} // namespace train
#endif
