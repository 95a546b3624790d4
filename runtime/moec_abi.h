/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec_abi.h - the boundary between a compiled package and the runtime: plain structs that the compiler fills and
 * the runtime walks. moec_cuda_abi.h adds the CUDA part. C99, libc types only.
 *
 * A package is one constant blob (the plan) and one table of function pointers. The blob begins with
 * moec_plan_header; every other array is found through a {offset, count} pair counted from the blob's start, so the
 * bytes hold no pointers and can be printed, hashed and compared.
 *
 *   +------------------+---------+-------+------+--------+-------+---------+---------+
 *   | moec_plan_header | buffers | steps | args | covers | roles | weights | strings |
 *   +------------------+---------+-------+------+--------+-------+---------+---------+
 *
 * Versioning: the runtime accepts a package if the major version and all struct sizes equal its own, the minor version
 * does not exceed its own, and it knows every feature bit. Otherwise creating a layer gives MOEC_VERSION_MISMATCH.
 */
#ifndef MOEC_ABI_H
#define MOEC_ABI_H

#include "moec_dtype.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOEC_ABI_MAGIC 0x6365306du /* "m0ec" */
#define MOEC_ABI_MAJOR 1
#define MOEC_ABI_MINOR 0
#define MOEC_PLAN_ALIGN 64

/* Instruction sets in rising order; a machine that has one also has all lower ones. A higher one is not always faster:
 * see moec_layer_create. */
enum {
  MOEC_ISA_BASELINE = 0,
  MOEC_ISA_AVX2 = 1,
  MOEC_ISA_AVX512 = 2,
  MOEC_ISA_AVX512_BF16 = 3,
  MOEC_ISA_AMX = 4,
  MOEC_NUM_ISAS = 5
};

/* {offset from the blob's start in bytes, number of elements} */
typedef struct moec_span {
  uint32_t offset, count;
} moec_span;

/* per_token * T + per_sequence * B + fixed, in bytes, rows or items; B sequences, T/B tokens each */
typedef struct moec_extent {
  int64_t per_token, fixed, per_sequence;
} moec_extent;

/* ---- buffers ------------------------------------------------------------------------------------------------- */

enum moec_buffer_kind {
  MOEC_BUFFER_INPUT = 0,      /* x, and every further input the layer reads                           */
  MOEC_BUFFER_OUTPUT = 1,     /* y                                                                    */
  MOEC_BUFFER_WEIGHT = 2,     /* region `slot` of the packed weights (index into weights)             */
  MOEC_BUFFER_WORKSPACE = 3,  /* slot `slot` of the workspace                                         */
  MOEC_BUFFER_OPT_OUTPUT = 4, /* caller's pointer if given, otherwise workspace slot `slot`           */
  MOEC_BUFFER_ROUTE = 5,      /* part `slot` (moec_route_part) of the route of dispatch step `route`  */
  MOEC_BUFFER_GRADIENT = 6    /* the caller's gradient of role `slot`, or, where the role is a member of
                               * a class of experts, those of `route` roles from `slot` on            */
};

/* Buffers that the caller may pass: inputs, outputs and optional outputs. */
enum moec_buffer_role {
  MOEC_ROLE_NONE = 0,
  MOEC_ROLE_X = 1,
  MOEC_ROLE_Y = 2,
  MOEC_ROLE_LOGITS = 3,  /* [T,E]  f32 router logits before any score     */
  MOEC_ROLE_IDS = 4,     /* [T,K]  i32 chosen experts in selection order  */
  MOEC_ROLE_WEIGHTS = 5, /* [T,K]  f32 final routing weights              */
  MOEC_ROLE_COUNTS = 6,  /* [E]    i32 rows per expert                    */
  /* further inputs, in the order and under the names of moec_forward_args */
  MOEC_ROLE_RESIDUAL = 7,        /* [T,H] in x's type  */
  MOEC_ROLE_NOISE = 8,           /* [T,n] f32          */
  MOEC_ROLE_UNIFORM = 9,         /* [T]   f32          */
  MOEC_ROLE_TOKEN_IDS = 10,      /* [T]   i32          */
  MOEC_ROLE_EXPERT_IDS = 11,     /* [T,K] i32          */
  MOEC_ROLE_EXPERT_WEIGHTS = 12, /* [T,K] f32          */
  MOEC_ROLE_GROUP_IDS = 13,      /* [T]   i32          */
  MOEC_ROLE_PRIORITY = 14,       /* [T]   f32          */
  MOEC_ROLE_CAPACITY = 15,       /* [1]   i32          */
  MOEC_ROLE_TOP_K = 16,          /* [1]   i32          */
  /* reports, made only when asked for */
  MOEC_ROLE_PROBABILITIES = 17,  /* [T,n] f32, n = columns of the logits */
  MOEC_ROLE_CHOICE_COUNTS = 18,  /* [n]   i32          */
  MOEC_ROLE_LOSSES = 19,         /* [L]   f32          */
  MOEC_ROLE_LOGIT_MEAN = 20,     /* [1]   f32          */
  MOEC_ROLE_LOGIT_MAX = 21,      /* [1]   f32          */
  MOEC_ROLE_DIVERSITY = 22,      /* [1]   f32          */
  MOEC_ROLE_DROPPED_TOKENS = 23, /* [1]   i32          */
  /* inputs of training; of slots the first two masks are [B,S,I] and [B,S,N], or [1,S,I] and [1,S,N] */
  MOEC_ROLE_JITTER = 24,        /* [T,H]   f32 */
  MOEC_ROLE_REPLACE = 25,       /* [T,K]   f32 */
  MOEC_ROLE_REPLACE_IDS = 26,   /* [T,K]   i32 */
  MOEC_ROLE_HIDDEN_MASK = 27,   /* [T,K*I] f32 */
  MOEC_ROLE_OUTPUT_MASK = 28,   /* [T,K*N] f32 */
  MOEC_ROLE_EXPERT_MASK = 29,   /* [T,n]   f32 */
  MOEC_ROLE_MIDPOINT_MASK = 30, /* [T,2]   f32 */
  /* of backward plans, in the order of moec_backward_args */
  MOEC_ROLE_GRAD_Y = 56,              /* [T,H] in y's type */
  MOEC_ROLE_GRAD_LOSSES = 57,         /* [L]   f32         */
  MOEC_ROLE_GRAD_X = 58,              /* [T,H] in x's type */
  MOEC_ROLE_GRAD_RESIDUAL = 59,       /* [T,H] in x's type */
  MOEC_ROLE_GRAD_EXPERT_WEIGHTS = 60, /* [T,K] f32         */
  /* What forward saves: value i is role MOEC_ROLE_SAVED + i, an output of the forward plan and an input of the backward
   * plan, of equal type and size. In the caller's `saved` they follow each other, each rounded up to 256 bytes. */
  MOEC_ROLE_SAVED = 64,
  MOEC_MAX_SAVED = 64
};

/* The route: integer tables that a dispatch step makes from ids [T,K], and a slots step without input. R = rows in use,
 * at most T*K; G = groups. All i32.
 *   offsets   [G+1]   rows of group g are offsets[g] .. offsets[g+1]-1
 *   row_token [R]     token of a row
 *   row_slot  [R]     t*K + j of a row
 *   slot_row  [T*K]   row of a (token, choice) slot, -1 where the slot makes no row
 * Rows of one group are in ascending slot order. In a slots step a row is a slot, not a token: K slots per sequence in
 * G groups of K/G, ordered by group g, then sequence b, then slot s of g. row_token is the first token of b, row_slot
 * is s, and slot_row[t*K + s] is the row of slot s of t's sequence. */
enum moec_route_part {
  MOEC_ROUTE_OFFSETS = 0,
  MOEC_ROUTE_ROW_TOKEN = 1,
  MOEC_ROUTE_ROW_SLOT = 2,
  MOEC_ROUTE_SLOT_ROW = 3
};

typedef struct moec_buffer {
  uint16_t kind;  /* moec_buffer_kind                                   */
  uint16_t role;  /* moec_buffer_role                                   */
  uint16_t slot;  /* see kind                                           */
  uint16_t route; /* index of the dispatch step that owns it (ROUTE)    */
  uint16_t dtype; /* moec_dtype of its elements                         */
  uint16_t reserved[3];
  moec_extent bytes;   /* size in bytes                                      */
  uint32_t name;       /* string offset, for messages and the manifest       */
  uint32_t row_stride; /* bytes from one row to the next, 0 if not row-wise  */
} moec_buffer;

/* Workspace, one call, base aligned to 256 bytes:
 *
 *   | slot 0 | slot 1 | ... | route tables | items | worker 0 scratch | worker 1 scratch | ... |
 *
 * A slot is as large as its largest buffer (buffers with disjoint lifetimes share one); every part is rounded up to 256
 * bytes. The last num_report_slots slots exist only in calls that ask for a report (roles from
 * MOEC_ROLE_PROBABILITIES). Route tables are four parts for every dispatch step, in step order: its offsets (4*(G+1)
 * bytes), row_token, row_slot and slot_row (4*T*K bytes each). `items` is one array of moec_item, large enough for the
 * largest step (MOEC_ITEMS_PER_WORKER). Scratch is header.scratch_bytes for each of max_threads workers.
 * Sizes never shrink as T grows; before rounding they are affine in T. In a call in chunks, T is header.chunk_tokens,
 * and room for the counts of all chunks follows the scratch. */
#define MOEC_WORKSPACE_ALIGN 256

/* ---- steps --------------------------------------------------------------------------------------------------- */

/* One piece of work for a matmul kernel: rows row0 .. row0+rows-1 of `group` (rows are numbered across all groups)
 * times column panels panel0 .. panel0+panels-1. */
typedef struct moec_item {
  int32_t group, row0, rows, panel0, panels, reserved;
} moec_item;

/* Arguments that every kernel gets besides its buffers. */
typedef struct moec_call {
  int64_t num_tokens;      /* T                                                    */
  int64_t num_rows;        /* rows of the step's route; T without a route          */
  const moec_item *items;  /* matmul steps: all items of the step                  */
  int64_t num_items;       /* their number: a kernel may look ahead up to here     */
  int64_t sequence_tokens; /* tokens of one sequence; T if there is only one       */
  int32_t accumulate;      /* 1: gradients are added to what their buffers hold     */
  int32_t gradient_dtype;  /* moec_dtype of the gradients of matrices               */
} moec_call;

/* One kernel. `args` are the step's buffers in the order of its args, `scratch` is this worker's (256-byte aligned,
 * header.scratch_bytes, contents undefined), [first, last) are rows (MOEC_STEP_ROWS) or items (MOEC_STEP_MATMUL).
 * A kernel accesses no other memory, calls only memcpy, memmove and memset, and is re-entrant. */
typedef void (*moec_kernel_fn)(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last);

enum moec_step_kind {
  MOEC_STEP_ROWS = 0,       /* kernel over independent rows: T, or the rows of `route`                           */
  MOEC_STEP_MATMUL = 1,     /* kernel over items; groups of `route`, or one group of T rows without a route      */
  MOEC_STEP_DISPATCH = 2,   /* runtime: args = {ids}; fills the route tables                                     */
  MOEC_STEP_COUNTS = 3,     /* runtime: args = {counts}; rows per group of `route`, i32                          */
  MOEC_STEP_CAPACITY = 4,   /* runtime: args = {ids, kept ids, ...}; see moec_places                              */
  MOEC_STEP_TOP_TOKENS = 5, /* runtime: args = {values, mask, ...}; see moec_places                             */
  MOEC_STEP_SLOTS = 6,      /* runtime: no args; fills the route tables                                           */
  MOEC_STEP_COLUMNS = 7,    /* kernel over scopes times blocks of columns: unit = scope * choices + block         */
  MOEC_STEP_GROUPS = 8,     /* kernel over groups times blocks: unit = group * choices + block                    */
  MOEC_STEP_GRADIENT = 9,   /* runtime: args = {values f32, gradient}; adds or copies values of the whole call    */
  MOEC_STEP_COPY = 10       /* runtime: args = {from, to}, of equal size; zeros where the caller gave no `from`   */
};

/* How many tokens of a scope one group takes. From n tokens it takes
 *
 *     C = clamp(round(value), least, most)                   MOEC_PLACES_FIXED
 *     C = clamp(round(value * n * times / over), ...)        MOEC_PLACES_SHARE, in this order of operations, float64
 *     C = clamp(capacity, ...)                               MOEC_PLACES_GIVEN, an input of the call
 *
 * A capacity step keeps the first C slots of every group's queue: kept[t,j] = ids[t,j] for those, -1 for the rest. Ids
 * outside 0..G-1 are copied unchanged. A queue is ordered first by choice or by token (MOEC_PLACES_TOKEN_MAJOR), then
 * by key, larger first and NaN last, then by position. With MOEC_PLACES_NEXT a slot whose queue is full takes the id of
 * the highest rank [T,n] that has room and that no placed slot of its token already names.
 * args: ids, kept, [keys [T] or [T,K] f32, queue [T,K] i32], [rank [T,n] f32], [present [T] i32], [capacity]; flags and
 * mode decide which of the bracketed ones exist. `queue` is scratch of this step.
 *
 * A top-tokens step gives every column its C largest tokens, the lower token among equals, NaN last: mask[t,n] is 1 for
 * these and 0 for others. args: values [T,N] f32, mask [T,N] i32, [present [T] i32].
 *
 * If `present` exists, tokens with 0 in it do not count in n and are not taken. */
enum moec_places_mode { MOEC_PLACES_FIXED = 0, MOEC_PLACES_SHARE = 1, MOEC_PLACES_GIVEN = 2 };
/* nearest: floor(v + 1/2) */
enum moec_places_round { MOEC_ROUND_FLOOR = 0, MOEC_ROUND_CEIL = 1, MOEC_ROUND_NEAREST = 2 };
enum moec_places_scope { MOEC_SCOPE_BATCH = 0, MOEC_SCOPE_SEQUENCE = 1, MOEC_SCOPE_GROUP = 2 };
enum {
  MOEC_PLACES_TOKEN_MAJOR = 1, /* token by token; without it choice by choice    */
  MOEC_PLACES_KEYS = 2,        /* args hold keys and queue ...                   */
  MOEC_PLACES_SLOT_KEYS = 4,   /* ... keys [T,K] instead of [T]                  */
  MOEC_PLACES_NEXT = 8,        /* args hold rank                                 */
  MOEC_PLACES_PRESENT = 16     /* args hold present                              */
};

typedef struct moec_places {
  double value;
  int64_t times, over, least, most;
  int64_t group_tokens; /* tokens of a group (MOEC_SCOPE_GROUP) */
  uint16_t mode, round, scope, flags;
} moec_places;

/* Positions in the args of the runtime's steps. Arguments that a capacity step does not have, by its flags and mode,
 * take no place: the ones behind them move up. */
enum moec_dispatch_arg { MOEC_DISPATCH_IDS = 0, MOEC_DISPATCH_NUM_ARGS = 1 };
enum moec_counts_arg { MOEC_COUNTS_COUNTS = 0, MOEC_COUNTS_NUM_ARGS = 1 };
enum moec_gradient_arg { MOEC_GRADIENT_VALUES = 0, MOEC_GRADIENT_GRADIENT = 1, MOEC_GRADIENT_NUM_ARGS = 2 };
enum moec_copy_arg { MOEC_COPY_FROM = 0, MOEC_COPY_TO = 1, MOEC_COPY_NUM_ARGS = 2 };
enum moec_capacity_arg {
  MOEC_CAPACITY_IDS = 0,
  MOEC_CAPACITY_KEPT = 1,
  MOEC_CAPACITY_KEYS = 2,
  MOEC_CAPACITY_QUEUE = 3,
  MOEC_CAPACITY_RANK = 4,
  MOEC_CAPACITY_PRESENT = 5,
  MOEC_CAPACITY_CAPACITY = 6,
  MOEC_CAPACITY_NUM_ARGS = 7
};
enum moec_top_tokens_arg { MOEC_TOP_TOKENS_VALUES = 0, MOEC_TOP_TOKENS_MASK = 1, MOEC_TOP_TOKENS_PRESENT = 2 };

enum { MOEC_NO_ROUTE = 0xffff };

/* How one ISA runs a matmul or row step: `num_variants` kernels from function `first_fn` of the table. A rows step has
 * one variant. cover[r-1], 1 <= r <= max_rows, is the variant for a block of r rows. A group of n rows becomes
 * b = ceil(n / max_rows) blocks of ceil(ceil(n/b) / row_multiple) * row_multiple rows (the last one shorter);
 * items are sorted by variant, then group, then row. num_variants 0: this ISA is not in the package. */
typedef struct moec_isa_variants {
  uint32_t first_fn, num_variants;
  uint32_t cover; /* offset into header.covers, u8 each */
  uint32_t max_rows, row_multiple;
} moec_isa_variants;

typedef struct moec_step {
  uint16_t kind, reserved;
  uint16_t route; /* index (in steps) of the dispatch step whose groups it runs over, MOEC_NO_ROUTE */
  uint16_t num_args;
  uint32_t first_arg;     /* into header.args: u16 buffer indices */
  uint32_t name;          /* string offset */
  uint32_t num_panels;    /* matmul: column panels of one group, what item.panel0 counts */
  uint32_t rows_per_task; /* rows steps: rows a worker claims at once */
  uint32_t num_groups;    /* dispatch, slots, capacity: G (other ids make no row); matmul: groups of its weights;
                                 * top tokens: N; groups: those of its units */
  uint32_t choices;       /* dispatch, slots, capacity: K; columns, groups: blocks */
  /* 0: runs in every call; otherwise only in calls that ask for an output of one of these roles, 1 << role */
  uint32_t asked;
  uint32_t reserved2;
  int64_t flops_per_row;   /* 2*N*K per row, for bench and explain */
  int64_t bytes_per_group; /* packed weight bytes of one group */
  moec_places places;      /* capacity, top tokens; slots and columns: its scope, batch or sequence */
  moec_isa_variants isa[MOEC_NUM_ISAS];
} moec_step;

/* ---- weights ------------------------------------------------------------------------------------------------- */

/* A parameter the caller supplies. dims: logical shape, experts first, [out, in] last. `tensor` may be 0 (none). */
enum moec_stack {
  MOEC_STACK_SINGLE = 0,
  MOEC_STACK_PER_EXPERT = 1,
  MOEC_STACK_STACKED = 2,
  MOEC_STACK_FLAT_ROWS = 3,
  MOEC_STACK_INTERLEAVED_COLUMNS = 4 /* [out, in * E]: column i of expert e is column i * E + e */
};
enum moec_axes { MOEC_AXES_OUT_IN = 0, MOEC_AXES_IN_OUT = 1 };
enum moec_part {
  MOEC_PART_ALL = 0,
  MOEC_PART_FIRST_HALF = 1,
  MOEC_PART_SECOND_HALF = 2,
  MOEC_PART_EVEN = 3,
  MOEC_PART_ODD = 4
};

typedef struct moec_role {
  uint32_t name;   /* string offset: "experts.gate"                              */
  uint32_t tensor; /* string offset: name in a checkpoint, may hold "{e}"        */
  uint16_t rank;   /* 1..3                                                       */
  uint16_t stack, axes, part;
  uint16_t expert_axis; /* 1: dims[0] counts experts                              */
  uint16_t matrix;      /* 1: the last two dims are [out, in] and axes applies    */
  uint32_t reserved;
  int64_t dims[3];
} moec_role;

/* One region of the packed weights.
 *
 * MOEC_LAYOUT_VECTOR  f32 [groups][n_padded]: biases, scales. Zero padded.
 * MOEC_LAYOUT_PANELS  B of a grouped matmul, `parts` matrices [n, k] (out, in) per group, interleaved by 16 columns so
 *                     that one panel of 32 virtual columns v holds the same outputs of every part:
 *                         parts 1: column = 32*panel + v          parts 2: part = v/16, column = 16*panel + v%16
 *                     element (group g, panel p, depth i, virtual column v):
 *                         f32:  ((g*panels + p)*k_padded + i)*32 + v
 *                         bf16, f16: (g*panels + p)*k_padded*32 + (i/32)*1024 + (v/16)*512 + (i%32/2)*32 + (v%16)*2 +
 *                         i%2
 *                     bf16 is the VNNI form: each run of 512 elements is one 16 x 64-byte AMX tile, and a panel reads
 *                     straight through in k. k is padded to a multiple of 32 (2-byte types) or 8 (f32), columns to
 *                     whole panels, all with zeros, so kernels have no tails in n and k.
 * Regions start at multiples of 4096 bytes (header.weights order), groups follow each other without gaps. */
enum moec_layout { MOEC_LAYOUT_VECTOR = 0, MOEC_LAYOUT_PANELS = 1 };

/* What a vector holds: the role's own numbers, or the sum of squares of each row of a matrix [n, k]. */
/* shared: matrices of another region, which have its type: no bytes of its own, and nothing is packed */
enum moec_derived { MOEC_DERIVED_NONE = 0, MOEC_DERIVED_SQUARES = 1, MOEC_DERIVED_SHARED = 2 };

typedef struct moec_weight {
  uint16_t layout, dtype; /* packed element type */
  uint16_t parts;         /* 1 or 2 */
  uint16_t role[2];       /* role of each part */
  uint16_t derived;       /* moec_derived: squares of vectors only, shared of matrices on CUDA only */
  /* 1: group g of a part is role[part] + g, of rank 2 or 1 and at most [n, k]; zeros fill the rest */
  uint16_t role_per_group;
  uint16_t transposed;   /* panels only. 1: the matrices are those of the roles transposed, n = in and k = out */
  uint32_t groups, n, k; /* logical; k = 1 for vectors */
  uint32_t panels;       /* per group (PANELS); of a shared region the matrices from one group to the next, else 0 */
  uint32_t n_padded, k_padded;
  uint64_t offset, bytes; /* in the packed buffer, whose first 4096 bytes are the runtime's header */
} moec_weight;

/* ---- the plan ------------------------------------------------------------------------------------------------ */

enum {
  MOEC_FEATURE_ROLE_PER_GROUP = 1, /* weights with role_per_group                                                   */
  MOEC_FEATURE_BF16_DOT_TUNED = 2, /* its avx512_bf16 kernels were tuned on the CPU that dot_vendor, dot_family and
                                    * dot_model name: prefer them there, whatever runtime/cpu_features.c says of it  */
  MOEC_KNOWN_FEATURES = 3
};

/* What a plan computes. A backward plan has the roles of its forward plan, and its weights: more may follow them, which
 * only backward reads. */
enum moec_pass { MOEC_PASS_FORWARD = 0, MOEC_PASS_BACKWARD = 1 };

typedef struct moec_plan_header {
  uint32_t magic;
  uint16_t abi_major, abi_minor;
  uint32_t header_bytes, buffer_bytes, step_bytes, role_bytes, weight_bytes; /* sizeof each struct */
  uint32_t features;         /* MOEC_FEATURE_*: bits a runtime must know */
  uint32_t isa_mask;         /* bit i: the package holds kernels for ISA i */
  uint32_t determinism;      /* 0: CUDA kernels add a token's rows in any order, CPU kernels behave as with 1; 1: bits
                          * repeat from run to run; 2: a row's bits do not depend on other rows */
  uint8_t spec_hash[32];     /* the layer's identity: SHA-256 of the canonical spec and of the functions that the
                          * layer applies; of a layer compiled from .mlir, of its text. Also identifies packed
                          * weights */
  uint32_t name;             /* string offset */
  uint32_t x_dtype, y_dtype; /* moec_dtype */
  uint32_t num_experts, top_k;
  int64_t hidden, max_tokens;
  uint32_t num_slots;     /* workspace slots */
  uint32_t scratch_bytes; /* per worker */
  uint64_t packed_bytes;  /* the packed buffer: header page and all weight regions */
  moec_extent items;      /* items of the largest step, without column splits */
  moec_span buffers, steps, args, covers, roles, weights, strings;
  uint32_t total_bytes;
  uint32_t num_report_slots; /* the last ones of num_slots; they take 0 bytes in a call without reports */
  /* CPU: a call of more tokens runs in chunks of so many, one after the other, in the workspace of one; 0: never. Only
   * plans whose tokens do not depend on each other have it: no capacity, top tokens, slots, columns or reports. */
  int64_t chunk_tokens;
  char dot_vendor[16]; /* MOEC_FEATURE_BF16_DOT_TUNED, from CPUID: "AuthenticAMD", NUL-terminated */
  uint32_t dot_family, dot_model;
  uint32_t pass; /* moec_pass */
  uint32_t reserved;
} moec_plan_header;

/* The result of the function that packages export, `const moec_package *NAME_package(void)`. All static storage. */
#ifndef MOEC_PACKAGE_DECLARED /* C99 allows one typedef of a name: moec.h and this header share it */
#define MOEC_PACKAGE_DECLARED
typedef struct moec_package moec_package;
#endif
typedef struct moec_cuda_image {
  const void *data;
  uint64_t bytes;
} moec_cuda_image;
struct moec_package {
  uint32_t magic;
  uint16_t abi_major, abi_minor;
  const void *plan; /* moec_plan_header, MOEC_PLAN_ALIGN aligned */
  uint64_t plan_bytes;
  const moec_kernel_fn *functions;
  uint64_t num_functions;
  const void *cuda_plan; /* moec_cuda_plan_header (moec_cuda_abi.h), 64-byte aligned; NULL: CPU only */
  uint64_t cuda_plan_bytes;
  const moec_cuda_image *images; /* cubins and PTX (NUL-terminated) */
  uint64_t num_images;
  const moec_package *backward; /* the same layer's backward pass, a package of its own; NULL: none */
};

/* Column splits: a matmul step with fewer than MOEC_ITEMS_PER_WORKER items per worker is split by panels into at most
 * that many, so the item array holds items(T) + MOEC_ITEMS_PER_WORKER * max_threads + 1 entries. */
#define MOEC_ITEMS_PER_WORKER 4

/* A change of a size is a change of the ABI: from the first release on, MOEC_ABI_MAJOR or _MINOR goes up with it. */
#if defined(__cplusplus)
#define MOEC_ABI_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type " has another size than the ABI")
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define MOEC_ABI_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has another size than the ABI")
#else
#define MOEC_ABI_SIZE(type, bytes) typedef char type##_size[sizeof(type) == (bytes) ? 1 : -1]
#endif
MOEC_ABI_SIZE(moec_span, 8);
MOEC_ABI_SIZE(moec_extent, 24);
MOEC_ABI_SIZE(moec_buffer, 48);
MOEC_ABI_SIZE(moec_item, 24);
MOEC_ABI_SIZE(moec_call, 48);
MOEC_ABI_SIZE(moec_places, 56);
MOEC_ABI_SIZE(moec_isa_variants, 20);
MOEC_ABI_SIZE(moec_step, 216);
MOEC_ABI_SIZE(moec_role, 48);
MOEC_ABI_SIZE(moec_weight, 56);
MOEC_ABI_SIZE(moec_plan_header, 256);
MOEC_ABI_SIZE(moec_cuda_image, 16);

#ifdef __cplusplus
}
#endif
#endif
