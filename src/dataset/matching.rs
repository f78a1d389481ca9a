//! Which images of two folders belong together, by their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::folder::{path_below, pictures_in};
use crate::dataset::pair::Pair;
use crate::dataset::stack;
use crate::error::{Error, Result};

/// What two folders hold, in name order.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Files that belong together.
    pub pairs: Vec<Pair>,
    /// Sources without a target.
    pub lone_sources: Vec<PathBuf>,
    /// Targets without a source.
    pub lone_targets: Vec<PathBuf>,
}

/// The first of what a path names.
pub(super) fn first_part(path: &Path) -> PathBuf {
    stack::parts(path).swap_remove(0)
}

/// An image by its path below the folder that was named.
pub(super) type Named = (PathBuf, PathBuf);

/// The images of a folder.
pub(super) fn named(folder: &Path, recursive: bool) -> Result<Vec<Named>> {
    let name = |file: PathBuf| (path_below(&file, folder), file);
    Ok(pictures_in(folder, recursive)?.into_iter().map(name).collect())
}

/// The images of a folder, or those of equal names in the folders of several dates, as paths of several.
pub(super) fn dates_in(folders: &Path, recursive: bool) -> Result<Vec<Named>> {
    let folders = stack::parts(folders);
    let others = folders[1..].iter().map(|folder| Ok(named(folder, recursive)?.into_iter().collect()));
    let others: Vec<BTreeMap<PathBuf, PathBuf>> = others.collect::<Result<_>>()?;
    let all_dates = |(name, file): Named| -> Result<Named> {
        let mut dates = vec![file.clone()];
        for other in &others {
            let missing = || {
                let what = "another date has no image of this name";
                Error::input(what, file.display(), "give the images of all dates equal names")
            };
            dates.push(other.get(&name).cloned().ok_or_else(missing)?);
        }
        Ok((name, stack::joined(&dates)))
    };
    named(&folders[0], recursive)?.into_iter().map(all_dates).collect()
}

/// Pairs equal names; of the rest, equal names without the endings where each side has just one.
pub(super) fn matched(sources: Vec<Named>, targets: Vec<Named>) -> Listing {
    let mut by_name: BTreeMap<PathBuf, PathBuf> = targets.into_iter().collect();
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    for (name, source) in sources {
        match by_name.remove(&name) {
            Some(target) => pairs.push((name, source, target)),
            None => rest.push((name, source)),
        }
    }
    let mut by_stem: BTreeMap<PathBuf, (Vec<Named>, Vec<PathBuf>)> = BTreeMap::new();
    for (name, source) in rest {
        by_stem.entry(name.with_extension("")).or_default().0.push((name, source));
    }
    for (name, target) in by_name {
        by_stem.entry(name.with_extension("")).or_default().1.push(target);
    }
    let mut listing = Listing::default();
    for (mut sources, mut targets) in by_stem.into_values() {
        if sources.len() == 1 && targets.len() == 1 {
            pairs.extend(sources.pop().zip(targets.pop()).map(|((name, source), target)| (name, source, target)));
        } else {
            listing.lone_sources.extend(sources.into_iter().map(|(_, source)| source));
            listing.lone_targets.extend(targets);
        }
    }
    pairs.sort();
    let pair = |(_, source, target): (PathBuf, PathBuf, PathBuf)| Pair { source: source.into(), target: target.into() };
    listing.pairs = pairs.into_iter().map(pair).collect();
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_extension_pairs_only_where_it_is_unambiguous() {
        let files = |names: &[&str]| names.iter().map(|name| (name.into(), name.into())).collect();
        let listing = matched(
            files(&["1.jpg", "2.jpg", "2.png", "3.jpg", "4.tif", "a/1.tif", "b/7.png"]),
            files(&["1.png", "2.png", "3.png", "3.tif", "5.tif", "a/1.png", "c/7.png"]),
        );
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let pairs: Vec<[&Path; 2]> = listing.pairs.iter().map(|p| [p.source.path(), p.target.path()]).collect();
        let want = [["1.jpg", "1.png"], ["2.png", "2.png"], ["a/1.tif", "a/1.png"]];
        assert_eq!(pairs, want.map(|pair| pair.map(Path::new)));
        assert_eq!(listing.lone_sources, paths(&["2.jpg", "3.jpg", "4.tif", "b/7.png"]));
        assert_eq!(listing.lone_targets, paths(&["3.png", "3.tif", "5.tif", "c/7.png"]));
    }
}
