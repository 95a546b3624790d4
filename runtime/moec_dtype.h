/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * moec_dtype.h - element types, by the numbers that the API, packages and packed weights share.
 */
#ifndef MOEC_DTYPE_H
#define MOEC_DTYPE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moec_dtype {
  MOEC_F32 = 0,
  MOEC_BF16 = 1,
  MOEC_F16 = 2,
  MOEC_I32 = 3,
  MOEC_FP8E4M3 = 4,
  MOEC_FP8E5M2 = 5,
  MOEC_I8 = 6,
  MOEC_I4 = 7,
  MOEC_MXFP4 = 8,
  MOEC_U8 = 9,
  MOEC_I64 = 10,
  MOEC_F64 = 11
} moec_dtype;

/* Bytes of one element; 0 for types that the runtime does not compute with. */
static inline int64_t moec_dtype_bytes(uint32_t dtype) {
  switch (dtype) {
  case MOEC_F32:
  case MOEC_I32:
    return 4;
  case MOEC_BF16:
  case MOEC_F16:
    return 2;
  case MOEC_I64:
    return 8;
  default:
    return 0;
  }
}

#ifdef __cplusplus
}
#endif
#endif
