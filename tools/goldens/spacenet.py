#!/usr/bin/env python3
"""Golden training runs of a narrow SpaceNet: ten steps in f64, and how far the same steps drift in f32.

Bands are stored as 0..1; both networks read and the generator writes v * 2 - 1.

The generator G, all at full size and WIDTH times 64 channels: h_0 = `g.in0` x and h_-1 = `g.in1` x, 1x1 convolutions with bias
and no activation; for k = 1, 2, 3 with a = sigmoid(`g.layerK.mix`), one number that is learned,

  h_k = ReLU(deconv(conv2(conv1(a * h_(k-1) + (1 - a) * h_(k-2))))),

3x3 "same" convolutions with bias, the last transposed with stride 1, and no other activation; last `g.out`, 1x1 with bias, and
tanh. The discriminator D reads y or G(x): `d.conv1` to `d.conv5`, 3x3 "same" with bias to 64, 128, 256, 512, 1024 channels
times WIDTH, each followed by ReLU and 2x2 max pooling; flattened in the order NHWC; `d.out`, a dense layer to one logit.

A step, on one fake G(x) of the weights before it:
  d_loss = mean BCE(D(y), 1) + mean BCE(D(G(x)), 0) + d_l2 * sum W^2 over the six kernels `d.*.weight`, then SGD on D, through no G;
  g_loss = mean BCE(D(G(x)), 1) + lambda * mse, with mse = mean (y - G(x))^2, by the updated D, then SGD on G.
  lambda = 100 - 90 min(1, 2 (k - 1) / 10) at step k from 1. SGD: v = momentum * v + gradient, w = w - lr * v.

Writes to tests/goldens/, for 1 -> 3 bands, and the same files named `spacenet_3to4_*` for 3 -> 4:
  spacenet_init.safetensors   `g.in0.weight` [1, 1, C, O], `.bias`, `g.layer1.mix` [1], `g.layer1.conv1.weight` [3, 3, C, O], ...
                              `g.layer1.deconv.weight` [3, 3, C, O] with C what it reads; `d.out.weight` [C, 1], `d.out.bias` [1]
  spacenet_batch.safetensors  source0, source1, target0, target1 [N, 32, 32, bands]; step k (from 1) takes batch (k - 1) % 2
  spacenet_steps.json         losses of each step as above, tolerances, `lambda` of each step, sums of every tensor after the
                              last step, and the mean of G's output (-1..1, per band) for batch 0 then
"""

from adversarial import *

WIDTH, SIZE, BATCH = 0.0625, 32, 2
SEED = 1  # of 1 to 3, the run that rounding disturbs least
LR, MOMENTUM, D_L2, LAMBDA_FIRST, LAMBDA_LAST = 1e-3, 0.9, 1e-4, 100.0, 10.0
LAYERS, CHANNELS, DISCRIMINATOR = 3, scaled(64, WIDTH), [scaled(c, WIDTH) for c in (64, 128, 256, 512, 1024)]


def generator(p, x, watch=unwatched):
    layer = lambda name, x: conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"])
    before, h = layer("g.in1", x), layer("g.in0", x)
    for k in range(1, LAYERS + 1):
        name = f"g.layer{k}"
        a = tf.sigmoid(p[f"{name}.mix"])
        z = layer(f"{name}.conv2", layer(f"{name}.conv1", a * h + (1 - a) * before))
        z = conv2d_transpose(z, p[f"{name}.deconv.weight"], p[f"{name}.deconv.bias"])
        before, h = h, tf.nn.relu(watch(f"{name}.deconv", z))
    return tf.tanh(layer("g.out", h))


def discriminator(p, y, watch=unwatched):
    for k in range(1, len(DISCRIMINATOR) + 1):
        y = tf.nn.relu(watch(f"d.conv{k}", conv2d(y, p[f"d.conv{k}.weight"], p[f"d.conv{k}.bias"])))
        y = tf.nn.max_pool2d(y, 2, 2, "VALID")
    return tf.reshape(y, [y.shape[0], -1]) @ p["d.out.weight"] + p["d.out.bias"]


def d_loss(p, target, fake):
    penalty = sum(tf.reduce_sum(w**2) for k, w in p.items() if k.startswith("d.") and k.endswith(".weight"))
    return bce(discriminator(p, target), 1.0) + bce(discriminator(p, fake), 0.0) + D_L2 * penalty


def weight_of_mse(step):
    return LAMBDA_FIRST + (LAMBDA_LAST - LAMBDA_FIRST) * min(1.0, 2 * (step - 1) / STEPS)


def g_loss(p, target, fake, step):
    mse = tf.reduce_mean((target - fake) ** 2)
    return bce(discriminator(p, fake), 1.0) + weight_of_mse(step) * mse, mse


def make_bands(rng, bands_in):
    """-> two batches (source, target), f32 in 0..1: grey and its colours; or colours, and they in another order and mixed."""
    rgb = smooth_pictures(rng, 2 * BATCH, SIZE).reshape(2, BATCH, SIZE, SIZE, 3)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    if bands_in == 1:
        return list(zip(eight_bit(0.299 * red + 0.587 * green + 0.114 * blue)[..., None], rgb))
    return list(zip(rgb, eight_bit(np.stack([blue, green, red, 0.5 + green - red], -1))))


def make_weights(rng, batches):
    p = {}

    def layer(name, *shape):
        p[f"{name}.weight"], p[f"{name}.bias"] = he_normal(rng, *shape), rng.normal(0, 0.05, shape[-1])

    bands_in, bands_out = (x.shape[-1] for x in batches[0])
    for name in ("g.in0", "g.in1"):
        layer(name, 1, 1, bands_in, CHANNELS)
    for k in range(1, LAYERS + 1):
        p[f"g.layer{k}.mix"] = np.zeros(1)
        for part in ("conv1", "conv2", "deconv"):
            layer(f"g.layer{k}.{part}", 3, 3, CHANNELS, CHANNELS)
    layer("g.out", 1, 1, CHANNELS, bands_out)
    ends = [bands_out, *DISCRIMINATOR]
    for k, (c_in, c_out) in enumerate(zip(ends, ends[1:]), 1):
        layer(f"d.conv{k}", 3, 3, c_in, c_out)
    layer("d.out", (SIZE // 2 ** len(DISCRIMINATOR)) ** 2 * ends[-1], 1)

    def forward(p, watch):
        for source, target in batches:
            for y in (target, generator(p, source, watch)):
                discriminator(p, y, watch)

    calm_biases(p, [f"g.layer{k}.deconv" for k in range(1, LAYERS + 1)] + [f"d.conv{k}" for k in range(1, len(ends))], forward)
    return as_f32(p)


def record_bands(name, bands_in):
    rng = np.random.default_rng(SEED)
    stored = make_bands(rng, bands_in)
    batches = [tuple(2 * x - 1 for x in batch) for batch in stored]
    init = make_weights(rng, [[x.astype(np.float64) for x in batch] for batch in batches])
    save_init(name, init)
    save(OUT / f"{name}_batch.safetensors", {f"{part}{i}": stored[i][j] for i in (0, 1) for j, part in enumerate(("source", "target"))})

    def update(p, v, gradient, _step, lr):
        return sgd(p, v, gradient, lr, MOMENTUM)

    optimizer = (1, {"g.": LR, "d.": LR}, update)
    settings = {"width": WIDTH, "size": SIZE, "batch": BATCH, "bands_in": bands_in, "bands_out": batches[0][1].shape[-1], "lr": LR,
                "momentum": MOMENTUM, "d_l2": D_L2, "lambda": [weight_of_mse(step) for step in range(1, STEPS + 1)]}
    train = lambda dtype, start: train_alternately(dtype, start, batches, generator, d_loss, g_loss, optimizer)
    record(name, settings, init, train, losses=("g_loss", "d_loss", "mse"))


def main():
    record_bands("spacenet", bands_in=1)
    record_bands("spacenet_3to4", bands_in=3)


if __name__ == "__main__":
    main()
