// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A seed -> a random valid spec, and random inputs for a call of it; the same on every machine.

#ifndef MOEC_CODEGEN_CHECK_RANDOMSPEC_H
#define MOEC_CODEGEN_CHECK_RANDOMSPEC_H

#include "codegen/check/CallInputs.h"

#include "dsl/LayerSpec.h"
#include "dsl/reference/Reference.h"

#include <cstdint>
#include <string>

namespace moec {

struct RandomSizes {
  int64_t most = 200; // of hidden and inner widths; small ones and odd ones are as likely as large ones
  int64_t experts = 140;
};

// JSON text of the layer random_SEED. Every key on floating-point weights is used by some seed.
std::string randomSpecText(uint64_t seed, const RandomSizes &sizes);

// Parts of it: whether a text is a valid spec, and the text with further ways of routing, keys of training, losses or
// reports in some seeds.
bool isValidSpec(const std::string &text);
std::string withRandomRouting(const std::string &text, uint64_t seed);
std::string withRandomLosses(const std::string &text, uint64_t seed);
std::string withRandomTraining(const std::string &text, uint64_t seed);
// The layer with a backward pass: of all parameters or of inputs only, some frozen, with every way to save.
std::string withRandomPasses(const std::string &text, uint64_t seed);
std::string withRandomReports(const std::string &text, uint64_t seed);

// Fills everything `spec` reads besides x, the same values for the layer and for the oracle, and sets a sequence length
// that divides numTokens.
void randomInputs(const LayerSpec &spec, int64_t numTokens, uint64_t seed, CallInputs &layer, ReferenceInputs &oracle);

} // namespace moec

#endif
