// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One function per field of moec_cuda_driver, as the CUDA driver API describes it, with the checks a program can trip
// over: a current context, device ranges, launch limits, the form of tensor maps.

#include "codegen/emulate/CudaDriver.h"

#include "codegen/emulate/CudaEmulator.h"

#include <algorithm>
#include <cstring>

namespace moec {

namespace {

constexpr int notInitialized = 3, invalidContext = 201, invalidHandle = 400;
constexpr uint32_t defaultSharedBytes = 48 * 1024;

struct DriverFunction {
  const CudaHostKernel *kernel;
  uint32_t maxShared = defaultSharedBytes;
};

struct DriverModule {
  const CudaHostCode *code;
  std::map<std::string, std::unique_ptr<DriverFunction>> functions;
};

thread_local std::vector<void *> contexts;

uint32_t sharedLimit(const CudaEmulator &emulator) { return emulator.options.capability >= 90 ? 232448 : 166912; }

// Runs `action(emulator)` under its lock, with a current context where the driver wants one.
template <typename Action> int withEmulator(bool needsContext, Action action) {
  CudaEmulator *emulator = CudaEmulator::active();
  if (!emulator)
    return notInitialized;
  if (needsContext && (contexts.empty() || !contexts.back()))
    return invalidContext;
  std::lock_guard<std::recursive_mutex> lock(emulator->mutex);
  return action(*emulator);
}

bool deviceRange(CudaEmulator &emulator, moec_cuda_pointer pointer, size_t bytes) {
  return bytes == 0 || emulator.machine.memory.contains(reinterpret_cast<const void *>(pointer), bytes);
}

int init(unsigned) { return CudaEmulator::active() ? MOEC_CUDA_SUCCESS : notInitialized; }

int driver_get_version(int *version) {
  *version = 13000;
  return MOEC_CUDA_SUCCESS;
}

int get_error_name(int result, const char **text) {
  *text = result == MOEC_CUDA_SUCCESS         ? "CUDA_SUCCESS"
          : result == MOEC_CUDA_INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE"
          : result == MOEC_CUDA_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == notInitialized          ? "CUDA_ERROR_NOT_INITIALIZED"
          : result == MOEC_CUDA_INVALID_IMAGE ? "CUDA_ERROR_INVALID_IMAGE"
          : result == invalidContext          ? "CUDA_ERROR_INVALID_CONTEXT"
          : result == MOEC_CUDA_NO_BINARY     ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
          : result == invalidHandle           ? "CUDA_ERROR_INVALID_HANDLE"
          : result == MOEC_CUDA_NOT_FOUND     ? "CUDA_ERROR_NOT_FOUND"
          : result == MOEC_CUDA_LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED"
                                              : nullptr;
  return *text ? MOEC_CUDA_SUCCESS : MOEC_CUDA_INVALID_VALUE;
}

int get_error_string(int result, const char **text) {
  if (result != MOEC_CUDA_LAUNCH_FAILED)
    return get_error_name(result, text);
  *text = "unspecified launch failure: see the emulator's findings";
  return MOEC_CUDA_SUCCESS;
}

int device_get_count(int *count) {
  *count = CudaEmulator::active() ? 1 : 0;
  return MOEC_CUDA_SUCCESS;
}

int device_get(int *device, int ordinal) {
  *device = 0;
  return ordinal == 0 && CudaEmulator::active() ? MOEC_CUDA_SUCCESS : MOEC_CUDA_INVALID_VALUE;
}

int device_get_name(char *name, int bytes, int device) {
  return withEmulator(false, [&](CudaEmulator &emulator) -> int {
    if (device != 0 || bytes <= 0)
      return MOEC_CUDA_INVALID_VALUE;
    std::string text = "moec emulator, compute capability " + std::to_string(emulator.options.capability / 10) + "." +
                       std::to_string(emulator.options.capability % 10);
    std::strncpy(name, text.c_str(), size_t(bytes) - 1);
    name[bytes - 1] = 0;
    return MOEC_CUDA_SUCCESS;
  });
}

int device_get_attribute(int *value, int attribute, int device) {
  return withEmulator(false, [&](CudaEmulator &emulator) -> int {
    const CudaEmulatorOptions &options = emulator.options;
    if (device != 0)
      return MOEC_CUDA_INVALID_VALUE;
    switch (attribute) {
    case MOEC_CUDA_MULTIPROCESSORS:
      *value = int(options.multiprocessors);
      return MOEC_CUDA_SUCCESS;
    case MOEC_CUDA_CAPABILITY_MAJOR:
      *value = int(options.capability / 10);
      return MOEC_CUDA_SUCCESS;
    case MOEC_CUDA_CAPABILITY_MINOR:
      *value = int(options.capability % 10);
      return MOEC_CUDA_SUCCESS;
    case MOEC_CUDA_MAX_SHARED_OPTIN:
      *value = int(sharedLimit(emulator));
      return MOEC_CUDA_SUCCESS;
    default:
      return MOEC_CUDA_INVALID_VALUE;
    }
  });
}

int primary_ctx_retain(void **context, int device) {
  return withEmulator(false, [&](CudaEmulator &emulator) -> int {
    *context = &emulator;
    return device == 0 ? MOEC_CUDA_SUCCESS : MOEC_CUDA_INVALID_VALUE;
  });
}

int primary_ctx_release(int device) { return device == 0 ? MOEC_CUDA_SUCCESS : MOEC_CUDA_INVALID_VALUE; }

int ctx_get_current(void **context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return MOEC_CUDA_SUCCESS;
}

int ctx_get_device(int *device) {
  *device = 0;
  return contexts.empty() || !contexts.back() ? invalidContext : MOEC_CUDA_SUCCESS;
}

int ctx_push_current(void *context) {
  contexts.push_back(context);
  return MOEC_CUDA_SUCCESS;
}

int ctx_pop_current(void **context) {
  if (contexts.empty())
    return invalidContext;
  if (context)
    *context = contexts.back();
  contexts.pop_back();
  return MOEC_CUDA_SUCCESS;
}

int module_load_data_ex(void **module, const void *image, unsigned numOptions, int *options, void **values) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    for (unsigned i = 0; i < numOptions; ++i)
      if (options[i] == MOEC_CUDA_JIT_ERROR_LOG && values[i])
        *static_cast<char *>(values[i]) = 0;
    const CudaHostCode *code = image ? emulator.codeOf(static_cast<const char *>(image)) : nullptr;
    if (!code)
      return MOEC_CUDA_NO_BINARY;
    *module = new DriverModule{code, {}};
    return MOEC_CUDA_SUCCESS;
  });
}

int module_unload(void *module) {
  delete static_cast<DriverModule *>(module);
  return MOEC_CUDA_SUCCESS;
}

int module_get_function(void **function, void *module, const char *name) {
  return withEmulator(true, [&](CudaEmulator &) -> int {
    auto *loaded = static_cast<DriverModule *>(module);
    const CudaHostKernel *kernel = loaded ? loaded->code->find(name) : nullptr;
    if (!kernel)
      return MOEC_CUDA_NOT_FOUND;
    auto &held = loaded->functions[name];
    if (!held)
      held.reset(new DriverFunction{kernel});
    *function = held.get();
    return MOEC_CUDA_SUCCESS;
  });
}

int func_get_attribute(int *value, int attribute, void *function) {
  auto *held = static_cast<DriverFunction *>(function);
  if (!held)
    return invalidHandle;
  switch (attribute) {
  case MOEC_CUDA_MAX_THREADS_PER_BLOCK:
    *value = held->kernel->kernel.threads ? int(held->kernel->kernel.threads) : 1024;
    return MOEC_CUDA_SUCCESS;
  case MOEC_CUDA_LOCAL_BYTES:
    *value = 0;
    return MOEC_CUDA_SUCCESS;
  case MOEC_CUDA_NUM_REGISTERS:
    *value = 128;
    return MOEC_CUDA_SUCCESS;
  case MOEC_CUDA_MAX_DYNAMIC_SHARED:
    *value = int(held->maxShared);
    return MOEC_CUDA_SUCCESS;
  default:
    return MOEC_CUDA_INVALID_VALUE;
  }
}

int func_set_attribute(void *function, int attribute, int value) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    auto *held = static_cast<DriverFunction *>(function);
    if (!held || attribute != MOEC_CUDA_MAX_DYNAMIC_SHARED || value < 0 || uint32_t(value) > sharedLimit(emulator))
      return MOEC_CUDA_INVALID_VALUE;
    held->maxShared = uint32_t(value);
    return MOEC_CUDA_SUCCESS;
  });
}

static bool overlapsPredecessor(const moec_cuda_launch_config &config) {
  for (unsigned i = 0; i < config.num_attributes; ++i)
    if (config.attributes[i].id == MOEC_CUDA_PROGRAMMATIC_SERIALIZATION && config.attributes[i].value.allowed)
      return true;
  return false;
}

// Parameters are copied at the launch, tensor maps to places as aligned as the driver's.
int launch_kernel_ex(const moec_cuda_launch_config *config, void *function, void **params, void **extra) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    auto *held = static_cast<DriverFunction *>(function);
    if (!held || !config || extra || config->grid_y != 1 || config->grid_z != 1 || config->block_y != 1 ||
        config->block_z != 1 || config->grid_x == 0 || config->grid_x > 0x7FFFFFFFu || config->block_x == 0 ||
        config->block_x > 1024 || config->shared_bytes > held->maxShared)
      return MOEC_CUDA_INVALID_VALUE;
    const CudaKernel &kernel = held->kernel->kernel;
    if (kernel.threads && kernel.threads != config->block_x)
      return MOEC_CUDA_INVALID_VALUE;
    struct alignas(128) Place {
      char bytes[128];
    };
    std::vector<Place> places(kernel.paramBytes.size());
    std::vector<void *> copies;
    for (size_t i = 0; i < places.size(); ++i) {
      if (!params || !params[i] || kernel.paramBytes[i] > sizeof(Place))
        return MOEC_CUDA_INVALID_VALUE;
      std::memcpy(places[i].bytes, params[i], kernel.paramBytes[i]);
      copies.push_back(places[i].bytes);
    }
    CudaLaunch launch;
    launch.kernel = kernel.name.c_str();
    launch.thunk = held->kernel->thunk;
    launch.params = copies.data();
    launch.grid = config->grid_x;
    launch.threads = config->block_x;
    launch.sharedBytes = config->shared_bytes;
    launch.overlaps = overlapsPredecessor(*config);
    return emulator.machine.launch(launch) ? MOEC_CUDA_SUCCESS : MOEC_CUDA_LAUNCH_FAILED;
  });
}

int mem_alloc(moec_cuda_pointer *pointer, size_t bytes) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    if (bytes == 0)
      return MOEC_CUDA_INVALID_VALUE;
    void *memory = emulator.machine.memory.allocate(bytes);
    *pointer = reinterpret_cast<moec_cuda_pointer>(memory);
    return memory ? MOEC_CUDA_SUCCESS : MOEC_CUDA_OUT_OF_MEMORY;
  });
}

int mem_free(moec_cuda_pointer pointer) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    bool known = pointer == 0 || emulator.machine.memory.release(reinterpret_cast<void *>(pointer));
    return known ? MOEC_CUDA_SUCCESS : MOEC_CUDA_INVALID_VALUE;
  });
}

int memcpy_htod(moec_cuda_pointer to, const void *from, size_t bytes) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    if (!deviceRange(emulator, to, bytes))
      return MOEC_CUDA_INVALID_VALUE;
    if (bytes)
      std::memcpy(reinterpret_cast<void *>(to), from, bytes);
    return MOEC_CUDA_SUCCESS;
  });
}

int memcpy_dtoh(void *to, moec_cuda_pointer from, size_t bytes) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    if (!deviceRange(emulator, from, bytes))
      return MOEC_CUDA_INVALID_VALUE;
    if (bytes)
      std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
    return MOEC_CUDA_SUCCESS;
  });
}

int memcpy_2d(const moec_cuda_copy_2d *copy) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    bool fromDevice = copy->src_type == MOEC_CUDA_MEMORY_DEVICE, toDevice = copy->dst_type == MOEC_CUDA_MEMORY_DEVICE;
    for (size_t row = 0; row < copy->height; ++row) {
      size_t fromOffset = (copy->src_y + row) * copy->src_pitch + copy->src_x;
      size_t toOffset = (copy->dst_y + row) * copy->dst_pitch + copy->dst_x;
      if ((fromDevice && !deviceRange(emulator, copy->src_device + fromOffset, copy->width)) ||
          (toDevice && !deviceRange(emulator, copy->dst_device + toOffset, copy->width)))
        return MOEC_CUDA_INVALID_VALUE;
      auto *from =
          fromDevice ? reinterpret_cast<const char *>(copy->src_device) : static_cast<const char *>(copy->src_host);
      auto *to = toDevice ? reinterpret_cast<char *>(copy->dst_device) : static_cast<char *>(copy->dst_host);
      std::memcpy(to + toOffset, from + fromOffset, copy->width);
    }
    return MOEC_CUDA_SUCCESS;
  });
}

int memset_d8(moec_cuda_pointer to, unsigned char value, size_t bytes) {
  return withEmulator(true, [&](CudaEmulator &emulator) -> int {
    if (!deviceRange(emulator, to, bytes))
      return MOEC_CUDA_INVALID_VALUE;
    if (bytes)
      std::memset(reinterpret_cast<void *>(to), value, bytes);
    return MOEC_CUDA_SUCCESS;
  });
}

int memcpy_htod_async(moec_cuda_pointer to, const void *from, size_t bytes, void *) {
  return memcpy_htod(to, from, bytes);
}
int memcpy_dtoh_async(void *to, moec_cuda_pointer from, size_t bytes, void *) { return memcpy_dtoh(to, from, bytes); }
int memcpy_2d_async(const moec_cuda_copy_2d *copy, void *) { return memcpy_2d(copy); }
int memset_d8_async(moec_cuda_pointer to, unsigned char value, size_t bytes, void *) {
  return memset_d8(to, value, bytes);
}

int stream_create(void **stream, unsigned) {
  return withEmulator(true, [&](CudaEmulator &) -> int {
    *stream = new char(0);
    return MOEC_CUDA_SUCCESS;
  });
}
int stream_synchronize(void *) {
  return withEmulator(true, [](CudaEmulator &) -> int { return MOEC_CUDA_SUCCESS; });
}
int stream_destroy(void *stream) {
  delete static_cast<char *>(stream);
  return MOEC_CUDA_SUCCESS;
}

int pointer_get_attribute(void *value, int attribute, moec_cuda_pointer pointer) {
  return withEmulator(false, [&](CudaEmulator &emulator) -> int {
    if (attribute != MOEC_CUDA_POINTER_MEMORY_TYPE || !deviceRange(emulator, pointer, 1))
      return MOEC_CUDA_INVALID_VALUE;
    *static_cast<unsigned *>(value) = MOEC_CUDA_MEMORY_DEVICE;
    return MOEC_CUDA_SUCCESS;
  });
}

int tensor_map_encode_tiled(void *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                            const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                            int interleave, int swizzle, int, int outside) {
  if (reinterpret_cast<uintptr_t>(map) % MOEC_CUDA_MAP_ALIGN || rank < 1 || rank > 5 || interleave || outside ||
      swizzle < 0 || swizzle > 3)
    return MOEC_CUDA_INVALID_VALUE;
  CudaTensorMap made = {};
  made.magic = CudaTensorMap::validMagic;
  made.base = reinterpret_cast<uint64_t>(address);
  made.rank = uint8_t(rank);
  if (type != MOEC_CUDA_TENSOR_F16 && type != MOEC_CUDA_TENSOR_BF16 && type != MOEC_CUDA_TENSOR_F32)
    return MOEC_CUDA_INVALID_VALUE;
  made.elementBytes = type == MOEC_CUDA_TENSOR_F32 ? 4 : 2;
  made.swizzleBytes = uint8_t(swizzle ? 16 << swizzle : 0);
  for (uint32_t i = 0; i < rank; ++i) {
    if (elementStrides[i] != 1)
      return MOEC_CUDA_INVALID_VALUE;
    made.dims[i] = dims[i];
    made.box[i] = uint16_t(std::min(box[i], 65535u));
    if (i + 1 < rank)
      made.strides[i] = strides[i];
  }
  if (!checkTensorMap(made).empty())
    return MOEC_CUDA_INVALID_VALUE;
  std::memcpy(map, &made, sizeof made);
  return MOEC_CUDA_SUCCESS;
}

moec_cuda_driver makeTable() {
  moec_cuda_driver table = {};
  table.struct_size = sizeof table;
#define MOEC_CUDA_FIELD(name, symbol, parameters) table.name = name;
  MOEC_CUDA_FUNCTIONS(MOEC_CUDA_FIELD)
#undef MOEC_CUDA_FIELD
  return table;
}

} // namespace

const moec_cuda_driver *cudaEmulatorDriver() {
  static const moec_cuda_driver table = makeTable();
  return &table;
}

} // namespace moec
