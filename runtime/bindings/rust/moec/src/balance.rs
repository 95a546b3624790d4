// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Counts of rows per expert -> what they say about the load, and rules between training steps.
use crate::error::{checked, Error, Result, Status};
use crate::layer::to_i64;
use moec_sys as sys;

/// Statistics of counts of rows or choices per expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Sum of the counts.
    pub total: u64,
    /// Experts with count 0.
    pub dead_experts: u64,
    /// In nats; log of the number of experts if all counts are equal.
    pub entropy: f64,
    /// Standard deviation over mean.
    pub variation: f64,
    /// The largest expert's share.
    pub max_share: f64,
}

impl Load {
    /// ```
    /// assert_eq!(moec::Load::of(&[4, 0, 2, 2])?.max_share, 0.5);
    /// # Ok::<(), moec::Error>(())
    /// ```
    pub fn of(counts: &[i32]) -> Result<Load> {
        let mut load: sys::moec_load = unsafe { std::mem::zeroed() };
        let experts = to_i64(counts.len(), "counts")?;
        checked(|| unsafe { sys::moec_load_of_counts(counts.as_ptr(), experts, &mut load) })?;
        Ok(Load {
            total: load.total as u64,
            dead_experts: load.dead_experts as u64,
            entropy: load.entropy,
            variation: load.variation,
            max_share: load.max_share,
        })
    }
}

/// Updates a router's choice bias after a training step: see `moec_update_choice_bias` of `moec.h`.
pub fn update_choice_bias(bias: &mut [f32], counts: &[i32], rate: f32, centre: bool) -> Result<()> {
    if bias.len() != counts.len() {
        let text = format!("bias has {} elements, counts {}", bias.len(), counts.len());
        return Err(Error::new(Status::Shape, text));
    }
    let experts = to_i64(counts.len(), "counts")?;
    checked(|| unsafe {
        sys::moec_update_choice_bias(bias.as_mut_ptr(), counts.as_ptr(), experts, rate, i32::from(centre))
    })
}

/// The capacity factor after `factor`: see `moec_next_capacity_factor` of `moec.h`.
pub fn next_capacity_factor(counts: &[i32], mut factor: f64) -> Result<f64> {
    let experts = to_i64(counts.len(), "counts")?;
    checked(|| unsafe { sys::moec_next_capacity_factor(counts.as_ptr(), experts, &mut factor) })?;
    Ok(factor)
}
