//! Which parameters of a network do not learn.

use crate::engine::nn::Parameters;
use crate::error::{Error, Result};

/// Patterns of names of parameters that do not learn; `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freeze {
    patterns: Vec<String>,
}

impl Freeze {
    /// The patterns of a text that holds them with commas between.
    pub fn of(text: Option<&str>) -> Self {
        let patterns = text.unwrap_or_default().split(',').map(str::trim);
        Freeze { patterns: patterns.filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect() }
    }

    /// Refuses patterns that no parameter of the networks fits, and those that leave one of them nothing to learn.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, networks: &[&Parameters]) -> Result<()> {
        let trained = |parameters: &&Parameters| {
            let specs = parameters.specs().iter().filter(|spec| spec.kind.is_trained());
            specs.map(|spec| spec.name.clone()).collect::<Vec<_>>()
        };
        let names: Vec<Vec<String>> = networks.iter().map(trained).collect();
        for pattern in &self.patterns {
            let all = names.concat();
            let some = all.first().map_or("conv1.weight", String::as_str);
            crate::ensure!(
                all.iter().any(|name| matches(pattern, name)),
                Error::input(
                    "no parameter has such a name",
                    format!("⟨freeze⟩ {pattern}"),
                    format!("use names as `huetape inspect summary` lists them, e.g. {some} or {}*", prefix(some))
                )
            );
        }
        let idle = names.iter().any(|names| !names.is_empty() && names.iter().all(|name| self.holds(name)));
        let subject = || format!("⟨freeze⟩ {}", self.patterns.join(","));
        crate::ensure!(!idle, Error::input("nothing of a network is left to learn", subject(), "freeze less of it"));
        Ok(())
    }

    /// Whether the parameter of this name does not learn.
    pub fn holds(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, name))
    }
}

/// The layer of a parameter.
fn prefix(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place leaves the most to what follows.
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::layer::{batch_norm_specs, conv_specs};

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("g.down1.weight", "g.down1.weight"),
            ("g.down*", "g.down1.weight"),
            ("*.bias", "conv1_1.bias"),
            ("*", "x"),
            ("g.*.bn.*", "g.up1.bn.gamma"),
            ("a*b*c", "abbc"),
            ("a*", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("g.down", "g.down1.weight"), ("g.down*", "d.down1"), ("a*b*b", "ab"), ("ab*b", "ab"), ("", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_fit_nothing_or_everything_are_refused() {
        let mut specs = conv_specs("conv1", 3, 1, 4).to_vec();
        specs.extend(batch_norm_specs("bn1", 4));
        let parameters = Parameters::new(&Device::cpu(), specs, 1, false).unwrap();
        let check = |text: &str| Freeze::of(Some(text)).check(&[&parameters]);
        check("conv1.*").unwrap();
        check("conv1.weight, bn1*").unwrap();
        assert!(Freeze::of(None).check(&[&parameters]).is_ok());
        let error = check("conv1.*,conv2.*").unwrap_err().to_string();
        assert!(error.contains("freeze conv2.*") && error.contains("conv1.weight or conv1*"), "{error}");
        // A running statistic is nothing that learns.
        assert!(check("bn1.mean").is_err());
        assert!(check("conv1*,bn1.*").unwrap_err().to_string().contains("nothing of a network"));
    }
}
