//! Sums over some axes of a tensor, in an order that the shape alone fixes.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, Saves, arity};
use crate::engine::primitives;
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SUM_AXES, &SUM_AXES_GRAD];

/// The most elements that one invocation adds up. Drivers may end longer loops early, and short ones keep the error of
/// a long sum small.
const MOST_TURNS: usize = 256;
/// Elements of a row that one rayon task works on.
const BLOCK: usize = 4096;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    len: u32,
    step: u32,
}

static SUM_AXES: Kernel<Params> = Kernel {
    name: "sum_axes",
    bodies: &[Body::proved(kernel_text!("sum_axes"), &|p, _| {
        Plan::linear(p.rows as usize * p.step as usize).each(f64::from(p.len) / f64::from(p.step))
    })],
    twin: &sum_axes_twin,
};

fn sum_axes_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (len, step) = (p.len as usize, p.step as usize);
    // Many short rows go to one task, parts of a long one to several.
    let rows = (BLOCK / len).max(1);
    y.par_chunks_mut(step).zip(x.par_chunks(len)).with_min_len(rows).for_each(|(y, x)| {
        blocks::write((y, BLOCK), |block, y| {
            y.fill(0.0);
            for start in (block * BLOCK..len).step_by(step) {
                y.iter_mut().zip(&x[start..]).for_each(|(y, x)| *y += x);
            }
        });
    });
    Ok(())
}

static SUM_AXES_GRAD: Kernel<Params> = Kernel {
    name: "sum_axes_grad",
    bodies: &[Body::proved(kernel_text!("sum_axes_grad"), &|p, _| {
        Plan::linear(p.rows as usize * p.len as usize).each(0.0)
    })],
    twin: &sum_axes_grad_twin,
};

fn sum_axes_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (len, step) = (p.len as usize, p.step as usize);
    let rows = (BLOCK / len).max(1);
    y.par_chunks_mut(len).zip(x.par_chunks(step)).with_min_len(rows).for_each(|(y, x)| match x {
        [x] => y.fill(*x),
        _ => y.chunks_mut(step).for_each(|y| y.copy_from_slice(x)),
    });
    Ok(())
}

/// `y = sum over j of x[row, j, column]` for x of `rows * n * columns` elements and y of `rows * columns`, whatever
/// their shapes.
pub(super) fn sum_middle(x: &Tensor, rows: usize, columns: usize, y: &Tensor) -> Result<()> {
    let launch = |x: &Tensor, y: &Tensor| {
        let params = Params { rows: rows as u32, len: (x.len() / rows) as u32, step: (y.len() / rows) as u32 };
        y.device().launch(&SUM_AXES, &params, &[x], &[], &[y])
    };
    let mut partial = x.clone();
    let mut count = x.len() / (rows * columns);
    while count > MOST_TURNS {
        count = count.div_ceil(MOST_TURNS);
        let sums = Tensor::empty(x.device(), &[rows, count, columns])?;
        launch(&partial, &sums)?;
        partial = sums;
    }
    launch(&partial, y)
}

/// `y[row, j, column] = x[row, column]` for all j, of x with `rows * columns` elements and y of `rows * n * columns`,
/// whatever their shapes: the gradient of [`sum_middle`].
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn repeat_middle(x: &Tensor, rows: usize, y: &Tensor) -> Result<()> {
    let params = Params { rows: rows as u32, len: (y.len() / rows) as u32, step: (x.len() / rows) as u32 };
    y.device().launch(&SUM_AXES_GRAD, &params, &[x], &[], &[y])
}

/// The sum over the given axes of a tensor of any shape; no axes at all copy it. `dx = dy`, repeated along them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumAxes {
    /// Axes to sum over, 0 being the outermost, in any order.
    pub axes: Vec<usize>,
    /// Whether these axes stay, with a size of 1. Otherwise they go; a sum over all of them is `[1]`.
    pub keep: bool,
}

/// Axes that lie side by side and are summed at once: the elements before them, along them and after them.
struct Run {
    rows: usize,
    count: usize,
    columns: usize,
}

impl SumAxes {
    /// The sum over `axes`, which go.
    pub fn over(axes: &[usize]) -> Self {
        SumAxes { axes: axes.to_vec(), keep: false }
    }

    /// The same with the axes kept at a size of 1.
    #[must_use]
    pub fn keep(self) -> Self {
        SumAxes { keep: true, ..self }
    }

    /// The shape of the sum of a tensor of shape `x`.
    ///
    /// # Errors
    /// An axis that x does not have, or that is named twice.
    pub fn output_shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        for (i, axis) in self.axes.iter().enumerate() {
            crate::ensure!(
                *axis < x.len() && !self.axes[..i].contains(axis),
                Error::input(
                    format!("a sum over axes {:?} of a tensor with {} axes", self.axes, x.len()),
                    format!("{x:?}"),
                    "name each axis once, from 0 on"
                )
                .of(ErrorKind::Shape)
            );
        }
        let sizes = x.iter().enumerate();
        let shape: Vec<usize> = match self.keep {
            true => sizes.map(|(axis, &size)| if self.axes.contains(&axis) { 1 } else { size }).collect(),
            false => sizes.filter(|(axis, _)| !self.axes.contains(axis)).map(|(_, &size)| size).collect(),
        };
        Ok(if shape.is_empty() { vec![1] } else { shape })
    }

    /// The runs of axes in the order in which they are summed: the innermost first.
    fn runs(&self, x: &[usize]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut columns, mut inside) = (1, false);
        for (axis, &size) in x.iter().enumerate().rev() {
            let rows = x[..axis].iter().product();
            let summed = self.axes.contains(&axis);
            match runs.last_mut() {
                Some(run) if summed && inside => (run.rows, run.count) = (rows, run.count * size),
                _ if summed => runs.push(Run { rows, count: size, columns }),
                _ => columns *= size,
            }
            inside = summed;
        }
        runs
    }
}

impl Op for SumAxes {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(arity("sum_axes", 1, inputs)) };
        let y = Tensor::empty(x.device(), &self.output_shape(x.shape())?)?;
        let mut partial = (*x).clone();
        let runs = self.runs(x.shape());
        for (i, run) in runs.iter().enumerate() {
            let last = i + 1 == runs.len();
            let sums = if last { y.clone() } else { Tensor::empty(x.device(), &[run.rows, run.columns])? };
            sum_middle(&partial, run.rows, run.columns, &sums)?;
            partial = sums;
        }
        if runs.is_empty() {
            primitives::copy(x, &y)?;
        }
        // For the shape of the gradient: its elements are not read.
        Ok(Forward { y, saved: vec![(*x).clone()] })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Shape
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let shape = grad.saved[0].shape();
        let runs = self.runs(shape);
        let mut partial = grad.dy.clone();
        for (i, run) in runs.iter().enumerate().rev() {
            let whole = match i {
                0 => grad.out(0, shape)?,
                _ => Tensor::empty(partial.device(), &[run.rows, run.count, run.columns])?,
            };
            repeat_middle(&partial, run.rows, &whole)?;
            partial = whole;
        }
        if runs.is_empty() { grad.pass(0, partial) } else { Ok(()) }
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301, 2, 5], 1)?;
    crate::engine::self_test::run_op(&SumAxes::over(&[1, 3]), &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases, devices};
    use proptest::prelude::*;

    /// Adds each element to where its coordinates without the summed axes lead.
    fn reference(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let mut y = vec![0.0; kept.iter().map(|&axis| shape[axis]).product()];
        for (i, value) in x.iter().enumerate() {
            let coordinate = |axis: usize| i / shape[axis + 1..].iter().product::<usize>() % shape[axis];
            y[kept.iter().fold(0, |at, &axis| at * shape[axis] + coordinate(axis))] += value;
        }
        y
    }

    fn check(shape: &[usize], axes: &[usize]) {
        let (owned, list) = (shape.to_vec(), axes.to_vec());
        Check::new(&[shape]).reference(move |x| reference(&x[0], &owned, &list)).run(&SumAxes::over(axes));
    }

    #[test]
    fn every_subset_of_axes_matches_the_reference() {
        let shape = [3, 4, 2, 5];
        for subset in 0..16usize {
            let axes: Vec<usize> = (0..4).rev().filter(|axis| subset >> axis & 1 == 1).collect();
            check(&shape, &axes);
        }
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn sums_match_the_reference_on_odd_shapes(a in 1usize..6, b in 1usize..600, c in 1usize..4) {
            check(&[a, b, c], &[1]);
            check(&[a, b, c], &[0, 2]);
        }
    }

    /// 65,536 elements in one sum are the most that one loop of some drivers gets through.
    #[test]
    fn long_sums_are_whole_along_every_axis() {
        for device in devices() {
            let len = 256 * 256 * 3 + 1;
            for (shape, axis) in [([1, len], 1), ([len, 2], 0)] {
                let x = Tensor::full(&device, &shape, 1.0).unwrap();
                let y = SumAxes::over(&[axis]).forward(&[&x]).unwrap().y.to_vec().unwrap();
                assert!(y.iter().all(|&y| y == len as f32), "{}: {y:?}", device.name());
            }
        }
    }

    #[test]
    fn axes_are_kept_or_go_and_wrong_ones_are_refused() {
        let shape = |op: SumAxes| op.output_shape(&[2, 3, 4]).unwrap();
        assert_eq!(shape(SumAxes::over(&[2, 0])), [3]);
        assert_eq!(shape(SumAxes::over(&[2, 0]).keep()), [1, 3, 1]);
        assert_eq!(shape(SumAxes::over(&[0, 1, 2])), [1]);
        assert_eq!(shape(SumAxes::over(&[])), [2, 3, 4]);
        let x = Tensor::full(&Device::cpu(), &[2, 3], 1.0).unwrap();
        for axes in [&[2][..], &[0, 0]] {
            let error = SumAxes::over(axes).forward(&[&x]).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Shape);
            assert!(error.to_string().contains("[2, 3]"), "{error}");
        }
    }
}
