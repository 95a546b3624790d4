// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The reports that a spec may ask for -> their names, and which of them a layer has. runtime/moec_outputs.h lists them.

#ifndef MOEC_DSL_REPORTS_H
#define MOEC_DSL_REPORTS_H

#include "dsl/LayerSpec.h"

#include <string_view>
#include <vector>

namespace moec {

// Name of bit i of LayerSpec::reports, in the order of bits.
const std::vector<std::string_view> &reportNames();

// Every bit: what "all" means. A package has those of them that its layer can have.
unsigned allReports();

// Bits of the reports that the layer can have: others need logits or choices that it does not make.
unsigned possibleReports(const LayerSpec &spec);

// Whether the layer's packages have the report: the spec asks for it and the layer can have it. "losses" follow from
// the spec's losses.
bool hasReport(const LayerSpec &spec, std::string_view name);

// Two spellings of one request become one: every possible report is "all".
void normalizeReports(LayerSpec &spec);

// Why the layer cannot have the report of this bit: "its router has no logit for each expert".
std::string_view whyNoReport(unsigned bit);

} // namespace moec

#endif
