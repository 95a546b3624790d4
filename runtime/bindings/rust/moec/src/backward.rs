// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! The gradients of one call of a layer: its arguments by name, checked for type and number of elements.
use crate::error::{checked, Error, Result, Status};
use crate::forward::{inputs, Given, Shape, ShapeOf, CHOICES, LOGITS, ONE, ROWS, TOKEN};
use crate::layer::{to_i64, Gradient, Layer, Role};
use crate::memory::{DType, Element, Workspace};
use crate::weights::Weights;
use moec_sys as sys;
use std::ffi::c_void;
use std::marker::PhantomData;

/// The gradients of `sum(grad_y * y) + sum(grad_losses * losses)`, y and losses those of a call that was
/// [`saved`](crate::Forward::saved). x, inputs and weights are those of that call. T is `x.len() / hidden`.
///
/// ```no_run
/// # fn main() -> moec::Result<()> {
/// # let package = unsafe { moec::Package::open("trained")? };
/// # let layer = moec::Layer::new(&package, Default::default())?;
/// # let weights = layer.load("checkpoint", "")?;
/// let (x, dy) = (vec![0.5f32; 2 * 8], vec![1f32; 2 * 8]);
/// let (mut y, mut dx, mut down) = (vec![0f32; 2 * 8], vec![0f32; 2 * 8], vec![0f32; 4 * 8 * 6]);
/// let mut kept = layer.saved(2)?;
/// layer.forward(&weights).x(&x).y(&mut y).saved(&mut kept).run(&mut layer.workspace(2)?)?;
///
/// let call = layer.backward(&weights).x(&x).grad_y(&dy).saved(&kept);
/// call.grad_x(&mut dx).gradient("experts.down", &mut down).run(&mut layer.backward_workspace(2)?)?;
/// # Ok(())
/// # }
/// ```
///
/// What a call writes, nothing else may use meanwhile:
///
/// ```compile_fail,E0502
/// fn wrong(layer: &moec::Layer, weights: &moec::Weights, workspace: &mut moec::Workspace) -> moec::Result<()> {
///     let mut x = vec![0f32; 8];
///     layer.backward(weights).x(&x).grad_x(&mut x).run(workspace)
/// }
/// ```
#[must_use = "a call does nothing until it is run"]
pub struct Backward<'a> {
    layer: &'a Layer,
    weights: *const sys::moec_weights,
    args: sys::moec_backward_args,
    x_count: usize,
    tokens_per_sequence: usize,
    given: Vec<Given<'static>>,
    roles: Result<Vec<Role>>,
    gradients: Vec<GivenGradient>,
    memory: PhantomData<&'a mut [u8]>,
}

/// The memory of a parameter's gradient.
struct GivenGradient {
    role: String,
    pointer: *mut c_void,
    count: usize,
    dtype: DType,
}

impl<'a> Backward<'a> {
    pub(crate) fn new(layer: &'a Layer, weights: &'a Weights<'_>) -> Backward<'a> {
        let mut args: sys::moec_backward_args = unsafe { std::mem::zeroed() };
        args.struct_size = std::mem::size_of::<sys::moec_backward_args>();
        Backward {
            layer,
            weights: weights.as_ptr(),
            args,
            x_count: 0,
            tokens_per_sequence: 0,
            given: Vec::new(),
            roles: layer.roles(),
            gradients: Vec::new(),
            memory: PhantomData,
        }
    }

    fn give(mut self, name: &'static str, shape: ShapeOf, count: usize) -> Self {
        let (per_token, fixed) = shape(self.layer.info());
        self.given.retain(|given| given.shape.name != name);
        self.given.push(Given { shape: Shape { name, per_token, fixed }, count, dtype: None });
        self
    }

    fn typed(mut self, found: DType, expected: DType) -> Self {
        if let Some(given) = self.given.last_mut() {
            given.dtype = Some((found, expected));
        }
        self
    }

    /// `[T, hidden]` of the forward call.
    pub fn x<T: Element>(mut self, x: &'a [T]) -> Self {
        self.args.x = x.as_ptr().cast();
        self.x_count = x.len();
        let expected = self.layer.info().x_dtype;
        self.give("x", ROWS, x.len()).typed(T::DTYPE, expected)
    }

    /// `[T, hidden]` in the layer's output type, 16-byte aligned.
    pub fn grad_y<T: Element>(mut self, grad_y: &'a [T]) -> Self {
        self.args.grad_y = grad_y.as_ptr().cast();
        let expected = self.layer.info().y_dtype;
        self.give("grad_y", ROWS, grad_y.len()).typed(T::DTYPE, expected)
    }

    /// `[num_losses]` what each loss counts in the total; nothing if it is not given.
    pub fn grad_losses(mut self, grad_losses: &'a [f32]) -> Self {
        self.args.grad_losses = grad_losses.as_ptr();
        self.give("grad_losses", |info| (0, info.num_losses), grad_losses.len())
    }

    /// What the forward call kept; any number of backward calls may read it.
    pub fn saved(mut self, memory: &'a Workspace) -> Self {
        self.args.saved = memory.contents().cast();
        self.args.saved_bytes = memory.bytes();
        self
    }

    /// `[T, hidden]` in the layer's input type, 16-byte aligned.
    pub fn grad_x<T: Element>(mut self, grad_x: &'a mut [T]) -> Self {
        self.args.grad_x = grad_x.as_mut_ptr().cast();
        let expected = self.layer.info().x_dtype;
        self.give("grad_x", ROWS, grad_x.len()).typed(T::DTYPE, expected)
    }

    /// `[T, hidden]` in the layer's input type, 16-byte aligned.
    pub fn grad_residual<T: Element>(mut self, grad_residual: &'a mut [T]) -> Self {
        self.args.grad_residual = grad_residual.as_mut_ptr().cast();
        let expected = self.layer.info().x_dtype;
        self.give("grad_residual", ROWS, grad_residual.len()).typed(T::DTYPE, expected)
    }

    /// `[T, top_k]`
    pub fn grad_expert_weights(mut self, grad_expert_weights: &'a mut [f32]) -> Self {
        self.args.grad_expert_weights = grad_expert_weights.as_mut_ptr();
        self.give("grad_expert_weights", CHOICES, grad_expert_weights.len())
    }

    /// Of a parameter, in the shape of [`Layer::roles`]. Vectors are of f32; matrices of one type, f32 or that of the
    /// packed weights.
    pub fn gradient<T: Element>(mut self, role: &str, gradient: &'a mut [T]) -> Self {
        self.gradients.retain(|given| given.role != role);
        self.gradients.push(GivenGradient {
            role: role.to_string(),
            pointer: gradient.as_mut_ptr().cast(),
            count: gradient.len(),
            dtype: T::DTYPE,
        });
        self
    }

    /// Adds the gradients of parameters to what their memory holds.
    pub fn accumulate(mut self) -> Self {
        self.args.accumulate = 1;
        self
    }

    /// `[T, hidden]` of the forward call, as the inputs below.
    pub fn residual<T: Element>(mut self, residual: &'a [T]) -> Self {
        self.args.residual = residual.as_ptr().cast();
        let expected = self.layer.info().x_dtype;
        self.give("residual", ROWS, residual.len()).typed(T::DTYPE, expected)
    }

    /// That of the forward call.
    pub fn tokens_per_sequence(mut self, tokens: usize) -> Self {
        self.tokens_per_sequence = tokens;
        self
    }

    inputs! {
        /// `[T, num_logits]`
        noise: f32, LOGITS;
        /// `[T]`
        uniform: f32, TOKEN;
        /// `[T]`
        token_ids: i32, TOKEN;
        /// `[T, top_k]`
        expert_ids: i32, CHOICES;
        /// `[T, top_k]`
        expert_weights: f32, CHOICES;
        /// `[T]`
        group_ids: i32, TOKEN;
        /// `[T]`
        priority: f32, TOKEN;
        /// `[1]`
        capacity: i32, ONE;
        /// `[1]`
        top_k: i32, ONE;
        /// `[T, hidden]`
        jitter: f32, ROWS;
        /// `[T, top_k]`
        replace: f32, CHOICES;
        /// `[T, top_k]`
        replace_ids: i32, CHOICES;
        /// `[T, hidden_mask_columns]`
        hidden_mask: f32, |info| (info.hidden_mask_columns, 0);
        /// `[T, output_mask_columns]`
        output_mask: f32, |info| (info.output_mask_columns, 0);
        /// `[T, expert_mask_columns]`
        expert_mask: f32, |info| (info.expert_mask_columns, 0);
        /// `[T, top_k]`
        midpoint_mask: f32, CHOICES;
    }

    /// Runs the call in `workspace`, memory of [`Layer::backward_workspace`].
    pub fn run(self, workspace: &mut Workspace) -> Result<()> {
        self.layer.host_only()?;
        let info = self.layer.info();
        if self.x_count % info.hidden != 0 {
            let text = format!("x has {} elements, expected a multiple of {}", self.x_count, info.hidden);
            return Err(Error::new(Status::Shape, text));
        }
        let tokens = self.x_count / info.hidden;
        for given in &self.given {
            given.check_input(self.layer, tokens, self.tokens_per_sequence)?;
        }
        let mut args = self.args;
        args.num_tokens = to_i64(tokens, "x")?;
        args.tokens_per_sequence = to_i64(self.tokens_per_sequence, "tokens_per_sequence")?;
        let (pointers, dtype) = self.pointers(tokens)?;
        args.grad_parameters = pointers.as_ptr();
        args.grad_dtype = dtype as i32;
        args.workspace = workspace.start().cast();
        args.workspace_bytes = workspace.bytes();
        checked(|| unsafe { sys::moec_layer_backward(self.layer.as_ptr(), self.weights, &args) })
    }

    /// Where the gradient of each role goes, and the type of those of matrices.
    fn pointers(&self, tokens: usize) -> Result<(Vec<*mut c_void>, sys::moec_dtype)> {
        let name = &self.layer.info().name;
        let roles = self.roles.as_ref().map_err(Clone::clone)?;
        let mut pointers = vec![std::ptr::null_mut(); roles.len()];
        let mut of_matrices = None;
        for gradient in &self.gradients {
            let index = roles.iter().position(|role| role.name == gradient.role).ok_or_else(|| {
                Error::new(Status::InvalidArgument, format!("layer {} has no role {}", name, gradient.role))
            })?;
            let role = &roles[index];
            let expected = match role.gradient {
                Gradient::Matrix => *of_matrices.get_or_insert(gradient.dtype),
                _ => DType::F32,
            };
            let label = format!("the gradient of {}", role.name);
            let shape = Shape { name: &label, per_token: 0, fixed: role.dims.iter().product() };
            Given { shape, count: gradient.count, dtype: Some((gradient.dtype, expected)) }.check(tokens, name)?;
            pointers[index] = gradient.pointer;
        }
        Ok((pointers, of_matrices.map_or(sys::MOEC_F32, DType::to_c)))
    }
}
