//! What the functions promise, called as C calls them.

use super::*;
use std::ptr::{null, null_mut};

fn last_error() -> String {
    // SAFETY: a text that ends in a zero.
    unsafe { CStr::from_ptr(huetape_last_error()) }.to_str().unwrap().to_owned()
}

/// A narrow network that has learned nothing.
fn untrained() -> HuetapeColorizer {
    use huetape::imaging::color::Bins;
    use huetape::networks::NETWORKS;
    use huetape::networks::recipe::{Setup, fill};
    use huetape::train::settings::table::Settings;
    let recipe = NETWORKS[0];
    let device = Device::cpu();
    let settings = fill(recipe, Settings { width: Some(0.05), ..Settings::default() });
    let bins = Bins::lattice(9).centres.len();
    let setup = Setup { device: &device, settings: &settings, survey: None, bins, weights: None, training: false };
    let learner = recipe.learner(&setup).unwrap();
    let folder = std::env::temp_dir().join(format!("huetape-capi-{:?}", std::thread::current().id()));
    let state = learner.state().unwrap();
    huetape::engine::nn::save_tensors(&state, &folder).unwrap();
    let colorizer = Colorizer::open(&device, &folder).unwrap();
    std::fs::remove_file(folder).unwrap();
    HuetapeColorizer { colorizer, model: c"colournet".into() }
}

fn colorize(of: *const HuetapeColorizer, source: &[u8], size: [usize; 3], room: &mut [u8]) -> HuetapeStatus {
    let [width, height, channels] = size;
    assert_eq!(source.len(), width * height * channels);
    // SAFETY: so many bytes lie there.
    unsafe { huetape_colorize(of, source.as_ptr(), width, height, channels, room.as_mut_ptr(), room.len()) }
}

#[test]
fn an_image_gets_the_colours_that_the_library_gives_it_on_every_thread() {
    let colorizer = untrained();
    let source: Vec<u8> = (0..12 * 9).map(|i| (i * 2) as u8).collect();
    let info = PictureInfo { width: 12, height: 9, bands: 1, depth: Depth::U8 };
    let picture = Picture { info, samples: Samples::U8(source.clone()) };
    let inner = &colorizer.colorizer;
    let expected = to_u8(&inner.colorize(&picture, Path::new("a.png"), inner.options()).unwrap().values);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut room = [7; 12 * 9 * 3];
                assert_eq!(colorize(&colorizer, &source, [12, 9, 1], &mut room), HuetapeStatus::Ok);
                assert!(room[..] == expected);
            });
        }
    });
    // Three equal channels are grey.
    let rgb: Vec<u8> = source.iter().flat_map(|&v| [v; 3]).collect();
    let mut room = rgb.clone();
    let there = room.as_mut_ptr();
    // SAFETY: source and colours are the same memory, of the same size.
    let status = unsafe { huetape_colorize(&colorizer, there, 12, 9, 3, there, rgb.len()) };
    assert_eq!((status, room), (HuetapeStatus::Ok, expected));
}

#[test]
fn wrong_arguments_are_refused_by_name_and_nothing_is_written() {
    let colorizer = untrained();
    let refused = |status: HuetapeStatus, said: &str| {
        assert_eq!(status, HuetapeStatus::WrongInput);
        assert!(last_error().contains(said), "{}", last_error());
    };
    let mut room = [7; 12];
    refused(colorize(null(), &[0; 4], [2, 2, 1], &mut room), "a null pointer: colorizer");
    refused(colorize(&colorizer, &[0; 4], [2, 2, 1], &mut room[..11]), "colours_bytes 11: use 12");
    refused(colorize(&colorizer, &[0; 8], [2, 2, 2], &mut room), "an image of 2 bands is neither grey nor RGB");
    refused(colorize(&colorizer, &[], [0, 2, 1], &mut room), "0x2x1");
    assert_eq!(room, [7; 12]);
    // SAFETY: sizes and null pointers are refused before anything is read or written.
    unsafe {
        refused(huetape_colorize(&colorizer, null(), 2, 2, 1, room.as_mut_ptr(), 12), "source");
        refused(huetape_colorize(&colorizer, room.as_ptr(), 2, 2, 1, null_mut(), 12), "colours");
        let huge = usize::MAX / 2;
        refused(huetape_colorize(&colorizer, room.as_ptr(), huge, huge, 1, room.as_mut_ptr(), 12), "no memory");
    }
    let error = last_error();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(last_error(), "", "another thread's errors are its own"));
    });
    assert_eq!(last_error(), error);
}

#[test]
fn what_cannot_be_opened_is_null_and_says_why() {
    let open = |weights: &CStr, device: &CStr| {
        // SAFETY: both end in a zero.
        let opened = unsafe { huetape_open(weights.as_ptr(), device.as_ptr()) };
        assert!(opened.is_null());
        last_error()
    };
    assert!(open(c"/no/such/file", c"cpu").contains("/no/such/file"));
    assert!(open(c"/", c"cpu").contains("/"));
    assert!(open(c"grey", c"nonesuch").contains("nonesuch"));
    assert!(open(c"grey", c"\xff").contains("not UTF-8: device"));
    // SAFETY: null is nothing to close, and has no bands and no name.
    unsafe {
        huetape_close(null_mut());
        assert_eq!(huetape_bands(null()), 0);
        assert_eq!(CStr::from_ptr(huetape_model(null())), c"");
    }
}

#[test]
fn a_panic_is_a_failure_with_its_place() {
    let status = guarded(|| -> Result<()> { panic!("two\nlines of {}", "it") }).unwrap_err();
    assert_eq!(status, HuetapeStatus::Failed);
    assert!(last_error().contains("tests.rs:") && last_error().contains("two lines of it"), "{}", last_error());
}
