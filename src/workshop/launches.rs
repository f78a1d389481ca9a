//! Where launches come from that are timed or looked at: a convolution by itself.

use crate::engine::device::{AnyKernel, Device, GpuInfo, Matrices, Plan, Then, Trial, texts};
use crate::engine::op::{Backward, Op};
use crate::engine::ops::conv2d::{Activation, Conv2d};
use crate::engine::self_test::seeded;
use crate::error::{Error, ErrorKind, Result};
use crate::workshop::catalogue::text_of;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// A convolution by its sizes: image `[N, H, W, C]`, weights `[Kh, Kw, C, O]`, zeros around the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Sizes of the image.
    pub x: [usize; 4],
    /// Sizes of the weights.
    pub w: [usize; 4],
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Input pixels from one tap to the next.
    pub dilation: usize,
}

impl FromStr for Convolution {
    type Err = Error;

    /// `1x64x64x64,3x3x64x128`, and after a comma each `stride2` and `dilation2`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let remedy = "write NxHxWxC,KhxKwxCxO with perhaps ,stride2 or ,dilation2, e.g. 1x64x64x64,3x3x64x128";
            Error::input("no sizes of a convolution", format!("⟨shape⟩ {text}"), remedy).of(ErrorKind::Shape)
        };
        let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number > 0).ok_or_else(wrong);
        let axes = |text: &str| -> Result<[usize; 4]> {
            let sizes = text.split('x').map(number).collect::<Result<Vec<_>>>()?;
            sizes.try_into().map_err(|_| wrong())
        };
        let mut parts = text.split(',').map(str::trim);
        let (x, w) = (axes(parts.next().unwrap_or_default())?, axes(parts.next().unwrap_or_default())?);
        let mut convolution = Convolution { x, w, stride: 1, dilation: 1 };
        for part in parts {
            match (part.strip_prefix("stride"), part.strip_prefix("dilation")) {
                (Some(stride), _) => convolution.stride = number(stride)?,
                (_, Some(dilation)) => convolution.dilation = number(dilation)?,
                _ => return Err(wrong()),
            }
        }
        convolution.op(false).output_shape(&x, &w).map_err(|error| wrong().caused_by(error))?;
        Ok(convolution)
    }
}

impl Convolution {
    fn op(&self, relu: bool) -> Conv2d {
        let activation = if relu { Activation::Relu } else { Activation::None };
        Conv2d { activation, ..Conv2d::same().stride(self.stride).dilation(self.dilation) }
    }

    /// What runs it, forward and backward, without a ReLU and with one, each time that it is called.
    ///
    /// # Errors
    /// No memory.
    pub fn pass(&self, device: &Device) -> Result<impl FnMut() -> Result<()> + use<>> {
        let [x, w, b] =
            [(&self.x[..], 1), (&self.w[..], 2), (&self.w[3..], 3)].map(|(of, seed)| seeded(device, of, seed));
        let inputs = [x?, w?, b?];
        let dy = seeded(device, &self.op(false).output_shape(&self.x, &self.w)?, 4)?;
        let (ops, device) = ([false, true].map(|relu| self.op(relu)), device.clone());
        Ok(move || {
            for op in &ops {
                let forward = op.forward(&inputs.each_ref())?;
                let mut backward = Backward::new(&dy, &forward.saved, &[true; 3], vec![None; 3]);
                op.backward(&mut backward)?;
            }
            device.sync()
        })
    }
}

/// Runs a pass and shows each of its launches to `see`, which gathers in `state` what it finds.
///
/// # Errors
/// Whatever the pass or `see` reports.
pub(super) fn watch<S: Send + 'static>(
    device: &Device,
    pass: &mut dyn FnMut() -> Result<()>,
    state: S,
    see: impl Fn(&mut S, &mut dyn Trial) -> Result<Then> + Send + 'static,
) -> Result<S> {
    let shared = Arc::new(Mutex::new(Some(state)));
    let of_watcher = shared.clone();
    device.watch_launches(Some(Box::new(move |trial| {
        let mut state = of_watcher.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map_or(Ok(Then::Run), |state| see(state, trial))
    })));
    let ran = pass();
    device.watch_launches(None);
    let state = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    ran.and_then(|()| state.ok_or_else(|| Error::failed("a launch was not looked at", "a pass", "run it again")))
}

/// A card as bodies are asked about one.
pub(super) const CARD: GpuInfo = GpuInfo { software: false, workgroup_bytes: 1 << 16, matrices: None };

/// The same opened for f16, as RADV has one.
pub(super) const F16_CARD: GpuInfo = GpuInfo { matrices: Some(Matrices { side: 16, subgroup: 64 }), ..CARD };

/// The body, from 0, that a card runs of a kernel for a convolution of these sizes, by itself or as it is told, and
/// how.
///
/// # Errors
/// A kernel that no convolution launches; a body that is not there or declines, with its reason.
pub fn on_a_card(sizes: Convolution, kernel: &dyn AnyKernel, body: Option<&str>) -> Result<(usize, Plan)> {
    let (device, wanted) = (Device::cpu(), kernel.name().to_owned());
    let body_of = body.map(str::to_owned);
    let of_f16 = texts(kernel).any(|text| Some(text.body) == body && text.has_matrices());
    let card = if of_f16 { F16_CARD } else { CARD };
    let seen = watch(&device, &mut sizes.pass(&device)?, None, move |seen: &mut Option<_>, trial| {
        let kernel = trial.kernel();
        if seen.is_none() && kernel.name() == wanted {
            let mut declined = Vec::new();
            let mut can = |at: usize| trial.admits(at, &card).map_err(|reason| declined.push(reason)).is_ok();
            let asked = |at: usize| match &body_of {
                Some(body) => kernel.text(at).body == body,
                None => trial.prefers(at, &card),
            };
            let found = (0..kernel.bodies()).find(|&at| asked(at) && can(at));
            *seen = Some(found.map(|at| (at, trial.plan(at, &card))).ok_or_else(|| declined.join("; ")));
        }
        Ok(Then::Skip)
    })?;
    text_of(kernel, body)?;
    match seen {
        Some(Ok(found)) => Ok(found),
        Some(Err(reasons)) => {
            let what = format!("kernel {} cannot run a convolution of these sizes as asked", kernel.name());
            let subject = format!("⟨body⟩ {}: {reasons}", body.unwrap_or_default());
            Err(Error::input(what, subject, "name another body, or none").of(ErrorKind::Kernel))
        }
        None => {
            let remedy = "leave it out, or take conv2d, conv2d_dx, conv2d_dw, conv2d_dz or conv2d_db";
            Err(Error::input("no convolution launches it", kernel.name(), remedy).of(ErrorKind::Kernel))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_convolution_are_read_and_others_refused() {
        let plain = Convolution { x: [1, 8, 8, 4], w: [3, 3, 4, 8], stride: 1, dilation: 1 };
        assert_eq!("1x8x8x4,3x3x4x8".parse::<Convolution>().unwrap(), plain);
        let both = "1x8x8x4, 3x3x4x8, stride2, dilation3".parse::<Convolution>().unwrap();
        assert_eq!(both, Convolution { stride: 2, dilation: 3, ..plain });
        for bad in ["", "1x8x8x4", "1x8x8x4,3x3x5x8", "1x8x8,3x3x4x8", "1x8x8x0,3x3x0x8", "1x8x8x4,3x3x4x8,stride"] {
            assert_eq!(bad.parse::<Convolution>().unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn a_card_runs_quads_where_channels_come_in_quads_and_adds_parts_where_the_depth_is_cut() {
        let (_, conv) = crate::workshop::catalogue::kernel("conv2d").unwrap();
        let on = |sizes: &str, body: Option<&str>| {
            let (body, plan) = on_a_card(sizes.parse()?, conv, body)?;
            let entries = plan.dispatches.iter().map(|dispatch| dispatch.entry.to_string()).collect::<Vec<_>>();
            Ok::<_, Error>(format!("{}: {}", conv.text(body).body, entries.join(" ")))
        };
        assert_eq!(on("1x4x4x4,3x3x4x8", None).unwrap(), "quads: quads");
        assert_eq!(on("1x4x4x3,3x3x3x8", None).unwrap(), "scalars: scalars");
        assert_eq!(on("1x4x4x4,3x3x4x8", Some("software")).unwrap(), "software: software");
        assert_eq!(on("1x2x2x3644,3x3x3644x8", None).unwrap(), "quads: quads total");
        assert_eq!(on("1x2x2x3648,3x3x3648x3", None).unwrap(), "narrow: narrow total");
        let error = on("1x4x4x3,3x3x3x8", Some("quads")).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("multiples of 4"), "{error}");
        assert!(on("1x4x4x4,3x3x4x8", Some("quad")).unwrap_err().to_string().contains("scalars"));
        let (_, relu) = crate::workshop::catalogue::kernel("relu").unwrap();
        assert_eq!(on_a_card("1x4x4x4,3x3x4x8".parse().unwrap(), relu, None).err().unwrap().exit_code(), 2);
    }

    #[test]
    fn a_pass_that_is_watched_shows_each_launch_and_skips_what_it_is_told_to() {
        let device = Device::cpu();
        let mut pass = "1x4x4x4,3x3x4x8".parse::<Convolution>().unwrap().pass(&device).unwrap();
        let seen = watch(&device, &mut pass, Vec::new(), |seen: &mut Vec<String>, trial| {
            seen.push(format!("{} {}", trial.kernel().name(), trial.class()));
            Ok(Then::Skip)
        });
        let seen = seen.unwrap();
        assert_eq!(seen[0], "conv2d 1x4x4x4 3x3x4x8 8 -> 1x4x4x8");
        // The pass keeps its dy, so that dz is written over a copy.
        let after_relu = ["conv2d", "axpby", "conv2d_dz", "conv2d_dw", "conv2d_dx"];
        let kernels = [&["conv2d", "conv2d_db", "conv2d_dw", "conv2d_dx"][..], &after_relu].concat();
        assert!(seen.iter().map(|line| line.split(' ').next().unwrap()).eq(kernels.iter().copied()), "{seen:?}");
        // Nobody looks any more.
        device.start_profile(crate::engine::device::Timing::Clock).unwrap();
        pass().unwrap();
        assert_eq!(device.stop_profile().unwrap().launches.len(), kernels.len());
    }
}
