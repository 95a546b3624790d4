// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tensor is filled in chunks, each with a seed of its own.

#include "LargeWeights.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace moec {

static constexpr int64_t chunkElements = int64_t(1) << 20;

void onAllThreads(int64_t count, const std::function<void(int64_t)> &work) {
  std::atomic<int64_t> next{0};
  auto run = [&] {
    for (int64_t i = next++; i < count; i = next++)
      work(i);
  };
  int64_t threads = std::min<int64_t>(count, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i)
    others.emplace_back(run);
  run();
  for (std::thread &thread : others)
    thread.join();
}

namespace {
struct Chunk {
  void *data;
  DataType type;
  int64_t count;
  Distribution distribution;
  uint64_t seed;
};
} // namespace

bool makeLargeWeights(const LayerSpec &spec, uint64_t seed, RandomLayer &weights, std::string &error) {
  std::vector<Chunk> chunks;
  for (const Role &role : tensorsOf(spec)) {
    if (role.name == "router.table") {
      error = "a layer with a table of experts is not made here";
      return false;
    }
    DataType type = role.matrix ? storedType(spec, role) : spec.dtype.weight;
    int64_t elementBytes = int64_t(dataTypeBits(type)) / 8;
    int64_t count = 1;
    for (int64_t extent : role.shape)
      count *= extent;
    PageBuffer buffer(size_t(count * elementBytes));
    if (!buffer.data()) {
      error = "no memory for " + role.name;
      return false;
    }
    for (int64_t first = 0; first < count; first += chunkElements)
      chunks.push_back({static_cast<char *>(buffer.data()) + first * elementBytes, type,
                        std::min(chunkElements, count - first), distributionOf(role), seed * 1000003 + chunks.size()});
    weights.tensors[role.name] = {type, buffer.data(), role.shape};
    weights.view.add(role, type, buffer.data());
    weights.memory.push_back(std::move(buffer));
  }
  onAllThreads(int64_t(chunks.size()), [&](int64_t i) {
    const Chunk &chunk = chunks[size_t(i)];
    fillNormal(chunk.data, chunk.type, chunk.count, chunk.distribution.mean, chunk.distribution.deviation, chunk.seed);
  });
  return true;
}

} // namespace moec
