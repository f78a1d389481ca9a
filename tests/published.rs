//! Weights that published programs wrote: converted they colour as those programs did; other files are refused.
#![cfg(feature = "convert")]

mod common;

use common::binary::{done, huetape, refused};
use flate2::Crc;
use huetape::engine::device::Device;
use huetape::engine::nn::WeightFile;
use huetape::imaging::pixels::Pixels;
use huetape::paint::colorizer::Colorizer;
use huetape::train::metadata::Metadata;
use std::fs;
use std::path::{Path, PathBuf};

/// Where `tools/goldens/published.py` has written.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/published").join(name)
}

/// The script's image of 8 bits, grey, in each of `bands`.
fn source([height, width]: [usize; 2], bands: usize) -> Pixels {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let grey = places.map(|(x, y)| ((x * 5 + y * 3 + (x * y) % 53) % 256) as f32 / 255.0);
    Pixels { width, height, bands, values: grey.flat_map(|v| std::iter::repeat_n(v, bands)).collect() }
}

/// The floats of a `.npy` file of the script.
fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// How far the image by converted weights is from that of the program, of which every `step`-th pixel is known.
fn distance(weights: &Path, program: &str, size: [usize; 2], step: usize, bands: usize) -> f32 {
    let colorizer = Colorizer::open(&Device::cpu(), weights).unwrap();
    let image = colorizer.paint(&source(size, bands), &colorizer.options().look).unwrap();
    let rows = (0..size[0]).step_by(step).flat_map(|y| (0..size[1]).step_by(step).map(move |x| (x, y)));
    let made = rows.flat_map(|(x, y)| image.values[3 * (y * size[1] + x)..][..3].to_vec());
    let expected = floats(&golden(&format!("{program}.out.npy")));
    assert_eq!(expected.len(), size.map(|side| side / step).iter().product::<usize>() * 3);
    made.zip(expected).map(|(made, expected)| (made - expected).abs()).fold(0.0, f32::max)
}

#[test]
fn the_authors_eccv16_colours_as_in_their_program() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("convert {} --to out.safetensors", golden("eccv16.pth").display());
    let ran = huetape(folder.path(), &line);
    assert!(ran.code == 0 && ran.stderr.contains("richzhang/colorization"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not used"), "{}", ran.stderr);
    let out = folder.path().join("out.safetensors");
    let far = distance(&out, "eccv16", [40, 48], 1, 1);
    println!("eccv16: {far}");
    assert!(far < 1e-4, "{far}");
    // What it says of itself, and the temperature at which it was published.
    let file = WeightFile::read(&out).unwrap();
    let metadata = Metadata::of(&file).unwrap().unwrap();
    assert!(metadata.network == "colournet" && metadata.trained_on.data.contains("eccv16"), "{metadata:?}");
    assert_eq!(Colorizer::open(&Device::cpu(), &out).unwrap().options().look.temperature, 1.0);
    assert!(done(folder.path(), "inspect out.safetensors").contains("colournet"));
}

#[test]
fn the_authors_u_net_colours_as_in_their_program_and_brings_its_discriminator() {
    let folder = tempfile::tempdir().unwrap();
    let [generator, discriminator] = ["unet_256.pth", "patchgan.pth"].map(golden);
    let (generator, discriminator) = (generator.display(), discriminator.display());
    done(folder.path(), &format!("convert {generator} {discriminator} --to one.safetensors"));
    let one = folder.path().join("one.safetensors");
    let far = distance(&one, "unet_256", [256, 256], 8, 1);
    println!("unet_256: {far}");
    assert!(far < 1e-3, "{far}");
    let file = WeightFile::read(&one).unwrap();
    assert_eq!(file.get("d.conv1.bias").unwrap().shape, [2]);
    assert_eq!(file.get("d.out.weight").unwrap().shape, [4, 4, 16, 1]);
    // The same as a network of three bands.
    done(folder.path(), &format!("convert {generator} --to three.safetensors --bands 3"));
    let far = distance(&folder.path().join("three.safetensors"), "unet_256", [256, 256], 8, 3);
    assert!(far < 1e-3, "{far}");
    refused(folder.path(), &format!("convert {discriminator} --to d.safetensors"), &["discriminator alone"]);
    refused(folder.path(), &format!("convert {generator} {generator} --to d.safetensors"), &["do not go together"]);
    refused(folder.path(), &format!("convert {generator} --to d.safetensors --bands 2"), &["source_bands"]);
    refused(folder.path(), &format!("convert {generator} --to d.safetensors --model colournet"), &["no program"]);
}

#[test]
fn the_tutorials_generator_colours_as_in_its_program() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &format!("convert {} --to out.safetensors", golden("tutorial.npz").display()));
    let far = distance(&folder.path().join("out.safetensors"), "tutorial", [256, 256], 8, 1);
    println!("tutorial: {far}");
    assert!(far < 1e-3, "{far}");
}

#[test]
fn converted_weights_are_trained_on() {
    let root = common::binary::scenes(&[256]);
    let at = root.path();
    let [generator, discriminator, eccv16] = ["unet_256.pth", "patchgan.pth", "eccv16.pth"].map(golden);
    done(at, &format!("convert {} {} --to gan.safetensors", generator.display(), discriminator.display()));
    done(at, &format!("convert {} --to eccv16.safetensors", eccv16.display()));
    let data = "--source source --target target --device cpu --steps 1 --batch 1";
    done(at, &format!("train colournet {data} --size 32 --init eccv16.safetensors --out colours"));
    let checkpoint = WeightFile::read(&at.join("colours/checkpoints/step-00000001.safetensors")).unwrap();
    assert_eq!(checkpoint.get("temperature").unwrap().data, [1.0]);
    assert!(checkpoint.get("bn8.gamma").is_none() && checkpoint.get("conv8_1.weight").unwrap().shape[0] == 4);
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let mut crc = Crc::new();
        crc.update(bytes);
        let sizes = [crc.sum(), bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let place = (file.len() as u32).to_le_bytes();
        let len = (name.len() as u16).to_le_bytes();
        file.extend([b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", &sizes[..], &len, b"\0\0", name.as_bytes(), bytes].concat());
        let after = [&len[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", &place, name.as_bytes()].concat();
        list.extend([b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0", &sizes[..], &after].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let [size, place] = [list.len(), file.len()].map(|len| (len as u32).to_le_bytes());
    file.extend([&list[..], b"PK\x05\x06\0\0\0\0", &count, &count, &size, &place, b"\0\0"].concat());
    file
}

/// A PyTorch file with this pickle and one storage of two floats.
fn torch(pickle: &[u8]) -> Vec<u8> {
    zip(&[("archive/data.pkl", pickle), ("archive/data/0", &[0; 8])])
}

/// A pickle of `{"model1.0.weight": a tensor}` of this shape and these strides; numbers below 256.
fn tensor(shape: [u8; 2], strides: [u8; 2], storage: &str) -> Vec<u8> {
    let pair = |[a, b]: [u8; 2]| [b'K', a, b'K', b, 0x86];
    let storage = format!("ctorch\n{storage}\n");
    let mut pickle =
        b"\x80\x02}X\x0f\0\0\0model1.0.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    pickle.extend(storage.as_bytes());
    pickle.extend(b"X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0");
    pickle.extend(pair(shape));
    pickle.extend(pair(strides));
    pickle.extend(b"\x89Ntds.".map(|byte| if byte == b'd' { b'R' } else { byte }));
    pickle
}

#[test]
fn hostile_damaged_and_foreign_files_get_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(golden("eccv16.pth")).unwrap();
    let npz = fs::read(golden("tutorial.npz")).unwrap();
    let legacy = fs::read(golden("patchgan.pth")).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let good = tensor([1, 2], [2, 1], "FloatStorage");
    let deep = [&b"\x80\x02"[..], &b"}X\x01\0\0\0a".repeat(50), b"}", &b"s".repeat(50), b"."].concat();
    let endless = b"\x80\x02}q\0X\x01\0\0\0ah\0s.".to_vec();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("system.pth", torch(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."), &["os.system", "nothing but tensors"]),
        ("stack.pth", torch(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."), &["builtins.eval"]),
        ("build.pth", torch(b"\x80\x02ctorch\nFloatStorage\n}b."), &["gives a state"]),
        ("call.pth", torch(b"\x80\x02ctorch\nFloatStorage\n)R."), &["calls something"]),
        ("python2.pth", torch(b"\x80\x02ccollections\nOrderedDict\n]]X\x01\0\0\0aaa\x85R."), &["cut short or damaged"]),
        ("inst.pth", torch(b"\x80\x02(ios\nsystem\n."), &["code 0x69"]),
        ("object.pth", torch(b"\x80\x02ccollections\nOrderedDict\n)\x81."), &["code 0x81"]),
        ("model.pth", torch(b"\x80\x02cmodels.networks\nUnetGenerator\n)\x81."), &["models.networks.UnetGenerator"]),
        ("cut-pickle.pth", torch(&good[..good.len() - 9]), &["cut short"]),
        ("stack-below.pth", torch(b"\x80\x020."), &["cut short or damaged"]),
        ("text.pth", torch(b"\x80\x02X\xff\xff\xff\xffa."), &["cut short"]),
        ("number.pth", torch(b"\x80\x02K\x05."), &["no dictionary"]),
        ("deep.pth", torch(&deep), &["too deep"]),
        ("endless.pth", torch(&endless), &["too deep"]),
        ("large.pth", torch(&tensor([200, 200], [200, 1], "FloatStorage")), &["does not fit", "storage of 2"]),
        ("spread.pth", torch(&tensor([1, 2], [2, 9], "FloatStorage")), &["does not fit"]),
        ("repeated.pth", torch(&tensor([200, 1], [0, 0], "FloatStorage")), &["does not fit"]),
        ("complex.pth", torch(&tensor([1, 2], [2, 1], "ComplexFloatStorage")), &["ComplexFloatStorage"]),
        ("lacking.pth", torch(&good), &["eccv16", "missing: model1.0.bias, model1.2.bias", "not used: none"]),
        ("no-storage.pth", zip(&[("archive/data.pkl", &good)]), &["has no archive/data/0"]),
        ("cut.pth", whole[..whole.len() - 100].to_vec(), &["cut short"]),
        ("damaged.pth", damaged, &["cut short or damaged"]),
        ("cut.npz", npz[..npz.len() / 2].to_vec(), &["cut short"]),
        ("objects.npz", zip(&[("arr_0.npy", &npy("|O", &[0; 8]))]), &["Python objects"]),
        ("other.npz", zip(&[("x.npy", &npy("<f4", &[0; 8]))]), &["no program that is known: x", "eccv16", "tutorial"]),
        ("short.npz", zip(&[("arr_0.npy", &npy("<f4", &[0; 8]))]), &["missing: arr_1", "not used: none"]),
        ("empty.zip", zip(&[("readme", b"text")]), &["without weights"]),
        ("model.keras", zip(&[("model.weights.h5", b"")]), &["Keras", "numpy.savez"]),
        ("model.weights.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0".to_vec(), &["HDF5", "numpy.savez"]),
        ("legacy-head.pth", legacy[..15].to_vec(), &["cut short"]),
        ("legacy-cut.pth", legacy[..legacy.len() - 3].to_vec(), &["cut short"]),
        ("legacy-system.pth", [&legacy[..15], b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."].concat(), &["os.system"]),
        ("legacy-list.pth", [&legacy[..15], b"\x80\x02K\x01.\x80\x02}.\x80\x02}.\x80\x02}."].concat(), &["no list"]),
        (
            "legacy-name.pth",
            [&legacy[..15], b"\x80\x02K\x01.\x80\x02}.\x80\x02}.\x80\x02]X\x01\0\0\0aa."].concat(),
            &["storage a"],
        ),
        ("plain.pkl", b"\x80\x04}.".to_vec(), &["a pickle without tensors"]),
        ("photo.png", b"\x89PNG\r\n\x1a\n".to_vec(), &["not a whole safetensors file"]),
        ("nothing.pth", Vec::new(), &["not a whole safetensors file"]),
    ];
    for (name, bytes, named) in cases {
        fs::write(folder.path().join(name), bytes).unwrap();
        refused(folder.path(), &format!("convert {name} --to out.safetensors"), &[&[name], named].concat());
    }
    refused(folder.path(), "convert none.pth --to out.safetensors", &["none.pth"]);
}

/// An array of two elements.
fn npy(descr: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn names_before_the_publisheds_are_passed_over_and_what_is_not_used_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bytes = fs::read(golden("tutorial.npz")).unwrap();
    fs::write(at("tutorial.bin"), bytes).unwrap();
    done(folder.path(), "convert tutorial.bin --to ours.safetensors");
    // Huetape's own weights go out by PyTorch's names, and come back by none that are known.
    done(folder.path(), "convert ours.safetensors --to torch.safetensors --names pytorch");
    let (ours, torch) =
        (WeightFile::read(&at("ours.safetensors")).unwrap(), WeightFile::read(&at("torch.safetensors")).unwrap());
    assert_eq!(torch.get("g.down1.weight").unwrap().shape, [2, 3, 4, 4]);
    assert_eq!(torch.get("g.up1.weight").unwrap().shape, [16, 16, 4, 4]);
    let (gamma, var) = (&ours.get("g.down2.bn.gamma").unwrap().data, &ours.get("g.down2.bn.var").unwrap().data);
    for ((gamma, var), weight) in gamma.iter().zip(var).zip(&torch.get("g.down2.bn.weight").unwrap().data) {
        assert!((gamma / (var + 1e-3).sqrt() - weight / (var + 1e-5).sqrt()).abs() < 1e-5 * gamma.abs() / var.sqrt());
    }
    refused(
        folder.path(),
        "convert torch.safetensors --to new.safetensors",
        &["g.up1.weight has shape", "torch.safetensors"],
    );

    // PyTorch's file by other means: safetensors, all names behind `module.`, with tensors of something else.
    let eccv16 = golden("eccv16.pth");
    done(folder.path(), &format!("convert {} --to plain.safetensors", eccv16.display()));
    let file = huetape::exchange::foreign::file::read("eccv16.pth", &fs::read(&eccv16).unwrap()).unwrap();
    let mut tensors = file.tensors.clone();
    tensors.iter_mut().for_each(|tensor| tensor.name = format!("module.{}", tensor.name));
    tensors.push(huetape::engine::nn::StateTensor { name: "optimizer.lr".into(), shape: vec![1], data: vec![0.1] });
    huetape::engine::nn::save_tensors(&tensors, &at("wrapped.safetensors")).unwrap();
    let ran = huetape(folder.path(), "convert wrapped.safetensors --to again.safetensors");
    assert!(ran.code == 0 && ran.stderr.contains("not used: optimizer.lr\n"), "{}", ran.stderr);
    assert_eq!(fs::read(at("again.safetensors")).unwrap(), fs::read(at("plain.safetensors")).unwrap());
}
