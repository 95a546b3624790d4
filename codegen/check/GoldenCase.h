// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NAME.json + NAME.safetensors -> a spec, its parameters by role, and batches with the outputs expected of them.
//
// The files are untrusted: sizes and offsets are checked before anything is read, and every failure is a diagnostic.

#ifndef MOEC_CODEGEN_CHECK_GOLDENCASE_H
#define MOEC_CODEGEN_CHECK_GOLDENCASE_H

#include "dsl/LayerSpec.h"
#include "dsl/reference/Reference.h"
#include "dsl/text/Result.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moec {

// Elements in row-major order as stored; type is f32, f64, bf16, f16, i32 or i64.
struct GoldenTensor {
  DataType type = DataType::F32;
  std::vector<int64_t> shape;
  std::vector<unsigned char> bytes;

  int64_t numElements() const { return int64_t(bytes.size()) / (dataTypeBits(type) / 8); }
  std::vector<double> values() const;
};

struct GoldenBatch {
  int64_t index = 0;
  int64_t batch = 0, tokensPerSequence = 0;    // T is their product
  std::map<std::string, GoldenTensor> tensors; // by the name behind "b<index>.": x, y, logits, ids, weights, ...

  int64_t numTokens() const { return batch * tokensPerSequence; }
  const GoldenTensor *find(const std::string &name) const; // nullptr: not stored
};

struct GoldenCase {
  std::string name;
  DataType dtype = DataType::F32;  // of parameters and x; fills spec.dtype where the spec has none
  std::optional<double> tolerance; // of y, relative to max|y|
  std::string specText;            // the spec as JSON
  LayerSpec spec;
  std::map<std::string, GoldenTensor> weights; // role -> its logical shape, experts stacked, [out, in]
  std::vector<GoldenBatch> batches;            // every one has x and y of T·H elements
  std::map<std::string, double> losses;        // by the name behind "g.loss."
  int64_t lossBatch = 0;                       // the batch they, and the gradients, are of
  // "x", and the parameters by role in their logical shapes: gradients of <dy, y> + sum of coef * loss, from "g.x" and
  // "g.w.<name>". Empty: the case stores none.
  std::map<std::string, GoldenTensor> gradients;
  GoldenTensor dy;                // "g.dy"
  std::optional<double> lossCoef; // of every loss of a case made from formulas, in place of the spec's

  // The stored value of spec.losses[index] on batch `batch`, if any: KIND, or KIND_OF.
  std::optional<double> lossOf(size_t index, int64_t batch) const;
  MemoryWeights view() const; // of `weights`, valid as long as they are
};

// Names of the cases of a folder, sorted: files NAME.json with a NAME.safetensors beside them. An error is E-FILE.
Result<std::vector<std::string>> listGoldenCases(const std::string &folder);

// Reads one case. The error, E-FILE or E-GOLDEN, names the file and what is wrong with it.
Result<GoldenCase> readGoldenCase(const std::string &folder, const std::string &name);

// The batch as input of the oracle; in training mode if it holds draws that only training uses.
ReferenceInputs referenceInputs(const GoldenCase &golden, const GoldenBatch &batch, const ReferenceWeights &weights);

} // namespace moec

#endif
