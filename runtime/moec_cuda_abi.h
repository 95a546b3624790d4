/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec_cuda_abi.h - the CUDA part of a compiled package: the device images and a second blob beside the plan of
 * moec_abi.h. It refers to the plan's buffers, steps, roles and weights by index. The compiler fills it, the runtime
 * walks it.
 *
 *   +-------------------------+---------+----------+--------+--------+------+---------+---------+
 *   | moec_cuda_plan_header   | targets | launches | params | tables | maps | weights | strings |
 *   +-------------------------+---------+----------+--------+--------+------+---------+---------+
 *
 * A target (sm_90a, sm_80) is a list of launches in stream order. Routing stays on the device: dispatch also consists
 * of launches, grids depend only on T, and blocks without work return at once. So a call never waits for the device and
 * can be captured.
 */
#ifndef MOEC_CUDA_ABI_H
#define MOEC_CUDA_ABI_H

#include "moec_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOEC_CUDA_MAGIC 0x6475306du /* "m0ud" */

/* Parts of the packed weights as CUDA kernels read them, in the order and number of moec_plan_header.weights.
 *
 * MOEC_LAYOUT_ROWS    B of a grouped matmul: element (group g, part p, output n, depth i) at
 *                         ((g*parts + p)*n_rows + n)*k_padded + i,     n_rows = moec_weight.n
 *                     k is padded with zeros so that a row is a multiple of 16 bytes (TMA's and cp.async's unit).
 * MOEC_LAYOUT_VECTOR  as on the CPU.
 * Regions start at multiples of 4096 bytes; the first 4096 bytes of the buffer are the runtime's header. */
enum { MOEC_LAYOUT_ROWS = 2 };

/* What a kernel parameter is. Pointers are device addresses, 8 bytes; a map is 128 bytes by value, 64-byte aligned. */
enum moec_cuda_param_kind {
  MOEC_CUDA_TOKENS = 0,   /* int64_t T                                                     */
  MOEC_CUDA_BUFFER = 1,   /* pointer: buffer `index` of the plan                           */
  MOEC_CUDA_ROUTE = 2,    /* pointer: part `part` of the route of dispatch step `index`    */
  MOEC_CUDA_TABLE = 3,    /* pointer: table `index` of the target                          */
  MOEC_CUDA_MAP = 4,      /* CUtensorMap: map `index` of the target; at most 2 of rows     */
  MOEC_CUDA_SEQUENCE = 5, /* int64_t tokens of one sequence                               */
  /* of backward plans */
  MOEC_CUDA_GRADIENT = 6, /* pointer: the caller's gradient of role `index`; a launch whose gradient the caller did
                           * not give does not happen */
  MOEC_CUDA_FORM = 7      /* int64_t, how gradients are stored: accumulate + 2 * moec_dtype of those of matrices */
};

typedef struct moec_cuda_param {
  uint16_t kind, index, part, reserved;
} moec_cuda_param;

/* A piece of the workspace that only this target's kernels use: item lists, counters of dispatch. The workspace of a
 * CUDA layer holds slots and route tables as moec_abi.h describes them, then the target's tables, each rounded up to
 * 256 bytes. A slot has room only for buffers that the target's launches or maps use:
 *
 *   | slot 0 | slot 1 | ... | route tables | table 0 | table 1 | ... | */
typedef struct moec_cuda_table {
  moec_extent bytes;
  uint32_t name; /* string offset */
  uint32_t reserved;
} moec_cuda_table;

/* What a TMA descriptor describes. */
enum moec_cuda_map_source { MOEC_CUDA_MAP_WEIGHT = 0, MOEC_CUDA_MAP_BUFFER = 1, MOEC_CUDA_MAP_TABLE = 2 };

/* A TMA descriptor. A box has box_n rows of box_k elements; elements outside the tensor read as zero.
 *
 *   weight region     the tensor [groups*parts][n][k], innermost last; a box lies in one group and part. Encoded once,
 *                     when weights are adopted
 *   rows of a call    the tensor [1][rows][columns] of a buffer or a table, with as many rows of row_bytes as it has
 * for
 *                     T tokens. Encoded on the host for every launch */
typedef struct moec_cuda_map {
  uint32_t weight;  /* index into weights; 0 for other sources */
  uint32_t swizzle; /* bytes: 0, 32, 64 or 128 */
  uint32_t box_n, box_k;
  uint32_t source; /* moec_cuda_map_source */
  uint32_t index;  /* buffer of the plan or table of the target; 0 for a weight, as are the next three */
  uint32_t dtype, columns, row_bytes, reserved;
} moec_cuda_map;

enum {
  MOEC_CUDA_OVERLAP = 1 /* programmatic dependent launch: the kernel itself waits for its predecessor         */
};

enum { MOEC_MAX_CUDA_PARAMS = 64 }; /* of one launch */

/* One kernel launch. grid = ceil(units(T) / units_per_block), at least 1. If blocks_per_sm is not 0, the grid is at
 * most blocks_per_sm * SMs and the kernel strides by its grid. Grids and blocks are one-dimensional. */
typedef struct moec_cuda_launch {
  uint16_t step, flags;
  uint32_t symbol; /* string offset: the kernel's name in the image */
  uint32_t block_threads;
  uint32_t shared_bytes; /* dynamic shared memory */
  moec_extent units;
  uint32_t units_per_block, blocks_per_sm;
  int64_t min_tokens, max_tokens; /* launched for min <= T <= max */
  uint32_t first_param, num_params;
  uint32_t registers, spill_bytes, local_bytes, reserved; /* per thread, what ptxas said; 0 without ptxas */
} moec_cuda_launch;

typedef struct moec_cuda_target {
  uint32_t sm;    /* 80: sm_80; 90: sm_90a */
  uint32_t exact; /* 1: runs only on compute capability sm; 0: also on every later one */
  /* into moec_package.images: the driver is offered these in order until it accepts one */
  uint32_t first_image, num_images;
  moec_span launches, params, tables, maps;
} moec_cuda_target;

typedef struct moec_cuda_plan_header {
  uint32_t magic;
  uint32_t header_bytes, target_bytes, launch_bytes, param_bytes, table_bytes, map_bytes; /* sizeof each struct */
  uint32_t cuda_version; /* of the toolkit that made the images, 13000 for 13.0, for messages; 0: not known */
  uint64_t packed_bytes; /* the packed buffer: header page and all weight regions, the same for every target */
  moec_span targets;     /* moec_cuda_target, best first */
  moec_span weights;     /* moec_weight */
  moec_span strings;     /* bytes */
  uint32_t total_bytes, reserved2;
} moec_cuda_plan_header;

/* An entry of an item list. Dispatch writes int32 count, 3 unused words, then `count` entries in ascending order of
 * group and row. An entry is a block of rows row0 .. row0+rows-1 of one group, at most the list's block size. */
typedef struct moec_cuda_item {
  int32_t group, row0, rows, reserved;
} moec_cuda_item;

MOEC_ABI_SIZE(moec_cuda_param, 8);
MOEC_ABI_SIZE(moec_cuda_table, 32);
MOEC_ABI_SIZE(moec_cuda_map, 40);
MOEC_ABI_SIZE(moec_cuda_launch, 88);
MOEC_ABI_SIZE(moec_cuda_target, 48);
MOEC_ABI_SIZE(moec_cuda_plan_header, 72);
MOEC_ABI_SIZE(moec_cuda_item, 16);

#ifdef __cplusplus
}
#endif
#endif
