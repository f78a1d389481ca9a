#!/usr/bin/env python3
"""ColourNet in plain Keras (f32, TensorFlow), to hold huetape's training and colouring to: same weights, same batches, same numbers?

  make DIR               writes DIR/init.safetensors and PNGs in DIR/source and DIR/target, to try it with
  run DIR --lr 1e-6      trains five steps on them and colours the sources: DIR/keras/losses.json, DIR/keras/initial/*.png
                         (with the weights of init.safetensors) and DIR/keras/trained/*.png (after the steps)
  compare DIR --run RUN [--initial PICTURES] [--trained PICTURES]
                         what huetape made beside that; exit code 1 if it is further off than 1e-4 or 2/255 on 99 %

The huetape side of it, --lr and --batch as given to `run`:

  huetape train colournet --source DIR/source --target DIR/target --init DIR/init.safetensors --out RUN \
      --steps 5 --batch 2 --size 64 --width 0.25 --no-shuffle --no-augment --lr 1e-6
  huetape colorize DIR/source --weights DIR/init.safetensors --out PICTURES
  huetape colorize DIR/source --run RUN --out PICTURES

Needs tensorflow-cpu, safetensors, pillow. Keras adds Adam's epsilon to the uncorrected sqrt(v) where huetape adds it to the corrected one,
so gradients near 1e-8 would move differently; at a small learning rate that is below rounding.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from PIL import Image

FILTERS = [64, 128, 256, 512, 512, 512, 256, 128]
STRIDES = [(1, 2), (1, 2), (1, 1, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)]
LAMBDA, SIGMA, TEMPERATURE, LOG_EPS = 0.5, 5.0, 0.38, 1e-4


# Model ----------------------------------------------------------------------------------------------------------------


def build(filters, q):
    """`filters`: channels of the eight blocks. Layers are named as huetape names its tensors (with _ for .)."""
    import keras
    from keras import layers

    x = source = keras.Input((None, None, 1))
    for block, (n, strides) in enumerate(zip(filters, STRIDES), 1):
        if block == 8:
            x = layers.UpSampling2D(2)(x)
        for i, stride in enumerate(strides, 1):
            x = layers.Conv2D(n, 3, stride, padding="same", dilation_rate=2 if block in (5, 6) else 1, activation="relu",
                              kernel_initializer="he_normal", name=f"conv{block}_{i}")(x)
        x = layers.BatchNormalization(name=f"bn{block}")(x)
    x = layers.Conv2D(q, 1, activation="softmax", kernel_initializer="he_normal", name="out")(x)
    return keras.Model(source, layers.UpSampling2D(4, interpolation="bilinear")(x))


def tensor_names(model):
    """(huetape's name, Keras variable) for every weight."""
    names = {"kernel": "weight", "moving_mean": "mean", "moving_variance": "var"}
    for layer in model.layers:
        for variable in layer.weights:
            yield f"{layer.name}.{names.get(variable.name, variable.name)}", variable


def load(path):
    """-> (model, bins [Q, 2], prior [Q])"""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    model = build([tensors[f"conv{b}_1.weight"].shape[-1] for b in range(1, 9)], len(tensors["prior"]))
    for name, variable in tensor_names(model):
        variable.assign(tensors[name])
    return model, tensors["bins"], tensors["prior"]


# Colour ---------------------------------------------------------------------------------------------------------------

MATRIX = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1, 1.08883])


def rgb_to_lab(rgb):
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    t = linear @ MATRIX.T / WHITE
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def lab_to_rgb8(lab):
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(MATRIX).T, 0, 1)
    return np.round(255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)).astype(np.uint8)


def soft_encode(ab, bins):
    """ab [..., 2] -> dense [..., Q]: the five nearest centres by a Gaussian, sum 1."""
    d2 = ((ab[..., None, :] - bins) ** 2).sum(-1)
    nearest = np.argsort(d2, -1, kind="stable")[..., :5]
    d2 = np.take_along_axis(d2, nearest, -1)
    weight = np.exp((d2[..., :1] - d2) / (2 * SIGMA**2))
    dense = np.zeros(ab.shape[:-1] + (len(bins),))
    np.put_along_axis(dense, nearest, weight / weight.sum(-1, keepdims=True), -1)
    return dense


# Files ----------------------------------------------------------------------------------------------------------------


def pictures(folder, mode):
    """PNGs in name order as f64 0..1: [files, H, W] for mode "L", [files, H, W, 3] for "RGB"."""
    files = sorted(Path(folder).glob("*.png"))
    if not files:
        raise SystemExit(f"error: no PNG in {folder}: give a folder of PNG files")
    return files, np.stack([np.asarray(Image.open(f).convert(mode), np.float64) / 255 for f in files])


def colour(model, bins, files, grey, folder):
    """Inference with running statistics; lightness from the source, ab by the annealed mean."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, picture in zip(files, grey):
        zhat = model(picture[None, ..., None].astype(np.float32) - 0.5, training=False).numpy()[0].astype(np.float64)
        sharp = np.exp((np.log(zhat) - np.log(zhat.max(-1, keepdims=True))) / TEMPERATURE)
        ab = sharp @ bins / sharp.sum(-1, keepdims=True)
        Image.fromarray(lab_to_rgb8(np.concatenate([100 * picture[..., None], ab], -1))).save(folder / file.name)


# Commands -------------------------------------------------------------------------------------------------------------


def make(args):
    import keras
    from safetensors.numpy import save as to_safetensors

    rng = np.random.default_rng(args.seed)
    keras.utils.set_random_seed(args.seed)
    for name in ("source", "target"):
        (args.dir / name).mkdir(parents=True, exist_ok=True)
    targets, sources = [], []
    for i in range(args.pictures):
        patches = Image.fromarray(rng.integers(30, 220, (5, 5, 3), dtype=np.uint8)).resize((args.size, args.size), Image.BICUBIC)
        target = np.clip(np.asarray(patches) + rng.normal(0, 8, (args.size, args.size, 3)), 0, 255).astype(np.uint8)
        lightness = rgb_to_lab(target / 255)[..., 0] * 2.55
        source = np.clip(lightness + rng.normal(0, 20, lightness.shape), 0, 255).astype(np.uint8)
        Image.fromarray(target).save(args.dir / "target" / f"{i:03}.png")
        Image.fromarray(source).save(args.dir / "source" / f"{i:03}.png")
        targets.append(target / 255), sources.append(source / 255)

    ab = rgb_to_lab(np.stack(targets))[..., 1:].reshape(-1, 2)
    bins = np.unique(np.floor(ab / 10), axis=0) * 10 + 5  # centres of the occupied cells
    share = soft_encode(ab, bins).mean(0)
    prior = np.exp(-((bins[:, None] - bins) ** 2).sum(-1) / (2 * SIGMA**2)) @ share
    model = build([max(4, 4 * int(n * args.width / 4 + 0.5)) for n in FILTERS], len(bins))
    for name, variable in tensor_names(model):
        if name.endswith((".bias", ".beta")):
            variable.assign(rng.normal(0, 0.05, variable.shape))
        elif name.endswith(".gamma"):
            variable.assign(rng.uniform(0.8, 1.2, variable.shape))
    norms = [layer for layer in model.layers if layer.name.startswith("bn")]
    for layer in norms:
        layer.momentum = 0.0  # so that one pass sets the running statistics to those of the pictures
    model(np.stack(sources)[..., None].astype(np.float32) - 0.5, training=True)
    tensors = {name: variable.numpy() for name, variable in tensor_names(model)}
    tensors |= {"bins": bins.astype(np.float32), "prior": (prior / prior.sum()).astype(np.float32)}
    (args.dir / "init.safetensors").write_bytes(to_safetensors(tensors))
    print(f"{args.dir}: {args.pictures} pairs of {args.size}x{args.size}, width {args.width}, {len(bins)} bins")


def run(args):
    import keras
    import tensorflow as tf

    model, bins, prior = load(args.dir / "init.safetensors")
    files, grey = pictures(args.dir / "source", "L")
    _, targets = pictures(args.dir / "target", "RGB")
    out = args.dir / "keras"
    colour(model, bins, files, grey, out / "initial")

    weights = 1 / ((1 - LAMBDA) * prior.astype(np.float64) + LAMBDA / len(prior))
    weights /= (prior * weights).sum()
    optimizer = keras.optimizers.Adam(args.lr, beta_1=0.9, beta_2=0.99, epsilon=1e-8)
    losses = []
    for step in range(args.steps):
        batch = [(step * args.batch + i) % len(files) for i in range(args.batch)]
        z = soft_encode(rgb_to_lab(targets[batch])[..., 1:], bins)
        weighted = (z * weights[z.argmax(-1)][..., None]).astype(np.float32)
        with tf.GradientTape() as tape:
            zhat = model(grey[batch][..., None].astype(np.float32) - 0.5, training=True)
            loss = -tf.reduce_mean(tf.reduce_sum(weighted * tf.math.log(zhat + LOG_EPS), -1))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        losses.append(float(loss))
        print(f"step {step + 1}  loss {losses[-1]:.7f}")
    (out / "losses.json").write_text(json.dumps(losses) + "\n")
    colour(model, bins, files, grey, out / "trained")
    print(f"pictures in {out}/initial and {out}/trained")


def compare(args):
    ok = True
    if args.run:
        ours = [json.loads(line)["loss"] for line in (args.run / "metrics.jsonl").read_text().splitlines()]
        for step, (a, b) in enumerate(zip(ours, json.loads((args.dir / "keras/losses.json").read_text()), strict=True), 1):
            gap = abs(a - b) / abs(b)
            ok &= gap <= 1e-4
            print(f"step {step}  huetape {a:.7f}  keras {b:.7f}  relative difference {gap:.1e}")
    for name in ("initial", "trained"):
        if folder := getattr(args, name):
            files, theirs = pictures(args.dir / "keras" / name, "RGB")
            missing = [f.name for f in files if not (folder / f.name).is_file()]
            if missing:
                raise SystemExit(f"error: no {missing[0]} in {folder}: colour every file of {args.dir / 'source'} into it")
            ours = np.stack([np.asarray(Image.open(folder / f.name).convert("RGB"), np.float64) / 255 for f in files])
            difference = np.abs(ours - theirs) * 255
            share = (difference < 2.5).mean()
            ok &= share >= 0.99
            print(f"{name} pictures  within 2/255: {100 * share:.3f} %  identical: {100 * (difference < 0.5).mean():.2f} %  "
                  f"largest {difference.max():.0f}/255")
    print("agrees" if ok else "DIFFERS")
    raise SystemExit(0 if ok else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("make")
    p.add_argument("dir", type=Path)
    p.add_argument("--width", type=float, default=0.25)
    p.add_argument("--size", type=int, default=64)
    p.add_argument("--pictures", type=int, default=8)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(do=make)
    p = commands.add_parser("run")
    p.add_argument("dir", type=Path)
    p.add_argument("--lr", type=float, default=1e-6)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--batch", type=int, default=2)
    p.set_defaults(do=run)
    p = commands.add_parser("compare")
    p.add_argument("dir", type=Path)
    p.add_argument("--run", type=Path, help="huetape's run folder")
    p.add_argument("--initial", type=Path, help="pictures coloured with DIR/init.safetensors")
    p.add_argument("--trained", type=Path, help="pictures coloured with the run")
    p.set_defaults(do=compare)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
