// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Seeds and a skew in -> weights, inputs and the work they ask for out.

#include "BenchWorkload.h"

#include "codegen/check/RandomSpec.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace moec {

std::optional<Skew> parseSkew(const std::string &text) {
  if (text == "uniform")
    return Skew::Uniform;
  if (text == "zipf")
    return Skew::Zipf;
  if (text == "one-hot")
    return Skew::OneHot;
  return std::nullopt;
}

static double logPopularity(Skew skew, int64_t expert, int64_t choices) {
  switch (skew) {
  case Skew::Uniform:
    return 0;
  case Skew::Zipf:
    return -std::log(1.0 + double(expert));
  case Skew::OneHot:
    return expert < choices ? 30 : 0;
  }
  return 0;
}

static int64_t elements(const Role &role) {
  int64_t count = 1;
  for (int64_t extent : role.shape)
    count *= extent;
  return count;
}

static bool isExpertMatrix(const Role &role) { return role.matrix && role.name.rfind("router.", 0) != 0; }

static int64_t bytesOf(DataType type) { return dataTypeBits(type) / 8; }

BenchFacts benchFacts(const LayerSpec &spec) {
  BenchFacts facts;
  facts.hidden = spec.hidden;
  facts.choices = spec.choices();
  facts.activation = spec.dtype.activation;
  for (const Role &role : tensorsOf(spec))
    facts.tensors.push_back({role, role.matrix ? storedType(spec, role) : spec.dtype.weight});
  facts.drawInputs = [spec](int64_t tokens, CallInputs &inputs) {
    ReferenceInputs unused;
    randomInputs(spec, tokens, 7, inputs, unused);
  };
  return facts;
}

// Rows of logits for all tokens, or for a group of tokens.
static bool isRouter(const Role &role) {
  return role.name == "router.weight" || (role.matrix && role.name.rfind("router.group", 0) == 0);
}

bool BenchFacts::hasRouter() const {
  return std::any_of(tensors.begin(), tensors.end(), [](const BenchTensor &tensor) { return isRouter(tensor.role); });
}

Factors BenchFacts::factors() const {
  return matrixType() == DataType::BF16 && activation == DataType::BF16 ? Factors::Bf16 : Factors::F32;
}

DataType BenchFacts::matrixType() const {
  for (const BenchTensor &tensor : tensors)
    if (isExpertMatrix(tensor.role))
      return tensor.type;
  return DataType::F32;
}

// One block serves all of one type; a layer of the dialect may have others beside.
static bool isShared(const BenchFacts &facts, const BenchTensor &tensor) {
  return isExpertMatrix(tensor.role) && tensor.type == facts.matrixType();
}

int64_t benchSourceBytes(const BenchFacts &facts) {
  int64_t largest = 0;
  for (const BenchTensor &tensor : facts.tensors)
    if (isShared(facts, tensor))
      largest = std::max(largest, elements(tensor.role));
  return largest * bytesOf(facts.matrixType());
}

static constexpr size_t repeatedBytes = size_t(64) << 20;

double benchWeightBytes(const BenchFacts &facts, bool repeat) {
  double bytes = repeat ? double(repeatedBytes) : double(benchSourceBytes(facts));
  for (const BenchTensor &tensor : facts.tensors)
    if (!isShared(facts, tensor))
      bytes += double(elements(tensor.role)) * double(bytesOf(tensor.type));
  return bytes;
}

bool makeBenchWeights(const BenchFacts &facts, Skew skew, bool repeat, BenchWeights &out) {
  DataType type = facts.matrixType();
  int64_t bytes = benchSourceBytes(facts);
  PageBuffer whole(repeat ? 0 : size_t(bytes));
  if (repeat)
    out.repeated = std::make_unique<RepeatedPages>(size_t(bytes), repeatedBytes);
  void *shared = repeat ? out.repeated->data() : whole.data();
  if (!shared)
    return false;
  int64_t written = repeat ? int64_t(out.repeated->blockBytes()) : bytes;
  fillNormal(shared, type, written / bytesOf(type), 0, 1 / std::sqrt(double(facts.hidden)), 1);
  for (const BenchTensor &tensor : facts.tensors) {
    const Role &role = tensor.role;
    if (isShared(facts, tensor)) {
      out.tensors[role.name] = {type, shared, role.shape};
      continue;
    }
    PageBuffer own(size_t(elements(role) * bytesOf(tensor.type)));
    if (!own.data())
      return false;
    Distribution distribution = distributionOf(role);
    bool bias = role.name.find("bias") != std::string::npos; // a bias would add its own skew
    fillNormal(own.data(), tensor.type, elements(role), distribution.mean, bias ? 0 : distribution.deviation,
               out.memory.size() + 2);
    if (isRouter(role))
      for (int64_t e = 0; e < role.shape[0]; ++e)
        storeElement(own.data(), tensor.type, e * role.shape.back(), logPopularity(skew, e, facts.choices));
    out.tensors[role.name] = {tensor.type, own.data(), role.shape};
    out.memory.push_back(std::move(own));
  }
  out.memory.push_back(std::move(whole));
  return true;
}

// Matrices of one class of experts that differ in width: rows of each expert, and its own sizes. `idle`: those of
// experts without rows count too.
static void addClass(const PlanTables &plan, uint32_t firstRole, uint32_t groups, DataType type, bool idle,
                     const std::vector<int64_t> &rowsOf, CallWork &work) {
  for (uint32_t group = 0; group < groups; ++group) {
    const moec_role &role = plan.roles[firstRole + group];
    size_t expert = 0; // the number at the end of "experts.gate.3"
    std::string_view name = plan.text(role.name), number = name.substr(name.rfind('.') + 1);
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), expert);
    bool read = error == std::errc() && end == number.data() + number.size() && !number.empty();
    int64_t rows = read && expert < rowsOf.size() ? rowsOf[expert] : 0;
    double matrix = double(role.dims[0]) * double(role.dims[1]);
    work.flops += 2 * matrix * double(rows);
    if (rows || (read && idle))
      work.weightBytes += matrix * (dataTypeBits(type) / 8);
  }
}

// The gradient that an outer product makes, or another step of its result. Null: it is another step.
static const moec_buffer *gradientOf(const PlanTables &plan, const moec_step &step) {
  constexpr unsigned outArgument = 2; // OuterArgs of codegen/plan/StepArgs.h
  if (step.kind != MOEC_STEP_GROUPS || !step.flops_per_row)
    return nullptr;
  uint16_t out = plan.args[step.first_arg + outArgument];
  if (plan.buffers[out].kind == MOEC_BUFFER_GRADIENT)
    return &plan.buffers[out];
  for (const moec_step &later : plan.steps)
    if (later.kind == MOEC_STEP_GRADIENT && plan.args[later.first_arg] == out)
      return &plan.buffers[plan.args[later.first_arg + 1]];
  return nullptr;
}

static bool isOfRouter(const PlanTables &plan, uint32_t role) {
  return plan.text(plan.roles[role].name).rfind("router.", 0) == 0;
}

bool isExpertMatmul(const PlanTables &plan, const moec_step &step) {
  if (const moec_weight *weight = plan.weightOf(step))
    return !isOfRouter(plan, weight->role[0]);
  const moec_buffer *gradient = gradientOf(plan, step);
  return gradient && !isOfRouter(plan, gradient->slot);
}

CallWork workOf(const PlanTables &plan, int64_t tokens, const std::vector<int32_t> &counts, DataType gradients) {
  CallWork work;
  std::vector<int64_t> rowsOf(counts.begin(), counts.end());
  if (!tokens)
    rowsOf.clear(); // such a call writes nothing
  if (std::any_of(plan.steps.begin(), plan.steps.end(),
                  [](const moec_step &step) { return step.kind == MOEC_STEP_SLOTS; }))
    rowsOf.clear();
  for (const moec_step &step : plan.steps) // slots are rows of their own, here of one sequence
    if (step.kind == MOEC_STEP_SLOTS)
      rowsOf.insert(rowsOf.end(), step.num_groups, tokens ? int64_t(step.choices / step.num_groups) : 0);
  for (int64_t rows : rowsOf) {
    work.expertsTouched += rows > 0;
    work.rows += rows;
    work.mostRows = std::max(work.mostRows, rows);
  }
  for (const moec_step &step : plan.steps) {
    if (!isExpertMatmul(plan, step))
      continue;
    bool routed = step.route != MOEC_NO_ROUTE;
    if (const moec_buffer *gradient = gradientOf(plan, step)) {
      if (gradient->route) { // so many members
        addClass(plan, gradient->slot, gradient->route, gradients, /*idle=*/true, rowsOf, work);
        continue;
      }
      double matrix = double(step.flops_per_row) / 2;
      work.flops += 2 * matrix * double(routed ? work.rows : tokens);
      work.weightBytes += matrix * (dataTypeBits(gradients) / 8) * double(step.num_groups);
      continue;
    }
    const moec_weight &weight = *plan.weightOf(step);
    if (weight.role_per_group) {
      for (unsigned part = 0; part < weight.parts; ++part)
        addClass(plan, weight.role[part], weight.groups, DataType(weight.dtype), /*idle=*/false, rowsOf, work);
      continue;
    }
    double matrix = double(weight.n) * double(weight.k) * weight.parts;
    work.flops += 2 * matrix * double(routed ? work.rows : tokens);
    work.weightBytes += matrix * (dataTypeBits(DataType(weight.dtype)) / 8) *
                        double(routed   ? work.expertsTouched
                               : tokens ? int64_t(weight.groups)
                                        : 0);
  }
  return work;
}

BenchInputs::BenchInputs(const BenchFacts &facts, int64_t tokens, int variants) : variants(variants) {
  DataType type = facts.activation;
  stride = size_t(tokens * facts.hidden * dataTypeBits(type) / 8 + 4095) / 4096 * 4096;
  x = PageBuffer(stride * size_t(variants));
  for (int v = 0; x.data() && v < variants; ++v) {
    void *rows = const_cast<void *>(at(v));
    fillNormal(rows, type, tokens * facts.hidden, 0, 1, 1000 + uint64_t(v));
    for (int64_t t = 0; t < tokens; ++t)
      storeElement(rows, type, t * facts.hidden, 1);
  }
  facts.drawInputs(tokens, more);
  more.tokensPerSequence = 0;
}

const void *BenchInputs::at(int variant) const {
  return static_cast<const char *>(x.data()) + stride * size_t(variant);
}

} // namespace moec
