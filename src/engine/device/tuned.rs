//! Bodies that were measured to be the fastest for launches of some kernels and shapes.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Sizes up to this one stand in a shape class as they are.
const EXACT: usize = 16;
/// Sizes from this one on are alike: there is work for all of a GPU in any case.
const LARGEST: usize = 256;

/// The fastest bodies by kernel and shape class, as `huetape tune` has found them.
///
/// The class of a launch is the shapes of its buffers with each size above 16 rounded up to a power of two, 256 at
/// most; multiples of 4 and others are told apart, as they are by bodies. A body that is named here and declines a
/// launch is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuned(BTreeMap<String, BTreeMap<String, String>>);

impl Tuned {
    /// `body` is the fastest for launches of `kernel` of this class.
    pub fn insert(&mut self, kernel: &str, class: &str, body: &str) {
        self.0.entry(kernel.to_owned()).or_default().insert(class.to_owned(), body.to_owned());
    }

    /// Kernel, class and body of each, in order.
    pub fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let of = |(kernel, classes): (&'a String, &'a BTreeMap<String, String>)| {
            classes.iter().map(move |(class, body)| (kernel.as_str(), class.as_str(), body.as_str()))
        };
        self.0.iter().flat_map(of)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body for a launch of a kernel, whose class is asked for only where some of the kernel's are known.
    pub(super) fn body(&self, kernel: &str, class: &dyn Fn() -> String) -> Option<&str> {
        self.0.get(kernel).and_then(|classes| classes.get(&class())).map(String::as_str)
    }
}

/// The class of a launch with inputs, in-outs and outputs of these shapes, see [`Tuned`].
pub(super) fn shape_class(shapes: &[Vec<&[usize]>; 3]) -> String {
    let mut text = String::with_capacity(96);
    for (mark, shapes) in ["", " <>", " ->"].into_iter().zip(shapes) {
        text += if shapes.is_empty() { "" } else { mark };
        for shape in shapes {
            let sizes: Vec<String> = shape.iter().map(|&size| class_of(size)).collect();
            // Writing to a string does not fail.
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { " " }, sizes.join("x"));
        }
    }
    text
}

fn class_of(size: usize) -> String {
    match size {
        0..=EXACT => size.to_string(),
        // Some bodies decline what does not come in quads.
        _ if !size.is_multiple_of(4) => format!("{}-", size.next_power_of_two().min(LARGEST)),
        _ => size.next_power_of_two().min(LARGEST).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_rounds_large_sizes_and_keeps_multiples_of_4_apart() {
        let classes = [1, 3, 16, 17, 20, 32, 33, 36, 255, 256, 257, 4096].map(class_of);
        assert_eq!(classes, ["1", "3", "16", "32-", "32", "32", "64-", "64", "256-", "256", "256-", "256"]);
        let mut tuned = Tuned::default();
        tuned.insert("conv2d", "1x2", "quads");
        assert_eq!(tuned.body("conv2d", &|| "1x2".to_owned()), Some("quads"));
        assert_eq!(tuned.body("conv2d", &|| "1x3".to_owned()), None);
        assert_eq!(tuned.body("conv2d_dx", &|| unreachable!("its class is of no interest")), None);
        assert_eq!(tuned.iter().collect::<Vec<_>>(), [("conv2d", "1x2", "quads")]);
    }
}
