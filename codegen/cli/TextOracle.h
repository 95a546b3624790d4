// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer of the dialect is compared to the interpreter (TextExpectation.h).

#ifndef MOEC_CODEGEN_CLI_TEXTORACLE_H
#define MOEC_CODEGEN_CLI_TEXTORACLE_H

#include "TextLayer.h"
#include "codegen/check/LayerOracle.h"

#include "codegen/interpret/Interpreter.h"

namespace moec {

class TextOracle : public LayerOracle {
public:
  explicit TextOracle(const TextLayer &text) : text(text) {}
  int64_t hidden() const override { return text.hidden; }
  DataType activation() const override { return text.activation; }
  double weightBytes() const override;
  bool drawWeights(uint64_t seed, bool tf32, bool unordered) override;
  const RoleTensors &weights() const override { return tensors; }
  void drawInputs(int64_t numTokens, uint64_t seed) override;
  const CallInputs &inputs() const override { return given; }
  bool compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) override;

private:
  // The tokens that are looked at: all of small layers and where tokens depend on each other.
  std::vector<int64_t> sampledTokens(int64_t numTokens) const;
  // With `errors`, which spare the f32 operands of `exact` matmuls.
  bool interpret(const void *x, const std::vector<int64_t> &tokens, int64_t numTokens, ReferenceRounding *errors,
                 const llvm::DenseSet<mlir::Operation *> &exact, interpret::CallResults &out, std::string &reason);

  const TextLayer &text;
  std::vector<PageBuffer> memory;
  RoleTensors tensors;
  std::vector<interpret::TensorRef> parameters; // per argument; null: x or an input
  CallInputs given;
  std::map<std::string, std::vector<double>> values; // of `given`
  bool tf32 = false;
};

} // namespace moec

#endif
