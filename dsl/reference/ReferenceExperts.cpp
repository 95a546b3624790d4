// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Assignments (token, expert, weight) -> y [T,H]: stages 12 to 14 of the oracle, and the shared and dense blocks.
//
//   glu     h = act(x·Gᵀ + bg) · (cap(x·Uᵀ + bu) + offset)     o = h·Dᵀ + bd
//   mlp     h = act(x·Uᵀ + bu), layers-1 times h = act(h·Hnᵀ + bn)     o = h·Dᵀ + bd
//   linear  o = x·Uᵀ + bu
//
// With combine.rows activation every o is rounded to the activation type after its constant factors.

#include "dsl/reference/ReferenceStages.h"

#include <cmath>
#include <map>

namespace moec {

namespace {

// One feed-forward block: where its parameters are and what it computes.
struct Block {
  std::string prefix; // "experts", "shared", "dense"
  int64_t index = 0;  // of the expert or shared block
  int64_t in = 0, width = 0;
  FeedForward does;
  std::string gateBias;                          // role of the gate's bias
  const ExpertsSpec *options = nullptr;          // layers, lora, dropout; nullptr: none of them
  const std::vector<Assignment> *rows = nullptr; // of a routed expert
  ScalarFn act = {};
};

// clamp: gate <= limit from above only, up within ±limit; NaN passes.
double clampAbove(double v, double limit) { return v > limit ? limit : v; }
double clampBoth(double v, double limit) { return v > limit ? limit : v < -limit ? -limit : v; }

void addBias(const ReferenceRun &run, const Doubles &bias, Doubles &out) {
  for (size_t i = 0; i < out.size(); ++i) {
    double b = bias[i % bias.size()];
    out[i] = run.operation(out[i] + b, std::fabs(out[i]) + std::fabs(b));
  }
}

// out += (alpha/rank)·(in·Aᵀ)·Bᵀ
void addLora(ReferenceRun &run, const LoraSpec &lora, const Doubles &in, const MatrixView &a, const MatrixView &b,
             Doubles &out) {
  Doubles low = run.product(in, a, true);
  run.round(low, run.spec.dtype.activation);
  Doubles added = run.product(low, b, true);
  for (size_t i = 0; i < out.size(); ++i)
    addTerm(run, out[i], lora.alpha / lora.rank * added[i]);
}

// in·Wᵀ + b, and with lora per_matrix + (alpha/rank)·(in·Aᵀ)·Bᵀ
bool project(ReferenceRun &run, const Block &block, const std::string &name, const std::string &biasRole,
             const Doubles &in, int64_t from, int64_t to, Doubles &out) {
  MatrixView weight, a, b;
  std::string role = block.prefix + "." + name;
  if (!run.matrix(role, block.index, to, from, weight))
    return false;
  out = run.product(in, weight, true);
  if (block.options && block.options->lora && block.options->lora->at == LoraAt::PerMatrix) {
    const LoraSpec &lora = *block.options->lora;
    if (!run.matrix(role + "_lora_a", block.index, lora.rank, from, a) ||
        !run.matrix(role + "_lora_b", block.index, to, lora.rank, b))
      return false;
    addLora(run, lora, in, a, b, out);
  }
  if (biasRole.empty())
    return true;
  Doubles bias;
  if (!run.vector(block.prefix + "." + biasRole, block.index, to, bias))
    return false;
  addBias(run, bias, out);
  return true;
}

// act(v), in f32: v has an error of its own, and what is small beside v may come from terms of v's size.
double activate(const ReferenceRun &run, const ScalarFn &act, double v) {
  double value = act(run.operation(v, 2 * v));
  return run.operation(value, 8 * (std::fabs(value) + std::min(std::fabs(v), 8.0)));
}

bool gluHidden(ReferenceRun &run, const Block &block, const Doubles &in, Doubles &h) {
  const FeedForward &does = block.does;
  Doubles gate;
  if (!project(run, block, "gate", does.bias.in ? block.gateBias : "", in, block.in, block.width, gate) ||
      !project(run, block, "up", does.bias.in ? "up_bias" : "", in, block.in, block.width, h))
    return false;
  const std::optional<ExpertClamp> &clamp = does.clamp;
  std::optional<double> cap = does.softcap ? does.softcap->up : std::nullopt;
  for (size_t i = 0; i < h.size(); ++i) {
    bool before = clamp && clamp->at == ClampAt::PreAct;
    double g = activate(run, block.act, before ? clampAbove(gate[i], clamp->limit) : gate[i]);
    if (clamp && !before)
      g = clampAbove(g, clamp->limit);
    double u = clamp ? clampBoth(h[i], clamp->limit) : h[i];
    if (cap) {
      u = softCapped(u, *cap);
      u = run.operation(u, 8 * u);
    }
    h[i] = g * (u + does.upOffset);
  }
  run.operations(h, 4);
  run.round(h, run.spec.dtype.activation);
  return true;
}

// The clamp of an mlp is that of an up branch: its values stay within ±limit, before or after the activation.
bool mlpHidden(ReferenceRun &run, const Block &block, const Doubles &in, Doubles &h) {
  const std::optional<ExpertClamp> &clamp = block.does.clamp;
  int64_t layers = block.options ? block.options->layers : 1;
  for (int64_t n = 0; n < layers; ++n) {
    std::string name = n == 0 ? "up" : "hidden" + std::to_string(n);
    Doubles source = n == 0 ? in : h;
    if (!project(run, block, name, block.does.bias.in ? name + "_bias" : "", source, n == 0 ? block.in : block.width,
                 block.width, h))
      return false;
    for (double &v : h) {
      v = activate(run, block.act, clamp && clamp->at == ClampAt::PreAct ? clampBoth(v, clamp->limit) : v);
      if (clamp && clamp->at == ClampAt::PostAct)
        v = clampBoth(v, clamp->limit);
    }
    run.round(h, run.spec.dtype.activation);
  }
  return true;
}

// Dropout: values [n, width] of rows times their factors of a mask with `columns` columns per choice, or times 1 - p
// when not in training. `values` may be narrower than the columns. A slot is a token of one choice here.
bool drop(ReferenceRun &run, const DropoutSpec &dropout, const char *input, const char *key, int64_t columns,
          const std::vector<Assignment> &rows, Doubles &values) {
  int64_t width = rows.empty() ? 0 : int64_t(values.size() / rows.size()),
          choices = run.slotScope < 0 ? run.spec.choices() : 1;
  Doubles mask;
  if (!run.dropoutMask(input, key, dropout.p, choices * columns, mask))
    return false;
  double factor = dropout.scaleAtEval && !run.inputs.training ? 1 - dropout.p : 1;
  for (size_t i = 0; i < values.size(); ++i) {
    const Assignment &row = rows[i / size_t(width)];
    int64_t column = row.choice * columns + int64_t(i) % width;
    values[i] *= mask.empty() ? factor : mask[size_t(row.token * choices * columns + column)];
  }
  return true;
}

// Rows [n, in] -> rows [n, in].
bool runBlock(ReferenceRun &run, Block &block, const Doubles &in, Doubles &out) {
  const FeedForward &does = block.does;
  if (does.form == ExpertForm::Linear)
    return project(run, block, "up", does.bias.in ? "up_bias" : "", in, block.in, block.in, out);
  Doubles h;
  bool glu = does.form == ExpertForm::Glu;
  if (!activationOf(run, does, block.act) || !(glu ? gluHidden(run, block, in, h) : mlpHidden(run, block, in, h)))
    return false;
  if (block.rows && !drop(run, block.options->hiddenDropout, "hidden_mask", "experts.hidden_dropout",
                          block.options->widest(), *block.rows, h))
    return false;
  return project(run, block, "down", does.bias.out ? "down_bias" : "", h, block.width, block.in, out);
}

// o += (alpha/rank)·(x·Aᵀ)·Bᵀ
bool addParallelLora(ReferenceRun &run, const LoraSpec &lora, int64_t expert, int64_t width, const Doubles &in,
                     Doubles &out) {
  MatrixView a, b;
  if (!run.matrix("experts.lora_a", expert, lora.rank, width, a) ||
      !run.matrix("experts.lora_b", expert, width, lora.rank, b))
    return false;
  addLora(run, lora, in, a, b, out);
  return true;
}

// Every row of `width` columns by NormSpec's formula, with the roles ROLE_weight and ROLE_bias.
bool normalizeRows(ReferenceRun &run, const NormSpec &norm, const std::string &role, int64_t expert, int64_t width,
                   Doubles &rows) {
  bool centred = norm.kind == NormKind::LayerNorm;
  Doubles factor(size_t(width), 1.0), bias(size_t(width), 0.0);
  if (norm.weight && (!run.vector(role + "_weight", expert, width, factor) ||
                      (centred && !run.vector(role + "_bias", expert, width, bias))))
    return false;
  for (double &f : factor)
    f += norm.weight && norm.unitOffset ? 1 : 0;
  for (size_t start = 0; start < rows.size(); start += size_t(width)) {
    double *row = &rows[start], mean = 0, squares = 0;
    for (int64_t c = 0; c < width && norm.before; ++c)
      row[c] *= factor[c];
    for (int64_t c = 0; c < width && centred; ++c)
      mean += run.operation(row[c], 2 * row[c]) / double(width);
    for (int64_t c = 0; c < width; ++c)
      squares += (row[c] - mean) * (row[c] - mean) / double(width);
    squares = run.operation(squares, std::sqrt(double(width)) * squares); // the error of a sum, one for the whole row
    for (int64_t c = 0; c < width; ++c) {
      double unit = (centred ? run.operation(row[c] - mean, std::fabs(row[c]) + std::fabs(mean)) : row[c]) /
                    std::sqrt(squares + norm.eps);
      row[c] = (norm.before ? unit : unit * factor[c]) + bias[c];
    }
  }
  run.operations(rows, 8);
  return true;
}

// x·latent.inᵀ (+ bias), or the way back
bool latentProject(ReferenceRun &run, bool back, const Doubles &in, Doubles &out) {
  const LatentSpec &latent = *run.spec.experts.latent;
  int64_t from = back ? latent.dim : run.spec.hidden, to = back ? run.spec.hidden : latent.dim;
  std::string role = back ? "latent.out" : "latent.in";
  MatrixView weight;
  Doubles bias(to, 0.0);
  if (!run.matrix(role, 0, to, from, weight) || (latent.bias && !run.vector(role + "_bias", 0, to, bias)))
    return false;
  out = run.product(in, weight, true);
  addBias(run, bias, out);
  return back || !latent.normIn || normalizeRows(run, *latent.normIn, "latent.norm_in", 0, to, out);
}

} // namespace

bool runExpert(ReferenceRun &run, int64_t expert, const std::vector<Assignment> &rows, const Doubles &in,
               Doubles &out) {
  const ExpertsSpec &experts = run.spec.experts;
  int64_t outer = run.spec.expertOutputs();
  Block block{"experts", expert, outer, outer, experts, "gate_bias", &experts, &rows};
  if (experts.form != ExpertForm::Linear)
    block.width = experts.width(expert);
  if (!runBlock(run, block, in, out))
    return false;
  if (experts.lora && experts.lora->at == LoraAt::Parallel &&
      !addParallelLora(run, *experts.lora, expert, outer, in, out))
    return false;
  if (experts.normOut &&
      !normalizeRows(run, *experts.normOut, "experts.norm", experts.normOut->perExpert ? expert : 0, outer, out))
    return false;
  for (double &v : out)
    v *= experts.outputScale;
  if (!drop(run, experts.outputDropout, "output_mask", "experts.output_dropout", outer, rows, out))
    return false;
  run.operations(out, 2);
  return true;
}

bool runDense(ReferenceRun &run, const Doubles &in, Doubles &out) {
  const DenseSpec &dense = *run.spec.layer.dense;
  Block block{"dense", 0, run.spec.hidden, dense.intermediate, {}, ""};
  block.does.form = dense.form;
  block.does.act = dense.act;
  block.does.actName = dense.actName;
  return runBlock(run, block, in, out);
}

static void addOutputs(const std::vector<Assignment> &rows, const Doubles &out, int64_t width, int64_t tokens,
                       OutputSums &sums) {
  sums.width = width;
  sums.sum.resize(size_t(tokens * width), 0.0);
  sums.squares.resize(size_t(tokens), 0.0);
  sums.rows.resize(size_t(tokens), 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    ++sums.rows[size_t(rows[i].token)];
    for (int64_t c = 0; c < width; ++c) {
      double v = out[i * size_t(width) + size_t(c)];
      sums.sum[size_t(rows[i].token * width + c)] += v;
      sums.squares[size_t(rows[i].token)] += v * v;
    }
  }
}

// Zero expert number z of every row: x, 0, or column z of experts.zero_constant [H,Z].
static bool zeroExpert(ReferenceRun &run, int64_t z, const Doubles &in, Doubles &out) {
  const ZeroExperts &zero = *run.spec.experts.zero;
  out = zero.kind == ZeroKind::Identity ? in : Doubles(in.size(), 0.0);
  MatrixView constant;
  if (zero.kind != ZeroKind::Constant)
    return true;
  if (!run.matrix("experts.zero_constant", 0, run.spec.hidden, zero.count, constant))
    return false;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = constant.at(int64_t(i) % run.spec.hidden, z);
  return true;
}

// y[t] += w · expert(x[t]), or expert(w · x[t]) with combine.apply input; zero experts give x, 0 or a constant.
bool runExperts(ReferenceRun &run, const std::vector<Assignment> &assignments, Doubles &y) {
  const LayerSpec &spec = run.spec;
  bool onInput = spec.combine.apply == CombineApply::Input;
  int64_t width = spec.experts.latent ? spec.experts.latent->dim : spec.hidden;
  Doubles source = run.x, sum(run.numTokens * width, 0.0), in, out;
  if (spec.experts.latent && !latentProject(run, false, run.x, source))
    return false;
  if (spec.experts.latent)
    run.round(source, spec.dtype.activation);
  std::map<int64_t, std::vector<Assignment>> byExpert;
  for (const Assignment &a : assignments)
    byExpert[a.expert].push_back(a);
  for (const auto &[expert, rows] : byExpert) {
    in.clear();
    for (const Assignment &a : rows)
      for (int64_t c = 0; c < width; ++c)
        in.push_back(source[a.token * width + c] * (onInput ? a.weight : 1));
    if (onInput)
      run.round(in, spec.dtype.activation);
    if (expert < spec.experts.count) {
      if (!runExpert(run, expert, rows, in, out))
        return false;
    } else if (!zeroExpert(run, expert - spec.experts.count, in, out)) {
      return false;
    }
    if (!spec.combine.rowsF32 && expert < spec.experts.count)
      run.round(out, spec.dtype.activation);
    if (run.outputSums && expert < spec.experts.count)
      addOutputs(rows, out, width, run.numTokens, *run.outputSums);
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t c = 0; c < width; ++c)
        addTerm(run, sum[rows[i].token * width + c], out[i * width + c] * (onInput ? 1 : rows[i].weight));
  }
  if (!spec.experts.latent) {
    y = std::move(sum);
    return true;
  }
  const std::optional<NormSpec> &normOut = spec.experts.latent->normOut;
  if (normOut && !normalizeRows(run, *normOut, "latent.norm_out", 0, width, sum))
    return false;
  run.round(sum, spec.dtype.activation);
  return latentProject(run, true, sum, y);
}

namespace {

// Σ_b scale · block_b(x), or the mean; each times its weight where the router gives them weights.
bool sharedSum(ReferenceRun &run, const Doubles &in, Doubles &sum) {
  const SharedSpec &shared = *run.spec.shared;
  Block block{"shared", 0, run.spec.hidden, shared.intermediate, shared, "gate_in_bias"};
  sum.assign(in.size(), 0.0);
  double factor = shared.scale / (shared.reduce == SharedReduce::Mean ? shared.count : 1);
  for (; block.index < shared.count; ++block.index) {
    Doubles out;
    if (!runBlock(run, block, in, out))
      return false;
    for (double &v : out)
      v *= factor;
    if (!run.spec.combine.rowsF32)
      run.round(out, run.spec.dtype.activation);
    for (size_t i = 0; i < sum.size(); ++i) {
      int64_t token = int64_t(i) / run.spec.hidden;
      bool weighed = shared.gate == SharedGate::Router;
      addTerm(run, sum[i], weighed ? out[i] * run.sharedWeights[token * shared.count + block.index] : out[i]);
    }
  }
  return true;
}

// y += σ(x·g)·shared, or (a, b) = softmax(x·C + c), y = a·y + b·shared.
bool addShared(ReferenceRun &run, Doubles &y) {
  const SharedSpec &shared = *run.spec.shared;
  int64_t hidden = run.spec.hidden;
  Doubles in = run.x, sum;
  if (shared.input == BranchInput::Residual && !run.extra("residual", hidden, "shared.input", in))
    return false;
  if (!sharedSum(run, in, sum))
    return false;
  bool mixed = shared.gate == SharedGate::Softmax2, gated = shared.gate == SharedGate::Sigmoid;
  Doubles gate, gateBias(2, 0.0);
  MatrixView weight;
  if ((mixed || gated) && !run.matrix("shared.gate_weight", 0, mixed ? 2 : 1, hidden, weight))
    return false;
  if (mixed && !run.vector("shared.gate_bias", 0, 2, gateBias))
    return false;
  if (mixed || gated)
    gate = run.product(in, weight, true);
  for (int64_t t = 0; t < run.numTokens; ++t) {
    double pair[2] = {1, 1};
    if (gated)
      pair[1] = sigmoid(gate[t]);
    if (mixed) {
      pair[0] = gate[2 * t] + gateBias[0];
      pair[1] = gate[2 * t + 1] + gateBias[1];
      softmaxInPlace(pair, 2);
    }
    for (int64_t i = t * hidden; i < (t + 1) * hidden; ++i)
      y[i] = run.operation(pair[0] * y[i], 8 * pair[0] * y[i]) + run.operation(pair[1] * sum[i], 8 * pair[1] * sum[i]);
  }
  return true;
}

} // namespace

// y += output.bias; then shared experts; then combine.norm_out.
bool finishOutput(ReferenceRun &run, Doubles &y) {
  const CombineSpec &combine = run.spec.combine;
  int64_t hidden = run.spec.hidden;
  Doubles bias(hidden, 0.0);
  if (combine.bias && !run.vector("output.bias", 0, hidden, bias))
    return false;
  for (size_t i = 0; i < y.size() && combine.bias; ++i)
    y[i] = run.operation(y[i] + bias[i % hidden], std::fabs(y[i]) + std::fabs(bias[i % hidden]));
  if (run.spec.shared && !addShared(run, y))
    return false;
  return !combine.normOut || normalizeRows(run, *combine.normOut, "output.norm", 0, hidden, y);
}

} // namespace moec
