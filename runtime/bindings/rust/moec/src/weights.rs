// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Tensors, checkpoints, or packed weights in memory -> what calls compute with.
use crate::error::{checked, Error, Result, Status};
use crate::layer::{to_i64, Device, Layer};
use crate::memory::{DType, Element, MappedFile, Pages};
use moec_sys as sys;
use std::ffi::{c_void, CString};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Elements for one role, or for one expert of it (`"experts.gate.3"`).
pub struct Tensor<'a> {
    role: String,
    data: *const c_void,
    count: usize,
    dtype: DType,
    dims: Vec<usize>,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> Tensor<'a> {
    /// In the shape of its role.
    pub fn new<T: Element>(role: impl Into<String>, data: &'a [T]) -> Tensor<'a> {
        Tensor {
            role: role.into(),
            data: data.as_ptr().cast(),
            count: data.len(),
            dtype: T::DTYPE,
            dims: Vec::new(),
            memory: PhantomData,
        }
    }

    /// Of a shape that the layer compares with its own.
    pub fn dims(mut self, dims: &[usize]) -> Tensor<'a> {
        self.dims = dims.to_vec();
        self
    }
}

/// A checkpoint, and what goes before the names of its tensors.
#[derive(Debug, Clone)]
pub struct Source {
    /// A safetensors file, an index of shards, or a folder with either.
    pub path: PathBuf,
    /// Goes before every name; may be empty.
    pub prefix: String,
}

impl Source {
    /// A checkpoint and its prefix.
    pub fn new(path: impl Into<PathBuf>, prefix: impl Into<String>) -> Source {
        Source { path: path.into(), prefix: prefix.into() }
    }
}

/// Whether [`Layer::map`] compares weights with their checksum, which reads all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Looks at the first page only.
    No,
    /// Reads every byte once.
    Yes,
}

/// Packed weights of a layer: their own memory, or a buffer of the caller that they borrow for `'b`. Any number of
/// threads may use them at once.
pub struct Weights<'b> {
    weights: *mut sys::moec_weights,
    packed: (*const u8, usize),
    _memory: Memory,
    borrowed: PhantomData<&'b [u8]>,
    // Released last.
    _layer: Layer,
}

/// What keeps the packed bytes; both are `None` if the caller does.
#[derive(Default)]
struct Memory {
    _own: Option<Pages>,
    _file: Option<MappedFile>,
}

unsafe impl Send for Weights<'_> {}
unsafe impl Sync for Weights<'_> {}

impl Weights<'_> {
    /// The handle of C, which lives as long as these weights.
    pub fn as_ptr(&self) -> *const sys::moec_weights {
        self.weights
    }

    /// The packed form: written to a file, every program that has the package can map it. Empty on CUDA, where the
    /// bytes are on the device.
    pub fn packed(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.packed.0, self.packed.1) }
    }
}

impl Drop for Weights<'_> {
    fn drop(&mut self) {
        unsafe { sys::moec_weights_destroy(self.weights) };
    }
}

/// Makes weights of `layer` in a buffer.
trait Fill {
    /// # Safety
    ///
    /// `buffer` is valid for `bytes` bytes.
    unsafe fn fill(&self, layer: &Layer, buffer: *mut c_void, bytes: usize) -> Result<*mut sys::moec_weights>;
}

struct FromTensors<'t>(&'t [Tensor<'t>]);

impl Fill for FromTensors<'_> {
    unsafe fn fill(&self, layer: &Layer, buffer: *mut c_void, bytes: usize) -> Result<*mut sys::moec_weights> {
        let roles = layer.roles()?;
        let shape_of = |role: &str| {
            let whole = role.rsplit_once('.').map_or(role, |(whole, _)| whole);
            let same = roles.iter().find(|known| known.name == role).map(|known| known.dims.clone());
            let part = || roles.iter().find(|known| known.name == whole && known.dims.len() > 1);
            same.or_else(|| part().map(|known| known.dims[1..].to_vec()))
        };
        let mut names = Vec::new();
        let mut list = Vec::new();
        for tensor in self.0 {
            let dims = match tensor.dims.is_empty() {
                false => tensor.dims.clone(),
                true => shape_of(&tensor.role).unwrap_or_else(|| vec![tensor.count]), // the runtime lists its roles
            };
            list.push(c_tensor(tensor, &dims)?);
            names.push(c_text(&tensor.role, "role")?);
        }
        for (c, name) in list.iter_mut().zip(&names) {
            c.role = name.as_ptr();
        }
        let mut weights = std::ptr::null_mut();
        checked(|| sys::moec_weights_pack(layer.as_ptr(), list.as_ptr(), list.len(), buffer, bytes, &mut weights))?;
        Ok(weights)
    }
}

/// Without its role's name.
fn c_tensor(tensor: &Tensor<'_>, dims: &[usize]) -> Result<sys::moec_tensor> {
    if dims.len() > 4 {
        let text = format!("{}: {} dimensions, expected 1 to 4", tensor.role, dims.len());
        return Err(Error::new(Status::Shape, text));
    }
    let elements = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if elements != Some(tensor.count) {
        let text = format!("{}: {} elements, expected those of {:?}", tensor.role, tensor.count, dims);
        return Err(Error::new(Status::Shape, text));
    }
    let mut c = sys::moec_tensor {
        role: std::ptr::null(),
        data: tensor.data,
        dtype: tensor.dtype.to_c(),
        rank: dims.len() as i32,
        dims: [0; 4],
    };
    for (to, &from) in c.dims.iter_mut().zip(dims) {
        *to = to_i64(from, &tensor.role)?;
    }
    Ok(c)
}

fn c_text(text: impl AsRef<[u8]>, what: &str) -> Result<CString> {
    CString::new(text.as_ref()).map_err(|_| Error::new(Status::InvalidArgument, format!("{} holds a zero byte", what)))
}

struct FromSources<'s>(&'s [Source]);

impl Fill for FromSources<'_> {
    unsafe fn fill(&self, layer: &Layer, buffer: *mut c_void, bytes: usize) -> Result<*mut sys::moec_weights> {
        if self.0.is_empty() {
            return Err(Error::new(Status::InvalidArgument, "sources is empty, expected 1 to 16"));
        }
        let mut texts = Vec::new();
        for source in self.0 {
            texts.push((c_text(source.path.as_os_str().as_bytes(), "path")?, c_text(&source.prefix, "prefix")?));
        }
        let list: Vec<sys::moec_weights_source> = texts
            .iter()
            .map(|(path, prefix)| sys::moec_weights_source { path: path.as_ptr(), prefix: prefix.as_ptr() })
            .collect();
        let mut weights = std::ptr::null_mut();
        checked(|| {
            sys::moec_weights_load_sources(layer.as_ptr(), list.as_ptr(), list.len(), buffer, bytes, &mut weights)
        })?;
        Ok(weights)
    }
}

unsafe fn map(layer: &Layer, buffer: *const c_void, bytes: usize, verify: Verify) -> Result<*mut sys::moec_weights> {
    let flags = if verify == Verify::Yes { sys::MOEC_MAP_VERIFY } else { 0 };
    let mut weights = std::ptr::null_mut();
    checked(|| sys::moec_weights_map(layer.as_ptr(), buffer, bytes, flags, &mut weights))?;
    Ok(weights)
}

impl Layer {
    /// Weights from a checkpoint: a safetensors file, an index of shards, or a folder with either. `prefix` goes before
    /// the names of its tensors.
    pub fn load(&self, path: impl AsRef<Path>, prefix: &str) -> Result<Weights<'static>> {
        self.load_sources(&[Source::new(path.as_ref(), prefix)])
    }

    /// Weights from 1 to 16 checkpoints together. A tensor is taken from the last one that has it.
    pub fn load_sources(&self, sources: &[Source]) -> Result<Weights<'static>> {
        self.fill_own(&FromSources(sources))
    }

    /// Weights from memory.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let package = unsafe { moec::Package::open(std::env::var("MOEC_TEST_PACKAGE")?)? };
    /// let layer = moec::Layer::new(&package, Default::default())?;
    /// let (router, matrix) = (vec![0.1f32; 4 * 8], vec![moec::Bf16::from_f32(0.5); 4 * 6 * 8]);
    /// let weights = layer.pack(&[
    ///     moec::Tensor::new("router.weight", &router),
    ///     moec::Tensor::new("experts.gate", &matrix),
    ///     moec::Tensor::new("experts.up", &matrix),
    ///     moec::Tensor::new("experts.down", &matrix).dims(&[4, 8, 6]),
    /// ])?;
    /// assert_eq!(weights.packed().len(), layer.weights_bytes()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pack(&self, tensors: &[Tensor<'_>]) -> Result<Weights<'static>> {
        self.fill_own(&FromTensors(tensors))
    }

    /// The same into memory of the caller, 64-byte aligned.
    pub fn load_into<'b>(&self, buffer: &'b mut [u8], sources: &[Source]) -> Result<Weights<'b>> {
        self.fill_caller(buffer, &FromSources(sources))
    }

    /// The same into memory of the caller, 64-byte aligned.
    pub fn pack_into<'b>(&self, buffer: &'b mut [u8], tensors: &[Tensor<'_>]) -> Result<Weights<'b>> {
        self.fill_caller(buffer, &FromTensors(tensors))
    }

    /// Weights that are packed already. They borrow the buffer, which therefore cannot be freed or changed before them:
    ///
    /// ```compile_fail,E0505
    /// fn wrong(layer: &moec::Layer, buffer: Vec<u8>) -> moec::Result<usize> {
    ///     let weights = layer.map(&buffer, moec::Verify::No)?;
    ///     drop(buffer);
    ///     Ok(weights.packed().len())
    /// }
    /// ```
    pub fn map<'b>(&self, buffer: &'b [u8], verify: Verify) -> Result<Weights<'b>> {
        self.host_only()?;
        let weights = unsafe { map(self, buffer.as_ptr().cast(), buffer.len(), verify)? };
        self.weights_of(weights, buffer.as_ptr(), Memory::default())
    }

    /// Weights of a file that `moec pack` wrote, which is mapped and not copied.
    ///
    /// # Safety
    ///
    /// Nobody changes the file or makes it shorter while the weights exist.
    pub unsafe fn map_file(&self, path: impl AsRef<Path>, verify: Verify) -> Result<Weights<'static>> {
        self.host_only()?;
        let file = MappedFile::open(&path)?;
        let weights =
            map(self, file.as_ptr().cast(), file.len(), verify).map_err(|error| error.at(path.as_ref().display()))?;
        let start = file.as_ptr();
        self.weights_of(weights, start, Memory { _own: None, _file: Some(file) })
    }

    /// Weights from tensors in host or device memory, into memory of the layer's device.
    ///
    /// # Safety
    ///
    /// `buffer` is valid for `bytes` bytes as `moec_weights_pack` says, and outlives the weights; so do pointers in
    /// `tensors` for this call.
    pub unsafe fn pack_raw(
        &self,
        tensors: &[sys::moec_tensor],
        buffer: *mut c_void,
        bytes: usize,
    ) -> Result<Weights<'static>> {
        let mut weights = std::ptr::null_mut();
        checked(|| {
            sys::moec_weights_pack(self.as_ptr(), tensors.as_ptr(), tensors.len(), buffer, bytes, &mut weights)
        })?;
        self.weights_of(weights, buffer as *const u8, Memory::default())
    }

    /// Weights from checkpoints, into memory of the layer's device.
    ///
    /// # Safety
    ///
    /// `buffer` is valid for `bytes` bytes as `moec_weights_load` says, and outlives the weights.
    pub unsafe fn load_raw(&self, sources: &[Source], buffer: *mut c_void, bytes: usize) -> Result<Weights<'static>> {
        let weights = FromSources(sources).fill(self, buffer, bytes)?;
        self.weights_of(weights, buffer as *const u8, Memory::default())
    }

    /// Packed weights in memory of the layer's device.
    ///
    /// # Safety
    ///
    /// `buffer` is valid for `bytes` bytes as `moec_weights_map` says, and outlives the weights.
    pub unsafe fn map_raw(&self, buffer: *const c_void, bytes: usize, verify: Verify) -> Result<Weights<'static>> {
        let weights = map(self, buffer, bytes, verify)?;
        self.weights_of(weights, buffer as *const u8, Memory::default())
    }

    fn fill_own(&self, source: &dyn Fill) -> Result<Weights<'static>> {
        self.host_only()?;
        let pages = Pages::new(self.weights_bytes()?)?;
        let weights = unsafe { source.fill(self, pages.start().cast(), pages.bytes())? };
        let start = pages.start();
        self.weights_of(weights, start, Memory { _own: Some(pages), _file: None })
    }

    fn fill_caller<'b>(&self, buffer: &'b mut [u8], source: &dyn Fill) -> Result<Weights<'b>> {
        self.host_only()?;
        let weights = unsafe { source.fill(self, buffer.as_mut_ptr().cast(), buffer.len())? };
        self.weights_of(weights, buffer.as_ptr(), Memory::default())
    }

    fn weights_of<'b>(&self, weights: *mut sys::moec_weights, start: *const u8, memory: Memory) -> Result<Weights<'b>> {
        let mut made = Weights {
            weights,
            packed: (std::ptr::NonNull::dangling().as_ptr(), 0),
            _memory: memory,
            borrowed: PhantomData,
            _layer: self.clone(),
        };
        if self.info().device == Device::Cpu {
            made.packed = (start, self.weights_bytes()?);
        }
        Ok(made)
    }
}
