// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one buildLayer() call, and the small pieces its parts share. Private to codegen/build/Build*.cpp.

#ifndef MOEC_CODEGEN_BUILD_LAYERBUILDER_H
#define MOEC_CODEGEN_BUILD_LAYERBUILDER_H

#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"

#include <map>

namespace moec {

struct Bound {
  mlir::Value value;
  moe::OperandKind kind;
};

// Values that the stages of a router pass to each other and to the experts. Null: the layer does not have the value.
struct RouterValues {
  mlir::Value logits; // [T,R] f32, after transforms; R = routed plus zero experts; [T,2n] of product keys
  mlir::Value scores; // [T,R] the values that weights are gathered from
  // [T,K], for product keys instead of `scores`: scores of the chosen, or their logits with score_over selected
  mlir::Value chosen;
  mlir::Value choice;   // [T,R] the values that selection compares
  mlir::Value ids;      // [T,K] i32, -1 = none
  mlir::Value weights;  // [T,K] f32
  mlir::Value wanted;   // [T,K] i32, the ids that ask for a place, -1 elsewhere
  mlir::Value kept;     // [T,K] i32, the ids that reach their experts, -1 elsewhere
  mlir::Value passed;   // [T] f32, the weight of x itself in the output
  mlir::Value added;    // [T,H] f32, the sum of the constant experts
  mlir::Value route;    // soft routing: the route of slots
  bool partial = false; // some ids may be -1
};

// Logits that selection compares and logits that weights are made of; noise may change only one of them.
struct NoisyLogits {
  mlir::Value choice, weights;
};

// Shape of one MLP: routed experts and shared blocks are built by the same code.
struct MlpShape {
  std::string prefix; // roles: PREFIX.gate, PREFIX.up, PREFIX.down, biases beside them
  std::string gateBias;
  ExpertForm form = ExpertForm::Glu;
  std::string activation;
  int64_t width = 0, outputs = 0; // hidden columns, output columns
  int64_t layers = 1;
  ExpertBias bias;
  double actAlpha = 1, upOffset = 0, hiddenScale = 1, outputScale = 1;
  std::optional<ExpertClamp> clamp;
  std::optional<LoraSpec> matrixLora; // beside every matrix: NAME_lora_a, NAME_lora_b
};

// The shared experts' output and its mixing factors: y = own · y + factor · output; a null factor is 1.
struct SharedValues {
  mlir::Value output;      // [T,H] f32
  mlir::Value own, factor; // [T] f32
};

// Outputs of the routed experts, before weights.
struct RoutedRows {
  mlir::Value outputs, route; // [R,width]
};

// One argument of the layer's function: a role, or the part of it that belongs to a class of experts; `members` then
// names the tensors it consists of.
struct LayerParameter {
  std::string name, role;
  mlir::RankedTensorType type;
  bool stacked;
  mlir::DictionaryAttr members;
};

class LayerBuilder {
public:
  LayerBuilder(mlir::MLIRContext &context, const LayerSpec &spec, const FunctionLibrary &functions)
      : spec(spec), functions(functions), builder(&context), loc(builder.getUnknownLoc()) {
    if (!spec.experts.intermediate.empty())
      expertWidth = spec.experts.intermediate[0];
  }

  mlir::OwningOpRef<mlir::ModuleOp> build(const std::array<uint8_t, 32> &specHash);

private:
  using ScalarFn = llvm::function_ref<mlir::Value(mlir::ValueRange)>;

  const LayerSpec &spec;
  const FunctionLibrary &functions;
  mlir::OpBuilder builder;
  mlir::Location loc;
  std::map<std::string, mlir::Value> parameters; // by role, inputs by name
  mlir::Value x;
  std::string expertPrefix = "experts"; // roles of the current experts, "experts.class0" if widths differ ...
  int64_t expertWidth = 0;              // ... and their inner width
  mlir::Value wrapFactor;               // [T] f32: factor of the experts' output in a depth wrap
  llvm::SmallVector<RoutedRows> routed; // one per class of experts
  mlir::Value present;                  // [T,1] i32: 1 where a wrapped layer runs its experts; null without a wrap

  // BuildLayer.cpp
  std::vector<std::pair<std::string, mlir::Type>> inputTypes();
  void addArguments(mlir::func::FuncOp function, const std::vector<LayerParameter> &list);
  mlir::Value parameter(const std::string &role) const { return parameters.at(role); }
  mlir::Value input(const std::string &name) const { return parameters.at(name); }
  mlir::Type typeOf(DataType type);
  mlir::RankedTensorType rows(mlir::Type element, int64_t columns);
  mlir::RankedTensorType rowVector(mlir::Type element);
  mlir::Value map(llvm::ArrayRef<Bound> operands, mlir::RankedTensorType type, ScalarFn body);
  mlir::Value matmul(mlir::Value a, mlir::Value b, mlir::Value route);
  mlir::Value sumRows(mlir::Value input);

  // Scalars, inside a map's body.
  mlir::Value number(double value);
  mlir::Value toF32(mlir::Value value);
  mlir::Value fromF32(mlir::Value value, mlir::Type type);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value multiply(mlir::Value a, mlir::Value b);
  mlir::Value divide(mlir::Value a, mlir::Value b);
  mlir::Value scaled(mlir::Value a, double factor); // a itself for factor 1
  mlir::Value atMost(mlir::Value a, double limit);  // NaN stays NaN
  mlir::Value atLeast(mlir::Value a, double limit);

  mlir::Value integer(int32_t value);
  mlir::Value plus(mlir::Value a, int32_t b); // i32, as are the next four
  mlir::Value times(mlir::Value a, int32_t b);
  mlir::Value quotient(mlir::Value a, int32_t b); // a >= 0
  mlir::Value rest(mlir::Value a, int32_t b);
  mlir::Value equal(mlir::Value a, int32_t b);
  mlir::Value isChosen(mlir::Value id); // id >= 0
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value b);

  // Rows.
  mlir::Value columns(int64_t count);                                      // [T,count] i32
  mlir::Value numbers(llvm::ArrayRef<int32_t> numbers);                    // [T,N] i32, the same for every token
  mlir::Value rowsOf(mlir::Value column);                                  // [T,1] -> [T] f32
  mlir::Value maskedBy(mlir::Value values, mlir::Value ids, double other); // `other` if the id is -1
  mlir::Value take(mlir::Value values, mlir::Value ids);
  mlir::Value topK(mlir::Value values, int64_t k, int64_t segments = 1);

  // BuildRouter.cpp: the router's input, logits, noise, scores
  RouterValues buildRouter();
  mlir::Value routerInput();
  mlir::Value logits(const RouterSpec &router, const std::string &role);
  mlir::Value cosine(mlir::Value z, mlir::Value input, mlir::Value weight, const LogitTransform &transform);
  mlir::Value transformed(mlir::Value logits, const LogitTransform &transform);
  NoisyLogits withNoise(mlir::Value logits);
  mlir::Value noiseDeviation(); // [T,E] of learned noise, without eps
  mlir::Value scored(Score score, mlir::Value logits, int64_t segments = 1);
  void scoreLogits(RouterValues &values);

  // BuildChoice.cpp: ids
  mlir::Value maskedByGroups(mlir::Value choice);
  void choose(RouterValues &values);
  mlir::Value reachedBefore(mlir::Value scores, double p);
  void chooseRanked(RouterValues &values);
  void chooseProductKeys(RouterValues &values);
  void choosePair(RouterValues &values, const NoisyLogits &logits);
  void chooseSparse(RouterValues &values, mlir::Value logits);
  void chooseGiven(RouterValues &values);
  void chooseByLevels(RouterValues &values);
  std::pair<mlir::Value, mlir::Value> chooseLevel(const RouterSpec &level, mlir::Value logits, int64_t segments);
  void dropAbsent(RouterValues &values);

  // BuildWeights.cpp: weights, and which choices reach their experts
  void gatherWeights(RouterValues &values);
  mlir::Value normalized(const RouterNormalize &normalize, mlir::Value values, mlir::Value ids, bool partial);
  mlir::Value powered(const RouterNormalize &normalize, mlir::Value values);
  mlir::Value rooted(const RouterNormalize &normalize, mlir::Value sum); // inside a map, as the next two
  mlir::Value divisor(const RouterNormalize &normalize, mlir::Value norm);
  mlir::Value power(mlir::Value v, double p);
  mlir::Value scaledWeights(mlir::Value values, mlir::Value ids);
  mlir::Value finalWeights(mlir::Value values, mlir::Value ids, bool partial);
  void finishWeights(RouterValues &values);
  mlir::Value keptSeconds(const RouterValues &values);
  mlir::Value capacity(const RouterValues &values, mlir::Value ids);
  void passAround(RouterValues &values, mlir::Value before);
  mlir::Value constantExperts(const RouterValues &values);

  // BuildMixing.cpp: routers in which experts or slots take tokens
  RouterValues buildExpertChoice();
  RouterValues buildSoft();
  mlir::Value tokenSoftmax(mlir::Value values, moe::Scope scope);
  mlir::Value tokenReduce(mlir::Value values, moe::ReduceKind kind, moe::Scope scope);
  mlir::Value overExperts(mlir::Value weights, mlir::Value ids, moe::Scope scope);
  mlir::Value slotRoute(int64_t experts);
  mlir::Value slotOutputs(const RouterValues &router, mlir::Value tokens);
  mlir::Value buildSlotExperts(const RouterValues &router);

  // BuildWrap.cpp: the wrap around the experts
  void buildPresence();
  mlir::Value wrapLogit();
  mlir::Value buildDense();
  mlir::Value finish(mlir::Value combined, const RouterValues &router, const std::optional<SharedValues> &shared);

  // BuildReports.cpp: results that a call computes only on request, by their moe.role
  std::vector<std::pair<llvm::StringRef, mlir::Value>> buildReports(const RouterValues &router);
  mlir::Value probabilities(Score score, mlir::Value logits);
  mlir::Value ones(int64_t columns);           // [T,columns] f32
  mlir::Value ifPresent(mlir::Value values);   // 0 in rows of tokens that do not reach the router
  mlir::Value asColumn(mlir::Value row);       // [T] -> [T,1]
  mlir::Value presentTokens(moe::Scope scope); // [T,1] f32, how many reach the router, at least 1
  mlir::Value meanOfTokens(mlir::Value row);   // [T], rescaled so that total(mean) averages over present tokens only
  mlir::Value total(mlir::Value values, moe::TotalKind kind); // [T,N] -> [N]
  mlir::Value diversity(const RouterValues &router);

  // BuildLosses.cpp: a loss is a column [T] whose mean over tokens is its value
  mlir::Value buildLosses(const RouterValues &router); // [L]
  mlir::Value loss(const LossSpec &loss, const RouterValues &router);
  mlir::Value loadBalance(const LossSpec &loss, const RouterValues &router, mlir::Value p);
  mlir::Value choiceCounts(mlir::Value ids, moe::Scope scope); // [T,E]
  mlir::Value zLoss(mlir::Value logits);
  mlir::Value squaredVariation(const LossSpec &loss, mlir::Value perExpert);
  mlir::Value varianceOf(mlir::Value perExpert, bool sample); // [T]
  mlir::Value load(const RouterValues &router);
  mlir::Value entropy(const LossSpec &loss, mlir::Value p);
  mlir::Value uniformError(const LossSpec &loss, const RouterValues &router, mlir::Value p);
  mlir::Value meanOver(mlir::Value values); // [T,N]: each column's mean over the tokens that reach the router

  // BuildClasses.cpp: experts of different width
  std::vector<LayerParameter> parametersOf(const Role &role);
  static std::string classRole(size_t number, const std::string &role);
  RouterValues routerOfClass(const RouterValues &router, mlir::Value place, size_t number, int64_t members);
  RouterValues slotsOfClass(const RouterValues &router, llvm::ArrayRef<int64_t> experts);
  mlir::Value buildClasses(const RouterValues &router, mlir::Value tokens);

  // BuildExperts.cpp
  mlir::Value buildExperts(const RouterValues &router);
  mlir::Value routedOutputs(const RouterValues &router, mlir::Value tokens, int64_t experts);
  SharedValues buildShared();
  mlir::Value sharedBlocks(const MlpShape &shape, mlir::Value tokens);
  mlir::Value sharedGate(mlir::Value tokens);
  void mixShared(mlir::Value tokens, SharedValues &shared);
  mlir::Value projected(mlir::Value input, const std::string &role, mlir::Value route, const MlpShape &shape);
  mlir::Value layerNorm(mlir::Value output, const RouterValues &router, mlir::Value route, int64_t width);
  moe::RouteType routeOfExperts(int64_t experts); // its rows are bounded if experts take a fixed number of tokens
  mlir::Value expertOutputs(mlir::Value input, mlir::Value route, const RouterValues &router);
  MlpShape expertShape() const;
  mlir::Value latentIn();
  mlir::Value latentOut(mlir::Value combined, mlir::Value biasFactor = {}); // [T] f32, null: 1
  mlir::Value expertRows(mlir::Value input, mlir::Value route, const MlpShape &shape);
  mlir::Value gluHidden(mlir::Value input, mlir::Value route, const MlpShape &shape);
  mlir::Value mlpHidden(mlir::Value input, mlir::Value route, const MlpShape &shape, const std::string &role,
                        double factor);
  mlir::Value activated(mlir::Value value, const MlpShape &shape);
  mlir::Value lora(mlir::Value input, mlir::Value output, mlir::Value route, int64_t width);
  mlir::Value scaledOutput(mlir::Value output, double factor);
  double outputScale() const;
};

} // namespace moec

#endif
