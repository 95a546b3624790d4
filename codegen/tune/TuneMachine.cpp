// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine's CPU and CUDA driver -> its facts; two machines -> how near they are.

#include "codegen/tune/TuneMachine.h"

#include "codegen/Machine.h"
#include "codegen/Target.h"

#include "dsl/text/SourceText.h"
#include "runtime/cuda/cuda_driver.h"
#include "runtime/moec.h"

namespace moec {

TuneCpu thisCpu() {
  MachineFacts facts = machineFacts();
  TuneCpu cpu = {facts.vendor, facts.family, facts.model, facts.stepping, facts.brand, {}};
  for (int isa = 0; isa < MOEC_NUM_ISAS && isa <= moec_cpu_isa(); ++isa)
    cpu.isas.push_back(isaFacts(Isa(isa)).name.str());
  return cpu;
}

std::optional<TuneGpu> thisGpu() {
  const moec_cuda_driver *driver = nullptr;
  int count = 0, device = 0, version = 0, major = 0, minor = 0, multiprocessors = 0;
  if (moec_cuda_driver_get(&driver) != MOEC_OK || driver->init(0) != MOEC_CUDA_SUCCESS ||
      driver->device_get_count(&count) != MOEC_CUDA_SUCCESS || count < 1 ||
      driver->device_get(&device, 0) != MOEC_CUDA_SUCCESS)
    return std::nullopt;
  char name[128] = "";
  driver->device_get_name(name, sizeof name, device);
  name[sizeof name - 1] = '\0';
  driver->driver_get_version(&version);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  driver->device_get_attribute(&multiprocessors, MOEC_CUDA_MULTIPROCESSORS, device);
  return TuneGpu{name, 10 * major + minor, multiprocessors, version};
}

static DeviceMatch matchCpu(const TuneCpu &a, const TuneCpu &b) {
  if (a.vendor != b.vendor || a.family != b.family)
    return DeviceMatch::Foreign;
  if (a.model == b.model)
    return DeviceMatch::Exact;
  return a.isas == b.isas ? DeviceMatch::Family : DeviceMatch::Foreign;
}

static DeviceMatch matchGpu(const TuneGpu &a, const TuneGpu &b) {
  if (a.capability != b.capability || a.multiprocessors != b.multiprocessors)
    return DeviceMatch::Foreign;
  return a.name == b.name ? DeviceMatch::Exact : DeviceMatch::Family;
}

DeviceMatch matchDevice(const TuneMachine &recorded, const TuneMachine &asked, bool cuda) {
  if (cuda)
    return recorded.gpu && asked.gpu ? matchGpu(*recorded.gpu, *asked.gpu) : DeviceMatch::Foreign;
  return recorded.cpu && asked.cpu ? matchCpu(*recorded.cpu, *asked.cpu) : DeviceMatch::Foreign;
}

const char *deviceMatchName(DeviceMatch match) {
  static const char *const names[] = {"exact", "family", "foreign"};
  return names[unsigned(match)];
}

std::string machineText(const TuneMachine &machine, bool cuda) {
  auto number = [](int64_t value) { return std::to_string(value); };
  if (cuda)
    return !machine.gpu ? "no GPU"
                        : escaped(machine.gpu->name) + " (sm_" + number(machine.gpu->capability) + ", " +
                              number(machine.gpu->multiprocessors) + " SMs)";
  return !machine.cpu ? "no CPU"
                      : escaped(machine.cpu->name) + " (" + escaped(machine.cpu->vendor) + " " +
                            number(machine.cpu->family) + "/" + number(machine.cpu->model) + ")";
}

std::string machineKey(const TuneMachine &machine, bool cuda) {
  auto number = [](int64_t value) { return "\t" + std::to_string(value); };
  if (cuda)
    return !machine.gpu
               ? "no GPU"
               : "gpu\t" + machine.gpu->name + number(machine.gpu->capability) + number(machine.gpu->multiprocessors);
  return !machine.cpu ? "no CPU"
                      : "cpu\t" + machine.cpu->vendor + number(machine.cpu->family) + number(machine.cpu->model);
}

} // namespace moec
