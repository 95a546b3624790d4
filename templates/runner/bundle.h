/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * bundle.h - a folder that `moec tune --prepare` wrote -> its stages, ranges and candidates.
 *
 * bundle.json (codegen/search/BundleText.h shows it) is read and checked once: all numbers that size memory or count
 * loops lie within limits, all texts are present. Texts point into the bundle.
 */
#ifndef RUNNER_BUNDLE_H
#define RUNNER_BUNDLE_H

#include "json.h"

#include "runtime/moec_abi.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bundle_candidate {
  const char *kernel;                 /* as a record says it */
  const char *template_hash;          /* of the kernel's template; NULL: moec's own */
  const char *changes;                /* of the default, for people; "" for the default */
  int64_t function;                   /* in the library's table; -1: it could not be built */
  const char *failed;                 /* then: why */
  int64_t panel_m;                    /* rows of a block at most */
  int same_bits;                      /* as the default's, by the promise of its numeric */
  const char *library, *library_hash; /* of a call: the package; else NULL */
  int64_t library_bytes;
} bundle_candidate;

typedef struct bundle_range {
  const char *rows_text;          /* "9..12" */
  const char *head, *choice_head; /* of a record, up to "machine": */
  const char *library;            /* below the folder */
  int64_t library_bytes;
  const char *library_hash, *reference; /* hash_text; reference NULL: unknown, else of what the default computes */
  int64_t rows;                         /* of a timed block */
  const int64_t *counts;                /* of rows of a block at which candidates are checked, ascending */
  size_t num_counts;
  bundle_candidate *candidates; /* [0]: the default */
  size_t num_candidates;
} bundle_range;

typedef enum fill_kind { FILL_NORMAL, FILL_ROW_TOKEN, FILL_OUTPUT } fill_kind;

typedef struct bundle_argument {
  fill_kind fill;
  int64_t bytes;
  int32_t type;  /* of elements: MOEC_F32, MOEC_BF16, MOEC_F16 */
  uint64_t seed; /* of FILL_NORMAL */
} bundle_argument;

typedef struct bundle_stage {
  const char *name, *isa_name;
  int32_t isa;
  int64_t n, groups, panels, panel_bytes, item_panels, max_rows, total_rows, out_stride, scratch_bytes;
  double panel_flops; /* of one row */
  int32_t out_type;
  bundle_argument *arguments;
  size_t num_arguments;
  bundle_range *ranges;
  size_t num_ranges;
} bundle_stage;

/* A range of tokens of a stage for a GPU; every candidate is a package. Of `range` rows, counts and library are not
 * used. */
typedef struct bundle_call {
  bundle_range range;
  const char *stage, *target;
  int64_t sm; /* least compute capability; the only one if `exact` */
  int exact;
  int backward;          /* the stage's pass, whose calls are compared and timed */
  const int64_t *tokens; /* of these calls */
  size_t num_tokens;
} bundle_call;
enum { MAX_CALL_CANDIDATES = 64 };

typedef struct bundle {
  char *dir, *text;
  const char *name, *stamp; /* the layer; a record's stamp up to its date */
  const char *moec;         /* version that prepared it */
  int64_t tokens;           /* of a call: rows of a gathered A */
  double minimum_gain;
  bundle_stage *stages;
  size_t num_stages;
  bundle_call *calls; /* a bundle has stages or calls */
  size_t num_calls;
  void *owned[3]; /* freed by bundle_free */
} bundle;

/* 0; else a message is on stderr and the exit code is returned: 8 cannot be read, 3 it is not a bundle. */
int bundle_read(bundle *out, const char *dir);
void bundle_free(bundle *b);

/* 16 hexadecimal digits of the 64-bit FNV-1a hash. */
#define HASH_START 0xcbf29ce484222325u
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
void hash_text(uint64_t hash, char out[17]);

/* Whether the library is the one that was prepared; else a message is on stderr. */
int file_is_whole(const bundle *b, const char *library, int64_t bytes, const char *hash, char *path, size_t size);
int library_is_whole(const bundle *b, const bundle_range *range, char *path, size_t size);

/* Prints "run: error[CODE]: ..." on stderr. */
void complain(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
