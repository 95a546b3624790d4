// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A CUDA driver without a GPU: device memory is registered host memory, a kernel is a host function looked up by its
// symbol, every call is recorded and any one of them can be made to fail.

#ifndef MOEC_TESTS_RUNTIME_FAKEDRIVER_H
#define MOEC_TESTS_RUNTIME_FAKEDRIVER_H

#include "TinyLayer.h"
#include "runtime/cuda/cuda_driver.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace moec {
namespace test {

// What the fake driver writes into a tensor map.
struct FakeMap {
  char *address;
  uint64_t dims[3], strides[2];
  uint32_t box[3];
  int type, swizzle;
};

struct FakeLaunch {
  std::string kernel;
  unsigned grid, block, shared;
  void *stream;
  bool overlaps;
};

using FakeKernel = std::function<void(void **params)>;

// Makes itself the one the table's functions talk to; one at a time, one thread at a time.
class FakeDriver {
public:
  FakeDriver();
  ~FakeDriver();
  FakeDriver(const FakeDriver &) = delete;
  FakeDriver &operator=(const FakeDriver &) = delete;

  moec_cuda_driver table = {};
  int version = 13000, numDevices = 2, major = 9, minor = 0, numSms = 3, maxThreads = 1024;
  std::map<std::string, FakeKernel> kernels; // by symbol; those not here are missing
  std::set<std::string> refusedImages;       // by their first bytes
  std::string imageLog;                      // what the driver says when it refuses one
  std::vector<void *> contexts;              // of the calling thread, last is current
  int retained = 0, modules = 0;
  std::string image;              // loaded last
  std::vector<std::string> calls; // names, in order
  std::vector<FakeLaunch> launches;
  std::map<std::string, int> sharedOfKernel; // what was set
  int sharedCalls = 0;

  // Call number `index` (from 0) of `name` returns `code`; every call when name is "*" counts.
  void failAt(const std::string &name, int index, int code);
  bool failed = false;

  void *primary(int device) { return &primaries[device]; }

  // Device memory: bytes known to the driver as such.
  void registerMemory(void *start, size_t bytes) { memory[static_cast<char *>(start)] = bytes; }
  void forgetMemory(void *start) { memory.erase(static_cast<char *>(start)); }
  bool isDevice(const void *pointer, size_t bytes) const;

private:
  int enter(const char *name);
  int launch(const moec_cuda_launch_config *config, void *function, void **params);
  int copy2d(const moec_cuda_copy_2d *copy);
  int load(void **module, const void *image, int *options, void **values);
  void fillTable();
  std::map<char *, size_t> memory;
  std::map<std::string, std::string> functions; // handles
  std::string failing;
  int failIndex = -1, failCode = 0;
  char primaries[8] = {};
};

// Aligned memory that the driver takes for the device's.
class DeviceBytes : public AlignedBytes {
public:
  DeviceBytes(FakeDriver &driver, size_t bytes, int fill = 0x5a) : AlignedBytes(bytes, fill), driver(driver) {
    driver.registerMemory(data(), bytes);
  }
  ~DeviceBytes() { driver.forgetMemory(data()); }

private:
  FakeDriver &driver;
};

} // namespace test
} // namespace moec

#endif
