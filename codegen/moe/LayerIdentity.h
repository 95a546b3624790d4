// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's text -> 32 bytes that identify the layer in its packages and packed weights.
//
// moe.layer holds two hashes while a layer is not fused:
//
//     spec_hash   the identity
//     text_hash   SHA-256 of the printed function without text_hash: the text that spec_hash belongs to
//
// A layer built from a spec keeps the hash of its spec and functions (dsl/spec/LayerHash.h), even if its text is
// printed and read back. A text that differs in more than white space and comments is another layer; its identity is
// the SHA-256 of its own text.

#ifndef MOEC_CODEGEN_MOE_LAYERIDENTITY_H
#define MOEC_CODEGEN_MOE_LAYERIDENTITY_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "dsl/text/Sha256.h"

namespace moec {

// Writes both hashes into moe.layer: `identity` and the text's.
void stampIdentity(mlir::func::FuncOp layer, const Sha256Digest &identity);

// Makes the identity in moe.layer that of the function's present text: for functions that a layer was changed into.
void keepIdentity(mlir::func::FuncOp layer);

// Call before the first change of a layer, built or read. Afterwards spec_hash is its identity and text_hash is
// removed. A malformed spec_hash stays unchanged; planStages refuses it (P6).
void settleIdentity(mlir::func::FuncOp layer);

} // namespace moec

#endif
