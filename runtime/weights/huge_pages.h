/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * huge_pages.h - memory that is about to be filled in -> advice to the kernel to back it by 2 MiB pages.
 *
 * Few tokens read every weight once, so the time is that of memory. With pages of 4 KiB a Zen 4 core reads 26 GB/s of
 * the 33 that it reads with pages of 2 MiB.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_HUGE_PAGES_H
#define MOEC_RUNTIME_WEIGHTS_HUGE_PAGES_H

#include <stdint.h>

/* Advises the whole 2 MiB pages of the range. Does nothing where the kernel has none or the memory is a file's. */
void moec_advise_huge_pages(void *memory, uint64_t bytes);

#endif
