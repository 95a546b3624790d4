// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "experts.h"

#include <algorithm>
#include <numeric>

namespace train {

// Rows of a matrix [n, width] made orthogonal one after the other (Gram and Schmidt), each of the given length.
static void make_orthogonal(Parameter &matrix, double length) {
  int64_t rows = matrix.shape[0], width = matrix.shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    real *row = &matrix.value[r * width];
    for (int64_t earlier = 0; earlier < std::min(r, width); ++earlier) {
      const real *other = &matrix.value[earlier * width];
      real along = std::inner_product(row, row + width, other, real(0)) / static_cast<real>(length * length);
      for (int64_t i = 0; i < width; ++i)
        row[i] -= along * other[i];
    }
    real factor = static_cast<real>(length) / std::sqrt(std::inner_product(row, row + width, row, real(0)));
    for (int64_t i = 0; i < width; ++i)
      row[i] *= factor;
  }
}

void draw_experts(MoeLayer &layer, Random &random, double output_factor) {
  Parameters all;
  layer.collect(all);
  for (Parameter *parameter : all)
    if (parameter->shape.size() == 3) // [E, out, in]
      parameter->draw(random, 1 / std::sqrt(double(parameter->shape[2])));
  for (real &v : layer.role("experts.down").value)
    v *= static_cast<real>(output_factor);
  Parameter &router = layer.role("router.weight");
  router.draw(random, 1);
  make_orthogonal(router, 1); // of normed tokens the logits then have a deviation of 1
  layer.changed();
}

// The part of each parameter that belongs to one expert; parameters without experts are left out.
template <class Visit> static void for_each_part(MoeLayer &layer, int64_t expert, Visit visit) {
  Parameters all;
  layer.collect(all);
  for (Parameter *parameter : all)
    if (parameter->shape[0] == layer.experts()) {
      int64_t size = parameter->size() / layer.experts();
      visit(*parameter, expert * size, size);
    }
}

void copy_expert(MoeLayer &layer, int64_t from, int64_t to, double spread, Random &random) {
  for_each_part(layer, to, [&](Parameter &parameter, int64_t first, int64_t size) {
    for (int64_t i = 0; i < size; ++i)
      parameter.value[first + i] = parameter.value[from * size + i] * static_cast<real>(1 + spread * random.normal());
  });
  layer.changed();
}

int64_t revive_dead(MoeLayer &layer, double least, Random &random, Adam *adam) {
  std::vector<int64_t> counts(layer.experts(), 0);
  counts.swap(layer.chosen);
  double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t(0)));
  double limit = least * total / static_cast<double>(counts.size());
  std::vector<int64_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return counts[a] != counts[b] ? counts[a] > counts[b] : a < b; });
  int64_t dead = 0;
  for (int64_t expert : order)
    if (total > 0 && static_cast<double>(counts[expert]) < limit) {
      copy_expert(layer, order[dead++], expert, 0.1, random);
      for_each_part(layer, expert, [&](Parameter &parameter, int64_t first, int64_t size) {
        if (adam)
          adam->forget(parameter, first, size);
      });
    }
  return dead;
}

} // namespace train
