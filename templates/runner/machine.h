/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * machine.h - this machine -> the member "machine" of a record, a name for people, and the clocks.
 */
#ifndef RUNNER_MACHINE_H
#define RUNNER_MACHINE_H

#include <stddef.h>

void machine_record(char *out, size_t size); /* {"cpu":{...}} as codegen/tune/TuneRecord.h says */
void machine_name(char *out, size_t size);   /* "AMD EPYC 9354P 32-Core Processor"; "unknown CPU" */

double wall_seconds(void);   /* only differences mean something */
double thread_us(void);      /* processor time of this thread: other programs do not lengthen it */
void utc_date(char out[21]); /* "2026-11-27T10:00:00Z" */

#endif
