// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CudaPlan in -> JSON out, in the order the runtime launches.

#include "codegen/emit/ManifestCuda.h"

using namespace llvm;

namespace moec {

static void writeExtent(StringRef key, moec_extent value, json::OStream &json) {
  json.attributeObject(key, [&] {
    json.attribute("per_token", value.per_token);
    json.attribute("fixed", value.fixed);
  });
}

static void writeLaunch(const CompiledPackage &pass, StringRef name, const CudaPlannedLaunch &planned,
                        json::OStream &json) {
  const moec_cuda_launch &launch = planned.launch;
  json.object([&] {
    json.attribute("kernel", planned.symbol);
    json.attribute("pass", name);
    json.attribute("step", int64_t(launch.step));
    json.attribute("min_tokens", launch.min_tokens);
    json.attribute("max_tokens", launch.max_tokens);
    json.attribute("if_asked", pass.plan.steps[launch.step].asked != 0);
    json.attribute("overlap", (launch.flags & MOEC_CUDA_OVERLAP) != 0);
    json.attribute("block_threads", launch.block_threads);
    json.attribute("shared_bytes", launch.shared_bytes);
    writeExtent("units", launch.units, json);
    json.attribute("units_per_block", launch.units_per_block);
    json.attribute("blocks_per_sm", launch.blocks_per_sm);
    if (!pass.cuda.cudaVersion)
      return;
    json.attribute("registers", launch.registers);
    json.attribute("spill_bytes", launch.spill_bytes);
    json.attribute("local_bytes", launch.local_bytes);
  });
}

static void writeTarget(const CompiledPackage &pass, StringRef name, const CudaTargetPlan &target,
                        json::OStream &json) {
  json.object([&] {
    json.attribute("name", "sm_" + std::to_string(target.sm) + (target.exact ? "a" : ""));
    json.attribute("runs_on_later", !target.exact);
    json.attributeArray("images", [&] {
      for (uint32_t i = target.firstImage; i < target.firstImage + target.numImages && i < pass.images.size(); ++i)
        json.object([&] {
          json.attribute("kind", StringRef(pass.images[i]).starts_with("\177ELF") ? "cubin" : "ptx");
          json.attribute("bytes", int64_t(pass.images[i].size()));
        });
    });
    json.attributeArray("workspace_buffers", [&] {
      for (size_t buffer : target.buffers())
        json.value(int64_t(buffer));
    });
    json.attributeArray("tables", [&] {
      for (const CudaPlannedTable &table : target.tables)
        json.object([&] {
          json.attribute("name", table.name);
          writeExtent("bytes", table.bytes, json);
        });
    });
    json.attributeArray("launches", [&] {
      for (const CudaPlannedLaunch &launch : target.launches)
        writeLaunch(pass, name, launch, json);
    });
  });
}

void writeCudaManifest(const CompiledPackage &package, json::OStream &json) {
  if (package.cuda.cudaVersion)
    json.attribute("toolkit", std::to_string(package.cuda.cudaVersion / 1000) + "." +
                                  std::to_string(package.cuda.cudaVersion % 1000 / 10));
  json.attribute("math", package.math == MathMode::Tf32 ? "tf32" : "exact");
  json.attribute("packed_weights_bytes", int64_t(package.cuda.packedBytes));
  writeCudaPass(package, "forward", json);
}

void writeCudaPass(const CompiledPackage &pass, StringRef name, json::OStream &json) {
  json.attribute("workspace_formula",
                 "slots and routes as above, of slots the members among the target's workspace_buffers, "
                 "without items and scratch, + sum over the target's tables of up(per_token*T + fixed)");
  json.attributeArray("targets", [&] {
    for (const CudaTargetPlan &target : pass.cuda.targets)
      writeTarget(pass, name, target, json);
  });
}

} // namespace moec
