/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * memory.c - seeds in -> the numbers of codegen/check/RandomTensors.cpp out, bit by bit.
 */
#include "memory.h"

#include "machine.h"

#include "runtime/moec_dtype.h"
#include "runtime/weights/float_convert.h"
#include "runtime/weights/huge_pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* Sums of four uniform numbers. */
static void fill_normal(void *data, int32_t type, int64_t count, uint64_t seed, double deviation) {
  const float scale = (float)(deviation * 1.7320508075688772 / 65536), offset = -131070.0f * scale;
  seed = mix(seed);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t r = mix(seed + (uint64_t)i);
    float sum = (float)((uint32_t)(r & 0xffff) + (uint32_t)(r >> 16 & 0xffff) + (uint32_t)(r >> 32 & 0xffff) +
                        (uint32_t)(r >> 48));
    float product = sum * scale;
    float value = product + offset;
    if (type == MOEC_F32)
      ((float *)data)[i] = value;
    else
      ((uint16_t *)data)[i] = type == MOEC_BF16 ? moec_bf16_of_f32(value) : moec_f16_of_f32(value);
  }
}

double load_element(const void *data, int32_t type, int64_t index) {
  if (type == MOEC_F32)
    return (double)((const float *)data)[index];
  uint16_t bits = ((const uint16_t *)data)[index];
  return (double)(type == MOEC_BF16 ? moec_f32_of_bf16(bits) : moec_f32_of_f16(bits));
}

static void *map_pages(size_t bytes, size_t *mapped) {
  void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED)
    return NULL;
  moec_advise_huge_pages(pages, bytes);
  *mapped = bytes;
  return pages;
}

/* The length of the run is prime, so that no two rows, panels or groups are equal. */
void fill_repeated(void *data, int32_t type, int64_t count, uint64_t seed, double deviation) {
  int64_t size = moec_dtype_bytes((uint32_t)type), drawn = count < 65521 ? count : 65521;
  fill_normal(data, type, drawn, seed, deviation);
  for (int64_t done = drawn; done < count;) {
    int64_t next = drawn < count - done ? drawn : count - done;
    memcpy((char *)data + done * size, data, (size_t)(next * size));
    done += next;
  }
}

int memory_open(stage_memory *memory, const bundle_stage *stage, int64_t tokens) {
  memset(memory, 0, sizeof(*memory));
  memory->stage = stage;
  memory->tokens = tokens;
  for (size_t i = 0; i < stage->num_arguments; ++i) {
    const bundle_argument *argument = &stage->arguments[i];
    memory->args[i] = map_pages((size_t)argument->bytes + 4096, &memory->mapped[i]);
    if (!memory->args[i])
      return 0;
    fill_repeated(memory->args[i], argument->type, argument->bytes / moec_dtype_bytes((uint32_t)argument->type),
                  argument->seed, 0.5);
    if (argument->fill == FILL_OUTPUT)
      memory->out = memory->args[i];
    if (argument->fill == FILL_ROW_TOKEN)
      for (int64_t r = 0; r < stage->total_rows; ++r) /* 181 has no divisor in common with the tokens, 512 */
        ((int32_t *)memory->args[i])[r] = (int32_t)(r * 181 % tokens);
  }
  memory->scratch = map_pages((size_t)stage->scratch_bytes + 4096, &memory->scratch_mapped);
  return memory->scratch != NULL;
}

void memory_close(stage_memory *memory) {
  for (size_t i = 0; i < MAX_ARGS; ++i)
    if (memory->args[i])
      munmap(memory->args[i], memory->mapped[i]);
  if (memory->scratch)
    munmap(memory->scratch, memory->scratch_mapped);
  memset(memory, 0, sizeof(*memory));
}

static int begin_turn(turn *t, size_t items) {
  if (t->room < items) {
    moec_item *larger = realloc(t->items, items * sizeof(moec_item));
    if (!larger)
      return 0;
    t->items = larger;
    t->room = items;
  }
  memset(&t->call, 0, sizeof(t->call));
  t->flops = t->bytes = 0;
  return 1;
}

static void add_item(const bundle_stage *stage, turn *t, moec_item item) {
  t->items[t->call.num_items++] = item;
  t->flops += (double)item.rows * item.panels * stage->panel_flops;
  t->bytes += (double)(item.panels * stage->panel_bytes);
}

static void end_turn(turn *t, int64_t tokens, int64_t rows) {
  t->call.num_tokens = t->call.sequence_tokens = tokens;
  t->call.num_rows = rows;
  t->call.items = t->items;
}

static moec_item item_of(int64_t group, int64_t row, int64_t rows, int64_t panel, int64_t panels) {
  moec_item item = {(int32_t)group, (int32_t)row, (int32_t)rows, (int32_t)panel, (int32_t)panels, 0};
  return item;
}

int turn_prepare(stage_memory *memory, turn *t, int64_t rows, int64_t blocks) {
  const bundle_stage *stage = memory->stage;
  if (!begin_turn(t, (size_t)blocks))
    return 0;
  for (int64_t i = 0; i < blocks; ++i) {
    add_item(stage, t, item_of(memory->next_group, i * rows, rows, memory->next_panel, stage->item_panels));
    memory->next_panel += stage->item_panels;
    if (memory->next_panel + stage->item_panels > stage->panels) { /* turns that are compared do the same work */
      memory->next_panel = 0;
      memory->next_group = (memory->next_group + 1) % stage->groups;
    }
  }
  end_turn(t, memory->tokens, blocks * rows);
  return 1;
}

int turn_prepare_check(const stage_memory *memory, turn *t, int64_t rows, int64_t number) {
  const bundle_stage *stage = memory->stage;
  int64_t panels = stage->panels < 2 ? stage->panels : 2;
  if (!begin_turn(t, 2))
    return 0;
  add_item(stage, t, item_of(2 * number % stage->groups, 0, rows, 0, panels));
  add_item(stage, t, item_of((2 * number + 1) % stage->groups, rows, rows, stage->panels - panels, panels));
  end_turn(t, memory->tokens, 2 * rows);
  return 1;
}

int turn_split(const turn *from, turn *t, int64_t rows) {
  size_t items = 0;
  for (int64_t i = 0; i < from->call.num_items; ++i)
    items += (size_t)((from->items[i].rows + rows - 1) / rows);
  if (!begin_turn(t, items))
    return 0;
  for (int64_t i = 0; i < from->call.num_items; ++i)
    for (int64_t done = 0; done < from->items[i].rows; done += rows) {
      moec_item part = from->items[i];
      part.row0 = (int32_t)(part.row0 + done);
      part.rows = (int32_t)(part.rows - done < rows ? part.rows - done : rows);
      t->items[t->call.num_items++] = part;
    }
  end_turn(t, from->call.num_tokens, from->call.num_rows);
  return 1;
}

void turn_free(turn *t) {
  free(t->items);
  memset(t, 0, sizeof(*t));
}

int64_t most_blocks(const bundle_stage *stage, int64_t rows) {
  int64_t most = (stage->total_rows - GUARD_ROWS) / rows;
  return most < 2 ? 2 : most > MAX_BLOCKS ? MAX_BLOCKS : most;
}

double run_us(stage_memory *memory, moec_kernel_fn kernel, const turn *t) {
  double begin = thread_us();
  kernel(&t->call, memory->args, memory->scratch, 0, t->call.num_items);
  double spent = thread_us() - begin;
  return spent > 1e-3 ? spent : 1e-3;
}

size_t run_poisoned(stage_memory *memory, moec_kernel_fn kernel, const turn *t) {
  size_t bytes = (size_t)((t->call.num_rows + GUARD_ROWS) * memory->stage->out_stride);
  memset(memory->out, 0xff, bytes); /* NaN in every element type */
  kernel(&t->call, memory->args, memory->scratch, 0, t->call.num_items);
  return bytes;
}
