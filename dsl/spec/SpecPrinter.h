// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> canonical JSON and its hash. LayerHash.h makes the identity of a layer of it.
//
// Canonical: keys in the order of SpecFields, keys with their default left out, two spaces per level, shortest numbers
// that read back the same. Reading the text and printing it again gives the same text.

#ifndef MOEC_DSL_SPEC_SPECPRINTER_H
#define MOEC_DSL_SPEC_SPECPRINTER_H

#include "dsl/LayerSpec.h"

#include <array>
#include <cstdint>
#include <string>

namespace moec {

std::string printSpec(const LayerSpec &spec); // ends with a line end

// SHA-256 of printSpec(spec).
std::array<uint8_t, 32> specHash(const LayerSpec &spec);

std::string printNumber(double value); // shortest JSON number that reads back as `value`, which must be finite

} // namespace moec

#endif
