// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Elements and their types; memory with the alignment that calls want; files in memory.
use crate::error::{Error, Result, Status};
use moec_sys as sys;
use std::alloc::{alloc, alloc_zeroed, dealloc, Layout};
use std::fs::File;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::unix::io::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

/// The type of elements, by the numbers of `moec_dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DType(sys::moec_dtype);

impl DType {
    /// 32-bit floating point.
    pub const F32: DType = DType(sys::MOEC_F32);
    /// bfloat16.
    pub const BF16: DType = DType(sys::MOEC_BF16);
    /// IEEE half.
    pub const F16: DType = DType(sys::MOEC_F16);
    /// 32-bit integers.
    pub const I32: DType = DType(sys::MOEC_I32);
    /// 64-bit integers.
    pub const I64: DType = DType(sys::MOEC_I64);

    pub(crate) fn from_c(dtype: sys::moec_dtype) -> DType {
        DType(dtype)
    }

    /// The `moec_dtype` of C.
    pub fn to_c(self) -> sys::moec_dtype {
        self.0
    }

    /// `"bf16"`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            _ => "another type",
        }
    }
}

/// A type whose slices calls read and write.
///
/// # Safety
///
/// The type has the size and layout of `DTYPE`, and every pattern of bits is a value of it.
pub unsafe trait Element: Copy + 'static {
    /// Its `moec_dtype`.
    const DTYPE: DType;
}

/// A bf16 as it is stored. A slice of another crate's type of this layout becomes one with [`Bf16::from_bits_slice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// An IEEE half as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

unsafe impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
unsafe impl Element for Bf16 {
    const DTYPE: DType = DType::BF16;
}
unsafe impl Element for F16 {
    const DTYPE: DType = DType::F16;
}
unsafe impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
unsafe impl Element for i64 {
    const DTYPE: DType = DType::I64;
}

impl Bf16 {
    /// To the nearest, halves to even.
    pub fn from_f32(value: f32) -> Bf16 {
        let word = value.to_bits();
        if value.is_nan() {
            return Bf16((word >> 16) as u16 | 0x40);
        }
        Bf16(((word + 0x7fff + (word >> 16 & 1)) >> 16) as u16)
    }

    /// Exact.
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Of 16-bit words that hold bf16.
    pub fn from_bits_slice(bits: &[u16]) -> &[Bf16] {
        unsafe { std::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
    }

    /// Of 16-bit words that hold bf16.
    pub fn from_bits_slice_mut(bits: &mut [u16]) -> &mut [Bf16] {
        unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), bits.len()) }
    }
}

impl F16 {
    /// Of 16-bit words that hold halves.
    pub fn from_bits_slice(bits: &[u16]) -> &[F16] {
        unsafe { std::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
    }

    /// Of 16-bit words that hold halves.
    pub fn from_bits_slice_mut(bits: &mut [u16]) -> &mut [F16] {
        unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), bits.len()) }
    }
}

/// Bytes with an alignment of 4096.
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

unsafe impl Send for Pages {}
unsafe impl Sync for Pages {}

impl Pages {
    fn layout(bytes: usize) -> Result<Layout> {
        if bytes > isize::MAX as usize - 4096 {
            return Err(Pages::no_memory(bytes));
        }
        Layout::from_size_align(bytes.max(1), 4096).map_err(|_| Pages::no_memory(bytes))
    }

    fn no_memory(bytes: usize) -> Error {
        Error::new(Status::OutOfMemory, format!("no memory for {} bytes", bytes))
    }

    /// Undefined contents, so that the first writer chooses the pages.
    pub(crate) fn new(bytes: usize) -> Result<Pages> {
        let start = unsafe { alloc(Pages::layout(bytes)?) };
        NonNull::new(start).map(|start| Pages { start, bytes }).ok_or_else(|| Pages::no_memory(bytes))
    }

    fn zeroed(bytes: usize) -> Result<Pages> {
        let start = unsafe { alloc_zeroed(Pages::layout(bytes)?) };
        NonNull::new(start).map(|start| Pages { start, bytes }).ok_or_else(|| Pages::no_memory(bytes))
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Ok(layout) = Pages::layout(self.bytes) {
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// Elements in memory of the alignment that x, y and packed weights want, zero at first; otherwise a slice.
///
/// ```
/// let mut x = moec::Buffer::<f32>::zeroed(16)?;
/// x[3] = 1.0;
/// assert_eq!(x.iter().sum::<f32>(), 1.0);
/// # Ok::<(), moec::Error>(())
/// ```
pub struct Buffer<T: Element> {
    pages: Pages,
    count: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// `count` zeros.
    pub fn zeroed(count: usize) -> Result<Buffer<T>> {
        let bytes = count.checked_mul(std::mem::size_of::<T>()).ok_or_else(|| Pages::no_memory(usize::MAX))?;
        Ok(Buffer { pages: Pages::zeroed(bytes)?, count, element: PhantomData })
    }

    /// A copy.
    pub fn from_slice(elements: &[T]) -> Result<Buffer<T>> {
        let mut buffer = Buffer::zeroed(elements.len())?;
        buffer.copy_from_slice(elements);
        Ok(buffer)
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        unsafe { std::slice::from_raw_parts(self.pages.start().cast(), self.count) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.pages.start().cast(), self.count) }
    }
}

/// What a call computes in. One call at a time uses it, which `&mut` sees to; any layer may, if it is large enough.
pub struct Workspace {
    pages: Pages,
}

impl Workspace {
    /// For every call that needs at most so many bytes.
    pub fn new(bytes: usize) -> Result<Workspace> {
        Ok(Workspace { pages: Pages::new(bytes)? })
    }

    /// How many it has.
    pub fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    pub(crate) fn start(&mut self) -> *mut u8 {
        self.pages.start()
    }

    /// For reading.
    pub(crate) fn contents(&self) -> *const u8 {
        self.pages.start()
    }
}

extern "C" {
    fn mmap(at: *mut u8, bytes: usize, protection: i32, flags: i32, file: i32, offset: isize) -> *mut u8;
    fn munmap(at: *mut u8, bytes: usize) -> i32;
}
const PROT_READ: i32 = 1;
const MAP_SHARED: i32 = 1;

/// A whole file in memory, read only.
pub struct MappedFile {
    start: NonNull<u8>,
    bytes: usize,
}

unsafe impl Send for MappedFile {}
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// # Safety
    ///
    /// Nobody changes the file or makes it shorter while it is mapped.
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<MappedFile> {
        let path = path.as_ref();
        let refused = |error: &dyn std::fmt::Display| {
            Error::new(Status::File, format!("{}: cannot map it: {}", path.display(), error))
        };
        let file = File::open(path).map_err(|error| refused(&error))?;
        let bytes = file.metadata().map_err(|error| refused(&error))?.len() as usize;
        if bytes == 0 {
            return Err(refused(&"it is empty"));
        }
        let start = mmap(std::ptr::null_mut(), bytes, PROT_READ, MAP_SHARED, file.as_raw_fd(), 0);
        if start as isize == -1 {
            return Err(refused(&std::io::Error::last_os_error()));
        }
        NonNull::new(start).map(|start| MappedFile { start, bytes }).ok_or_else(|| refused(&"it is at address 0"))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}
