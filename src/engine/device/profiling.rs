//! A device that is profiled: starting and ending it, and the names of layers.

use crate::engine::device::backend::Backend;
use crate::engine::device::handle::Device;
use crate::engine::device::profile::{Profile, Timing};
use crate::engine::device::profiler::Scope;
use crate::engine::device::view::View;
use crate::error::Result;
use std::sync::Arc;

/// Launches belong to a layer as long as this lives, see [`Device::layer`].
#[must_use]
pub struct LayerScope(Option<(Device, Scope)>);

impl Drop for LayerScope {
    fn drop(&mut self) {
        if let Some((device, before)) = self.0.take() {
            device.0.profiler.leave(before);
        }
    }
}

impl Device {
    /// Starts to time every launch, by timestamps where those are wished and there are some.
    ///
    /// # Errors
    /// A lost device.
    pub fn start_profile(&self, timing: Timing) -> Result<()> {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.start_profile(timing)?;
        }
        self.0.profiler.start();
        Ok(())
    }

    /// Ends the timing and hands out every launch since [`Device::start_profile`], in order.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn stop_profile(&self) -> Result<Profile> {
        let mut launches = self.0.profiler.stop();
        let stamped = match &self.0.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => gpu.stop_profile()?,
        };
        let Some(stamped) = stamped else {
            return Ok(Profile { launches, timing: Timing::Clock, busy_seconds: None, unusable: 0 });
        };
        for (launch, span) in launches.iter_mut().zip(&stamped.launches) {
            (launch.start, launch.seconds) = (span.start, span.end - span.start);
        }
        let (busy_seconds, unusable) = (Some(stamped.busy_seconds), stamped.unusable);
        Ok(Profile { launches, timing: Timing::Timestamps, busy_seconds, unusable })
    }

    /// Names a layer: what is launched from now on belongs to it in a profile, and so do the gradients of what is
    /// recorded on a tape, until what this returns is dropped. Without a profile it does nothing.
    pub fn layer(&self, name: &str) -> LayerScope {
        self.scope(|| Some(name.into()), None)
    }

    /// As [`Device::layer`], with the name of a pass; `None` leaves either as it is.
    pub(in crate::engine) fn scope(
        &self,
        layer: impl FnOnce() -> Option<Arc<str>>,
        pass: Option<&'static str>,
    ) -> LayerScope {
        let profiler = &self.0.profiler;
        LayerScope(profiler.is_on().then(|| (self.clone(), profiler.enter(layer(), pass))))
    }

    /// The layer that launches belong to, where they are profiled.
    pub(in crate::engine) fn layer_now(&self) -> Option<Arc<str>> {
        self.0.profiler.layer()
    }

    /// What is launched next writes a whole gradient there, of a parameter or of a value.
    pub(in crate::engine) fn expect_gradient(&self, view: &View, parameter: bool) {
        if self.0.profiler.is_on() {
            let name = match parameter {
                false => "dx",
                true if view.shape().len() > 1 => "dw",
                true => "db",
            };
            self.0.profiler.expect_gradient(view.extent(), name);
        }
    }
}
