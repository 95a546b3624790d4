/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * packed_header.h - the first page of a packed buffer: whose weights it holds, and a checksum of the buffer.
 *
 *   byte  0 magic, byte order, ABI   16 bytes of the buffer   24 layout hash   32 spec hash
 *        64 format, checksum kind    72 checksum              88 zeros ...     4096 region 0
 *
 * Format 0, of moec before it had checksums, has zeros from byte 64.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_PACKED_HEADER_H
#define MOEC_RUNTIME_WEIGHTS_PACKED_HEADER_H

#include "runtime/plan/plan_view.h"
#include "runtime/weights/checksum.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MOEC_WEIGHTS_HEADER_BYTES = 4096, MOEC_PACKED_FORMAT = 1 };
enum { MOEC_CHECKSUM_NONE = 0, MOEC_CHECKSUM_WORDS = 1 };

typedef struct moec_packed_header {
  char magic[8];       /* "moecpack" */
  uint32_t byte_order; /* 0x01020304 in the writer's order */
  uint16_t abi_major, abi_minor;
  uint64_t packed_bytes;
  uint64_t layout_hash; /* of the region descriptors: one spec may be laid out in several ways */
  uint8_t spec_hash[32];
  uint32_t format;        /* MOEC_PACKED_FORMAT or below                                                         */
  uint32_t checksum_kind; /* MOEC_CHECKSUM_NONE: a GPU packed it                                                 */
  moec_checksum checksum; /* of the whole buffer, with zeros in this field                                       */
} moec_packed_header;

/* The header of weights that are packed for the plan, in the layout of `set`, without a checksum. */
moec_packed_header moec_packed_header_of(const moec_plan *plan, const moec_weight_set *set);

/* Writes the page; `page` has MOEC_WEIGHTS_HEADER_BYTES bytes. `regions` is the checksum of all behind it, NULL: none.
 * */
void moec_write_packed_header(const moec_plan *plan, const moec_weight_set *set, const moec_checksum *regions,
                              void *page);

/* MOEC_VERSION_MISMATCH unless `have` is the header of weights that serve the plan in this layout. */
moec_status moec_check_packed_header(const moec_plan *plan, const moec_weight_set *set, const moec_packed_header *have);

/* Compares the checksum `all` of the whole buffer, its header page as it is, with that of its checked header.
 * MOEC_VERSION_MISMATCH: the header has none; MOEC_FILE_FORMAT: the buffer changed, and where. */
moec_status moec_check_packed_sum(const moec_plan *plan, const moec_weight_set *set, const moec_packed_header *have,
                                  moec_checksum all);

#ifdef __cplusplus
}
#endif
#endif
