use super::*;
use crate::engine::device::Device;
use crate::engine::ops::elementwise::{Add, Scale};
use std::sync::LazyLock;

/// A number on one device for all tests here.
fn tensor(value: f32) -> Tensor {
    static CPU: LazyLock<Device> = LazyLock::new(Device::cpu);
    Tensor::new(&CPU, &[1], &[value]).unwrap()
}

#[test]
fn gradients_of_shared_values_add_up() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(2.0));
    let twice = tape.apply(Scale(2.0), &[&x]).unwrap();
    let sum = tape.apply(Add, &[&twice, &x]).unwrap();
    let doubled = tape.apply(Add, &[&sum, &sum]).unwrap();
    let grads = tape.backward(doubled).unwrap();
    assert_eq!(grads.get(&x).unwrap().item().unwrap(), 6.0);
}

#[test]
fn a_gradient_is_written_to_its_slot_and_sums_there() {
    let tape = Tape::new();
    let slot = tensor(99.0);
    let x = tape.leaf_into(tensor(1.0), slot.clone());
    let [a, b] = [3.0, 4.0].map(|factor| tape.apply(Scale(factor), &[&x]).unwrap());
    let y = tape.apply(Add, &[&a, &b]).unwrap();
    tape.backward(y).unwrap();
    assert_eq!(slot.item().unwrap(), 7.0);
}

#[test]
fn a_slot_that_the_loss_does_not_reach_is_zero() {
    let tape = Tape::new();
    let slot = tensor(99.0);
    let unused = tape.leaf_into(tensor(1.0), slot.clone());
    let x = tape.leaf(tensor(1.0));
    let y = tape.apply(Scale(2.0), &[&x]).unwrap();
    assert!(tape.backward(y).unwrap().get(&unused).is_none());
    assert_eq!(slot.item().unwrap(), 0.0);
}

#[test]
fn nothing_passes_a_detached_value_or_reaches_a_constant() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(1.0));
    let c = tape.constant(tensor(1.0));
    let cut = tape.detach(&tape.apply(Scale(5.0), &[&x]).unwrap());
    let y = tape.apply(Add, &[&cut, &x]).unwrap();
    let y = tape.apply(Add, &[&y, &c]).unwrap();
    let grads = tape.backward(y).unwrap();
    assert_eq!(grads.get(&x).unwrap().item().unwrap(), 1.0);
    assert!(grads.get(&c).is_none());
}

/// The pattern of a GAN: one leaf makes a fake, another judges it; each loss is for one of the two.
#[test]
fn two_losses_of_one_recording_each_reach_their_own_leaves() {
    let slot = || tensor(99.0);
    let (g_slot, d_slot) = (slot(), slot());
    let tape = Tape::new();
    let g = tape.leaf_into(tensor(2.0), g_slot.clone());
    let d = tape.leaf_into(tensor(5.0), d_slot.clone());
    let fake = tape.apply(Scale(3.0), &[&g]).unwrap();
    let judged = tape.apply(Add, &[&fake, &d]).unwrap();
    let d_loss = tape.apply(Scale(7.0), &[&judged]).unwrap();
    let g_loss = tape.apply(Add, &[&judged, &fake]).unwrap();

    let grads = tape.backward_to(&d_loss, std::slice::from_ref(&d)).unwrap();
    assert!(grads.get(&g).is_none() && grads.get(&fake).is_none());
    assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [99.0, 7.0]);

    let grads = tape.backward_to(&g_loss, std::slice::from_ref(&g)).unwrap();
    assert!(grads.get(&d).is_none());
    assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 7.0]);
    // The tape is whole: the same again.
    tape.backward_to(&g_loss, &[g, d.clone()]).unwrap();
    assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 1.0]);
    // A wanted leaf that the loss does not reach is zero; the other keeps what it has.
    tape.backward_to(&fake, &[d]).unwrap();
    assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 0.0]);
}

#[test]
fn an_inference_tape_keeps_no_buffer() {
    let device = Device::cpu();
    let tape = Tape::inference();
    let mut x = tape.leaf(Tensor::full(&device, &[1024], 1.0).unwrap());
    for _ in 0..50 {
        x = tape.apply(Scale(1.0), &[&x]).unwrap();
    }
    assert!(device.memory().peak_bytes <= 3 * 4096, "{:?}", device.memory());
}

#[test]
fn a_value_of_another_tape_is_refused() {
    let (tape, other) = (Tape::new(), Tape::new());
    let (x, y) = (tape.leaf(tensor(1.0)), other.leaf(tensor(2.0)));
    let refused = |error: Error| assert!(error.to_string().contains("another tape"), "{error}");
    refused(tape.apply(Add, &[&x, &y]).err().unwrap());
    refused(tape.backward_to(&y, std::slice::from_ref(&x)).err().unwrap());
    let loss = tape.apply(Scale(3.0), &[&x]).unwrap();
    refused(tape.backward_to(&loss, std::slice::from_ref(&y)).err().unwrap());
    refused(tape.share().backward(y.clone()).err().unwrap());
    refused(tape.share().backward_from(y.clone(), tensor(1.0)).err().unwrap());
    // None of which used the tape up. Both leaves are the first of their tape: their numbers are the same.
    let grads = tape.backward(loss).unwrap();
    assert_eq!(grads.get(&x).unwrap().item().unwrap(), 3.0);
    assert!(grads.get(&y).is_none());
}

#[test]
fn an_inference_tape_and_one_that_is_used_up_have_no_gradients() {
    let tape = Tape::inference();
    let loss = tape.apply(Scale(1.0), &[&tape.leaf(tensor(1.0))]).unwrap();
    assert!(tape.backward_to(&loss, &[]).err().unwrap().to_string().contains("inference"));
    assert!(tape.backward(loss).err().unwrap().to_string().contains("inference"));

    let tape = Tape::new();
    let x = tape.leaf(tensor(1.0));
    let (once, kept) = (tape.apply(Scale(2.0), &[&x]).unwrap(), tape.share());
    tape.backward(once.clone()).unwrap();
    let used_up = [
        kept.apply(Scale(2.0), &[&x]).err().unwrap(),
        kept.backward_to(&once, &[x]).err().unwrap(),
        kept.backward(once).err().unwrap(),
    ];
    assert!(used_up.iter().all(|error| error.to_string().contains("used up")), "{used_up:?}");
}

#[test]
fn a_tape_and_what_is_on_it_can_move_to_another_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Device>();
    shared::<Tensor>();
    shared::<Tape>();
    shared::<Var>();
    shared::<Gradients>();
    let tape = Tape::new();
    let x = tape.leaf(tensor(1.0));
    let y = std::thread::scope(|scope| scope.spawn(|| tape.apply(Scale(5.0), &[&x]).unwrap()).join().unwrap());
    assert_eq!(tape.backward(y).unwrap().get(&x).unwrap().item().unwrap(), 5.0);
}

#[test]
fn leaves_of_a_set_are_taken_once_each_when_nothing_more_is_added_to_them() {
    let (tape, slot) = (Tape::new(), tensor(99.0));
    let first = tape.member(tensor(2.0), (7, 10), None);
    let second = tape.member(tensor(3.0), (7, 11), None);
    let placed = tape.member(tensor(4.0), (7, 12), Some(slot.clone()));
    // Of nobody, of another set, and one that the loss does not reach.
    let (plain, other_slot) = (tape.leaf(tensor(5.0)), tensor(99.0));
    let other = tape.member(tensor(6.0), (8, 10), Some(other_slot.clone()));
    tape.member(tensor(7.0), (7, 13), None);
    let add = |a: &Var, b: &Var| tape.apply(Add, &[a, b]).unwrap();
    let sum = add(&add(&first, &placed), &add(&plain, &other));
    let sum = add(&add(&sum, &second), &tape.apply(Scale(10.0), &[&first]).unwrap());
    let (mut taken, kept) = (Vec::new(), tape.share());
    let mut take = |number: usize, gradient: Tensor| {
        taken.push((number, gradient.item().unwrap()));
        Ok(())
    };
    tape.backward_of(sum.clone(), 7, &mut take).unwrap();
    // The last one that was read comes first.
    assert_eq!(taken, [(11, 1.0), (10, 11.0)]);
    assert_eq!([&slot, &other_slot].map(|slot| slot.item().unwrap()), [1.0, 99.0]);
    let error = kept.backward_of(sum, 7, &mut |_, _| Ok(())).err().unwrap();
    assert!(error.to_string().contains("used up"), "{error}");
}
