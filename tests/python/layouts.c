/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Prints what a C compiler makes of moec.h and moec_abi.h: "STRUCT SIZE" and "STRUCT.FIELD OFFSET" lines, and the names
 * of statuses and roles, for test_binding.py.
 */
#include "runtime/moec.h"
#include "runtime/moec_abi.h"
#include "runtime/moec_outputs.h"

#include <stdio.h>

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define FIELD(type, field) printf(#type "." #field " %zu\n", offsetof(type, field))

static void options(void) {
  SIZE(moec_pool_options);
  FIELD(moec_pool_options, threads), FIELD(moec_pool_options, spin_us), FIELD(moec_pool_options, when_busy);
  FIELD(moec_pool_options, on_thread_start), FIELD(moec_pool_options, on_thread_start_context);
  SIZE(moec_layer_options);
  FIELD(moec_layer_options, max_threads), FIELD(moec_layer_options, max_isa), FIELD(moec_layer_options, parallel_for);
  FIELD(moec_layer_options, parallel_for_context), FIELD(moec_layer_options, spin_us);
  FIELD(moec_layer_options, device), FIELD(moec_layer_options, cuda_device), FIELD(moec_layer_options, cuda_driver);
  FIELD(moec_layer_options, pool);
  SIZE(moec_tensor);
  FIELD(moec_tensor, role), FIELD(moec_tensor, data), FIELD(moec_tensor, dtype), FIELD(moec_tensor, rank);
  FIELD(moec_tensor, dims);
  SIZE(moec_weights_source);
  FIELD(moec_weights_source, path), FIELD(moec_weights_source, prefix);
  SIZE(moec_load);
  FIELD(moec_load, total), FIELD(moec_load, dead_experts), FIELD(moec_load, entropy), FIELD(moec_load, variation);
  FIELD(moec_load, max_share);
}

static void call(void) {
  SIZE(moec_forward_args);
  FIELD(moec_forward_args, num_tokens), FIELD(moec_forward_args, x), FIELD(moec_forward_args, y);
  FIELD(moec_forward_args, workspace), FIELD(moec_forward_args, workspace_bytes), FIELD(moec_forward_args, stream);
  FIELD(moec_forward_args, tokens_per_sequence), FIELD(moec_forward_args, residual), FIELD(moec_forward_args, noise);
  FIELD(moec_forward_args, uniform), FIELD(moec_forward_args, token_ids), FIELD(moec_forward_args, expert_ids);
  FIELD(moec_forward_args, expert_weights), FIELD(moec_forward_args, group_ids), FIELD(moec_forward_args, priority);
  FIELD(moec_forward_args, capacity), FIELD(moec_forward_args, top_k), FIELD(moec_forward_args, probe);
#define OUTPUT(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                                  \
  FIELD(moec_forward_args, out_##name);                                                                                \
  printf("output %s %s %d\n", #name, #DTYPE, MOEC_ROLE_##ROLE);
  MOEC_OUTPUTS(OUTPUT)
#undef OUTPUT
}

static void backward(void) {
  FIELD(moec_forward_args, saved), FIELD(moec_forward_args, saved_bytes);
  FIELD(moec_forward_args, jitter), FIELD(moec_forward_args, replace), FIELD(moec_forward_args, replace_ids);
  FIELD(moec_forward_args, hidden_mask), FIELD(moec_forward_args, output_mask), FIELD(moec_forward_args, expert_mask);
  FIELD(moec_forward_args, midpoint_mask);
  SIZE(moec_backward_args);
  FIELD(moec_backward_args, num_tokens), FIELD(moec_backward_args, tokens_per_sequence), FIELD(moec_backward_args, x);
  FIELD(moec_backward_args, grad_y), FIELD(moec_backward_args, grad_losses), FIELD(moec_backward_args, saved);
  FIELD(moec_backward_args, saved_bytes), FIELD(moec_backward_args, workspace);
  FIELD(moec_backward_args, workspace_bytes), FIELD(moec_backward_args, grad_x);
  FIELD(moec_backward_args, grad_residual), FIELD(moec_backward_args, grad_expert_weights);
  FIELD(moec_backward_args, grad_parameters), FIELD(moec_backward_args, grad_dtype);
  FIELD(moec_backward_args, accumulate), FIELD(moec_backward_args, stream), FIELD(moec_backward_args, residual);
  FIELD(moec_backward_args, noise), FIELD(moec_backward_args, uniform), FIELD(moec_backward_args, token_ids);
  FIELD(moec_backward_args, expert_ids), FIELD(moec_backward_args, expert_weights);
  FIELD(moec_backward_args, group_ids), FIELD(moec_backward_args, priority), FIELD(moec_backward_args, capacity);
  FIELD(moec_backward_args, top_k), FIELD(moec_backward_args, probe);
  FIELD(moec_backward_args, jitter), FIELD(moec_backward_args, replace), FIELD(moec_backward_args, replace_ids);
  FIELD(moec_backward_args, hidden_mask), FIELD(moec_backward_args, output_mask);
  FIELD(moec_backward_args, expert_mask), FIELD(moec_backward_args, midpoint_mask);
  printf("gradient x %d\ngradient residual %d\n", MOEC_ROLE_GRAD_X, MOEC_ROLE_GRAD_RESIDUAL);
  printf("gradient expert_weights %d\n", MOEC_ROLE_GRAD_EXPERT_WEIGHTS);
}

static void facts(void) {
  SIZE(moec_layer_info);
  FIELD(moec_layer_info, name), FIELD(moec_layer_info, hidden), FIELD(moec_layer_info, num_experts);
  FIELD(moec_layer_info, top_k), FIELD(moec_layer_info, max_tokens), FIELD(moec_layer_info, num_logits);
  FIELD(moec_layer_info, x_dtype), FIELD(moec_layer_info, y_dtype), FIELD(moec_layer_info, isa);
  FIELD(moec_layer_info, isa_name), FIELD(moec_layer_info, determinism), FIELD(moec_layer_info, max_threads);
  FIELD(moec_layer_info, num_roles), FIELD(moec_layer_info, device), FIELD(moec_layer_info, cuda_sm);
  FIELD(moec_layer_info, num_losses), FIELD(moec_layer_info, num_choice_counts), FIELD(moec_layer_info, reports);
  FIELD(moec_layer_info, trains);
  SIZE(moec_buffer);
  FIELD(moec_buffer, kind), FIELD(moec_buffer, role), FIELD(moec_buffer, dtype), FIELD(moec_buffer, bytes);
  SIZE(moec_plan_header);
  FIELD(moec_plan_header, header_bytes), FIELD(moec_plan_header, spec_hash), FIELD(moec_plan_header, buffers);
  FIELD(moec_plan_header, weights), FIELD(moec_plan_header, roles), FIELD(moec_plan_header, dot_model);
  SIZE(moec_role);
  FIELD(moec_role, rank), FIELD(moec_role, matrix), FIELD(moec_role, dims);
  SIZE(moec_weight);
  FIELD(moec_weight, layout), FIELD(moec_weight, dtype);
  FIELD(moec_package, plan), FIELD(moec_package, backward);
  printf("kind panels %d\n", MOEC_LAYOUT_PANELS);
  printf("kind input %d\nkind opt_output %d\n", MOEC_BUFFER_INPUT, MOEC_BUFFER_OPT_OUTPUT);
  printf("dtype float32 %d\ndtype bfloat16 %d\ndtype float16 %d\n", MOEC_F32, MOEC_BF16, MOEC_F16);
  printf("dtype int32 %d\ndtype int64 %d\ndtype float64 %d\n", MOEC_I32, MOEC_I64, MOEC_F64);
  for (int status = MOEC_OK; status <= MOEC_FILE_FORMAT; ++status)
    printf("status %d\n", status);
}

int main(void) {
  options();
  call();
  backward();
  facts();
  return 0;
}
