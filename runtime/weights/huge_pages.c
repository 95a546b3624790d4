/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * huge_pages.c - see huge_pages.h.
 */
#include "runtime/weights/huge_pages.h"

#include <errno.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 1 << 21 };

void moec_advise_huge_pages(void *memory, uint64_t bytes) {
#ifdef MADV_HUGEPAGE
  uintptr_t begin = ((uintptr_t)memory + HUGE_PAGE_BYTES - 1) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1);
  uintptr_t end = ((uintptr_t)memory + (uintptr_t)bytes) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1);
  int kept = errno;
  if (begin < end)
    (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
  errno = kept;
#else
  (void)memory, (void)bytes;
#endif
}
