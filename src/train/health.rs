//! Whether an adversarial pair still plays: seen from its losses as they are written down, so that the progress line
//! and the report say the same.

use crate::train::metrics::Metrics;
use std::collections::VecDeque;

/// Updates that a judgement looks back on.
const WINDOW: usize = 100;
/// Updates before the first judgement.
const LEAST: usize = 50;
/// Below this, the discriminator's loss is near its least. A discriminator that cannot tell has 2 ln 2 = 1.39.
const WON: f64 = 0.05;
/// Below this share of its distance from the truth, a predicted image counts as a copy of the source.
const COPIED: f64 = 0.1;

/// Name in `metrics.jsonl` of the discriminator's loss without penalties, above the least that its targets allow.
pub const D_GAP: &str = "d_gap";
/// Name in `metrics.jsonl` of the mean distance between predicted images and their sources.
pub const COPY: &str = "copy";

/// Whether a loss is there for a judgement, and not for people.
pub fn is_vital(name: &str) -> bool {
    name == D_GAP || name == COPY
}

/// Whether losses, by name and title, are those of an adversarial pair.
pub fn is_pair(losses: &[(&str, &str)]) -> bool {
    losses.iter().any(|(name, _)| *name == D_GAP)
}

/// Updates of a run, at least, of which it can be said that it diverged, and how many of its end are looked at.
const LEAST_TO_DIVERGE: usize = 20;
const END: usize = 10;
/// Batches differ: what ends above its start by less than this share of it has not diverged.
const RISE: f64 = 0.2;

/// Where the loss that a training lowers ended above where it began: its name, its value before the first update, and
/// the mean of the last ten.
pub fn diverged(metrics: &Metrics) -> Option<(&'static str, [f64; 2])> {
    let (name, values) = ["loss", "l1", "mse"].into_iter().find_map(|name| Some((name, metrics.column(name)?)))?;
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if values.len() < LEAST_TO_DIVERGE {
        return None;
    }
    let (first, end) = (values[0], &values[values.len() - END..]);
    let mean = end.iter().sum::<f64>() / END as f64;
    let spread = (end.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / END as f64).sqrt();
    (mean > first + spread.max(RISE * first.abs())).then_some((name, [first, mean]))
}

/// What is wrong with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The discriminator's loss stays near zero.
    DiscriminatorWon,
    /// What the generator makes is its source.
    GeneratorCopies,
}

impl Notice {
    /// For the progress line.
    pub fn short(self) -> &'static str {
        match self {
            Notice::DiscriminatorWon => "COLLAPSE? D's loss stays near zero",
            Notice::GeneratorCopies => "COLLAPSE? G copies its input",
        }
    }

    /// What it means and what to try.
    pub fn advice(self) -> &'static str {
        match self {
            Notice::DiscriminatorWon => {
                "D's loss stays near zero: it tells every made picture from a real one, and G learns next to nothing \
                 from it. Lower the learning rate of the discriminator, or raise the weight of the distance from the \
                 truth."
            }
            Notice::GeneratorCopies => {
                "G copies its input: its pictures lie at least ten times closer to the source than to the truth. \
                 Train longer, raise the weight of the distance from the truth, or check that sources and targets \
                 belong together."
            }
        }
    }
}

/// The recent updates of a pair.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Discriminator's gap, distance from the source, distance from the truth.
    recent: VecDeque<[f64; 3]>,
}

impl Health {
    /// Takes in the losses of an update and judges the recent ones. Losses of other networks give no notice.
    pub fn record(&mut self, losses: &[(&str, f32)]) -> Option<Notice> {
        let of = |name: &str| losses.iter().find(|(n, _)| *n == name).map(|(_, value)| f64::from(*value));
        let (gap, copy, distance) = (of(D_GAP)?, of(COPY)?, of("l1").or(of("mse"))?);
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back([gap, copy, distance]);
        if self.recent.len() < LEAST {
            return None;
        }
        let mean = |k: usize| self.recent.iter().map(|update| update[k]).sum::<f64>() / self.recent.len() as f64;
        if mean(1) < COPIED * mean(2) {
            Some(Notice::GeneratorCopies)
        } else if mean(0) < WON {
            Some(Notice::DiscriminatorWon)
        } else {
            None
        }
    }
}

/// Updates, the first and the last, over which a notice stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// What was wrong.
    pub notice: Notice,
    /// Its first and last update.
    pub steps: [u64; 2],
}

/// All spells of a run, from the losses of its updates in order.
pub fn spells<'a>(updates: impl Iterator<Item = (u64, Vec<(&'a str, f32)>)>) -> Vec<Spell> {
    let mut health = Health::default();
    let (mut spells, mut open): (Vec<Spell>, Option<Notice>) = (Vec::new(), None);
    for (step, losses) in updates {
        let notice = health.record(&losses);
        if let Some(notice) = notice {
            match spells.last_mut() {
                Some(spell) if open == Some(notice) => spell.steps[1] = step,
                _ => spells.push(Spell { notice, steps: [step, step] }),
            }
        }
        open = notice;
    }
    spells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(gap: f32, copy: f32, distance: f32) -> Vec<(&'static str, f32)> {
        vec![("g_loss", 1.0), (D_GAP, gap), (COPY, copy), ("l1", distance)]
    }

    #[test]
    fn a_pair_that_plays_gives_no_notice_and_neither_does_a_classifier() {
        let mut health = Health::default();
        assert!((0..300).all(|_| health.record(&update(1.2, 0.3, 0.25)).is_none()));
        assert!((0..300).all(|_| health.record(&[("loss", 0.0)]).is_none()));
    }

    #[test]
    fn a_loss_that_ends_above_its_start_has_diverged() {
        let of = |losses: Vec<f64>| diverged(&Metrics::of_column("loss", losses));
        let falling = |i: usize| 5.0 - 0.02 * i as f64;
        assert_eq!(of((0..60).map(falling).collect()), None);
        assert_eq!(of((0..60).map(|i| 5.0 + 0.5 * (i % 3) as f64).collect()), None);
        assert_eq!(of((0..15).map(|i| i as f64).collect()), None);
        // Even where all of it happened in the first update.
        assert_eq!(of((0..60).map(|i| if i == 0 { 5.0 } else { 11.0 }).collect()), Some(("loss", [5.0, 11.0])));
    }

    #[test]
    fn one_low_loss_is_no_collapse_but_many_are() {
        let mut health = Health::default();
        (0..WINDOW).for_each(|_| assert_eq!(health.record(&update(1.0, 0.3, 0.3)), None));
        assert_eq!(health.record(&update(0.0, 0.3, 0.3)), None);
        let noticed = (0..WINDOW).filter_map(|_| health.record(&update(0.01, 0.3, 0.3))).collect::<Vec<_>>();
        assert!(!noticed.is_empty() && noticed.iter().all(|n| *n == Notice::DiscriminatorWon));
        // It recovers.
        assert!((0..WINDOW).any(|_| health.record(&update(1.0, 0.3, 0.3)).is_none()));
    }

    #[test]
    fn a_generator_that_gives_its_source_back_is_noticed() {
        let mut health = Health::default();
        let last = (0..LEAST).map(|_| health.record(&update(1.0, 0.01, 0.3))).last();
        assert_eq!(last, Some(Some(Notice::GeneratorCopies)));
    }

    #[test]
    fn spells_have_their_first_and_last_update() {
        let gap = |step: u64| if (101..=400).contains(&step) { 0.0 } else { 1.0 };
        let found = spells((1..=700).map(|step| (step, update(gap(step), 0.3, 0.3))));
        // The mean of the last hundred falls below 0.05 with the 96th low one, and above it again with the fifth high
        // one.
        assert_eq!(found, [Spell { notice: Notice::DiscriminatorWon, steps: [196, 404] }]);
    }
}
