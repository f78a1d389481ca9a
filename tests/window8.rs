//! Window8 with 20 bins through the learner that `train` uses: ten golden steps, and the same bits every time.

mod common;
#[path = "common/golden_classifier.rs"]
mod golden_classifier;

use golden_classifier::Golden;
use huetape::networks::window8::network::ARCHITECTURE;

fn golden() -> Golden {
    Golden::read(&ARCHITECTURE)
}

#[test]
fn ten_training_steps_match_the_golden_losses() {
    golden_classifier::ten_training_steps_match_the_golden_losses(&golden());
}

#[test]
fn the_gradients_of_the_first_step_are_the_golden_ones() {
    golden_classifier::the_gradients_of_the_first_step_are_the_golden_ones(&golden());
}

#[test]
fn the_same_steps_give_the_same_bits_on_every_device_again() {
    golden_classifier::the_same_steps_give_the_same_bits_on_every_device_again(&golden());
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    golden_classifier::the_bits_do_not_depend_on_the_number_of_threads(&golden());
}
