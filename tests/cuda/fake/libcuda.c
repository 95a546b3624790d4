/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * libcuda.c - a libcuda.so.1 without a GPU, for tests of the tools around one: device memory is host memory, and a
 * kernel does what the environment says.
 *
 *     MOEC_FAKE_CUDA_DOES     nothing (default), hang, fault: what a chosen launch does; all others do nothing
 *     MOEC_FAKE_CUDA_AT       the chosen launches: those whose kernel's name holds this text, or, where it is a number,
 *                             that one of the process, counted from 1
 *     MOEC_FAKE_CUDA_ANSWERS  a folder of .unit files: a kernel loaded from the image of one writes the output it
 *                             states
 *     MOEC_FAKE_CUDA_DEVICES  0: the driver finds no device
 *
 * Launches return at once. A hang shows in the next call that waits, as on a device; so does a fault, and every call
 * after it fails with the same error. Arguments that the driver would refuse are refused.
 */
#include "runtime/cuda/cuda_driver.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = MOEC_CUDA_SUCCESS, REFUSED = MOEC_CUDA_INVALID_VALUE, ILLEGAL_ADDRESS = 700 };

static int sticky;    /* the error every call returns after a fault */
static int stuck;     /* a kernel that never ends was launched      */
static int capturing; /* launches are recorded, not run             */
static long num_launches;

/* ---- what a launch does ---------------------------------------------------------------------------------------- */

static const char *setting(const char *name) {
  const char *text = getenv(name);
  return text ? text : "";
}

static int is_chosen(const char *kernel) {
  const char *at = setting("MOEC_FAKE_CUDA_AT");
  char *end;
  long number = strtol(at, &end, 10);
  if (*at && !*end)
    return number == num_launches;
  return strstr(kernel, at) != NULL;
}

static void act(const char *kernel) {
  const char *does = setting("MOEC_FAKE_CUDA_DOES");
  if (!is_chosen(kernel))
    return;
  if (strcmp(does, "hang") == 0)
    stuck = 1;
  if (strcmp(does, "fault") == 0)
    sticky = ILLEGAL_ADDRESS;
}

/* Every call that waits for kernels begins with this one. */
static int wait_for_kernels(void) {
  while (stuck)
    pause();
  return sticky;
}

/* ---- driver, device, context ----------------------------------------------------------------------------------- */

int cuInit(unsigned flags) {
  (void)flags;
  return strcmp(setting("MOEC_FAKE_CUDA_DEVICES"), "0") == 0 ? MOEC_CUDA_NO_DEVICE : OK;
}

int cuDriverGetVersion(int *version) {
  *version = 13000;
  return OK;
}

int cuGetErrorName(int result, const char **text) {
  *text = result == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OF_THE_FAKE";
  return OK;
}

int cuGetErrorString(int result, const char **text) {
  (void)result;
  *text = "words of the fake driver";
  return OK;
}

int cuDeviceGetCount(int *count) {
  *count = 1;
  return OK;
}

int cuDeviceGet(int *device, int ordinal) {
  *device = 0;
  return ordinal == 0 ? OK : REFUSED;
}

int cuDeviceGetName(char *name, int bytes, int device) {
  (void)device;
  snprintf(name, (size_t)bytes, "Fake device without a GPU");
  return OK;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  switch (attribute) {
  case MOEC_CUDA_CAPABILITY_MAJOR:
    *value = 9;
    return OK;
  case MOEC_CUDA_CAPABILITY_MINOR:
    *value = 0;
    return OK;
  case MOEC_CUDA_MULTIPROCESSORS:
    *value = 132;
    return OK;
  case MOEC_CUDA_MAX_SHARED_OPTIN:
    *value = 227 << 10;
    return OK;
  default:
    return REFUSED;
  }
}

static int the_context;
static void *current;

int cuDevicePrimaryCtxRetain(void **context, int device) {
  (void)device;
  *context = &the_context;
  return OK;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  (void)device;
  return OK;
}

int cuCtxGetCurrent(void **context) {
  *context = current;
  return OK;
}

int cuCtxGetDevice(int *device) {
  *device = 0;
  return OK;
}

int cuCtxPushCurrent_v2(void *context) {
  current = context;
  return OK;
}

int cuCtxPopCurrent_v2(void **context) {
  *context = current;
  return OK;
}

/* ---- units: kernels whose answer is known ---------------------------------------------------------------------- */

typedef struct answer {
  char *output; /* NULL: the image is of no unit */
  size_t bytes;
} answer;

/* The output of unit file `path` where its image is `image`; see UnitCheck.h for the format. */
static answer answer_of(const char *path, const char *image) {
  answer none = {NULL, 0}, found;
  unsigned threads, shared;
  size_t input, output, ulp, sums, size;
  FILE *file = fopen(path, "rb");
  const char *line = "moec-unit 2 %u %u %zu %zu %zu %zu %zu";
  if (!file || fscanf(file, line, &threads, &shared, &input, &output, &ulp, &sums, &size) != 7 || fgetc(file) != '\n') {
    if (file)
      fclose(file);
    return none;
  }
  char *bytes = malloc(input + output + sums + size);
  int whole = bytes && fread(bytes, 1, input + output + sums + size, file) == input + output + sums + size;
  fclose(file);
  if (whole && memcmp(bytes + input + output + sums, image, size) == 0) {
    memmove(bytes, bytes + input, output);
    found.output = bytes;
    found.bytes = output;
    return found;
  }
  free(bytes);
  return none;
}

static answer find_answer(const char *image) {
  answer found = {NULL, 0};
  const char *folder = setting("MOEC_FAKE_CUDA_ANSWERS");
  DIR *files = *folder ? opendir(folder) : NULL;
  for (struct dirent *entry = files ? readdir(files) : NULL; entry && !found.output; entry = readdir(files)) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (strstr(entry->d_name, ".unit"))
      found = answer_of(path, image);
  }
  if (files)
    closedir(files);
  return found;
}

/* ---- modules and launches -------------------------------------------------------------------------------------- */

typedef struct function {
  char *name;
  answer known;
} function;

int cuModuleLoadDataEx(void **module, const void *image, unsigned num_options, int *options, void **values) {
  (void)num_options, (void)options, (void)values;
  *module = (void *)(size_t)image;
  return sticky;
}

int cuModuleUnload(void *module) {
  (void)module;
  return sticky;
}

int cuModuleGetFunction(void **out_function, void *module, const char *name) {
  function *made = malloc(sizeof *made);
  if (!made)
    return MOEC_CUDA_OUT_OF_MEMORY;
  made->name = strdup(name);
  made->known = find_answer(module);
  *out_function = made; /* lives as long as the process, as a module of a test does */
  return sticky;
}

int cuFuncGetAttribute(int *value, int attribute, void *given) {
  (void)attribute, (void)given;
  *value = 1024;
  return sticky;
}

int cuFuncSetAttribute(void *given, int attribute, int value) {
  (void)given, (void)attribute, (void)value;
  return sticky;
}

int cuLaunchKernelEx(const moec_cuda_launch_config *config, void *given, void **params, void **extra) {
  const function *kernel = given;
  (void)extra;
  if (sticky)
    return sticky;
  if (!config->grid_x || !config->block_x || config->block_x > 1024 || config->shared_bytes > 227 << 10)
    return REFUSED;
  if (capturing)
    return OK;
  ++num_launches;
  act(kernel->name);
  if (kernel->known.output && !stuck && !sticky)
    memcpy(*(char **)params[2], kernel->known.output, kernel->known.bytes);
  return OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

typedef struct allocation {
  char *base;
  size_t bytes;
  struct allocation *next;
} allocation;

static allocation *allocations;

static char *address(moec_cuda_pointer pointer) { return (char *)(size_t)pointer; }

/* Whether `bytes` bytes at `pointer` lie in one allocation. */
static int is_device(moec_cuda_pointer pointer, size_t bytes) {
  for (const allocation *a = allocations; a; a = a->next)
    if (address(pointer) >= a->base && address(pointer) + bytes <= a->base + a->bytes)
      return 1;
  return 0;
}

int cuMemAlloc_v2(moec_cuda_pointer *pointer, size_t bytes) {
  if (sticky)
    return sticky;
  allocation *made = malloc(sizeof *made);
  size_t rounded = (bytes + 511) / 512 * 512;
  char *base = aligned_alloc(512, rounded);
  if (!made || !base)
    return MOEC_CUDA_OUT_OF_MEMORY;
  *made = (allocation){base, bytes, allocations};
  allocations = made;
  *pointer = (moec_cuda_pointer)(size_t)base;
  return OK;
}

int cuMemFree_v2(moec_cuda_pointer pointer) {
  int result = wait_for_kernels();
  for (allocation **a = &allocations; !result && *a; a = &(*a)->next)
    if ((*a)->base == address(pointer)) {
      allocation *gone = *a;
      *a = gone->next;
      free(gone->base);
      free(gone);
      return OK;
    }
  return result ? result : REFUSED;
}

int cuMemcpyHtoD_v2(moec_cuda_pointer to, const void *from, size_t bytes) {
  int result = wait_for_kernels();
  if (result || !is_device(to, bytes))
    return result ? result : REFUSED;
  memcpy(address(to), from, bytes);
  return OK;
}

int cuMemcpyDtoH_v2(void *to, moec_cuda_pointer from, size_t bytes) {
  int result = wait_for_kernels();
  if (result || !is_device(from, bytes))
    return result ? result : REFUSED;
  memcpy(to, address(from), bytes);
  return OK;
}

int cuMemcpy2DUnaligned_v2(const moec_cuda_copy_2d *copy) {
  int result = wait_for_kernels();
  const char *from = copy->src_type == MOEC_CUDA_MEMORY_HOST ? copy->src_host : address(copy->src_device);
  for (size_t row = 0; !result && row < copy->height; ++row) {
    if (!is_device(copy->dst_device + row * copy->dst_pitch, copy->width))
      return REFUSED;
    memcpy(address(copy->dst_device) + row * copy->dst_pitch, from + row * copy->src_pitch, copy->width);
  }
  return result;
}

int cuMemsetD8_v2(moec_cuda_pointer to, unsigned char value, size_t bytes) {
  int result = wait_for_kernels();
  if (result || !is_device(to, bytes))
    return result ? result : REFUSED;
  memset(address(to), value, bytes);
  return OK;
}

int cuMemcpyHtoDAsync_v2(moec_cuda_pointer to, const void *from, size_t bytes, void *stream) {
  (void)stream;
  return cuMemcpyHtoD_v2(to, from, bytes);
}

int cuMemcpyDtoHAsync_v2(void *to, moec_cuda_pointer from, size_t bytes, void *stream) {
  (void)stream;
  return cuMemcpyDtoH_v2(to, from, bytes);
}

int cuMemcpy2DAsync_v2(const moec_cuda_copy_2d *copy, void *stream) {
  (void)stream;
  return cuMemcpy2DUnaligned_v2(copy);
}

int cuMemsetD8Async(moec_cuda_pointer to, unsigned char value, size_t bytes, void *stream) {
  (void)stream;
  return cuMemsetD8_v2(to, value, bytes);
}

int cuPointerGetAttribute(void *value, int attribute, moec_cuda_pointer pointer) {
  if (attribute != MOEC_CUDA_POINTER_MEMORY_TYPE || !is_device(pointer, 1))
    return REFUSED;
  *(int *)value = MOEC_CUDA_MEMORY_DEVICE;
  return OK;
}

/* Limits of cuTensorMapEncodeTiled. */
int cuTensorMapEncodeTiled(void *map, int type, uint32_t rank, void *base, const uint64_t *dims,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                           int interleave, int swizzle, int l2, int outside) {
  const int swizzle_128 = 3;
  uint32_t element = type == MOEC_CUDA_TENSOR_F32 ? 4 : 2;
  (void)element_strides, (void)interleave, (void)l2, (void)outside;
  int good = (size_t)map % MOEC_CUDA_MAP_ALIGN == 0 && (size_t)base % 16 == 0 && box[0] * element % 16 == 0 &&
             (swizzle != swizzle_128 || box[0] * element <= 128);
  for (uint32_t i = 0; i < rank; ++i)
    good = good && dims[i] && dims[i] <= 1ull << 32 && box[i] && box[i] <= 256 &&
           (i == 0 || (strides[i - 1] % 16 == 0 && strides[i - 1] < 1ull << 40));
  if (!good)
    return REFUSED;
  memset(map, 1, MOEC_CUDA_MAP_BYTES);
  return OK;
}

/* ---- streams, graphs, events ----------------------------------------------------------------------------------- */

int cuStreamCreate(void **stream, unsigned flags) {
  (void)flags;
  *stream = malloc(1);
  return sticky;
}

int cuStreamSynchronize(void *stream) {
  (void)stream;
  return wait_for_kernels();
}

int cuStreamDestroy_v2(void *stream) {
  free(stream);
  return sticky;
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
  (void)stream, (void)mode;
  capturing = 1;
  return sticky;
}

int cuStreamEndCapture(void *stream, void **graph) {
  capturing = 0;
  *graph = stream;
  return sticky;
}

int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
  (void)flags;
  *executable = graph;
  return sticky;
}

int cuGraphLaunch(void *executable, void *stream) {
  (void)executable, (void)stream;
  return sticky;
}

int cuGraphExecDestroy(void *executable) {
  (void)executable;
  return sticky;
}

int cuGraphDestroy(void *graph) {
  (void)graph;
  return sticky;
}

int cuEventCreate(void **event, unsigned flags) {
  (void)flags;
  *event = calloc(1, sizeof(struct timespec));
  return sticky;
}

int cuEventRecord(void *event, void *stream) {
  (void)stream;
  clock_gettime(CLOCK_MONOTONIC, event);
  return sticky;
}

int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  const struct timespec *a = from, *b = to;
  *milliseconds = (float)(b->tv_sec - a->tv_sec) * 1e3f + (float)(b->tv_nsec - a->tv_nsec) * 1e-6f;
  return sticky;
}

int cuEventDestroy_v2(void *event) {
  free(event);
  return sticky;
}
