// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A call's arguments in -> the interpreter's gradients of it, exact and with errors, and a kernel's beside them.

#include "codegen/gradcheck/SpecGradients.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/build/BuildLayer.h"
#include "codegen/build/FunctionLibrary.h"
#include "codegen/check/GradientCompare.h"
#include "codegen/check/OracleCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/grad/Differentiate.h"
#include "codegen/gradcheck/JoinedPasses.h"
#include "codegen/gradcheck/ReferenceSlopes.h"
#include "codegen/interpret/LayerParameters.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/SlotInputRows.h"

#include "dsl/Frozen.h"

#include "mlir/IR/Verifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace mlir;

namespace moec {

using interpret::Tensor;
using interpret::TensorRef;

static constexpr double clearChoice = 1e-5; // f32 and float64 decide alike on larger relative differences
static constexpr int64_t firstRuns = 4, mostRuns = 96, mostDraws = 8;

static StringRef roleOfArgument(func::FuncOp function, unsigned i) {
  return function.getArgAttrOfType<StringAttr>(i, "moe.role").getValue();
}

Result<std::unique_ptr<DifferentiatedLayer>> DifferentiatedLayer::make(const LayerSpec &spec,
                                                                       const std::string &templatesDir) {
  auto out = std::make_unique<DifferentiatedLayer>();
  loadMoeDialects(out->context);
  CapturedDiagnostics said(out->context, "E-INTERNAL");
  FunctionLibrary library(out->context, templatesDir);
  std::vector<Diagnostic> errors;
  out->module = buildLayer(out->context, spec, library, errors, FunctionUses::Form::Apply);
  if (!out->module)
    return errors.front();
  auto function = *out->module->getOps<func::FuncOp>().begin();
  function.walk([&](moe::GradientOfOp) { out->learnsOtherwise = true; });
  GradientOptions options;
  options.parameters = spec.passes.backward;
  options.frozen = {[&](StringRef role) { return isFrozen(spec, role.str()); },
                    [&](StringRef role, int64_t experts) { return frozenExperts(spec, role.str(), experts); }};
  if (Result<> made = differentiate(function, library, options); !made)
    return made.takeError();
  out->whole = function.clone();
  out->whole.setName("whole");
  out->module->push_back(out->whole);
  out->passes = joinPasses(partition(function, spec.save == Save::All ? SavePolicy::Matmuls : SavePolicy::Choices));
  if (failed(verify(*out->module)))
    return said.takeFirst("gradients are not valid ops");
  for (Operation &op : out->whole.getBody().front())
    out->looksAtAllTokens |= isa<moe::CapacityOp, moe::TopTokensOp, moe::SlotsOp>(op);
  return out;
}

SpecGradients::~SpecGradients() = default;

Result<std::unique_ptr<SpecGradients>> SpecGradients::make(const LayerSpec &spec, const std::string &templatesDir,
                                                           std::map<std::string, std::string> functions) {
  Result<std::unique_ptr<DifferentiatedLayer>> layer = DifferentiatedLayer::make(spec, templatesDir);
  if (!layer)
    return layer.takeError();
  std::unique_ptr<SpecGradients> out(new SpecGradients(spec));
  out->layer = std::move(*layer);
  out->functions = std::move(functions);
  func::FuncOp whole = out->layer->whole;
  for (unsigned i = 0; i < whole.getNumResults(); ++i) {
    StringRef role = whole.getResultAttrOfType<StringAttr>(i, "moe.role").getValue();
    if (role.consume_front("grad.") && isDifferentiable(role))
      out->inputNames.push_back(role.str());
  }
  for (unsigned i = 0; i < whole.getNumArguments(); ++i) {
    Type element = cast<RankedTensorType>(whole.getArgumentTypes()[i]).getElementType();
    DataType type = element.isBF16() ? DataType::BF16 : element.isF16() ? DataType::F16 : DataType::F32;
    if (roleOfArgument(whole, i) == "grad.y")
      out->output = type;
    if (roleOfArgument(whole, i) == "x")
      out->activation = type;
  }
  for (const Role &role : tensorsOf(spec))
    if (role.matrix && role.name != "router.table" && drawnType(spec, role) != DataType::F32)
      out->matrices = drawnType(spec, role);
  return out;
}

double SpecGradients::bytes(int64_t tokens) const {
  double elements = double(tokens * spec.hidden) * double(4 + spec.choices());
  for (const Role &role : tensorsOf(spec)) {
    double count = 1;
    for (int64_t extent : role.shape)
      count *= double(extent);
    elements += 6 * count;
  }
  return 8 * elements;
}

// Ids of a table may be integers.
static double elementOf(const RoleTensor &tensor, int64_t i) {
  const char *at = static_cast<const char *>(tensor.data);
  int64_t wide = 0;
  int32_t narrow = 0;
  switch (tensor.type) {
  case DataType::I64:
    std::memcpy(&wide, at + 8 * i, sizeof wide);
    return double(wide);
  case DataType::I32:
    std::memcpy(&narrow, at + 4 * i, sizeof narrow);
    return double(narrow);
  default:
    return loadElement(tensor.data, tensor.type, i);
  }
}

void SpecGradients::setWeights(const RoleTensors &drawn, uint64_t seed) {
  if (seed && seed == weightSeed)
    return;
  weights.clear();
  known.clear();
  now = nullptr;
  weightSeed = seed;
  slopesChecked = false;
  for (const auto &[role, tensor] : drawn) {
    auto value = std::make_shared<Tensor>();
    value->shape = tensor.shape;
    int64_t count = 1;
    for (int64_t extent : tensor.shape)
      count *= extent;
    for (int64_t i = 0; i < count; ++i)
      value->data.push_back(elementOf(tensor, i));
    weights[role] = std::move(value);
  }
}

// Numbers as `type` holds them, and the same in memory.
static PageBuffer stored(std::vector<double> &values, DataType type) {
  PageBuffer out(values.size() * 4 + 64);
  for (size_t i = 0; out.data() && i < values.size(); ++i) {
    storeElement(out.data(), type, int64_t(i), values[i]);
    values[i] = loadElement(out.data(), type, int64_t(i));
  }
  return out;
}

void SpecGradients::drawCall(GradientExpectation &out, int64_t tokens, uint64_t seed) const {
  out.call.tokens = tokens;
  randomInputs(spec, tokens, seed, out.call.inputs, out.inputs);
  out.inputs.functions = functions;
  std::vector<double> x = normalNumbers(tokens * spec.hidden, seed + 3);
  out.call.x = stored(x, activation);
  out.inputs.x = {{tokens, spec.hidden}, std::move(x)};
  out.dy = normalNumbers(tokens * spec.hidden, seed + 17);
  out.call.dy = stored(out.dy, output);
  out.coefficients = normalNumbers(int64_t(spec.losses.size()), seed + 23);
  out.call.coefficients.assign(out.coefficients.begin(), out.coefficients.end());
}

Result<interpret::CallResults> SpecGradients::run(func::FuncOp function, const GradientExpectation &of,
                                                  ReferenceRounding *errors) const {
  std::vector<interpret::Evaluated> arguments;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    std::string role = roleOfArgument(function, i).str();
    auto value = std::make_shared<Tensor>();
    for (int64_t extent : type.getShape())
      value->shape.push_back(ShapedType::isDynamic(extent) ? rowsOfInput(function.getArgument(i), of.call.tokens,
                                                                         of.call.inputs.tokensPerSequence)
                                                           : extent);
    auto extra = of.inputs.extra.find(role);
    if (role == "grad.y")
      value->data = of.dy;
    else if (role == "grad.losses")
      value->data = of.coefficients;
    else if (role == "x")
      value->data = of.inputs.x.data;
    else if (extra != of.inputs.extra.end())
      value->data = extra->second.data;
    else
      value = nullptr;
    auto find = [&](const std::string &name) {
      auto found = weights.find(name);
      return found == weights.end() ? nullptr : found->second;
    };
    arguments.push_back({value ? TensorRef(value) : interpret::argumentValue(function, i, find), nullptr});
    if (!arguments.back().tensor)
      return Diagnostic::error("E-INTERNAL", "there is no value of argument " + role);
  }
  interpret::CallShape shape;
  shape.tokens = of.call.tokens;
  shape.tokensPerSequence = of.call.inputs.tokensPerSequence;
  shape.round.narrow = errors != nullptr;
  shape.round.errors = errors;
  interpret::CallResults results;
  CapturedDiagnostics said(*function.getContext(), "E-INTERNAL");
  if (failed(interpret::interpret(function, arguments, shape, results)))
    return said.takeFirst("the interpreter failed without a message");
  return results;
}

SpecGradients::Tensors SpecGradients::gradientsOf(func::FuncOp function, const interpret::CallResults &results) const {
  Tensors out;
  for (unsigned r = 0; r < function.getNumResults(); ++r) {
    StringRef role = function.getResultAttrOfType<StringAttr>(r, "moe.role").getValue();
    if (!role.consume_front("grad."))
      continue;
    TensorRef value = results.results[r].tensor;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (roleOfArgument(function, i) == role) {
        interpret::eachTensor(function, i, value,
                              [&](const std::string &name, TensorRef tensor) { out[name] = std::move(tensor); });
        break;
      }
  }
  return out;
}

Result<> SpecGradients::addRuns(GradientExpectation &out, int64_t count, std::vector<uint8_t> *moved) const {
  for (int64_t i = 0; i < count; ++i) {
    ReferenceRounding errors(uint64_t(++out.runs), /*tf32=*/false);
    Result<interpret::CallResults> ran = run(layer->passes, out, &errors);
    if (!ran)
      return ran.takeError();
    bool same = true;
    for (size_t t = 0; t < out.choices.size(); ++t) {
      bool otherwise = ran->choices[t] != out.choices[t];
      same &= !otherwise || (t < out.silent.size() && out.silent[t]);
      if (moved)
        (*moved)[t] |= otherwise;
    }
    if (!same)
      continue;
    for (auto &[name, tensor] : gradientsOf(layer->passes, *ran)) {
      RowSpread &spread = out.spreads.at(name);
      spread.add(tensor->data, std::vector<uint8_t>(spread.rows(), 1));
    }
  }
  return {};
}

Result<> SpecGradients::expect(GradientExpectation &out, std::vector<uint8_t> &open) const {
  Result<interpret::CallResults> ran = run(layer->whole, out, nullptr);
  if (!ran)
    return ran.takeError();
  Result<interpret::CallResults> parts = run(layer->passes, out, nullptr);
  if (!parts)
    return parts.takeError();
  out.exact = gradientsOf(layer->whole, *ran);
  out.choices = parts->choices; // backward dispatches again, which counts
  out.spreads.clear();
  out.runs = 0;
  for (const auto &[name, tensor] : out.exact) {
    int64_t columns = std::max<int64_t>(1, tensor->shape.empty() ? 1 : tensor->shape.back());
    out.spreads.emplace(name, RowSpread(tensor->data, int64_t(tensor->data.size()) / columns));
  }
  open.clear();
  for (double margin : ran->margins)
    open.push_back(margin < clearChoice);
  return addRuns(out, firstRuns, &open);
}

void SpecGradients::silence(GradientExpectation &out, const std::vector<uint8_t> &open) const {
  out.silent.resize(open.size());
  for (size_t t = 0; t < open.size(); ++t)
    out.silent[t] |= open[t] || layer->looksAtAllTokens;
  for (size_t i = 0; i < out.dy.size(); ++i)
    if (out.silent[i / size_t(spec.hidden)])
      out.dy[i] = 0;
  out.call.dy = stored(out.dy, output);
  std::fill(out.coefficients.begin(), out.coefficients.end(), 0);
  std::fill(out.call.coefficients.begin(), out.call.coefficients.end(), 0.0f);
  out.undecided = size_t(std::count(out.silent.begin(), out.silent.end(), 1));
}

// Whether one of these tokens still has a part in L.
static bool isHeard(const GradientExpectation &of, const std::vector<uint8_t> &tokens) {
  for (size_t t = 0; t < tokens.size(); ++t)
    if (tokens[t] && !(t < of.silent.size() && of.silent[t]))
      return true;
  return false;
}

Result<> SpecGradients::take(const RoleTensors &given, std::unique_ptr<GradientExpectation> call) {
  setWeights(given, 0);
  std::vector<uint8_t> open;
  call->call.x = stored(call->inputs.x.data, activation);
  call->call.dy = stored(call->dy, output);
  call->call.coefficients.assign(call->coefficients.begin(), call->coefficients.end());
  call->inputs.functions = functions;
  if (!call->call.x.data() || !call->call.dy.data())
    return Diagnostic::error("E-MEMORY", "not enough memory for a call");
  if (Result<> expected = expect(*call, open); !expected)
    return expected;
  now = call.get();
  known[{0, call->call.tokens}] = std::move(call);
  return {};
}

Result<> SpecGradients::settle(int64_t runs, std::vector<uint8_t> *moved) {
  runs = now->call.tokens == 0 ? 0 : std::min(runs, mostRuns);
  return now->runs >= runs ? Result<>() : addRuns(*now, runs - now->runs, moved);
}

Result<> SpecGradients::draw(const RoleTensors &drawn, uint64_t seed, int64_t tokens) {
  setWeights(drawn, seed);
  auto found = known.find({seed, tokens});
  if (found != known.end()) {
    now = found->second.get();
    return {};
  }
  auto out = std::make_unique<GradientExpectation>();
  for (int64_t i = 0; i < mostDraws; ++i) {
    *out = {};
    drawCall(*out, tokens, seed * 100000 + uint64_t(tokens) * 10 + uint64_t(i));
    if (!out->call.x.data() || !out->call.dy.data())
      return Diagnostic::error("E-MEMORY", "not enough memory for a call of " + std::to_string(tokens) + " tokens");
    if (tokens == 0)
      break;
    std::vector<uint8_t> open;
    if (Result<> expected = expect(*out, open); !expected)
      return expected;
    if (std::find(open.begin(), open.end(), 1) == open.end())
      break;
    if (i + 1 < mostDraws)
      continue;
    // More runs move more tokens; in the end every one of the first runs counts.
    do {
      silence(*out, open);
      if (Result<> expected = expect(*out, open); !expected)
        return expected;
    } while (isHeard(*out, open));
  }
  if (tokens > 1 && !slopesChecked) {
    if (Result<> checked = checkSlopes(*out); !checked)
      return checked;
    slopesChecked = true;
  }
  now = out.get();
  known[{seed, tokens}] = std::move(out);
  return {};
}

// Whether weights that have the gradient of another value change that of the tensor: it is then no slope.
static bool reachesWeights(StringRef tensor) {
  return tensor == "x" || tensor == "residual" || tensor.starts_with("router.");
}

// Frozen experts stay where they are.
static void keepFrozen(const LayerSpec &spec, const std::string &tensor, std::vector<double> &direction) {
  for (const Role &role : tensorsOf(spec)) {
    if (role.name != tensor)
      continue;
    const std::string &name = role.expert < 0 ? role.name : role.stackedName;
    std::vector<bool> frozen = frozenExperts(spec, name, spec.experts.count);
    size_t first = role.expert < 0 ? 0 : size_t(role.expert), count = role.expert < 0 ? frozen.size() : 1;
    for (size_t i = 0; !frozen.empty() && i < direction.size(); ++i)
      if (frozen[first + i / (direction.size() / count)])
        direction[i] = 0;
  }
}

// Every tensor along one direction.
Result<> SpecGradients::checkSlopes(const GradientExpectation &of) const {
  ReferenceSlopes slopes;
  slopes.spec = &spec;
  slopes.inputs = of.inputs;
  slopes.dy = of.dy;
  slopes.coefficients = of.coefficients;
  for (const auto &[role, tensor] : weights)
    slopes.tensors[role] = tensor->data;
  slopes.tensors["x"] = of.inputs.x.data;
  for (const std::string &name : inputNames)
    if (auto extra = of.inputs.extra.find(name); extra != of.inputs.extra.end())
      slopes.tensors[name] = extra->second.data;
  for (const auto &[name, gradient] : of.exact) {
    if (layer->learnsOtherwise && reachesWeights(name))
      continue;
    std::vector<double> direction = normalNumbers(int64_t(gradient->data.size()), 31 + weightSeed);
    keepFrozen(spec, name, direction);
    Slope slope = slopes.along(name, direction, gradient->data);
    if (!slopes.error.empty())
      return Diagnostic::error("E-INTERNAL", "the reference: " + slopes.error);
    if (std::isfinite(slope.value) && !agrees(slope, 1e-5))
      return Diagnostic::error("E-MISMATCH", "the gradient of " + name + " along a random direction is " +
                                                 std::to_string(slope.found) + ", by differences of the reference " +
                                                 std::to_string(slope.wanted));
  }
  return {};
}

std::string SpecGradients::wrongGradient(const CallGradients &got, const CallGradients *before,
                                         CheckResult &result) const {
  std::map<std::string, WantedGradient> wanted;
  for (const auto &[name, tensor] : now->exact)
    wanted[name] = {&tensor->data, {}, now->spreads.at(name).slack()};
  return moec::wrongGradient(got, before, wanted, now->call.tokens, result);
}

// NaN and poison are wrong whatever a token chooses.
std::string SpecGradients::unwrittenGradient(const CallGradients &got) const {
  for (const auto &[name, exact] : now->exact) {
    const Gradient *gradient = got.find(name);
    std::vector<double> values = gradient ? gradient->values() : std::vector<double>();
    for (size_t i = 0; i < values.size() && i < exact->data.size(); ++i)
      if (std::isnan(values[i]) && std::isfinite(exact->data[i]))
        return "the gradient of " + name + " is NaN at element " + std::to_string(i) + ", expected " +
               std::to_string(exact->data[i]);
  }
  return {};
}

bool SpecGradients::compare(const CallGradients &got, const CallGradients *before, CheckResult &result,
                            std::string &reason) {
  for (;;) {
    CheckResult own = result;
    reason = now->isOpen ? unwrittenGradient(got) : wrongGradient(got, before, own);
    if (reason.empty()) {
      result = own;
      return true;
    }
    if (now->runs >= mostRuns || now->call.tokens == 0)
      break;
    std::vector<uint8_t> moved(now->choices.size(), 0);
    if (Result<> added = settle(INT64_MAX, &moved); !added) {
      reason = added.error().message;
      return false;
    }
    now->isOpen = isHeard(*now, moved);
  }
  reason = "T=" + std::to_string(now->call.tokens) + " " + reason;
  return false;
}

} // namespace moec
