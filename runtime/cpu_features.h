/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cpu_features.h - this process's processor state in -> a saved and a default floating-point mode out.
 *
 * NOTE: a caller may run with flush-to-zero or another rounding mode. Kernels always run in the default mode, so that
 * bits do not depend on the caller, whose mode is put back afterwards.
 */
#ifndef MOEC_RUNTIME_CPU_FEATURES_H
#define MOEC_RUNTIME_CPU_FEATURES_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Round to nearest even, denormals kept, all exceptions masked; returns the mode before. */
static inline uint32_t moec_fp_mode_enter(void) {
#if defined(__x86_64__)
  uint32_t before = _mm_getcsr();
  _mm_setcsr(0x1f80u);
  return before;
#else
  return 0;
#endif
}

static inline void moec_fp_mode_leave(uint32_t before) {
#if defined(__x86_64__)
  _mm_setcsr(before);
#else
  (void)before;
#endif
}

/* Lets the processor know that this is a spin loop. */
static inline void moec_cpu_relax(void) {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/* As CPUID gives it, extended family and model added; all zero on other architectures. */
typedef struct moec_cpu_model {
  char vendor[13]; /* "AuthenticAMD" */
  uint32_t family, model;
} moec_cpu_model;

moec_cpu_model moec_this_cpu(void);

/* Whether avx512_bf16 is preferred to avx512 on `cpu`: the instruction alone does not say that it is fast. */
int moec_has_fast_bf16_dot(const moec_cpu_model *cpu);

/* CPU features that kernels of `isa` (MOEC_ISA_*) use, "AVX2 FMA BMI2 F16C"; those of the instruction sets below it are
 * not repeated. Static storage; "" for another number. */
const char *moec_isa_features(int32_t isa);

/* MOEC_ISA_* called `name`, -1 if there is none. */
int32_t moec_isa_from_name(const char *name);

#endif
