// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The machine that a measurement was made on, and how near another one is to it.

#ifndef MOEC_CODEGEN_TUNE_TUNEMACHINE_H
#define MOEC_CODEGEN_TUNE_TUNEMACHINE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct TuneCpu {
  std::string vendor;                          // of CPUID: "AuthenticAMD"
  int64_t family = 0, model = 0, stepping = 0; // of CPUID, extended bits included
  std::string name;                            // brand string: "AMD EPYC 9654 96-Core Processor"
  std::vector<std::string> isas;               // names of Target.h that it runs, lowest first
};

struct TuneGpu {
  std::string name;            // "NVIDIA H200"
  int64_t capability = 0;      // 10 * major + minor: 90
  int64_t multiprocessors = 0; // 132
  int64_t driver = 0;          // the CUDA version it supports, as cuDriverGetVersion says it: 13000
};

// A CPU measurement names the CPU, a CUDA measurement the GPU and perhaps the CPU beside it.
struct TuneMachine {
  std::optional<TuneCpu> cpu;
  std::optional<TuneGpu> gpu;
};

// The CPU this runs on; family 0 and an empty name where CPUID does not exist.
TuneCpu thisCpu();
// The driver's first device; nullopt: there is no driver or no device.
std::optional<TuneGpu> thisGpu();

// Exact    the same CPU vendor, family and model, whatever the stepping; the same GPU name, capability and number of
//          multiprocessors
// Family   the same CPU vendor, family and instruction sets; the same capability and number of multiprocessors
// Foreign  anything else that runs kernels of the target
// The order is the order in which records are preferred.
enum class DeviceMatch { Exact, Family, Foreign };
DeviceMatch matchDevice(const TuneMachine &recorded, const TuneMachine &asked, bool cuda);
const char *deviceMatchName(DeviceMatch match); // "exact", "family", "foreign"

// One line for people: "AMD EPYC (AuthenticAMD 25/17)" or "NVIDIA H200 (sm_90, 132 SMs)".
std::string machineText(const TuneMachine &machine, bool cuda);
// Equal exactly if matchDevice says Exact.
std::string machineKey(const TuneMachine &machine, bool cuda);

} // namespace moec

#endif
