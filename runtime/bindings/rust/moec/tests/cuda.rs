// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! A CUDA layer on a fake driver, a library that `MOEC_TEST_CUDA` names. Without the variable there is nothing to test.
mod tiny;

use moec::{sys, Buffer, Device, Layer, Options, Package, Status, Verify};
use std::ffi::{c_void, CString};
use tiny::{numbers, Parameters, E, H, I};

extern "C" {
    fn dlopen(path: *const sys::c_char, mode: i32) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const sys::c_char) -> *mut c_void;
}

/// Functions of tests/bindings/fake_cuda.cpp.
struct Fake {
    package: unsafe extern "C" fn() -> *const sys::moec_package,
    driver: unsafe extern "C" fn() -> *const c_void,
    memory: unsafe extern "C" fn(*mut c_void, usize),
    launches: unsafe extern "C" fn(*const c_void) -> i32,
}

/// `name` of the library, which is a function of type F.
unsafe fn function<F: Copy>(library: *mut c_void, name: &str) -> F {
    let name = CString::new(name).unwrap();
    let found = dlsym(library, name.as_ptr());
    assert!(!found.is_null(), "no {name:?}");
    std::mem::transmute_copy(&found)
}

impl Fake {
    unsafe fn load() -> Option<Fake> {
        let path = CString::new(std::env::var("MOEC_TEST_CUDA").ok()?).unwrap();
        let library = dlopen(path.as_ptr(), 2);
        assert!(!library.is_null(), "cannot load {path:?}");
        Some(Fake {
            package: function(library, "fake_package"),
            driver: function(library, "fake_driver"),
            memory: function(library, "fake_device_memory"),
            launches: function(library, "fake_launches"),
        })
    }

    /// Memory that the driver takes for its device's.
    unsafe fn device(&self, elements: usize) -> Buffer<f32> {
        let mut buffer = Buffer::<f32>::zeroed(elements).unwrap();
        (self.memory)(buffer.as_mut_ptr().cast(), buffer.len() * 4);
        buffer
    }
}

fn c_tensor(role: &std::ffi::CStr, data: &[f32], dims: &[i64]) -> sys::moec_tensor {
    let mut c = sys::moec_tensor {
        role: role.as_ptr(),
        data: data.as_ptr().cast(),
        dtype: sys::MOEC_F32,
        rank: dims.len() as i32,
        dims: [0; 4],
    };
    c.dims[..dims.len()].copy_from_slice(dims);
    c
}

#[test]
fn a_call_in_device_memory_on_a_stream() {
    let fake = match unsafe { Fake::load() } {
        Some(fake) => fake,
        None => return,
    };
    let package = unsafe { Package::from_raw((fake.package)()) };
    let options = unsafe { Options::default().cuda_driver(Some(1), (fake.driver)()) };
    let layer = Layer::new(&package, options).unwrap();
    assert_eq!(layer.info().device, Device::Cuda { sm: 90 });

    let parameters = Parameters::new(1);
    let refused = layer.pack(&parameters.tensors()).err().unwrap();
    assert_eq!(refused.status(), Status::UnsupportedDevice);
    assert_eq!(layer.workspace(1).err().unwrap(), refused);
    assert_eq!(layer.map(&[], Verify::No).err().unwrap(), refused);
    assert_eq!(layer.load("/nowhere", "").err().unwrap(), refused);
    assert_eq!(layer.pack_into(&mut [], &[]).err().unwrap(), refused);
    assert_eq!(unsafe { layer.map_file("/nowhere", Verify::No) }.err().unwrap(), refused);

    let names: Vec<CString> = ["router.weight", "experts.gate", "experts.up", "experts.down"]
        .iter()
        .map(|name| CString::new(*name).unwrap())
        .collect();
    let (e, i, h) = (E as i64, I as i64, H as i64);
    let tensors = [
        c_tensor(&names[0], &parameters.router, &[e, h]),
        c_tensor(&names[1], &parameters.gate, &[e, i, h]),
        c_tensor(&names[2], &parameters.up, &[e, i, h]),
        c_tensor(&names[3], &parameters.down, &[e, h, i]),
    ];
    let mut packed = unsafe { fake.device(layer.weights_bytes().unwrap() / 4) };
    let bytes = packed.len() * 4;
    let weights = unsafe { layer.pack_raw(&tensors, packed.as_mut_ptr().cast(), bytes) }.unwrap();
    assert!(weights.packed().is_empty());
    drop(weights);
    let weights = unsafe { layer.map_raw(packed.as_ptr().cast(), bytes, Verify::No) }.unwrap();

    let rows = numbers(3 * H, 2);
    let (mut x, mut y) = unsafe { (fake.device(3 * H), fake.device(3 * H)) };
    x.copy_from_slice(&rows);
    let mut workspace = unsafe { fake.device(layer.workspace_bytes(3, 0, false).unwrap() / 4) };
    let mut host = moec::Workspace::new(workspace.len() * 4).unwrap();
    let error = layer.forward(&weights).x(&x).y(&mut y).run(&mut host).unwrap_err();
    assert_eq!(error, refused);

    let mut stream = 0u8;
    let mut args: sys::moec_forward_args = unsafe { std::mem::zeroed() };
    args.struct_size = std::mem::size_of_val(&args);
    args.num_tokens = 3;
    args.x = x.as_ptr().cast();
    args.y = y.as_mut_ptr().cast();
    args.workspace = workspace.as_mut_ptr().cast();
    args.workspace_bytes = workspace.len() * 4;
    args.stream = (&mut stream as *mut u8).cast();
    unsafe { layer.forward_raw(&weights, &args) }.unwrap();
    assert!(unsafe { (fake.launches)(args.stream) } > 0);
    parameters.expect(&rows, &y);
}
