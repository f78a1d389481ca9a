//! Timestamps that a GPU writes before and after each dispatch.

use crate::engine::device::gpu::fault::lost;
use crate::error::Result;
use std::ops::Range;

/// Queries of a submission, two for each dispatch.
const QUERIES: u32 = wgpu::QUERY_SET_MAX_QUERIES;

/// The timestamps of what is recorded and of what has been submitted since the profile began.
///
/// They are resolved by a submission of its own: some drivers read zeros where the encoder that wrote them resolves
/// them.
pub(super) struct Stamps {
    device: wgpu::Device,
    /// Of what is recorded, with the number of queries in use.
    set: Option<wgpu::QuerySet>,
    used: u32,
    /// Dispatches of each launch.
    dispatches: Vec<usize>,
    /// Timestamps of each submission.
    resolved: Vec<(wgpu::Buffer, u32)>,
}

/// What timestamps say.
#[derive(Debug, Default, PartialEq)]
pub(in crate::engine::device) struct Stamped {
    /// Seconds from the first timestamp to the beginning and the end of each launch.
    pub launches: Vec<Range<f64>>,
    /// Seconds from the first to the last timestamp of each submission, added up.
    pub busy_seconds: f64,
    /// Dispatches whose timestamps are zero or not in order.
    pub unusable: usize,
}

impl Stamps {
    pub fn new(device: &wgpu::Device) -> Self {
        Stamps { device: device.clone(), set: None, used: 0, dispatches: Vec::new(), resolved: Vec::new() }
    }

    /// Whether the submission that is recorded has queries for a launch of so many dispatches.
    pub fn has_room(&self, dispatches: usize) -> bool {
        self.used as usize + 2 * dispatches <= QUERIES as usize
    }

    /// A launch of so many dispatches is recorded next.
    pub fn launch(&mut self, dispatches: usize) {
        self.dispatches.push(dispatches);
    }

    /// Where the pass of the next dispatch writes its timestamps.
    pub fn next(&mut self) -> wgpu::ComputePassTimestampWrites<'_> {
        let device = &self.device;
        let query_set = self.set.get_or_insert_with(|| {
            let (label, ty, count) = (Some("timestamps"), wgpu::QueryType::Timestamp, QUERIES);
            device.create_query_set(&wgpu::QuerySetDescriptor { label, ty, count })
        });
        self.used += 2;
        wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(self.used - 2),
            end_of_pass_write_index: Some(self.used - 1),
        }
    }

    /// What was recorded has been submitted: its timestamps are copied out behind it.
    pub fn submitted(&mut self, queue: &wgpu::Queue) {
        let (Some(set), used) = (self.set.take(), std::mem::take(&mut self.used)) else { return };
        let buffer = |usage| {
            let (label, size) = (Some("timestamps"), 8 * u64::from(used));
            self.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let read = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&set, 0..used, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, resolved.size());
        queue.submit([encoder.finish()]);
        self.resolved.push((read, used));
    }

    /// Waits for all that was submitted, and reads it; `period` is the nanoseconds of a tick.
    pub fn finish(self, period: f32) -> Result<Stamped> {
        for (buffer, _) in &self.resolved {
            // Whether it worked shows when the range is asked for.
            buffer.map_async(wgpu::MapMode::Read, .., |_| ());
        }
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(lost)?;
        let read = |(buffer, used): &(wgpu::Buffer, u32)| -> Result<Vec<u64>> {
            let range = buffer.get_mapped_range(..8 * u64::from(*used)).map_err(lost)?;
            Ok(bytemuck::pod_collect_to_vec(&range))
        };
        let submissions: Vec<Vec<u64>> = self.resolved.iter().map(read).collect::<Result<_>>()?;
        Ok(stamped(&submissions, &self.dispatches, 1e-9 * f64::from(period)))
    }
}

/// What timestamps of submissions say of launches of so many dispatches each; a tick takes `tick` seconds.
fn stamped(submissions: &[Vec<u64>], dispatches: &[usize], tick: f64) -> Stamped {
    let all: Vec<u64> = submissions.concat();
    let mut pairs = all.chunks_exact(2);
    let unusable = pairs.clone().filter(|pair| pair[0] == 0 || pair[0] >= pair[1]).count();
    let (Some(&first), 0) = (all.first(), unusable) else { return Stamped { unusable, ..Stamped::default() } };
    let seconds = |ticks: u64| ticks.saturating_sub(first) as f64 * tick;
    let launch = |&count: &usize| {
        let mut of_launch = pairs.by_ref().take(count);
        let begin = of_launch.next()?;
        let end = of_launch.last().unwrap_or(begin);
        Some(seconds(begin[0])..seconds(end[1]))
    };
    let launches = dispatches.iter().map_while(launch).collect();
    let busy = |stamps: &Vec<u64>| Some(seconds(*stamps.last()?) - seconds(*stamps.first()?));
    Stamped { launches, busy_seconds: submissions.iter().filter_map(busy).sum(), unusable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_lasts_from_its_first_dispatch_to_the_end_of_its_last() {
        let found = stamped(&[vec![100, 150, 160, 200], vec![300, 400]], &[2, 1], 0.5);
        assert_eq!(found, Stamped { launches: vec![0.0..50.0, 100.0..150.0], busy_seconds: 100.0, unusable: 0 });
    }

    #[test]
    fn timestamps_that_are_zero_or_run_backwards_are_not_used() {
        for (stamps, unusable) in [(vec![0, 0, 5, 9], 1), (vec![7, 7, 9, 8], 2), (vec![0, 4, 5, 9], 1)] {
            assert_eq!(stamped(&[stamps], &[1, 1], 1.0), Stamped { unusable, ..Stamped::default() });
        }
        assert_eq!(stamped(&[], &[], 1.0), Stamped::default());
    }
}
