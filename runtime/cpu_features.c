/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cpu_features.c - CPUID, XCR0 and the kernel's AMX permission in -> the highest MOEC_ISA_* of this machine out.
 *
 *   avx2    AVX2, FMA, BMI2, F16C                          and the OS saves ymm
 *   avx512  AVX-512 F, BW, VL, DQ, CD                      and the OS saves zmm and masks
 *   avx512_bf16  avx512_bf16 as well
 *   amx     amx_tile, amx_bf16, avx512_bf16                and the OS saves tiles and lets this process use them
 */
#include "runtime/cpu_features.h"
#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

static pthread_once_t detect_once = PTHREAD_ONCE_INIT;
static int32_t detected_isa = MOEC_ISA_BASELINE;
static moec_cpu_model detected_model;

static const char *const isa_names[MOEC_NUM_ISAS] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx"};

const char *moec_isa_name(int32_t isa) { return isa >= 0 && isa < MOEC_NUM_ISAS ? isa_names[isa] : "unknown"; }

const char *moec_isa_features(int32_t isa) {
  static const char *const features[MOEC_NUM_ISAS] = {"x86-64 (SSE2)", "AVX2 FMA BMI2 F16C", "AVX-512 F DQ CD BW VL",
                                                      "AVX512-BF16", "AMX-TILE AMX-BF16"};
  return isa >= 0 && isa < MOEC_NUM_ISAS ? features[isa] : "";
}

int32_t moec_isa_from_name(const char *name) {
  for (int32_t isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (strcmp(name, isa_names[isa]) == 0)
      return isa;
  return -1;
}

#if defined(__x86_64__)

enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6, XCR0_TILES = 0x60000 };

typedef struct cpuid_leaf {
  uint32_t eax, ebx, ecx, edx;
} cpuid_leaf;

static cpuid_leaf read_leaf(uint32_t leaf, uint32_t subleaf) {
  cpuid_leaf out = {0, 0, 0, 0};
  if (!__get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx))
    memset(&out, 0, sizeof(out));
  return out;
}

static int all_bits(uint32_t value, uint32_t bits) { return (value & bits) == bits; }

static uint64_t read_xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

/* NOTE: fails with ENOSPC where a small sigaltstack is installed and with EINVAL on old kernels. Every failure means
 * "no AMX" and the next lower ISA is taken. */
static int ask_for_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return 0;
#endif
}

static void detect_model(cpuid_leaf zero, cpuid_leaf one) {
  memcpy(detected_model.vendor, &zero.ebx, 4);
  memcpy(detected_model.vendor + 4, &zero.edx, 4);
  memcpy(detected_model.vendor + 8, &zero.ecx, 4);
  uint32_t family = one.eax >> 8 & 0xf, model = one.eax >> 4 & 0xf;
  detected_model.family = family == 0xf ? family + (one.eax >> 20 & 0xff) : family;
  detected_model.model = family == 0xf || family == 0x6 ? model | (one.eax >> 12 & 0xf0) : model;
}

static void detect(void) {
  cpuid_leaf one = read_leaf(1, 0), seven = read_leaf(7, 0), seven_one = read_leaf(7, 1);
  detect_model(read_leaf(0, 0), one);
  const uint32_t fma = 1u << 12, osxsave = 1u << 27, f16c = 1u << 29;           /* leaf 1 ecx */
  const uint32_t avx2 = 1u << 5, bmi2 = 1u << 8;                                /* leaf 7 ebx */
  const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F, DQ, CD, BW, VL */
  const uint32_t amx_bf16 = 1u << 22, amx_tile = 1u << 24;                      /* leaf 7 edx */
  const uint32_t avx512_bf16 = 1u << 5;                                         /* leaf 7.1 eax */
  if (!all_bits(one.ecx, fma | osxsave | f16c) || !all_bits(seven.ebx, avx2 | bmi2))
    return;
  uint64_t xcr0 = read_xcr0();
  if ((xcr0 & XCR0_YMM) != XCR0_YMM)
    return;
  detected_isa = MOEC_ISA_AVX2;
  if (!all_bits(seven.ebx, avx512) || (xcr0 & XCR0_ZMM) != XCR0_ZMM)
    return;
  detected_isa = MOEC_ISA_AVX512;
  if (!all_bits(seven_one.eax, avx512_bf16))
    return;
  detected_isa = MOEC_ISA_AVX512_BF16;
  if (!all_bits(seven.edx, amx_bf16 | amx_tile))
    return;
  if ((xcr0 & XCR0_TILES) == XCR0_TILES && ask_for_tiles())
    detected_isa = MOEC_ISA_AMX;
}

#else

static void detect(void) {}

#endif

int32_t moec_cpu_isa(void) {
  pthread_once(&detect_once, detect);
  return detected_isa;
}

/* Processors whose vdpbf16ps multiplies more per second than their f32 FMA, or is expected to. On all others, which
 * includes Intel's (Sapphire Rapids: half of FMA), avx512 is preferred to avx512_bf16. */
static const struct {
  const char *vendor;
  uint32_t family, first_model, last_model;
} fast_bf16_dot[] = {
    {"AuthenticAMD", 0x19, 0x10, 0x1f}, /* Zen 4, Genoa: 236 and 118 GFLOP/s a core, measured */
    {"AuthenticAMD", 0x19, 0x60, 0xaf}, /* Zen 4, other products with this core, not measured */
    {"AuthenticAMD", 0x1a, 0x00, 0xff}, /* Zen 5: expected from Zen 4, not measured           */
};

int moec_has_fast_bf16_dot(const moec_cpu_model *cpu) {
  for (size_t i = 0; i < sizeof(fast_bf16_dot) / sizeof(fast_bf16_dot[0]); ++i)
    if (strcmp(cpu->vendor, fast_bf16_dot[i].vendor) == 0 && cpu->family == fast_bf16_dot[i].family &&
        cpu->model >= fast_bf16_dot[i].first_model && cpu->model <= fast_bf16_dot[i].last_model)
      return 1;
  return 0;
}

moec_cpu_model moec_this_cpu(void) {
  pthread_once(&detect_once, detect);
  return detected_model;
}
