//! The files beside an image that say more of it: a world file (`a.tfw`, `a.jgw`, `a.pgw`, `a.wld`), GDAL's
//! `a.tif.aux.xml`, and a mask in `a.tif.msk`.
//!
//! Sources: GDAL's raster data model (PAM, mask bands) and `GDALReadWorldFile`; GeoTIFF 1.1, annexes B and C.

use std::fs;
use std::path::{Path, PathBuf};

use crate::imaging::raster::{Raster, RasterInfo, RawTag};

/// A file beside an image is read up to this size.
const MOST_BYTES: u64 = 16 << 20;

/// What the files beside an image say.
#[derive(Debug, Default)]
pub(super) struct Sidecars {
    /// Its place on Earth, as the tags of a GeoTIFF; empty where they say none, or the image has its own.
    pub georeference: Vec<RawTag>,
    /// Which pixels have data.
    pub mask: Option<Raster>,
    /// What there is and is not read, one line each.
    pub notices: Vec<String>,
}

impl Sidecars {
    /// Of the image at `path`.
    pub fn of(path: &Path, info: &RasterInfo) -> Self {
        let mut found = Sidecars::default();
        let aux = named(path, ".aux.xml").and_then(|aux| Some((text(&aux)?, aux)));
        let said = aux.as_ref().map(|(xml, _)| (element(xml, "GeoTransform"), element(xml, "SRS")));
        let world = world_file(path);
        if info.is_placed() {
            let unread = [world, aux.filter(|_| said != Some((None, None))).map(|(_, aux)| aux)];
            let note = |beside: PathBuf| {
                let what = "its place on Earth is not read, since the image has its own";
                format!("{}: {what}", beside.display())
            };
            found.notices.extend(unread.into_iter().flatten().map(note));
        } else {
            let (by_aux, system) = said.unwrap_or_default();
            let numbers = |text: String| text.split(',').map(|n| n.trim().parse().ok()).collect::<Option<Vec<f64>>>();
            // GDAL's order: x of the corner, along columns, along rows; the same of y.
            let by_aux = by_aux.and_then(numbers).and_then(|n| <[f64; 6]>::try_from(n).ok());
            if let Some(place) = by_aux.or_else(|| of_world_file(&text(world.as_ref()?)?)) {
                found.georeference = placed(place);
            } else if let Some(world) = world {
                found.notices.push(format!("{}: not a world file of six numbers, so it is not read", world.display()));
            }
            if let (Some(system), Some((_, aux))) = (system, aux) {
                match epsg(&system) {
                    Some(keys) => found.georeference.push(keys),
                    None => found.notices.push(format!(
                        "{}: its coordinate system has no EPSG number, so it is not carried over",
                        aux.display()
                    )),
                }
            }
        }
        if let Some(mask) = named(path, ".msk") {
            match Raster::open(&mask) {
                Ok(raster) if (raster.info().width, raster.info().height) == (info.width, info.height) => {
                    found.mask = Some(raster);
                }
                Ok(_) => found.notices.push(format!("{}: a mask of another size, so it is not read", mask.display())),
                Err(error) => found.notices.push(format!("the mask beside the image is not read: {error}")),
            }
        }
        found
    }
}

/// The file of the image's whole name and `ending`, if it is there.
fn named(path: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    Some(PathBuf::from(name)).filter(|beside| beside.is_file())
}

/// The world file: its ending is the first and the last letter of the image's and a w, or the whole ending and a w, or
/// wld.
fn world_file(path: &Path) -> Option<PathBuf> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let (first, last) = (ending.chars().next()?, ending.chars().last()?);
    let endings = [format!("{first}{last}w"), format!("{ending}w"), "wld".to_owned()];
    let either = endings.iter().flat_map(|ending| [ending.clone(), ending.to_ascii_uppercase()]);
    either.map(|ending| path.with_extension(ending)).find(|beside| beside.is_file())
}

fn text(path: &Path) -> Option<String> {
    let small = fs::metadata(path).ok()?.len() <= MOST_BYTES;
    small.then(|| fs::read(path).ok()).flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The text of the first element `name` that has text alone.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}"))?;
    let (_, content) = rest.split_once('>')?;
    let (content, _) = content.split_once(&format!("</{name}>"))?;
    Some(content.trim().replace("&quot;", "\""))
}

/// The six numbers of a world file, which places the centres of pixels, in GDAL's order, which places their corners.
fn of_world_file(text: &str) -> Option<[f64; 6]> {
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|n| n.replace(',', ".").parse().ok()).collect();
    let [a, d, b, e, c, f] = <[f64; 6]>::try_from(numbers?).ok()?;
    Some([c - (a + b) / 2.0, a, b, f - (d + e) / 2.0, d, e])
}

/// The tags of a place in GDAL's order.
fn placed([x, a, b, y, d, e]: [f64; 6]) -> Vec<RawTag> {
    let doubles = |tag, values: &[f64]| RawTag {
        tag,
        field_type: 12,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    match b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
        true => vec![doubles(33550, &[a, -e, 0.0]), doubles(33922, &[0.0, 0.0, 0.0, x, y, 0.0])],
        false => {
            let rows = [[a, b, 0.0, x], [d, e, 0.0, y], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
            vec![doubles(34264, &rows.concat())]
        }
    }
}

/// The keys of a coordinate system that ends in its EPSG number, as WKT or as `EPSG:N`.
fn epsg(system: &str) -> Option<RawTag> {
    let compact: String = system.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let projected = ["PROJCS[", "PROJCRS["].iter().any(|kind| compact.starts_with(kind));
    let geographic = ["GEOGCS[", "GEOGCRS[", "GEODCRS["].iter().any(|kind| compact.starts_with(kind));
    if !projected && !geographic {
        return None;
    }
    // The number of the whole is the last thing in it: those of its parts stand within them.
    let last = compact.strip_suffix("]]")?;
    let (_, code) = last.rsplit_once("AUTHORITY[EPSG,").or_else(|| last.rsplit_once("ID[EPSG,"))?;
    let code: u16 = code.parse().ok()?;
    let (model, key) = if projected { (1, 3072) } else { (2, 2048) };
    let keys = [1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, code];
    Some(RawTag { tag: 34735, field_type: 3, bytes: keys.iter().flat_map(|key: &u16| key.to_le_bytes()).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::{save_png, save_tiff};
    use crate::imaging::raster::SampleType;

    const UTM: &str = r#"PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]],
        UNIT["metre",1],AUTHORITY["EPSG","32633"]]"#;

    fn doubles(tags: &[RawTag], number: u16) -> Vec<f64> {
        let tag = tags.iter().find(|raw| raw.tag == number).unwrap();
        tag.bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn world_files_and_aux_files_place_an_image_as_gdal_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.png");
        save_png(&path, &[1, 2], 2, 1, None).unwrap();
        let info = RasterInfo::new(2, 1, 1, SampleType::U8);
        assert!(Sidecars::of(&path, &info).georeference.is_empty());
        fs::write(folder.path().join("b.pgw"), "10\n0\n0\n-10\n500005\n4999995\n").unwrap();
        let found = Sidecars::of(&path, &info);
        assert_eq!(doubles(&found.georeference, 33550), [10.0, 10.0, 0.0]);
        assert_eq!(doubles(&found.georeference, 33922)[3..5], [500_000.0, 5_000_000.0]);
        fs::write(folder.path().join("b.png.aux.xml"), format!("<PAMDataset><SRS a=\"1\">{UTM}</SRS></PAMDataset>"))
            .unwrap();
        let found = Sidecars::of(&path, &info);
        let keys = &found.georeference.iter().find(|raw| raw.tag == 34735).unwrap().bytes;
        assert_eq!((keys.len(), u16::from_le_bytes([keys[30], keys[31]]), found.notices.len()), (32, 32_633, 0));
        // Turned ones need the whole matrix.
        fs::write(folder.path().join("b.pgw"), "0 2 -2 0 7 8").unwrap();
        let matrix = doubles(&Sidecars::of(&path, &info).georeference, 34264);
        assert_eq!(matrix[..8], [0.0, -2.0, 0.0, 8.0, 2.0, 0.0, 0.0, 7.0]);
        // An image that is placed by itself says that they are not read; statistics alone are nothing to say.
        let own = RasterInfo { georeference: placed([0.0, 1.0, 0.0, 0.0, 0.0, -1.0]), ..info.clone() };
        assert_eq!(Sidecars::of(&path, &own).notices.len(), 2);
        fs::write(folder.path().join("b.png.aux.xml"), "<PAMDataset><Metadata/></PAMDataset>").unwrap();
        assert_eq!(Sidecars::of(&path, &own).notices.len(), 1);
        fs::write(folder.path().join("b.pgw"), "0 2 -2").unwrap();
        let found = Sidecars::of(&path, &info);
        assert!(found.georeference.is_empty() && found.notices[0].contains("b.pgw: not a world file"));
    }

    #[test]
    fn only_the_number_of_the_whole_system_counts() {
        let code = |wkt: &str| epsg(wkt).map(|raw| u16::from_le_bytes([raw.bytes[30], raw.bytes[31]]));
        assert_eq!(code(UTM), Some(32_633));
        assert_eq!(code(r#"GEOGCS["WGS 84",DATUM["d"],AUTHORITY["EPSG","4326"]]"#), Some(4326));
        assert_eq!(code(r#"PROJCRS["x",BASEGEOGCRS["y",ID["EPSG",4326]],ID["EPSG",32633]]"#), Some(32_633));
        assert_eq!(code(r#"PROJCS["own",GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]],UNIT["metre",1]]"#), None);
        assert_eq!(code("LOCAL_CS[\"x\",AUTHORITY[\"EPSG\",\"9\"]]"), None);
    }

    #[test]
    fn a_mask_beside_an_image_is_read_if_it_has_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tif");
        let info = RasterInfo::new(2, 1, 1, SampleType::U8);
        save_tiff(&folder.path().join("m.tif.msk"), info.clone(), &[255.0, 0.0]).unwrap();
        assert!(Sidecars::of(&path, &info).mask.is_some());
        let found = Sidecars::of(&path, &RasterInfo { width: 3, ..info });
        assert!(found.mask.is_none() && found.notices[0].contains("another size"), "{:?}", found.notices);
    }
}
