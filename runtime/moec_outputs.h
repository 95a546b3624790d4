/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec_outputs.h - the outputs of a call besides y, one row each. The compiler, the runtime and the tests read their
 * names, types and shapes here, so that none can miss one. moec.h documents what they mean.
 *
 *     X(ROLE, name, DTYPE, SHAPE, NEEDS, text)
 *
 *   ROLE   its role is MOEC_ROLE_ROLE and, for a report, its bit MOEC_REPORT_ROLE
 *   name   its field is moec_forward_args.out_name, its moe.role "name"
 *   DTYPE  its elements are MOEC_DTYPE
 *   SHAPE  TN: [T,n], n a number of the layer   TK: [T,K]   E: [E]   N: [n], n a number of the layer   ONE: [1]
 *   NEEDS  a layer has a report only if it has this: a logit per EXPERT, LOGITS, CHOICES of experts, or LOSSES
 *   text   one line for people
 *
 * Reports are the outputs that a call computes only on request, in the order of their roles and bits. A spec's
 * "reports" asks for those with other needs than LOSSES.
 */
#ifndef MOEC_OUTPUTS_H
#define MOEC_OUTPUTS_H

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

/* What a NEEDS column names. */
enum { MOEC_NEEDS_EXPERT, MOEC_NEEDS_LOGITS, MOEC_NEEDS_CHOICES, MOEC_NEEDS_LOSSES };

#endif
