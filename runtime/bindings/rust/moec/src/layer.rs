// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! A package and options -> a layer, and facts about it.
use crate::backward::Backward;
use crate::error::{checked, text_of, Error, Result, Status};
use crate::forward::Forward;
use crate::memory::{DType, Workspace};
use crate::package::Package;
use crate::pool::{run_hosted, HostThreads, Pool, Region};
use crate::weights::Weights;
use moec_sys as sys;
use std::ffi::c_void;
use std::sync::Arc;

/// How a [`Layer`] is made. `Default` is one thread and the best instruction set of the machine.
#[derive(Default)]
pub struct Options {
    threads: i32,
    spin_us: i32,
    isa_limit: i32,
    pool: Option<Pool>,
    host: Option<Box<HostThreads>>,
    cuda: Option<CudaOptions>,
}

struct CudaOptions {
    device: Option<i32>,
    driver: *const c_void,
}

impl Options {
    /// Threads of the layer's own, the calling one included.
    pub fn threads(mut self, threads: i32) -> Self {
        self.threads = threads;
        self
    }

    /// How many microseconds idle threads of the layer's own spin; 0 = 50, -1 = not at all.
    pub fn spin_us(mut self, spin_us: i32) -> Self {
        self.spin_us = spin_us;
        self
    }

    /// Threads shared with other layers.
    pub fn pool(mut self, pool: &Pool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// The highest instruction set to use, one of `sys::MOEC_ISA_*`.
    pub fn max_isa(mut self, isa: i32) -> Self {
        self.isa_limit = isa.saturating_add(1);
        self
    }

    /// The host's threads: each step of a call is one call of `run`, on the thread that made the call. `run` lets up to
    /// `threads` threads [`work`](Region::work); what they leave undone, the calling thread does after `run` has
    /// returned. A panic in `run` goes on in the caller when the call has ended.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let package = unsafe { moec::Package::open(std::env::var("MOEC_TEST_PACKAGE")?)? };
    /// let options = moec::Options::default().threads_of(2, |region| {
    ///     std::thread::scope(|scope| {
    ///         scope.spawn(|| region.work());
    ///         region.work();
    ///     });
    /// });
    /// let layer = moec::Layer::new(&package, options)?;
    /// assert_eq!(layer.info().max_threads, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The region cannot leave the call:
    ///
    /// ```compile_fail,E0521
    /// let escaped = std::sync::Mutex::new(None);
    /// moec::Options::default().threads_of(2, move |region| *escaped.lock().unwrap() = Some(region));
    /// ```
    ///
    /// and what `run` captures must be usable from any thread:
    ///
    /// ```compile_fail,E0277
    /// let calls = std::rc::Rc::new(std::cell::Cell::new(0));
    /// moec::Options::default().threads_of(2, move |region| {
    ///     calls.set(calls.get() + 1);
    ///     region.work();
    /// });
    /// ```
    pub fn threads_of(mut self, threads: usize, run: impl Fn(&Region<'_>) + Send + Sync + 'static) -> Self {
        self.threads = i32::try_from(threads).unwrap_or(i32::MAX);
        self.host = Some(Box::new(HostThreads { threads, run: Box::new(run) }));
        self
    }

    /// The layer runs on a CUDA device: its ordinal, or `None` for the current context's.
    ///
    /// # Safety
    ///
    /// If the calling thread's current context belongs to the device, that context outlives the layer.
    pub unsafe fn cuda(mut self, device: Option<i32>) -> Self {
        self.cuda = Some(CudaOptions { device, driver: std::ptr::null() });
        self
    }

    /// The same through another driver, such as an emulator's.
    ///
    /// # Safety
    ///
    /// As for [`cuda`](Options::cuda); `driver` is a `moec_cuda_driver`, which outlives the layer.
    pub unsafe fn cuda_driver(mut self, device: Option<i32>, driver: *const c_void) -> Self {
        self.cuda = Some(CudaOptions { device, driver });
        self
    }
}

/// Where a layer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Host memory and processors.
    Cpu,
    /// Kernels for this compute capability are in use: 90 for sm_90a.
    Cuda {
        /// Of the kernels in use.
        sm: i32,
    },
}

/// Facts of a layer that never change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Info {
    /// The package's name.
    pub name: String,
    /// H, elements of a row of x and y.
    pub hidden: usize,
    /// E.
    pub num_experts: usize,
    /// Choices per token.
    pub top_k: usize,
    /// Most tokens of a call.
    pub max_tokens: usize,
    /// Columns of `logits`.
    pub num_logits: usize,
    /// Elements of x.
    pub x_dtype: DType,
    /// Elements of y.
    pub y_dtype: DType,
    /// `"avx512"`, `"sm_90a"`.
    pub isa_name: String,
    /// 0: bits may differ from run to run; 1: bits repeat; 2: a row's bits do not depend on other rows.
    pub determinism: i32,
    /// Workers, the calling thread included.
    pub max_threads: usize,
    /// Where it runs.
    pub device: Device,
    /// Elements of `losses`.
    pub num_losses: usize,
    /// Elements of `choice_counts`.
    pub num_choice_counts: usize,
    /// Bits `sys::MOEC_REPORT_*` of the reports that the layer has.
    pub reports: u32,
    /// Whether the layer has a backward pass.
    pub trains: bool,
    /// Columns of `hidden_mask`: the inner values of every choice, as many as those of the widest expert. With soft
    /// routing of every slot, and a row of the mask is a sequence or the whole call: [`Layer::input_elements`].
    pub hidden_mask_columns: usize,
    /// Columns of `output_mask`: the outputs of every choice or slot, each `hidden` or the latent width.
    pub output_mask_columns: usize,
    /// Columns of `expert_mask`: routed experts, then zero experts.
    pub expert_mask_columns: usize,
}

/// The gradient of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// It has none: the spec freezes it, or nothing depends on it.
    None,
    /// Of f32.
    Vector,
    /// Of f32, or of the type of the packed weights; of all matrices the same.
    Matrix,
}

/// A parameter of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `"experts.gate"`.
    pub name: String,
    /// `[E, out, in]`, `[out, in]` or `[n]`.
    pub dims: Vec<usize>,
    /// What backward calls give for it.
    pub gradient: Gradient,
}

/// A layer on this machine. A clone is the same layer, and any number of threads may use it at once.
#[derive(Clone)]
pub struct Layer(Arc<LayerHandle>);

struct LayerHandle {
    layer: *mut sys::moec_layer,
    info: Info,
    // Released after the layer.
    _package: Package,
    _pool: Option<Pool>,
    _host: Option<Box<HostThreads>>,
}

unsafe impl Send for LayerHandle {}
unsafe impl Sync for LayerHandle {}

impl Layer {
    /// Checks the package and chooses the kernels for this machine.
    pub fn new(package: &Package, options: Options) -> Result<Layer> {
        let host = options.host.as_deref();
        let cuda = options.cuda.as_ref();
        let c = sys::moec_layer_options {
            struct_size: std::mem::size_of::<sys::moec_layer_options>(),
            max_threads: options.threads,
            max_isa: options.isa_limit,
            parallel_for: if host.is_some() { Some(run_hosted) } else { None },
            parallel_for_context: host.map_or(std::ptr::null_mut(), |host| host as *const _ as *mut c_void),
            spin_us: options.spin_us,
            reserved: 0,
            device: if cuda.is_some() { sys::MOEC_DEVICE_CUDA } else { sys::MOEC_DEVICE_CPU },
            cuda_device: cuda.and_then(|cuda| cuda.device).map_or(0, |device| device.saturating_add(1)),
            cuda_driver: cuda.map_or(std::ptr::null(), |cuda| cuda.driver),
            pool: options.pool.as_ref().map_or(std::ptr::null_mut(), Pool::as_ptr),
        };
        let mut layer = std::ptr::null_mut();
        checked(|| unsafe { sys::moec_layer_create(package.as_ptr(), &c, &mut layer) })?;
        let info = match info_of(layer) {
            Ok(info) => info,
            Err(error) => {
                unsafe { sys::moec_layer_destroy(layer) };
                return Err(error);
            }
        };
        let _package = package.clone();
        Ok(Layer(Arc::new(LayerHandle { layer, info, _package, _pool: options.pool, _host: options.host })))
    }

    /// Facts of the layer.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// The handle of C, which lives as long as this layer.
    pub fn as_ptr(&self) -> *const sys::moec_layer {
        self.0.layer
    }

    /// The parameters, in the layer's order.
    pub fn roles(&self) -> Result<Vec<Role>> {
        let raw = raw_info(self.as_ptr())?;
        (0..raw.num_roles)
            .map(|index| {
                let (name, dims) = role_of(self.as_ptr(), index)?;
                let mut kind = sys::MOEC_GRADIENT_NONE;
                checked(|| unsafe { sys::moec_layer_role_gradient(self.as_ptr(), index, &mut kind) })?;
                let gradient = match kind {
                    sys::MOEC_GRADIENT_MATRIX => Gradient::Matrix,
                    sys::MOEC_GRADIENT_VECTOR => Gradient::Vector,
                    _ => Gradient::None,
                };
                Ok(Role { name, dims, gradient })
            })
            .collect()
    }

    /// Bytes of packed weights.
    pub fn weights_bytes(&self) -> Result<usize> {
        let mut bytes = 0;
        checked(|| unsafe { sys::moec_layer_weights_bytes(self.as_ptr(), &mut bytes) })?;
        Ok(bytes)
    }

    /// Workspace bytes of calls of up to `max_tokens` tokens in sequences of `tokens_per_sequence` (0: one sequence).
    /// Calls with reports need more.
    pub fn workspace_bytes(&self, max_tokens: usize, tokens_per_sequence: usize, reports: bool) -> Result<usize> {
        let mut report = 0f32;
        let mut args = crate::forward::no_args();
        args.num_tokens = to_i64(max_tokens, "max_tokens")?;
        args.tokens_per_sequence = to_i64(tokens_per_sequence, "tokens_per_sequence")?;
        if reports {
            args.out_logit_mean = &mut report;
        }
        let mut bytes = 0;
        checked(|| unsafe { sys::moec_layer_workspace_bytes_call(self.as_ptr(), &args, &mut bytes) })?;
        Ok(bytes)
    }

    /// Workspace for calls of up to `max_tokens` tokens, one sequence and no reports.
    pub fn workspace(&self, max_tokens: usize) -> Result<Workspace> {
        self.host_only()?;
        Workspace::new(self.workspace_bytes(max_tokens, 0, false)?)
    }

    /// Bytes that a call of `tokens` tokens keeps for backward; 0 for layers without a backward pass.
    pub fn saved_bytes(&self, tokens: usize, tokens_per_sequence: usize) -> Result<usize> {
        let (tokens, sequence) = (to_i64(tokens, "tokens")?, to_i64(tokens_per_sequence, "tokens_per_sequence")?);
        let mut bytes = 0;
        checked(|| unsafe { sys::moec_layer_saved_bytes(self.as_ptr(), tokens, sequence, &mut bytes) })?;
        Ok(bytes)
    }

    /// Workspace bytes of a backward call of `max_tokens` tokens. `InvalidArgument` without a backward pass.
    pub fn backward_workspace_bytes(&self, max_tokens: usize, tokens_per_sequence: usize) -> Result<usize> {
        let sequence = to_i64(tokens_per_sequence, "tokens_per_sequence")?;
        let tokens = to_i64(max_tokens, "max_tokens")?;
        let mut bytes = 0;
        checked(|| unsafe { sys::moec_layer_backward_workspace_bytes(self.as_ptr(), tokens, sequence, &mut bytes) })?;
        Ok(bytes)
    }

    /// Elements of the input `name` of a call, `"x"` or as [`Forward`] names it. `InvalidArgument`: the layer lacks it.
    pub fn input_elements(&self, name: &str, tokens: usize, tokens_per_sequence: usize) -> Result<usize> {
        let (tokens, sequence) = (to_i64(tokens, "tokens")?, to_i64(tokens_per_sequence, "tokens_per_sequence")?);
        let unknown = || Error::new(Status::InvalidArgument, format!("{:?} is not the name of an input", name));
        let name = std::ffi::CString::new(name).map_err(|_| unknown())?;
        let mut count = 0;
        checked(|| unsafe {
            sys::moec_layer_input_elements(self.as_ptr(), name.as_ptr(), tokens, sequence, &mut count)
        })?;
        Ok(count as usize)
    }

    /// Memory for what a call of `tokens` tokens keeps, as one sequence.
    pub fn saved(&self, tokens: usize) -> Result<Workspace> {
        self.host_only()?;
        Workspace::new(self.saved_bytes(tokens, 0)?)
    }

    /// Workspace for backward calls of up to `max_tokens` tokens, as one sequence.
    pub fn backward_workspace(&self, max_tokens: usize) -> Result<Workspace> {
        self.host_only()?;
        Workspace::new(self.backward_workspace_bytes(max_tokens, 0)?)
    }

    /// Gradients of a call that was [`saved`](Forward::saved): see [`Backward`].
    pub fn backward<'a>(&'a self, weights: &'a Weights<'_>) -> Backward<'a> {
        Backward::new(self, weights)
    }

    /// A call: `layer.forward(&weights).x(&x).y(&mut y).run(&mut workspace)?`.
    pub fn forward<'a>(&'a self, weights: &'a Weights<'_>) -> Forward<'a> {
        Forward::new(self, weights)
    }

    /// A call with arguments of C, for device memory and everything else that [`Forward`] does not take.
    ///
    /// # Safety
    ///
    /// Pointers in `args` are NULL or as `moec.h` says, and on CUDA they live until the call has run on its stream.
    pub unsafe fn forward_raw(&self, weights: &Weights<'_>, args: &sys::moec_forward_args) -> Result<()> {
        checked(|| sys::moec_layer_forward(self.as_ptr(), weights.as_ptr(), args))
    }

    /// A backward call with arguments of C.
    ///
    /// # Safety
    ///
    /// As for [`forward_raw`](Layer::forward_raw).
    pub unsafe fn backward_raw(&self, weights: &Weights<'_>, args: &sys::moec_backward_args) -> Result<()> {
        checked(|| sys::moec_layer_backward(self.as_ptr(), weights.as_ptr(), args))
    }

    /// Slices are memory of the host, which a GPU cannot read.
    pub(crate) fn host_only(&self) -> Result<()> {
        if self.info().device == Device::Cpu {
            return Ok(());
        }
        let text = "the layer runs on CUDA: pass memory of its device to the functions that end in _raw";
        Err(Error::new(Status::UnsupportedDevice, text))
    }
}

impl Drop for LayerHandle {
    fn drop(&mut self) {
        unsafe { sys::moec_layer_destroy(self.layer) };
    }
}

pub(crate) fn to_i64(value: usize, name: &str) -> Result<i64> {
    i64::try_from(value)
        .map_err(|_| Error::new(Status::InvalidArgument, format!("{} is {}, expected less than 2^63", name, value)))
}

fn raw_info(layer: *const sys::moec_layer) -> Result<sys::moec_layer_info> {
    let mut info: sys::moec_layer_info = unsafe { std::mem::zeroed() };
    info.struct_size = std::mem::size_of::<sys::moec_layer_info>();
    checked(|| unsafe { sys::moec_layer_get_info(layer, &mut info) })?;
    Ok(info)
}

fn info_of(layer: *const sys::moec_layer) -> Result<Info> {
    let c = raw_info(layer)?;
    let (inner, outputs) = expert_widths(layer, c.num_roles)?;
    let runs = if c.top_k == 0 { c.num_logits } else { c.top_k } as usize; // choices of a token, or slots
    Ok(Info {
        name: text_of(c.name).to_string(),
        hidden: c.hidden as usize,
        num_experts: c.num_experts as usize,
        top_k: c.top_k as usize,
        max_tokens: c.max_tokens as usize,
        num_logits: c.num_logits as usize,
        x_dtype: DType::from_c(c.x_dtype),
        y_dtype: DType::from_c(c.y_dtype),
        isa_name: text_of(c.isa_name).to_string(),
        determinism: c.determinism,
        max_threads: c.max_threads as usize,
        device: if c.device == sys::MOEC_DEVICE_CUDA { Device::Cuda { sm: c.cuda_sm } } else { Device::Cpu },
        num_losses: c.num_losses as usize,
        num_choice_counts: c.num_choice_counts as usize,
        reports: c.reports,
        trains: c.trains != 0,
        hidden_mask_columns: runs * inner,
        output_mask_columns: runs * outputs,
        expert_mask_columns: match c.num_choice_counts {
            0 => c.num_logits.max(c.num_experts) as usize,
            count => count as usize,
        },
    })
}

/// Inner values of the widest routed expert, and what an expert returns: the last matrix is `experts.down`
/// `[.., out, in]` of all experts or of one, or, of linear experts, `experts.up`.
fn expert_widths(layer: *const sys::moec_layer, num_roles: i32) -> Result<(usize, usize)> {
    let (mut inner, mut outputs) = (0, 0);
    for index in 0..num_roles {
        let (name, dims) = role_of(layer, index)?;
        if let [.., rows, columns] = dims[..] {
            if name == "experts.down" || name.starts_with("experts.down.") {
                inner = inner.max(columns);
                outputs = rows;
            } else if name == "experts.up" && outputs == 0 {
                outputs = rows;
            }
        }
    }
    Ok((inner, outputs))
}

/// Name and dims of a parameter.
fn role_of(layer: *const sys::moec_layer, index: i32) -> Result<(String, Vec<usize>)> {
    let (mut name, mut rank, mut dims) = (std::ptr::null(), 0, [0i64; 4]);
    checked(|| unsafe { sys::moec_layer_role(layer, index, &mut name, &mut rank, dims.as_mut_ptr()) })?;
    let dims = dims.iter().take(rank as usize).map(|&dim| dim as usize).collect();
    Ok((text_of(name).to_string(), dims))
}
