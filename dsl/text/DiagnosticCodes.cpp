// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of codes: each code -> the paragraph `moec check --explain CODE` prints. Codes are stable: a code keeps its
// meaning, a code that is no longer used stays reserved.

#include "dsl/text/Diagnostic.h"

#include <algorithm>

namespace moec {

namespace {

struct Row {
  const char *code;
  const char *text;
};

const Row rows[] = {
    // The file
    {"E-JSON", "The file is not valid JSON (RFC 8259, UTF-8). The place is the first character that does not fit. JSON "
               "has no comments, no trailing commas, no single quotes and no NaN."},
    {"E-DUP", "A key occurs twice in one object. Most JSON readers silently keep the last one; a spec with two "
              "answers to one question is refused."},
    {"E-LIMIT", "A limit that keeps hostile files cheap: 1 MiB per file, 16 levels of brackets, 10,000 values, 4 KiB "
                "per string, 32 characters per number. No honest spec comes near them."},
    {"E-VERSION", "`moec` is the version of the vocabulary a spec is written in. This program knows version 1."},
    // Keys and values
    {"E-KEY", "A key, an enum value or a type name is not in the vocabulary. The hint names the closest spelling and "
              "everything allowed at this place. dsl/README.md lists all keys."},
    {"E-MISSING", "A key without a default is not written, or a key that another value makes necessary. Sizes and the "
                  "number of experts per token are never guessed."},
    {"E-TYPE", "A value is of another kind than the key takes: a string for a number, 2.0 for an integer."},
    {"E-RANGE", "A number lies outside the range of its key. Sizes are limited so that no product of them leaves 64 "
                "bits; dsl/README.md gives each range."},
    {"E-NAME", "The name of a layer becomes the first part of symbols and file names, so it is [a-z][a-z0-9_]{0,62}. "
               "\"moec\" and names that start with \"moec_\" are the runtime's."},
    {"E-UNUSED",
     "A key is set to something else than its default, but with the other values of the spec nothing would "
     "read it. Either the key is in the wrong place, or the kind that it belongs to is not chosen; nothing in a "
     "spec is silently ignored."},
    // Routing
    {"E-K", "The number of experts per token, k, must be at least 1, at most the number of experts (zero experts "
            "included), at most the experts left after router.groups, and at most 256. sparsemixer and second_policy "
            "take exactly 2. k_override cannot be larger than k."},
    {"E-GROUP-DIV", "router.groups cuts the experts into `count` equal runs and keeps the best `keep` of them: count "
                    "must divide the number of experts, keep cannot exceed count, and score top2_sum needs at least "
                    "two experts in a group."},
    {"E-GROUP-SELECTED", "With score_over selected the choice is made on raw logits and scores exist only for chosen "
                         "experts, so groups have nothing comparable to be ranked by. Use score_over all."},
    {"E-GROUP-EACH", "groups.choose each takes k / count experts of every group: count must divide k and k_override, "
                     "and nothing may take fewer, so select.kind is topk and inputs.top_k is not there."},
    {"E-TOKEN-GROUPS", "router.token_groups lets groups of tokens choose by a bias or among experts of their own. They "
                       "choose by score: router.kind is token_choice, or table for the tokens of group 0 alone."},
    {"E-SCORE-NORM", "Dividing by the sum of weights (normalize sum or lp) needs weights that are not negative; score "
                     "identity gives raw logits. Use normalize softmax, or another score."},
    {"E-BIAS-SPARSEMIXER", "sparsemixer defines both experts and both weights by itself: choice_bias, groups, "
                           "normalize and any k but 2 contradict it."},
    {"E-TOKENS", "expert_choice and depth let experts take tokens. How many is said by exactly one of select.tokens (a "
                 "number) and select.capacity_factor (that many times T / E)."},
    {"E-TRANSFORM",
     "A logit transform contradicts itself: clamp needs min < max, cosine replaces the product of tokens "
     "and router rows and must come first, and each kind has one learned parameter. Or there are more than 16."},
    {"E-LEVELS", "A hierarchical router has two levels whose counts multiply to experts.count; level 0 chooses groups, "
                 "level 1 experts inside them. A product_key router needs a square number of experts."},
    {"E-CAUSAL", "`causal: true` promises that no token depends on a later one. expert_choice, soft and depth choose "
                 "among all tokens of a sequence and break that promise."},
    {"E-TABLE-IDS", "The router reads ids from the caller (token, expert or group ids), but `inputs` says they are not "
                    "given. Leave the key out: it is implied."},
    {"E-ROUTE-ASSIGN", "Balanced assignment of tokens to experts (BASE, Sinkhorn) is a training procedure that is not "
                       "generated. Its inference form is router.kind token_choice."},
    // Experts
    {"E-ZERO", "Zero experts return their input, zero or a constant. They need the hidden width and a weight on the "
               "output, so combine.apply input, experts.latent, expert_choice, soft and product_key exclude them."},
    {"E-APPLY-INPUT", "combine.apply input multiplies the weight into the input of an expert. With biases, or with "
                      "dropped tokens passed through, that is not what any reference computes."},
    {"E-SHARED-DIM", "A shared block needs its inner width, and the gate softmax2 weighs one routed against one shared "
                     "sum, which a mean over blocks contradicts."},
    {"E-SHARED-ROUTER",
     "With shared.gate router the last rows of the router weigh the shared experts together with the "
     "chosen ones. Tokens must choose by logits: router.kind token_choice with select.kind topk, "
     "top_p or threshold, without noise, fixed weights and experts of their own."},
    {"E-HETERO",
     "Experts of different width: one width per expert, stored one tensor per expert (the default), not quantised."},
    {"E-DTYPE", "The element type is not possible there: activations and output are f32, bf16 or f16, weights also "
                "fp8, and sums are always f32. Quantised experts are described by experts.quant."},
    {"E-QUANT-SHAPE", "Hidden and inner width must be multiples of the quantisation block, and the block must have as "
                      "many extents as its kind: two for fp8_block, one otherwise."},
    {"E-QUANT-BWD",
     "A weight gradient is defined for float weights only. Ask for backward_input to get the gradient of "
     "the input over quantised weights."},
    {"E-LORA-QUANT", "Adapters on each matrix of a quantised base have no backward pass. Use lora.at parallel or "
                     "forward only."},
    // Capacity
    {"E-CAP-VALUE", "capacity.value does not fit capacity.mode: fixed is a whole number of tokens, factor is above 0, "
                    "fraction is above 0 and at most 1; scope group needs group_size; min cannot exceed max."},
    {"E-CAP-DYN", "With capacity.mode dynamic the capacity comes with each call. Memory is laid out when compiling, so "
                  "capacity.max must say how large it may become."},
    {"E-CAP-KIND", "With expert_choice and soft the number of tokens per expert is fixed by the selection itself; a "
                   "capacity on top of it has no meaning."},
    {"E-CAP-NEXT",
     "overflow next_best sends a token to its next expert in rank. Tables, random routing and sparsemixer "
     "rank nothing, where every expert is chosen there is no next one, and expert_dropout leaves experts out."},
    // Training
    {"E-PASSES", "`passes` must contain forward: the backward passes use what forward keeps."},
    {"E-TRAIN-SPARSEMIXER", "sparsemixer is trained on experts that the caller samples: inputs.expert_ids must be "
                            "true, and a training call takes "
                            "expert_ids and midpoint_mask. Forward only it takes the best and needs neither."},
    {"E-DROPOUT",
     "expert_dropout before the choice lets a token choose among the other experts by score; tables, ids "
     "of the caller, product keys and sparsemixer have no such choice. After the choice it goes with all."},
    {"E-LOSS-NOGRAD", "No gradient exists: counts of tokens are constants and a hard switch has no slope. Such a loss "
                      "can be reported with coef 0, such a role must be frozen."},
    {"E-LOSS-LOAD", "The load of an expert is the probability to be chosen under noise, so cv2 of load needs "
                    "router.noise normal or learned."},
    {"E-LOSS-KIND", "The quantity of the loss does not exist with this router: no balance to reach where every expert "
                    "takes the same number of tokens, no logits where ids come from a table, no groups of one size."},
    {"E-REPORT", "`reports` names a report that the layer cannot have: probabilities need a logit for each expert, "
                 "logit_mean and logit_max need logits, the others need tokens that choose experts."},
    {"E-UPDATE", "update bias_sign changes router.choice_bias after each step, so choice_bias must be true."},
    {"E-FROZEN",
     "An entry of `frozen` is a role of this layer, or role[a:b] with 0 <= a < b <= experts.count for a role "
     "with an expert axis. \"experts.*\" names all roles that begin with \"experts.\"."},
    // Layer and storage
    {"E-WRAP", "layer.wrap depth needs exactly one of tokens and capacity; conditional needs the dense block that the "
               "other tokens take."},
    {"E-WEIGHTS",
     "`weights` says where a checkpoint stores each parameter. A role must exist in the layer; per_expert "
     "names hold {e} and others do not; gate, up and down of a block are given together; two roles share a "
     "tensor only as two halves, or as even and odd rows, or are the first matrices of the adapters of gate and "
     "up, which read the same input. A wrong choice gives wrong numbers without any other sign, which is why "
     "nothing is guessed."},
    // Scope
    {"E-SCOPE-AGENTS", "A mixture of agents joins the text of several whole models; it is not a layer."},
    {"E-SCOPE-ATTN", "Attention is outside of a layer spec. Each of its projections can be a layer of linear experts."},
    {"E-SCOPE-EXPERT",
     "An expert computes each token by itself. Convolutions and attention look at a token's neighbours, which a "
     "routed token does not have beside it; such experts are outside of a layer spec."},
    // Importing a config
    {"E-IMPORT-KEY",
     "A config.json lacks a key that its family needs, or holds a value that is not understood. Nothing is "
     "assumed, because class defaults differ from what is published."},
    {"E-IMPORT-MODEL",
     "The importer does not know the model_type of the config. A spec written by hand can describe the layer: "
     "no part of the compiler knows models."},
    {"E-IMPORT-LAYER", "The requested layer has no experts, or the model has fewer layers."},
    {"W-IMPORT-LAYER", "The config does not say which of the model's layers have experts; the layer taken is named. A "
                       "wrong one is found when "
                       "its tensors are not in the checkpoint."},
    {"W-IMPORT-KEY",
     "The config has a key that looks like experts, routing or an activation, and no rule of the model's "
     "family reads it. The layer may differ from its spec; --strict makes it an error."},
    {"W-IMPORT-PREFIX", "The text model stands inside of a model whose names of tensors are not known. The prefix that "
                        "is printed is that of the text model alone; compare it with the names in the checkpoint."},
    {"W-QUIRK",
     "The model does something its config does not say, or says otherwise; the message names it and what was "
     "chosen."},
    // Later stages
    {"E-UNSUPPORTED", "The spec is valid, but this version cannot build it. The message names the key and the hint the "
                      "nearest setting that is supported."},
    {"E-TEMPLATE",
     "A file of the templates folder cannot be used: it does not parse, lacks a parameter it promises, or "
     "a parameter has a value outside its allowed set."},
    {"E-REFERENCE",
     "The float64 reference cannot run the layer: a key has no forward meaning there, or a tensor that it "
     "reads is missing or of another shape. The message names it."},
    {"E-SCHEDULE", "A schedule given with --schedule does not fit the layer, the target or the templates."},
};

} // namespace

std::optional<std::string> explainCode(std::string_view code) {
  for (const Row &row : rows)
    if (code == row.code)
      return std::string(row.text);
  return std::nullopt;
}

std::vector<std::string> diagnosticCodes() {
  std::vector<std::string> codes;
  for (const Row &row : rows)
    codes.emplace_back(row.code);
  std::sort(codes.begin(), codes.end());
  return codes;
}

} // namespace moec
