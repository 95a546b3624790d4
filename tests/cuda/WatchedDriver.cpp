// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Entries of the table are plain functions, so what they know of stands beside them. One lock guards it; it is never
// held while the driver is called.

#include "WatchedDriver.h"

#include "codegen/check/LayerRun.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace moec {
namespace {

using Clock = std::chrono::steady_clock;

moec_cuda_driver real, watched;
WatchOptions watching;
AroundLaunch around;

std::mutex lock;
std::map<void *, std::string> functionNames;
std::string caseName = "device";
std::vector<LaunchedKernel> pending; // launched since the last wait that ended well; the last maxPending of them
std::vector<std::string> ofCase;     // names launched by the case
bool waits = false;                  // a call that waits is under way, ...
Clock::time_point waitBegan;         // ... since then
constexpr size_t maxPending = 64;

// Errors of one call; the context goes on. Every other one is the device's and stays.
bool isOfTheCall(int result) {
  return result == MOEC_CUDA_SUCCESS || result == MOEC_CUDA_INVALID_VALUE || result == MOEC_CUDA_OUT_OF_MEMORY ||
         result == MOEC_CUDA_INVALID_IMAGE || result == MOEC_CUDA_NO_BINARY || result == MOEC_CUDA_NOT_FOUND;
}

std::string errorName(int result) {
  const char *name = nullptr;
  if (real.get_error_name(result, &name) != MOEC_CUDA_SUCCESS || !name)
    name = "CUDA error";
  return std::string(name) + " (" + std::to_string(result) + ")";
}

// The kernel, or all that may be the one. The lock is held.
std::string pendingText() {
  if (pending.empty())
    return "no kernel is pending";
  std::string text =
      pending.size() == 1 ? "" : "one of " + std::to_string(pending.size()) + " launches, in their order: ";
  for (size_t i = 0; i < pending.size(); ++i)
    text += (i ? ", " : "") + pending[i].text();
  return text;
}

[[noreturn]] void endProcess(int code, const std::string &what) {
  std::lock_guard<std::mutex> guard(lock);
  std::printf("FAIL %s: %s\n", caseName.c_str(), what.c_str());
  std::fflush(stdout);
  _exit(code); // destructors would call the driver again
}

[[noreturn]] void endByFault(int result) {
  std::string kernels;
  {
    std::lock_guard<std::mutex> guard(lock);
    kernels = pendingText();
  }
  endProcess(deviceFault, "fault: " + kernels + ": " + errorName(result));
}

// Calls `call`, which waits for the kernels before it.
template <typename Call> int waitFor(Call call) {
  {
    std::lock_guard<std::mutex> guard(lock);
    waits = true;
    waitBegan = Clock::now();
  }
  int result = call();
  {
    std::lock_guard<std::mutex> guard(lock);
    waits = false;
    if (result == MOEC_CUDA_SUCCESS)
      pending.clear();
  }
  if (!isOfTheCall(result))
    endByFault(result);
  return result;
}

void watchTheClock() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::string kernels;
    {
      std::lock_guard<std::mutex> guard(lock);
      if (!waits || pending.empty() || Clock::now() - waitBegan < std::chrono::seconds(watching.seconds))
        continue;
      kernels = pendingText();
    }
    endProcess(deviceHang, "hang: " + kernels + ": not ended after " + std::to_string(watching.seconds) + " s");
  }
}

int getFunction(void **function, void *module, const char *name) {
  int result = real.module_get_function(function, module, name);
  std::lock_guard<std::mutex> guard(lock);
  if (result == MOEC_CUDA_SUCCESS)
    functionNames[*function] = name;
  return result;
}

// The lock is held.
void addPending(const LaunchedKernel &kernel) {
  if (pending.size() == maxPending)
    pending.erase(pending.begin());
  pending.push_back(kernel);
}

LaunchedKernel noteLaunch(const moec_cuda_launch_config &config, void *function) {
  std::lock_guard<std::mutex> guard(lock);
  LaunchedKernel kernel{functionNames[function], config.grid_x, config.block_x, config.shared_bytes, function};
  addPending(kernel);
  if (std::find(ofCase.begin(), ofCase.end(), kernel.name) == ofCase.end())
    ofCase.push_back(kernel.name);
  return kernel;
}

int launch(const moec_cuda_launch_config *config, void *function, void **params, void **extra) {
  LaunchedKernel kernel = noteLaunch(*config, function);
  auto plain = [&] { return real.launch_kernel_ex(config, function, params, extra); };
  int result = around ? around(kernel, config->stream, plain) : plain();
  if (!isOfTheCall(result))
    endByFault(result);
  if (result != MOEC_CUDA_SUCCESS || !watching.eachLaunch)
    return result;
  return waitFor([&] { return real.stream_synchronize(config->stream); });
}

int synchronize(void *stream) {
  return waitFor([&] { return real.stream_synchronize(stream); });
}
int toDevice(moec_cuda_pointer to, const void *from, size_t bytes) {
  return waitFor([&] { return real.memcpy_htod(to, from, bytes); });
}
int toHost(void *to, moec_cuda_pointer from, size_t bytes) {
  return waitFor([&] { return real.memcpy_dtoh(to, from, bytes); });
}
int rowsToDevice(const moec_cuda_copy_2d *copy) {
  return waitFor([&] { return real.memcpy_2d(copy); });
}
int fill(moec_cuda_pointer to, unsigned char value, size_t bytes) {
  return waitFor([&] { return real.memset_d8(to, value, bytes); });
}
int release(moec_cuda_pointer pointer) {
  return waitFor([&] { return real.mem_free(pointer); });
}

} // namespace

std::string LaunchedKernel::text() const {
  if (!block)
    return name;
  return "kernel " + name + " grid " + std::to_string(grid) + " block " + std::to_string(block) + " shared " +
         std::to_string(shared);
}

const moec_cuda_driver *watchedDriver(const WatchOptions &options, std::string &error) {
  const moec_cuda_driver *found = nullptr;
  moec_status status = moec_cuda_driver_get(&found);
  if (status != MOEC_OK) {
    error = lastRuntimeError(status);
    return nullptr;
  }
  real = watched = *found;
  watching = options;
  watched.module_get_function = getFunction;
  watched.launch_kernel_ex = launch;
  watched.stream_synchronize = synchronize;
  watched.memcpy_htod = toDevice;
  watched.memcpy_dtoh = toHost;
  watched.memcpy_2d = rowsToDevice;
  watched.memset_d8 = fill;
  watched.mem_free = release;
  std::thread(watchTheClock).detach();
  return &watched;
}

void watchCase(const std::string &name) {
  std::lock_guard<std::mutex> guard(lock);
  caseName = name;
  ofCase.clear();
}

void watchGraph() {
  std::lock_guard<std::mutex> guard(lock);
  std::string kernels;
  for (const std::string &name : ofCase)
    kernels += (kernels.empty() ? "" : ", ") + name;
  addPending({"a graph of kernels among " + kernels, 0, 0, 0, nullptr});
}

std::vector<std::string> kernelsOfCase() {
  std::lock_guard<std::mutex> guard(lock);
  return ofCase;
}

void aroundLaunches(AroundLaunch function) { around = std::move(function); }

UnwatchedLaunches::UnwatchedLaunches() : before(watching.eachLaunch) { watching.eachLaunch = false; }
UnwatchedLaunches::~UnwatchedLaunches() { watching.eachLaunch = before; }

} // namespace moec
