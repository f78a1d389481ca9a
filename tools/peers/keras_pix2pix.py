#!/usr/bin/env python3
"""pix2pix in plain Keras, to hold huetape's training and colouring to: same weights, same batches, same numbers?

  make DIR                    writes DIR/init.safetensors and PNGs in DIR/source and DIR/target, to try it with
  run DIR [--device gpu]      three steps of huetape and of Keras on them, then both colour the sources with what they trained; prints the
                              largest relative difference of each loss, and how far the pictures are apart; exit code 1 beyond 3e-4
                              or where fewer than 99 % of the values are within 2/255. DIR/huetape-DEVICE is made anew

Keras runs in f32 and in f64; the difference of the two says what rounding alone makes of the losses. Batches of one picture of 256x256, no dropout.
Needs tensorflow-cpu, safetensors, pillow, and huetape (`cargo build --release`).
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from PIL import Image

DOWN = [64, 128, 256, 512, 512, 512, 512, 512]
UP = [512, 512, 512, 512, 256, 128, 64]
PATCH = [64, 128, 256, 512]
DROPOUTS, SLOPE, LAMBDA_L1, SIZE = 3, 0.3, 100.0, 256
LOSSES = ("g_loss", "d_loss", "l1")


# Networks -------------------------------------------------------------------------------------------------------------


def scaled(channels, width):
    return max(4, 4 * int(channels * width / 4 + 0.5))


def generator(width, dropout=0.0, channels_in=1):
    """Layers are named as huetape names its tensors (with _ for .)."""
    import keras
    from keras import layers

    x = source = keras.Input((None, None, channels_in))
    skips = []
    for k, n in enumerate(DOWN, 1):
        x = layers.Conv2D(scaled(n, width), 4, 2, padding="same", use_bias=False, name=f"g_down{k}")(x)
        if k > 1:
            x = layers.BatchNormalization(name=f"g_down{k}_bn")(x)
        x = layers.LeakyReLU(negative_slope=SLOPE)(x)
        skips.append(x)
    skips.pop()
    for k, n in enumerate(UP, 1):
        x = layers.Conv2DTranspose(scaled(n, width), 4, 2, padding="same", use_bias=False, name=f"g_up{k}")(x)
        x = layers.BatchNormalization(name=f"g_up{k}_bn")(x)
        if k <= DROPOUTS and dropout:
            x = layers.Dropout(dropout)(x)
        x = layers.Concatenate()([layers.ReLU()(x), skips.pop()])
    return keras.Model(source, layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh", name="g_out")(x))


def discriminator(width, channels_in=1):
    import keras
    from keras import layers

    inputs = [keras.Input((None, None, channels)) for channels in (channels_in, 3)]
    x = layers.Concatenate()(inputs)
    for k, n in enumerate(PATCH, 1):
        stride, padding = (2, "same") if k < len(PATCH) else (1, "valid")
        if padding == "valid":
            x = layers.ZeroPadding2D()(x)
        x = layers.Conv2D(scaled(n, width), 4, stride, padding=padding, use_bias=False, name=f"d_conv{k}")(x)
        if k > 1:
            x = layers.BatchNormalization(name=f"d_conv{k}_bn")(x)
        x = layers.LeakyReLU(negative_slope=SLOPE)(x)
    return keras.Model(inputs, layers.Conv2D(1, 4, name="d_out")(layers.ZeroPadding2D()(x)))


def losses(g, d, source, target):
    """-> g_loss, d_loss, l1 of a batch in -1..1, both networks by the batch's own statistics."""
    import tensorflow as tf

    def bce(logits, truth):
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), tf.cast(truth, logits.dtype)), logits))

    fake = g(source, training=True)
    on_real, on_fake = d([source, target], training=True), d([source, fake], training=True)
    l1 = tf.reduce_mean(tf.abs(target - fake))
    return bce(on_fake, 1) + LAMBDA_L1 * l1, bce(on_real, 1) + bce(on_fake, 0), l1


# Files ----------------------------------------------------------------------------------------------------------------


def tensor_names(model):
    """(huetape's name, Keras variable, whether Keras has the last two axes the other way round) for every weight."""
    import keras

    names = {"kernel": "weight", "moving_mean": "mean", "moving_variance": "var"}
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name.replace('_', '.')}.{names.get(variable.name, variable.name)}"
            yield name, variable, isinstance(layer, keras.layers.Conv2DTranspose) and variable.name == "kernel"


def load(path):
    """-> generator, discriminator"""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    width = tensors["g.down4.weight"].shape[-1] / DOWN[3]
    networks = generator(width), discriminator(width)
    for network in networks:
        assign(network, tensors)
    return networks


def assign(model, tensors):
    for name, variable, swapped in tensor_names(model):
        variable.assign(tensors[name].swapaxes(2, 3) if swapped else tensors[name])


def pictures(folder, mode):
    """PNGs in name order as f64 0..1: [files, H, W, 1] for mode "L", [files, H, W, 3] for "RGB"."""
    files = sorted(Path(folder).glob("*.png"))
    if not files:
        raise SystemExit(f"error: no PNG in {folder}: give a folder of PNG files")
    values = np.stack([np.asarray(Image.open(f).convert(mode), np.float64) / 255 for f in files])
    return files, values.reshape(*values.shape[:3], -1)


# Commands -------------------------------------------------------------------------------------------------------------


def make(args):
    import keras
    from safetensors.numpy import save as to_safetensors

    rng = np.random.default_rng(args.seed)
    for name in ("source", "target"):
        (args.dir / name).mkdir(parents=True, exist_ok=True)
    for i in range(args.pictures):
        patches = Image.fromarray(rng.integers(30, 220, (9, 9, 3), dtype=np.uint8)).resize((SIZE, SIZE), Image.BICUBIC)
        target = np.clip(np.asarray(patches) + rng.normal(0, 8, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
        speckle = rng.gamma(4, 0.25, (SIZE, SIZE))
        source = np.clip(target.mean(-1) * speckle, 0, 255).astype(np.uint8)
        Image.fromarray(target).save(args.dir / "target" / f"{i:03}.png")
        Image.fromarray(source).save(args.dir / "source" / f"{i:03}.png")
    g, d = generator(args.width), discriminator(args.width)
    tensors = {}
    for network in (g, d):
        for name, variable, swapped in tensor_names(network):
            value = variable.numpy()  # gamma and variance 1, mean 0
            if name.endswith(".weight"):
                value = rng.normal(0, 0.02, value.swapaxes(2, 3).shape if swapped else value.shape)
            elif name.endswith((".bias", ".beta")):
                value = rng.normal(0, 0.05, value.shape)
            elif name.endswith(".gamma"):
                value = rng.normal(1, 0.02, value.shape)
            tensors[name] = value.astype(np.float32)
    # Running statistics of one picture, so that the pictures to compare have contrast.
    assign(g, tensors)
    for layer in g.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    g(2 * pictures(args.dir / "source", "L")[1][:1].astype(np.float32) - 1, training=True)
    tensors |= {name: variable.numpy() for name, variable, _ in tensor_names(g) if name.endswith((".mean", ".var"))}
    (args.dir / "init.safetensors").write_bytes(to_safetensors(tensors))
    print(f"{args.dir}: {args.pictures} pairs of {SIZE}x{SIZE}, width {args.width}")


def train_keras(precision, args):
    """-> the losses of each step, and the pictures that the trained generator makes of the sources, 0..255."""
    import keras
    import tensorflow as tf

    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    g, d = load(args.dir / "init.safetensors")
    sources, targets = (2 * pictures(args.dir / name, mode)[1] - 1 for name, mode in (("source", "L"), ("target", "RGB")))
    sources, targets = sources.astype(precision), targets.astype(precision)
    optimizers = [keras.optimizers.Adam(args.lr, beta_1=0.5, beta_2=0.999) for _ in "gd"]
    rows = []
    for step in range(args.steps):
        at = [step % len(sources)]
        with tf.GradientTape(persistent=True) as tape:
            values = losses(g, d, tf.constant(sources[at]), tf.constant(targets[at]))
        # Both gradients come from the same passes, so both are taken before either network steps.
        updates = [(tape.gradient(loss, network.trainable_variables), network) for loss, network in zip(values, (g, d))]
        for (gradients, network), optimizer in zip(updates, optimizers):
            # Keras adds epsilon to the root of the moment before its bias is corrected, huetape after.
            optimizer.epsilon = 1e-8 * (1 - 0.999 ** (step + 1)) ** 0.5
            optimizer.apply_gradients(zip(gradients, network.trainable_variables))
        rows.append({name: float(value) for name, value in zip(LOSSES, values)})
    # The innermost batch norm saw one value a channel, so beta is all that it ever put out.
    bottom = g.get_layer(f"g_down{len(DOWN)}_bn")
    bottom.gamma.assign(np.zeros(bottom.gamma.shape))
    made = [127.5 * (g(source[None], training=False).numpy()[0].astype(np.float64) + 1) for source in sources]
    return rows, np.round(np.clip(made, 0, 255))


def train_huetape(args):
    """The same by the program, through its command line."""
    out = args.dir / f"huetape-{args.device}"
    shutil.rmtree(out, ignore_errors=True)

    def huetape(*command):
        done = subprocess.run([args.huetape, *map(str, command)], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr.strip() or f"error: {args.huetape} {command[0]}: exit code {done.returncode}")

    data = ["--source", args.dir / "source", "--target", args.dir / "target", "--init", args.dir / "init.safetensors"]
    plain = ["--no-shuffle", "--no-augment", "--dropout", 0, "--batch", 1, "--size", SIZE, "--device", args.device]
    huetape("train", "pix2pix", *data, *plain, "--steps", args.steps, "--lr", args.lr, "--out", out / "run")
    huetape("colorize", args.dir / "source", "--run", out / "run", "--out", out / "pictures", "--overwrite",
            "--device", args.device)
    rows = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    return rows, 255 * pictures(out / "pictures", "RGB")[1]


def gap(a, b, name):
    return max(abs(x[name] - y[name]) / abs(y[name]) for x, y in zip(a, b, strict=True))


def run(args):
    if not Path(args.huetape).is_file():
        raise SystemExit(f"error: {args.huetape}: not there: build it with `cargo build --release`")
    ours, our_pictures = train_huetape(args)
    theirs, their_pictures = train_keras("float32", args)
    exact, _ = train_keras("float64", args)
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
        print(f"step {step}  " + "  ".join(f"{name} {a[name]:.6f} keras {b[name]:.6f}" for name in LOSSES))
    print(f"largest relative difference on {args.device} over {args.steps} steps:")
    for name in LOSSES:
        print(f"  {name:6} {gap(ours, theirs, name):.1e} from Keras in f32, {gap(ours, exact, name):.1e} from f64; "
              f"Keras f32 from f64 {gap(theirs, exact, name):.1e}")
    difference = np.abs(our_pictures - their_pictures)
    share = (difference < 2.5).mean()
    print(f"pictures by running statistics: within 2/255 {100 * share:.3f} %, identical {100 * (difference < 0.5).mean():.2f} %, "
          f"largest {difference.max():.0f}/255; they range over {their_pictures.min():.0f}..{their_pictures.max():.0f}")
    ok = share >= 0.99 and all(gap(ours, theirs, name) <= 3e-4 for name in LOSSES)
    print("agrees" if ok else "DIFFERS")
    raise SystemExit(0 if ok else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("make")
    p.add_argument("dir", type=Path)
    p.add_argument("--width", type=float, default=0.125)
    p.add_argument("--pictures", type=int, default=4)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(do=make)
    p = commands.add_parser("run")
    p.add_argument("dir", type=Path)
    p.add_argument("--device", default="cpu")
    p.add_argument("--huetape", default="target/release/huetape", help="the release binary")
    p.add_argument("--lr", type=float, default=2e-4)
    p.add_argument("--steps", type=int, default=3)
    p.set_defaults(do=run)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
