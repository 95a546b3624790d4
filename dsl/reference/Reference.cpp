// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The oracle from end to end: checks of what it was given, the order of its stages, and the wraps around a layer.

#include "dsl/reference/Reference.h"

#include "dsl/reference/ReferenceStages.h"
#include "dsl/spec/SpecChecks.h"

#include <cmath>
#include <limits>

namespace moec {

// Σ_c a[c]·b[c] in eight partial sums, which a processor adds side by side.
static double dot(const double *a, const double *b, int64_t n) {
  double part[8] = {}, rest = 0;
  int64_t c = 0;
  for (; c + 8 <= n; c += 8)
    for (int64_t i = 0; i < 8; ++i)
      part[i] += a[c + i] * b[c + i];
  for (; c < n; ++c)
    rest += a[c] * b[c];
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7])) + rest;
}

Doubles product(const Doubles &in, const MatrixView &m) {
  int64_t rows = m.cols ? int64_t(in.size()) / m.cols : 0;
  Doubles out(rows * m.rows), weights(m.cols);
  for (int64_t r = 0; r < m.rows; ++r) {
    m.row(r, weights.data());
    for (int64_t t = 0; t < rows; ++t)
      out[t * m.rows + r] = dot(&in[t * m.cols], weights.data(), m.cols);
  }
  return out;
}

static Doubles rowLengths(const Doubles &in, int64_t cols) {
  Doubles lengths(cols ? in.size() / size_t(cols) : 0);
  for (size_t t = 0; t < lengths.size(); ++t)
    lengths[t] = std::sqrt(dot(&in[t * size_t(cols)], &in[t * size_t(cols)], cols));
  return lengths;
}

Doubles ReferenceRun::product(const Doubles &given, const MatrixView &m, bool afterRouting) {
  ReferenceRounding *rounding = inputs.rounding;
  if (!rounding)
    return moec::product(given, m);
  bool tf32 = rounding->tf32 && afterRouting && spec.dtype.activation == DataType::F32;
  Doubles rounded, weights(m.cols);
  if (tf32)
    for (double v : given)
      rounded.push_back(rounding->roundedToTf32(v));
  const Doubles &in = tf32 ? rounded : given;
  Doubles lengths = rowLengths(in, m.cols), out(lengths.size() * m.rows);
  for (int64_t r = 0; r < m.rows; ++r) {
    m.row(r, weights.data());
    for (int64_t c = 0; c < m.cols && tf32; ++c)
      weights[c] = rounding->roundedToTf32(weights[c]);
    double length = std::sqrt(dot(weights.data(), weights.data(), m.cols));
    for (size_t t = 0; t < lengths.size(); ++t)
      out[t * m.rows + r] =
          rounding->sumOfProducts(dot(&in[t * m.cols], weights.data(), m.cols), lengths[t], length, double(m.cols));
  }
  return out;
}

void ReferenceRun::round(Doubles &values, DataType type) const {
  for (size_t i = 0; i < values.size() && inputs.rounding; ++i)
    values[i] = inputs.rounding->rounded(values[i], type);
}

void ReferenceRun::operations(Doubles &values, double count) const {
  for (size_t i = 0; i < values.size() && inputs.rounding; ++i)
    values[i] = inputs.rounding->operation(values[i], count * values[i]);
}

double ReferenceRun::operation(double v, double size) const {
  return inputs.rounding ? inputs.rounding->operation(v, size) : v;
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

bool ReferenceRun::matrix(const std::string &role, int64_t index, int64_t rows, int64_t cols, MatrixView &out) {
  std::string what = "weight '" + role + "'" + (index ? " number " + std::to_string(index) : "");
  auto view = inputs.weights ? inputs.weights->find(role, index) : std::nullopt;
  if (!view)
    return fail(what + " is missing; expected " + shapeText({rows, cols}));
  if (view->rows != rows || view->cols != cols)
    return fail(what + " is " + shapeText({view->rows, view->cols}) + "; expected " + shapeText({rows, cols}));
  if (!view->data || !isReferenceType(view->type))
    return fail(what + " is of type " + std::string(dataTypeName(view->type)) +
                "; the reference reads f32, f64, bf16, f16 and i32");
  out = *view;
  return true;
}

// A vector of several shared blocks may be stored as one matrix with a row per block.
bool ReferenceRun::vector(const std::string &role, int64_t index, int64_t n, Doubles &out) {
  MatrixView view;
  auto whole = inputs.weights ? inputs.weights->find(role, 0) : std::nullopt;
  bool rowwise = whole && whole->rows > 1 && index < whole->rows;
  if (!matrix(role, rowwise ? 0 : index, rowwise ? whole->rows : 1, n, view))
    return false;
  out.resize(n);
  view.row(rowwise ? index : 0, out.data());
  return true;
}

bool ReferenceRun::extra(const std::string &name, int64_t cols, const char *reason, Doubles &out) {
  auto it = inputs.extra.find(name);
  if (it == inputs.extra.end())
    return fail("input '" + name + "' is missing; " + reason + " needs it");
  if (int64_t(it->second.data.size()) != inputs.numTokens * cols)
    return fail("input '" + name + "' has " + std::to_string(it->second.data.size()) + " values; expected " +
                shapeText({inputs.numTokens, cols}));
  out.clear();
  for (int64_t t : tokens)
    out.insert(out.end(), it->second.data.begin() + t * cols, it->second.data.begin() + (t + 1) * cols);
  return true;
}

std::vector<std::pair<int64_t, int64_t>> ReferenceRun::scopes(bool bySequence) const {
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (int64_t t = 0; t < numTokens; ++t) {
    if (t == 0 || (bySequence && sequence[t] != sequence[t - 1]))
      runs.push_back({t, t});
    runs.back().second = t + 1;
  }
  return runs;
}

namespace {

Result<> checkInputs(const LayerSpec &spec, const ReferenceInputs &inputs) {
  auto refuse = [](std::string message) { return Diagnostic::error("E-REFERENCE", std::move(message)); };
  DiagnosticList diagnostics;
  checkSpec(spec, SpecSource(), diagnostics);
  for (const Diagnostic &diagnostic : diagnostics.all())
    if (diagnostic.severity == Severity::Error)
      return refuse("the spec is not valid: " + diagnostic.code + ": " + diagnostic.message);
  int64_t sequences = inputs.batch ? inputs.batch : 1;
  int64_t length = inputs.batch ? inputs.tokensPerSequence : inputs.numTokens;
  constexpr int64_t most = int64_t(1) << 31;
  if (inputs.numTokens < 0 || inputs.numTokens > most || sequences < 0 || sequences > most || length < 0 ||
      length > most || sequences * length != inputs.numTokens)
    return refuse("numTokens (" + std::to_string(inputs.numTokens) + ") is not batch * tokensPerSequence (" +
                  std::to_string(sequences) + " * " + std::to_string(length) + ")");
  if (int64_t(inputs.x.data.size()) != inputs.numTokens * spec.hidden)
    return refuse("input 'x' has " + std::to_string(inputs.x.data.size()) + " values; expected " +
                  shapeText({inputs.numTokens, spec.hidden}));
  if (spec.router.kind == RouterKind::Depth)
    return refuse("router.kind depth has no reference");
  if (spec.experts.quant.kind != QuantKind::None)
    return refuse("experts.quant has no reference: give the experts in floating point");
  if (spec.capacity && spec.capacity->overflow == Overflow::NextBest && spec.router.kind != RouterKind::TokenChoice)
    return refuse("capacity.overflow next_best needs router.kind token_choice");
  return {};
}

// ids of kinds that choose without logits: table[token_id], or the caller's; outside 0..R-1 means none for the latter.
bool givenIds(ReferenceRun &run, Routing &routing) {
  int64_t choices = routing.choices, total = run.numTokens * choices;
  routing.ids.assign(total, -1);
  Doubles given;
  if (run.spec.router.kind != RouterKind::Table) {
    if (!run.extra("expert_ids", choices, "router.kind", given))
      return false;
    for (int64_t i = 0; i < total; ++i)
      if (given[i] >= 0 && given[i] < routing.rows)
        routing.ids[i] = int64_t(given[i]);
    return true;
  }
  auto view = run.inputs.weights ? run.inputs.weights->find("router.table", 0) : std::nullopt;
  MatrixView table;
  std::vector<int64_t> groups; // those from 1 on do not read the table
  if (!groupsOfTokens(run, groups) || !run.extra("token_ids", 1, "router.kind table", given) ||
      !run.matrix("router.table", 0, view ? view->rows : 0, run.spec.router.select.k, table))
    return false;
  routing.margins.assign(groups.size(), std::numeric_limits<double>::infinity());
  for (size_t t = 0; t < groups.size(); ++t)
    if (groups[t] > 0)
      routing.margins[t] =
          chooseRow(run.spec.router, &routing.scores[t * routing.rows], &routing.choice[t * routing.rows], routing.rows,
                    choices, &routing.ids[t * choices]);
  for (int64_t i = 0; i < total; ++i) {
    if (!groups.empty() && groups[i / choices] > 0)
      continue;
    double token = given[i / choices];
    if (!(token >= 0 && token < table.rows))
      return run.fail("input 'token_ids' holds a value outside 0.." + std::to_string(table.rows - 1));
    double id = table.at(int64_t(token), i % choices);
    if (!(id >= 0 && id < routing.rows))
      return run.fail("weight 'router.table' holds an id outside 0.." + std::to_string(routing.rows - 1));
    routing.ids[i] = int64_t(id);
  }
  return true;
}

// Stages 2-5 where the layer has logits.
bool scoreTokens(ReferenceRun &run, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  bool gathered = router.weightMode == WeightMode::Gathered;
  bool drawn = router.kind == RouterKind::Table || router.kind == RouterKind::Random;
  if (router.kind == RouterKind::External || (drawn && !gathered)) {
    routing.scores.assign(run.numTokens * routing.rows, 0);
    return true;
  }
  if (router.kind == RouterKind::Dense && routing.rows == 1) {
    routing.scores.assign(run.numTokens, 1); // softmax of one value
    return true;
  }
  if (!routerLogits(run, routing.logits) || !addNoise(run, routing))
    return false;
  return router.kind == RouterKind::ProductKey || computeScores(run, routing);
}

// The call's first top_k choices.
bool keepFirst(ReferenceRun &run, Routing &routing) {
  if (!run.spec.inputs.topK)
    return true;
  auto it = run.inputs.extra.find("top_k");
  if (it == run.inputs.extra.end() || it->second.data.size() != 1)
    return run.fail("inputs.top_k needs the input 'top_k' with one value");
  for (size_t i = 0; i < routing.ids.size(); ++i)
    if (double(int64_t(i) % routing.choices) >= it->second.data[0])
      routing.ids[i] = -1;
  return true;
}

// Stages 6-8.
bool chooseExperts(ReferenceRun &run, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  routing.choices = run.spec.choices();
  if (!readExpertMask(run, routing))
    return false;
  if (router.kind == RouterKind::ProductKey) {
    chooseProductKeys(run.spec, routing);
    if (!keepFirst(run, routing))
      return false;
  } else if (router.kind == RouterKind::TokenChoice) {
    if (!selectExperts(run, router, routing.choices, routing) || !keepFirst(run, routing))
      return false;
  } else if (router.kind == RouterKind::Dense) {
    routing.choices = routing.rows;
    for (int64_t i = 0; i < run.numTokens * routing.rows; ++i)
      routing.ids.push_back(i % routing.rows);
  } else if (!givenIds(run, routing)) {
    return false;
  }
  if (!replaceIds(run, routing))
    return false;
  dropChoices(run.spec, routing);
  routing.weights.resize(routing.ids.size());
  routing.kept.resize(routing.ids.size());
  for (size_t i = 0; i < routing.ids.size(); ++i)
    routing.kept[i] = routing.ids[i] >= 0;
  if (router.kind == RouterKind::ProductKey) {
    gatherProductKeys(run.spec, routing);
    return true;
  }
  if (router.kind != RouterKind::External) {
    gatherWeights(router, routing);
    return true;
  }
  if (!run.extra("expert_weights", routing.choices, "router.kind external", routing.weights))
    return false;
  for (size_t i = 0; i < routing.ids.size(); ++i)
    if (!routing.kept[i])
      routing.weights[i] = 0;
  return true;
}

bool runTokenChoice(ReferenceRun &run, ReferenceOutputs &outputs) {
  const LayerSpec &spec = run.spec;
  Routing routing;
  routing.numTokens = run.numTokens;
  routing.rows = spec.routerRows();
  bool hierarchical = spec.router.kind == RouterKind::Hierarchical;
  if (hierarchical ? !routeHierarchical(run, routing) : !scoreTokens(run, routing) || !chooseExperts(run, routing))
    return false;
  if (!finishWeights(run, routing))
    return false;
  std::vector<Assignment> assignments;
  for (size_t i = 0; i < routing.ids.size(); ++i)
    if (routing.kept[i])
      assignments.push_back(
          {int64_t(i) / routing.choices, routing.ids[i], routing.weights[i], int64_t(i) % routing.choices});
  OutputSums sums;
  run.outputSums = &sums;
  bool ran = runExperts(run, assignments, outputs.y);
  run.outputSums = nullptr;
  if (!ran || !reportRun(run, routing, sums, outputs))
    return false;
  // dropped identity: the choice passes its token through, weighted
  for (size_t i = 0; i < routing.ids.size(); ++i)
    for (int64_t c = 0; c < spec.hidden && routing.overflowed[i] && routing.weights[i] != 0; ++c) {
      int64_t at = int64_t(i) / routing.choices * spec.hidden + c;
      outputs.y[at] += routing.weights[i] * run.x[at];
    }
  outputs.choices = routing.choices;
  outputs.logits = std::move(routing.logits);
  outputs.ids = std::move(routing.ids);
  outputs.weights = std::move(routing.weights);
  outputs.kept = std::move(routing.kept);
  outputs.counts = std::move(routing.counts);
  outputs.margins = std::move(routing.margins);
  run.sharedWeights = std::move(routing.sharedWeights);
  return finishOutput(run, outputs.y);
}

} // namespace

bool runBody(ReferenceRun &run, ReferenceOutputs &outputs) {
  switch (run.spec.router.kind) {
  case RouterKind::Soft:
    return runSoft(run, outputs);
  case RouterKind::ExpertChoice:
    return runExpertChoice(run, outputs);
  default:
    return runTokenChoice(run, outputs);
  }
}

Result<ReferenceOutputs> runReference(const LayerSpec &spec, const ReferenceInputs &inputs) {
  if (Result<> checked = checkInputs(spec, inputs); !checked)
    return checked.takeError();
  ReferenceOutputs outputs;
  Diagnostic error;
  ReferenceRun run(spec, inputs, error);
  run.numTokens = inputs.numTokens;
  run.x = inputs.x.data;
  int64_t length = inputs.batch ? inputs.tokensPerSequence : inputs.numTokens;
  for (int64_t t = 0; t < inputs.numTokens; ++t) {
    run.tokens.push_back(t);
    run.sequence.push_back(t / length);
  }
  if (spec.router.input.jitterScope == JitterScope::Layer) {
    if (!applyJitter(run, spec.router.input, run.x))
      return error;
    if (spec.router.input.jitter != 0 && inputs.training)
      run.round(run.x, spec.dtype.activation);
  }
  if (!(spec.layer.wrap == LayerWrap::None ? runBody(run, outputs) : runWrapped(run, outputs)))
    return error;
  run.round(outputs.y, spec.dtype.output);
  return outputs;
}

} // namespace moec
