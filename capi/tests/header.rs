//! The header that is checked in is what cbindgen makes of the source.

use std::path::Path;

#[test]
fn the_header_is_current() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml")).unwrap();
    let source = package.join("src/lib.rs");
    let made = cbindgen::Builder::new().with_config(config).with_src(source).generate().unwrap();
    let mut text = Vec::new();
    made.write(&mut text);
    let (text, path) = (String::from_utf8(text).unwrap(), package.join("include/huetape.h"));
    if std::env::var_os("HUETAPE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is not current: HUETAPE_WRITE_HEADER=1 writes it anew", path.display());
}
