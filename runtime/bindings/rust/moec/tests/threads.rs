// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Pools, threads of the host, and calls at the same time.
mod tiny;

use moec::{Forward, Layer, Options, Package, Pool, PoolOptions, Region, Tensor, Weights, Workspace};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use tiny::{layer, layer_with, numbers, run, Parameters, H};

#[test]
fn what_threads_may_share() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Package>();
    shared::<Pool>();
    shared::<Layer>();
    shared::<Weights<'static>>();
    shared::<Region<'static>>();
    sent::<Workspace>();
    let _: fn(&Layer) = |_| {};
    let _ = std::mem::size_of::<(Forward<'static>, Tensor<'static>)>();
}

#[test]
fn the_hosts_threads_give_the_same_bits() {
    let parameters = Parameters::new(1);
    let x = numbers(65 * H, 2);
    let alone = layer();
    let want = run(&alone, &parameters.weights(&alone), &x);
    for helpers in [0, 1, 5] {
        let steps = Arc::new(AtomicUsize::new(0));
        let counter = steps.clone();
        let hosted = layer_with(Options::default().threads_of(3, move |region| {
            counter.fetch_add(region.count().min(1), Ordering::Relaxed);
            assert_eq!(region.threads(), 3);
            std::thread::scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|| region.work());
                }
            });
        }));
        assert_eq!(run(&hosted, &parameters.weights(&hosted), &x), want);
        assert!(steps.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn a_panic_in_the_hosts_threads_arrives_after_the_call() {
    let parameters = Parameters::new(1);
    let armed = Arc::new(AtomicUsize::new(0));
    let fuse = armed.clone();
    let hosted = layer_with(Options::default().threads_of(2, move |_| {
        assert_eq!(fuse.load(Ordering::Relaxed), 0, "from the host");
    }));
    let weights = parameters.weights(&hosted);
    let mut workspace = hosted.workspace(2).unwrap();
    let (x, mut y) = (numbers(2 * H, 2), vec![0f32; 2 * H]);
    armed.store(1, Ordering::Relaxed);
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        hosted.forward(&weights).x(&x).y(&mut y).run(&mut workspace)
    }))
    .unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("from the host"));
    parameters.expect(&x, &y); // the calling thread did all of the work
    armed.store(0, Ordering::Relaxed);
    hosted.forward(&weights).x(&x).y(&mut y).run(&mut workspace).unwrap();
}

#[test]
fn a_pool_is_shared_and_starts_its_threads_with_the_callers_function() {
    let parameters = Parameters::new(2);
    let started = Arc::new(AtomicUsize::new(0));
    let counter = started.clone();
    let options = PoolOptions::default().threads(3).spin_us(-1).wait_if_busy().on_thread_start(move |worker| {
        counter.fetch_add(worker, Ordering::SeqCst);
        panic!("is printed, and the thread goes on");
    });
    let pool = Pool::new(options).unwrap();
    let layers = [layer_with(Options::default().pool(&pool)), layer_with(Options::default().pool(&pool))];
    drop(pool);
    let x = numbers(65 * H, 2);
    for layer in &layers {
        assert_eq!(layer.info().max_threads, 3);
        parameters.expect(&x, &run(layer, &parameters.weights(layer), &x));
    }
    drop(layers); // joins
    assert_eq!(started.load(Ordering::SeqCst), 1 + 2);
}

#[test]
fn threads_share_a_layer_and_its_weights() {
    let parameters = Parameters::new(5);
    let layer = layer_with(Options::default().threads(2));
    let weights = parameters.weights(&layer);
    let x = numbers(9 * H, 2);
    let want = run(&layer, &weights, &x);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(run(&layer, &weights, &x), want);
                }
            });
        }
    });
}

#[test]
fn options_out_of_range() {
    let error = Pool::new(PoolOptions::default().threads(2000)).err().unwrap();
    assert_eq!(error.to_string(), "MOEC_INVALID_ARGUMENT: options: threads is 2000, expected 0 to 1024");
    let many = Layer::new(&tiny::package(), Options::default().threads_of(5000, |region| region.work()));
    assert!(many.err().unwrap().text().contains("5000"));
}
