//! How the bands of an image become 0..1: all by one stretch, or each by its own.

use std::fmt;
use std::str::FromStr;

use crate::imaging::raster::stretch::Stretch;

/// The stretches of bands, never none: one for all, or one for each in order, of which the last is that of all that
/// follow; written with slashes between, e.g. `db:-25,0/db:-32,-5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretches(Vec<Stretch>);

impl Stretches {
    /// That of a band, counted from 0.
    pub fn of(&self, band: usize) -> Stretch {
        self.0[band.min(self.0.len() - 1)]
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Stretch> {
        self.0.iter().copied()
    }

    /// Whether values are read as they are, by the range of their type.
    pub fn is_none(&self) -> bool {
        self.iter().all(|stretch| stretch == Stretch::None)
    }

    /// Whether some end is a number in a physical unit.
    pub fn is_physical(&self) -> bool {
        self.iter().any(|stretch| stretch.is_physical())
    }
}

impl From<Stretch> for Stretches {
    fn from(stretch: Stretch) -> Self {
        Stretches(vec![stretch])
    }
}

impl FromStr for Stretches {
    type Err = String;

    /// Reads the text of `stretch`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').map(|one| one.trim().parse()).collect::<Result<_, _>>().map(Stretches)
    }
}

impl fmt::Display for Stretches {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, stretch) in self.iter().enumerate() {
            write!(f, "{}{stretch}", if i > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stretch_is_that_of_all_bands_and_several_are_those_of_theirs() {
        let two: Stretches = "db:-25,0/-32,-5".parse().unwrap();
        assert_eq!((two.of(0).to_string().as_str(), two.of(1), two.of(2)), ("db:-25,0", two.of(1), two.of(1)));
        assert_eq!((two.to_string().as_str(), two.len(), two.is_physical()), ("db:-25,0/-32,-5", 2, true));
        let one = Stretches::from(Stretch::None);
        assert!(one.is_none() && one.of(7) == Stretch::None && !two.is_none());
        assert!("0,1/".parse::<Stretches>().unwrap_err().contains("use LO,HI"));
    }
}
