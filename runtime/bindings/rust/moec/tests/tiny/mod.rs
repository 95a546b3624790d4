// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! examples/tiny.json: its package, random weights, and what it computes, in f64.
#![allow(dead_code)] // each test program uses a part
use moec::{Layer, Options, Package, Tensor, Weights};
use std::path::PathBuf;

pub const E: usize = 4;
pub const K: usize = 2;
pub const H: usize = 8;
pub const I: usize = 6;

/// The folder of `moec compile examples/tiny.json --emit both`.
pub fn package_folder() -> PathBuf {
    std::env::var_os("MOEC_TEST_PACKAGE").expect("MOEC_TEST_PACKAGE names a package of examples/tiny.json").into()
}

pub fn package() -> Package {
    unsafe { Package::open(package_folder()) }.unwrap()
}

pub fn layer() -> Layer {
    layer_with(Options::default())
}

pub fn layer_with(options: Options) -> Layer {
    Layer::new(&package(), options).unwrap()
}

/// `count` numbers in [-1, 1).
pub fn numbers(count: usize, mut seed: u32) -> Vec<f32> {
    (0..count)
        .map(|_| {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            (seed >> 16) as f32 / 32768.0 - 1.0
        })
        .collect()
}

pub struct Parameters {
    pub router: Vec<f32>,
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    pub down: Vec<f32>,
}

impl Parameters {
    pub fn new(seed: u32) -> Parameters {
        Parameters {
            router: numbers(E * H, seed),
            gate: numbers(E * I * H, seed + 1),
            up: numbers(E * I * H, seed + 2),
            down: numbers(E * H * I, seed + 3),
        }
    }

    pub fn tensors(&self) -> [Tensor<'_>; 4] {
        [
            Tensor::new("router.weight", &self.router),
            Tensor::new("experts.gate", &self.gate),
            Tensor::new("experts.up", &self.up),
            Tensor::new("experts.down", &self.down),
        ]
    }

    pub fn weights(&self, layer: &Layer) -> Weights<'static> {
        layer.pack(&self.tensors()).unwrap()
    }

    /// y of one token, and the experts it chose.
    fn token(&self, x: &[f32]) -> (Vec<f64>, [usize; K]) {
        let dot = |a: &[f32], b: &[f64]| a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum::<f64>();
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let scores: Vec<f64> = (0..E).map(|e| dot(&self.router[e * H..][..H], &x).exp()).collect();
        let mut order: Vec<usize> = (0..E).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let chosen = [order[0], order[1]];
        let sum: f64 = chosen.iter().map(|&e| scores[e]).sum();
        let mut y = vec![0.0; H];
        for e in chosen {
            let inner: Vec<f64> = (0..I)
                .map(|i| {
                    let row = (e * I + i) * H;
                    let gate = dot(&self.gate[row..][..H], &x);
                    gate / (1.0 + (-gate).exp()) * dot(&self.up[row..][..H], &x)
                })
                .collect();
            for (h, out) in y.iter_mut().enumerate() {
                *out += scores[e] / sum * dot(&self.down[(e * H + h) * I..][..I], &inner);
            }
        }
        (y, chosen)
    }

    pub fn expect(&self, x: &[f32], y: &[f32]) {
        for (x, y) in x.chunks(H).zip(y.chunks(H)) {
            for (&got, want) in y.iter().zip(self.token(x).0) {
                assert!((f64::from(got) - want).abs() < 1e-4, "{got} instead of {want}");
            }
        }
    }

    pub fn expect_ids(&self, x: &[f32], ids: &[i32]) {
        for (x, ids) in x.chunks(H).zip(ids.chunks(K)) {
            let chosen = self.token(x).1.map(|e| e as i32);
            assert_eq!(ids, chosen);
        }
    }
}

/// One call with a workspace of its own.
pub fn run(layer: &Layer, weights: &Weights, x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    let mut workspace = layer.workspace(x.len() / H).unwrap();
    layer.forward(weights).x(x).y(&mut y).run(&mut workspace).unwrap();
    y
}

/// An empty folder that is removed with its guard.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("moec-rust-{}-{}", std::process::id(), name));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
