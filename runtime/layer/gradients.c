/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * gradients.c - see gradients.h.
 */
#include "runtime/layer/gradients.h"

#include "runtime/weights/float_convert.h"

#include <string.h>

static void store_f32(float *to, const float *values, int64_t count, int add) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = add ? to[i] + values[i] : values[i];
}

static void store_short(uint16_t *to, const float *values, int64_t count, int add, int32_t dtype) {
  for (int64_t i = 0; i < count; ++i) {
    float old = !add ? 0 : dtype == MOEC_BF16 ? moec_f32_of_bf16(to[i]) : moec_f32_of_f16(to[i]);
    float value = add ? old + values[i] : values[i];
    to[i] = dtype == MOEC_BF16 ? moec_bf16_of_f32(value) : moec_f16_of_f32(value);
  }
}

/* `rows` rows of `columns` values, which are `stride` values apart. */
static void store_rows(const moec_role *role, char *to, const float *values, int64_t rows, int64_t columns,
                       int64_t stride, const moec_backward_args *args) {
  int32_t dtype = role->matrix ? args->grad_dtype : MOEC_F32;
  for (int64_t r = 0; r < rows; ++r, values += stride, to += columns * moec_dtype_bytes((uint32_t)dtype)) {
    if (dtype == MOEC_F32)
      store_f32((float *)(void *)to, values, columns, args->accumulate);
    else
      store_short((uint16_t *)(void *)to, values, columns, args->accumulate, dtype);
  }
}

static int64_t elements_of(const moec_role *role) {
  int64_t count = 1;
  for (int i = 0; i < role->rank; ++i)
    count *= role->dims[i];
  return count;
}

void moec_store_gradient(const moec_plan *plan, const moec_buffer *shape, const float *values,
                         const moec_buffer *gradient, const moec_backward_args *args) {
  if (!args->grad_parameters)
    return;
  if (!gradient->route) {
    void *to = args->grad_parameters[gradient->slot];
    const moec_role *role = &plan->roles[gradient->slot];
    int64_t count = elements_of(role);
    if (to)
      store_rows(role, to, values, 1, count, count, args);
    return;
  }
  int64_t class_elements = shape->bytes.fixed / 4 / gradient->route;
  for (uint32_t g = 0; g < gradient->route; ++g) {
    const moec_role *role = &plan->roles[gradient->slot + g];
    void *to = args->grad_parameters[gradient->slot + g];
    int64_t columns = role->dims[role->rank - 1];
    if (to)
      store_rows(role, to, values + g * class_elements, elements_of(role) / columns, columns,
                 role->rank > 1 ? (int64_t)shape->row_stride / 4 : columns, args);
  }
}
