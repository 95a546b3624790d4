// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Compiled Mixture-of-Experts layers: `moec.h` with ownership, lifetimes and `Result`.
//!
//! A package, made by `moec compile`, is linked ([`package!`]) or loaded ([`Package::open`]). A [`Layer`] of it takes
//! [`Weights`] from a checkpoint ([`Layer::load`]), from memory ([`Layer::pack`]) or from packed files
//! ([`Layer::map`]), and is called with [`Layer::forward`].
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let package = unsafe { moec::Package::open("pkg")? };
//! let layer = moec::Layer::new(&package, moec::Options::default().threads(4))?;
//! let weights = layer.load("checkpoint", "model.layers.0.mlp.")?;
//! let mut workspace = layer.workspace(512)?; // for calls of up to 512 tokens, one at a time
//!
//! let x = moec::Buffer::<moec::Bf16>::zeroed(32 * layer.info().hidden)?;
//! let mut y = moec::Buffer::<moec::Bf16>::zeroed(x.len())?;
//! layer.forward(&weights).x(&x).y(&mut y).run(&mut workspace)?;
//! # Ok(())
//! # }
//! ```
//!
//! A package of a spec with `"passes": ["forward", "backward"]` trains: [`Forward::saved`], then [`Layer::backward`].
//!
//! [`Package`], [`Pool`] and [`Layer`] are handles with shared ownership: a clone is the same object, and what another
//! one needs stays alive. Layers and weights are immutable: any number of threads may use them, with one [`Workspace`]
//! for each call at the same time. Arguments are checked here for type and number of elements, by the runtime for
//! everything else. What runs on a GPU takes pointers of C ([`sys`]) through functions that end in `_raw`.
//!
//! `build.rs` of `moec-sys` says how libmoec is found: `MOEC_LIB_DIR`, or pkg-config.
#![warn(missing_docs)]

mod backward;
mod balance;
mod error;
mod forward;
mod layer;
mod memory;
mod package;
mod pool;
mod weights;

pub use moec_sys as sys;

pub use backward::Backward;
pub use balance::{next_capacity_factor, update_choice_bias, Load};
pub use error::{Error, Result, Status};
pub use forward::{Event, EventKind, Forward};
pub use layer::{Device, Gradient, Info, Layer, Options, Role};
pub use memory::{Bf16, Buffer, DType, Element, MappedFile, Workspace, F16};
pub use package::{cpu_isa, version, Package};
pub use pool::{Pool, PoolOptions, Region};
pub use weights::{Source, Tensor, Verify, Weights};
