// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec: what a valid spec means, as plain data.
//
// SpecReader fills it from JSON, SpecChecks checks that it is consistent, SpecPrinter prints its canonical form,
// Reference computes it in float64, and codegen compiles it. Every default below is the default of the key.
//
// Letters: T tokens, E routed experts, K choices per token, H hidden, I expert inner width.

#ifndef MOEC_DSL_LAYERSPEC_H
#define MOEC_DSL_LAYERSPEC_H

#include "DataType.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moec {

// Element types of activations (x), matrices, accumulation and y. All are f32 unless the spec says otherwise.
struct DataTypes {
  DataType activation = DataType::F32;
  DataType weight = DataType::F32;
  DataType router = DataType::F32; // matrices that logits are made of; defaults to weight
  DataType accumulate = DataType::F32;
  DataType output = DataType::F32; // defaults to activation
};

struct ExternalInputs {
  bool tokenIds = false;  // [T] i32, router.kind table
  bool expertIds = false; // [T,K] i32, router.kind external; training: the sampled ids of sparsemixer
  bool groupIds = false;  // [T] i32, a given first level, or router.token_groups
  bool topK = false;      // [1] i32, choices to use of the compiled K
};

enum class RouterKind {
  TokenChoice,
  External,
  ExpertChoice,
  Soft,
  Table,
  Random,
  Dense,
  Hierarchical,
  ProductKey,
  Depth
};
enum class JitterScope { Router, Layer };
enum class BranchInput { X, Residual }; // which activation a branch reads
enum class LogitDType { Activation, F32 };
enum class Score { Softmax, Sigmoid, SqrtSoftplus, Softplus, Relu, Identity };
enum class ScoreOver { All, Selected };

// router.input.norm: x̂ = x / sqrt(mean(x²) + eps) [∘ scale vector][· weight]
struct RouterNorm {
  double eps = 1e-6;
  double scale = 1.0;  // constant factor after the norm
  bool weight = false; // role router.input_scale [H]
};

struct RouterInput {
  std::optional<RouterNorm> norm;
  double jitter = 0.0; // x · U(1-jitter, 1+jitter), training only
  JitterScope jitterScope = JitterScope::Router;
  BranchInput from = BranchInput::X;
};

enum class TransformOp { Clamp, SoftCap, Temperature, Cosine };
struct LogitTransform {
  TransformOp op = TransformOp::Clamp;
  double min = 0, max = 0; // clamp
  double value = 1;        // softcap: cap; temperature: value; cosine: scale
  bool learned = false;    // temperature: role router.temperature; cosine: role router.scale
  double eps = 1e-6;       // cosine: v / sqrt(sum(v^2) + eps)
};

enum class NoiseKind { None, Normal, Learned, Gumbel };
enum class NoiseStdFn { Softplus, Softmax };
enum class NoiseWhen { Train, Always };
struct RouterNoise {
  NoiseKind kind = NoiseKind::None;
  double std = 1.0;
  NoiseStdFn stdFn = NoiseStdFn::Softplus;
  double eps = 0.0; // added to the learned std
  NoiseWhen when = NoiseWhen::Train;
};

enum class GroupChoose { Best, Each };
enum class GroupScore { Max, Top2Sum, Sum };
enum class GroupMasked { Zero, NegInf };
// Runs of consecutive experts: best: k experts of the best `keep` groups; each: k / count experts of every group.
struct RouterGroups {
  int64_t count = 1, keep = 0;
  GroupScore score = GroupScore::Max;
  GroupMasked masked = GroupMasked::Zero;
  GroupChoose choose = GroupChoose::Best;
};

enum class GroupExperts { All, Own };
// Groups of tokens, given by inputs.group_ids. all: each has a choice bias of its own; own: each also has experts of
// its own, the g-th of `count` equal runs, and rows of the router for them.
struct TokenGroups {
  int64_t count = 1;
  GroupExperts experts = GroupExperts::All;
};

enum class SelectKind { TopK, SparseMixer, SecondPolicy, TopP, Threshold };
enum class SecondPolicy { Always, Gumbel, Random2P, Threshold };
enum class SelectScope { Batch, Sequence };
struct RouterSelect {
  SelectKind kind = SelectKind::TopK;
  int64_t k = 1;
  double eps = 0.0; // sparsemixer margin
  SecondPolicy second = SecondPolicy::Always;
  double threshold = 0.0; // second: threshold, kind: threshold
  double p = 0.0;         // top_p
  int64_t kMax = 0;       // top_p, threshold: columns of ids
  // expert_choice, depth: tokens taken per expert
  std::optional<int64_t> tokens;
  std::optional<double> capacityFactor;
  SelectScope scope = SelectScope::Batch;
};

enum class NormalizeKind { None, Sum, Lp, Softmax };
enum class EpsMode { Add, Floor };
enum class NormalizeOver { Token, Expert };
struct RouterNormalize {
  NormalizeKind kind = NormalizeKind::None;
  double p = 1.0;
  double eps = 0.0;
  EpsMode epsMode = EpsMode::Add;
  NormalizeOver over = NormalizeOver::Token;
};

enum class DropExpertsAt { Before, After };
// Training: experts that a token does without. before: others are chosen in their place; after: their choices are lost.
struct ExpertDropout {
  double p = 0.0;
  DropExpertsAt at = DropExpertsAt::Before;
};

enum class CombineWeights { Own, Dispatch };
enum class WeightDType { F32, Activation };
enum class WeightMode { Gathered, One, Mean };
enum class Unselected { Zero, Identity };

struct RouterSpec {
  RouterKind kind = RouterKind::TokenChoice;
  RouterInput input;
  bool bias = false;
  LogitDType logitDType = LogitDType::Activation;
  std::vector<LogitTransform> transform;
  RouterNoise noise;
  Score score = Score::Softmax;
  ScoreOver scoreOver = ScoreOver::All;
  bool choiceBias = false;
  std::optional<RouterGroups> groups;
  std::optional<TokenGroups> tokenGroups;
  RouterSelect select;
  RouterNormalize normalize;
  int64_t vocab = 0; // table: rows of router.table; 0: not known
  int64_t slots = 1; // soft: slots per expert
  SelectScope scope = SelectScope::Sequence;
  CombineWeights combineWeights = CombineWeights::Own;
  int64_t count = 0;              // number of groups or experts of a level (hierarchical only)
  std::vector<RouterSpec> levels; // hierarchical
  double randomReplace = 0.0;     // probability, training
  ExpertDropout expertDropout;
  bool straightThrough = false; // fixed weights get the gradient of the scores
  Unselected unselected = Unselected::Zero;
  double scale = 1.0;
  bool globalScale = false; // role router.global_scale [1]
  bool expertScale = false;
  WeightDType weightDType = WeightDType::F32;
  WeightMode weightMode = WeightMode::Gathered;
  std::optional<int64_t> kOverride;
};

enum class ZeroKind { Identity, Zero, Constant };
struct ZeroExperts {
  int64_t count = 0; // ids E .. E+count-1
  ZeroKind kind = ZeroKind::Identity;
};

enum class ExpertForm { Glu, Mlp, Linear };
enum class Activation { Silu, Gelu, GeluTanh, QuickGelu, Relu, Relu2, Identity, Custom };
enum class ClampAt { PreAct, PostAct };
struct ExpertClamp {
  double limit = 0.0; // gate <= limit, |up| <= limit
  ClampAt at = ClampAt::PreAct;
};
// c·tanh(v/c) for v of the up branch, and for the factor v of silu's v·σ(alpha·v) in the gate branch
struct SoftCaps {
  std::optional<double> gate, up; // c
};
struct ExpertBias {
  bool in = false, out = false;
};
enum class NormKind { Rms, LayerNorm };
// rms: v / sqrt(mean(v²) + eps) · f. layernorm: (v - mean(v)) / sqrt(var(v) + eps) · f + bias, population variance.
// With `before`, rms has its factor in front: u = v · f, u / sqrt(mean(u²) + eps).
struct NormSpec {
  NormKind kind = NormKind::Rms;
  double eps = 1e-5;
  bool weight = true;      // f is a role NAME_weight (and layernorm has NAME_bias); otherwise 1, without bias
  bool unitOffset = false; // f is 1 + the role
  bool before = false;
  bool perExpert = true; // experts.norm_out: each expert has roles of its own
};
struct LatentSpec {
  int64_t dim = 0;
  bool bias = false;
  std::optional<NormSpec> normIn, normOut; // of what the experts read, and of the sum of what they give
};
// Training: values times a mask, an input of the call. Forward only: nothing, or times 1 - p.
struct DropoutSpec {
  double p = 0.0;
  bool scaleAtEval = false;
};
enum class LoraAt { Parallel, PerMatrix };
struct LoraSpec {
  int64_t rank = 0;
  double alpha = 0.0;
  LoraAt at = LoraAt::Parallel;
};
enum class QuantKind { None, Fp8Block, MxFp4, NvFp4, Int8, Int4Group };
struct QuantSpec {
  QuantKind kind = QuantKind::None;
  std::vector<int64_t> block; // one or two extents
  DataType scaleDType = DataType::F32;
  bool zeroPoint = false;
};

// What a block computes between its matrices; routed and shared experts are such blocks.
struct FeedForward {
  ExpertForm form = ExpertForm::Glu;
  Activation act = Activation::Silu;
  std::string actName = "silu"; // name of the function file; differs from the enum's name only for Custom
  double actAlpha = 1.0;        // silu becomes v·σ(alpha·v)
  double upOffset = 0.0;        // added to the up branch
  std::optional<ExpertClamp> clamp;
  std::optional<SoftCaps> softcap; // behind a clamp of the same branch, before up_offset
  ExpertBias bias;
};

struct ExpertsSpec : FeedForward {
  int64_t count = 0; // E
  std::optional<ZeroExperts> zero;
  std::vector<int64_t> intermediate; // one width for all experts, or E widths
  std::optional<LatentSpec> latent;
  int64_t layers = 1;
  double outputScale = 1.0;
  DropoutSpec hiddenDropout, outputDropout;
  std::optional<NormSpec> normOut; // of an expert's output, before output_scale
  std::optional<LoraSpec> lora;
  QuantSpec quant;

  bool heterogeneous() const { return intermediate.size() > 1; }
  int64_t width(int64_t expert) const { return intermediate.size() == 1 ? intermediate[0] : intermediate[expert]; }
  int64_t widest() const {
    return intermediate.empty() ? 0 : *std::max_element(intermediate.begin(), intermediate.end());
  }
};

enum class SharedReduce { Sum, Mean };
enum class SharedGate { None, Sigmoid, Softmax2, Router };
struct SharedSpec : FeedForward {
  int64_t intermediate = 0;
  int64_t count = 1; // separate blocks; a fused wide block is count 1
  SharedReduce reduce = SharedReduce::Sum;
  SharedGate gate = SharedGate::None;
  double scale = 1.0;
  BranchInput input = BranchInput::X;
};

enum class CapacityMode { Fixed, Factor, Fraction, Dynamic };
enum class CapacityRound { Floor, Ceil, Nearest };
enum class CapacityScope { Batch, Sequence, Group };
enum class CapacityOrder { Token, Score, Random, LargestPerExpert };
enum class CapacityMajor { Choice, Token };
enum class Overflow { Drop, NextBest };
enum class Dropped { Zero, Identity };
enum class NormalizeAt { Before, After };
struct CapacitySpec {
  CapacityMode mode = CapacityMode::Fixed;
  double value = 0.0;
  bool perChoice = true;
  CapacityRound round = CapacityRound::Ceil;
  int64_t min = 0;
  CapacityScope scope = CapacityScope::Batch;
  int64_t groupSize = 0; // scope: group
  CapacityOrder order = CapacityOrder::Token;
  CapacityMajor major = CapacityMajor::Choice;
  Overflow overflow = Overflow::Drop;
  Dropped dropped = Dropped::Zero;
  NormalizeAt normalizeAt = NormalizeAt::Before;
  std::optional<int64_t> max; // upper bound known when compiling
};

enum class CombineApply { Output, Input };
struct CombineSpec {
  CombineApply apply = CombineApply::Output;
  bool bias = false;               // role output.bias [H]
  bool accumulateF32 = true;       // false: in the activation type
  bool rowsF32 = true;             // false: an expert's output is rounded to the activation type before it is weighted
  std::optional<NormSpec> normOut; // of routed and shared experts together, before a wrap; roles output.norm_*
};

// A loss keeps its options as text: kinds of losses share only kind and coefficient.
struct LossSpec {
  std::string kind; // load_balance, z, cv2, entropy, uniform_mse, importance_x_load, count_variance
  double coef = 0.0;
  std::map<std::string, std::string> options; // canonical text of every further key

  // Options by key; a missing one has its default.
  bool is(const char *key, const char *word) const;
  bool flag(const char *key) const;
  int64_t integer(const char *key, int64_t fallback) const;
  double number(const char *key, double fallback) const;
};
struct UpdateSpec {
  std::string kind;
  double rate = 0.0;
}; // bias_sign

enum class LayerWrap { None, Depth, Conditional, Skip };
struct DenseSpec {
  int64_t intermediate = 0;
  ExpertForm form = ExpertForm::Glu;
  Activation act = Activation::Silu;
  std::string actName = "silu";
};
struct WrapSpec {
  LayerWrap wrap = LayerWrap::None;
  std::optional<int64_t> tokens;  // kept per sequence
  std::optional<double> capacity; // or a fraction of the sequence
  SelectScope scope = SelectScope::Sequence;
  bool residual = false;
  double threshold = 0.5;
  std::optional<DenseSpec> dense;
};

enum class StackKind { Single, PerExpert, Stacked, FlatRows, InterleavedColumns };
enum class AxesKind { OutIn, InOut };
enum class PartKind { All, FirstHalf, SecondHalf, Even, Odd };
// Where a role is stored in a checkpoint.
struct WeightStorage {
  std::string tensor;             // per_expert: holds {e}
  std::optional<StackKind> stack; // unset: stacked for roles with an expert axis, single otherwise
  AxesKind axes = AxesKind::OutIn;
  PartKind part = PartKind::All; // along the out axis
};

struct Passes {
  bool forward = true, backward = false, backwardInput = false;
};
enum class Save { All, Inputs, Ids };

struct LayerSpec {
  std::string name; // [a-z][a-z0-9_]{0,62}
  int64_t hidden = 0;
  DataTypes dtype;
  ExternalInputs inputs;
  bool causal = false;
  RouterSpec router;
  ExpertsSpec experts;
  std::optional<SharedSpec> shared;
  std::optional<CapacitySpec> capacity;
  CombineSpec combine;
  std::vector<LossSpec> losses;
  unsigned reports = 0; // bits in the order of reportNames() (Reports.h)
  std::optional<UpdateSpec> update;
  WrapSpec layer;
  Passes passes;
  Save save = Save::All;
  std::vector<std::string> frozen;
  std::map<std::string, WeightStorage> weights; // role -> storage; a missing role is stored under its own name

  // Columns of ids and weights per token: k, k_max, the override, or the product of the levels' k; the number of
  // experts for dense and expert choice; 0 for soft routing.
  int64_t choices() const {
    if (router.kind == RouterKind::Soft)
      return 0;
    if (router.kind == RouterKind::Dense)
      return routerRows();
    if (router.kind == RouterKind::ExpertChoice)
      return experts.count;
    if (router.kind == RouterKind::Hierarchical && router.levels.size() == 2)
      return (router.levels[0].kind == RouterKind::Table ? 1 : router.levels[0].select.k) * router.levels[1].select.k;
    if (router.kOverride)
      return *router.kOverride;
    if (router.select.kind == SelectKind::TopP || router.select.kind == SelectKind::Threshold)
      return router.select.kMax;
    if (router.select.kind == SelectKind::SparseMixer || router.select.kind == SelectKind::SecondPolicy)
      return 2;
    return router.select.k;
  }
  // Whether the layer has logits; layers that get ids and weights from elsewhere do not.
  bool hasRouterWeight() const;
  // Whether there is a logit for every expert or slot. Product keys have logits of sub-keys instead.
  bool hasExpertLogits() const {
    return router.kind == RouterKind::Soft ||
           (hasRouterWeight() && router.kind != RouterKind::ProductKey && !hasOwnExperts());
  }
  // Whether each group of tokens has experts of its own: then no token has a logit for every expert.
  bool hasOwnExperts() const { return router.tokenGroups && router.tokenGroups->experts == GroupExperts::Own; }
  // Whether a token chooses the same number of experts in every group of experts.
  bool choosesInEachGroup() const { return router.groups && router.groups->choose == GroupChoose::Each; }
  // Rows of the router that weigh shared experts, behind those of routed and zero experts.
  int64_t sharedRows() const { return shared && shared->gate == SharedGate::Router ? shared->count : 0; }
  // Whether the layer is built for training: draws and masks of training are then inputs of its calls.
  bool trains() const { return passes.backward || passes.backwardInput; }
  // Noise is an input of a forward pass if it always acts, or in training.
  bool takesNoise() const {
    return router.noise.kind != NoiseKind::None && (router.noise.when == NoiseWhen::Always || trains());
  }
  bool takesJitter() const { return trains() && router.input.jitter != 0; }
  bool takesHiddenMask() const { return trains() && experts.hiddenDropout.p != 0; }
  bool takesOutputMask() const { return trains() && experts.outputDropout.p != 0; }
  bool takesExpertMask() const { return trains() && router.expertDropout.p != 0; }
  bool replacesIds() const { return trains() && router.randomReplace != 0; }
  // Whether the choices of sparsemixer are sampled by the caller.
  bool takesSamples() const {
    return trains() && router.kind == RouterKind::TokenChoice && router.select.kind == SelectKind::SparseMixer;
  }
  // Columns of what an expert returns.
  int64_t expertOutputs() const { return experts.latent ? experts.latent->dim : hidden; }
  // Names of a forward pass's inputs besides x and parameters, as in the oracle and the runtime.
  std::vector<std::string> inputNames() const;
  // Columns N of the input `name`, [T,N]; 1 for [T] and [1]. Masks of slots have a row for each slot.
  int64_t inputColumns(const std::string &name) const;
  // Rows of the input in a call of `tokens` tokens in `sequences` sequences; 1 for [1].
  int64_t inputRows(const std::string &name, int64_t tokens, int64_t sequences) const;
  // Slots of a scope, with soft routing: those of expert 0 first.
  int64_t slots() const { return experts.count * router.slots; }
  // Rows of the router: routed plus zero experts.
  int64_t routerRows() const { return experts.count + (experts.zero ? experts.zero->count : 0); }
  // n of product_key, E = n * n: sub-keys of each of its two sets.
  int64_t subKeys() const {
    int64_t n = 1;
    while (n * n < experts.count)
      ++n;
    return n;
  }
  // Columns of the logits: one per row of the router, two sets of sub-keys, or one per slot.
  int64_t logitColumns() const {
    if (router.kind == RouterKind::Soft)
      return experts.count * router.slots;
    return router.kind == RouterKind::ProductKey ? 2 * subKeys() : routerRows();
  }
};

// One parameter of the layer: its role name (semantics as in dsl/README.md) and logical shape, experts stacked first.
// An extent of -1 means that the spec does not fix it: rows of router.table, or the width of experts that differ in
// width.
struct Role {
  std::string name;
  std::vector<int64_t> shape;
  bool expertAxis = false;      // shape[0] counts experts
  bool matrix = false;          // last two axes are [out, in]
  std::string stackedName = ""; // of one expert's part of a role: the role's name ...
  int64_t expert = -1;          // ... and the expert
};

// Role of a group of tokens: "router.group1.choice_bias".
std::string tokenGroupRole(int64_t group, const char *part);

// All parameters of `spec`, in a fixed order. `spec` must be valid.
std::vector<Role> rolesOf(const LayerSpec &spec);

// The element type in which a layer keeps a parameter: vectors are f32, matrices of the router have dtype.router.
DataType storedType(const LayerSpec &spec, const Role &role);

// The tensors that a package takes for these roles. If experts differ in width, a role with an expert axis becomes one
// tensor per expert, NAME.e, of that expert's shape. Only router.table still has an extent of -1.
std::vector<Role> tensorsOf(const LayerSpec &spec);

} // namespace moec

#endif
