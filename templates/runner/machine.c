/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * machine.c - CPUID and the runtime's detection of instruction sets in -> text of a record out.
 */
#include "machine.h"

#include "runtime/cpu_features.h"
#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* Brand as CPUID gives it, without the blanks around and between; only characters that need no escape in JSON. */
void machine_name(char *out, size_t size) {
  char brand[49] = "";
#if defined(__x86_64__)
  unsigned words[12];
  if (__get_cpuid_max(0x80000000u, NULL) >= 0x80000004u) {
    for (unsigned leaf = 0; leaf < 3; ++leaf)
      __get_cpuid(0x80000002u + leaf, &words[4 * leaf], &words[4 * leaf + 1], &words[4 * leaf + 2],
                  &words[4 * leaf + 3]);
    memcpy(brand, words, 48);
  }
#endif
  size_t used = 0;
  for (const char *c = brand; *c && used + 1 < size; ++c)
    if (*c > ' ' && *c < 0x7f && *c != '"' && *c != '\\')
      out[used++] = *c;
    else if (*c == ' ' && used && out[used - 1] != ' ')
      out[used++] = ' ';
  used -= used && out[used - 1] == ' ';
  out[used] = '\0';
}

static unsigned stepping(void) {
#if defined(__x86_64__)
  unsigned a = 0, b, c, d;
  __get_cpuid(1, &a, &b, &c, &d);
  return a & 0xf;
#else
  return 0;
#endif
}

void machine_record(char *out, size_t size) {
  char name[64], isas[128] = "";
  machine_name(name, sizeof(name));
  moec_cpu_model cpu = moec_this_cpu();
  for (int32_t isa = 0; isa <= moec_cpu_isa(); ++isa) {
    size_t used = strlen(isas);
    snprintf(isas + used, sizeof(isas) - used, "%s\"%s\"", isa ? "," : "", moec_isa_name(isa));
  }
  snprintf(out, size,
           "{\"cpu\":{\"vendor\":\"%s\",\"family\":%u,\"model\":%u,\"stepping\":%u,\"name\":\"%s\",\"isas\":[%s]}}",
           cpu.vendor, cpu.family, cpu.model, stepping(), name, isas);
}

double wall_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double thread_us(void) {
  struct timespec spent;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return (double)spent.tv_sec * 1e6 + (double)spent.tv_nsec * 1e-3;
}

void utc_date(char out[21]) {
  time_t now = time(NULL);
  struct tm parts;
  if (!gmtime_r(&now, &parts) || !strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &parts))
    strcpy(out, "1970-01-01T00:00:00Z");
}
