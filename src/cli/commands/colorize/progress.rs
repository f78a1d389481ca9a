//! How far a colouring is: parts of the one input, or of several inputs the pictures.

use crate::cli::console::Progress;
use std::path::Path;
use std::time::Instant;

/// What the user sees of the work.
pub struct Report {
    /// What it is done on, until that has been said.
    device: Option<String>,
    files: usize,
    done: u64,
    bar: Option<Progress>,
    /// When the current file's first part was begun, or nearly so.
    begun: Instant,
}

impl Report {
    /// Of work on so many files, on a device that is said in a line once something is done there.
    pub fn new(files: usize, device: String) -> Self {
        let bar = (files > 1).then(|| Progress::new(files as u64, 0, "pictures"));
        Report { device: Some(device), files, done: 0, bar, begun: Instant::now() }
    }

    /// `done` of `total` parts of `file` are painted.
    pub fn part_done(&mut self, file: &Path, done: usize, total: usize) {
        if let Some(device) = self.device.take() {
            self.line(&device);
        }
        if done == 1 {
            self.begun = Instant::now();
        }
        // The first part is not timed: shaders are compiled with it.
        let rate = (done - 1) as f64 / self.begun.elapsed().as_secs_f64();
        let left = (total - done) as f64 / rate;
        let timing = if done > 1 { format!(", {rate:.1} parts/s, {left:.0} s left") } else { String::new() };
        let name = file.display();
        let (at, message) = match self.files {
            1 => (done as u64, format!("{name}{timing}")),
            _ => (self.done, format!("{name}, part {done} of {total}{timing}")),
        };
        let bar = self.bar.get_or_insert_with(|| Progress::new(total as u64, 0, "parts"));
        bar.at(at, &message);
    }

    /// The next file is done with.
    pub fn file_done(&mut self, file: &Path) {
        self.done += 1;
        if let Some(bar) = self.bar.as_mut().filter(|_| self.files > 1) {
            bar.at(self.done, &file.display().to_string());
        }
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.line(text),
            None => noteln!("{text}"),
        }
    }

    /// Prints an error that does not end the work.
    pub fn error(&self, error: &str) {
        match &self.bar {
            Some(bar) => bar.error(error),
            None => errln!("error: {error}"),
        }
    }
}
