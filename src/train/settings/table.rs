//! All settings of a training, one entry each.

use crate::dataset::loader_options::Turns;
use crate::train::built_in::WeightsName;
use crate::train::settings::checks;
use crate::train::settings::setting::{ABOUT, About, Setting};
use crate::train::settings::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const DATA: About = About { heading: "Data", ..ABOUT };
const TRAINING: About = About { heading: "Training", value_name: "F", ..ABOUT };
const GAN: About = About { heading: "GAN", value_name: "F", ..ABOUT };
const NETWORK: About = About { heading: "Network", ..ABOUT };
const CLASSIFICATION: About = About { heading: "Classification", value_name: "F", ..ABOUT };
const RUN: About = About { heading: "Run", ..ABOUT };
const DEVICE: About = About { heading: "Device", value_name: "DEVICE", ..ABOUT };

/// Makes the settings and their table of entries `"key" field: Type = default, check, "help", about;`. The default is
/// that of all networks that have none of their own; without one, nothing is set.
macro_rules! settings {
    ($($key:tt $name:ident: $type:ty $(= $default:expr)?, $check:expr, $help:tt, $about:expr;)*) => {
        /// Everything that sets a training: what was given, or, [filled](Settings::filled), all that holds. A run's
        /// `config.toml` holds them all, defaults filled in.
        #[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            /// Written with a run for whoever reads it: the network.
            pub model: Option<String>,
            /// In a file of settings, the folder of the run; a run's own has none, for it can be moved.
            pub out: Option<PathBuf>,
            $(
                #[doc = $help]
                #[serde(rename = $key)]
                pub $name: Option<$type>,
            )*
            /// Written with a run for whoever reads it: what other settings it went on with, and after which step.
            pub resumed: Option<Vec<String>>,
            /// Written with a run for whoever reads it: version, device.
            #[serde(rename = "made-by")]
            pub made_by: Option<BTreeMap<String, String>>,
        }

        impl Settings {
            /// The defaults that all networks share.
            pub fn common() -> Settings {
                #[allow(clippy::needless_update, reason = "entries without a default are left to it")]
                Settings { $($($name: Some($default.into()),)?)* ..Settings::default() }
            }
        }

        /// All settings, in the order of help.
        pub static TABLE: &[Setting<Settings>] = &[$(
            Setting {
                key: $key,
                help: $help,
                about: $about,
                values: <$type as Value>::WHAT,
                is_switch: is_switch(stringify!($type)),
                given: |settings| settings.$name.is_some(),
                clear: |settings| settings.$name = None,
                copy: |settings, other| settings.$name.clone_from(&other.$name),
                place: |settings| settings.$name = settings.$name.take().map(Value::placed),
                same: |settings, other| settings.$name == other.$name,
                show: |settings| settings.$name.as_ref().map(Value::show),
                read: |settings, text| {
                    settings.$name = <$type>::read(text);
                    settings.$name.is_some()
                },
                check: |settings| match &settings.$name {
                    Some(value) => $check(value, $key),
                    None => Ok(()),
                },
            },
        )*];
    };
}

const fn is_switch(type_name: &str) -> bool {
    matches!(type_name.as_bytes(), b"bool")
}

settings! {
    "source" source: PathBuf, checks::any,
        "Folder of inputs, e.g. SAR images, with images of the same names in ⟨target⟩; or a scene. One band is read; \
         {all-bands}: all",
        About { value_name: "PATH", conflicts: &["images"], displaces: &["pairs", "pairs-source", "images"], ..DATA };
    "target" target: PathBuf, checks::any,
        "Folder of colour images that belong to ⟨source⟩, or a scene on its grid",
        About { value_name: "PATH", conflicts: &["images"], displaces: &["pairs", "pairs-source", "images"], ..DATA };
    "images" images: PathBuf, checks::any,
        "Folder of colour images; the input is their lightness",
        About {
            value_name: "DIR",
            displaces: &["source", "target", "val-target", "pairs", "pairs-source"],
            ..DATA
        };
    "pairs" pairs: PathBuf, checks::any,
        "Folder of files that hold an input and its colour image side by side, of equal width",
        About {
            value_name: "DIR",
            conflicts: &["source", "target", "images"],
            displaces: &["source", "target", "val-target", "images"],
            ..DATA
        };
    "pairs-source" pairs_source: String, checks::half,
        "Which half of ⟨pairs⟩ is the input, left or right",
        About { value_name: "HALF", otherwise: Some("left"), ..DATA };
    "recursive" recursive: bool = false, checks::any,
        "Read folders below those of images too; images of two folders belong together where their paths below them \
         are equal",
        About { otherwise: Some("the folders themselves"), ..DATA };
    "val-source" val_source: PathBuf, checks::any,
        "Inputs for validation (8 of them, spread evenly, at each checkpoint); with ⟨images⟩ or ⟨pairs⟩, images like \
         those",
        About { value_name: "PATH", ..DATA };
    "val-target" val_target: PathBuf, checks::any,
        "Colour images that belong to ⟨val-source⟩",
        About { value_name: "PATH", ..DATA };
    "band" band: usize, checks::some,
        "Band of a multi-band source, from 1",
        About {
            value_name: "N",
            otherwise: Some("the only one, or the luma of three; {all-bands}: all"),
            conflicts: &["bands"],
            displaces: &["band", "bands", "ratio"],
            ..DATA
        };
    "bands" bands: String, checks::bands,
        "Bands of a multi-band source that are read together, e.g. 1,2 for VV and VH; a kept lightness is that of the \
         first",
        About {
            value_name: "N,N,...",
            otherwise: Some("see ⟨band⟩"),
            of_some: true,
            settled: true,
            conflicts: &["band"],
            displaces: &["band", "bands"],
            ..DATA
        };
    "ratio" ratio: bool, checks::any,
        "Read one more band of the source: the ratio of the first two of ⟨bands⟩ in dB, their difference where values \
         are in dB",
        About { otherwise: Some("the bands alone"), of_some: true, settled: true, ..DATA };
    "target-bands" target_bands: String, checks::bands,
        "Bands of multi-band targets in the order of the output, e.g. 3,2,1 for red, green and blue of BGR",
        About { value_name: "N,N,...", otherwise: Some("all"), settled: true, ..DATA };
    "stretch" stretch: String, checks::stretch,
        "How source values become 0 to 1: LO,HI, percentile:P over each scene or image, db:LO,HI of intensities, \
         db-amplitude:LO,HI, \
         or none; with slashes between, one for each band",
        About {
            value_name: "HOW",
            otherwise: Some("by the type's range; files in a place on Earth of more than 8 bits percentile:2"),
            settled: true,
            hyphens: true,
            ..DATA
        };
    "target-stretch" target_stretch: String, checks::stretch,
        "The same of targets",
        About { value_name: "HOW", settled: true, hyphens: true, ..DATA };
    "despeckle" despeckle: String, checks::despeckle,
        "Take speckle off sources before, in the values of the file: lee:N, a window of NxN pixels, lee:N,LOOKS, or \
         none; several with slashes between, e.g. none/lee:5/lee:15, are read side by side, of ⟨bands⟩ or else of one \
         band",
        About { value_name: "HOW", otherwise: Some("none"), settled: true, ..DATA };
    "zero-border" zero_border: String, checks::zero_border,
        "What zeros at the border of sources mean: keep, what they say; nodata, no data; auto, no data in radar scenes \
         (one or two bands of floats or 16 bits in a place on Earth) that mark none",
        About { value_name: "HOW", otherwise: Some("auto"), settled: true, ..DATA };
    "looks" looks: String, checks::looks,
        "Of several dates, scenes or folders with commas between as ⟨source⟩: mean, their mean in linear scale, or \
         bands, the bands of all dates",
        About { value_name: "HOW", otherwise: Some("mean"), settled: true, ..DATA };
    "lightness" lightness: String, checks::lightness,
        "Lightness of what is coloured: input, or despeckle, the input without speckle, matched to the lightness of \
         the training's targets",
        About { value_name: "WHICH", otherwise: Some("input"), of_some: true, ..DATA };
    "size" size: usize = 256usize, checks::some,
        "Side of the square crop in pixels; {sizes}",
        About { value_name: "S", ..DATA };
    "no-shuffle" no_shuffle: bool = false, checks::any,
        "Take the files in name order",
        About { otherwise: Some("a new order in each epoch"), ..DATA };
    "no-augment" no_augment: bool = false, checks::any,
        "Take the centre of each image",
        About { otherwise: Some("random crops, or ⟨patches⟩, turned at random as ⟨augment⟩ says"), ..DATA };
    "augment" augment: String = Turns::Mirrors.to_string(), checks::augment,
        "How random crops are turned: mirror, left-right and up-down; rotate, one mirror or rotation of six; dihedral, \
         all eight turns of a square, for images that have no up",
        About { value_name: "HOW", ..DATA };
    "patches" patches: usize, checks::patches,
        "Fixed patches in all, one epoch, spread over the images",
        About { value_name: "N", of_some: true, ..DATA };
    "min-distance" min_distance: usize, checks::any,
        "Least squared distance between two patches' origins, lowered where there is no place left",
        About { value_name: "PIXELS", of_some: true, ..DATA };

    "steps" steps: u64, checks::positive,
        "Updates in all",
        About {
            value_name: "N",
            otherwise: Some("those of ⟨epochs⟩"),
            conflicts: &["epochs"],
            displaces: &["steps", "epochs"],
            ..TRAINING
        };
    "epochs" epochs: u64 = 100u64, checks::positive,
        "Passes over the data, instead of ⟨steps⟩",
        About { value_name: "N", displaces: &["steps", "epochs"], ..TRAINING };
    "batch" batch: usize, checks::some,
        "Images a batch",
        About { value_name: "N", ..TRAINING };
    "lr" lr: f64, checks::above_zero,
        "Learning rate",
        TRAINING;
    "lr-d" lr_d: f64, checks::above_zero,
        "Learning rate of the discriminator, on the same schedule",
        About { otherwise: Some("that of ⟨lr⟩"), of_some: true, ..GAN };
    "lr-schedule" lr_schedule: String = "constant", checks::schedule,
        "constant, cosine or linear-after:N",
        About { value_name: "SCHEDULE", ..TRAINING };
    "lr-warmup" lr_warmup: u64 = 0u64, checks::any,
        "Updates at the start in which the learning rate rises from near 0 to its schedule",
        About { value_name: "N", ..TRAINING };
    "optimizer" optimizer: String = "adam", checks::optimizer,
        "adam or sgd (momentum 0.9)",
        About { value_name: "RULE", ..TRAINING };
    "beta1" beta1: f64, checks::below_one,
        "Adam's decay of the first moment",
        TRAINING;
    "beta2" beta2: f64, checks::below_one,
        "Adam's decay of the second moment",
        TRAINING;
    "adam-eps" adam_eps: f64 = 1e-8, checks::above_zero,
        "Added to the square root of Adam's second moment",
        TRAINING;
    "weight-decay" weight_decay: f64 = 0.0, checks::not_negative,
        "Decoupled decay of kernels",
        TRAINING;
    "l2" l2: f64 = 0.0, checks::not_negative,
        "Penalty on the squares of kernels",
        TRAINING;
    "ema" ema: f64, checks::below_one,
        "Inference, validation and samples use weights averaged over updates: what an update leaves of the average, \
         e.g. 0.999",
        About { otherwise: Some("the weights as they are"), settled: true, ..TRAINING };
    "freeze" freeze: String, checks::any,
        "Parameters that do not learn, by name: with commas between, * stands for any text, e.g. the first layers of \
         ⟨init⟩",
        About { value_name: "PATTERN", otherwise: Some("none"), settled: true, ..TRAINING };
    "seed" seed: u64 = 0u64, checks::any,
        "Seed of weights, order and crops",
        About { value_name: "N", ..TRAINING };

    "width" width: f64 = 1.0, checks::width,
        "Multiplier of every layer's channels",
        About { value_name: "F", of_some: true, settled: true, ..NETWORK };
    "init" init: WeightsName, checks::any,
        "Start from these weights, a file or the name of some that come along; bins, prior and slope are taken from \
         there",
        About {
            value_name: "FILE|NAME",
            settled: true,
            displaces: &["bins", "width", "leaky-slope", "up", "input-channels"],
            ..NETWORK
        };
    "bins" bins: String, checks::bins,
        "Colour bins: grid, gamut or kmeans:K",
        About {
            value_name: "BINS",
            of_some: true,
            settled: true,
            conflicts: &["init"],
            displaces: &["init"],
            ..CLASSIFICATION
        };
    "bin-width" bin_width: u32, checks::bin_width,
        "Side of a grid cell in ab units",
        About { value_name: "N", of_some: true, settled: true, ..CLASSIFICATION };
    "lambda" lambda: f32, checks::share,
        "Share of the uniform prior in the class weights",
        About { of_some: true, ..CLASSIFICATION };
    "sigma" sigma: f32, checks::above_zero,
        "Width of the soft encoding and of the prior's smoothing, ab units",
        About { of_some: true, ..CLASSIFICATION };
    "prior-smoothing" prior_smoothing: String, checks::smoothing,
        "How the prior is smoothed: ab, index or none",
        About { value_name: "HOW", of_some: true, settled: true, ..CLASSIFICATION };
    "predict-lightness" predict_lightness: bool, checks::any,
        "Learn the lightness of the targets too, for SAR, whose grey value is not a lightness",
        About {
            otherwise: Some("images keep the lightness of their source"),
            of_some: true,
            settled: true,
            conflicts: &["lightness"],
            ..CLASSIFICATION
        };
    "lambda-l" lambda_l: f32, checks::not_negative,
        "Weight of the mean distance of L / 100 in the loss with ⟨predict-lightness⟩",
        About { of_some: true, ..CLASSIFICATION };

    "lambda-l1" lambda_l1: f32, checks::not_negative,
        "Weight of the mean distance from the target in the generator's loss",
        About { value_name: "F", of_some: true, ..GAN };
    "l1-scales" l1_scales: usize, checks::some,
        "Scales that the distance from the target is the mean over, each of half the size of the one before",
        About { value_name: "N", otherwise: Some("1, the pixels alone"), of_some: true, ..GAN };
    "gradient-share" gradient_share: f32, checks::not_negative,
        "Weight, beside the distance from the target, of that of the differences of neighbours: edges",
        About { value_name: "F", otherwise: Some("0"), of_some: true, ..GAN };
    "lambda-mse" lambda_mse: f32, checks::not_negative,
        "Weight of the mean squared error at the start, which falls to a tenth by half of the training",
        About { value_name: "F", of_some: true, ..GAN };
    "d-l2" d_l2: f64, checks::not_negative,
        "Penalty on the squares of the discriminator's kernels",
        About { value_name: "F", of_some: true, ..GAN };
    "dropout" dropout: f32, checks::below_one,
        "Share of values that dropout takes, 0 for none",
        About { value_name: "SHARE", of_some: true, ..GAN };
    "leaky-slope" leaky_slope: f32, checks::above_zero,
        "Slope of the leaky ReLU below 0",
        About { value_name: "F", of_some: true, settled: true, ..GAN };
    "up" up: String, checks::up,
        "How the generator doubles height and width: transposed, a transposed convolution, or resize, enlargement and \
         convolution, which leaves no grid",
        About { value_name: "HOW", of_some: true, settled: true, ..NETWORK };
    "input-channels" input_channels: usize, checks::some,
        "Channels that the grey input is repeated to",
        About { value_name: "N", of_some: true, settled: true, ..GAN };

    "preset" preset: String, checks::any,
        "Settings that won for a task, as defaults: {presets}; what is given beside it wins",
        About {
            value_name: "NAME",
            otherwise: Some("those of the published network"),
            of_some: true,
            settled: true,
            ..RUN
        };
    "checkpoint-every" checkpoint_every: u64 = 500u64, checks::positive,
        "Updates between checkpoints",
        About { value_name: "N", ..RUN };
    "keep" keep: usize = 3usize, checks::some,
        "Checkpoints that stay",
        About { value_name: "N", ..RUN };
    "sample-every" sample_every: u64 = 500u64, checks::any,
        "Updates between sample images, 0 for the last only",
        About { value_name: "N", ..RUN };
    "tensorboard" tensorboard: bool = false, checks::events,
        "Write an event file for TensorBoard too: losses, rates, figures of validation, sample images",
        About { otherwise: Some("metrics.jsonl alone"), ..RUN };
    "device" device: String, checks::any,
        "Where to compute: auto, cpu, gpu, gpu:NUMBER or gpu:NAME, as `huetape doctor ⟨list⟩` lists them",
        About { otherwise: Some("HUETAPE_DEVICE, else auto"), ..DEVICE };
    "precision" precision: String, checks::precision,
        "In what convolutions multiply on a GPU, f32 or f16: f16 is for cards with matrix units, keeps f32 for what is \
         stored and summed, and scales the loss of a training so that small gradients stay",
        About { value_name: "TYPE", otherwise: Some("f32"), ..DEVICE };
    "memory" memory: String, checks::any,
        "Most memory that buffers may take on the device, e.g. 6G",
        About { value_name: "SIZE", otherwise: Some("no cap"), ..DEVICE };
    "recompute" recompute: bool = false, checks::any,
        "Keep some activations of a step and compute the others again for the gradients: less memory, more time, the \
         same weights",
        About { otherwise: Some("keep them all"), displaces: &["activations"], ..DEVICE };
    "activations" activations: String, checks::precision,
        "Type in which a training keeps activations for the gradients, f32 or f16: f16 takes less memory, on any \
         device, and changes most gradients by about a two-thousandth",
        About { value_name: "TYPE", otherwise: Some("f32"), displaces: &["recompute"], ..DEVICE };
    "threads" threads: usize, checks::any,
        "Threads of the CPU device and of loading",
        About { value_name: "N", otherwise: Some("one per core"), ..DEVICE };
    "body" body: String, checks::bodies,
        "Body of a kernel to run on a GPU, as `huetape kernels list` has them, e.g. conv2d=quads; again for others",
        About {
            value_name: "KERNEL=BODY", otherwise: Some("HUETAPE_BODY, else what suits the GPU"), repeats: true,
            ..DEVICE
        };
}
