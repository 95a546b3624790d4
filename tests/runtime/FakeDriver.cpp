// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of FakeDriver.h.

#include "FakeDriver.h"

#include <algorithm>

namespace moec {
namespace test {

static FakeDriver *active = nullptr;

FakeDriver::FakeDriver() {
  active = this;
  fillTable();
}

FakeDriver::~FakeDriver() { active = nullptr; }

void FakeDriver::failAt(const std::string &name, int index, int code) {
  failing = name;
  failIndex = index;
  failCode = code;
  failed = false;
}

int FakeDriver::enter(const char *name) {
  calls.push_back(name);
  if ((failing != name && failing != "*") || failIndex-- != 0)
    return MOEC_CUDA_SUCCESS;
  failed = true;
  return failCode;
}

bool FakeDriver::isDevice(const void *pointer, size_t bytes) const {
  auto after = memory.upper_bound(const_cast<char *>(static_cast<const char *>(pointer)));
  if (after == memory.begin())
    return false;
  const auto &range = *std::prev(after);
  size_t offset = static_cast<size_t>(static_cast<const char *>(pointer) - range.first);
  return offset < range.second && bytes <= range.second - offset;
}

int FakeDriver::launch(const moec_cuda_launch_config *config, void *function, void **params) {
  std::string *name = static_cast<std::string *>(function);
  bool overlaps = config->num_attributes == 1 && config->attributes[0].id == MOEC_CUDA_PROGRAMMATIC_SERIALIZATION &&
                  config->attributes[0].value.allowed == 1;
  if (contexts.empty() || config->grid_y != 1 || config->grid_z != 1 || !config->grid_x)
    return MOEC_CUDA_INVALID_VALUE;
  if (config->shared_bytes > 48 * 1024 && sharedOfKernel[*name] < static_cast<int>(config->shared_bytes))
    return MOEC_CUDA_INVALID_VALUE;
  launches.push_back({*name, config->grid_x, config->block_x, config->shared_bytes, config->stream, overlaps});
  kernels[*name](params);
  return MOEC_CUDA_SUCCESS;
}

static char *bytesAt(moec_cuda_pointer pointer) { return reinterpret_cast<char *>(static_cast<uintptr_t>(pointer)); }

// Device sides must be registered memory, every row of them; host sides must not be.
int FakeDriver::copy2d(const moec_cuda_copy_2d *c) {
  bool fromDevice = c->src_type == MOEC_CUDA_MEMORY_DEVICE, toDevice = c->dst_type == MOEC_CUDA_MEMORY_DEVICE;
  const char *from = fromDevice ? bytesAt(c->src_device) : static_cast<const char *>(c->src_host);
  char *to = toDevice ? bytesAt(c->dst_device) : static_cast<char *>(c->dst_host);
  if (c->src_pitch < c->width || c->dst_pitch < c->width)
    return MOEC_CUDA_INVALID_VALUE;
  for (size_t row = 0; row < c->height; ++row) {
    if (isDevice(from + row * c->src_pitch, c->width) != fromDevice ||
        isDevice(to + row * c->dst_pitch, c->width) != toDevice)
      return MOEC_CUDA_INVALID_VALUE;
    std::memcpy(to + row * c->dst_pitch, from + row * c->src_pitch, c->width);
  }
  return MOEC_CUDA_SUCCESS;
}

int FakeDriver::load(void **module, const void *data, int *options, void **values) {
  std::string text(static_cast<const char *>(data) + (*static_cast<const char *>(data) == '\177' ? 1 : 0));
  if (contexts.empty() || options[0] != MOEC_CUDA_JIT_ERROR_LOG)
    return MOEC_CUDA_INVALID_VALUE;
  if (refusedImages.count(text)) {
    std::memcpy(values[0], imageLog.c_str(), imageLog.size() + 1);
    return MOEC_CUDA_INVALID_IMAGE;
  }
  image = text;
  ++modules;
  *module = this;
  return MOEC_CUDA_SUCCESS;
}

#define ENTER(name)                                                                                                    \
  if (int result = active->enter(name))                                                                                \
  return result

static const char *nameOf(int code) {
  switch (code) {
  case MOEC_CUDA_INVALID_VALUE:
    return "CUDA_ERROR_INVALID_VALUE";
  case MOEC_CUDA_OUT_OF_MEMORY:
    return "CUDA_ERROR_OUT_OF_MEMORY";
  case MOEC_CUDA_NO_DEVICE:
    return "CUDA_ERROR_NO_DEVICE";
  case MOEC_CUDA_INVALID_IMAGE:
    return "CUDA_ERROR_INVALID_IMAGE";
  case MOEC_CUDA_NOT_FOUND:
    return "CUDA_ERROR_NOT_FOUND";
  case MOEC_CUDA_LAUNCH_FAILED:
    return "CUDA_ERROR_LAUNCH_FAILED";
  default:
    return nullptr;
  }
}

void FakeDriver::fillTable() {
  table.struct_size = sizeof(table);
  table.init = [](unsigned) { return active->enter("cuInit"); };
  table.driver_get_version = [](int *v) {
    *v = active->version;
    return active->enter("cuDriverGetVersion");
  };
  table.get_error_name = [](int code, const char **text) {
    *text = nameOf(code);
    return *text ? 0 : 1;
  };
  table.get_error_string = [](int code, const char **text) {
    *text = "words";
    return nameOf(code) ? 0 : 1;
  };
  table.device_get_count = [](int *n) {
    *n = active->numDevices;
    return active->enter("cuDeviceGetCount");
  };
  table.device_get = [](int *d, int ordinal) {
    *d = ordinal;
    return active->enter("cuDeviceGet");
  };
  table.device_get_name = [](char *name, int n, int) {
    std::snprintf(name, static_cast<size_t>(n), "Fake GPU");
    return active->enter("cuDeviceGetName");
  };
  table.device_get_attribute = [](int *value, int attribute, int) {
    *value = attribute == MOEC_CUDA_CAPABILITY_MAJOR   ? active->major
             : attribute == MOEC_CUDA_CAPABILITY_MINOR ? active->minor
                                                       : active->numSms;
    return active->enter("cuDeviceGetAttribute");
  };
  table.primary_ctx_retain = [](void **context, int device) {
    ENTER("cuDevicePrimaryCtxRetain");
    *context = active->primary(device);
    ++active->retained;
    return 0;
  };
  table.primary_ctx_release = [](int) {
    --active->retained;
    return active->enter("cuDevicePrimaryCtxRelease");
  };
  table.ctx_get_current = [](void **context) {
    *context = active->contexts.empty() ? nullptr : active->contexts.back();
    return active->enter("cuCtxGetCurrent");
  };
  table.ctx_get_device = [](int *device) {
    *device = active->contexts.back() == active->primary(1);
    return active->enter("cuCtxGetDevice");
  };
  table.ctx_push_current = [](void *context) {
    ENTER("cuCtxPushCurrent");
    active->contexts.push_back(context);
    return 0;
  };
  table.ctx_pop_current = [](void **context) {
    *context = active->contexts.back();
    active->contexts.pop_back();
    return active->enter("cuCtxPopCurrent");
  };
  table.module_load_data_ex = [](void **module, const void *image, unsigned, int *options, void **values) {
    ENTER("cuModuleLoadDataEx");
    return active->load(module, image, options, values);
  };
  table.module_unload = [](void *) {
    --active->modules;
    return active->enter("cuModuleUnload");
  };
  table.module_get_function = [](void **function, void *, const char *name) {
    ENTER("cuModuleGetFunction");
    if (!active->kernels.count(name))
      return int(MOEC_CUDA_NOT_FOUND);
    *function = &active->functions.emplace(name, name).first->second;
    return 0;
  };
  table.func_get_attribute = [](int *value, int, void *) {
    *value = active->maxThreads;
    return active->enter("cuFuncGetAttribute");
  };
  table.func_set_attribute = [](void *function, int, int value) {
    ENTER("cuFuncSetAttribute");
    active->sharedOfKernel[*static_cast<std::string *>(function)] = value;
    ++active->sharedCalls;
    return 0;
  };
  table.launch_kernel_ex = [](const moec_cuda_launch_config *config, void *function, void **params, void **) {
    ENTER("cuLaunchKernelEx");
    return active->launch(config, function, params);
  };
  table.mem_alloc = [](moec_cuda_pointer *, size_t) {
    active->enter("cuMemAlloc");
    return 2;
  };
  table.mem_free = [](moec_cuda_pointer) { return active->enter("cuMemFree"); };
  table.memcpy_htod = [](moec_cuda_pointer to, const void *from, size_t bytes) {
    ENTER("cuMemcpyHtoD");
    if (!active->isDevice(bytesAt(to), bytes))
      return 1;
    std::memcpy(bytesAt(to), from, bytes);
    return 0;
  };
  table.memcpy_dtoh = [](void *to, moec_cuda_pointer from, size_t bytes) {
    ENTER("cuMemcpyDtoH");
    if (!active->isDevice(bytesAt(from), bytes))
      return 1;
    std::memcpy(to, bytesAt(from), bytes);
    return 0;
  };
  table.memcpy_2d = [](const moec_cuda_copy_2d *copy) {
    ENTER("cuMemcpy2D");
    return active->copy2d(copy);
  };
  table.memcpy_htod_async = [](moec_cuda_pointer, const void *, size_t, void *) {
    return active->enter("cuMemcpyHtoDAsync");
  };
  table.memcpy_dtoh_async = [](void *, moec_cuda_pointer, size_t, void *) {
    return active->enter("cuMemcpyDtoHAsync");
  };
  table.memcpy_2d_async = [](const moec_cuda_copy_2d *, void *) { return active->enter("cuMemcpy2DAsync"); };
  table.memset_d8 = [](moec_cuda_pointer to, unsigned char value, size_t bytes) {
    ENTER("cuMemsetD8");
    if (!active->isDevice(bytesAt(to), bytes))
      return 1;
    std::memset(bytesAt(to), value, bytes);
    return 0;
  };
  table.memset_d8_async = [](moec_cuda_pointer to, unsigned char value, size_t bytes, void *) {
    ENTER("cuMemsetD8Async");
    if (!active->isDevice(bytesAt(to), bytes))
      return 1;
    std::memset(bytesAt(to), value, bytes);
    return 0;
  };
  table.stream_create = [](void **, unsigned) { return active->enter("cuStreamCreate"); };
  table.stream_synchronize = [](void *) { return active->enter("cuStreamSynchronize"); };
  table.stream_destroy = [](void *) { return active->enter("cuStreamDestroy"); };
  table.pointer_get_attribute = [](void *value, int, moec_cuda_pointer pointer) {
    ENTER("cuPointerGetAttribute");
    if (!active->isDevice(bytesAt(pointer), 1))
      return int(MOEC_CUDA_INVALID_VALUE); // what a driver says of plain host memory
    int type = MOEC_CUDA_MEMORY_DEVICE;
    std::memcpy(value, &type, sizeof(type));
    return 0;
  };
  table.tensor_map_encode_tiled = [](void *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                                     const uint64_t *strides, const uint32_t *box, const uint32_t *, int, int swizzle,
                                     int, int) {
    ENTER("cuTensorMapEncodeTiled");
    if (rank != 3 || reinterpret_cast<uintptr_t>(map) % MOEC_CUDA_MAP_ALIGN)
      return 1;
    FakeMap fake = {static_cast<char *>(address),
                    {dims[0], dims[1], dims[2]},
                    {strides[0], strides[1]},
                    {box[0], box[1], box[2]},
                    type,
                    swizzle};
    static_assert(sizeof(fake) <= MOEC_CUDA_MAP_BYTES, "a tensor map has 128 bytes");
    std::memcpy(map, &fake, sizeof(fake));
    return 0;
  };
}

} // namespace test
} // namespace moec
