// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec and the functions it applies -> 32 bytes that identify what the layer computes.
//
// The hash is the SHA-256 of the canonical spec (SpecPrinter.h), followed by two lines for each function, by name:
//
//     function silu
//     func.func @silu(%x: f32) -> f32 { %low = arith.constant -128.0 : f32 ... }
//
// The second line is the text of templates/functions/silu.mlir, or of the overlay's file, without comments and with
// single blanks. A layer that applies no function has the hash of its spec.

#ifndef MOEC_DSL_SPEC_LAYERHASH_H
#define MOEC_DSL_SPEC_LAYERHASH_H

#include "dsl/text/Sha256.h"

#include <map>
#include <string>
#include <string_view>

namespace moec {

using FunctionTexts = std::map<std::string, std::string>; // name -> text of its file

// `canonicalSpec` is what printSpec prints.
Sha256Digest layerHash(std::string_view canonicalSpec, const FunctionTexts &functions);

// MLIR text without // comments, every run of white space a blank, none at the ends. Text in double quotes
// stays as it is.
std::string bareMlirText(std::string_view text);

} // namespace moec

#endif
