/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * layer.h - what the opaque handles of moec.h hold, and the layout of a call's workspace.
 */
#ifndef MOEC_RUNTIME_LAYER_LAYER_H
#define MOEC_RUNTIME_LAYER_LAYER_H

#include "runtime/cuda/cuda_layer.h"
#include "runtime/layer/aliased_forward.h"
#include "runtime/plan/plan_view.h"
#include "runtime/threads.h"
#include "runtime/weights/packed_header.h"

/* First word of a live handle; cleared when it is destroyed. */
#define MOEC_LAYER_MAGIC UINT64_C(0x6d6f65636c617972)
#define MOEC_WEIGHTS_MAGIC UINT64_C(0x6d6f656377676874)

enum { MOEC_WEIGHTS_ALIGN = 64 };

struct moec_layer {
  uint64_t magic;
  moec_plan plan;
  int32_t isa, max_threads;
  moec_parallel_for parallel_for;
  void *parallel_for_context;
  moec_pool *pool;       /* a use of it; NULL with one thread, a host's parallel_for or CUDA */
  moec_cuda_layer *cuda; /* NULL on the CPU; otherwise isa, threads and pool are unused */
  moec_layer *backward;  /* its backward pass, owned, whose weights begin with those of this layer; NULL: none */
};

struct moec_weights {
  uint64_t magic;
  const moec_plan_header *plan;   /* the package these are packed for */
  const char *base;               /* the caller's buffer, header page first; device memory on CUDA */
  const moec_cuda_target *target; /* what `maps` are for; NULL on the CPU */
  int32_t cuda_device;
  void *maps;             /* the target's TMA descriptors, owned; NULL if it has none */
  moec_weights *backward; /* the same buffer as weights of the layer's backward pass, owned; NULL: none */
};

/* One call: forward, or with the caller's arguments of backward, whose inputs, tokens, workspace, stream and probe are
 * then in `args` too. */
typedef struct moec_pass_args {
  const moec_forward_args *args;
  const moec_backward_args *backward; /* NULL: a forward call */
} moec_pass_args;

/* Byte offsets of the workspace's parts for one T; the map is drawn in moec_abi.h. */
typedef struct moec_workspace_map {
  int64_t slot[MOEC_MAX_BUFFERS];
  int64_t route[MOEC_MAX_ROUTES][4];   /* by moec_route_part */
  int64_t items, num_items;            /* offset, capacity */
  int64_t scratch, scratch_stride;     /* worker 0, bytes from one worker to the next */
  int64_t counts;                      /* calls in chunks: counts of the chunks so far */
  int64_t table[MOEC_MAX_CUDA_TABLES]; /* CUDA: instead of items and scratch */
  int64_t saved[MOEC_MAX_SAVED];       /* in the caller's `saved`, by role */
  int64_t bytes, saved_bytes;
} moec_workspace_map;

/* 0 <= num_tokens <= max_tokens; sequence_tokens divides num_tokens (0: one sequence); `reports`: the call asks for a
 * report. O(buffers). */
void moec_workspace_map_at(const moec_layer *layer, int64_t num_tokens, int64_t sequence_tokens, int reports,
                           moec_workspace_map *out_map);

/* Sequences of a checked call; at least 1. */
static inline int64_t moec_num_sequences(int64_t num_tokens, int64_t sequence_tokens) {
  return sequence_tokens > 0 ? num_tokens / sequence_tokens : 1;
}

/* The same of what callers pass: a call without tokens has no sequence. */
static inline int64_t moec_caller_sequences(int64_t num_tokens, int64_t sequence_tokens) {
  return num_tokens ? moec_num_sequences(num_tokens, sequence_tokens) : 0;
}

/* MOEC_OK, MOEC_NULL_POINTER or MOEC_INVALID_HANDLE. */
moec_status moec_check_layer(const moec_layer *layer);

/* The same, or MOEC_INVALID_ARGUMENT for a layer without a backward pass. */
moec_status moec_check_trains(const moec_layer *layer);

/* Checks everything about a call that can be wrong, in O(1). On MOEC_OK the plan may be walked with *out_args: the
 * caller's arguments, with zeros in fields beyond the end of the caller's struct. */
moec_status moec_check_forward(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args,
                               moec_forward_args *out_args);

/* Runs the plan on checked arguments with T >= 1; distinct_groups: see aliased_forward.h. */
moec_status moec_plan_walk(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass,
                           uint32_t distinct_groups);

/* Runs a region on the layer's threads, whichever they are. */
moec_status moec_layer_run(const moec_layer *layer, const moec_region *region);

/* CUDA: enqueues the target's launches on checked arguments with T >= 1. */
moec_status moec_cuda_walk(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass);

/* The regions of this layer's packed weights: those of its backward pass, which begin with its own, if it has one. */
static inline const moec_weight_set *moec_weight_set_of(const moec_layer *layer) {
  const moec_layer *all = layer->backward ? layer->backward : layer;
  return all->cuda ? &all->cuda->plan.weight_set : &all->plan.weight_set;
}

/* Tokens that run at once in a call of `num_tokens`. */
static inline int64_t moec_chunk_of(const moec_layer *layer, int64_t num_tokens) {
  int64_t chunk = layer->cuda ? 0 : layer->plan.header->chunk_tokens;
  return chunk && chunk < num_tokens ? chunk : num_tokens;
}

/* Address of buffer `index` in one call. */
void *moec_buffer_address(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass,
                          const moec_workspace_map *map, uint32_t index);

/* Copies the caller's arguments of any struct_size that this runtime knows; fields not passed become zero. */
moec_status moec_read_args(const moec_forward_args *caller, moec_forward_args *args);

/* "matmul", "dispatch", ...: what a probe is told of a step's kind. */
const char *moec_step_kind_name(const moec_step *step);

/* Does the call ask for any report? */
int moec_asks_reports(const moec_forward_args *args);

/* Does the step run in this call: always, or because the call asks for one of its outputs (moec_step.asked)? */
int moec_step_is_asked(const moec_forward_args *args, const moec_step *step);

/* The field of moec_forward_args that holds the caller's buffer of a role, "x", "out_ids"; "" for other roles. */
const char *moec_argument_name(uint32_t role);

/* The caller's pointer for a role of forward calls, NULL if it gave none. */
void *moec_caller_buffer(const moec_forward_args *args, uint32_t role);

/* The same for the roles that only backward calls have, MOEC_ROLE_GRAD_*. */
void *moec_gradient_buffer(const moec_backward_args *args, uint32_t role);

/* Handles, device, number of tokens and probe of a call. */
moec_status moec_check_call(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args);

/* Checks a backward call in O(roles). On MOEC_OK *out_pass, which points into the other two, may be walked on
 * layer->backward. */
moec_status moec_check_backward(const moec_layer *layer, const moec_weights *weights, const moec_backward_args *args,
                                moec_forward_args *out_inputs, moec_backward_args *out_args, moec_pass_args *out_pass);

/* One buffer of the caller: bytes [start, start + bytes). */
typedef struct moec_caller_range {
  const char *name;
  uintptr_t start;
  uint64_t bytes;
  uint32_t align;
  int written;
} moec_caller_range;

/* Alignment, the end of the address space, and that nothing written shares bytes with another range. */
moec_status moec_check_ranges(const moec_caller_range *ranges, int count);

#endif
