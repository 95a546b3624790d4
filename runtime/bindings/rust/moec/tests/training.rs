// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Gradients of a layer that trains, beside central differences of its forward call: the package of
//! tests/bindings/noisy.json, which `MOEC_TEST_NOISY` names. Without the variable there is nothing to test.
mod tiny;

use moec::{Bf16, Gradient, Layer, Options, Package, Status, Weights, Workspace};
use tiny::{numbers, Parameters, E, H, I};

const T: usize = 6;
const COEFFICIENTS: [f32; 2] = [0.3, -0.2];

fn trained() -> Option<Layer> {
    let folder = std::env::var("MOEC_TEST_NOISY").ok()?;
    Some(Layer::new(&unsafe { Package::open(folder) }.unwrap(), Options::default()).unwrap())
}

/// Decides: expert t, then t + 1.
fn noise() -> Vec<f32> {
    let mut noise = vec![0f32; T * E];
    for t in 0..T {
        noise[t * E + t % E] = 20.0;
        noise[t * E + (t + 1) % E] = 19.0;
    }
    noise
}

fn total(layer: &Layer, weights: &Weights, x: &[f32], dy: &[f32]) -> f64 {
    let (mut y, mut losses) = (vec![0f32; T * H], [0f32; 2]);
    let mut workspace = Workspace::new(layer.workspace_bytes(T, 0, true).unwrap()).unwrap();
    layer.forward(weights).x(x).y(&mut y).noise(&noise()).losses(&mut losses).run(&mut workspace).unwrap();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(&y, dy) + dot(&losses, &COEFFICIENTS)
}

fn kept(layer: &Layer, weights: &Weights, x: &[f32]) -> Workspace {
    let mut kept = layer.saved(T).unwrap();
    let mut y = vec![0f32; T * H];
    let mut workspace = layer.workspace(T).unwrap();
    layer.forward(weights).x(x).y(&mut y).noise(&noise()).saved(&mut kept).run(&mut workspace).unwrap();
    kept
}

#[test]
fn gradients_are_slopes() {
    let layer = match trained() {
        Some(layer) => layer,
        None => return,
    };
    assert!(layer.info().trains);
    assert!(layer.roles().unwrap().iter().all(|role| role.gradient == Gradient::Matrix));
    let (parameters, x, dy, noise) = (Parameters::new(1), numbers(T * H, 5), numbers(T * H, 6), noise());
    let weights = parameters.weights(&layer);
    let kept = kept(&layer, &weights, &x);
    let (mut dx, mut router) = (vec![f32::NAN; T * H], vec![f32::NAN; E * H]);
    let mut matrices = [vec![f32::NAN; E * I * H], vec![f32::NAN; E * I * H], vec![f32::NAN; E * H * I]];
    let [gate, up, down] = &mut matrices;
    let call = layer.backward(&weights).x(&x).grad_y(&dy).noise(&noise).grad_losses(&COEFFICIENTS).saved(&kept);
    let call = call.grad_x(&mut dx).gradient("router.weight", &mut router).gradient("experts.gate", gate);
    let call = call.gradient("experts.up", up).gradient("experts.down", down);
    call.run(&mut layer.backward_workspace(T).unwrap()).unwrap();

    let [gate, up, down] = &matrices;
    for (name, gradient) in [("x", &dx), ("router", &router), ("gate", gate), ("up", up), ("down", down)] {
        let direction = numbers(gradient.len(), 9);
        let at = |step: f32| {
            let moved = |values: &[f32]| values.iter().zip(&direction).map(|(v, d)| v + step * d).collect::<Vec<_>>();
            let (mut other, mut x) = (Parameters::new(1), x.clone());
            match name {
                "x" => x = moved(&x),
                "router" => other.router = moved(&other.router),
                "gate" => other.gate = moved(&other.gate),
                "up" => other.up = moved(&other.up),
                _ => other.down = moved(&other.down),
            }
            total(&layer, &other.weights(&layer), &x, &dy)
        };
        let expected = (at(1e-3) - at(-1e-3)) / 2e-3;
        let found: f64 = gradient.iter().zip(&direction).map(|(&g, &d)| f64::from(g) * f64::from(d)).sum();
        assert!((found - expected).abs() < 2e-3 * expected.abs().max(1.0), "{name}: {found} instead of {expected}");
    }
}

#[test]
fn adds_to_what_buffers_hold_and_says_what_is_wrong() {
    let layer = match trained() {
        Some(layer) => layer,
        None => return,
    };
    let (x, dy, noise) = (numbers(T * H, 5), numbers(T * H, 6), noise());
    let weights = Parameters::new(1).weights(&layer);
    let kept = kept(&layer, &weights, &x);
    let mut space = layer.backward_workspace(T).unwrap();
    let call = || layer.backward(&weights).x(&x).grad_y(&dy).noise(&noise).saved(&kept);
    let (mut once, mut twice) = (vec![0f32; E * I * H], vec![1f32; E * I * H]);
    call().gradient("experts.up", &mut once).run(&mut space).unwrap();
    for _ in 0..2 {
        call().gradient("experts.up", &mut twice).accumulate().run(&mut space).unwrap();
    }
    assert!(once.iter().zip(&twice).all(|(once, twice)| (twice - 1.0 - 2.0 * once).abs() < 1e-4));

    let mut shorts = vec![Bf16::default(); E * I * H];
    let text = |result: moec::Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        text(call().gradient("experts.side", &mut once).run(&mut space)),
        "MOEC_INVALID_ARGUMENT: layer noisy has no role experts.side"
    );
    assert_eq!(
        text(call().gradient("router.weight", &mut once).run(&mut space)),
        "MOEC_SHAPE: the gradient of router.weight has 192 elements, expected 32 for 6 tokens"
    );
    assert_eq!(
        text(call().gradient("experts.up", &mut once).gradient("experts.gate", &mut shorts).run(&mut space)),
        "MOEC_DTYPE: the gradient of experts.gate holds bf16, layer noisy expects f32"
    );
    let error = layer.backward(&weights).x(&x).grad_y(&dy).noise(&noise).run(&mut space).unwrap_err();
    assert_eq!(error.text(), "saved is NULL");
    let plain = tiny::layer();
    assert!(!plain.info().trains && plain.roles().unwrap()[0].gradient == Gradient::None);
    assert_eq!(plain.backward_workspace(T).map(drop).unwrap_err().status(), Status::InvalidArgument);
}

/// The inputs of training reach the layer, in both passes, and their lengths are checked: the package of
/// tests/bindings/masked.json, which `MOEC_TEST_MASKED` names.
#[test]
fn masks_are_inputs_of_both_passes() {
    let folder = match std::env::var("MOEC_TEST_MASKED") {
        Ok(folder) => folder,
        Err(_) => return,
    };
    let layer = Layer::new(&unsafe { Package::open(folder) }.unwrap(), Options::default()).unwrap();
    let info = layer.info();
    let lengths = (info.hidden_mask_columns, info.output_mask_columns, info.expert_mask_columns);
    assert_eq!(lengths, (2 * 6, 2 * 5, 3));
    let roles = layer.roles().unwrap();
    let values: Vec<_> = roles.iter().map(|role| numbers(role.dims.iter().product(), 3)).collect();
    let tensors: Vec<_> = roles.iter().zip(&values).map(|(role, v)| moec::Tensor::new(role.name.as_str(), v)).collect();
    let weights = layer.pack(&tensors).unwrap();
    let (x, dy, jitter) = (numbers(T * H, 5), numbers(T * H, 6), vec![0.5; T * H]);
    let (replace, replace_ids, experts) = (vec![1.0; T * 2], vec![0; T * 2], vec![1.0; T * 3]);
    let hidden = vec![1.0; T * lengths.0];
    let run = |output: &[f32]| {
        let (mut y, mut down) = (vec![0f32; T * H], vec![7f32; 5 * 6]);
        let mut kept = layer.saved(T).unwrap();
        let call = layer.forward(&weights).x(&x).y(&mut y).jitter(&jitter).replace(&replace).replace_ids(&replace_ids);
        let call = call.hidden_mask(&hidden).output_mask(output).expert_mask(&experts).saved(&mut kept);
        call.run(&mut layer.workspace(T).unwrap())?;
        let call = layer.backward(&weights).x(&x).grad_y(&dy).jitter(&jitter).replace(&replace);
        let call = call.replace_ids(&replace_ids).hidden_mask(&hidden).output_mask(output).expert_mask(&experts);
        let call = call.saved(&kept).gradient("experts.down.1", &mut down);
        call.run(&mut layer.backward_workspace(T).unwrap())?;
        Ok::<_, moec::Error>((y, down))
    };
    let (y, down) = run(&vec![1.0; T * lengths.1]).unwrap();
    assert!(y.iter().any(|&v| v != 0.0) && down.iter().any(|&v| v != 0.0));
    let (y, down) = run(&vec![0.0; T * lengths.1]).unwrap();
    assert!(y.iter().chain(&down).all(|&v| v == 0.0));
    let error = run(&[1.0; T]).unwrap_err();
    assert_eq!(error.to_string(), "MOEC_SHAPE: output_mask has 6 elements, expected 60 for 6 tokens");
}

/// Masks of slots have a row for each slot of every sequence: the package of tests/bindings/slotted.json, which
/// `MOEC_TEST_SLOTTED` names.
#[test]
fn masks_of_slots_follow_the_sequences() {
    let folder = match std::env::var("MOEC_TEST_SLOTTED") {
        Ok(folder) => folder,
        Err(_) => return,
    };
    let layer = Layer::new(&unsafe { Package::open(folder) }.unwrap(), Options::default()).unwrap();
    let (slots, inner, sequences, sequence) = (6, 6, 2, 3);
    let info = layer.info();
    assert_eq!((info.hidden_mask_columns, info.output_mask_columns), (slots * inner, slots * H));
    assert_eq!(layer.input_elements("hidden_mask", T, sequence).unwrap(), sequences * slots * inner);
    assert_eq!(layer.input_elements("output_mask", T, 0).unwrap(), slots * H);
    let error = layer.input_elements("noise", T, 0).unwrap_err();
    assert_eq!(error.to_string(), "MOEC_INVALID_ARGUMENT: package slotted does not have an input noise");
    assert_eq!(layer.input_elements("x\0", T, 0).unwrap_err().status(), Status::InvalidArgument);
    let roles = layer.roles().unwrap();
    let values: Vec<_> = roles.iter().map(|role| numbers(role.dims.iter().product(), 3)).collect();
    let tensors: Vec<_> = roles.iter().zip(&values).map(|(role, v)| moec::Tensor::new(role.name.as_str(), v)).collect();
    let weights = layer.pack(&tensors).unwrap();
    let (x, dy, output) = (numbers(T * H, 5), numbers(T * H, 6), vec![1.0; sequences * slots * H]);
    let run = |hidden: &[f32]| {
        let (mut y, mut down) = (vec![0f32; T * H], vec![7f32; H * inner]);
        let mut kept = moec::Workspace::new(layer.saved_bytes(T, sequence)?)?;
        let mut workspace = moec::Workspace::new(layer.workspace_bytes(T, sequence, false)?)?;
        let mut space = moec::Workspace::new(layer.backward_workspace_bytes(T, sequence)?)?;
        let call = layer.forward(&weights).x(&x).y(&mut y).tokens_per_sequence(sequence).saved(&mut kept);
        call.hidden_mask(hidden).output_mask(&output).run(&mut workspace)?;
        let call = layer.backward(&weights).x(&x).grad_y(&dy).tokens_per_sequence(sequence).saved(&kept);
        call.hidden_mask(hidden).output_mask(&output).gradient("experts.down.1", &mut down).run(&mut space)?;
        Ok::<_, moec::Error>((y, down))
    };
    let (y, down) = run(&vec![1.0; sequences * slots * inner]).unwrap();
    assert!(y.iter().any(|&v| v != 0.0) && down.iter().any(|&v| v != 0.0));
    let (y, down) = run(&vec![0.0; sequences * slots * inner]).unwrap();
    assert!(y.iter().chain(&down).all(|&v| v == 0.0));
    let error = run(&vec![1.0; slots * inner]).unwrap_err();
    assert_eq!(error.to_string(), "MOEC_SHAPE: hidden_mask has 36 elements, expected 72 for 6 tokens");
}
