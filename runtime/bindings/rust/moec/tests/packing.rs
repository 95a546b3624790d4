// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Weights from tensors, checkpoints, buffers and files.
mod tiny;

use moec::{Bf16, Buffer, Layer, MappedFile, Source, Status, Tensor, Verify, Weights};
use std::path::Path;
use tiny::{layer, numbers, run, Folder, Parameters, E, H, I};

fn expect_works(layer: &Layer, weights: &Weights, parameters: &Parameters) {
    let x = numbers(5 * H, 3);
    parameters.expect(&x, &run(layer, weights, &x));
}

/// A safetensors file of f32 tensors.
fn write_checkpoint(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let (mut header, mut data) = (Vec::new(), Vec::<u8>::new());
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let end = data.len();
        header.push(format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_checkpoint_and_an_adapter_that_replaces_a_tensor() {
    let (layer, base, other) = (layer(), Parameters::new(1), Parameters::new(9));
    let folder = Folder::new("checkpoint");
    let (file, adapter) = (folder.0.join("model.safetensors"), folder.0.join("adapter.safetensors"));
    write_checkpoint(
        &file,
        &[
            ("l.0.router.weight", &[E, H], &base.router),
            ("l.0.experts.gate", &[E, I, H], &base.gate),
            ("l.0.experts.up", &[E, I, H], &base.up),
            ("l.0.experts.down", &[E, H, I], &base.down),
        ],
    );
    write_checkpoint(&adapter, &[("experts.down", &[E, H, I], &other.down)]);
    expect_works(&layer, &layer.load(&file, "l.0.").unwrap(), &base);
    let error = layer.load(&file, "l.1.").err().unwrap();
    assert_eq!(error.status(), Status::MissingWeight);
    let both = [Source::new(&file, "l.0."), Source::new(&adapter, "")];
    let mixed = Parameters { down: other.down, ..base };
    expect_works(&layer, &layer.load_sources(&both).unwrap(), &mixed);
    let mut buffer = Buffer::<f32>::zeroed(layer.weights_bytes().unwrap() / 4).unwrap();
    let raw = unsafe { layer.load_raw(&both, buffer.as_mut_ptr().cast(), buffer.len() * 4) }.unwrap();
    expect_works(&layer, &raw, &mixed);
}

#[test]
fn tensors_of_single_experts_and_of_other_types() {
    let (layer, parameters) = (layer(), Parameters::new(2));
    let rounded: Vec<Bf16> = parameters.up.iter().map(|&value| Bf16::from_f32(value)).collect();
    let parameters = Parameters { up: rounded.iter().map(|value| value.to_f32()).collect(), ..parameters };
    let mut tensors = vec![
        Tensor::new("router.weight", &parameters.router),
        Tensor::new("experts.up", &rounded),
        Tensor::new("experts.down", &parameters.down).dims(&[E, H, I]),
    ];
    for (e, expert) in parameters.gate.chunks(I * H).enumerate() {
        tensors.push(Tensor::new(format!("experts.gate.{e}"), expert));
    }
    expect_works(&layer, &layer.pack(&tensors).unwrap(), &parameters);
}

#[test]
fn packed_weights_in_memory() {
    let (layer, parameters) = (layer(), Parameters::new(3));
    let packed = parameters.weights(&layer);
    let mut bytes = vec![0u64; packed.packed().len() / 8 + 8];
    let aligned = aligned_bytes(&mut bytes, packed.packed().len());
    aligned.copy_from_slice(packed.packed());
    expect_works(&layer, &layer.map(aligned, Verify::Yes).unwrap(), &parameters);
    aligned.fill(0);
    let again = layer.pack_into(aligned, &parameters.tensors()).unwrap();
    assert_eq!(again.packed(), packed.packed());
    expect_works(&layer, &again, &parameters);
    drop(again);
    let mapped = unsafe { layer.map_raw(aligned.as_ptr().cast(), aligned.len(), Verify::No) }.unwrap();
    expect_works(&layer, &mapped, &parameters);
    drop(mapped);
    aligned[9000] ^= 1;
    expect_works_or_differs(&layer, aligned);
}

/// A changed byte is found by VERIFY only.
fn expect_works_or_differs(layer: &Layer, bytes: &[u8]) {
    assert!(layer.map(bytes, Verify::No).is_ok());
    let error = layer.map(bytes, Verify::Yes).err().unwrap();
    assert_eq!(error.status(), Status::FileFormat);
    assert!(error.text().contains("probably at byte 9000"), "{error}");
}

/// `count` bytes of `words` that begin at a multiple of 64.
fn aligned_bytes(words: &mut [u64], count: usize) -> &mut [u8] {
    let skipped = words.as_ptr().align_offset(64);
    let words = &mut words[skipped..];
    assert!(words.len() * 8 >= count);
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), count) }
}

#[test]
fn packed_weights_in_a_file() {
    let (layer, parameters) = (layer(), Parameters::new(4));
    let folder = Folder::new("packed");
    let (file, empty) = (folder.0.join("packed"), folder.0.join("empty"));
    std::fs::write(&file, parameters.weights(&layer).packed()).unwrap();
    std::fs::write(&empty, "").unwrap();
    expect_works(&layer, &unsafe { layer.map_file(&file, Verify::Yes) }.unwrap(), &parameters);
    let mapped = unsafe { MappedFile::open(&file) }.unwrap();
    expect_works(&layer, &layer.map(&mapped, Verify::No).unwrap(), &parameters);
    let error = unsafe { layer.map_file(&empty, Verify::No) }.err().unwrap();
    assert_eq!(error.to_string(), format!("MOEC_FILE: {}: cannot map it: it is empty", empty.display()));
    let error = unsafe { layer.map_file("/nowhere", Verify::No) }.err().unwrap();
    assert!(error.to_string().starts_with("MOEC_FILE: /nowhere: cannot map it: No such file"), "{error}");
    std::fs::write(&file, vec![1u8; 20000]).unwrap();
    let error = unsafe { layer.map_file(&file, Verify::No) }.err().unwrap();
    assert!(error.text().starts_with(&format!("{}: ", file.display())), "{error}");
}

#[test]
fn wrong_tensors_are_sentences() {
    let (layer, few) = (layer(), [0f32; 5]);
    let text = |tensor: Tensor| layer.pack(&[tensor]).err().unwrap().to_string();
    assert_eq!(
        text(Tensor::new("experts.gate", &few)),
        "MOEC_SHAPE: experts.gate: 5 elements, expected those of [4, 6, 8]"
    );
    assert_eq!(
        text(Tensor::new("experts.gate.2", &few)),
        "MOEC_SHAPE: experts.gate.2: 5 elements, expected those of [6, 8]"
    );
    assert_eq!(
        text(Tensor::new("experts.gate", &few).dims(&[usize::MAX, 2])),
        "MOEC_SHAPE: experts.gate: 5 elements, expected those of [18446744073709551615, 2]"
    );
    assert_eq!(
        text(Tensor::new("experts.gate", &few).dims(&[5, 1, 1, 1, 1])),
        "MOEC_SHAPE: experts.gate: 5 dimensions, expected 1 to 4"
    );
    assert_eq!(text(Tensor::new("a\0b", &few)), "MOEC_INVALID_ARGUMENT: role holds a zero byte");
    assert!(text(Tensor::new("nothing", &few)).starts_with("MOEC_INVALID_ARGUMENT: "));
    assert_eq!(layer.pack(&[]).err().unwrap().status(), Status::MissingWeight);
    assert_eq!(
        layer.load_sources(&[]).err().unwrap().to_string(),
        "MOEC_INVALID_ARGUMENT: sources is empty, expected 1 to 16"
    );
    assert_eq!(layer.load("/nowhere", "").err().unwrap().status(), Status::File);
    let mut small = vec![0u64; 64];
    let error = layer.pack_into(aligned_bytes(&mut small, 256), &[]).err().unwrap();
    assert_eq!(error.status(), Status::WorkspaceTooSmall);
}
