// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! `moec.h` as it is: types, constants and functions under their C names. The header documents them; the crate `moec`
//! makes them safe. A test compares every item with the header.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::c_void;
use core::marker::{PhantomData, PhantomPinned};

/// `int` and `char` of C on every machine that the runtime supports.
pub type c_int = i32;
pub type c_uint = u32;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64")))]
pub type c_char = i8;
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
pub type c_char = u8;

pub const MOEC_VERSION_MAJOR: c_int = 0;
pub const MOEC_VERSION_MINOR: c_int = 1;
pub const MOEC_VERSION_PATCH: c_int = 0;

/// A type that only C knows; neither `Send` nor `Sync`.
macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            bytes: [u8; 0],
            marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}
opaque!(moec_package moec_layer moec_weights moec_pool);

pub type moec_status = c_uint;
pub const MOEC_OK: moec_status = 0;
pub const MOEC_INVALID_ARGUMENT: moec_status = 1;
pub const MOEC_NULL_POINTER: moec_status = 2;
pub const MOEC_SHAPE: moec_status = 3;
pub const MOEC_DTYPE: moec_status = 4;
pub const MOEC_ALIGNMENT: moec_status = 5;
pub const MOEC_OVERLAP: moec_status = 6;
pub const MOEC_STRIDE: moec_status = 7;
pub const MOEC_WORKSPACE_TOO_SMALL: moec_status = 8;
pub const MOEC_TOKENS_OUT_OF_RANGE: moec_status = 9;
pub const MOEC_INVALID_HANDLE: moec_status = 10;
pub const MOEC_UNSUPPORTED_DEVICE: moec_status = 11;
pub const MOEC_ISA_MISSING: moec_status = 12;
pub const MOEC_OUT_OF_MEMORY: moec_status = 13;
pub const MOEC_DEVICE_ERROR: moec_status = 14;
pub const MOEC_VERSION_MISMATCH: moec_status = 15;
pub const MOEC_INTERNAL: moec_status = 16;
pub const MOEC_MISSING_WEIGHT: moec_status = 17;
pub const MOEC_FILE: moec_status = 18;
pub const MOEC_FILE_FORMAT: moec_status = 19;

pub type moec_dtype = c_uint;
pub const MOEC_F32: moec_dtype = 0;
pub const MOEC_BF16: moec_dtype = 1;
pub const MOEC_F16: moec_dtype = 2;
pub const MOEC_I32: moec_dtype = 3;
pub const MOEC_FP8E4M3: moec_dtype = 4;
pub const MOEC_FP8E5M2: moec_dtype = 5;
pub const MOEC_I8: moec_dtype = 6;
pub const MOEC_I4: moec_dtype = 7;
pub const MOEC_MXFP4: moec_dtype = 8;
pub const MOEC_U8: moec_dtype = 9;
pub const MOEC_I64: moec_dtype = 10;
pub const MOEC_F64: moec_dtype = 11;

/// Of `moec_abi.h`: instruction sets in rising order, for `moec_layer_options.max_isa`.
pub const MOEC_ISA_BASELINE: c_int = 0;
pub const MOEC_ISA_AVX2: c_int = 1;
pub const MOEC_ISA_AVX512: c_int = 2;
pub const MOEC_ISA_AVX512_BF16: c_int = 3;
pub const MOEC_ISA_AMX: c_int = 4;

pub const MOEC_BUSY_ALONE: c_int = 0;
pub const MOEC_BUSY_WAIT: c_int = 1;
pub const MOEC_DEVICE_CPU: c_int = 0;
pub const MOEC_DEVICE_CUDA: c_int = 1;
pub const MOEC_PROBE_STEP_BEGIN: c_int = 0;
pub const MOEC_PROBE_STEP_END: c_int = 1;
pub const MOEC_PROBE_UNIT_BEGIN: c_int = 2;
pub const MOEC_PROBE_UNIT_END: c_int = 3;
pub const MOEC_MAP_VERIFY: c_uint = 1;
pub const MOEC_REPORT_PROBABILITIES: c_uint = 1;
pub const MOEC_REPORT_CHOICE_COUNTS: c_uint = 2;
pub const MOEC_REPORT_LOSSES: c_uint = 4;
pub const MOEC_REPORT_LOGIT_MEAN: c_uint = 8;
pub const MOEC_REPORT_LOGIT_MAX: c_uint = 16;
pub const MOEC_REPORT_DIVERSITY: c_uint = 32;
pub const MOEC_REPORT_DROPPED_TOKENS: c_uint = 64;
pub const MOEC_GRADIENT_NONE: c_int = 0;
pub const MOEC_GRADIENT_VECTOR: c_int = 1;
pub const MOEC_GRADIENT_MATRIX: c_int = 2;

/// Runs `body(body_arg, i, worker)` for every i in `[0, count)`.
pub type moec_parallel_for = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        count: i64,
        body: Option<unsafe extern "C" fn(body_arg: *mut c_void, i: i64, worker: i32)>,
        body_arg: *mut c_void,
    ),
>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_pool_options {
    pub struct_size: usize,
    pub threads: i32,
    pub spin_us: i32,
    pub when_busy: i32,
    pub reserved: i32,
    pub on_thread_start: Option<unsafe extern "C" fn(context: *mut c_void, worker: i32)>,
    pub on_thread_start_context: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_layer_options {
    pub struct_size: usize,
    pub max_threads: i32,
    pub max_isa: i32,
    pub parallel_for: moec_parallel_for,
    pub parallel_for_context: *mut c_void,
    pub spin_us: i32,
    pub reserved: i32,
    pub device: i32,
    pub cuda_device: i32,
    pub cuda_driver: *const c_void,
    pub pool: *mut moec_pool,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_tensor {
    pub role: *const c_char,
    pub data: *const c_void,
    pub dtype: moec_dtype,
    pub rank: i32,
    pub dims: [i64; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_probe_event {
    pub event: i32,
    pub step: i32,
    pub name: *const c_char,
    pub kind: *const c_char,
    pub first_token: i64,
    pub num_tokens: i64,
    pub rows: i64,
    pub units: i32,
    pub unit: i32,
    pub worker: i32,
    pub reserved: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_probe {
    pub struct_size: usize,
    pub on_event: Option<unsafe extern "C" fn(context: *mut c_void, event: *const moec_probe_event)>,
    pub context: *mut c_void,
    pub units: i32,
    pub reserved: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_forward_args {
    pub struct_size: usize,
    pub num_tokens: i64,
    pub x: *const c_void,
    pub y: *mut c_void,
    pub workspace: *mut c_void,
    pub workspace_bytes: usize,
    pub out_logits: *mut f32,
    pub out_ids: *mut i32,
    pub out_weights: *mut f32,
    pub out_counts: *mut i32,
    pub stream: *mut c_void,
    pub tokens_per_sequence: i64,
    pub residual: *const c_void,
    pub noise: *const f32,
    pub uniform: *const f32,
    pub token_ids: *const i32,
    pub expert_ids: *const i32,
    pub expert_weights: *const f32,
    pub group_ids: *const i32,
    pub priority: *const f32,
    pub capacity: *const i32,
    pub top_k: *const i32,
    pub out_probabilities: *mut f32,
    pub out_choice_counts: *mut i32,
    pub out_losses: *mut f32,
    pub out_logit_mean: *mut f32,
    pub out_logit_max: *mut f32,
    pub out_diversity: *mut f32,
    pub out_dropped_tokens: *mut i32,
    pub probe: *const moec_probe,
    pub saved: *mut c_void,
    pub saved_bytes: usize,
    pub jitter: *const f32,
    pub replace: *const f32,
    pub replace_ids: *const i32,
    pub hidden_mask: *const f32,
    pub output_mask: *const f32,
    pub expert_mask: *const f32,
    pub midpoint_mask: *const f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_backward_args {
    pub struct_size: usize,
    pub num_tokens: i64,
    pub tokens_per_sequence: i64,
    pub x: *const c_void,
    pub grad_y: *const c_void,
    pub grad_losses: *const f32,
    pub saved: *const c_void,
    pub saved_bytes: usize,
    pub workspace: *mut c_void,
    pub workspace_bytes: usize,
    pub grad_x: *mut c_void,
    pub grad_residual: *mut c_void,
    pub grad_expert_weights: *mut f32,
    pub grad_parameters: *const *mut c_void,
    pub grad_dtype: i32,
    pub accumulate: i32,
    pub stream: *mut c_void,
    pub residual: *const c_void,
    pub noise: *const f32,
    pub uniform: *const f32,
    pub token_ids: *const i32,
    pub expert_ids: *const i32,
    pub expert_weights: *const f32,
    pub group_ids: *const i32,
    pub priority: *const f32,
    pub capacity: *const i32,
    pub top_k: *const i32,
    pub probe: *const moec_probe,
    pub jitter: *const f32,
    pub replace: *const f32,
    pub replace_ids: *const i32,
    pub hidden_mask: *const f32,
    pub output_mask: *const f32,
    pub expert_mask: *const f32,
    pub midpoint_mask: *const f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_layer_info {
    pub struct_size: usize,
    pub name: *const c_char,
    pub hidden: i64,
    pub num_experts: i64,
    pub top_k: i64,
    pub max_tokens: i64,
    pub num_logits: i64,
    pub x_dtype: moec_dtype,
    pub y_dtype: moec_dtype,
    pub isa: i32,
    pub isa_name: *const c_char,
    pub determinism: i32,
    pub max_threads: i32,
    pub num_roles: i32,
    pub device: i32,
    pub cuda_sm: i32,
    pub num_losses: i32,
    pub num_choice_counts: i32,
    pub reports: u32,
    pub trains: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_weights_source {
    pub path: *const c_char,
    pub prefix: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct moec_load {
    pub total: i64,
    pub dead_experts: i64,
    pub entropy: f64,
    pub variation: f64,
    pub max_share: f64,
}

extern "C" {
    pub fn moec_version() -> *const c_char;
    pub fn moec_pool_create(options: *const moec_pool_options, out_pool: *mut *mut moec_pool) -> moec_status;
    pub fn moec_pool_destroy(pool: *mut moec_pool);
    pub fn moec_layer_create(
        package: *const moec_package,
        options: *const moec_layer_options,
        out_layer: *mut *mut moec_layer,
    ) -> moec_status;
    pub fn moec_layer_destroy(layer: *mut moec_layer);
    pub fn moec_layer_get_info(layer: *const moec_layer, out_info: *mut moec_layer_info) -> moec_status;
    pub fn moec_layer_role(
        layer: *const moec_layer,
        index: i32,
        out_name: *mut *const c_char,
        out_rank: *mut i32,
        out_dims: *mut i64,
    ) -> moec_status;
    pub fn moec_layer_weights_bytes(layer: *const moec_layer, out_bytes: *mut usize) -> moec_status;
    pub fn moec_weights_pack(
        layer: *const moec_layer,
        tensors: *const moec_tensor,
        count: usize,
        buffer: *mut c_void,
        buffer_bytes: usize,
        out_weights: *mut *mut moec_weights,
    ) -> moec_status;
    pub fn moec_weights_load(
        layer: *const moec_layer,
        path: *const c_char,
        prefix: *const c_char,
        buffer: *mut c_void,
        buffer_bytes: usize,
        out_weights: *mut *mut moec_weights,
    ) -> moec_status;
    pub fn moec_weights_load_sources(
        layer: *const moec_layer,
        sources: *const moec_weights_source,
        count: usize,
        buffer: *mut c_void,
        buffer_bytes: usize,
        out_weights: *mut *mut moec_weights,
    ) -> moec_status;
    pub fn moec_weights_map(
        layer: *const moec_layer,
        buffer: *const c_void,
        buffer_bytes: usize,
        flags: u32,
        out_weights: *mut *mut moec_weights,
    ) -> moec_status;
    pub fn moec_weights_destroy(weights: *mut moec_weights);
    pub fn moec_layer_workspace_bytes(layer: *const moec_layer, num_tokens: i64, out_bytes: *mut usize) -> moec_status;
    pub fn moec_layer_workspace_bytes_for(
        layer: *const moec_layer,
        num_tokens: i64,
        tokens_per_sequence: i64,
        out_bytes: *mut usize,
    ) -> moec_status;
    pub fn moec_layer_workspace_bytes_call(
        layer: *const moec_layer,
        args: *const moec_forward_args,
        out_bytes: *mut usize,
    ) -> moec_status;
    pub fn moec_layer_forward(
        layer: *const moec_layer,
        weights: *const moec_weights,
        args: *const moec_forward_args,
    ) -> moec_status;
    pub fn moec_layer_saved_bytes(
        layer: *const moec_layer,
        num_tokens: i64,
        tokens_per_sequence: i64,
        out_bytes: *mut usize,
    ) -> moec_status;
    pub fn moec_layer_backward_workspace_bytes(
        layer: *const moec_layer,
        num_tokens: i64,
        tokens_per_sequence: i64,
        out_bytes: *mut usize,
    ) -> moec_status;
    pub fn moec_layer_input_elements(
        layer: *const moec_layer,
        name: *const c_char,
        num_tokens: i64,
        tokens_per_sequence: i64,
        out_elements: *mut i64,
    ) -> moec_status;
    pub fn moec_layer_role_gradient(layer: *const moec_layer, index: i32, out_kind: *mut i32) -> moec_status;
    pub fn moec_layer_backward(
        layer: *const moec_layer,
        weights: *const moec_weights,
        args: *const moec_backward_args,
    ) -> moec_status;
    pub fn moec_load_of_counts(counts: *const i32, num_experts: i64, out_load: *mut moec_load) -> moec_status;
    pub fn moec_update_choice_bias(
        bias: *mut f32,
        counts: *const i32,
        num_experts: i64,
        rate: f32,
        centre: i32,
    ) -> moec_status;
    pub fn moec_next_capacity_factor(counts: *const i32, num_experts: i64, factor: *mut f64) -> moec_status;
    pub fn moec_status_name(status: moec_status) -> *const c_char;
    pub fn moec_last_error(buffer: *mut c_char, n: usize) -> usize;
    pub fn moec_cpu_isa() -> i32;
    pub fn moec_isa_name(isa: i32) -> *const c_char;
}
