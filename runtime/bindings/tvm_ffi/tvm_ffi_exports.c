/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * tvm_ffi_exports.c - the functions that a package offers to frameworks. README.md documents them.
 */
#include "runtime/bindings/tvm_ffi/ffi_arguments.h"
#include "runtime/bindings/tvm_ffi/ffi_backward.h"
#include "runtime/bindings/tvm_ffi/ffi_bind.h"
#include "runtime/bindings/tvm_ffi/ffi_forward.h"
#include "runtime/bindings/tvm_ffi/ffi_info.h"
#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_pack.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"
#include "runtime/bindings/tvm_ffi/ffi_value.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* int __tvm_ffi_NAME(...) around moec_status NAME(args, count, result) */
#define EXPORT(name)                                                                                                   \
  static moec_status name(const moec_ffi_value *args, int32_t count, moec_ffi_value *result);                          \
  __attribute__((visibility("default"))) moec_ffi_function __tvm_ffi_##name;                                           \
  int __tvm_ffi_##name(void *self, const moec_ffi_value *args, int32_t count, moec_ffi_value *result) {                \
    (void)self;                                                                                                        \
    return moec_ffi_finish(#name, name(args, count, result));                                                          \
  }                                                                                                                    \
  static moec_status name(const moec_ffi_value *args, int32_t count, moec_ffi_value *result)

/* forward(x, weights, y) */
EXPORT(forward) {
  moec_ffi_call call = {.weights = NULL};
  (void)result;
  if (count != 3)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d arguments, expected x, weights, y", (int)count);
  moec_status status = moec_ffi_expect_tensor("x", &args[0], &call.tensors[MOEC_ROLE_X]);
  if (status == MOEC_OK)
    status = moec_ffi_expect_tensor("weights", &args[1], &call.weights);
  if (status == MOEC_OK)
    status = moec_ffi_expect_tensor("y", &args[2], &call.tensors[MOEC_ROLE_Y]);
  return status == MOEC_OK ? moec_ffi_forward(&call) : status;
}

/* ---- call -------------------------------------------------------------------------------------------------------- */

static moec_status expect_names(const moec_ffi_value *args, int32_t count, moec_ffi_bytes *out_names) {
  char found[192] = "missing";
  if (count > 0 && moec_ffi_text_of(&args[0], out_names))
    return MOEC_OK;
  if (count > 0)
    moec_ffi_describe(&args[0], found, sizeof(found));
  return moec_error(MOEC_DTYPE, "the first argument is %s, expected the names of the others: \"x,weights,y,ids\"",
                    found);
}

static moec_status expect_as_many(int32_t values, int32_t named) {
  return named == values
             ? MOEC_OK
             : moec_error(MOEC_INVALID_ARGUMENT, "%d arguments follow the names, expected %d", (int)values, (int)named);
}

/* call("x,weights,y,ids", x, weights, y, ids) */
EXPORT(call) {
  moec_ffi_call call = {.weights = NULL};
  moec_ffi_bytes names = {"", 0};
  int32_t named = 0;
  (void)result;
  moec_status status = expect_names(args, count, &names);
  while (status == MOEC_OK && names.size) {
    moec_ffi_bytes name = moec_ffi_next_name(&names);
    ++named;
    if (named < count)
      status = moec_ffi_take_argument(name, &args[named], &call);
  }
  if (status == MOEC_OK)
    status = expect_as_many(count - 1, named);
  return status == MOEC_OK ? moec_ffi_forward(&call) : status;
}

/* backward("x,weights,saved,grad_y,grad_x,experts.gate", ...) */
EXPORT(backward) {
  moec_ffi_bytes names = {"", 0}, rest;
  int32_t named = 0;
  (void)result;
  moec_status status = expect_names(args, count, &names);
  for (rest = names; status == MOEC_OK && rest.size; ++named)
    (void)moec_ffi_next_name(&rest);
  if (status == MOEC_OK)
    status = expect_as_many(count - 1, named);
  return status == MOEC_OK ? moec_ffi_backward(names, args + 1, named) : status;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* pack(buffer, role, tensor, role, tensor, ...) or pack("role,role,...", tensor, tensor, ..., buffer) */
EXPORT(pack) {
  (void)result;
  return moec_ffi_pack(args, count);
}

/* load(buffer, path) or load(buffer, path, prefix) */
EXPORT(load) {
  (void)result;
  return moec_ffi_load(args, count);
}

/* bind("call", names), bind("backward", names), bind("pack", roles), bind("load", path[, prefix]): functions of their
 * other arguments */
EXPORT(bind) {
  static const struct {
    const char *name;
    moec_ffi_function *function;
    int behind; /* its texts come behind its tensors */
  } functions[] = {{"call", __tvm_ffi_call, 0},
                   {"backward", __tvm_ffi_backward, 0},
                   {"pack", __tvm_ffi_pack, 0},
                   {"load", __tvm_ffi_load, 1}};
  moec_ffi_bytes name = {"", 0};
  if (count > 1 && moec_ffi_text_of(&args[0], &name))
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); ++i)
      if (moec_ffi_equal(name, functions[i].name))
        return moec_ffi_bind(functions[i].function, args + 1, count - 1, functions[i].behind, result);
  return moec_error(MOEC_INVALID_ARGUMENT,
                    "expected \"call\" or \"backward\" and names, \"pack\" and roles, or \"load\" "
                    "and a path");
}

/* ---- facts ------------------------------------------------------------------------------------------------------- */

/* What the functions below take behind their own arguments, in any order. */
typedef struct moec_ffi_facts {
  moec_ffi_device device;
  moec_ffi_bytes names;
  int64_t numbers[2];
  int num_numbers;
} moec_ffi_facts;

static moec_status read_facts(const moec_ffi_value *args, int32_t count, int max_numbers, int names,
                              moec_ffi_facts *out) {
  *out = (moec_ffi_facts){.device = moec_ffi_default_device(), .names = {"", 0}};
  for (int32_t i = 0; i < count; ++i) {
    const moec_ffi_tensor *tensor = moec_ffi_tensor_of(&args[i]);
    moec_ffi_tensor place = {.device = args[i].as.device};
    char found[192];
    if (args[i].type == MOEC_FFI_NONE || (names && moec_ffi_text_of(&args[i], &out->names)))
      continue;
    if (tensor || args[i].type == MOEC_FFI_DEVICE) {
      moec_status status = moec_ffi_device_of("the argument", tensor ? tensor : &place, &out->device);
      if (status != MOEC_OK)
        return status;
    } else if (out->num_numbers < max_numbers && moec_ffi_integer_of(&args[i], &out->numbers[out->num_numbers])) {
      ++out->num_numbers;
    } else {
      moec_ffi_describe(&args[i], found, sizeof(found));
      return moec_error(MOEC_DTYPE, "argument %d is %s, expected %s%sa device or a tensor on it", (int)i + 1, found,
                        max_numbers ? "an integer, " : "", names ? "names of arguments, " : "");
    }
  }
  return MOEC_OK;
}

/* weights_bytes([device]) */
EXPORT(weights_bytes) {
  moec_ffi_facts facts;
  moec_ffi_layer *layer = NULL;
  moec_status status = read_facts(args, count, 0, 0, &facts);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(facts.device, &layer);
  if (status == MOEC_OK)
    moec_ffi_return_integer((int64_t)layer->weights_bytes, result);
  return status;
}

/* Does the list name a report? */
static moec_status find_reports(moec_ffi_bytes names, int *out_reports) {
  *out_reports = 0;
  while (names.size) {
    uint32_t role;
    enum moec_ffi_call_word word;
    moec_ffi_bytes name = moec_ffi_next_name(&names);
    if (!moec_ffi_find_argument(name, &role, &word))
      return moec_error(MOEC_INVALID_ARGUMENT, "\"%.*s\" is not the name of an argument; info() lists them",
                        (int)moec_whole_characters(name.data, name.size, 32), name.data);
    *out_reports |= moec_is_report_role(role);
  }
  return MOEC_OK;
}

/* workspace_bytes(T[, tokens_per_sequence][, names of a call][, device]) */
EXPORT(workspace_bytes) {
  static float asked; /* the address says that a call asks for reports */
  moec_ffi_facts facts;
  moec_ffi_layer *layer = NULL;
  moec_forward_args call = {.struct_size = sizeof(call)};
  size_t bytes = 0;
  int reports = 0;
  moec_status status = read_facts(args, count, 2, 1, &facts);
  if (status == MOEC_OK && !facts.num_numbers)
    status = moec_error(MOEC_INVALID_ARGUMENT, "no number of tokens was passed");
  if (status == MOEC_OK)
    status = find_reports(facts.names, &reports);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(facts.device, &layer);
  call.num_tokens = facts.numbers[0];
  call.tokens_per_sequence = facts.numbers[1];
  call.out_probabilities = reports ? &asked : NULL;
  if (status == MOEC_OK)
    status = moec_layer_workspace_bytes_call(layer->layer, &call, &bytes);
  if (status == MOEC_OK)
    moec_ffi_return_integer((int64_t)bytes + MOEC_WORKSPACE_ALIGN, result); /* of any alignment */
  return status;
}

/* Bytes that T tokens and tokens_per_sequence need, as one of the runtime's functions says, of any alignment. */
static moec_status bytes_of(moec_status (*function)(const moec_layer *, int64_t, int64_t, size_t *),
                            const moec_ffi_value *args, int32_t count, moec_ffi_value *result) {
  moec_ffi_facts facts;
  moec_ffi_layer *layer = NULL;
  size_t bytes = 0;
  moec_status status = read_facts(args, count, 2, 0, &facts);
  if (status == MOEC_OK && !facts.num_numbers)
    status = moec_error(MOEC_INVALID_ARGUMENT, "no number of tokens was passed");
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(facts.device, &layer);
  if (status == MOEC_OK)
    status = function(layer->layer, facts.numbers[0], facts.numbers[1], &bytes);
  if (status == MOEC_OK)
    moec_ffi_return_integer((int64_t)bytes + MOEC_WORKSPACE_ALIGN, result);
  return status;
}

/* saved_bytes(T[, tokens_per_sequence][, device]) */
EXPORT(saved_bytes) { return bytes_of(moec_layer_saved_bytes, args, count, result); }

/* backward_workspace_bytes(T[, tokens_per_sequence][, device]) */
EXPORT(backward_workspace_bytes) { return bytes_of(moec_layer_backward_workspace_bytes, args, count, result); }

/* info([device]) */
EXPORT(info) {
  moec_ffi_facts facts;
  moec_ffi_layer *layer = NULL;
  char *text = NULL;
  size_t length = 0;
  moec_status status = read_facts(args, count, 0, 0, &facts);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(facts.device, &layer);
  if (status == MOEC_OK)
    status = moec_ffi_info_text(layer, &text, &length);
  if (status == MOEC_OK)
    status = moec_ffi_return_text(text, length, result);
  free(text);
  return status;
}

/* options(name, number, name, number, ...) */
EXPORT(options) {
  (void)result;
  if (count % 2)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d arguments, expected a name before each value", (int)count);
  for (int32_t i = 0; i < count; i += 2) {
    moec_ffi_bytes name;
    int64_t number;
    char found[192];
    int is_text = moec_ffi_text_of(&args[i], &name);
    if (!is_text || !moec_ffi_integer_of(&args[i + 1], &number)) {
      moec_ffi_describe(&args[is_text ? i + 1 : i], found, sizeof(found));
      return moec_error(MOEC_DTYPE, "argument %d is %s, expected %s", (int)(is_text ? i + 2 : i + 1), found,
                        is_text ? "an integer" : "a name");
    }
    moec_status status = moec_ffi_set_option(name, number);
    if (status != MOEC_OK)
      return status;
  }
  return MOEC_OK;
}

/* last_error(): the text of this thread's last error, for callers without exceptions */
EXPORT(last_error) {
  char text[1024];
  (void)args;
  if (count)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d arguments, expected none", (int)count);
  moec_last_error(text, sizeof(text));
  return moec_ffi_return_text(text, strlen(text), result);
}
