//! What goes wrong on a GPU between two calls: a driver's complaints, a lost device.

use crate::error::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn lost(message: impl std::fmt::Display) -> Error {
    let text = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::failed("the GPU stopped working", text, "run `huetape doctor`, lower ⟨batch⟩, or use ⟨device⟩ cpu")
        .of(ErrorKind::Lost)
}

/// The first complaint of a driver that no call was waiting for.
#[derive(Clone, Default)]
pub(super) struct Complaint(Arc<Mutex<Option<String>>>);

impl Complaint {
    /// Keeps from now on what `device` says.
    pub fn listen(&self, device: &wgpu::Device) {
        let sink = self.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| sink.keep(error.to_string())));
        let sink = self.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                sink.keep(format!("device lost: {message}"));
            }
        });
    }

    fn keep(&self, message: String) {
        lock(&self.0).get_or_insert(message);
    }

    /// Reports what a driver complained about since the last check.
    pub fn check(&self) -> Result<()> {
        match lock(&self.0).take() {
            Some(message) => Err(lost(message)),
            None => Ok(()),
        }
    }
}
