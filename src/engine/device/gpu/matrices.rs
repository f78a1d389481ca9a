//! Cooperative matrices: which adapters have those that kernels are written for, and which are not to be trusted.

use crate::engine::device::kernel::Matrices;
use wgpu::{AdapterInfo, Backend, CooperativeScalarType, Features};

/// What a device is opened with for them.
pub(super) const FEATURES: Features = Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16);

/// Sides that bodies are written for, the larger first: it loads less for each product.
const SIDES: [u32; 2] = [16, 8];
/// Subgroups of a workgroup, see kernels/lib/coop.wgsl.
const SUBGROUPS: u32 = 8;

const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;

/// Drivers that report matrices and are not to be believed.
struct Denied {
    is: fn(&AdapterInfo) -> bool,
    why: &'static str,
}

const DENIED: [Denied; 3] = [
    Denied {
        // RADV, Mesa's own driver, reports them where the hardware has them alone.
        is: |info| info.vendor == AMD && !info.driver.contains("radv"),
        why: "AMD's own drivers report matrices on GPUs that have none, and some crash when asked for them",
    },
    Denied {
        is: |info| info.vendor == INTEL,
        why: "Intel's drivers compute matrices of these sizes without matrix units, slowly, and some hang",
    },
    Denied {
        is: |info| info.backend == Backend::Metal,
        why: "on Metal the results of wgpu's own test of matrices differ from run to run",
    },
];

/// The matrices that kernels use on an adapter; the error is the reason why there are none.
pub(super) fn matrices(adapter: &wgpu::Adapter) -> Result<Matrices, &'static str> {
    let info = adapter.get_info();
    if let Some(denied) = DENIED.iter().find(|denied| (denied.is)(&info)) {
        return Err(denied.why);
    }
    if !adapter.features().contains(FEATURES) {
        return Err("its driver has no cooperative matrices of f16");
    }
    let known = adapter.cooperative_matrix_properties();
    let has = |side: &u32| {
        known.iter().any(|known| {
            let sides = [known.m_size, known.n_size, known.k_size];
            let types = (known.ab_type, known.cr_type);
            sides == [*side; 3] && types == (CooperativeScalarType::F16, CooperativeScalarType::F32)
        })
    };
    let side = SIDES.into_iter().find(has).ok_or("its matrices of f16 are not 16x16 or 8x8 with sums of f32")?;
    let fits =
        |matrices: Matrices| SUBGROUPS * matrices.subgroup <= adapter.limits().max_compute_invocations_per_workgroup;
    Some(of(side, info.subgroup_max_size)).filter(|matrices| fits(*matrices)).ok_or("its workgroups are too small")
}

/// Of this side, on an adapter whose subgroups are no larger. What kernels take for the subgroup's size may be larger
/// than it is, and must be where a workgroup would not load a slice at once otherwise.
fn of(side: u32, largest_subgroup: u32) -> Matrices {
    Matrices { side, subgroup: largest_subgroup.max(side * side / SUBGROUPS) }
}

/// How `doctor` names the matrices of an adapter.
pub(super) fn name(matrices: Matrices) -> &'static str {
    if matrices.side == 16 { "f16 matrices of 16x16" } else { "f16 matrices of 8x8" }
}

/// wgpu's consent to features that it calls experimental.
#[allow(unsafe_code, reason = "wgpu asks for it before it compiles cooperative matrices")]
pub(super) fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: whoever calls this acknowledges that wgpu's code for such features may have errors. It is called where
    // f16 was asked for alone, texts with matrices are this crate's own, and their results are compared with the twins'
    // on a software driver, and by `huetape kernels check` on the adapter at hand.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_loads_a_slice_at_once() {
        // NVIDIA, RADV, llvmpipe with AVX2 and without, subgroups smaller than any that has 16x16.
        for (side, largest, taken) in [(16, 32, 32), (16, 64, 64), (8, 8, 8), (8, 4, 8), (16, 16, 32)] {
            let matrices = of(side, largest);
            assert_eq!(matrices, Matrices { side, subgroup: taken });
            // Blocks of 4 x 4 in a tile of 8 by a slice of 2 matrices.
            assert!(SUBGROUPS * matrices.subgroup >= (8 * side / 4) * (2 * side / 4));
        }
    }
}
