// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Every optional output and a further input of a layer that has them: the package of tests/bindings/noisy.json with
//! all reports, which `MOEC_TEST_NOISY` names. Without the variable there is nothing to test.
mod tiny;

use moec::{Layer, Options, Package, Status, Workspace};
use tiny::{numbers, Parameters, E, H, K};

#[test]
fn every_output_and_a_further_input() {
    const T: usize = 6;
    let folder = match std::env::var("MOEC_TEST_NOISY") {
        Ok(folder) => folder,
        Err(_) => return,
    };
    let layer = Layer::new(&unsafe { Package::open(folder) }.unwrap(), Options::default()).unwrap();
    let weights = Parameters::new(1).weights(&layer);
    let (x, mut y, mut noise) = (numbers(T * H, 5), vec![0f32; T * H], vec![0f32; T * E]);
    for t in 0..T {
        // decides: expert t, then t + 1
        noise[t * E + t % E] = 40.0;
        noise[t * E + (t + 1) % E] = 20.0;
    }
    let (mut logits, mut shares, mut ids, mut counts) = ([0f32; T * E], [0f32; T * K], [0; T * K], [0; E]);
    let (mut probabilities, mut choice_counts, mut losses) = ([0f32; T * E], [0; E], [-1f32; 2]);
    let (mut mean, mut max, mut diversity, mut dropped) = ([-1f32], [-1f32], [-1f32], [-1]);
    let mut small = layer.workspace(T).unwrap();
    let error = layer.forward(&weights).x(&x).y(&mut y).noise(&noise).logit_max(&mut max).run(&mut small).unwrap_err();
    assert_eq!(error.status(), Status::WorkspaceTooSmall);

    let call = layer.forward(&weights).x(&x).y(&mut y).noise(&noise).logits(&mut logits).ids(&mut ids);
    let call = call.weights(&mut shares).counts(&mut counts).probabilities(&mut probabilities);
    let call = call.choice_counts(&mut choice_counts).losses(&mut losses).logit_mean(&mut mean).logit_max(&mut max);
    let call = call.diversity(&mut diversity).dropped_tokens(&mut dropped);
    let bytes = call.workspace_bytes().unwrap();
    assert_eq!(bytes, layer.workspace_bytes(T, 0, true).unwrap());
    call.run(&mut Workspace::new(bytes).unwrap()).unwrap();

    let expected: Vec<i32> = (0..T * K).map(|slot| ((slot / K + slot % K) % E) as i32).collect();
    assert_eq!(ids[..], expected);
    assert_eq!(counts, [0, 1, 2, 3].map(|e| expected.iter().filter(|&&id| id == e).count() as i32));
    assert_eq!(choice_counts, counts);
    let magnitudes = || logits.iter().map(|logit| logit.abs());
    assert!((mean[0] - magnitudes().sum::<f32>() / (T * E) as f32).abs() < 1e-5);
    assert!((max[0] - magnitudes().fold(0.0, f32::max)).abs() < 1e-6 && max[0] < 100.0, "before noise");
    assert_eq!(dropped, [0]);
    assert!(diversity[0] >= 0.0 && losses.iter().all(|&loss| loss >= 0.0));
    assert!(probabilities.chunks(E).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert!(shares.chunks(K).all(|pair| pair[0] > 0.999 && pair[1] < 0.001));

    let text = |result: moec::Result<usize>| result.unwrap_err().text().to_string();
    let call = || layer.forward(&weights).x(&x);
    assert_eq!(text(call().noise(&[0.0; 3]).workspace_bytes()), "noise has 3 elements, expected 24 for 6 tokens");
    assert_eq!(text(call().losses(&mut [0.0]).workspace_bytes()), "losses has 1 elements, expected 2 for 6 tokens");
    let error = call().y(&mut y).run(&mut small).unwrap_err();
    assert_eq!(error.text(), "noise is NULL, package noisy reads it");
}
