// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! One call of a layer: its arguments by name, checked for type and number of elements.
use crate::error::{checked, text_of, Error, Result, Status};
use crate::layer::{to_i64, Layer};
use crate::memory::{DType, Element, Workspace};
use crate::weights::Weights;
use moec_sys as sys;
use std::any::Any;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Mutex;

/// What a probe is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The step begins; no unit of it has begun.
    StepBegin,
    /// All units of the step are done.
    StepEnd,
    /// `worker` begins `unit`.
    UnitBegin,
    /// `worker` has done `unit`.
    UnitEnd,
    /// A kind that a later runtime added.
    Other(i32),
}

/// One event of a call: see `moec_probe_event` of `moec.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What the event says.
    pub kind: EventKind,
    /// The step's number in the package.
    pub step: usize,
    /// `"experts_gate_up"`, as `moec explain` prints it.
    pub name: &'static str,
    /// `"rows"`, `"matmul"`, ...
    pub step_kind: &'static str,
    /// Of the call, or of its chunk in a call that runs in chunks.
    pub first_token: usize,
    /// Of the call, or of its chunk.
    pub num_tokens: usize,
    /// Rows that the step worked on; 0 when it begins.
    pub rows: usize,
    /// Pieces that the step was cut into.
    pub units: usize,
    /// The piece, in events of units.
    pub unit: Option<usize>,
    /// The thread that runs the piece.
    pub worker: Option<usize>,
}

impl Event {
    fn from_c(c: &sys::moec_probe_event) -> Event {
        let kind = match c.event {
            sys::MOEC_PROBE_STEP_BEGIN => EventKind::StepBegin,
            sys::MOEC_PROBE_STEP_END => EventKind::StepEnd,
            sys::MOEC_PROBE_UNIT_BEGIN => EventKind::UnitBegin,
            sys::MOEC_PROBE_UNIT_END => EventKind::UnitEnd,
            other => EventKind::Other(other),
        };
        Event {
            kind,
            step: c.step as usize,
            name: text_of(c.name),
            step_kind: text_of(c.kind),
            first_token: c.first_token as usize,
            num_tokens: c.num_tokens as usize,
            rows: c.rows as usize,
            units: c.units as usize,
            unit: usize::try_from(c.unit).ok(),
            worker: usize::try_from(c.worker).ok(),
        }
    }
}

pub(crate) fn no_args() -> sys::moec_forward_args {
    let mut args: sys::moec_forward_args = unsafe { std::mem::zeroed() };
    args.struct_size = std::mem::size_of::<sys::moec_forward_args>();
    args
}

/// Elements of an argument: `per_token` * T + `fixed`.
pub(crate) struct Shape<'a> {
    pub(crate) name: &'a str,
    pub(crate) per_token: usize,
    pub(crate) fixed: usize,
}

/// What was given for it.
pub(crate) struct Given<'a> {
    pub(crate) shape: Shape<'a>,
    pub(crate) count: usize,
    pub(crate) dtype: Option<(DType, DType)>, // found, expected
}

type Listener<'a> = dyn Fn(&Event) + Sync + 'a;

/// A call under construction. T, the number of tokens, is that of x: `x.len() / hidden`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let package = unsafe { moec::Package::open(std::env::var("MOEC_TEST_PACKAGE")?)? };
/// # let layer = moec::Layer::new(&package, Default::default())?;
/// # let (router, matrix) = (vec![0.1f32; 4 * 8], vec![0.5f32; 4 * 6 * 8]);
/// # let weights = layer.pack(&[
/// #     moec::Tensor::new("router.weight", &router),
/// #     moec::Tensor::new("experts.gate", &matrix),
/// #     moec::Tensor::new("experts.up", &matrix),
/// #     moec::Tensor::new("experts.down", &matrix),
/// # ])?;
/// let (x, mut y) = (vec![0.5f32; 2 * 8], vec![0f32; 2 * 8]);
/// let (mut ids, mut counts) = ([0; 2 * 2], [0; 4]);
/// let mut workspace = layer.workspace(2)?;
/// layer.forward(&weights).x(&x).y(&mut y).ids(&mut ids).counts(&mut counts).run(&mut workspace)?;
/// assert_eq!(counts.iter().sum::<i32>(), 4);
///
/// let error = layer.forward(&weights).x(&x).y(&mut y[1..]).run(&mut workspace).unwrap_err();
/// assert_eq!(error.to_string(), "MOEC_SHAPE: y has 15 elements, expected 16 for 2 tokens");
/// # Ok(())
/// # }
/// ```
///
/// What a call writes, nothing else may use meanwhile:
///
/// ```compile_fail,E0502
/// fn wrong(layer: &moec::Layer, weights: &moec::Weights, workspace: &mut moec::Workspace) -> moec::Result<()> {
///     let mut x = vec![0f32; 8];
///     layer.forward(weights).x(&x).y(&mut x).run(workspace)
/// }
/// ```
///
/// ```compile_fail,E0505
/// fn wrong(layer: &moec::Layer, weights: &moec::Weights, workspace: &mut moec::Workspace) -> moec::Result<()> {
///     let mut y = vec![0f32; 8];
///     let call = layer.forward(weights).y(&mut y);
///     drop(y);
///     call.run(workspace)
/// }
/// ```
///
/// and two calls at the same time need two workspaces:
///
/// ```compile_fail,E0499
/// fn wrong(layer: &moec::Layer, weights: &moec::Weights, workspace: &mut moec::Workspace) {
///     std::thread::scope(|scope| {
///         scope.spawn(|| layer.forward(weights).run(workspace));
///         scope.spawn(|| layer.forward(weights).run(workspace));
///     });
/// }
/// ```
///
/// Slices of types that are not elements are refused:
///
/// ```compile_fail,E0277
/// fn wrong(layer: &moec::Layer, weights: &moec::Weights, x: &[u8]) {
///     layer.forward(weights).x(x);
/// }
/// ```
#[must_use = "a call does nothing until it is run"]
pub struct Forward<'a> {
    layer: &'a Layer,
    weights: *const sys::moec_weights,
    args: sys::moec_forward_args,
    x_count: usize,
    tokens_per_sequence: usize,
    given: Vec<Given<'static>>,
    listener: Option<&'a Listener<'a>>,
    units: bool,
    memory: PhantomData<&'a mut [u8]>,
}

/// Inputs that forward and backward calls have.
macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $shape:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: &'a [$type]) -> Self {
            self.args.$name = $name.as_ptr();
            self.give(stringify!($name), $shape, $name.len())
        }
    )*};
}

pub(crate) use inputs;

macro_rules! outputs {
    ($($(#[$doc:meta])* $name:ident -> $field:ident: $type:ty, $shape:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: &'a mut [$type]) -> Self {
            self.args.$field = $name.as_mut_ptr();
            self.give(stringify!($name), $shape, $name.len())
        }
    )*};
}

pub(crate) type ShapeOf = fn(&crate::Info) -> (usize, usize);
pub(crate) const TOKEN: ShapeOf = |_| (1, 0);
pub(crate) const CHOICES: ShapeOf = |info| (info.top_k, 0);
pub(crate) const LOGITS: ShapeOf = |info| (info.num_logits, 0);
pub(crate) const ROWS: ShapeOf = |info| (info.hidden, 0);
pub(crate) const ONE: ShapeOf = |_| (0, 1);

impl<'a> Forward<'a> {
    pub(crate) fn new(layer: &'a Layer, weights: &'a Weights<'_>) -> Forward<'a> {
        Forward {
            layer,
            weights: weights.as_ptr(),
            args: no_args(),
            x_count: 0,
            tokens_per_sequence: 0,
            given: Vec::new(),
            listener: None,
            units: false,
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

    /// `[T, hidden]` in the layer's input type, 16-byte aligned, as memory of `Vec` and [`Buffer`](crate::Buffer) is.
    pub fn x<T: Element>(mut self, x: &'a [T]) -> Self {
        self.args.x = x.as_ptr().cast();
        self.x_count = x.len();
        let expected = self.layer.info().x_dtype;
        self.give("x", ROWS, x.len()).typed(T::DTYPE, expected)
    }

    /// `[T, hidden]` in the layer's output type, 16-byte aligned.
    pub fn y<T: Element>(mut self, y: &'a mut [T]) -> Self {
        self.args.y = y.as_mut_ptr().cast();
        let expected = self.layer.info().y_dtype;
        self.give("y", ROWS, y.len()).typed(T::DTYPE, expected)
    }

    /// `[T, hidden]` in the layer's input type: an input of some layers, as are those below.
    pub fn residual<T: Element>(mut self, residual: &'a [T]) -> Self {
        self.args.residual = residual.as_ptr().cast();
        let expected = self.layer.info().x_dtype;
        self.give("residual", ROWS, residual.len()).typed(T::DTYPE, expected)
    }

    /// Layers that look at whole sequences: how long one is; 0 = all tokens are one.
    pub fn tokens_per_sequence(mut self, tokens: usize) -> Self {
        self.tokens_per_sequence = tokens;
        self
    }

    inputs! {
        /// `[T, num_logits]` draws.
        noise: f32, LOGITS;
        /// `[T]` draws of `[0, 1)`.
        uniform: f32, TOKEN;
        /// `[T]` rows of `router.table`.
        token_ids: i32, TOKEN;
        /// `[T, top_k]`, -1 = none.
        expert_ids: i32, CHOICES;
        /// `[T, top_k]`
        expert_weights: f32, CHOICES;
        /// `[T]` the group of each token.
        group_ids: i32, TOKEN;
        /// `[T]` a larger value takes a place before a smaller one.
        priority: f32, TOKEN;
        /// `[1]` places per expert.
        capacity: i32, ONE;
        /// `[1]` how many of the compiled choices to use.
        top_k: i32, ONE;
        /// `[T, hidden]` draws of `[0, 1)` that jitter what the router reads, 1/2 does nothing: of layers that train,
        /// as those below.
        jitter: f32, ROWS;
        /// `[T, top_k]` draws of `[0, 1)`: which ids are replaced; 1: none.
        replace: f32, CHOICES;
        /// `[T, top_k]` the experts that replace them.
        replace_ids: i32, CHOICES;
        /// `[T, hidden_mask_columns]` factors of inner values; 1 does nothing, as in the masks below. With soft routing
        /// this mask and the next have a row for each sequence, or one for the call.
        hidden_mask: f32, |info| (info.hidden_mask_columns, 0);
        /// `[T, output_mask_columns]` factors of experts' outputs.
        output_mask: f32, |info| (info.output_mask_columns, 0);
        /// `[T, expert_mask_columns]` 0: the token does without the expert.
        expert_mask: f32, |info| (info.expert_mask_columns, 0);
        /// `[T, top_k]` of sparsemixer: 0 where a sample of `expert_ids` weighs a third.
        midpoint_mask: f32, CHOICES;
    }

    outputs! {
        /// `[T, num_logits]` before any score.
        logits -> out_logits: f32, LOGITS;
        /// `[T, top_k]` chosen experts.
        ids -> out_ids: i32, CHOICES;
        /// `[T, top_k]` their weights.
        weights -> out_weights: f32, CHOICES;
        /// `[num_experts]` rows per expert.
        counts -> out_counts: i32, |info| (0, info.num_experts);
        /// `[T, num_logits]` scores over their sum: a report, as are those below. Calls with reports need a larger
        /// workspace: [`Forward::workspace_bytes`], or [`Layer::workspace_bytes`](crate::Layer::workspace_bytes).
        probabilities -> out_probabilities: f32, LOGITS;
        /// `[num_choice_counts]` choices before drops.
        choice_counts -> out_choice_counts: i32, |info| (0, info.num_choice_counts);
        /// `[num_losses]` values of the spec's losses.
        losses -> out_losses: f32, |info| (0, info.num_losses);
        /// `[1]` mean of the logits' magnitudes.
        logit_mean -> out_logit_mean: f32, ONE;
        /// `[1]` the largest of them.
        logit_max -> out_logit_max: f32, ONE;
        /// `[1]` how far the experts of a token differ.
        diversity -> out_diversity: f32, ONE;
        /// `[1]` tokens that reach none of their experts.
        dropped_tokens -> out_dropped_tokens: i32, ONE;
    }

    /// Where a layer with a backward pass keeps what [`backward`](crate::Layer::backward) needs of this call: memory of
    /// [`Layer::saved`](crate::Layer::saved).
    pub fn saved(mut self, memory: &'a mut Workspace) -> Self {
        self.args.saved = memory.start().cast();
        self.args.saved_bytes = memory.bytes();
        self
    }

    /// `listener` is told when steps begin and end, from whichever thread that is. A panic in it goes on in the caller
    /// when the call has ended. It may not start a call on a pool whose calls wait for their turn.
    pub fn probe(mut self, listener: &'a (dyn Fn(&Event) + Sync + 'a)) -> Self {
        self.listener = Some(listener);
        self
    }

    /// [`probe`](Forward::probe) with events of units, too, from the threads that run them, at the same time.
    pub fn probe_units(mut self, listener: &'a (dyn Fn(&Event) + Sync + 'a)) -> Self {
        self.units = true;
        self.probe(listener)
    }

    /// Workspace bytes of this call.
    pub fn workspace_bytes(&self) -> Result<usize> {
        let args = self.checked_args()?;
        let mut bytes = 0;
        checked(|| unsafe { sys::moec_layer_workspace_bytes_call(self.layer.as_ptr(), &args, &mut bytes) })?;
        Ok(bytes)
    }

    /// Runs the call in `workspace` and returns when y and every other output are complete.
    pub fn run(self, workspace: &mut Workspace) -> Result<()> {
        self.layer.host_only()?;
        let mut args = self.checked_args()?;
        args.workspace = workspace.start().cast();
        args.workspace_bytes = workspace.bytes();
        let call = |args: &sys::moec_forward_args| {
            checked(|| unsafe { sys::moec_layer_forward(self.layer.as_ptr(), self.weights, args) })
        };
        let listener = match self.listener {
            Some(listener) => Listening { listener, panic: Mutex::new(None) },
            None => return call(&args),
        };
        let probe = sys::moec_probe {
            struct_size: std::mem::size_of::<sys::moec_probe>(),
            on_event: Some(on_event),
            context: &listener as *const Listening<'_> as *mut c_void,
            units: i32::from(self.units),
            reserved: 0,
        };
        args.probe = &probe;
        let result = call(&args);
        let panic = listener.panic.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        panic.map_or(result, |payload| resume_unwind(payload))
    }

    /// The arguments, every slice as long as T tokens want it; without workspace and probe.
    fn checked_args(&self) -> Result<sys::moec_forward_args> {
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
        Ok(args)
    }
}

impl Given<'_> {
    /// The same of an argument of a call: masks of dropout may have a row for each sequence.
    pub(crate) fn check_input(&self, layer: &Layer, tokens: usize, tokens_per_sequence: usize) -> Result<()> {
        let name = self.shape.name;
        if !matches!(name, "hidden_mask" | "output_mask") {
            return self.check(tokens, &layer.info().name);
        }
        match layer.input_elements(name, tokens, tokens_per_sequence) {
            Ok(expected) if expected != self.count => {
                let text = format!("{} has {} elements, expected {} for {} tokens", name, self.count, expected, tokens);
                Err(Error::new(Status::Shape, text))
            }
            _ => Ok(()), // what else is wrong the runtime says
        }
    }

    pub(crate) fn check(&self, tokens: usize, layer: &str) -> Result<()> {
        let name = self.shape.name;
        match self.dtype {
            Some((found, expected)) if found != expected => {
                let text = format!("{} holds {}, layer {} expects {}", name, found.name(), layer, expected.name());
                return Err(Error::new(Status::DType, text));
            }
            _ => {}
        }
        let expected = self.shape.per_token.checked_mul(tokens).and_then(|rows| rows.checked_add(self.shape.fixed));
        let lacks = self.shape.per_token == 0 && self.shape.fixed == 0; // the runtime says that the layer lacks it
        if lacks || expected == Some(self.count) {
            return Ok(());
        }
        let expected = expected.map_or("more than there are addresses".to_string(), |count| count.to_string());
        let text = format!("{} has {} elements, expected {} for {} tokens", name, self.count, expected, tokens);
        Err(Error::new(Status::Shape, text))
    }
}

struct Listening<'a> {
    listener: &'a Listener<'a>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

unsafe extern "C" fn on_event(context: *mut c_void, event: *const sys::moec_probe_event) {
    let listening = &*(context as *const Listening<'_>);
    let event = Event::from_c(&*event);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (listening.listener)(&event))) {
        if let Ok(mut kept) = listening.panic.lock() {
            kept.get_or_insert(payload);
        }
    }
}
