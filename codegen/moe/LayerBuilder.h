// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one buildLayer() call, and the small pieces its parts share. Private to codegen/moe/Build*.cpp.

#ifndef MOEC_CODEGEN_MOE_LAYERBUILDER_H
#define MOEC_CODEGEN_MOE_LAYERBUILDER_H

#include "codegen/moe/BuildLayer.h"
#include "codegen/moe/FunctionLibrary.h"
#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"

#include <map>

namespace moec {

struct Bound {
  mlir::Value value;
  moe::OperandKind kind;
};

// What routing leaves for the experts.
struct RouterValues {
  mlir::Value logits;  // [T,E'] f32, after transforms; E' = routed plus zero experts
  mlir::Value ids;     // [T,K] i32
  mlir::Value weights; // [T,K] f32, final
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
};

class LayerBuilder {
public:
  LayerBuilder(mlir::MLIRContext &context, const LayerSpec &spec, const FunctionLibrary &functions)
      : spec(spec), functions(functions), builder(&context), loc(builder.getUnknownLoc()) {}

  mlir::OwningOpRef<mlir::ModuleOp> build(const std::array<uint8_t, 32> &specHash);

private:
  using ScalarFn = llvm::function_ref<mlir::Value(mlir::ValueRange)>;

  const LayerSpec &spec;
  const FunctionLibrary &functions;
  mlir::OpBuilder builder;
  mlir::Location loc;
  std::map<std::string, mlir::Value> parameters; // by role
  mlir::Value x;

  // BuildLayer.cpp
  void addArguments(mlir::func::FuncOp function, const std::vector<Role> &roles);
  mlir::Value finish(mlir::Value combined, const RouterValues &router, mlir::Value shared);
  mlir::Value parameter(const std::string &role) const { return parameters.at(role); }
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

  // BuildRouter.cpp
  RouterValues buildRouter();
  mlir::Value routerInput();
  mlir::Value logits();
  mlir::Value transformed(mlir::Value logits, const LogitTransform &transform);
  mlir::Value scored(mlir::Value logits);
  mlir::Value maskedByGroups(mlir::Value choice);
  mlir::Value finalWeights(mlir::Value values, mlir::Value ids);
  mlir::Value norm(mlir::Value values);
  mlir::Value constantWeights(double value);

  // BuildExperts.cpp
  mlir::Value buildExperts(const RouterValues &router);
  mlir::Value buildShared();
  mlir::Value sharedBlocks(const MlpShape &shape);
  mlir::Value sharedGate();
  MlpShape expertShape() const;
  mlir::Value latentIn();
  mlir::Value latentOut(mlir::Value combined);
  mlir::Value expertRows(mlir::Value input, mlir::Value route, const MlpShape &shape);
  mlir::Value gluHidden(mlir::Value input, mlir::Value route, const MlpShape &shape);
  mlir::Value mlpHidden(mlir::Value input, mlir::Value route, const MlpShape &shape, const std::string &role,
                        double factor);
  mlir::Value activated(mlir::Value value, const MlpShape &shape);
  mlir::Value lora(mlir::Value input, mlir::Value output, mlir::Value route);
  double outputScale() const;
};

} // namespace moec

#endif
