//! Filters of speckle: Lee's, and several of them side by side.

use std::fmt;
use std::str::FromStr;

use crate::error::Result;
use crate::imaging::raster::Backscatter;

/// Looks of Sentinel-1's interferometric wide swath products of high resolution (ESA, Sentinel-1 Product Definition,
/// 2016).
pub(super) const LOOKS: f32 = 4.4;

/// Lee's filter; written as `lee:N` or `lee:N,LOOKS`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Despeckle {
    /// Side of the window in pixels, odd.
    pub side: usize,
    /// Equivalent number of looks of the radar image: how many independent measurements a value is the mean of.
    pub looks: f32,
}

impl Despeckle {
    /// The squared coefficient of variation of the speckle: `1 / looks` of intensities, `(4 / pi - 1) / looks` of
    /// amplitudes (Oliver, Quegan, "Understanding Synthetic Aperture Radar Images", 2004, section 4.3).
    pub fn variation(&self, of: Backscatter) -> f32 {
        match of {
            Backscatter::Intensity => 1.0 / self.looks,
            Backscatter::Amplitude => (4.0 / std::f32::consts::PI - 1.0) / self.looks,
        }
    }
}

impl FromStr for Despeckle {
    type Err = String;

    /// Reads the text of `despeckle`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || -> Result<Self, String> {
            let settings = text.strip_prefix("lee:").ok_or("only Lee's filter exists")?;
            let (side, looks) = settings.split_once(',').map_or((settings, None), |(side, looks)| (side, Some(looks)));
            let side: usize = side.trim().parse().map_err(|_| format!("`{side}` is not a side in pixels"))?;
            let looks = match looks {
                None => LOOKS,
                Some(text) => text.trim().parse().map_err(|_| format!("`{text}` is not a number of looks"))?,
            };
            match side % 2 == 1 && (3..=31).contains(&side) {
                false => Err(format!("{side} is not an odd side from 3 to 31")),
                true if looks > 0.0 && looks.is_finite() => Ok(Despeckle { side, looks }),
                true => Err(format!("{looks} is not a number of looks")),
            }
        };
        read().map_err(|why| format!("{why}; use lee:N or lee:N,LOOKS, e.g. lee:7 or lee:7,4.4"))
    }
}

impl fmt::Display for Despeckle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.looks == LOOKS {
            true => write!(f, "lee:{}", self.side),
            false => write!(f, "lee:{},{}", self.side, self.looks),
        }
    }
}

/// Filters of one source, never none; each makes a channel of every band, `None` one of the values as they are.
/// Written with slashes between, e.g. `none/lee:5/lee:15`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters(Vec<Option<Despeckle>>);

impl Filters {
    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in the order of their channels.
    pub fn iter(&self) -> impl Iterator<Item = Option<Despeckle>> {
        self.0.iter().copied()
    }
}

impl FromStr for Filters {
    type Err = String;

    /// Reads the text of `despeckle`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let one = |text: &str| if text == "none" { Ok(None) } else { text.parse().map(Some) };
        let filters: Vec<Option<Despeckle>> = text.split('/').map(|text| one(text.trim())).collect::<Result<_, _>>()?;
        match (1..filters.len()).find(|i| filters[..*i].contains(&filters[*i])) {
            Some(again) => Err(format!("{} is named twice; name each filter once", name(filters[again]))),
            None => Ok(Filters(filters)),
        }
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, filter) in self.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { "/" } else { "" }, name(filter))?;
        }
        Ok(())
    }
}

fn name(filter: Option<Despeckle>) -> String {
    filter.map_or("none".to_owned(), |filter| filter.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_written_alike() {
        for text in ["lee:3", "lee:7", "lee:31,1", "lee:5,2.5"] {
            assert_eq!(text.parse::<Despeckle>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("median:3", "only Lee"),
            ("lee:4", "not an odd side"),
            ("lee:1", "not an odd side"),
            ("lee:3,0", "0 is not a number"),
            ("lee:x", "`x`"),
        ] {
            let error = text.parse::<Despeckle>().unwrap_err();
            assert!(error.contains(why) && error.contains("lee:7"), "{error}");
        }
    }

    #[test]
    fn several_filters_are_read_and_written_alike() {
        for text in ["lee:5", "none/lee:5/lee:15", "lee:7,1/none", "lee:3/lee:5,2.5/lee:31,1"] {
            let filters: Filters = text.parse().unwrap();
            assert_eq!((filters.to_string().as_str(), filters.len()), (text, text.split('/').count()));
        }
        for (text, why) in
            [("lee:5/", "only Lee"), ("lee:5/lee:4", "odd side"), ("none/lee:5/none", "none is named twice")]
        {
            let error = text.parse::<Filters>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
