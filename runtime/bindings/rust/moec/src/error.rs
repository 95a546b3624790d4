// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! A status of the C API -> `Result`, with the text that the runtime wrote for it.
use moec_sys as sys;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt;
use std::panic::resume_unwind;

macro_rules! statuses {
    ($($variant:ident = $c:ident, $text:expr;)*) => {
        /// Why a call failed; the names are those of `moec_status`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Status {
            $(#[doc = $text] $variant,)*
            /// A status that a later runtime added.
            Other(u32),
        }

        impl Status {
            pub(crate) fn from_c(status: sys::moec_status) -> Status {
                match status {
                    $(sys::$c => Status::$variant,)*
                    other => Status::Other(other),
                }
            }

            fn to_c(self) -> sys::moec_status {
                match self {
                    $(Status::$variant => sys::$c,)*
                    Status::Other(other) => other,
                }
            }
        }
    };
}

statuses! {
    InvalidArgument = MOEC_INVALID_ARGUMENT, "A value out of its range.";
    NullPointer = MOEC_NULL_POINTER, "An argument that the layer needs was not given.";
    Shape = MOEC_SHAPE, "A tensor or slice has another number of elements than expected.";
    DType = MOEC_DTYPE, "Elements of another type than expected.";
    Alignment = MOEC_ALIGNMENT, "A buffer does not begin where it must.";
    Overlap = MOEC_OVERLAP, "Buffers share bytes that may not.";
    Stride = MOEC_STRIDE, "Elements have gaps between them.";
    WorkspaceTooSmall = MOEC_WORKSPACE_TOO_SMALL, "A buffer has fewer bytes than needed.";
    TokensOutOfRange = MOEC_TOKENS_OUT_OF_RANGE, "More tokens than the package was compiled for.";
    InvalidHandle = MOEC_INVALID_HANDLE, "A handle that is not alive.";
    UnsupportedDevice = MOEC_UNSUPPORTED_DEVICE, "No such device, driver or kernels for it.";
    IsaMissing = MOEC_ISA_MISSING, "The package holds no kernels that this machine can run.";
    OutOfMemory = MOEC_OUT_OF_MEMORY, "No memory.";
    DeviceError = MOEC_DEVICE_ERROR, "A driver or a host's threads failed.";
    VersionMismatch = MOEC_VERSION_MISMATCH, "A package or packed weights of another version.";
    Internal = MOEC_INTERNAL, "An error in the runtime.";
    MissingWeight = MOEC_MISSING_WEIGHT, "A role has no tensor.";
    File = MOEC_FILE, "A file cannot be opened, read or mapped.";
    FileFormat = MOEC_FILE_FORMAT, "A file is not what it claims to be.";
}

impl Status {
    /// `"MOEC_SHAPE"`.
    pub fn name(self) -> &'static str {
        text_of(unsafe { sys::moec_status_name(self.to_c()) })
    }
}

/// A status and a sentence that says what was found and what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: Status,
    text: String,
}

impl Error {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Error {
        Error { status, text: text.into() }
    }

    /// What kind of error it is.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The sentence, without the status.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same error of `place`, for example a file.
    pub(crate) fn at(self, place: impl fmt::Display) -> Error {
        Error::new(self.status, format!("{}: {}", place, self.text))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.name(), self.text)
    }
}

impl std::error::Error for Error {}

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// Text in static storage, or "" for NULL.
pub(crate) fn text_of(text: *const sys::c_char) -> &'static str {
    if text.is_null() {
        return "";
    }
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

fn last_error() -> String {
    let mut bytes = vec![0u8; unsafe { sys::moec_last_error(std::ptr::null_mut(), 0) } + 1];
    unsafe { sys::moec_last_error(bytes.as_mut_ptr().cast(), bytes.len()) };
    bytes.pop();
    String::from_utf8_lossy(&bytes).into_owned()
}

thread_local! {
    /// What a callback panicked with. C cannot unwind, so the panic waits here until the call has returned.
    static PANIC: RefCell<Option<Box<dyn Any + Send>>> = RefCell::new(None);
}

/// Keeps a panic of a callback on this thread for `checked`.
pub(crate) fn keep_panic(payload: Box<dyn Any + Send>) {
    PANIC.with(|kept| {
        kept.borrow_mut().get_or_insert(payload);
    });
}

/// The result of one C call, made in `call`; goes on with the panic of a callback that ran on this thread.
pub(crate) fn checked(call: impl FnOnce() -> sys::moec_status) -> Result<()> {
    let status = call();
    if let Some(payload) = PANIC.with(|kept| kept.borrow_mut().take()) {
        resume_unwind(payload);
    }
    if status == sys::MOEC_OK {
        Ok(())
    } else {
        Err(Error::new(Status::from_c(status), last_error()))
    }
}
