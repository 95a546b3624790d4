// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer of real size that trains -> some rows of its gradients against float64, written down for this kind of layer:
// a softmax of the k best logits, and y = sum_j w_j Wd_j a_j,  a_j = silu(g_j) u_j,  g_j = Wg_j x,  u_j = Wu_j x.
//
//     inner column i of expert e, over the tokens t that chose it, s = w (Wd[:,i] . dy_t):
//         dWd[:,i] = sum_t w a dy_t     dWg[i,:] = sum_t s u silu'(g) x_t     dWu[i,:] = sum_t s silu(g) x_t
//     token t, c_j = dy . (Wd_j a_j):
//         dx = sum_j (dg_j Wg_j + du_j Wu_j) + sum_j w_j (c_j - sum_l w_l c_l) Wr_j
//
// Choices and weights are those of the forward call, which is checked by itself. The router's own gradient needs all
// tokens, and is compared where layers are small (BackwardCheck.h).

#ifndef MOEC_TESTS_CUDA_LARGEGRADIENTS_H
#define MOEC_TESTS_CUDA_LARGEGRADIENTS_H

#include "codegen/check/CallGradients.h"
#include "codegen/check/OracleCheck.h"

#include <string>

namespace moec {

// Kernels round g, u, a and their gradients to bf16, each by 2^-9 of itself, at random over a row: rows may be off by
// this share of their size, twice what such roundings were seen to make of them. A gradient that is 0 must be 0.
constexpr double mostOfGradientRow = 1e-2;

struct LargeGradientResult {
  size_t rows = 0;
  double worst = 0; // share of a row's size
};

// One forward and two backward calls, on poisoned workspace and clean, gradients in the weights' type: the same bits,
// every value finite, sampled rows right. `out` is what the layer made of the same x. False: `error`.
bool checkLargeGradients(const LayerSpec &spec, const RandomLayer &weights, LayerRun &layer, const void *x,
                         const CallOutputs &out, LargeGradientResult &result, std::string &error);

} // namespace moec

#endif
