//! What goes wrong on a GPU between two calls: a driver's complaints, a lost device.

use crate::error::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn lost(message: impl std::fmt::Display) -> Error {
    let text = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::failed("the GPU stopped working", text, "run `huetape doctor`, lower ⟨batch⟩, or use ⟨device⟩ cpu")
        .of(ErrorKind::Lost)
}

/// Waits for a submission, or for all there are; a GPU that does not answer in so long counts as lost.
pub(super) fn wait_for(
    device: &wgpu::Device,
    submission_index: Option<wgpu::SubmissionIndex>,
    patience: Duration,
) -> Result<()> {
    match device.poll(wgpu::PollType::Wait { submission_index, timeout: Some(patience) }) {
        Ok(_) => Ok(()),
        Err(wgpu::PollError::Timeout) => Err(lost(format!("no answer within {} seconds", patience.as_secs()))),
        Err(error) => Err(lost(error)),
    }
}

/// How the complaint about a lost device begins.
const LOST: &str = "device lost";

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
                sink.keep(format!("{LOST}: {message}"));
            }
        });
    }

    fn keep(&self, message: String) {
        lock(&self.0).get_or_insert(message);
    }

    /// Reports what a driver complained about since the last check; a lost device each time.
    pub fn check(&self) -> Result<()> {
        let mut kept = lock(&self.0);
        match kept.clone() {
            Some(message) => {
                kept.take_if(|message| !message.starts_with(LOST));
                Err(lost(message))
            }
            None => Ok(()),
        }
    }

    /// As if the driver had lost the device.
    #[cfg(feature = "testing")]
    pub fn lose(&self) {
        self.keep(format!("{LOST}: a test"));
    }
}
