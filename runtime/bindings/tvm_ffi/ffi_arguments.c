/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_arguments.c - see ffi_arguments.h.
 */
#include "runtime/bindings/tvm_ffi/ffi_arguments.h"

#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"
#include "runtime/bindings/tvm_ffi/ffi_value.h"

#include "runtime/status.h"

#include <string.h>

int moec_ffi_equal(moec_ffi_bytes text, const char *word) {
  return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

int moec_ffi_find_argument(moec_ffi_bytes name, uint32_t *out_role, enum moec_ffi_call_word *out_word) {
  static const struct {
    const char *name;
    enum moec_ffi_call_word word;
  } words[] = {{"weights", MOEC_FFI_WEIGHTS},
               {"workspace", MOEC_FFI_WORKSPACE},
               {"saved", MOEC_FFI_SAVED},
               {"tokens_per_sequence", MOEC_FFI_SEQUENCE},
               {"stream", MOEC_FFI_STREAM}};
  *out_role = MOEC_ROLE_NONE;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
    if (moec_ffi_equal(name, words[i].name)) {
      *out_word = words[i].word;
      return 1;
    }
  moec_ffi_bytes output = name; /* outputs may be spelt as in moec_forward_args */
  if (name.size > 4 && memcmp(name.data, "out_", 4) == 0)
    output = (moec_ffi_bytes){name.data + 4, name.size - 4};
  for (uint32_t role = MOEC_ROLE_X; name.size && role < MOEC_NUM_FORWARD_ROLES; ++role) { /* some have no name */
    const char *known = moec_ffi_role_name(role);
    int is_output = (role >= MOEC_ROLE_LOGITS && role <= MOEC_ROLE_COUNTS) || moec_is_report_role(role);
    if (moec_ffi_equal(name, known) || (is_output && moec_ffi_equal(output, known))) {
      *out_role = role;
      return 1;
    }
  }
  return 0;
}

moec_status moec_ffi_expect_tensor(const char *name, const moec_ffi_value *value, const moec_ffi_tensor **out_tensor) {
  char found[192];
  *out_tensor = moec_ffi_tensor_of(value);
  if (*out_tensor)
    return MOEC_OK;
  moec_ffi_describe(value, found, sizeof(found));
  return moec_error(MOEC_DTYPE, "%s is %s, expected a tensor", name, found);
}

moec_status moec_ffi_expect_integer(const char *name, const moec_ffi_value *value, int64_t *out_number) {
  char found[192];
  if (moec_ffi_integer_of(value, out_number))
    return MOEC_OK;
  moec_ffi_describe(value, found, sizeof(found));
  return moec_error(MOEC_DTYPE, "%s is %s, expected an integer", name, found);
}

moec_status moec_ffi_take_argument(moec_ffi_bytes name, const moec_ffi_value *value, moec_ffi_call *call) {
  char text[32];
  uint32_t role;
  enum moec_ffi_call_word word;
  size_t length = moec_whole_characters(name.data, name.size, sizeof(text) - 1);
  memcpy(text, name.data, length);
  text[length] = '\0';
  if (!moec_ffi_find_argument(name, &role, &word))
    return moec_error(MOEC_INVALID_ARGUMENT, "\"%s\" is not the name of an argument; info() lists them", text);
  if (value->type == MOEC_FFI_NONE)
    return MOEC_OK; /* as if it were not named */
  if (role == MOEC_ROLE_NONE && (word == MOEC_FFI_SEQUENCE || word == MOEC_FFI_STREAM)) {
    int64_t number;
    moec_status status = moec_ffi_expect_integer(text, value, &number);
    if (status != MOEC_OK)
      return status;
    if (word == MOEC_FFI_SEQUENCE) {
      call->tokens_per_sequence = number;
    } else {
      call->has_stream = 1;
      call->stream = (void *)(intptr_t)number;
    }
    return MOEC_OK;
  }
  const moec_ffi_tensor **place = role != MOEC_ROLE_NONE     ? &call->tensors[role]
                                  : word == MOEC_FFI_WEIGHTS ? &call->weights
                                  : word == MOEC_FFI_SAVED   ? &call->saved
                                                             : &call->workspace;
  if (*place)
    return moec_error(MOEC_INVALID_ARGUMENT, "%s is named twice", text);
  return moec_ffi_expect_tensor(text, value, place);
}
