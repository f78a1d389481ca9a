//! Help of settings, from the table of settings and the recipes of the networks.

use crate::cli::names::flags;
use crate::networks::NETWORKS;
use crate::networks::recipe::{Recipe, fill, preset_names};
use crate::train::settings::setting::Setting;
use crate::train::settings::table::Settings;

/// What help says of a setting: what it is for, which networks have it, and what holds where it is left out.
pub fn help(setting: &Setting<Settings>) -> String {
    format!("{}{}{}", about(setting), of_networks(setting), in_brackets(default_of(setting)))
}

/// What help says of a setting of one network; `None` where it has none of that name.
pub fn help_of(recipe: &dyn Recipe, setting: &Setting<Settings>) -> Option<String> {
    if !has(recipe, setting) {
        return None;
    }
    let word = |name: &str| match name {
        "sizes" => sizes(recipe),
        "presets" => preset_names(recipe),
        "all-bands" if recipe.reads_all_bands() => "here".to_owned(),
        _ => String::new(),
    };
    // A clause that tells what is different for some networks tells nothing where this is not one of them.
    let spare = |text: String| {
        let clauses = text.split("; ").filter(|clause| !clause.starts_with(": ")).collect::<Vec<_>>();
        clauses.join("; ").replace("here: ", "")
    };
    let otherwise = setting.otherwise(&word).map(|text| flags(&spare(text)));
    let value = match otherwise {
        Some(words) => Some((setting.show)(&recipe.defaults()).unwrap_or(words)),
        None => (setting.show)(&fill(recipe, Settings::default())),
    };
    Some(format!("{}{}", flags(&spare(setting.help(&word))), in_brackets(value)))
}

/// The same where a run comes before the default.
pub fn help_beside_a_run(setting: &Setting<Settings>) -> String {
    let default = match default_of(setting) {
        Some(default) => format!("the run's, else {default}"),
        None => "the run's".to_owned(),
    };
    format!("{}{}{}", about(setting), of_networks(setting), in_brackets(Some(default)))
}

fn about(setting: &Setting<Settings>) -> String {
    flags(&setting.help(&word))
}

fn in_brackets(default: Option<String>) -> String {
    default.map(|default| format!(" [default: {default}]")).unwrap_or_default()
}

/// `; NAMES only`, `; not NAME`, or nothing where all networks have it.
fn of_networks(setting: &Setting<Settings>) -> String {
    if !setting.about.of_some {
        return String::new();
    }
    let having = networks_with(|recipe| has(recipe, setting));
    let lacking = networks_with(|recipe| !has(recipe, setting));
    match (having.is_empty(), lacking.len()) {
        (true, _) | (_, 0) => String::new(),
        (false, 1) if having.len() > 1 => format!("; not {}", list(&lacking)),
        _ => format!("; {} only", list(&having)),
    }
}

/// What holds where a setting is left out: for all networks, or `8; NAME 32` for all but some.
pub fn default_of(setting: &Setting<Settings>) -> Option<String> {
    let having: Vec<&dyn Recipe> = NETWORKS.iter().copied().filter(|recipe| has(*recipe, setting)).collect();
    let otherwise = setting.otherwise(&word).map(|text| flags(&text));
    let value = |recipe: &&dyn Recipe| match &otherwise {
        // Words stand for what all networks share.
        Some(words) => (setting.show)(&recipe.defaults()).unwrap_or_else(|| words.clone()),
        None => (setting.show)(&fill(*recipe, Settings::default())).unwrap_or_default(),
    };
    let values: Vec<(&str, String)> = having.iter().map(|recipe| (recipe.name(), value(recipe))).collect();
    let base = otherwise.or_else(|| values.first().map(|(_, value)| value.clone())).filter(|base| !base.is_empty())?;
    let named = |values: &[&(&str, String)]| {
        let pairs: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
        pairs.join(", ")
    };
    let others: Vec<&(&str, String)> = values.iter().filter(|(_, value)| *value != base).collect();
    Some(match others.is_empty() {
        true => base,
        // Of a setting that only some networks have, no value is the usual one.
        false if setting.about.of_some && setting.about.otherwise.is_none() => {
            named(&values.iter().collect::<Vec<_>>())
        }
        false => format!("{base}; {}", named(&others)),
    })
}

fn has(recipe: &dyn Recipe, setting: &Setting<Settings>) -> bool {
    !setting.about.of_some || recipe.own_settings().contains(&setting.key)
}

/// What stands for a word in braces in the table of settings.
fn word(word: &str) -> String {
    match word {
        "all-bands" => names_of(|recipe| recipe.reads_all_bands()),
        "presets" => {
            let of = |recipe: &&dyn Recipe| format!("{} {}", recipe.name(), preset_names(*recipe));
            NETWORKS.iter().filter(|recipe| !recipe.presets().is_empty()).map(of).collect::<Vec<_>>().join(", ")
        }
        "sizes" => {
            NETWORKS.iter().map(|recipe| format!("{} {}", recipe.name(), sizes(*recipe))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_owned(),
    }
}

/// The sides that a network is trained on, in words.
fn sizes(recipe: &dyn Recipe) -> String {
    match (recipe.stride(), recipe.margin()) {
        (1, 0) => "any".to_owned(),
        (1, margin) => format!("above {}", 2 * margin),
        (stride, 0) => format!("multiples of {stride}"),
        (stride, margin) => format!("multiples of {stride} above {}", 2 * margin),
    }
}

fn networks_with(which: impl Fn(&dyn Recipe) -> bool) -> Vec<&'static str> {
    NETWORKS.iter().filter(|recipe| which(**recipe)).map(|recipe| recipe.name()).collect()
}

/// The names of some networks: `a, b and c`.
pub fn names_of(which: impl Fn(&dyn Recipe) -> bool) -> String {
    list(&networks_with(which))
}

/// `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// Examples of a command: lines after `huetape`, settings named as `⟨width⟩`, the first network as `{network}`.
pub fn examples(lines: &[&str]) -> String {
    let lines =
        lines.iter().map(|line| format!("\n  huetape {}", flags(&line.replace("{network}", NETWORKS[0].name()))));
    format!("Examples:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::table::TABLE;

    /// The default that a text of help names for a network.
    fn printed(default: &str, network: &str) -> String {
        let (base, others) = match default.split_once("; ") {
            Some((base, others)) => (base, others),
            None if NETWORKS.iter().any(|recipe| default.starts_with(&format!("{} ", recipe.name()))) => ("", default),
            None => (default, ""),
        };
        let of_network =
            |pair: &str| pair.split_once(' ').filter(|(name, _)| *name == network).map(|(_, v)| v.to_owned());
        others.split(", ").find_map(of_network).unwrap_or_else(|| base.to_owned())
    }

    #[test]
    fn every_printed_default_is_what_holds() {
        for setting in TABLE {
            let default = default_of(setting);
            for recipe in NETWORKS.iter().filter(|recipe| has(**recipe, setting)) {
                let holds = match setting.about.otherwise {
                    Some(_) => (setting.show)(&recipe.defaults()),
                    None => (setting.show)(&fill(*recipe, Settings::default())),
                };
                match (&default, holds) {
                    (Some(default), Some(holds)) => {
                        assert_eq!(printed(default, recipe.name()), holds, "{}", setting.key)
                    }
                    (None, Some(holds)) => panic!("{} is {holds} and help does not say so", setting.key),
                    (_, None) => assert!(setting.about.otherwise.is_some() || default.is_none(), "{}", setting.key),
                }
            }
        }
    }

    #[test]
    fn help_has_no_braces_and_no_setting_unnamed() {
        for setting in TABLE {
            for text in [help(setting), help_beside_a_run(setting)] {
                assert!(!text.contains(['{', '}', '⟨', '⟩']), "{text}");
            }
        }
    }
}
