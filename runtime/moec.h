/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec.h - run one compiled MoE layer. C99, libc only.
 *
 * Order      moec_layer_create -> moec_weights_pack, _load or _map -> moec_layer_workspace_bytes
 *            -> moec_layer_forward (any number of times) -> moec_weights_destroy -> moec_layer_destroy
 * Shapes     T tokens, E experts, K choices per token, H hidden. Row-major, no gaps. Sizes in bytes where named so.
 * Threads    a layer and its weights are immutable: any number of threads may share them, one workspace per call.
 * Ownership  the caller owns every buffer it passes, packed weights and workspace included; they must outlive the
 *            objects made from them. Nothing passed in is freed here.
 * Errors     every call returns a status; moec_last_error gives the calling thread's text. After an error outputs are
 *            untouched and every object is as before.
 * Stability  status and dtype values are pinned, new ones are appended; option structs grow at the end.
 */
#ifndef MOEC_H
#define MOEC_H

#include "moec_dtype.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MOEC_API
#else
#define MOEC_API __attribute__((visibility("default")))
#endif

#define MOEC_VERSION_MAJOR 0
#define MOEC_VERSION_MINOR 1
#define MOEC_VERSION_PATCH 0

#ifndef MOEC_PACKAGE_DECLARED
#define MOEC_PACKAGE_DECLARED
typedef struct moec_package moec_package; /* what NAME_package() returns          */
#endif
typedef struct moec_layer moec_layer;     /* opaque; immutable after create       */
typedef struct moec_weights moec_weights; /* opaque; immutable                    */
typedef struct moec_pool moec_pool;       /* opaque; threads that layers share    */

typedef enum moec_status {
  MOEC_OK = 0,
  MOEC_INVALID_ARGUMENT = 1, /* a value out of its range                               */
  MOEC_NULL_POINTER = 2,
  MOEC_SHAPE = 3, /* a tensor's shape differs from its role's               */
  MOEC_DTYPE = 4,
  MOEC_ALIGNMENT = 5,
  MOEC_OVERLAP = 6, /* buffers share bytes that may not                       */
  MOEC_STRIDE = 7,
  MOEC_WORKSPACE_TOO_SMALL = 8,
  MOEC_TOKENS_OUT_OF_RANGE = 9,
  MOEC_INVALID_HANDLE = 10,
  MOEC_UNSUPPORTED_DEVICE = 11,
  MOEC_ISA_MISSING = 12, /* the package holds no kernels this machine can run      */
  MOEC_OUT_OF_MEMORY = 13,
  MOEC_DEVICE_ERROR = 14,
  MOEC_VERSION_MISMATCH = 15, /* package or packed weights made for another version     */
  MOEC_INTERNAL = 16,
  MOEC_MISSING_WEIGHT = 17, /* a role has no tensor                                   */
  MOEC_FILE = 18,           /* cannot open, read or map a file                        */
  MOEC_FILE_FORMAT = 19     /* the file is not what it claims to be                   */
} moec_status;

/* Runs body(body_arg, i, worker) for every i in [0, count) and returns when all are done. Calls may run at the same
 * time on different threads; `worker` is in [0, max_threads) and no two calls running at once share one. */
typedef void (*moec_parallel_for)(void *context, int64_t count, void (*body)(void *body_arg, int64_t i, int32_t worker),
                                  void *body_arg);

/* What a call does that finds its pool running another call. */
enum {
  MOEC_BUSY_ALONE = 0, /* runs on its own thread alone and never waits          */
  MOEC_BUSY_WAIT = 1   /* waits for its turn, first come first served, and then has all workers */
};

typedef struct moec_pool_options {
  size_t struct_size; /* sizeof(moec_pool_options)                                                     */
  int32_t threads;    /* workers, the calling thread included; 0 = the CPUs that this thread may use   */
  int32_t spin_us;    /* how long an idle worker spins before it sleeps; 0 = 50, -1 = sleeps at once   */
  int32_t when_busy;  /* MOEC_BUSY_*                                                                   */
  int32_t reserved;
  /* Runs first on each thread that the pool starts, worker 1 .. threads-1: the place to set its affinity, priority or
   * name. NULL: nothing. The pool itself sets none; threads inherit those of the thread whose call starts them. */
  void (*on_thread_start)(void *context, int32_t worker);
  void *on_thread_start_context;
} moec_pool_options;

/* Where a layer runs. */
enum { MOEC_DEVICE_CPU = 0, MOEC_DEVICE_CUDA = 1 };

/* Zeros in all fields but struct_size are the defaults, as is NULL in place of the options. */
typedef struct moec_layer_options {
  /* sizeof(moec_layer_options); 40 and 56 (ending with `reserved`, `cuda_driver`) are accepted too */
  size_t struct_size;
  int32_t max_threads; /* workers, the calling thread included; 0 = 1, or those of `pool`                      */
  int32_t max_isa;     /* 0 = no limit; else 1 + highest MOEC_ISA_* to use (see moec_abi.h)                    */
  moec_parallel_for parallel_for; /* the host's threads; NULL = `pool`, or a pool of the layer's own, whose
                                   * threads the first call that needs them starts                             */
  void *parallel_for_context;
  int32_t spin_us; /* of the layer's own pool, as in moec_pool_options                                         */
  int32_t reserved;
  int32_t device;          /* MOEC_DEVICE_CPU or MOEC_DEVICE_CUDA; the fields above, and pool, apply to the CPU */
  int32_t cuda_device;     /* 0 (or -1) = the current context's device, or device 0 without a context; else
                            * 1 + its ordinal                                                                  */
  const void *cuda_driver; /* NULL = this machine's driver; an emulator passes its moec_cuda_driver
                            * (runtime/cuda/cuda_driver.h of the sources), which must outlive the layer        */
  moec_pool *pool;         /* threads shared with other layers; NULL = none. Excludes parallel_for and spin_us;
                            * max_threads is 0 or the pool's                                                   */
} moec_layer_options;

typedef struct moec_tensor {
  const char *role; /* "experts.gate", or one expert's part of it: "experts.gate.3". moec_layer_role lists
                     * the roles; where experts differ in width it lists each expert's part             */
  const void *data; /* elements of `dtype`, row-major, no gaps; CUDA layers take host and device memory */
  moec_dtype dtype; /* f32, bf16 or f16, of vectors also i32 and i64, of router.table i32, i64 or f32;
                     * converted to the package's type by round-to-nearest-even                         */
  int32_t rank;
  int64_t dims[4]; /* the role's logical shape: [E, out, in], [out, in] or [n]; of one expert without E   */
} moec_tensor;

/* What a probe is told. */
enum {
  MOEC_PROBE_STEP_BEGIN = 0,
  MOEC_PROBE_STEP_END = 1,   /* all of its units are done  */
  MOEC_PROBE_UNIT_BEGIN = 2, /* `worker` begins `unit`     */
  MOEC_PROBE_UNIT_END = 3
};

/* One event of a call. Strings live as long as the package. */
typedef struct moec_probe_event {
  int32_t event;                   /* MOEC_PROBE_*                                                              */
  int32_t step;                    /* its number in the package; steps that nobody asks for are left out        */
  const char *name;                /* "experts_gate_up", as moec explain prints it                              */
  const char *kind;                /* "rows", "matmul", "columns", "dispatch", "slots", "counts", "capacity" or
                                    * "top_tokens"                                                              */
  int64_t first_token, num_tokens; /* of the call, or of its chunk in a call that runs in chunks                */
  int64_t rows;                    /* rows that the step worked on; 0 in STEP_BEGIN                             */
  int32_t units;                   /* of work that the step was cut into; 0 in STEP_BEGIN, and for steps that one
                                    * thread does                                                               */
  int32_t unit;                    /* 0 .. units-1; -1 in events of steps                                       */
  int32_t worker;                  /* 0 .. max_threads-1 in events of units; -1 in events of steps              */
  int32_t reserved;
} moec_probe_event;

/* Listens to one call. Step events come one at a time, in order, from whichever thread finished the step before, while
 * no unit runs. Unit events come from the thread that runs the unit, at the same time as others'. on_event reads its
 * own clock, may not start a call on the same pool, and delays the call by what it takes. A call without a probe tests
 * a pointer once per step and unit.
 *
 * On CUDA the steps are those of the kernels, and the events lie before and after the launches are put on the stream,
 * not when they run: on_event may put events of its own on the stream (cuEventRecord). rows and units are 0, and units
 * have no events. */
typedef struct moec_probe {
  size_t struct_size; /* sizeof(moec_probe)  */
  void (*on_event)(void *context, const moec_probe_event *event);
  void *context;
  int32_t units; /* 1: also unit events */
  int32_t reserved;
} moec_probe;

typedef struct moec_forward_args {
  /* sizeof(moec_forward_args); 80, 88, 176, 232 and 240 (ending with out_counts, stream, top_k, out_dropped_tokens,
   * probe) are accepted too */
  size_t struct_size;
  int64_t num_tokens;     /* T, 0 .. max_tokens; 0 is MOEC_OK and touches nothing                            */
  const void *x;          /* [T,H] in the layer's input type, 16-byte aligned                                */
  void *y;                /* [T,H] in the layer's output type, 16-byte aligned, overlapping no other buffer  */
  void *workspace;        /* 256-byte aligned; its contents are undefined before and after the call          */
  size_t workspace_bytes; /* at least moec_layer_workspace_bytes(layer, T); with reports, ..._call       */
  float *out_logits;      /* [T,num_logits]: E(+zero experts), two sets of sub-keys, or slots; or NULL       */
  int32_t *out_ids;       /* [T,K] or NULL                                                                   */
  float *out_weights;     /* [T,K] or NULL                                                                   */
  int32_t *out_counts;    /* [E] rows each expert computes, or NULL                                          */
  void *stream;           /* CUDA layers: a CUstream of the layer's context, NULL = its default stream; else NULL */
  /* Inputs that some layers read besides x. The package's header lists those of its layer: set exactly these, leave the
   * others NULL. Values are not validated; an id outside [0, E) selects no expert. */
  int64_t tokens_per_sequence; /* layers that look at whole sequences: T/B, which divides T; 0 = one sequence    */
  const void *residual;        /* [T,H] in the layer's input type, 16-byte aligned                              */
  const float *noise;          /* [T,num_logits] draws: standard normal, or standard Gumbel where the spec says so */
  const float *uniform;        /* [T] draws of [0,1)                                                            */
  const int32_t *token_ids;    /* [T] rows of router.table                                                      */
  const int32_t *expert_ids;   /* [T,K], -1 = none                                                              */
  const float *expert_weights; /* [T,K]                                                                         */
  const int32_t *group_ids;    /* [T] the group of each token: a given first level, or router.token_groups      */
  const float *priority;       /* [T] a larger value takes a place before a smaller one                         */
  const int32_t *capacity;     /* [1] places per expert                                                         */
  const int32_t *top_k;        /* [1] how many of the compiled K choices to use                                 */
  /* Reports: NULL, or where to write one. A call that asks for any needs more workspace:
   * moec_layer_workspace_bytes_call. A package has the reports that its spec lists in "reports", or that moec compile
   * --reports names, as far as the layer can have them; moec_layer_info.reports says which ones it has:
   *
   *   probabilities                 a logit per expert (all routers with logits except product keys)
   *   logit_mean, logit_max         logits
   *   choice_counts, dropped_tokens tokens choose experts
   *   losses                        the spec lists losses; "reports" need not name them
   *   diversity                     tokens choose experts, and not compiled with --det off
   *
   * Means are taken over the tokens that reach the router; layer.wrap may send others around it. A call of 0 tokens
   * writes no report. */
  /* [T,n] scores over their sum; softmax of the logits for softmax and identity; n = num_logits */
  float *out_probabilities;
  int32_t *out_choice_counts;  /* [num_choice_counts] choices on every expert before drops, zero experts last   */
  float *out_losses;           /* [num_losses] values of the spec's losses, in its order, without coefficients  */
  float *out_logit_mean;       /* [1] mean of |logit|                                                           */
  float *out_logit_max;        /* [1] largest |logit|; NaN does not count, so look at the mean too              */
  float *out_diversity;        /* [1] mean over tokens with at least two experts of sum_{i<j} |o_i - o_j|^2 /
                                * ((K-1) sum_j |o_j|^2): 0 if all outputs agree, 1 if they are orthogonal       */
  int32_t *out_dropped_tokens; /* [1] tokens that chose experts but reach none                                  */
  const moec_probe *probe;     /* told of the steps of this call; NULL = none                                   */
  /* Layers with a backward pass: where to keep what moec_layer_backward needs of it, 256-byte aligned; or NULL */
  void *saved;
  size_t saved_bytes; /* at least moec_layer_saved_bytes                                                        */
  /* Further inputs of layers with a backward pass, where their spec has what is random in training: as above, the
   * package's header lists them. A call that is to do nothing random gets the values in brackets. K is the number of
   * choices: experts for expert_choice and dense. With soft routing hidden_mask is [B,S,I] and output_mask [B,S,N], a
   * row for each slot: S = experts * slots, slots of expert 0 first; B is the number of sequences, or 1 where slots mix
   * all tokens of a call (router.scope batch). moec_layer_input_elements says how long an input is. */
  const float *jitter;        /* [T,H] draws of [0,1): what the router reads times 1 - e + 2 e u (1/2)           */
  const float *replace;       /* [T,K] draws of [0,1) that are below p where an id is replaced (1) ...           */
  const int32_t *replace_ids; /* [T,K] ... by these                                                              */
  const float *hidden_mask;   /* [T,K*I] factors of inner values, 0 or 1 / (1 - p); I: the widest expert's (1)   */
  const float *output_mask;   /* [T,K*N] factors of experts' outputs; N = H, or the latent width (1)             */
  const float *expert_mask;   /* [T,E] 0: the token does without the expert, zero experts last (1)               */
  const float *midpoint_mask; /* [T,2] sparsemixer: 0 where a sample of expert_ids weighs a third (1)            */
} moec_forward_args;

/* A backward call: the gradients of  sum_{t,h} grad_y[t,h] y[t,h] + sum_l grad_losses[l] losses[l]. */
typedef struct moec_backward_args {
  size_t struct_size; /* sizeof(moec_backward_args)                                                         */
  int64_t num_tokens; /* T and tokens_per_sequence of the forward call; 0 tokens is MOEC_OK: gradients of
                           * parameters become 0, or stay if accumulate is 1                                    */
  int64_t tokens_per_sequence;
  const void *x;            /* [T,H] of the forward call, unchanged, as are all inputs below                      */
  const void *grad_y;       /* [T,H] in the layer's output type, 16-byte aligned                                  */
  const float *grad_losses; /* [num_losses] what each loss counts in the total, its coefficient; NULL = zeros   */
  const void *saved;        /* what the forward call kept; any number of backward calls may read it               */
  size_t saved_bytes;
  void *workspace;            /* 256-byte aligned; its contents are undefined before and after the call             */
  size_t workspace_bytes;     /* at least moec_layer_backward_workspace_bytes                                       */
  void *grad_x;               /* [T,H] in the layer's input type, 16-byte aligned, or NULL                          */
  void *grad_residual;        /* [T,H] in the layer's input type, 16-byte aligned, or NULL                          */
  float *grad_expert_weights; /* [T,K] or NULL                                                                  */
  /* [num_roles] by the index of moec_layer_role, each of the role's logical shape without gaps, 16-byte aligned. A NULL
   * entry is not computed where nothing else needs it. NULL in place of the array: none. */
  void *const *grad_parameters;
  int32_t grad_dtype; /* of the gradients of matrices: MOEC_F32 or the weights' type; those of vectors are f32 */
  int32_t accumulate; /* 0: gradients of parameters overwrite, 1: they are added to what the buffers hold    */
  void *stream;       /* as in moec_forward_args                                                            */
  const void *residual;
  const float *noise;
  const float *uniform;
  const int32_t *token_ids;
  const int32_t *expert_ids;
  const float *expert_weights;
  const int32_t *group_ids;
  const float *priority;
  const int32_t *capacity;
  const int32_t *top_k;
  const moec_probe *probe;
  const float *jitter;
  const float *replace;
  const int32_t *replace_ids;
  const float *hidden_mask;
  const float *output_mask;
  const float *expert_mask;
  const float *midpoint_mask;
} moec_backward_args;

/* Which reports a layer has, in moec_layer_info.reports. */
enum {
  MOEC_REPORT_PROBABILITIES = 1,
  MOEC_REPORT_CHOICE_COUNTS = 2,
  MOEC_REPORT_LOSSES = 4,
  MOEC_REPORT_LOGIT_MEAN = 8,
  MOEC_REPORT_LOGIT_MAX = 16,
  MOEC_REPORT_DIVERSITY = 32,
  MOEC_REPORT_DROPPED_TOKENS = 64
};

/* Facts of a layer that never change. */
typedef struct moec_layer_info {
  size_t struct_size; /* sizeof(moec_layer_info); 96 and 104 (ending with `device`, `cuda_sm`) are accepted too */
  const char *name;   /* package's storage */
  int64_t hidden, num_experts, top_k, max_tokens;
  int64_t num_logits; /* columns of out_logits, out_probabilities and noise */
  moec_dtype x_dtype, y_dtype;
  int32_t isa;          /* MOEC_ISA_* in use, -1 on CUDA */
  const char *isa_name; /* "amx", "avx512_bf16", ... "baseline"; "sm_90a", "sm_80": lives as long as the layer */
  /* 0: bits may differ from run to run; 1: bits repeat; 2: a row's bits do not depend on other rows */
  int32_t determinism;
  int32_t max_threads, num_roles;
  int32_t device;            /* MOEC_DEVICE_* */
  int32_t cuda_sm;           /* of the kernels in use: 90 for sm_90a; 0 on the CPU */
  int32_t num_losses;        /* of out_losses, 0: none */
  int32_t num_choice_counts; /* of out_choice_counts: routed plus zero experts, 0: none */
  uint32_t reports;          /* MOEC_REPORT_* bits */
  int32_t trains;            /* 1: the package has a backward pass */
} moec_layer_info;

/* The version of this runtime, "0.1.0"; MOEC_VERSION_* is that of the header. Static storage. */
MOEC_API const char *moec_version(void);

/* Threads for any number of layers of any packages (moec_layer_options.pool), so that a program has as many threads as
 * it has CPUs, and not as many as layers. The first call that needs them starts them; idle ones spin for spin_us and
 * then sleep. The pool runs one call at a time: when_busy says what others do meanwhile. Any number of threads may call
 * at the same time. options may be NULL. MOEC_NULL_POINTER, MOEC_INVALID_ARGUMENT, MOEC_VERSION_MISMATCH,
 * MOEC_OUT_OF_MEMORY. */
MOEC_API moec_status moec_pool_create(const moec_pool_options *options, moec_pool **out_pool);

/* NULL is allowed. The pool is usable until its last layer is destroyed; its threads are joined then, or here if it has
 * none. Not during a call of this thread on it. */
MOEC_API void moec_pool_destroy(moec_pool *pool);

/* Creates a layer from a package for this machine. It uses the best ISA in the package that the machine has and that
 * neither options->max_isa nor the environment variable MOEC_MAX_ISA (amx, avx512_bf16, avx512, avx2, baseline; read
 * only here) excludes. The best is the highest, except that avx512 is preferred to avx512_bf16 on processors whose bf16
 * dot product is slow (runtime/cpu_features.c lists the fast ones), unless the limit names avx512_bf16 itself or the
 * package was tuned on such a processor.
 * options may be NULL. MOEC_VERSION_MISMATCH, MOEC_ISA_MISSING, MOEC_OUT_OF_MEMORY, MOEC_INVALID_ARGUMENT.
 *
 * On CUDA it picks the package's kernels for the device's compute capability, and everything slow happens here: it
 * opens the driver library, loads the image, looks up every kernel and sets its shared memory. If the calling thread's
 * current context belongs to the device, the layer lives in that context, which must outlive it; otherwise it retains
 * the device's primary context. No call of this API changes the current context. Do not call this while a stream is
 * being captured. MOEC_UNSUPPORTED_DEVICE: no driver, a driver too old for the images, or no kernels for the device;
 * MOEC_DEVICE_ERROR: the driver refused; the text holds its message. */
MOEC_API moec_status moec_layer_create(const moec_package *package, const moec_layer_options *options,
                                       moec_layer **out_layer);

/* NULL is allowed. Destroy the layer's weights first. */
MOEC_API void moec_layer_destroy(moec_layer *layer);

MOEC_API moec_status moec_layer_get_info(const moec_layer *layer, moec_layer_info *out_info);

/* Role `index` of the layer's parameters: name (package's storage), rank and logical dims. */
MOEC_API moec_status moec_layer_role(const moec_layer *layer, int32_t index, const char **out_name, int32_t *out_rank,
                                     int64_t out_dims[4]);

/* Bytes of the buffer that the caller allocates for packed weights: 64-byte aligned, 4096-byte aligned if it will be
 * mapped from a file. A CUDA layer's buffer is memory of its device, 64-byte aligned, preferably 256.
 *
 * On Linux, pages of 2 MiB make calls with few tokens up to a quarter faster: moec_weights_pack and _load advise the
 * kernel to use them, which it follows for memory that has not been written yet. */
MOEC_API moec_status moec_layer_weights_bytes(const moec_layer *layer, size_t *out_bytes);

/* Packs the roles' tensors into `buffer` (moec_layer_weights_bytes bytes, 64-byte aligned). A role with an expert axis
 * [E, ...] is one tensor, or E tensors of one type, "ROLE.0" .. "ROLE.E-1" in any order, each at its own address. The
 * buffer then holds a header, with a checksum where the CPU packed it, and every region. It may be written to a file
 * unchanged and adopted later by moec_weights_map; the program `moec pack` makes the same file.
 * MOEC_MISSING_WEIGHT, MOEC_SHAPE, MOEC_DTYPE, MOEC_WORKSPACE_TOO_SMALL, MOEC_ALIGNMENT; the text names the role.
 *
 * On CUDA the call returns when the weights are on the device. Meanwhile it uses at most 64 MiB of host memory, or one
 * row of a matrix if that is more. Tensors in device memory must be complete. Do not call this during capture. After
 * MOEC_DEVICE_ERROR the buffer's contents are undefined. */
MOEC_API moec_status moec_weights_pack(const moec_layer *layer, const moec_tensor *tensors, size_t count, void *buffer,
                                       size_t buffer_bytes, moec_weights **out_weights);

/* The same from a checkpoint through the spec's `weights` map; `prefix` (may be NULL) goes before every tensor name.
 * `path` is one of
 *
 *   a safetensors file
 *   an index of shards        model.safetensors.index.json; its shards lie in its folder
 *   a folder                  its model.safetensors, otherwise its model.safetensors.index.json, otherwise its only
 *                             *.safetensors.index.json, otherwise its only *.safetensors
 *
 * Only the shards that hold the layer's tensors are opened. Files are mapped while the call runs and never read past
 * their end. Tensors that the layer does not take may have any type and shape. Also
 *
 *   MOEC_FILE                 a file or a shard is missing or cannot be read, or a folder does not say what to read
 *   MOEC_FILE_FORMAT          damaged, or not safetensors: the text says what it is instead (a git-lfs pointer, a
 *                             pickle); an index that leaves its folder; a tensor that is in two shards
 *   MOEC_MISSING_WEIGHT       a tensor is not in the file or index, or not in the shard that the index names
 *   MOEC_SHAPE                also if there are more experts than the layer has; to take some of a checkpoint's
 *                             experts, pass them to moec_weights_pack
 *   MOEC_DTYPE                also if router.table is not I32 or I64 */
MOEC_API moec_status moec_weights_load(const moec_layer *layer, const char *path, const char *prefix, void *buffer,
                                       size_t buffer_bytes, moec_weights **out_weights);

/* A checkpoint, as moec_weights_load takes it, and what goes before the names of the layer's tensors in it. */
typedef struct moec_weights_source {
  const char *path, *prefix; /* prefix may be NULL */
} moec_weights_source;

/* The same from 1 to 16 checkpoints together, for example a base and an adapter. A tensor is taken from the last source
 * that has it behind its own prefix, so an adapter may also replace tensors of the base. Errors of
 * moec_weights_load. */
MOEC_API moec_status moec_weights_load_sources(const moec_layer *layer, const moec_weights_source *sources,
                                               size_t count, void *buffer, size_t buffer_bytes,
                                               moec_weights **out_weights);

enum {
  MOEC_MAP_VERIFY = 1 /* compare the buffer with the checksum that packing wrote into its header */
};

/* Adopts a buffer of weights that were packed for the same spec. `flags` is 0 or MOEC_MAP_*. Without VERIFY it looks at
 * the first page only. VERIFY reads every byte once, on the layer's threads: about 0.1 s per GB on one thread if the
 * bytes are in memory, else the time of the disk; on CUDA the buffer is copied to the host for it.
 * MOEC_VERSION_MISMATCH if the header names another spec, layout or format, or if VERIFY finds no checksum in it,
 * because an older moec or a GPU packed the weights. MOEC_FILE_FORMAT if the checksum differs; the text says where the
 * buffer changed. MOEC_OUT_OF_MEMORY, MOEC_DEVICE_ERROR: VERIFY on CUDA. */
MOEC_API moec_status moec_weights_map(const moec_layer *layer, const void *buffer, size_t buffer_bytes, uint32_t flags,
                                      moec_weights **out_weights);

MOEC_API void moec_weights_destroy(moec_weights *weights); /* NULL is allowed; the buffer stays the caller's */

/* Workspace bytes of a call with num_tokens tokens, one sequence and no reports: never smaller for more tokens, and the
 * formula that the manifest states. */
MOEC_API moec_status moec_layer_workspace_bytes(const moec_layer *layer, int64_t num_tokens, size_t *out_bytes);

/* The same for sequences of tokens_per_sequence tokens. More sequences need more only in layers that store something
 * per sequence (slots, tokens taken per sequence). */
MOEC_API moec_status moec_layer_workspace_bytes_for(const moec_layer *layer, int64_t num_tokens,
                                                    int64_t tokens_per_sequence, size_t *out_bytes);

/* The same for the call that `args` describes. Reads struct_size, num_tokens, tokens_per_sequence, and whether any
 * report (out_probabilities and below) is not NULL. */
MOEC_API moec_status moec_layer_workspace_bytes_call(const moec_layer *layer, const moec_forward_args *args,
                                                     size_t *out_bytes);

/* y[t,:] = the layer's output for token t. Allocates nothing, except that the first call that needs the layer's own
 * pool starts its threads. Reads no file and no environment variable, writes no log, reads the clock only to bound
 * spinning. The result's bits depend only on the inputs and the ISA, not on threads, timing or the workspace's
 * contents.
 *
 * On CUDA every pointer in `args` is memory of the layer's device and the call is asynchronous: it enqueues a bounded
 * number of kernels on `stream` and returns. MOEC_OK means that they were accepted; faults appear when the caller
 * waits. It allocates nothing, waits for nothing and may be captured into a graph. Until the kernels have run, the
 * buffers must stay alive and no other call may use the workspace; any number of threads and streams may share layer
 * and weights. MOEC_DEVICE_ERROR names the stage and the kernel that the driver refused; earlier kernels may run, so y
 * is undefined. MOEC_TOKENS_OUT_OF_RANGE also means a grid of more than 2^31-1 blocks. */
MOEC_API moec_status moec_layer_forward(const moec_layer *layer, const moec_weights *weights,
                                        const moec_forward_args *args);

/* Bytes of moec_forward_args.saved for a call of num_tokens tokens in sequences of tokens_per_sequence (0: one): never
 * smaller for more tokens, 0 for layers without a backward pass. */
MOEC_API moec_status moec_layer_saved_bytes(const moec_layer *layer, int64_t num_tokens, int64_t tokens_per_sequence,
                                            size_t *out_bytes);

/* Workspace bytes of a backward call. MOEC_INVALID_ARGUMENT for layers without a backward pass. */
MOEC_API moec_status moec_layer_backward_workspace_bytes(const moec_layer *layer, int64_t num_tokens,
                                                         int64_t tokens_per_sequence, size_t *out_bytes);

/* Elements of the input `name` ("x", or the name of an input's field of moec_forward_args) in calls of num_tokens
 * tokens in sequences of tokens_per_sequence (0: one). Any number of threads may call at the same time.
 * MOEC_INVALID_ARGUMENT: the layer lacks the input, or tokens_per_sequence does not divide num_tokens;
 * MOEC_TOKENS_OUT_OF_RANGE, MOEC_NULL_POINTER. */
MOEC_API moec_status moec_layer_input_elements(const moec_layer *layer, const char *name, int64_t num_tokens,
                                               int64_t tokens_per_sequence, int64_t *out_elements);

/* What moec_layer_role_gradient says of a role. */
enum {
  MOEC_GRADIENT_NONE = 0,   /* the spec freezes it, or nothing that y or a loss depends on reads it */
  MOEC_GRADIENT_VECTOR = 1, /* its gradient is f32                                                  */
  MOEC_GRADIENT_MATRIX = 2  /* its gradient is of moec_backward_args.grad_dtype                     */
};

/* The gradient of role `index`: one of MOEC_GRADIENT_*. */
MOEC_API moec_status moec_layer_role_gradient(const moec_layer *layer, int32_t index, int32_t *out_kind);

/* The gradients of a forward call with `saved`, with the weights of that call. Allocates nothing, as
 * moec_layer_forward; the bits depend only on the inputs and the ISA. An expert without tokens has gradients of exactly
 * 0 (accumulate 1: its buffer is not touched). MOEC_INVALID_ARGUMENT for a layer without a backward pass
 * ("passes": ["forward", "backward"] in its spec), a dtype that is not one of the two, or a gradient that the layer
 * does not have; otherwise the errors of moec_layer_forward. */
MOEC_API moec_status moec_layer_backward(const moec_layer *layer, const moec_weights *weights,
                                         const moec_backward_args *args);

/* Statistics of the load f_e = counts_e / sum, from counts [num_experts] in host memory: rows or choices per expert. */
typedef struct moec_load {
  int64_t total;        /* sum of the counts                                                     */
  int64_t dead_experts; /* experts with count 0                                                  */
  double entropy;       /* -sum f log f in nats; log(num_experts) if all counts are equal        */
  double variation;     /* coefficient of variation: standard deviation (population) over mean   */
  double max_share;     /* largest f                                                             */
} moec_load;

/* Fills all zeros if the total is 0. MOEC_NULL_POINTER; MOEC_INVALID_ARGUMENT for num_experts < 1 or a negative
 * count. */
MOEC_API moec_status moec_load_of_counts(const int32_t *counts, int64_t num_experts, moec_load *out_load);

/* Updates a router's choice bias after a training step: b_e += rate * sign(mean(counts) - counts_e), then, if `centre`
 * is not 0, b_e -= mean(b). `counts` are the whole batch's choices before drops; both arrays are host memory. The new
 * bias takes effect when the layer's weights are packed again. MOEC_NULL_POINTER, MOEC_INVALID_ARGUMENT. */
MOEC_API moec_status moec_update_choice_bias(float *bias, const int32_t *counts, int64_t num_experts, float rate,
                                             int32_t centre);

/* Updates the capacity factor from the variation v of the load: v < 0.1 gives max(1.1, factor - 0.1), v > 0.5 gives
 * min(3.0, factor + 0.1); otherwise, and if the total is 0, factor stays. With capacity.mode dynamic the next call's
 * capacity is ceil(factor * T * K / E). MOEC_NULL_POINTER, MOEC_INVALID_ARGUMENT. */
MOEC_API moec_status moec_next_capacity_factor(const int32_t *counts, int64_t num_experts, double *factor);

MOEC_API const char *moec_status_name(moec_status status); /* "MOEC_SHAPE"; never NULL */

/* Copies the text of this thread's last error, NUL-terminated and cut to n bytes; returns its full length. */
MOEC_API size_t moec_last_error(char *buffer, size_t n);

/* Highest MOEC_ISA_* that this machine can run. AMX needs the kernel's permission, requested once per process. */
MOEC_API int32_t moec_cpu_isa(void);
MOEC_API const char *moec_isa_name(int32_t isa);

#ifdef __cplusplus
}
#endif
#endif
