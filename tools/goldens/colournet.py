#!/usr/bin/env python3
"""Golden training run of a reduced ColourNet: ten steps in f64, and how far the same steps drift in f32.

Writes to tests/goldens/:
  colournet_init.safetensors   initial weights, `bins` and `prior`, under huetape's names
  colournet_batch.safetensors  inputs, and results that are tensors:
      source0, source1  [N, H, W, 1]  grey 0..1; the network reads source - 0.5. Step k (from 1) takes batch (k - 1) % 2
      target0, target1  [N, H, W, 3]  sRGB 0..1
      grad.NAME         gradient of step 1 for some parameters
      ab                [N, H, W, 2]  batch 0 decoded by the annealed mean, running statistics, after the last step
  colournet_steps.json         losses (each before its update), tolerances, sums of every tensor after the last step
"""

import json
import math
from pathlib import Path

from reference import *

OUT = Path(__file__).resolve().parents[2] / "tests" / "goldens"
WIDTH, SIZE, BATCH, Q, STEPS = 0.0625, 32, 2, 20, 10
SEED = 17  # of 1 to 19, the run that rounding disturbs least
LR, BETA1, BETA2, ADAM_EPS = 1e-4, 0.9, 0.99, 1e-8
KEPT_GRADIENTS = ["conv1_1.weight", "conv1_1.bias", "conv1_2.weight", "conv2_2.weight", "bn1.gamma", "bn1.beta", "conv5_2.weight",
                  "bn6.gamma", "conv8_1.weight", "conv8_3.bias", "bn8.beta", "out.weight", "out.bias"]

# Per block: (filters at width 1, stride of each convolution, dilation, upsample first).
BLOCKS = [(64, (1, 2), 1, False), (128, (1, 2), 1, False), (256, (1, 1, 2), 1, False), (512, (1, 1, 1), 1, False),
          (512, (1, 1, 1), 2, False), (512, (1, 1, 1), 2, False), (256, (1, 1, 1), 1, False), (128, (1, 1, 1), 1, True)]


def channels(filters):
    return max(4, 4 * math.floor(filters * WIDTH / 4 + 0.5))


def forward(p, source, training):
    """-> (low-resolution logits, the updated running statistics). `p` maps names to tensors."""
    x, statistics = source - 0.5, {}  # l = (L - 50) / 100 with L = 100 * source
    for b, (_, strides, dilation, upsample) in enumerate(BLOCKS, 1):
        x = upsample_nearest(x) if upsample else x
        for c, stride in enumerate(strides, 1):
            x = conv2d(x, p[f"conv{b}_{c}.weight"], p[f"conv{b}_{c}.bias"], stride, dilation, relu=True)
        norm = [p[f"bn{b}.{part}"] for part in ("gamma", "beta", "mean", "var")]
        if training:
            x, statistics[f"bn{b}.mean"], statistics[f"bn{b}.var"] = batch_norm_train(x, *norm)
        else:
            x = batch_norm_infer(x, *norm)
    return conv2d(x, p["out.weight"], p["out.bias"]), statistics


def make_targets(rng):
    """Two batches of smooth colour patches [2, N, H, W, 3], with noise. 8-bit values, as a picture would have."""
    coarse = rng.uniform(0, 1, (2 * BATCH, 5, 5, 3))
    coarse = 0.6 * coarse.mean(-1, keepdims=True) + 0.4 * coarse  # muted: Q cells of the grid hold most of it
    smooth = tf.image.resize(coarse, (SIZE, SIZE), "bicubic").numpy()
    noisy = np.clip(smooth + rng.normal(0, 0.04, smooth.shape), 0, 1)
    return (np.round(noisy * 255) / 255).astype(np.float32).reshape(2, BATCH, SIZE, SIZE, 3)


def off_ties(targets, bins, rng):
    """Redraws pixels whose nearest or five nearest centres are nearly a tie: f32 and f64 must choose the same bins."""
    while True:
        ab = srgb_to_lab(targets.astype(np.float64), np)[..., 1:]
        d = np.sort(squared_distances(ab, bins.astype(np.float64)).numpy(), -1)
        tied = np.minimum(d[..., 1] - d[..., 0], d[..., NEIGHBOURS] - d[..., NEIGHBOURS - 1]) < 0.01
        if not tied.any():
            return targets
        step = rng.integers(-3, 4, (int(tied.sum()), 3)) / np.float32(255)
        targets[tied] = np.clip(targets[tied] + step, 0, 1).astype(np.float32)


def make_bins(targets):
    """The Q fullest cells of a 10-wide grid over ab, by their centres, in order of (a, b)."""
    ab = srgb_to_lab(targets.astype(np.float64), np)[..., 1:].reshape(-1, 2)
    cells, count = np.unique(np.floor(ab / 10).astype(int), axis=0, return_counts=True)
    chosen = cells[np.argsort(-count, kind="stable")[:Q]]
    return (chosen[np.lexsort(chosen.T[::-1])] * 10 + 5).astype(np.float32)


def make_prior(targets, bins):
    """Soft counts of the targets, smoothed by a Gaussian in the ab plane; sum 1."""
    bins = bins.astype(np.float64)
    index, weight = soft_encode(srgb_to_lab(targets.astype(np.float64), np)[..., 1:], bins)
    p = np.bincount(index.numpy().ravel(), weight.numpy().ravel(), minlength=Q)
    p = np.exp(-squared_distances(bins, bins).numpy() / (2 * SIGMA**2)) @ p
    return (p / p.sum()).astype(np.float32)


def widest_gap(z):
    """The middle of the widest gap between neighbouring values of z, among its middle 40 %."""
    z = np.sort(z, axis=None)
    middle = z[int(0.3 * z.size) : int(0.7 * z.size) + 1]
    at = np.argmax(np.diff(middle))
    return (middle[at] + middle[at + 1]) / 2


def make_weights(rng, sources):
    """He-normal kernels, batch norms off their identity, running statistics near those of a forward pass.

    Biases keep the run well conditioned, so that f32 can follow it: each channel is active at 30 to 70 % of the places (where
    it is always or never active, gradients are zero but for rounding, and Adam turns rounding into steps of full length), and
    its ReLU bends in the widest gap between values (a value that rounding carries over the bend changes the gradient).
    """
    p, xs = {}, [tf.constant(source - 0.5, tf.float64) for source in sources]
    for b, (filters, strides, dilation, upsample) in enumerate(BLOCKS, 1):
        xs = [upsample_nearest(x) for x in xs] if upsample else xs
        c_out = channels(filters)
        for c, stride in enumerate(strides, 1):
            c_in = xs[0].shape[-1]
            w = rng.normal(0, math.sqrt(2 / (9 * c_in)), (3, 3, c_in, c_out))
            zs = [conv2d(x, w, None, stride, dilation).numpy() for x in xs]
            bias = -np.array([widest_gap(np.stack(zs)[..., o]) for o in range(c_out)])
            p |= {f"conv{b}_{c}.weight": w, f"conv{b}_{c}.bias": bias}
            xs = [tf.nn.relu(z + bias) for z in zs]
        norm = {"gamma": rng.uniform(0.8, 1.2, c_out), "beta": rng.normal(0, 0.1, c_out),
                "mean": xs[0].numpy().mean((0, 1, 2)), "var": xs[0].numpy().var((0, 1, 2))}
        p |= {f"bn{b}.{part}": value for part, value in norm.items()}
        xs = [batch_norm_train(x, **norm)[0] for x in xs]
    p["out.weight"] = rng.normal(0, math.sqrt(2 / xs[0].shape[-1]), (1, 1, xs[0].shape[-1], Q))
    p["out.bias"] = rng.normal(0, 0.05, Q)
    return {k: v.astype(np.float32) for k, v in p.items()}


def train(dtype, init, sources, targets):
    """The ten steps in `dtype` -> (losses, first gradients, tensors after the last step, ab of batch 0)."""
    bins, prior = (tf.constant(init[k], dtype) for k in ("bins", "prior"))
    p = {k: tf.constant(v, dtype) for k, v in init.items() if k not in ("bins", "prior")}
    trained = [k for k in p if not k.endswith((".mean", ".var"))]
    moments = {k: (tf.zeros_like(p[k]), tf.zeros_like(p[k])) for k in trained}
    losses, first = [], None
    for step in range(1, STEPS + 1):
        source, target = (tf.constant(x[(step - 1) % 2], dtype) for x in (sources, targets))
        with tf.GradientTape() as tape:
            tape.watch([p[k] for k in trained])
            logits, statistics = forward(p, source, training=True)
            loss = rebalanced_cross_entropy(logits, srgb_to_lab(target)[..., 1:], bins, prior)
        gradients = dict(zip(trained, tape.gradient(loss, [p[k] for k in trained])))
        first = first or gradients
        losses.append(float(loss))
        for k in trained:
            p[k], *moments[k] = adam(p[k], *moments[k], gradients[k], step, LR, BETA1, BETA2, ADAM_EPS)
        p |= statistics
    logits, _ = forward(p, tf.constant(sources[0], dtype), training=False)
    ab = annealed_mean(logits, bins)
    as_f64 = lambda tensors: {k: v.numpy().astype(np.float64) for k, v in tensors.items()}
    return losses, as_f64(first), as_f64(p), ab.numpy().astype(np.float64)


def disturbed(init, rng):
    """The parameters with the last bits of each changed at random: another rounding of the same run."""
    def change(x):
        return (x * (1 + rng.uniform(-1, 1, x.shape) * 2.0**-22)).astype(np.float32)

    return {k: x if k in ("bins", "prior") else change(x) for k, x in init.items()}


def main():
    rng = np.random.default_rng(SEED)
    targets = make_targets(rng)
    bins = make_bins(targets)
    targets = off_ties(targets, bins, rng)
    # A source that knows something of the target: its lightness with more contrast, and noise.
    lightness = srgb_to_lab(targets.astype(np.float64), np)[..., :1] / 100
    sources = 0.5 + 2 * (lightness - 0.5) + rng.normal(0, 0.15, lightness.shape)
    sources = (np.round(np.clip(sources, 0, 1) * 255) / 255).astype(np.float32)
    init = make_weights(rng, sources) | {"bins": bins, "prior": make_prior(targets, bins)}

    losses, gradients, after, ab = train(tf.float64, init, sources, targets)
    noise = np.random.default_rng(0)
    rounded = [train(tf.float32, start, sources, targets) for start in [init] + [disturbed(init, noise) for _ in range(5)]]
    gaps = [max(abs(r[0][k] - losses[k]) for r in rounded) for k in range(STEPS)]
    steps = {
        "settings": {"width": WIDTH, "size": SIZE, "batch": BATCH, "bins": Q, "lr": LR, "beta1": BETA1, "beta2": BETA2,
                     "adam_eps": ADAM_EPS, "temperature": TEMPERATURE},
        "loss": losses,
        "loss_gap_f32": gaps,
        # Ten times the gap so far (rounding errors do not shrink as training goes on), and never below 4 ulp of the loss.
        "loss_tolerance": [max(10 * max(gaps[: k + 1]), 2**-21 * losses[k]) for k in range(STEPS)],
        "gradient": {
            k: {"max_abs": np.abs(gradients[k]).max(), "gap_f32": max(np.abs(r[1][k] - gradients[k]).max() for r in rounded)}
            for k in KEPT_GRADIENTS
        },
        "ab_gap_f32": max(np.abs(r[3] - ab).max() for r in rounded),
        "after": {
            k: {"sum": x.sum(), "sum_gap": max(abs(r[2][k].sum() - x.sum()) for r in rounded), "moved": np.linalg.norm(x - init[k])}
            for k, x in after.items()
        },
    }
    OUT.mkdir(parents=True, exist_ok=True)
    save(OUT / "colournet_init.safetensors", init)
    batch = {f"source{i}": sources[i] for i in (0, 1)} | {f"target{i}": targets[i] for i in (0, 1)}
    save(OUT / "colournet_batch.safetensors", batch | {f"grad.{k}": gradients[k] for k in KEPT_GRADIENTS} | {"ab": ab})
    (OUT / "colournet_steps.json").write_text(json.dumps(steps, indent=1) + "\n")
    for k in range(STEPS):
        print(f"step {k + 1:2}  loss {losses[k]:.9f}  f32 gap {gaps[k]:.1e}")
    print(f"ab {np.min(ab):.1f}..{np.max(ab):.1f}, f32 gap {steps['ab_gap_f32']:.1e}")


if __name__ == "__main__":
    main()
