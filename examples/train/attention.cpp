// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "attention.h"

#include <algorithm>

namespace train {

Attention::Attention(Threads &on, const std::string &name, AttentionShape of)
    : query(on, name + ".query", of.hidden, of.hidden),
      key(on, name + ".key", of.hidden, of.hidden / of.heads * of.kv_heads),
      value(on, name + ".value", of.hidden, of.hidden / of.heads * of.kv_heads),
      output(on, name + ".output", of.hidden, of.hidden), threads(on), shape(of), width(of.hidden / of.heads),
      shared(of.heads / of.kv_heads), rope(of.context, width) {}

// One row of logits in, its first `count` as shares, zeros behind them.
static void causal_softmax(real *row, int64_t count, int64_t length) {
  real most = *std::max_element(row, row + count), sum = 0;
  for (int64_t j = 0; j < count; ++j)
    sum += row[j] = std::exp(row[j] - most);
  for (int64_t j = 0; j < count; ++j)
    row[j] /= sum;
  std::fill(row + count, row + length, real(0));
}

void Attention::forward(const real *x, int64_t batch, int64_t tokens, real *y) {
  input = x;
  sequences = batch;
  length = tokens;
  int64_t total = batch * tokens, wide = shape.hidden, narrow = width * shape.kv_heads;
  q.resize(total * wide), k.resize(total * narrow), v.resize(total * narrow), mixed.resize(total * wide);
  share.resize(batch * shape.heads * tokens * tokens);
  query.forward(x, total, q.data());
  key.forward(x, total, k.data());
  value.forward(x, total, v.data());
  threads.run(total, [&](int64_t t, int) {
    for (int64_t h = 0; h < shape.heads; ++h)
      rope.rotate(&q[t * wide + h * width], t % tokens);
    for (int64_t h = 0; h < shape.kv_heads; ++h)
      rope.rotate(&k[t * narrow + h * width], t % tokens);
  });
  real scale = 1 / std::sqrt(static_cast<real>(width));
  threads.run(batch * shape.heads, [&](int64_t job, int) {
    int64_t b = job / shape.heads, h = job % shape.heads, first = b * tokens;
    const real *qs = &q[first * wide + h * width];
    const real *ks = &k[first * narrow + h / shared * width], *vs = &v[first * narrow + h / shared * width];
    real *shares = &share[job * tokens * tokens];
    Values keys_turned(width * tokens);
    transpose(tokens, width, ks, narrow, keys_turned.data());
    product(tokens, tokens, width, qs, wide, keys_turned.data(), tokens, shares, tokens, false);
    for (int64_t i = 0; i < tokens; ++i) {
      for (int64_t j = 0; j <= i; ++j)
        shares[i * tokens + j] *= scale;
      causal_softmax(shares + i * tokens, i + 1, tokens);
    }
    product(tokens, width, tokens, shares, tokens, vs, narrow, &mixed[first * wide + h * width], wide, false);
  });
  output.forward(mixed.data(), total, y);
}

// Of one head, with P the shares:  dV = P^T dO,  dP = dO V^T,  dL = P * (dP - rowsum(P * dP)),
// dQ = dL K / sqrt(D),  dK = dL^T Q / sqrt(D).
void Attention::backward(const real *grad_y, real *grad_x) {
  int64_t total = sequences * length, wide = shape.hidden, narrow = width * shape.kv_heads, S = length;
  gmixed.resize(total * wide), gq.resize(total * wide), gk.resize(total * narrow), gv.resize(total * narrow);
  output.backward(mixed.data(), grad_y, total, gmixed.data(), false);
  real scale = 1 / std::sqrt(static_cast<real>(width));
  threads.run(sequences * shape.kv_heads, [&](int64_t job, int) { // its query heads add to the same dK and dV
    int64_t b = job / shape.kv_heads, g = job % shape.kv_heads, first = b * S;
    const real *ks = &k[first * narrow + g * width], *vs = &v[first * narrow + g * width];
    real *gks = &gk[first * narrow + g * width], *gvs = &gv[first * narrow + g * width];
    Values gshare(S * S), turned(std::max(S, width) * S);
    for (int64_t h = g * shared; h < (g + 1) * shared; ++h) {
      bool add = h > g * shared;
      const real *shares = &share[(b * shape.heads + h) * S * S];
      const real *go = &gmixed[first * wide + h * width], *qs = &q[first * wide + h * width];
      transpose(S, S, shares, S, turned.data());
      product(S, width, S, turned.data(), S, go, wide, gvs, narrow, add);
      transpose(S, width, vs, narrow, turned.data());
      product(S, S, width, go, wide, turned.data(), S, gshare.data(), S, false);
      for (int64_t i = 0; i < S; ++i) {
        real along = 0;
        for (int64_t j = 0; j <= i; ++j)
          along += shares[i * S + j] * gshare[i * S + j];
        for (int64_t j = 0; j < S; ++j) // shares of later tokens are 0
          gshare[i * S + j] = shares[i * S + j] * (gshare[i * S + j] - along) * scale;
      }
      product(S, width, S, gshare.data(), S, ks, narrow, &gq[first * wide + h * width], wide, false);
      transpose(S, S, gshare.data(), S, turned.data());
      product(S, width, S, turned.data(), S, qs, wide, gks, narrow, add);
    }
  });
  threads.run(total, [&](int64_t t, int) {
    for (int64_t h = 0; h < shape.heads; ++h)
      rope.rotate_back(&gq[t * wide + h * width], t % S);
    for (int64_t h = 0; h < shape.kv_heads; ++h)
      rope.rotate_back(&gk[t * narrow + h * width], t % S);
  });
  query.backward(input, gq.data(), total, grad_x, false);
  key.backward(input, gk.data(), total, grad_x, true);
  value.backward(input, gv.data(), total, grad_x, true);
}

void Attention::collect(Parameters &out) {
  for (Linear *part : {&query, &key, &value, &output})
    part->collect(out);
}

} // namespace train
