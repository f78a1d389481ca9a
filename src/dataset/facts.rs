//! What files of one side of a data set say of their values, and what of that the user should know.

use std::path::Path;

use crate::imaging::raster::{Stretch, Stretches};

/// What a file says of its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// How its values become 0..1.
    pub stretch: Stretches,
    /// Whether that was chosen by the file, since none was given.
    pub chosen: bool,
    /// Whether its samples have up to 8 bits.
    pub bytes: bool,
    /// What values of its first band are multiplied by, and what is added then, to be physical ones.
    pub unit: [f64; 2],
    /// Whether some pixels may have no data.
    pub may_have_gaps: bool,
    /// What is worth a word of the file, see [`ImageFile::notices`](crate::imaging::codec::decode::ImageFile::notices).
    pub notices: Vec<String>,
}

impl Facts {
    /// Of what is no file of its own.
    pub fn nothing() -> Self {
        Facts {
            stretch: Stretch::None.into(),
            chosen: false,
            bytes: true,
            unit: [1.0, 0.0],
            may_have_gaps: false,
            notices: Vec::new(),
        }
    }
}

/// By what values become 0 to 1, in words.
pub fn in_words(stretch: &Stretches) -> String {
    if stretch.is_none() { "the range of their type".to_owned() } else { stretch.to_string() }
}

/// The same of the files of one side: of each stretch that some of them have.
pub(super) fn stretches(files: &[(&Path, &Facts)]) -> String {
    let mut words: Vec<String> = Vec::new();
    for (_, facts) in files {
        let of_file = in_words(&facts.stretch);
        if !words.contains(&of_file) {
            words.push(of_file);
        }
    }
    words.join(" or ")
}

/// The stretch of all files that have more than 8 bits; `None` where there is no such file, or where they differ or are
/// mixed with bytes, so that one stretch for all would not be theirs.
pub(super) fn common_stretch(files: &[(&Path, &Facts)]) -> Option<Stretches> {
    let mut wide = files.iter().map(|(_, facts)| facts).filter(|facts| !facts.bytes);
    let stretch = &wide.next()?.stretch;
    let alike = wide.all(|facts| facts.stretch == *stretch);
    let bytes = files.iter().any(|(_, facts)| facts.bytes);
    (alike && (!bytes || stretch.is_none())).then(|| stretch.clone())
}

/// One line for each kind of thing that the user should know.
pub(super) fn notices(files: &[(&Path, &Facts)]) -> Vec<String> {
    let mut notices = Vec::new();
    let stretched: Vec<_> = files.iter().filter(|(_, facts)| facts.chosen && !facts.stretch.is_none()).collect();
    if let [(path, facts), ..] = stretched[..] {
        notices.push(format!(
            "{} of {} files of more than 8 bits are in a place on Earth and stretched by {}, each by its own values, \
             e.g. {}; ⟨stretch⟩ sets another",
            stretched.len(),
            files.len(),
            facts.stretch,
            path.display()
        ));
    }
    // Physical stretches take the files' own units; for others a set that mixes them is not one set.
    let mixed = files.windows(2).find(|pair| pair[0].1.unit != pair[1].1.unit && !pair[0].1.stretch.is_physical());
    if let Some([(a, a_facts), (b, b_facts)]) = mixed {
        let unit = |[factor, offset]: [f64; 2]| format!("scale {factor}, offset {offset}");
        notices.push(format!(
            "files of different units: {} ({}) and {} ({}); ⟨stretch⟩ LO,HI reads both in physical units",
            a.display(),
            unit(a_facts.unit),
            b.display(),
            unit(b_facts.unit)
        ));
    }
    // Of what single files say, the first of many.
    let said: Vec<&String> = files.iter().flat_map(|(_, facts)| &facts.notices).collect();
    match said[..] {
        [] => {}
        [one] => notices.push(one.clone()),
        [first, ..] => notices.push(format!("{first} (and {} more of this side)", said.len() - 1)),
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(stretch: &str, bytes: bool, unit: [f64; 2]) -> Facts {
        Facts { stretch: stretch.parse().unwrap(), chosen: true, bytes, unit, ..Facts::nothing() }
    }

    #[test]
    fn one_stretch_is_kept_only_if_it_is_that_of_all() {
        let common = |files: &[Facts]| {
            let named: Vec<_> = files.iter().map(|facts| (Path::new("a.tif"), facts)).collect();
            common_stretch(&named).map(|stretch| stretch.to_string())
        };
        let plain = [1.0, 0.0];
        let (wide, byte, placed) =
            (facts("none", false, plain), facts("none", true, plain), facts("percentile:2", false, plain));
        assert_eq!(common(&[wide.clone(), byte.clone()]).as_deref(), Some("none"));
        assert_eq!(common(&[placed.clone(), placed.clone()]).as_deref(), Some("percentile:2"));
        assert_eq!(common(&[placed.clone(), byte.clone()]), None);
        assert_eq!(common(&[placed, wide]), None);
        assert_eq!(common(&[byte]), None);
    }

    #[test]
    fn what_is_chosen_and_what_is_mixed_is_said() {
        let (a, b) = (facts("percentile:2", false, [1.0, 0.0]), facts("percentile:2", false, [1.0, -1000.0]));
        let said = notices(&[(Path::new("a.tif"), &a), (Path::new("b.tif"), &b)]);
        assert!(said[0].starts_with("2 of 2 files") && said[0].contains("percentile:2"), "{said:?}");
        assert!(said[1].contains("b.tif (scale 1, offset -1000)"), "{said:?}");
        let physical = |facts: Facts| Facts { stretch: "0,1".parse().unwrap(), chosen: false, ..facts };
        assert!(notices(&[(Path::new("a.tif"), &physical(a)), (Path::new("b.tif"), &physical(b))]).is_empty());
    }
}
