// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's weights -> its calls with oneDNN: rows gathered per expert, two matmuls with fused SwiGLU, one matmul, and
// a weighted sum in f32. A C interface that onednn_peer.py loads.
//
//   g = swish(x Wg^T), h = g * (x Wu^T), rows = h Wd^T       swish and the product are post-ops of the matmuls
//
// Weights are packed once, in the layout that oneDNN prefers. A primitive is made when a number of rows is seen for the
// first time, which is before the timed calls, and kept.

#include <oneapi/dnnl/dnnl.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <omp.h>
#include <string>
#include <vector>

using dnnl::matmul;
using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

namespace {

std::string lastError;

float widen(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// To nearest, ties to even; NaN stays one.
uint16_t narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

enum Product { Gate, Up, Down, numProducts };

struct Primitives {
  matmul run[numProducts];
  memory::desc from[numProducts], to[numProducts];
};

class Layer {
public:
  Layer(int64_t experts, int64_t hidden, int64_t intermediate, const void *const weights[numProducts])
      : engine(dnnl::engine::kind::cpu, 0), stream(engine), experts(experts), hidden(hidden),
        intermediate(intermediate) {
    for (int p = 0; p < numProducts; ++p) {
      const int64_t in = inputs(p), out = outputs(p);
      // Any layout for a block of rows; every other number of rows takes the same one.
      memory::desc rows({64, in}, Type::bf16, Tag::ab), result({64, out}, Type::bf16, Tag::ab);
      memory::desc any({in, out}, Type::bf16, Tag::any);
      layout[p] = matmul::primitive_desc({rows, any, result}, engine).weights_desc();
      for (int64_t e = 0; e < experts; ++e) {
        auto *source = static_cast<const uint16_t *>(weights[p]) + e * in * out;
        // oneDNN does not write to the source of a reorder
        memory plain({{in, out}, Type::bf16, Tag::ba}, engine, const_cast<uint16_t *>(source));
        packed[p].emplace_back(layout[p], engine);
        dnnl::reorder(plain, packed[p].back()).execute(stream, plain, packed[p].back());
      }
    }
    stream.wait();
  }

  // x [T,H] bf16, ids [T,K], weights [T,K] -> y [T,H] bf16
  void run(int64_t tokens, int64_t choices, const uint16_t *x, const int32_t *ids, const float *weights, uint16_t *y) {
    const int64_t all = tokens * choices;
    begin.assign(size_t(experts) + 1, 0);
    for (int64_t i = 0; i < all; ++i)
      ++begin[size_t(ids[i]) + 1];
    for (int64_t e = 0; e < experts; ++e)
      begin[size_t(e) + 1] += begin[size_t(e)];
    next = begin;
    place.resize(size_t(all));
    for (int64_t i = 0; i < all; ++i)
      place[size_t(i)] = next[size_t(ids[i])]++;
    gathered.resize(size_t(all * hidden));
    gates.resize(size_t(all * intermediate));
    inner.resize(size_t(all * intermediate));
    rows.resize(size_t(all * hidden));
#pragma omp parallel for
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t k = 0; k < choices; ++k)
        std::memcpy(&gathered[size_t(place[size_t(t * choices + k)] * hidden)], x + t * hidden, size_t(hidden) * 2);
    for (int64_t e = 0; e < experts; ++e)
      if (int64_t count = begin[size_t(e) + 1] - begin[size_t(e)])
        expert(size_t(e), begin[size_t(e)], count);
    stream.wait();
#pragma omp parallel for
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<float> sum(size_t(hidden), 0.f);
      for (int64_t k = 0; k < choices; ++k) {
        const uint16_t *row = &rows[size_t(place[size_t(t * choices + k)] * hidden)];
        const float share = weights[t * choices + k];
        for (int64_t h = 0; h < hidden; ++h)
          sum[size_t(h)] += share * widen(row[h]);
      }
      for (int64_t h = 0; h < hidden; ++h)
        y[t * hidden + h] = narrow(sum[size_t(h)]);
    }
  }

private:
  int64_t inputs(int product) const { return product == Down ? intermediate : hidden; }
  int64_t outputs(int product) const { return product == Down ? hidden : intermediate; }

  const Primitives &of(int64_t count) {
    std::unique_ptr<Primitives> &kept = known[count];
    if (kept)
      return *kept;
    auto made = std::make_unique<Primitives>();
    for (int p = 0; p < numProducts; ++p) {
      made->from[p] = {{count, inputs(p)}, Type::bf16, Tag::ab};
      made->to[p] = {{count, outputs(p)}, Type::bf16, Tag::ab};
      dnnl::post_ops after;
      if (p == Gate)
        after.append_eltwise(1.f, dnnl::algorithm::eltwise_swish, 1.f, 0.f);
      if (p == Up)
        after.append_binary(dnnl::algorithm::binary_mul, made->to[Gate]);
      dnnl::primitive_attr attributes;
      attributes.set_post_ops(after);
      made->run[p] = matmul({{made->from[p], layout[p], made->to[p]}, attributes, engine});
    }
    kept = std::move(made);
    return *kept;
  }

  void expert(size_t e, int64_t first, int64_t count) {
    const Primitives &how = of(count);
    memory x(how.from[Gate], engine, &gathered[size_t(first * hidden)]);
    memory g(how.to[Gate], engine, &gates[size_t(first * intermediate)]);
    memory h(how.to[Up], engine, &inner[size_t(first * intermediate)]);
    memory out(how.to[Down], engine, &rows[size_t(first * hidden)]);
    how.run[Gate].execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed[Gate][e]}, {DNNL_ARG_DST, g}});
    how.run[Up].execute(stream, {{DNNL_ARG_SRC, x},
                                 {DNNL_ARG_WEIGHTS, packed[Up][e]},
                                 {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, g},
                                 {DNNL_ARG_DST, h}});
    how.run[Down].execute(stream, {{DNNL_ARG_SRC, h}, {DNNL_ARG_WEIGHTS, packed[Down][e]}, {DNNL_ARG_DST, out}});
  }

  dnnl::engine engine;
  dnnl::stream stream;
  int64_t experts, hidden, intermediate;
  memory::desc layout[numProducts];
  std::vector<memory> packed[numProducts];
  std::map<int64_t, std::unique_ptr<Primitives>> known;
  std::vector<int64_t> begin, next, place;
  std::vector<uint16_t> gathered, gates, inner, rows;
};

} // namespace

extern "C" {

const char *peers_onednn_error() { return lastError.c_str(); }

const char *peers_onednn_version() {
  static char text[64];
  const dnnl_version_t *version = dnnl_version();
  std::snprintf(text, sizeof text, "%d.%d.%d, CPU ISA 0x%x", version->major, version->minor, version->patch,
                unsigned(dnnl_get_effective_cpu_isa()));
  return text;
}

// NULL on an error, whose text peers_onednn_error has. The layer lives as long as the process.
void *peers_onednn_open(int64_t experts, int64_t hidden, int64_t intermediate, int threads, const void *gate,
                        const void *up, const void *down) {
  try {
    omp_set_num_threads(threads);
    const void *weights[numProducts] = {gate, up, down};
    return new Layer(experts, hidden, intermediate, weights);
  } catch (const std::exception &problem) {
    lastError = problem.what();
    return nullptr;
  }
}

int peers_onednn_run(void *layer, int64_t tokens, int64_t choices, const void *x, const void *ids, const void *weights,
                     void *y) {
  try {
    static_cast<Layer *>(layer)->run(tokens, choices, static_cast<const uint16_t *>(x),
                                     static_cast<const int32_t *>(ids), static_cast<const float *>(weights),
                                     static_cast<uint16_t *>(y));
    return 0;
  } catch (const std::exception &problem) {
    lastError = problem.what();
    return 1;
  }
}
}
