// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the figures come from:
//
//     multiprocessors, peaks, dram     NVIDIA's data sheets: H100 SXM 132, 989 TFLOP/s dense bf16, 3.35 TB/s; H200 SXM
//                                      the same with 4.8 TB/s; A100 SXM 80 GB 108, 312, 2.04 TB/s. FMA: 67 and 19.5
//     registers, shared, threads       CUDA C++ Programming Guide, table of technical specifications
//     l2, latency, reached,            on no data sheet: assumed until they are measured, the last four as
//     rates, epilogue, startup, early  tests/cuda/bench/model.py has them

#include "codegen/search/CudaModel.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>

namespace moec {

static constexpr int64_t KiB = 1024;

static const GpuFacts gpus[] = {
    {"h100", "NVIDIA H100 80GB HBM3", 90, 132, 3.35e12, 6.0e12, 989e12, 67e12, 0.85, 1.6e9, 0.8e-6, 65536, 228 * KiB,
     227 * KiB, 2048, 32},
    {"h200", "NVIDIA H200", 90, 132, 4.8e12, 6.0e12, 989e12, 67e12, 0.85, 1.6e9, 0.8e-6, 65536, 228 * KiB, 227 * KiB,
     2048, 32},
    {"a100", "NVIDIA A100-SXM4-80GB", 80, 108, 2.04e12, 4.0e12, 312e12, 19.5e12, 0.85, 1.3e9, 0.7e-6, 65536, 164 * KiB,
     163 * KiB, 2048, 32},
};

const GpuFacts *findGpu(llvm::StringRef key) {
  for (const GpuFacts &gpu : gpus)
    if (key == gpu.key)
      return &gpu;
  return nullptr;
}

std::string gpuKeys() {
  std::string keys;
  for (const GpuFacts &gpu : gpus)
    keys += std::string(keys.empty() ? "" : ", ") + gpu.key;
  return keys;
}

// The first whose capability is the target's.
const GpuFacts &gpuOf(CudaArch arch) {
  const GpuFacts *found =
      llvm::find_if(gpus, [&](const GpuFacts &g) { return g.capability == cudaArchFacts(arch).sm; });
  return found == std::end(gpus) ? gpus[0] : *found;
}

namespace {

constexpr double startupSeconds = 2.0e-6;               // of a launch that overlaps its predecessor's end
constexpr double earlySeconds[] = {0, 0, 5e-7, 1.5e-6}; // of it, by `early`
constexpr double epilogueClocks[] = {0, 3300, 4000};    // of a 128 x 256 tile, by parts

// Share of the peak that a template's instructions reach.
double rateOf(llvm::StringRef name) {
  if (name == "cuda/warp_specialised" || name == "cuda/contiguous")
    return 1.0;
  return name == "cuda/multistage" ? 0.6 : 0.5;
}

class Prediction {
public:
  Prediction(const MatmulStage &stage, const CudaEntry &entry, const CudaKernelFigures &cost, const GpuFacts &gpu)
      : stage(stage), entry(entry), cost(cost), gpu(gpu) {}

  CudaPrediction run(int64_t tokens, const TuneRouting &routing) {
    findBlocks();
    if (!out.unfit.empty())
      return out;
    for (auto [rows, count] : blockRows(stage, tokens, int64_t(1) << 30, 1, routing)) {
      groups += count;
      this->rows += count * double(rows);
      rowBlocks += count * double(llvm::divideCeil(uint64_t(rows), uint64_t(value("block_m"))));
      rowBlocks64 += count * double(llvm::divideCeil(uint64_t(rows), 64));
    }
    columnTiles = double(llvm::divideCeil(uint64_t(stage.n * stage.parts), uint64_t(value("block_n"))));
    tiles = std::max(1.0, rowBlocks * columnTiles * double(splits()));
    double most = 0;
    for (auto [name, seconds] : {std::pair("tensor", tensor()), std::pair("L2", l2()), std::pair("DRAM", dram(tokens))})
      if (seconds > most) {
        most = seconds;
        out.bound = name;
      }
    out.seconds = most + startupSeconds - earlySeconds[std::clamp<int64_t>(value("early"), 1, 3)];
    out.flops = 2 * this->rows * double(stage.n * stage.parts) * double(stage.k);
    return out;
  }

private:
  int64_t value(const char *name) const {
    auto found = entry.kernel.integers.find(name);
    return found == entry.kernel.integers.end() ? 1 : found->second;
  }
  int64_t splits() const { return value("splits"); }
  bool roles() const { return entry.kernel.integers.count("consumers"); }
  bool swapped() const { return llvm::StringRef(entry.kernel.templateName).contains("swapped"); }
  int64_t slotBytes() const {
    return value("block_k") * (value("block_m") * stage.inputBytes() + value("block_n") * stage.weightBytes());
  }
  double depth() const { // of a tile, padding included
    return double(llvm::divideCeil(uint64_t(stage.k), uint64_t(value("block_k") * splits())) * value("block_k"));
  }

  void findBlocks() {
    int64_t threads = std::max<int64_t>(cost.threads, 32);
    int64_t registers = cost.registers ? cost.registers : value("block_m") * value("block_n") / threads + 40;
    int64_t shared = cost.sharedBytes ? cost.sharedBytes : value("stages") * slotBytes();
    auto bytes = [](int64_t count) { return std::to_string(count) + " bytes"; };
    if (cost.spillBytes)
      out.unfit = "spills " + bytes(cost.spillBytes) + " per thread";
    else if (shared > gpu.blockSharedBytes)
      out.unfit = "needs " + bytes(shared) + " of shared memory, a block has " + bytes(gpu.blockSharedBytes);
    else if (threads * int64_t(llvm::alignTo(uint64_t(registers), 8)) > gpu.registers)
      out.unfit = "needs " + std::to_string(threads * registers) + " registers, a multiprocessor has " +
                  std::to_string(gpu.registers);
    if (!out.unfit.empty())
      return;
    out.blocks = std::min({gpu.registers / (threads * int64_t(llvm::alignTo(uint64_t(registers), 8))),
                           gpu.sharedBytes / (shared + KiB), gpu.threads / threads, gpu.blocks});
    if (cost.blocksPerSm)
      out.blocks = std::min(out.blocks, cost.blocksPerSm);
    out.blocks = std::max<int64_t>(out.blocks, 1);
  }

  // Tiles of the busiest multiprocessor.
  double turns() const {
    auto resident = double(out.blocks * gpu.multiprocessors);
    return tiles > resident ? double(out.blocks) * std::ceil(tiles / resident)
                            : std::ceil(tiles / double(gpu.multiprocessors));
  }

  // Warps that multiply at once, as a share of what keeps a multiprocessor's four schedulers busy.
  double busy() const {
    double warps = roles() ? 4 * double(value("consumers")) : double(value("warps_m") * value("warps_n"));
    return std::min(1.0, std::min(double(out.blocks), turns()) * warps / (roles() ? 4 : 8));
  }

  double tensor() const {
    bool tensorCores = stage.tensorCores();
    double rate = tensorCores ? rateOf(entry.kernel.templateName) : 1;
    double peak = (tensorCores ? gpu.tensorFlops : gpu.fmaFlops) * gpu.reached / gpu.multiprocessors;
    double multiplied = double(value("block_m"));
    if (roles() && !swapped()) {
      multiplied = std::max(multiplied, 64.0); // of wgmma's first operand
      if (value("vacant") == 2 && rowBlocks > 0)
        multiplied = std::min(multiplied, 64 * rowBlocks64 / rowBlocks); // consumers without rows do not multiply
    }
    double tile = 2 * multiplied * double(value("block_n")) * depth() / (rate * busy() * peak);
    if (out.blocks == 1 && roles() && !swapped())
      tile += double(value("block_m") * value("block_n")) / (128 * 256) *
              epilogueClocks[std::clamp<int64_t>(stage.parts, 1, 2)] / gpu.clock;
    return turns() * tile;
  }

  double outBytes() const { return rows * double(stage.n) * double(moec_dtype_bytes(uint32_t(stage.result))); }

  double l2() const {
    double tile =
        depth() * (double(value("block_m") * stage.inputBytes()) + double(value("block_n") * stage.weightBytes()));
    return (tiles * tile + outBytes()) / gpu.l2Bytes;
  }

  double dram(int64_t tokens) {
    double weights = groups * double(stage.n * stage.parts) * double(stage.k * stage.weightBytes());
    double in = (stage.gathered || !stage.mode.routed ? double(tokens) : rows) * double(stage.k * stage.inputBytes());
    for (const MatmulOperand &operand : stage.epilogueOperands)
      in += operand.kind == "elem" ? rows * double(operand.stride) : 0;
    out.bytes = weights + in + outBytes();
    if (splits() > 1) // partial sums, written and read once
      out.bytes += 2 * double(splits()) * rows * double(stage.parts * stage.n) * 4;
    double busy = std::min(tiles, double(out.blocks * gpu.multiprocessors));
    double flight = busy * double(std::max<int64_t>(value("stages") - 1, 1) * slotBytes());
    return out.bytes / std::min(gpu.dramBytes * gpu.reached, flight / gpu.dramLatency);
  }

  const MatmulStage &stage;
  const CudaEntry &entry;
  const CudaKernelFigures &cost;
  const GpuFacts &gpu;
  double groups = 0, rows = 0, rowBlocks = 0, rowBlocks64 = 0, columnTiles = 0, tiles = 0;
  CudaPrediction out;
};

} // namespace

CudaPrediction predictCuda(const MatmulStage &stage, const CudaEntry &entry, const CudaKernelFigures &cost,
                           const GpuFacts &gpu, int64_t tokens, const TuneRouting &routing) {
  return Prediction(stage, entry, cost, gpu).run(tokens, routing);
}

} // namespace moec
