// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Calls, their arguments, probes and errors.
mod tiny;

use moec::{sys, Bf16, Buffer, Device, Error, EventKind, Layer, Options, Package, Status};
use std::sync::Mutex;
use tiny::{layer, numbers, package_folder, run, Parameters, E, H, K};

fn text<T>(result: Result<T, Error>) -> String {
    result.err().map_or("no error".into(), |error| error.to_string())
}

#[test]
fn results_are_those_of_the_formula() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    for tokens in [1, 2, 37] {
        let x = numbers(tokens * H, 9);
        let (mut y, mut ids, mut counts) = (vec![0f32; x.len()], vec![0; tokens * K], [0; E]);
        let (mut logits, mut shares) = (vec![0f32; tokens * E], vec![0f32; tokens * K]);
        let mut workspace = layer.workspace(tokens).unwrap();
        let call = layer.forward(&weights).x(&x).y(&mut y).ids(&mut ids).counts(&mut counts);
        call.logits(&mut logits).weights(&mut shares).run(&mut workspace).unwrap();
        parameters.expect(&x, &y);
        parameters.expect_ids(&x, &ids);
        assert_eq!(counts.iter().sum::<i32>() as usize, tokens * K);
        assert!(shares.chunks(K).all(|pair| (pair[0] + pair[1] - 1.0).abs() < 1e-5 && pair[0] >= pair[1]));
        assert!(logits.iter().all(|logit| *logit != 0.0));
    }
}

#[test]
fn no_tokens_are_a_call() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let mut workspace = layer.workspace(0).unwrap();
    layer.forward(&weights).x::<f32>(&[]).y::<f32>(&mut []).run(&mut workspace).unwrap();
}

#[test]
fn facts_of_the_layer() {
    let layer = layer();
    let info = layer.info();
    assert_eq!((info.name.as_str(), info.hidden, info.num_experts, info.top_k), ("tiny", H, E, K));
    assert_eq!((info.device, info.max_threads, info.num_logits), (Device::Cpu, 1, E));
    let roles = layer.roles().unwrap();
    assert_eq!(roles[1].name, "experts.gate");
    assert_eq!(roles[1].dims, [E, tiny::I, H]);
    assert_eq!(moec::version(), env!("CARGO_PKG_VERSION"));
    let limited = tiny::layer_with(Options::default().max_isa(sys::MOEC_ISA_BASELINE));
    assert_eq!(limited.info().isa_name, "baseline");
    assert!(!moec::cpu_isa().is_empty());
}

#[test]
fn wrong_arguments_are_sentences_and_touch_nothing() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let mut workspace = layer.workspace(2).unwrap();
    let x = numbers(2 * H, 1);
    let mut y = vec![7f32; 2 * H];
    let (odd, half) = (vec![0f32; 17], vec![Bf16(0); 2 * H]);
    let call = |text_expected: &str, change: &dyn Fn(moec::Forward<'_>) -> String| {
        assert_eq!(change(layer.forward(&weights)), text_expected);
    };
    call("MOEC_SHAPE: x has 17 elements, expected a multiple of 8", &|f| text(f.x(&odd).workspace_bytes()));
    call("MOEC_DTYPE: x holds bf16, layer tiny expects f32", &|f| text(f.x(&half).workspace_bytes()));
    call("MOEC_SHAPE: y has 17 elements, expected 16 for 2 tokens", &|f| {
        text(f.x(&x).y(&mut odd.clone()).workspace_bytes())
    });
    call("MOEC_SHAPE: ids has 3 elements, expected 4 for 2 tokens", &|f| {
        text(f.x(&x).ids(&mut [0; 3]).workspace_bytes())
    });
    call("MOEC_SHAPE: counts has 3 elements, expected 4 for 2 tokens", &|f| {
        text(f.x(&x).counts(&mut [0; 3]).workspace_bytes())
    });
    call("MOEC_SHAPE: top_k has 2 elements, expected 1 for 2 tokens", &|f| {
        text(f.x(&x).top_k(&[1, 2]).workspace_bytes())
    });
    let noise = layer.forward(&weights).x(&x).y(&mut y).noise(&[0.0; 8]).run(&mut workspace);
    assert_eq!(text(noise), "MOEC_INVALID_ARGUMENT: noise: package tiny does not have this input, expected NULL");
    let losses = layer.forward(&weights).x(&x).y(&mut y).losses(&mut [0.0]).run(&mut workspace);
    assert!(text(losses).contains("out_losses: package tiny does not have this output"));
    assert_eq!(text(layer.forward(&weights).x(&x).run(&mut workspace)), "MOEC_NULL_POINTER: y is NULL");
    let mut small = moec::Workspace::new(64).unwrap();
    let error = layer.forward(&weights).x(&x).y(&mut y).run(&mut small).unwrap_err();
    assert_eq!(error.status(), Status::WorkspaceTooSmall);
    assert_eq!(error.status().name(), "MOEC_WORKSPACE_TOO_SMALL");
    assert!(error.text().starts_with("workspace has 64 bytes"));
    assert_eq!(y, [7f32; 2 * H]);
}

#[test]
fn misaligned_rows_are_an_error() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let mut workspace = layer.workspace(1).unwrap();
    let x = Buffer::<f32>::zeroed(H + 1).unwrap();
    let mut y = Buffer::<f32>::zeroed(H).unwrap();
    let error = layer.forward(&weights).x(&x[1..]).y(&mut y).run(&mut workspace).unwrap_err();
    assert_eq!(error.to_string(), "MOEC_ALIGNMENT: x is not 16-byte aligned");
}

#[test]
fn a_probe_sees_steps_and_units() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let mut workspace = layer.workspace(3).unwrap();
    let (x, mut y) = (numbers(3 * H, 1), vec![0f32; 3 * H]);
    let events = Mutex::new(Vec::new());
    let listener = |event: &moec::Event| events.lock().unwrap().push(*event);
    layer.forward(&weights).x(&x).y(&mut y).probe(&listener).run(&mut workspace).unwrap();
    let steps = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(steps[0].kind, EventKind::StepBegin);
    assert_eq!(steps.iter().filter(|event| event.kind == EventKind::StepEnd).count() * 2, steps.len());
    assert!(steps.iter().all(|event| event.unit.is_none() && event.num_tokens == 3 && !event.name.is_empty()));
    layer.forward(&weights).x(&x).y(&mut y).probe_units(&listener).run(&mut workspace).unwrap();
    let units = events.lock().unwrap().iter().filter(|event| event.kind == EventKind::UnitEnd).count();
    assert!(units > 0);
}

#[test]
fn a_panic_in_a_probe_arrives_after_the_call() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let mut workspace = layer.workspace(3).unwrap();
    let (x, mut y) = (numbers(3 * H, 1), vec![0f32; 3 * H]);
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let listener = |event: &moec::Event| assert_ne!(event.kind, EventKind::StepEnd, "from the probe");
        layer.forward(&weights).x(&x).y(&mut y).probe(&listener).run(&mut workspace)
    }))
    .unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("from the probe"));
    parameters.expect(&x, &y); // the call itself went on
    layer.forward(&weights).x(&x).y(&mut y).run(&mut workspace).unwrap();
}

#[test]
fn arguments_of_c() {
    let (layer, parameters) = (layer(), Parameters::new(1));
    let weights = parameters.weights(&layer);
    let (x, mut y) = (numbers(H, 1), vec![0f32; H]);
    let mut workspace = Buffer::<f32>::zeroed(layer.workspace_bytes(1, 0, false).unwrap() / 4).unwrap();
    let mut args: sys::moec_forward_args = unsafe { std::mem::zeroed() };
    args.struct_size = std::mem::size_of_val(&args);
    args.num_tokens = 1;
    args.x = x.as_ptr().cast();
    args.y = y.as_mut_ptr().cast();
    args.workspace = workspace.as_mut_ptr().cast();
    args.workspace_bytes = workspace.len() * 4;
    unsafe { layer.forward_raw(&weights, &args) }.unwrap();
    parameters.expect(&x, &y);
    args.stream = &mut args as *mut _ as *mut _;
    assert_eq!(unsafe { layer.forward_raw(&weights, &args) }.unwrap_err().status(), Status::InvalidArgument);
}

#[test]
fn packages_that_are_not_there() {
    let open = |path: &str| text(unsafe { Package::open(path) });
    assert_eq!(open("/nowhere"), "MOEC_FILE: /nowhere: expected a package's folder, or its lib/libNAME.so");
    assert!(open("/nowhere/libx.so").starts_with("MOEC_FILE: cannot load the package: /nowhere/libx.so"));
    assert!(open("libnowhere.so").starts_with("MOEC_FILE: cannot load the package: ./libnowhere.so"));
    let folder = tiny::Folder::new("packages");
    std::fs::create_dir(folder.0.join("lib")).unwrap();
    let none = text(unsafe { Package::open(&folder.0) });
    assert!(none.ends_with(": 0 libraries lib/libNAME.so, expected 1; moec compile --emit shared makes it"), "{none}");
    std::fs::copy(package_folder().join("lib/libtiny.so"), folder.0.join("lib/libother.so")).unwrap();
    let other = text(unsafe { Package::open(&folder.0) });
    assert!(other.ends_with("libother.so: not a package: it has no other_package"), "{other}");
    std::fs::write(folder.0.join("lib/libtext.so"), "text").unwrap();
    assert!(text(unsafe { Package::open(&folder.0) }).contains(": 2 libraries"));
    let by_file = unsafe { Package::open(package_folder().join("lib/libtiny.so")) }.unwrap();
    assert_eq!(Layer::new(&by_file, Options::default()).unwrap().info().name, "tiny");
}

#[test]
fn a_package_that_was_replaced_is_opened_as_it_is_now() {
    let folder = tiny::Folder::new("replaced");
    let (library, copy) = (folder.0.join("lib/libtiny.so"), folder.0.join("copy"));
    std::fs::create_dir(folder.0.join("lib")).unwrap();
    std::fs::copy(package_folder().join("lib/libtiny.so"), &library).unwrap();
    let mut opened: Vec<Package> = Vec::new();
    for _ in 0..3 {
        let package = unsafe { Package::open(&folder.0) }.unwrap();
        assert_eq!(unsafe { Package::open(&library) }.unwrap().as_ptr(), package.as_ptr());
        assert!(opened.iter().all(|earlier| earlier.as_ptr() != package.as_ptr()));
        assert_eq!(Layer::new(&package, Options::default()).unwrap().info().name, "tiny");
        opened.push(package);
        std::fs::copy(&library, &copy).unwrap();
        std::fs::rename(&copy, &library).unwrap();
    }
}

#[test]
fn cuda_needs_kernels_for_it() {
    let created = unsafe { Layer::new(&tiny::package(), Options::default().cuda(None)) };
    assert_eq!(created.err().unwrap().status(), Status::IsaMissing);
}

#[test]
fn everything_may_be_dropped_in_any_order() {
    let parameters = Parameters::new(3);
    let weights = {
        let layer = layer();
        parameters.weights(&layer)
    };
    let other = layer();
    let x = numbers(H, 4);
    drop(weights);
    let weights = parameters.weights(&other.clone());
    parameters.expect(&x, &run(&other, &weights, &x));
}

#[test]
fn sixteen_bit_elements() {
    for (value, bits) in
        [(1.0, 0x3f80), (1.003_906_2, 0x3f80), (1.011_718_8, 0x3f82), (-2.5, 0xc020), (f32::MAX, 0x7f80)]
    {
        assert_eq!(Bf16::from_f32(value).0, bits, "{value}");
    }
    assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
    assert_eq!(Bf16::from_f32(f32::NEG_INFINITY).to_f32(), f32::NEG_INFINITY);
    assert_eq!(Bf16::from_bits_slice(&[0x3f80])[0].to_f32(), 1.0);
}

#[test]
fn rules_between_training_steps() {
    let counts = [4, 0, 2, 2];
    let load = moec::Load::of(&counts).unwrap();
    assert_eq!((load.total, load.dead_experts), (8, 1));
    let mut bias = [0f32; 4];
    moec::update_choice_bias(&mut bias, &counts, 0.5, false).unwrap();
    assert_eq!(bias, [-0.5, 0.5, 0.0, 0.0]);
    assert!((moec::next_capacity_factor(&counts, 1.5).unwrap() - 1.6).abs() < 1e-12);
    assert_eq!(
        text(moec::update_choice_bias(&mut bias, &counts[..3], 1.0, true)),
        "MOEC_SHAPE: bias has 4 elements, counts 3"
    );
    assert_eq!(moec::Load::of(&[]).unwrap_err().status(), Status::InvalidArgument);
}
