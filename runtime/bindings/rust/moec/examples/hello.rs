// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! The smallest program: `hello PACKAGE` puts two rows through a shared package of `examples/tiny.json` and prints what
//! `examples/hello.c` prints.
use moec::{Buffer, Layer, Options, Package, Tensor};
use std::error::Error;

/// `count` numbers in [-1, 1).
fn numbers(count: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 16) as f32 / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: hello PACKAGE (moec compile --emit shared)")?;
    let package = unsafe { Package::open(path)? }; // a linked package: moec::package!(tiny)
    let layer = Layer::new(&package, Options::default())?;

    let shapes = layer.roles()?;
    let arrays: Vec<Vec<f32>> =
        shapes.iter().zip(1..).map(|(role, seed)| numbers(role.dims.iter().product(), seed)).collect();
    let tensors: Vec<Tensor> =
        shapes.iter().zip(&arrays).map(|(role, array)| Tensor::new(role.name.as_str(), array)).collect();
    let weights = layer.pack(&tensors)?; // from a checkpoint: layer.load("checkpoint", "model.layers.0.")?

    let hidden = layer.info().hidden;
    let x = Buffer::from_slice(&numbers(2 * hidden, 5))?;
    let mut y = Buffer::zeroed(x.len())?;
    let mut workspace = layer.workspace(2)?;
    layer.forward(&weights).x(&x).y(&mut y).run(&mut workspace)?;

    for row in y.chunks(hidden) {
        let texts: Vec<String> = row.iter().map(|value: &f32| format!("{value:7.3}")).collect();
        println!("{}", texts.join(" "));
    }
    Ok(())
}
