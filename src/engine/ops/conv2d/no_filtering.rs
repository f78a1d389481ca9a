//! In a build without GPUs nothing is filtered on one.

use crate::engine::device::GpuInfo;
use crate::engine::ops::conv2d::geometry::{Geometry, Layout};
use crate::engine::ops::conv2d::params::Params;

pub(super) fn filters_y(_: &Params) -> bool {
    false
}

pub(super) fn filters_dx(_: &Params) -> bool {
    false
}

pub(super) fn filters_dw(_: &Params) -> bool {
    false
}

pub(super) fn most_flops_of_y(_: &Params, _: &GpuInfo) -> f64 {
    f64::INFINITY
}

pub(super) fn most_flops_of_dx(_: &Params, _: &GpuInfo) -> f64 {
    f64::INFINITY
}

pub(super) fn most_flops_of_dw(_: &Geometry, _: Layout) -> f64 {
    f64::INFINITY
}
