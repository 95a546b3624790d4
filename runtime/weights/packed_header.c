/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * packed_header.c - a plan and a checksum -> the first page of packed weights, and what contradicts it.
 */
#include "runtime/weights/packed_header.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { BYTE_ORDER_MARK = 0x01020304, DAMAGE_TEXT = 400 };
_Static_assert(offsetof(moec_packed_header, format) == 64 && offsetof(moec_packed_header, checksum) == 72 &&
                   sizeof(moec_packed_header) == 88,
               "packed files have this layout");

/* FNV-1a of the regions that have bytes of their own: how a pass reads them makes no other file. */
static uint64_t layout_hash(const moec_weight_set *set) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (uint32_t i = 0; i < set->count; ++i) {
    const unsigned char *bytes = (const unsigned char *)&set->weights[i];
    for (size_t b = 0; set->weights[i].derived != MOEC_DERIVED_SHARED && b < sizeof(moec_weight); ++b)
      hash = (hash ^ bytes[b]) * UINT64_C(0x100000001b3);
  }
  return hash;
}

moec_packed_header moec_packed_header_of(const moec_plan *plan, const moec_weight_set *set) {
  moec_packed_header header;
  memset(&header, 0, sizeof(header));
  memcpy(header.magic, "moecpack", sizeof(header.magic));
  header.byte_order = BYTE_ORDER_MARK;
  header.abi_major = plan->header->abi_major;
  header.abi_minor = plan->header->abi_minor;
  header.packed_bytes = set->packed_bytes;
  header.layout_hash = layout_hash(set);
  memcpy(header.spec_hash, plan->header->spec_hash, sizeof(header.spec_hash));
  header.format = MOEC_PACKED_FORMAT;
  return header;
}

void moec_write_packed_header(const moec_plan *plan, const moec_weight_set *set, const moec_checksum *regions,
                              void *page) {
  moec_packed_header header = moec_packed_header_of(plan, set);
  memset(page, 0, MOEC_WEIGHTS_HEADER_BYTES);
  if (regions) {
    header.checksum_kind = MOEC_CHECKSUM_WORDS;
    moec_checksum all = moec_checksum_of(&header, 0, sizeof(header));
    moec_checksum_add(&all, *regions);
    header.checksum = all;
  }
  memcpy(page, &header, sizeof(header));
}

static const char *name_of(const moec_plan *plan) { return plan->strings + plan->header->name; }

moec_status moec_check_packed_header(const moec_plan *plan, const moec_weight_set *set,
                                     const moec_packed_header *have) {
  const moec_packed_header want = moec_packed_header_of(plan, set);
  if (memcmp(have->magic, want.magic, sizeof(want.magic)) != 0)
    return moec_error(MOEC_VERSION_MISMATCH, "buffer does not hold packed weights");
  if (have->byte_order != want.byte_order)
    return moec_error(MOEC_VERSION_MISMATCH, "packed weights have the other byte order");
  if (have->abi_major != want.abi_major)
    return moec_error(MOEC_VERSION_MISMATCH, "packed weights were made for ABI %d, this package has %d",
                      have->abi_major, want.abi_major);
  if (have->format > MOEC_PACKED_FORMAT || have->checksum_kind > MOEC_CHECKSUM_WORDS)
    return moec_error(MOEC_VERSION_MISMATCH,
                      "packed weights have format %" PRIu32 " with checksum %" PRIu32
                      ", this runtime knows formats up to %d and checksums up to %d",
                      have->format, have->checksum_kind, MOEC_PACKED_FORMAT, MOEC_CHECKSUM_WORDS);
  if (memcmp(have->spec_hash, want.spec_hash, sizeof(want.spec_hash)) != 0)
    return moec_error(MOEC_VERSION_MISMATCH, "packed weights belong to another spec than package %.64s", name_of(plan));
  if (have->layout_hash != want.layout_hash || have->packed_bytes != want.packed_bytes)
    return moec_error(MOEC_VERSION_MISMATCH, "packed weights have another layout than package %.64s; pack them again",
                      name_of(plan));
  return MOEC_OK;
}

/* "byte 5000, in experts.gate + experts.up, group 3" into `text`. */
static void describe_byte(const moec_plan *plan, const moec_weight_set *set, uint64_t byte, char text[DAMAGE_TEXT]) {
  int used = snprintf(text, DAMAGE_TEXT, "byte %" PRIu64, byte);
  if (byte < MOEC_WEIGHTS_HEADER_BYTES)
    snprintf(text + used, DAMAGE_TEXT - (size_t)used, ", in the header page");
  for (uint32_t i = 0; i < set->count; ++i) {
    const moec_weight *weight = &set->weights[i];
    if (byte < weight->offset || byte >= weight->offset + weight->bytes)
      continue;
    for (int part = 0; part < weight->parts && used < DAMAGE_TEXT; ++part)
      used += snprintf(text + used, DAMAGE_TEXT - (size_t)used, "%s%.64s", part ? " + " : ", in ",
                       plan->strings + plan->roles[weight->role[part]].name);
    uint64_t group_bytes = weight->bytes / weight->groups;
    if (weight->groups > 1 && used < DAMAGE_TEXT)
      snprintf(text + used, DAMAGE_TEXT - (size_t)used, ", group %" PRIu64, (byte - weight->offset) / group_bytes);
  }
}

moec_status moec_check_packed_sum(const moec_plan *plan, const moec_weight_set *set, const moec_packed_header *have,
                                  moec_checksum all) {
  if (have->checksum_kind == MOEC_CHECKSUM_NONE)
    return moec_error(MOEC_VERSION_MISMATCH, "packed weights hold no checksum: %s",
                      have->format < 1 ? "an older moec packed them; pack them again"
                                       : "a GPU packed them; moec pack writes one");
  moec_checksum own = moec_checksum_of(&have->checksum, offsetof(moec_packed_header, checksum), sizeof(have->checksum));
  all.sum -= own.sum;
  all.weighted -= own.weighted;
  if (all.sum == have->checksum.sum && all.weighted == have->checksum.weighted)
    return MOEC_OK;
  char where[DAMAGE_TEXT];
  int64_t place = moec_checksum_place(have->checksum, all, set->packed_bytes);
  if (place < 0)
    return moec_error(MOEC_FILE_FORMAT,
                      "packed weights are damaged, in more than one place: their checksum is %016" PRIx64 "%016" PRIx64
                      ", the header says %016" PRIx64 "%016" PRIx64,
                      all.sum, all.weighted, have->checksum.sum, have->checksum.weighted);
  describe_byte(plan, set, (uint64_t)place, where);
  return moec_error(MOEC_FILE_FORMAT, "packed weights are damaged, probably at %s", where);
}
