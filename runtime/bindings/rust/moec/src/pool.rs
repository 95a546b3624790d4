// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Threads that layers share, and steps of a call for threads of the host.
use crate::error::{checked, keep_panic, Result};
use moec_sys as sys;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;

type OnThreadStart = dyn Fn(usize) + Send + Sync;

/// How a [`Pool`] is made. `Default` is one thread for each CPU that this thread may use.
#[derive(Default)]
pub struct PoolOptions {
    threads: i32,
    spin_us: i32,
    waits: bool,
    on_thread_start: Option<Box<OnThreadStart>>,
}

impl PoolOptions {
    /// Workers, the calling thread included; 0 = the CPUs that this thread may use.
    pub fn threads(mut self, threads: i32) -> Self {
        self.threads = threads;
        self
    }

    /// How many microseconds an idle worker spins before it sleeps; 0 = 50, -1 = it sleeps at once.
    pub fn spin_us(mut self, spin_us: i32) -> Self {
        self.spin_us = spin_us;
        self
    }

    /// A call that finds the pool busy waits for its turn, instead of running on its own thread alone.
    pub fn wait_if_busy(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Runs first on each thread that the pool starts, workers 1, 2, ...: the place for affinity and names. A panic in
    /// it is printed, and the thread goes on.
    pub fn on_thread_start(mut self, function: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_thread_start = Some(Box::new(function));
        self
    }
}

/// Threads for any number of layers of any packages. A clone is the same pool.
#[derive(Clone)]
pub struct Pool(Arc<PoolHandle>);

struct PoolHandle {
    pool: *mut sys::moec_pool,
    /// Boxed twice, so that C holds a thin pointer. Outlives the threads, which end with the pool.
    _on_thread_start: Option<Box<Box<OnThreadStart>>>,
}

unsafe impl Send for PoolHandle {}
unsafe impl Sync for PoolHandle {}

unsafe extern "C" fn start_thread(context: *mut c_void, worker: i32) {
    let function = &*(context as *const Box<OnThreadStart>);
    let _ = catch_unwind(AssertUnwindSafe(|| function(worker as usize)));
}

impl Pool {
    /// A pool; its first call starts the threads.
    pub fn new(options: PoolOptions) -> Result<Pool> {
        let on_thread_start = options.on_thread_start.map(Box::new);
        let context = on_thread_start.as_deref().map_or(std::ptr::null_mut(), |f| f as *const _ as *mut c_void);
        let c = sys::moec_pool_options {
            struct_size: std::mem::size_of::<sys::moec_pool_options>(),
            threads: options.threads,
            spin_us: options.spin_us,
            when_busy: if options.waits { sys::MOEC_BUSY_WAIT } else { sys::MOEC_BUSY_ALONE },
            reserved: 0,
            on_thread_start: if context.is_null() { None } else { Some(start_thread) },
            on_thread_start_context: context,
        };
        let mut pool = std::ptr::null_mut();
        checked(|| unsafe { sys::moec_pool_create(&c, &mut pool) })?;
        Ok(Pool(Arc::new(PoolHandle { pool, _on_thread_start: on_thread_start })))
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::moec_pool {
        self.0.pool
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        unsafe { sys::moec_pool_destroy(self.pool) };
    }
}

const MAX_THREADS: usize = 1024;

/// One step of a call, for threads of the host: see [`Options::threads_of`](crate::Options::threads_of).
pub struct Region<'r> {
    count: i64,
    threads: usize,
    next: AtomicI64,
    busy: [AtomicU64; MAX_THREADS / 64],
    body: &'r (dyn Fn(i64, i32) + Sync),
}

impl Region<'_> {
    /// Pieces of work in the step.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// At most so many threads work at once; others return from [`work`](Region::work) at once.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Does pieces of the step until none is left. Call it from as many threads as shall work.
    pub fn work(&self) {
        if let Some(worker) = self.take_worker() {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= self.count {
                    break;
                }
                (self.body)(i, worker as i32);
            }
            self.busy[worker / 64].fetch_and(!(1 << (worker % 64)), Ordering::Release);
        }
    }

    fn take_worker(&self) -> Option<usize> {
        (0..self.threads).find(|worker| {
            let bit = 1 << (worker % 64);
            self.busy[worker / 64].fetch_or(bit, Ordering::Acquire) & bit == 0
        })
    }
}

/// Threads of the host, as [`Options::threads_of`](crate::Options::threads_of) takes them.
pub(crate) struct HostThreads {
    pub(crate) threads: usize,
    pub(crate) run: Box<dyn Fn(&Region<'_>) + Send + Sync>,
}

/// Where the C side's body and its argument meet Rust: any thread may call it, as `moec_parallel_for` says.
struct Body {
    run: unsafe extern "C" fn(*mut c_void, i64, i32),
    argument: *mut c_void,
}
unsafe impl Sync for Body {}

impl Body {
    fn call(&self, i: i64, worker: i32) {
        unsafe { (self.run)(self.argument, i, worker) }
    }
}

/// The hook that C calls, on the thread that made the call. What the host's function leaves undone is done here, so
/// that no call is ever half done.
pub(crate) unsafe extern "C" fn run_hosted(
    context: *mut c_void,
    count: i64,
    body: Option<unsafe extern "C" fn(*mut c_void, i64, i32)>,
    body_arg: *mut c_void,
) {
    let host = &*(context as *const HostThreads);
    let run = match body {
        Some(run) => run,
        None => return,
    };
    let body = Body { run, argument: body_arg };
    let call = |i, worker| body.call(i, worker);
    let region = Region {
        count,
        threads: host.threads.clamp(1, MAX_THREADS),
        next: AtomicI64::new(0),
        busy: std::array::from_fn(|_| AtomicU64::new(0)),
        body: &call,
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (host.run)(&region))) {
        keep_panic(payload);
    }
    region.work();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn region(count: i64, threads: usize, body: &(dyn Fn(i64, i32) + Sync)) -> Region<'_> {
        let busy = std::array::from_fn(|_| AtomicU64::new(0));
        Region { count, threads, next: AtomicI64::new(0), busy, body }
    }

    #[test]
    fn every_piece_is_done_once_and_no_two_threads_are_one_worker() {
        let done: Vec<AtomicU64> = (0..500).map(|_| AtomicU64::new(0)).collect();
        let working: Vec<AtomicBool> = (0..3).map(|_| AtomicBool::new(false)).collect();
        let body = |i: i64, worker: i32| {
            assert!(!working[worker as usize].swap(true, Ordering::SeqCst), "worker {worker} is two threads");
            std::thread::sleep(std::time::Duration::from_micros(20));
            done[i as usize].fetch_add(1, Ordering::SeqCst);
            working[worker as usize].store(false, Ordering::SeqCst);
        };
        let region = region(500, 3, &body);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| region.work());
            }
        });
        assert!(done.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    }

    #[test]
    fn workers_are_numbered_over_several_words() {
        let region = region(0, 130, &|_, _| {});
        assert_eq!((0..130).map(|_| region.take_worker().unwrap()).collect::<Vec<_>>(), (0..130).collect::<Vec<_>>());
        assert!(region.take_worker().is_none());
    }
}
