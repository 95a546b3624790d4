// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CudaPlan -> bytes. Spans come in the order of moec_cuda_abi.h, every array at a multiple of 8.

#include "codegen/cuda/CudaPlan.h"

#include "runtime/moec.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <optional>
#include <utility>

namespace moec {
namespace {

constexpr uint64_t regionAlign = 4096;

class Blob {
public:
  std::vector<char> bytes = std::vector<char>(sizeof(moec_cuda_plan_header));

  template <typename T> moec_span append(const std::vector<T> &values) {
    bytes.resize(llvm::alignTo(bytes.size(), 8));
    moec_span span = {uint32_t(bytes.size()), uint32_t(values.size())};
    const char *data = reinterpret_cast<const char *>(values.data());
    bytes.insert(bytes.end(), data, data + values.size() * sizeof(T));
    return span;
  }
};

class Strings {
public:
  std::vector<char> text = std::vector<char>(1, '\0'); // offset 0: the empty string

  uint32_t add(const std::string &value) {
    auto [place, isNew] = offsets.emplace(value, uint32_t(text.size()));
    if (isNew)
      text.insert(text.end(), value.c_str(), value.c_str() + value.size() + 1);
    return place->second;
  }

private:
  std::map<std::string, uint32_t> offsets;
};

moec_cuda_target appendTarget(const CudaTargetPlan &plan, Blob &blob, Strings &strings) {
  moec_cuda_target target = {};
  target.sm = plan.sm;
  target.exact = plan.exact;
  target.first_image = plan.firstImage;
  target.num_images = plan.numImages;
  std::vector<moec_cuda_launch> launches;
  std::vector<moec_cuda_param> params;
  std::vector<moec_cuda_table> tables;
  for (const CudaPlannedLaunch &from : plan.launches) {
    moec_cuda_launch launch = from.launch;
    launch.symbol = strings.add(from.symbol);
    launch.first_param = uint32_t(params.size());
    launch.num_params = uint32_t(from.params.size());
    params.insert(params.end(), from.params.begin(), from.params.end());
    launches.push_back(launch);
  }
  for (const CudaPlannedTable &table : plan.tables)
    tables.push_back({table.bytes, strings.add(table.name), 0});
  target.launches = blob.append(launches);
  target.params = blob.append(params);
  target.tables = blob.append(tables);
  target.maps = blob.append(plan.maps);
  return target;
}

} // namespace

uint16_t CudaTargetPlan::addTable(moec_extent bytes, std::string name) {
  tables.push_back({bytes, std::move(name)});
  return uint16_t(tables.size() - 1);
}

std::set<size_t> CudaTargetPlan::buffers() const {
  std::set<size_t> named;
  for (const CudaPlannedLaunch &launch : launches)
    for (const moec_cuda_param &param : launch.params)
      if (param.kind == MOEC_CUDA_BUFFER)
        named.insert(param.index);
  for (const moec_cuda_map &map : maps)
    if (map.source == MOEC_CUDA_MAP_BUFFER)
      named.insert(map.index);
  return named;
}

void CudaTargetPlan::setCosts(const std::map<std::string, CudaKernelCost> &costs) {
  for (CudaPlannedLaunch &launch : launches)
    if (auto found = costs.find(launch.symbol); found != costs.end()) {
      launch.launch.registers = found->second.registers;
      launch.launch.spill_bytes = found->second.spillBytes;
      launch.launch.local_bytes = found->second.localBytes;
    }
}

std::vector<char> CudaPlan::serialize() const {
  Blob blob;
  Strings strings;
  moec_cuda_plan_header header = {};
  header.magic = MOEC_CUDA_MAGIC;
  header.header_bytes = sizeof(moec_cuda_plan_header);
  header.target_bytes = sizeof(moec_cuda_target);
  header.launch_bytes = sizeof(moec_cuda_launch);
  header.param_bytes = sizeof(moec_cuda_param);
  header.table_bytes = sizeof(moec_cuda_table);
  header.map_bytes = sizeof(moec_cuda_map);
  header.cuda_version = cudaVersion;
  header.packed_bytes = packedBytes;
  std::vector<moec_cuda_target> list;
  for (const CudaTargetPlan &target : targets)
    list.push_back(appendTarget(target, blob, strings));
  header.targets = blob.append(list);
  header.weights = blob.append(weights);
  header.strings = blob.append(strings.text);
  header.total_bytes = uint32_t(blob.bytes.size());
  std::memcpy(blob.bytes.data(), &header, sizeof header);
  return std::move(blob.bytes);
}

int64_t cudaPaddedDepth(int64_t k, int64_t elementBytes) {
  return int64_t(llvm::alignTo(uint64_t(k), uint64_t(16 / elementBytes)));
}

// Bytes of one matrix, [n, k].
static uint64_t matrixBytes(const moec_weight &weight) {
  return uint64_t(weight.n) * weight.k_padded * (weight.dtype == MOEC_F32 ? 4 : 2);
}

// Matrices that a region before has: those of forward, read once more or in the other order.
static void shareMatrices(moec_weight &weight, llvm::ArrayRef<moec_weight> before) {
  std::optional<SharedMatrices> shared = sharedMatrices(before, weight);
  if (!shared)
    return;
  const moec_weight &owner = before[shared->owner];
  weight.derived = MOEC_DERIVED_SHARED;
  weight.panels = owner.parts;
  weight.offset = owner.offset + shared->part * matrixBytes(owner);
  weight.bytes = (uint64_t(weight.groups - 1) * owner.parts + weight.parts) * matrixBytes(owner);
}

std::vector<moec_weight> cudaWeights(const LaunchPlan &plan, uint64_t &packedBytes) {
  std::vector<moec_weight> weights = plan.weights;
  uint64_t end = regionAlign; // the runtime's header page
  for (moec_weight &weight : weights) {
    if (weight.layout == MOEC_LAYOUT_PANELS) {
      if (std::exchange(weight.transposed, uint16_t(0)))
        std::swap(weight.n, weight.k);
      weight.layout = MOEC_LAYOUT_ROWS;
      weight.derived = MOEC_DERIVED_NONE;
      weight.panels = 0;
      weight.n_padded = weight.n;
      weight.k_padded = uint32_t(cudaPaddedDepth(weight.k, weight.dtype == MOEC_F32 ? 4 : 2));
      weight.bytes = uint64_t(weight.groups) * weight.parts * matrixBytes(weight);
      shareMatrices(weight, llvm::ArrayRef(weights).take_front(size_t(&weight - weights.data())));
      if (weight.derived == MOEC_DERIVED_SHARED)
        continue;
    }
    weight.offset = end;
    end = llvm::alignTo(end + weight.bytes, regionAlign);
  }
  packedBytes = end;
  return weights;
}

int64_t cudaTableBytes(const CudaTargetPlan &target, int64_t numTokens) {
  int64_t total = 0;
  for (const CudaPlannedTable &table : target.tables)
    total += int64_t(
        llvm::alignTo(uint64_t(table.bytes.per_token * numTokens + table.bytes.per_sequence + table.bytes.fixed),
                      MOEC_WORKSPACE_ALIGN));
  return total;
}

} // namespace moec
