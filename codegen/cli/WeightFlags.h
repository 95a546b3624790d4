// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The flags of verbs that read checkpoints -> for each layer the checkpoints and prefixes to read.

#ifndef MOEC_CODEGEN_CLI_WEIGHTFLAGS_H
#define MOEC_CODEGEN_CLI_WEIGHTFLAGS_H

#include "CheckpointReport.h"

#include <string>
#include <vector>

namespace moec {

struct WeightFlags {
  std::string weights, prefix;        // file, index or folder
  std::string adapter, adapterPrefix; // may be empty
  std::string layers;                 // "3", "3-60", "0,4,8-11"; empty: one layer
};

// --prefix, --adapter, --adapter-prefix and --layers; `flags` must outlive the parse.
void addWeightFlags(CLI::App &verb, WeightFlags &flags);

struct LayerSources {
  int64_t layer = -1; // -1: without --layers
  std::vector<WeightSource> sources;
};

// One entry per layer, "{l}" of the prefixes replaced by its number. Prints errors and returns their exit code.
int layerSources(Session &session, const WeightFlags &flags, std::vector<LayerSources> &out);

// Every "{l}" of a text replaced.
std::string withLayer(std::string text, int64_t layer);

} // namespace moec

#endif
