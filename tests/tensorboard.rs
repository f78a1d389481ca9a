//! `--tensorboard`: event files, read as TFRecords of protocol buffers by a reader of our own, and by TensorBoard's
//! where Python has it.

mod common;

use common::binary::{done, scenes};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A value of a summary.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(f32),
    /// Width, height and the PNG.
    Image(u64, u64, Vec<u8>),
}

/// What an event file says: values by step and tag, and the steps from which a session began anew.
#[derive(Debug, Default)]
struct Events {
    values: BTreeMap<(u64, String), (f64, Value)>,
    starts: Vec<u64>,
}

/// CRC-32C bit by bit, masked as TFRecord has it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The messages of a file, their checksums checked.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(12);
        assert_eq!(number(&head[8..]), masked_crc(&head[..8]));
        let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
        assert_eq!(number(&rest[length..length + 4]), masked_crc(&rest[..length]));
        found.push(rest[..length].to_vec());
        bytes = &rest[length + 4..];
    }
    found
}

/// The fields of a message: numbers as 8 bytes, little-endian, whatever their encoding.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            (*bytes, value, shift) = (rest, value | u64::from(byte & 0x7f) << shift, shift + 7);
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                let value = varint(&mut bytes);
                found.push((key >> 3, value.to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("encoding {other}"),
        };
        found.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    found
}

fn whole(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn of_image(bytes: &[u8]) -> Value {
    let fields: BTreeMap<u64, Vec<u8>> = fields(bytes).into_iter().collect();
    assert_eq!(whole(&fields[&3]), 3, "RGB");
    Value::Image(whole(&fields[&2]), whole(&fields[&1]), fields[&4].clone())
}

fn read(path: &Path) -> Events {
    let mut events = Events::default();
    for (i, record) in records(&fs::read(path).unwrap()).iter().enumerate() {
        let event = fields(record);
        let of = |field: u64| event.iter().find(|(number, _)| *number == field).map(|(_, bytes)| bytes);
        let time = f64::from_le_bytes(of(1).unwrap()[..].try_into().unwrap());
        let step = whole(of(2).unwrap());
        if i == 0 {
            assert_eq!(of(3).unwrap(), b"brain.Event:2");
        }
        if let Some(log) = of(7) {
            assert_eq!(fields(log), [(1, 1u64.to_le_bytes().to_vec())]);
            events.starts.push(step);
        }
        for (_, value) in of(5).map(|summary| fields(summary)).unwrap_or_default() {
            let value = fields(&value);
            let tag = String::from_utf8(value[0].1.clone()).unwrap();
            let found = match value[1].0 {
                2 => Value::Number(f32::from_le_bytes(value[1].1[..].try_into().unwrap())),
                _ => of_image(&value[1].1),
            };
            let twice = events.values.insert((step, tag.clone()), (time, found));
            assert!(twice.is_none(), "{tag} twice at step {step}");
        }
    }
    events
}

fn event_files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let is_events = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains("tfevents");
    let mut found: Vec<PathBuf> = entries.filter(is_events).collect();
    found.sort();
    found
}

/// The event file of a run. One before it, which a TensorBoard may still be reading, is empty.
fn event_file(run: &Path) -> PathBuf {
    let files = event_files(run);
    let (last, before) = files.split_last().unwrap();
    assert!(before.len() < 2, "{files:?}");
    for path in before {
        let Events { values, starts } = read(path);
        assert!(values.is_empty() && starts.is_empty(), "{path:?}: {values:?}");
    }
    last.clone()
}

/// That an event file says what the metrics and the samples of its run say, each step once.
fn agrees(run: &Path, steps: u64) {
    let events = read(&event_file(run));
    assert_eq!(events.starts, [1]);
    let mut numbers = 0;
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count() as u64, steps);
    for line in metrics.lines() {
        let metrics: serde_json::Value = serde_json::from_str(line).unwrap();
        let step = metrics["step"].as_u64().unwrap();
        let names = [("losses/loss", "loss"), ("rates/lr", "lr"), ("rates/images_per_s", "images_per_s")];
        for (tag, name) in names.into_iter().chain([("validation/psnr", "val_psnr"), ("validation/loss", "val_loss")]) {
            let Some(value) = metrics[name].as_f64() else { continue };
            let (time, found) = &events.values[&(step, tag.to_owned())];
            assert_eq!((found, *time), (&Value::Number(value as f32), metrics["time"].as_f64().unwrap()), "{tag}");
            numbers += 1;
        }
    }
    let found = |number: &(f64, Value)| matches!(number.1, Value::Number(_));
    let validated =
        ["validation/psnr", "validation/loss"].map(|tag| events.values.contains_key(&(steps, tag.to_owned())));
    assert_eq!(validated, [true; 2]);
    assert!(events.values.values().filter(|number| found(number)).count() >= numbers);
    let samples: Vec<PathBuf> = fs::read_dir(run.join("samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!samples.is_empty());
    for path in &samples {
        let name = path.file_stem().unwrap().to_str().unwrap().strip_prefix("step-").unwrap().to_owned();
        let (step, number) = name.split_once('-').unwrap();
        let image = image::image_dimensions(path).unwrap();
        let expected = Value::Image(image.0.into(), image.1.into(), fs::read(path).unwrap());
        assert_eq!(events.values[&(step.parse().unwrap(), format!("samples/{number}"))].1, expected);
    }
    assert_eq!(events.values.len() - samples.len(), events.values.values().filter(|number| found(number)).count());
}

fn train(flags: &str) -> String {
    let data = "--source source --target target --val-source source --val-target target";
    let tiny = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --checkpoint-every 2 --sample-every 2";
    format!("train colournet {data} --out run {tiny} {flags}")
}

#[test]
fn event_files_say_what_metrics_and_samples_say_and_a_resumed_run_says_each_step_once() {
    let root = scenes(&[48, 48]);
    let run = root.path().join("run");
    done(root.path(), &train("--steps 2 --tensorboard"));
    agrees(&run, 2);
    let first = event_file(&run);
    // As a process leaves it that went on after its last checkpoint and was killed.
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let beyond = metrics.lines().last().unwrap().replace("\"step\":2", "\"step\":3");
    fs::write(run.join("metrics.jsonl"), format!("{metrics}{beyond}\n{{\"step\":4,\"lo")).unwrap();
    let whole = fs::read(&first).unwrap();
    fs::write(&first, [&whole[..], &whole[whole.len() - 60..whole.len() - 20]].concat()).unwrap();
    fs::write(run.join("events.out.tfevents.1.other"), "another program's").unwrap();
    // What a run began with it goes on with.
    done(root.path(), &train("--steps 4 --resume"));
    fs::remove_file(run.join("events.out.tfevents.1.other")).unwrap();
    agrees(&run, 4);
    assert!(event_file(&run) > first, "a TensorBoard that is running reads files in the order of their names");
    done(root.path(), &train("--steps 6 --resume"));
    agrees(&run, 6);
}

#[test]
fn a_run_that_gets_them_late_has_them_from_its_first_step() {
    let root = scenes(&[48, 48]);
    let run = root.path().join("run");
    done(root.path(), &train("--steps 2"));
    assert!(event_files(&run).is_empty());
    done(root.path(), &train("--steps 4 --resume --tensorboard"));
    agrees(&run, 4);
}

/// What TensorBoard reads that is running while a training goes on: `tag count last-step last-value` a line, images
/// `tag count last-step widthxheight`.
const PYTHON: &str = "
import subprocess, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1])
read.Reload()
print('before', read.Scalars('losses/loss')[-1].step)
subprocess.run(sys.argv[2:], check=True)
read.Reload()
for tag in sorted(read.Tags()['scalars']):
    print(tag, len(read.Scalars(tag)), read.Scalars(tag)[-1].step, read.Scalars(tag)[-1].value)
for tag in sorted(read.Tags()['images']):
    last = read.Images(tag)[-1]
    print(tag, len(read.Images(tag)), last.step, f'{last.width}x{last.height}')
";

#[test]
fn tensorboard_itself_reads_them_where_it_is_installed() {
    let python = std::env::var("HUETAPE_TENSORBOARD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run_python = |code: &str, args: &[&str], folder: &Path| {
        let mut command = Command::new(&python);
        command.args(["-c", code]).args(args).current_dir(folder).output()
    };
    if !run_python("import tensorboard", &[], Path::new(".")).is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("HUETAPE_TENSORBOARD_PYTHON").is_none(), "{python} has no tensorboard");
        eprintln!("not run: python3 has no tensorboard; name one that has by HUETAPE_TENSORBOARD_PYTHON");
        return;
    }
    let root = scenes(&[48, 48]);
    done(root.path(), &train("--steps 2 --tensorboard"));
    let goes_on = train("--steps 4 --resume");
    let program = assert_cmd::cargo::cargo_bin!("huetape").to_str().unwrap();
    let args: Vec<&str> = ["run", program].into_iter().chain(goes_on.split(' ')).collect();
    let output = run_python(PYTHON, &args, root.path()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let events = read(&event_file(&root.path().join("run")));
    let Value::Number(last) = events.values[&(4, "losses/loss".to_owned())].1 else { panic!() };
    let line =
        |tag: &str| said.lines().find(|line| line.starts_with(&format!("{tag} "))).unwrap_or_else(|| panic!("{said}"));
    let words: Vec<&str> = line("losses/loss").split(' ').collect();
    assert_eq!((words[..3].to_vec(), line("before")), (vec!["losses/loss", "4", "4"], "before 2"));
    assert_eq!(words[3].parse::<f64>().unwrap() as f32, last);
    assert!(line("samples/1").starts_with("samples/1 2 4 ") && line("validation/psnr").contains(" 2 4 "), "{said}");
}
