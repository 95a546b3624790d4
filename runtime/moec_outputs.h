/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec_outputs.h - the outputs of a call besides y, one row each. The compiler, the runtime and the tests read their
 * names, types and shapes here, so that none can miss one. moec.h documents what they mean.
 *
 *     X(ROLE, name, DTYPE, SHAPE, NEEDS, text)
 *
 *   ROLE   its role is MOEC_ROLE_ROLE and, for a report, its bit in moec_layer_info.reports MOEC_REPORT_ROLE
 *   name   its field is moec_forward_args.out_name, its moe.role "name"
 *   DTYPE  its elements are MOEC_DTYPE
 *   SHAPE  moec_output_shape
 *   NEEDS  moec_output_needs
 *   text   one line for people
 *
 * Reports are the outputs that a call computes only on request. A spec's "reports" asks for those with other needs than
 * LOSSES. An output more: a row here, its role, bit and field in moec_abi.h and moec.h, its ops in codegen/build, its
 * value in dsl/reference.
 */
#ifndef MOEC_OUTPUTS_H
#define MOEC_OUTPUTS_H

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#define MOEC_ROUTING_OUTPUTS(X)                                                                                        \
  X(LOGITS, logits, F32, TN, LOGITS, "router logits before any score")                                                 \
  X(IDS, ids, I32, TK, CHOICES, "chosen experts in selection order")                                                   \
  X(WEIGHTS, weights, F32, TK, CHOICES, "final routing weights")                                                       \
  X(COUNTS, counts, I32, E, CHOICES, "rows per expert")

#define MOEC_REPORTS(X)                                                                                                \
  X(PROBABILITIES, probabilities, F32, TN, EXPERT, "scores over their sum")                                            \
  X(CHOICE_COUNTS, choice_counts, I32, N, CHOICES, "choices per expert before drops")                                  \
  X(LOSSES, losses, F32, N, LOSSES, "values of the spec's losses, in its order")                                       \
  X(LOGIT_MEAN, logit_mean, F32, ONE, LOGITS, "mean of |logit|")                                                       \
  X(LOGIT_MAX, logit_max, F32, ONE, LOGITS, "largest |logit|")                                                         \
  X(DIVERSITY, diversity, F32, ONE, CHOICES, "how far the experts of a token differ")                                  \
  X(DROPPED_TOKENS, dropped_tokens, I32, ONE, CHOICES, "tokens that reach no expert they chose")

#define MOEC_OUTPUTS(X) MOEC_ROUTING_OUTPUTS(X) MOEC_REPORTS(X)

enum moec_output_shape {
  MOEC_SHAPE_TN, /* [T,n], n = columns of the logits                                */
  MOEC_SHAPE_TK, /* [T,K]                                                           */
  MOEC_SHAPE_E,  /* [E]; a step of the runtime makes it from a route                */
  MOEC_SHAPE_N,  /* [n], n = moec_layer_info.num_NAME                               */
  MOEC_SHAPE_ONE /* [1]                                                             */
};

/* What a layer must have for the output. */
enum moec_output_needs {
  MOEC_NEEDS_EXPERT,  /* a logit for each expert      */
  MOEC_NEEDS_LOGITS,  /* logits                       */
  MOEC_NEEDS_CHOICES, /* tokens that choose experts   */
  MOEC_NEEDS_LOSSES   /* losses in its spec           */
};

typedef struct moec_output {
  uint16_t role, dtype;
  uint8_t shape, needs;
  const char *name, *text;
} moec_output;

/* The rows, in the order of roles. */
static const moec_output moec_outputs[] = {
#define MOEC_OUTPUT_ROW(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                         \
  {MOEC_ROLE_##ROLE, MOEC_##DTYPE, MOEC_SHAPE_##SHAPE, MOEC_NEEDS_##NEEDS, #name, text},
    MOEC_OUTPUTS(MOEC_OUTPUT_ROW)
#undef MOEC_OUTPUT_ROW
};

#define MOEC_OUTPUT_COUNTED(ROLE, name, DTYPE, SHAPE, NEEDS, text) +1
enum {
  MOEC_FIRST_REPORT = MOEC_ROLE_PROBABILITIES,
  MOEC_NUM_REPORTS = MOEC_REPORTS(MOEC_OUTPUT_COUNTED),
  MOEC_END_REPORTS = MOEC_FIRST_REPORT + MOEC_NUM_REPORTS,
  MOEC_NUM_FORWARD_ROLES = MOEC_ROLE_GRAD_Y, /* those that moec_forward_args can name */
  MOEC_NUM_BUFFER_ROLES = MOEC_ROLE_SAVED + MOEC_MAX_SAVED
};
#undef MOEC_OUTPUT_COUNTED

static inline int moec_is_report_role(uint32_t role) { return role >= MOEC_FIRST_REPORT && role < MOEC_END_REPORTS; }
static inline int moec_is_report(const moec_output *output) { return moec_is_report_role(output->role); }
static inline uint32_t moec_report_bit(const moec_output *output) { return 1u << (output->role - MOEC_FIRST_REPORT); }

#endif
