/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * plan_check.c - a package, which may be damaged, in -> a moec_plan whose header, strings and buffers hold together, or
 * a status. Steps and weights are checked by step_check.c and weight_check.c.
 */
#include "runtime/plan/plan_check.h"

#include <inttypes.h>
#include <string.h>

int moec_extent_fits(moec_extent extent, int64_t max_tokens) {
  int64_t tokens, sequences;
  return extent.per_token >= 0 && extent.per_sequence >= 0 && extent.fixed >= 0 && extent.fixed <= MOEC_PLAN_LIMIT &&
         !__builtin_mul_overflow(extent.per_token, max_tokens, &tokens) && tokens <= MOEC_PLAN_LIMIT &&
         !__builtin_mul_overflow(extent.per_sequence, max_tokens, &sequences) && sequences <= MOEC_PLAN_LIMIT;
}

/* Major, minor, sizes and features: everything that decides whether the other bytes may be read at all. */
static moec_status check_version(const moec_package *package) {
  if (package->magic != MOEC_ABI_MAGIC)
    return moec_error(MOEC_VERSION_MISMATCH, "package: magic is 0x%08" PRIx32 ", expected 0x%08" PRIx32, package->magic,
                      (uint32_t)MOEC_ABI_MAGIC);
  if (package->abi_major != MOEC_ABI_MAJOR || package->abi_minor > MOEC_ABI_MINOR)
    return moec_error(MOEC_VERSION_MISMATCH, "package: made for ABI %d.%d, this runtime has %d.%d", package->abi_major,
                      package->abi_minor, MOEC_ABI_MAJOR, MOEC_ABI_MINOR);
  if (!package->plan || (package->num_functions && !package->functions))
    return moec_error(MOEC_NULL_POINTER, "package: plan or functions is NULL");
  if ((uintptr_t)package->plan % MOEC_PLAN_ALIGN)
    return moec_error(MOEC_ALIGNMENT, "package: the plan is not %d-byte aligned", MOEC_PLAN_ALIGN);
  MOEC_CHECK_PLAN(package->plan_bytes >= sizeof(moec_plan_header),
                  "package: plan_bytes is %" PRIu64 ", a header has %zu", package->plan_bytes,
                  sizeof(moec_plan_header));
  const moec_plan_header *header = package->plan;
  if (header->magic != MOEC_ABI_MAGIC || header->abi_major != package->abi_major ||
      header->abi_minor != package->abi_minor)
    return moec_error(MOEC_VERSION_MISMATCH, "plan: magic or ABI version differs from the package's");
  if (header->header_bytes != sizeof(moec_plan_header) || header->buffer_bytes != sizeof(moec_buffer) ||
      header->step_bytes != sizeof(moec_step) || header->role_bytes != sizeof(moec_role) ||
      header->weight_bytes != sizeof(moec_weight))
    return moec_error(MOEC_VERSION_MISMATCH, "plan: struct sizes differ from this runtime's");
  if (header->features & ~(uint32_t)MOEC_KNOWN_FEATURES)
    return moec_error(MOEC_VERSION_MISMATCH, "plan: needs features 0x%" PRIx32 " this runtime does not know",
                      header->features & ~(uint32_t)MOEC_KNOWN_FEATURES);
  MOEC_CHECK_PLAN(header->total_bytes >= sizeof(moec_plan_header) && header->total_bytes <= package->plan_bytes,
                  "plan: total_bytes is %" PRIu32 ", the package holds %" PRIu64, header->total_bytes,
                  package->plan_bytes);
  return MOEC_OK;
}

const void *moec_open_span(const void *blob, size_t header_bytes, uint32_t total_bytes, moec_span span, size_t size,
                           size_t align) {
  uint64_t end = (uint64_t)span.offset + (uint64_t)span.count * size;
  if (span.offset < header_bytes || span.offset % align || end > total_bytes)
    return NULL;
  return (const char *)blob + span.offset;
}

static const void *open_span(const moec_plan_header *header, moec_span span, size_t size, size_t align) {
  return moec_open_span(header, sizeof(*header), header->total_bytes, span, size, align);
}

static moec_status open_spans(const moec_package *package, moec_plan *plan) {
  const moec_plan_header *header = package->plan;
  plan->header = header;
  plan->functions = package->functions;
  plan->num_functions = package->num_functions;
  plan->buffers = open_span(header, header->buffers, sizeof(moec_buffer), 8);
  plan->steps = open_span(header, header->steps, sizeof(moec_step), 8);
  plan->args = open_span(header, header->args, sizeof(uint16_t), 2);
  plan->covers = open_span(header, header->covers, 1, 1);
  plan->roles = open_span(header, header->roles, sizeof(moec_role), 8);
  plan->weight_set.weights = open_span(header, header->weights, sizeof(moec_weight), 8);
  plan->weight_set.count = header->weights.count;
  plan->weight_set.packed_bytes = header->packed_bytes;
  plan->strings = open_span(header, header->strings, 1, 1);
  MOEC_CHECK_PLAN(plan->buffers && plan->steps && plan->args && plan->covers && plan->roles &&
                      plan->weight_set.weights && plan->strings,
                  "plan: an array lies outside the blob of %" PRIu32 " bytes", header->total_bytes);
  MOEC_CHECK_PLAN(header->strings.count && !plan->strings[header->strings.count - 1],
                  "plan: strings do not end with a NUL");
  MOEC_CHECK_PLAN(header->name < header->strings.count, "plan: name is outside the strings");
  MOEC_CHECK_PLAN(header->buffers.count <= MOEC_MAX_BUFFERS, "plan: %" PRIu32 " buffers, at most %d",
                  header->buffers.count, MOEC_MAX_BUFFERS);
  MOEC_CHECK_PLAN(header->steps.count && header->steps.count <= MOEC_MAX_STEPS,
                  "plan: %" PRIu32 " steps, expected 1 to %d", header->steps.count, MOEC_MAX_STEPS);
  MOEC_CHECK_PLAN(header->roles.count <= MOEC_MAX_ROLES && header->weights.count <= MOEC_MAX_BUFFERS,
                  "plan: %" PRIu32 " roles and %" PRIu32 " weights, at most %d and %d", header->roles.count,
                  header->weights.count, MOEC_MAX_ROLES, MOEC_MAX_BUFFERS);
  for (uint64_t i = 0; i < package->num_functions; ++i)
    MOEC_CHECK_PLAN(package->functions[i], "package: function %" PRIu64 " is NULL", i);
  return MOEC_OK;
}

static int is_activation_type(uint32_t dtype) { return dtype == MOEC_F32 || dtype == MOEC_BF16 || dtype == MOEC_F16; }

/* A package without CPU kernels has CUDA kernels. */
static moec_status check_header(const moec_package *package, const moec_plan_header *header) {
  MOEC_CHECK_PLAN(header->isa_mask || package->cuda_plan, "plan: isa_mask is 0x0");
  MOEC_CHECK_PLAN(header->isa_mask < 1u << MOEC_NUM_ISAS, "plan: isa_mask is 0x%" PRIx32, header->isa_mask);
  MOEC_CHECK_PLAN(header->pass <= MOEC_PASS_BACKWARD, "plan: pass is %" PRIu32, header->pass);
  MOEC_CHECK_PLAN(header->determinism <= 2, "plan: determinism is %" PRIu32, header->determinism);
  MOEC_CHECK_PLAN(is_activation_type(header->x_dtype) && is_activation_type(header->y_dtype),
                  "plan: x_dtype %" PRIu32 " or y_dtype %" PRIu32 " is not f32, bf16 or f16", header->x_dtype,
                  header->y_dtype);
  MOEC_CHECK_PLAN(header->hidden >= 1 && header->hidden <= 1 << 24, "plan: hidden is %" PRId64, header->hidden);
  MOEC_CHECK_PLAN(header->max_tokens >= 1 && header->max_tokens <= 1 << 28, "plan: max_tokens is %" PRId64,
                  header->max_tokens);
  MOEC_CHECK_PLAN(header->dot_vendor[sizeof(header->dot_vendor) - 1] == '\0', "plan: dot_vendor has no end");
  MOEC_CHECK_PLAN(header->chunk_tokens >= 0 && header->chunk_tokens <= header->max_tokens,
                  "plan: chunk_tokens is %" PRId64, header->chunk_tokens);
  MOEC_CHECK_PLAN(header->num_experts <= 1u << 24 && header->top_k <= 1u << 16,
                  "plan: %" PRIu32 " experts, top_k %" PRIu32, header->num_experts, header->top_k);
  MOEC_CHECK_PLAN(header->num_slots <= MOEC_MAX_BUFFERS, "plan: %" PRIu32 " slots, at most %d", header->num_slots,
                  MOEC_MAX_BUFFERS);
  MOEC_CHECK_PLAN(header->num_report_slots <= header->num_slots,
                  "plan: %" PRIu32 " of %" PRIu32 " slots are for reports", header->num_report_slots,
                  header->num_slots);
  MOEC_CHECK_PLAN(header->packed_bytes >= 4096 && header->packed_bytes <= (uint64_t)MOEC_PLAN_LIMIT,
                  "plan: packed_bytes is %" PRIu64, header->packed_bytes);
  MOEC_CHECK_PLAN(moec_extent_fits(header->items, header->max_tokens) && header->items.per_sequence == 0 &&
                      moec_extent_at(header->items, header->max_tokens, 0) <= INT32_MAX,
                  "plan: items is out of range");
  return MOEC_OK;
}

/* An input beside x. `columns` values per token; 0: any number of them; -1: one value for the whole call. */
static int is_input(const moec_buffer *buffer, uint32_t dtype, int64_t columns) {
  moec_extent bytes = buffer->bytes;
  int64_t element = moec_dtype_bytes(dtype);
  if (buffer->kind != MOEC_BUFFER_INPUT || buffer->dtype != dtype)
    return 0;
  if (columns < 0)
    return bytes.per_token == 0 && bytes.fixed == element;
  return bytes.fixed == 0 && bytes.per_token > 0 &&
         (columns ? bytes.per_token == columns * element : bytes.per_token % element == 0);
}

/* A mask of dropout: values of every choice of a token, or, in a plan without choices, rows of slots, of every sequence
 * or of the whole call. */
static int is_mask(const moec_plan_header *header, const moec_buffer *buffer) {
  moec_extent bytes = buffer->bytes;
  if (header->top_k)
    return is_input(buffer, MOEC_F32, 0) && bytes.per_sequence == 0 &&
           bytes.per_token % (4 * (int64_t)header->top_k) == 0;
  int64_t rows = bytes.fixed + bytes.per_sequence; /* one of the two is 0 */
  return buffer->kind == MOEC_BUFFER_INPUT && buffer->dtype == MOEC_F32 && bytes.per_token == 0 &&
         (bytes.fixed == 0 || bytes.per_sequence == 0) && rows > 0 && rows % 4 == 0;
}

static int is_output(const moec_plan_header *header, const moec_buffer *buffer, uint32_t dtype, uint32_t shape) {
  moec_extent bytes = buffer->bytes;
  if (buffer->kind != MOEC_BUFFER_OPT_OUTPUT || buffer->dtype != dtype)
    return 0;
  switch (shape) {
  case MOEC_SHAPE_TN:
    return bytes.fixed == 0 && bytes.per_token % 4 == 0;
  case MOEC_SHAPE_TK:
    return bytes.fixed == 0 && bytes.per_token == 4 * (int64_t)header->top_k;
  case MOEC_SHAPE_E:
    return bytes.per_token == 0 && bytes.fixed == 4 * (int64_t)header->num_experts;
  case MOEC_SHAPE_N:
    return bytes.per_token == 0 && bytes.fixed > 0 && bytes.fixed % 4 == 0 && bytes.fixed <= 4 << 24;
  default:
    return bytes.per_token == 0 && bytes.fixed == 4;
  }
}

/* A gradient [T,H] of x's type. */
static int is_gradient(const moec_plan_header *header, const moec_buffer *buffer, uint32_t dtype, int64_t columns) {
  moec_extent bytes = buffer->bytes;
  return buffer->kind == MOEC_BUFFER_OPT_OUTPUT && header->pass == MOEC_PASS_BACKWARD && buffer->dtype == dtype &&
         bytes.fixed == 0 && columns > 0 && bytes.per_token == columns * moec_dtype_bytes(dtype);
}

/* Rows of a token or of a route, or values of the whole call; made by forward and read by backward. */
static int is_saved(const moec_plan_header *header, const moec_buffer *buffer) {
  int backward = header->pass == MOEC_PASS_BACKWARD;
  return buffer->kind == (backward ? MOEC_BUFFER_INPUT : MOEC_BUFFER_OPT_OUTPUT);
}

/* What the caller may name has a shape it can rely on: x, y [T,H], other outputs as moec_outputs.h has them, and the
 * further inputs as moec_buffer_role has them. */
static int role_shape_holds(const moec_plan_header *header, const moec_buffer *buffer) {
  moec_extent bytes = buffer->bytes;
  if (buffer->role >= MOEC_ROLE_SAVED)
    return is_saved(header, buffer);
  if (buffer->role == MOEC_ROLE_HIDDEN_MASK || buffer->role == MOEC_ROLE_OUTPUT_MASK)
    return is_mask(header, buffer);
  if (buffer->role != MOEC_ROLE_NONE && bytes.per_sequence)
    return 0;
  switch (buffer->role) {
  case MOEC_ROLE_RESIDUAL:
    return is_input(buffer, header->x_dtype, header->hidden);
  case MOEC_ROLE_NOISE:
    return is_input(buffer, MOEC_F32, 0);
  case MOEC_ROLE_UNIFORM:
  case MOEC_ROLE_PRIORITY:
    return is_input(buffer, MOEC_F32, 1);
  case MOEC_ROLE_TOKEN_IDS:
  case MOEC_ROLE_GROUP_IDS:
    return is_input(buffer, MOEC_I32, 1);
  case MOEC_ROLE_EXPERT_IDS:
    return header->top_k && is_input(buffer, MOEC_I32, header->top_k);
  case MOEC_ROLE_EXPERT_WEIGHTS:
    return header->top_k && is_input(buffer, MOEC_F32, header->top_k);
  case MOEC_ROLE_JITTER:
    return is_input(buffer, MOEC_F32, header->hidden);
  case MOEC_ROLE_REPLACE:
  case MOEC_ROLE_MIDPOINT_MASK:
    return header->top_k && is_input(buffer, MOEC_F32, header->top_k);
  case MOEC_ROLE_REPLACE_IDS:
    return header->top_k && is_input(buffer, MOEC_I32, header->top_k);
  case MOEC_ROLE_EXPERT_MASK:
    return is_input(buffer, MOEC_F32, 0);
  case MOEC_ROLE_CAPACITY:
  case MOEC_ROLE_TOP_K:
    return is_input(buffer, MOEC_I32, -1);
  case MOEC_ROLE_X:
    return buffer->kind == MOEC_BUFFER_INPUT && buffer->dtype == header->x_dtype && bytes.fixed == 0 &&
           bytes.per_token == header->hidden * moec_dtype_bytes(header->x_dtype);
  case MOEC_ROLE_Y:
    return buffer->kind == MOEC_BUFFER_OUTPUT && buffer->dtype == header->y_dtype && bytes.fixed == 0 &&
           bytes.per_token == header->hidden * moec_dtype_bytes(header->y_dtype);
  case MOEC_ROLE_GRAD_Y:
    return header->pass == MOEC_PASS_BACKWARD && is_input(buffer, header->y_dtype, header->hidden);
  case MOEC_ROLE_GRAD_LOSSES:
    return header->pass == MOEC_PASS_BACKWARD && buffer->kind == MOEC_BUFFER_INPUT && buffer->dtype == MOEC_F32 &&
           bytes.per_token == 0 && bytes.fixed > 0 && bytes.fixed % 4 == 0;
  case MOEC_ROLE_GRAD_X:
  case MOEC_ROLE_GRAD_RESIDUAL:
    return is_gradient(header, buffer, header->x_dtype, header->hidden);
  case MOEC_ROLE_GRAD_EXPERT_WEIGHTS:
    return is_gradient(header, buffer, MOEC_F32, header->top_k);
#define OUTPUT(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                                  \
  case MOEC_ROLE_##ROLE:                                                                                               \
    return is_output(header, buffer, MOEC_##DTYPE, MOEC_SHAPE_##SHAPE);
    MOEC_OUTPUTS(OUTPUT)
#undef OUTPUT
  default:
    return buffer->role == MOEC_ROLE_NONE && buffer->kind != MOEC_BUFFER_INPUT && buffer->kind != MOEC_BUFFER_OUTPUT &&
           buffer->kind != MOEC_BUFFER_OPT_OUTPUT;
  }
}

static int buffer_slot_holds(const moec_plan *plan, const moec_buffer *buffer) {
  const moec_plan_header *header = plan->header;
  switch (buffer->kind) {
  case MOEC_BUFFER_INPUT:
  case MOEC_BUFFER_OUTPUT:
    return 1;
  case MOEC_BUFFER_WEIGHT:
    return buffer->slot < header->weights.count;
  case MOEC_BUFFER_WORKSPACE:
  case MOEC_BUFFER_OPT_OUTPUT:
    return buffer->slot < header->num_slots;
  case MOEC_BUFFER_GRADIENT:
    return header->pass == MOEC_PASS_BACKWARD &&
           (uint32_t)buffer->slot + (buffer->route ? buffer->route : 1) <= header->roles.count;
  case MOEC_BUFFER_ROUTE:
    return buffer->slot <= MOEC_ROUTE_SLOT_ROW && buffer->route < header->steps.count &&
           moec_makes_route(&plan->steps[buffer->route]);
  default:
    return 0;
  }
}

static moec_status check_buffers(moec_plan *plan) {
  const moec_plan_header *header = plan->header;
  for (int role = 0; role < MOEC_NUM_BUFFER_ROLES; ++role)
    plan->buffer_of_role[role] = -1;
  for (uint32_t i = 0; i < header->buffers.count; ++i) {
    const moec_buffer *buffer = &plan->buffers[i];
    MOEC_CHECK_PLAN(buffer->name < header->strings.count, "plan: buffer %" PRIu32 ": name is outside the strings", i);
    const char *name = plan->strings + buffer->name;
    MOEC_CHECK_PLAN(moec_extent_fits(buffer->bytes, header->max_tokens),
                    "plan: buffer %" PRIu32 " (%.64s): bytes out of range", i, name);
    MOEC_CHECK_PLAN(buffer->role < MOEC_NUM_BUFFER_ROLES, "plan: buffer %" PRIu32 " (%.64s): role %d", i, name,
                    buffer->role);
    MOEC_CHECK_PLAN(buffer_slot_holds(plan, buffer),
                    "plan: buffer %" PRIu32 " (%.64s): kind %d with slot %d and route %d", i, name, buffer->kind,
                    buffer->slot, buffer->route);
    MOEC_CHECK_PLAN(role_shape_holds(header, buffer),
                    "plan: buffer %" PRIu32 " (%.64s): kind, type or size do not fit role %d", i, name, buffer->role);
    if (buffer->role == MOEC_ROLE_NONE)
      continue;
    MOEC_CHECK_PLAN(plan->buffer_of_role[buffer->role] < 0,
                    "plan: buffer %" PRIu32 " (%.64s): second buffer of role %d", i, name, buffer->role);
    plan->buffer_of_role[buffer->role] = (int32_t)i;
  }
  /* callers know the columns of these by moec_layer_info.num_logits alone */
  for (int i = 0; i < MOEC_NUM_LOGIT_ROLES; ++i) {
    int32_t buffer = plan->buffer_of_role[moec_logit_roles[i]];
    MOEC_CHECK_PLAN(buffer < 0 || plan->buffers[buffer].bytes.per_token == 4 * moec_logit_columns(plan),
                    "plan: buffer %" PRId32 " (%.64s): other columns than logits", buffer,
                    plan->strings + plan->buffers[buffer].name);
  }
  for (int i = 1; i < MOEC_MAX_SAVED; ++i)
    MOEC_CHECK_PLAN(plan->buffer_of_role[MOEC_ROLE_SAVED + i] < 0 || plan->buffer_of_role[MOEC_ROLE_SAVED + i - 1] >= 0,
                    "plan: saved value %d without value %d", i, i - 1);
  int result = header->pass == MOEC_PASS_FORWARD ? MOEC_ROLE_Y : MOEC_ROLE_GRAD_Y;
  MOEC_CHECK_PLAN(plan->buffer_of_role[MOEC_ROLE_X] >= 0 && plan->buffer_of_role[result] >= 0,
                  "plan: no buffer for x or %s", result == MOEC_ROLE_Y ? "y" : "grad_y");
  return MOEC_OK;
}

moec_status moec_plan_open(const moec_package *package, moec_plan *out_plan) {
  memset(out_plan, 0, sizeof(*out_plan));
  moec_status status = check_version(package);
  if (status == MOEC_OK)
    status = open_spans(package, out_plan);
  if (status == MOEC_OK)
    status = check_header(package, out_plan->header);
  if (status == MOEC_OK)
    status = check_buffers(out_plan);
  if (status == MOEC_OK)
    status = moec_check_roles(out_plan);
  if (status == MOEC_OK)
    status = moec_check_steps(out_plan);
  if (status == MOEC_OK)
    status = moec_check_weight_set(out_plan, &out_plan->weight_set, MOEC_LAYOUT_PANELS, "plan");
  return status;
}
