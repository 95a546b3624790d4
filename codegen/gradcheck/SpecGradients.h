// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec with a backward pass -> its gradients in float64, and how far a kernel's may be off.
//
// Wanted is what the interpreter makes of the differentiated layer without any rounding. For one call of every set of
// weights it is itself compared with central differences of the reference (ReferenceSlopes.h). The limits follow from
// runs of the interpreter with the largest errors that kernels may make (ReferenceRounding.h), on the forward and the
// backward function with what is saved between them as it is kept: rows of a gradient are limited as rows of y are
// (RowSpread.h). A gradient has few errors of its own where few tokens reach an expert, and then a few runs may come
// out near the exact one: where a limit is exceeded, 92 more runs decide. If a token chooses otherwise in one of them,
// the kernel may have done so too: of such a call only NaN is an error, and its tokens count as undecided.
//
// A token about which rounding decides gets other gradients. Such calls are drawn anew; after 8 of them dy of those
// tokens, and the losses' coefficients, are 0. What such a token chooses then changes none of the gradients.

#ifndef MOEC_CODEGEN_GRADCHECK_SPECGRADIENTS_H
#define MOEC_CODEGEN_GRADCHECK_SPECGRADIENTS_H

#include "codegen/check/GradientOracle.h"
#include "codegen/check/RowSpread.h"
#include "codegen/interpret/Interpreter.h"

#include "dsl/reference/Reference.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moec {

// The layer as one function with its gradients, and its two passes put together again.
struct DifferentiatedLayer {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp whole, passes;
  bool looksAtAllTokens = false; // a token's choices depend on other tokens
  bool learnsOtherwise = false;  // weights have the gradient of another value (moe.gradient_of)

  // Errors: those of the compiler.
  static Result<std::unique_ptr<DifferentiatedLayer>> make(const LayerSpec &spec, const std::string &templatesDir);
};

// One call with all of its gradients.
struct GradientExpectation {
  GradientCall call;
  ReferenceInputs inputs;                            // of the same call
  std::vector<double> dy, coefficients;              // of the call
  std::map<std::string, interpret::TensorRef> exact; // by tensor: "x", "residual", "expert_weights" and roles
  std::vector<uint64_t> choices;                     // of each token, in both passes together
  std::vector<uint8_t> silent;                       // by token: 1 where dy was set to 0; empty: nowhere
  std::map<std::string, RowSpread> spreads;
  int64_t runs = 0;
  size_t undecided = 0;
  bool isOpen = false; // rounding decides about tokens that are not silent
};

class SpecGradients : public GradientOracle {
public:
  // `functions`: texts of the layer's activations that are not built in.
  static Result<std::unique_ptr<SpecGradients>> make(const LayerSpec &spec, const std::string &templatesDir,
                                                     std::map<std::string, std::string> functions);
  ~SpecGradients() override;

  const std::vector<std::string> &inputs() const override { return inputNames; }
  DataType weightType() const override { return matrices; }
  double bytes(int64_t tokens) const override;
  Result<> draw(const RoleTensors &weights, uint64_t weightSeed, int64_t tokens) override;
  const GradientCall &call() const override { return now->call; }
  size_t undecided() const override { return now->isOpen ? size_t(now->call.tokens) : now->undecided; }
  bool compare(const CallGradients &got, const CallGradients *before, CheckResult &result,
               std::string &reason) override;

  // A call that is given instead of drawn: its number of tokens, inputs, x among them, dy and coefficients.
  Result<> take(const RoleTensors &weights, std::unique_ptr<GradientExpectation> call);
  const GradientExpectation &expectation() const { return *now; }
  // Makes runs of the call that is expected now until it has `runs`, at most all, after which its limits change no
  // more. `moved`, [T], if given, gets 1 for tokens that chose otherwise.
  Result<> settle(int64_t runs = INT64_MAX, std::vector<uint8_t> *moved = nullptr);

private:
  SpecGradients(const LayerSpec &spec) : spec(spec) {}
  using Tensors = std::map<std::string, interpret::TensorRef>;

  void setWeights(const RoleTensors &weights, uint64_t seed);
  void drawCall(GradientExpectation &out, int64_t tokens, uint64_t seed) const;
  // Exact gradients and the first runs; `open` gets the tokens whose choices rounding may change.
  Result<> expect(GradientExpectation &out, std::vector<uint8_t> &open) const;
  // Takes these tokens out of L, beside those that already are.
  void silence(GradientExpectation &out, const std::vector<uint8_t> &open) const;
  Result<interpret::CallResults> run(mlir::func::FuncOp function, const GradientExpectation &of,
                                     ReferenceRounding *errors) const;
  Tensors gradientsOf(mlir::func::FuncOp function, const interpret::CallResults &results) const;
  // Adds runs; a run in which a token of L chose otherwise is left out. `moved` gets all that did.
  Result<> addRuns(GradientExpectation &out, int64_t count, std::vector<uint8_t> *moved) const;
  Result<> checkSlopes(const GradientExpectation &of) const;
  std::string wrongGradient(const CallGradients &got, const CallGradients *before, CheckResult &result) const;
  std::string unwrittenGradient(const CallGradients &got) const;

  const LayerSpec &spec;
  std::map<std::string, std::string> functions;
  std::unique_ptr<DifferentiatedLayer> layer;
  std::vector<std::string> inputNames;
  DataType matrices = DataType::F32, activation = DataType::F32, output = DataType::F32;
  Tensors weights; // drawn last, by role
  uint64_t weightSeed = 0;
  bool slopesChecked = false;                                                         // of these weights
  std::map<std::pair<uint64_t, int64_t>, std::unique_ptr<GradientExpectation>> known; // of every machine the same
  GradientExpectation *now = nullptr;
};

} // namespace moec

#endif
