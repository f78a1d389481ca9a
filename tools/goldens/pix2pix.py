#!/usr/bin/env python3
"""Golden training run of a reduced pix2pix: ten steps in f64 without dropout, and how far the same steps drift in f32.

Writes to tests/goldens/:
  pix2pix_init.safetensors  initial weights under huetape's names
  pix2pix_steps.json        losses of each step before its update, sums of every tensor after the last step, the sum of the
                            picture that running statistics give then, and tolerances

The pictures are a formula of the step k (from 1), the pixel and the channel, in `pictures` below and in tests/pix2pix.rs.
"""

from adversarial import *

WIDTH, SIZE, LAMBDA_L1, SLOPE = 0.015, 256, 100.0, 0.3
SEED = 1
LR, BETA1, BETA2, ADAM_EPS = 2e-4, 0.5, 0.999, 1e-8
DOWN, UP, PATCH = [64, 128, 256, 512, 512, 512, 512, 512], [512, 512, 512, 512, 256, 128, 64], [64, 128, 256, 512]


def pictures(step):
    """-> (source [1, S, S, 1], target [1, S, S, 3]), f32 in -1..1: the target follows the source, in waves of its own."""
    y, x = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    grey = (3 * x + 5 * y + 40 * step + (x * y) % 31) % 256
    colour = np.stack([(grey // 2 + (7 - c) * x + 2 * c * y) % 256 for c in range(3)], -1)
    unit = lambda v: 2 * (v.astype(np.float32) / np.float32(255)) - 1
    return unit(grey)[None, ..., None], unit(colour)[None]


# The networks -----------------------------------------------------------------------------------------------------------


def leaky(x):
    return leaky_relu(x, SLOPE)


def down(x, w):
    return tf.nn.conv2d(x, w, 2, "SAME")


def up(x, w):
    return conv2d_transpose(x, w, stride=2)


def norm(p, name, x, statistics):
    """With `statistics`, those of the batch, and the running ones as updated are put there; else the running ones."""
    parts = [p[f"{name}.{part}"] for part in ("gamma", "beta")]
    # A second pass of a network goes on from where the first left the running statistics.
    running = [(statistics or {}).get(f"{name}.{part}", p[f"{name}.{part}"]) for part in ("mean", "var")]
    if statistics is None:
        return batch_norm_infer(x, *parts, *running)
    y, statistics[f"{name}.mean"], statistics[f"{name}.var"] = batch_norm_train(x, *parts, *running)
    return y


def generator(p, x, statistics):
    skips = []
    for k in range(1, 9):
        x = down(x, p[f"g.down{k}.weight"])
        if k == 8 and statistics is None:
            x = tf.zeros_like(x) + p["g.down8.bn.beta"]  # saw one value per channel
        elif k > 1:
            x = norm(p, f"g.down{k}.bn", x, statistics)
        x = leaky(x)
        skips.append(x)
    for k in range(1, 8):
        x = tf.nn.relu(norm(p, f"g.up{k}.bn", up(x, p[f"g.up{k}.weight"]), statistics))
        x = tf.concat([x, skips[7 - k]], -1)
    return tf.tanh(up(x, p["g.out.weight"]) + p["g.out.bias"])


def discriminator(p, source, image, statistics):
    border = [[0, 0], [1, 1], [1, 1], [0, 0]]
    x = leaky(down(tf.concat([source, image], -1), p["d.conv1.weight"]))
    for k in (2, 3):
        x = leaky(norm(p, f"d.conv{k}.bn", down(x, p[f"d.conv{k}.weight"]), statistics))
    x = tf.nn.conv2d(tf.pad(x, border), p["d.conv4.weight"], 1, "VALID")
    x = leaky(norm(p, "d.conv4.bn", x, statistics))
    return tf.nn.conv2d(tf.pad(x, border), p["d.out.weight"], 1, "VALID") + p["d.out.bias"]


def losses(p, source, target):
    """-> (g_loss, d_loss, l1, updated running statistics)"""
    statistics = {}
    fake = generator(p, source, statistics)
    on_real = discriminator(p, source, target, statistics)
    on_fake = discriminator(p, source, fake, statistics)
    l1 = tf.reduce_mean(tf.abs(target - fake))
    return bce(on_fake, 1.0) + LAMBDA_L1 * l1, bce(on_real, 1.0) + bce(on_fake, 0.0), l1, statistics


# The run ----------------------------------------------------------------------------------------------------------------


def widths(filters):
    return [scaled(c, WIDTH) for c in filters]


def make_weights(rng):
    """As the published start, with kernels five times as large (few channels make sums small), and biases off zero."""
    p = {}

    def kernel(name, c_in, c_out):
        p[f"{name}.weight"] = rng.normal(0, 0.1, (4, 4, c_in, c_out))

    def bn(name, c):
        p[f"{name}.bn.gamma"], p[f"{name}.bn.beta"] = rng.uniform(0.8, 1.2, c), rng.normal(0, 0.2, c)
        p[f"{name}.bn.mean"], p[f"{name}.bn.var"] = np.zeros(c), np.ones(c)

    c_in, skips = 1, []
    for k, c in enumerate(widths(DOWN), 1):
        kernel(f"g.down{k}", c_in, c)
        if k > 1:
            bn(f"g.down{k}", c)
        c_in = c
        skips.append(c)
    for k, c in enumerate(widths(UP), 1):
        kernel(f"g.up{k}", c_in, c)
        bn(f"g.up{k}", c)
        c_in = c + skips[7 - k]
    kernel("g.out", c_in, 3)
    p["g.out.bias"] = rng.normal(0, 0.05, 3)
    c_in = 1 + 3
    for k, c in enumerate(widths(PATCH), 1):
        kernel(f"d.conv{k}", c_in, c)
        if k > 1:
            bn(f"d.conv{k}", c)
        c_in = c
    kernel("d.out", c_in, 1)
    p["d.out.bias"] = rng.normal(0, 0.05, 1)
    return as_f32(p)


def train(dtype, init):
    """The ten steps in `dtype` -> (losses [step][g, d, l1], tensors after the last step, picture of step 1 then)."""
    p = {k: tf.constant(v, dtype) for k, v in init.items()}
    trained = {net: [k for k in p if k.startswith(net) and not k.endswith((".mean", ".var"))] for net in ("g.", "d.")}
    moments = {k: (tf.zeros_like(p[k]), tf.zeros_like(p[k])) for names in trained.values() for k in names}
    history = []
    for step in range(1, STEPS + 1):
        source, target = (tf.constant(x, dtype) for x in pictures(step))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([p[k] for names in trained.values() for k in names])
            g_loss, d_loss, l1, statistics = losses(p, source, target)
        history.append([float(g_loss), float(d_loss), float(l1)])
        gradients = {}
        for net, loss in (("g.", g_loss), ("d.", d_loss)):
            gradients |= dict(zip(trained[net], tape.gradient(loss, [p[k] for k in trained[net]])))
        for k, g in gradients.items():
            p[k], *moments[k] = adam(p[k], *moments[k], g, step, LR, BETA1, BETA2, ADAM_EPS)
        p |= statistics
    picture = generator(p, tf.constant(pictures(1)[0], dtype), None)
    return history, as_f64(p), picture.numpy().astype(np.float64)


def main():
    init = make_weights(np.random.default_rng(SEED))
    settings = {"width": WIDTH, "size": SIZE, "lambda_l1": LAMBDA_L1, "slope": SLOPE, "lr": LR, "beta1": BETA1, "beta2": BETA2,
                "adam_eps": ADAM_EPS}
    save_init("pix2pix", init)
    record("pix2pix", settings, init, train)


if __name__ == "__main__":
    main()
