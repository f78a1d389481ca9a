"""What every golden training run needs, whatever its network: pictures, weights, and how far f32 drifts from f64."""

import json
import math
from pathlib import Path

from reference import *

OUT = Path(__file__).resolve().parents[2] / "tests" / "goldens"
STEPS = 10


def scaled(filters, width):
    """A layer's channels under the width multiplier."""
    return max(4, 4 * math.floor(filters * width / 4 + 0.5))


# Inputs -----------------------------------------------------------------------------------------------------------------


def eight_bit(x):
    """Values as a picture of 8 bits would have them, f32 in 0..1."""
    return (np.round(np.clip(x, 0, 1) * 255) / 255).astype(np.float32)


def smooth_pictures(rng, count, size):
    """Patches of muted colour that run into each other, with noise: sRGB [count, size, size, 3], f32 in 0..1."""
    coarse = rng.uniform(0, 1, (count, 5, 5, 3))
    coarse = 0.6 * coarse.mean(-1, keepdims=True) + 0.4 * coarse
    smooth = tf.image.resize(coarse, (size, size), "bicubic").numpy()
    return eight_bit(np.clip(smooth + rng.normal(0, 0.04, smooth.shape), 0, 1))


# Weights ----------------------------------------------------------------------------------------------------------------


def he_normal(rng, *shape):
    """Kernels [..., C_in, C_out]: normal with standard deviation sqrt(2 / fan_in)."""
    return rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape)


def widest_gap(z):
    """The middle of the widest gap between neighbouring values of z, among its middle 40 %."""
    z = np.sort(z, axis=None)
    middle = z[int(0.3 * z.size) : int(0.7 * z.size) + 1]
    at = np.argmax(np.diff(middle))
    return (middle[at] + middle[at + 1]) / 2


def calm_bias(z):
    """A bias for each channel of z [..., C] that keeps the run well conditioned, so that f32 can follow it.

    Each channel is active at 30 to 70 % of the places (where it is always or never active, gradients are zero but for rounding,
    and Adam turns rounding into steps of full length), and its ReLU bends in the widest gap between values (a value that
    rounding carries over the bend changes the gradient).
    """
    return -np.array([widest_gap(z[..., channel]) for channel in range(z.shape[-1])])


def unwatched(_name, z):
    """What a network does with a value that is about to meet a bend: nothing."""
    return z


def calm_biases(p, names, forward):
    """Sets the biases of these layers, in the order in which they run. `forward(p, watch)` runs the network on its inputs and
    passes each value before a bend through `watch(name, z)`."""
    for name in names:
        p[f"{name}.bias"] = np.zeros_like(p[f"{name}.bias"])
        seen = []

        def watch(at, z):
            if at == name:
                seen.append(np.reshape(z, (-1, z.shape[-1])))
            return z

        forward(p, watch)
        p[f"{name}.bias"] = calm_bias(np.concatenate(seen))


def as_f32(tensors):
    return {k: v.astype(np.float32) for k, v in tensors.items()}


def as_f64(tensors):
    return {k: v.numpy().astype(np.float64) for k, v in tensors.items()}


# Rounding ---------------------------------------------------------------------------------------------------------------


def roundings(init, count, fixed=()):
    """The initial tensors, and `count` times the same with the last bits of each value changed at random, save those of the
    names in `fixed`: starts of runs that differ by rounding alone."""
    rng = np.random.default_rng(0)

    def change(x):
        return (x * (1 + rng.uniform(-1, 1, x.shape) * 2.0**-22)).astype(np.float32)

    return [init] + [{k: x if k in fixed else change(x) for k, x in init.items()} for _ in range(count)]


def drift(losses, rounded):
    """Losses [step, ...] in f64 and in several f32 runs -> (largest gap at each step, tolerance of each step)."""
    losses = np.array(losses)
    gaps = np.max([np.abs(np.array(other) - losses) for other in rounded], axis=0)
    # Ten times the largest gap so far (rounding errors do not shrink as training goes on), and never below 4 ulp of the loss.
    return gaps, np.maximum(10 * np.maximum.accumulate(gaps), 2**-21 * losses)


def compare_after(after, rounded, starts):
    """Each tensor after the last step: its sum, how far the f32 runs' sums lie from it, and how far it has come."""
    def compare(k):
        sums = [r[k].sum() for r in (after, *rounded)]
        moved, *others = [np.linalg.norm(r[k] - start[k]) for r, start in zip((after, *rounded), (starts[0], *starts))]
        wavering = max(abs(other - moved) for other in others)
        # The tests allow 1 %.
        assert wavering <= 2e-3 * moved, f"{k} moves by {moved:.1e}, of which rounding is {wavering:.1e}: choose another seed"
        return {"sum": sums[0], "sum_gap": max(abs(s - sums[0]) for s in sums), "moved": moved}

    return {k: compare(k) for k in after}


def save_steps(name, steps):
    path = OUT / f"{name}_steps.json"
    path.write_text(json.dumps(steps, indent=1) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")
