// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Facts of a run in -> members of a JSON object out.

#include "BenchContext.h"

namespace moec {

static void writeMachine(JsonWriter &os, const MachineFacts &machine) {
  os.attributeObject("machine", [&] {
    os.attribute("vendor", machine.vendor);
    os.attribute("brand", machine.brand);
    os.attribute("family", machine.family);
    os.attribute("model", machine.model);
    os.attribute("stepping", machine.stepping);
    os.attribute("logical_cpus", machine.logicalCpus);
    os.attributeArray("flags", [&] {
      for (const std::string &flag : machine.flags)
        os.value(flag);
    });
  });
}

void writeContext(JsonWriter &os, const BenchContext &context) {
  os.attribute("name", context.name);
  os.attribute("isa", context.isa);
  os.attribute("threads", context.threads);
  os.attribute("skew", context.skew);
  os.attribute("weights", context.cold ? "cold" : "warm");
  if (context.distinctExperts)
    os.attribute("distinct_experts", context.distinctExperts);
  os.attribute("moec_version", context.moecVersion);
  os.attribute("spec_sha256", context.specHash);
  os.attribute("package_sha256", context.packageHash);
  os.attribute("date", context.date);
  os.attributeObject("types", [&] {
    os.attribute("input", context.inputType);
    os.attribute("weight", context.weightType);
    os.attribute("output", context.outputType);
    if (!context.gradientType.empty())
      os.attribute("gradients", context.gradientType);
  });
  writeMachine(os, context.machine);
}

} // namespace moec
