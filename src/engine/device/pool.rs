//! A pool of whole buffers by size class, with a cap and a report.

use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};

/// Bytes in use, at most in use so far, and held in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes of the buffers that are in use.
    pub live_bytes: u64,
    /// The most that `live_bytes` ever was.
    pub peak_bytes: u64,
    /// Bytes of the largest buffer that was in use.
    pub largest_bytes: u64,
    /// Bytes of all buffers, those that wait to be used again included.
    pub reserved_bytes: u64,
    /// Buffers that were made so far: where it does not grow, every buffer was found again.
    pub made: u64,
    /// The cap on `reserved_bytes`, if one is set.
    pub cap_bytes: Option<u64>,
}

/// How much larger than asked for a GPU's buffer may be that is used again. Under a cap it has the size that was asked
/// for; on the CPU it is a quarter larger at most.
#[cfg(any(feature = "gpu", test))]
const MOST_SLACK: u64 = 2;
/// A GPU may reserve this many times the most that was ever in use, and some more where steps turn out to need it.
#[cfg(any(feature = "gpu", test))]
const RESERVE: u64 = 2;
/// On the CPU free buffers may take one part in so many of the most that was ever in use.
const IDLE_PART: u64 = 8;
/// Bytes that free buffers may always take there, of what was in use once: a forward pass at 256x256 lets 16 MiB and
/// more go that the next one asks for again.
const IDLE: u64 = 32 << 20;
/// Bytes that a device may always reserve.
const SMALL: u64 = 16 << 20;
/// Bytes of buffers let go whose sizes are remembered, as a multiple of the most that was ever in use.
const REMEMBERED: u64 = 2;

/// Free buffers of type `B`, by size class.
///
/// A training asks for the same sizes at each step, and finds each of them again. Images of many sizes leave buffers
/// behind that nobody asks for again: so a buffer may serve a smaller request, and whenever a new one is made, those
/// that have waited longest are let go until no more is reserved than `RESERVE` allows. Where that lets go what is
/// asked for again soon (a step whose buffers are in use at different times), the allowance grows by as much: the sizes
/// of what was let go last are remembered for this (the ghosts of Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead
/// Replacement Cache", FAST 2003), and after a few steps nothing is let go any more. A new buffer of a size that is not
/// remembered takes as much from it.
///
/// That is a GPU's. On the CPU a new buffer costs no more than its pages, and other programs want the memory: no more
/// is reserved than was ever in use, and few free buffers are kept (`IDLE_PART`, `IDLE`), `SMALL` aside.
pub(super) struct Pool<B> {
    reuse: Reuse,
    free: BTreeMap<u64, VecDeque<Idle<B>>>,
    /// Let go by [`Pool::take`], for the owner to drop.
    let_go: Vec<B>,
    /// Size classes of the buffers that were let go last, the oldest first.
    ghosts: VecDeque<u64>,
    ghost_bytes: u64,
    allowance: u64,
    /// The most that was ever in use, whatever [`Pool::reset_peak`] says.
    most_live: u64,
    clock: u64,
    report: MemoryReport,
}

/// Which of several free buffers is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The one that was given back last, which a cache may still hold: the CPU's.
    Latest,
    /// The one that was made first: then each training step finds the same buffers for the same requests, and what was
    /// made for them, such as bind groups, is found again. A GPU's.
    #[cfg(any(feature = "gpu", test))]
    Oldest,
}

/// A buffer in use, with the size class that it was made for and its number among those that were made.
#[derive(Debug)]
pub(super) struct Held<B> {
    pub buffer: B,
    pub class: u64,
    pub number: u64,
}

/// A buffer that waits, and since when.
struct Idle<B> {
    buffer: B,
    number: u64,
    since: u64,
}

/// The size class of a request: the next multiple of an eighth of its leading power of two, at least 256 bytes.
/// At most 12.5 % of a buffer is unused.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1 << (63 - bytes.leading_zeros())) / 8;
    bytes.div_ceil(step) * step
}

impl<B> Pool<B> {
    pub fn new(reuse: Reuse, cap_bytes: Option<u64>) -> Self {
        Pool {
            reuse,
            free: BTreeMap::new(),
            let_go: Vec::new(),
            ghosts: VecDeque::new(),
            ghost_bytes: 0,
            allowance: 0,
            most_live: 0,
            clock: 0,
            report: MemoryReport { cap_bytes, ..MemoryReport::default() },
        }
    }

    pub fn report(&self) -> MemoryReport {
        self.report
    }

    pub fn set_cap(&mut self, cap_bytes: Option<u64>) {
        self.report.cap_bytes = cap_bytes;
    }

    pub fn reset_peak(&mut self) {
        (self.report.peak_bytes, self.report.largest_bytes) = (self.report.live_bytes, 0);
    }

    /// A buffer for a request of class `class`: the smallest free one that is not too large, of those by [`Reuse`], or
    /// one that `create` makes within the cap. Then other free buffers may have been let go: [`Pool::let_go`]
    /// hands them over.
    ///
    /// Where that fails, letting all free buffers go ([`Pool::trim`]) may help.
    pub fn take(&mut self, class: u64, create: impl FnOnce() -> Result<B>) -> Result<Held<B>> {
        let most = match (self.report.cap_bytes, self.reuse) {
            (Some(_), _) => class,
            (None, Reuse::Latest) => class + class / 4,
            #[cfg(any(feature = "gpu", test))]
            (None, Reuse::Oldest) => class * MOST_SLACK,
        };
        let fitting = self.free.range_mut(class..=most).find(|(_, idle)| !idle.is_empty());
        let found = fitting.and_then(|(&class, idle)| {
            let at = match self.reuse {
                Reuse::Latest => idle.len() - 1,
                #[cfg(any(feature = "gpu", test))]
                Reuse::Oldest => (0..idle.len()).min_by_key(|&at| idle[at].number)?,
            };
            let Idle { buffer, number, .. } = idle.remove(at)?;
            Some(Held { buffer, class, number })
        });
        let held = match found {
            Some(held) => held,
            None => Held { buffer: self.make(class, create)?, class, number: self.report.made },
        };
        self.report.live_bytes += class;
        self.report.peak_bytes = self.report.peak_bytes.max(self.report.live_bytes);
        self.report.largest_bytes = self.report.largest_bytes.max(class);
        self.most_live = self.most_live.max(self.report.live_bytes);
        Ok(held)
    }

    fn make(&mut self, class: u64, create: impl FnOnce() -> Result<B>) -> Result<B> {
        if self.reuse != Reuse::Latest {
            match self.ghosts.iter().rposition(|&ghost| ghost == class) {
                Some(at) => {
                    self.ghosts.remove(at);
                    self.ghost_bytes -= class;
                    self.allowance += class;
                }
                None => self.allowance = self.allowance.saturating_sub(class),
            }
        }
        self.make_room(class);
        if let Some(cap) = self.report.cap_bytes.filter(|cap| self.report.reserved_bytes + class > *cap) {
            let (more, live) = (human_bytes(class), human_bytes(self.report.live_bytes));
            return Err(Error::input(
                format!("{more} more do not fit beside the {live} in use"),
                format!("⟨memory⟩ {}", human_bytes(cap)),
                "raise ⟨memory⟩, or take a smaller batch, tile, image or width",
            )
            .of(ErrorKind::Memory));
        }
        let buffer = create()?;
        self.report.reserved_bytes += class;
        self.report.made += 1;
        Ok(buffer)
    }

    /// Lets buffers go until `more` bytes may be reserved beside the others.
    fn make_room(&mut self, more: u64) {
        let live = self.report.live_bytes + more;
        let most_live = self.most_live.max(live);
        let bound = match self.reuse {
            #[cfg(any(feature = "gpu", test))]
            Reuse::Oldest => (RESERVE * most_live + self.allowance).max(SMALL),
            Reuse::Latest => most_live.max(SMALL).min(live + (most_live / IDLE_PART).max(IDLE)),
        };
        while self.report.reserved_bytes + more > bound && self.let_oldest_go() {}
    }

    /// Lets the buffer go that has waited longest; whether there was one.
    fn let_oldest_go(&mut self) -> bool {
        let waiting = self.free.iter().filter_map(|(&class, idle)| Some((idle.front()?.since, class)));
        let Some((_, class)) = waiting.min() else { return false };
        let Some(idle) = self.free.get_mut(&class).and_then(VecDeque::pop_front) else { return false };
        self.let_go.push(idle.buffer);
        self.report.reserved_bytes -= class;
        if self.reuse != Reuse::Latest {
            self.ghosts.push_back(class);
            self.ghost_bytes += class;
            while self.ghost_bytes > REMEMBERED * self.most_live {
                let Some(oldest) = self.ghosts.pop_front() else { break };
                self.ghost_bytes -= oldest;
            }
        }
        true
    }

    /// Takes back what a request of class `class` was given. On the CPU free buffers may have been let go then, see
    /// [`Pool::let_go`].
    pub fn give_back(&mut self, class: u64, held: Held<B>) {
        self.report.live_bytes -= class;
        self.clock += 1;
        self.free.entry(held.class).or_default().push_back(Idle {
            buffer: held.buffer,
            number: held.number,
            since: self.clock,
        });
        if self.reuse == Reuse::Latest {
            self.make_room(0);
        }
    }

    /// The buffers that [`Pool::take`] and [`Pool::give_back`] let go.
    pub fn let_go(&mut self) -> Vec<B> {
        std::mem::take(&mut self.let_go)
    }

    /// Lets every free buffer go.
    pub fn trim(&mut self) -> Vec<B> {
        let mut gone = self.let_go();
        for (class, buffers) in std::mem::take(&mut self.free) {
            self.report.reserved_bytes -= class * buffers.len() as u64;
            gone.extend(buffers.into_iter().map(|idle| idle.buffer));
        }
        gone
    }
}

/// `1.5 GiB`-style text for a number of bytes.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Bytes from text such as `800M`, `1.5GiB` or `4000000`; K, M, G are powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0f64.powi(4),
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_wastes_at_most_an_eighth() {
        for bytes in [1u64, 255, 256, 257, 1000, 4096, 4097, 72_000_001, (1 << 31) + 1] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(4));
            assert!(bytes < 256 || (class - bytes) * 8 <= bytes, "{bytes} -> {class}");
        }
    }

    #[test]
    fn a_buffer_given_back_is_used_again_and_counted_once() {
        let mut pool: Pool<u32> = Pool::new(Reuse::Latest, None);
        let a = pool.take(512, || Ok(1)).unwrap();
        pool.give_back(512, a);
        assert_eq!(pool.take(512, || Ok(2)).unwrap().buffer, 1);
        let report = pool.report();
        assert_eq!((report.live_bytes, report.peak_bytes, report.reserved_bytes, report.made), (512, 512, 512, 1));
    }

    #[test]
    fn a_buffer_serves_a_smaller_request_unless_it_is_far_too_large_or_there_is_a_cap() {
        let mut pool: Pool<u32> = Pool::new(Reuse::Oldest, None);
        let large = pool.take(1024, || Ok(1)).unwrap();
        pool.give_back(1024, large);
        let small = pool.take(512, || Ok(2)).unwrap();
        assert_eq!((small.buffer, small.class, pool.report().live_bytes), (1, 1024, 512));
        pool.give_back(512, small);
        assert_eq!(pool.take(448, || Ok(3)).unwrap().buffer, 3);
        pool.set_cap(Some(1 << 20));
        assert_eq!(pool.take(512, || Ok(4)).unwrap().buffer, 4);
    }

    #[test]
    fn the_cap_counts_free_buffers_until_they_are_let_go() {
        let mut pool: Pool<u32> = Pool::new(Reuse::Latest, Some(1000));
        let a = pool.take(512, || Ok(1)).unwrap();
        pool.give_back(512, a);
        assert!(pool.take(768, || Ok(2)).is_err());
        assert_eq!(pool.trim(), [1]);
        assert!(pool.take(768, || Ok(2)).is_ok());
        assert!(pool.trim().is_empty());
        let error = pool.take(256, || Ok(3)).unwrap_err();
        assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Memory));
        assert!(error.to_string().contains("memory"));
    }

    #[test]
    fn a_step_finds_the_buffers_of_the_step_before_whatever_order_they_came_back_in() {
        let mut pool: Pool<u32> = Pool::new(Reuse::Oldest, None);
        let mut made = 0;
        for _ in 0..3 {
            let mut held: Vec<Held<u32>> = Vec::new();
            for _ in 0..3 {
                let create = || {
                    made += 1;
                    Ok(made)
                };
                held.push(pool.take(512, create).unwrap());
            }
            assert_eq!(held.iter().map(|held| held.buffer).collect::<Vec<_>>(), [1, 2, 3]);
            held.swap(0, 1);
            held.into_iter().for_each(|held| pool.give_back(512, held));
        }
    }

    /// A chain of layers on an image, as an inference has it: each result is given back when the next is there.
    fn infer(pool: &mut Pool<()>, height: u64, width: u64) {
        let mut last = None;
        for (scale, channels) in
            [(1, 1), (1, 16), (2, 16), (2, 32), (4, 64), (8, 128), (8, 128), (4, 64), (4, 78), (1, 2)]
        {
            let class = size_class((height / scale) * (width / scale) * channels * 4);
            let held = pool.take(class, || Ok(())).unwrap();
            last.replace((class, held)).into_iter().for_each(|(class, held)| pool.give_back(class, held));
            pool.let_go();
        }
        last.into_iter().for_each(|(class, held)| pool.give_back(class, held));
    }

    #[test]
    fn sizes_that_do_not_come_again_are_let_go() {
        let mut pool: Pool<()> = Pool::new(Reuse::Oldest, None);
        for image in 0..30 {
            infer(&mut pool, 300 + image * 233 % 700, 300 + image * 421 % 700);
        }
        let report = pool.report();
        let share = report.reserved_bytes as f64 / report.peak_bytes as f64;
        assert!(share < 2.5, "{share} times the peak is reserved");
    }

    #[test]
    fn what_every_step_asks_for_is_found_again_whatever_share_of_it_is_in_use_at_a_time() {
        for sides in [&[700][..], &[300, 700, 512], &[256, 300, 350, 420, 512, 600, 700]] {
            let mut pool: Pool<()> = Pool::new(Reuse::Oldest, None);
            let mut made = Vec::new();
            for _ in 0..20 {
                sides.iter().for_each(|&side| infer(&mut pool, side, side));
                made.push(pool.report().made);
            }
            assert_eq!(made[5], made[19], "{sides:?}: {made:?}");
        }
    }

    #[test]
    fn the_cpu_reserves_what_was_in_use_and_keeps_few_free_buffers() {
        const MIB: u64 = 1 << 20;
        let mut pool: Pool<()> = Pool::new(Reuse::Latest, None);
        let hold = |pool: &mut Pool<()>, sizes: &[u64]| -> Vec<(u64, Held<()>)> {
            sizes.iter().map(|size| (size * MIB, pool.take(size * MIB, || Ok(())).unwrap())).collect()
        };
        for _ in 0..3 {
            let held = hold(&mut pool, &[128, 96, 64, 48, 32, 16]);
            held.into_iter().for_each(|(class, held)| pool.give_back(class, held));
            assert!(pool.report().reserved_bytes <= 384 * MIB / IDLE_PART);
            let held = hold(&mut pool, &[8; 40]);
            assert!(pool.report().reserved_bytes <= 384 * MIB);
            // Nothing is free at a peak above `SMALL`.
            let more = hold(&mut pool, &[64]);
            assert_eq!(pool.report().reserved_bytes, 384 * MIB);
            more.into_iter().for_each(|(class, held)| pool.give_back(class, held));
            held.into_iter().for_each(|(class, held)| pool.give_back(class, held));
        }
        assert_eq!(pool.report().peak_bytes, 384 * MIB);
        // Of a small peak, `IDLE` at most.
        let mut pool: Pool<()> = Pool::new(Reuse::Latest, None);
        hold(&mut pool, &[64, 24]).into_iter().for_each(|(class, held)| pool.give_back(class, held));
        assert_eq!(pool.report().reserved_bytes, 24 * MIB);
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("2G"), Some(2 << 30));
        assert_eq!(parse_bytes("1.5 MiB"), Some(3 << 19));
        assert_eq!(parse_bytes("300k"), Some(300 << 10));
        assert_eq!(parse_bytes("77"), Some(77));
        assert_eq!(parse_bytes("0"), None);
        assert_eq!(parse_bytes("many"), None);
    }
}
