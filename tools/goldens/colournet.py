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

from classification import *

WIDTH, SIZE, BATCH, Q, UPSAMPLE = 0.0625, 32, 2, 20, 4
SEED = 17  # of 1 to 19, the run that rounding disturbs least
KEPT_GRADIENTS = ["conv1_1.weight", "conv1_1.bias", "conv1_2.weight", "conv2_2.weight", "bn1.gamma", "bn1.beta", "conv5_2.weight",
                  "bn6.gamma", "conv8_1.weight", "conv8_3.bias", "bn8.beta", "out.weight", "out.bias"]

# Per block: (filters at width 1, stride of each convolution, dilation, upsample first).
BLOCKS = [(64, (1, 2), 1, False), (128, (1, 2), 1, False), (256, (1, 1, 2), 1, False), (512, (1, 1, 1), 1, False),
          (512, (1, 1, 1), 2, False), (512, (1, 1, 1), 2, False), (256, (1, 1, 1), 1, False), (128, (1, 1, 1), 1, True)]


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


def make_weights(rng, sources):
    """He-normal kernels, calm biases, batch norms off their identity, running statistics near those of a forward pass."""
    p, xs = {}, [tf.constant(source - 0.5, tf.float64) for source in sources]
    for b, (filters, strides, dilation, upsample) in enumerate(BLOCKS, 1):
        xs = [upsample_nearest(x) for x in xs] if upsample else xs
        c_out = scaled(filters, WIDTH)
        for c, stride in enumerate(strides, 1):
            w = he_normal(rng, 3, 3, xs[0].shape[-1], c_out)
            zs = [conv2d(x, w, None, stride, dilation).numpy() for x in xs]
            bias = calm_bias(np.stack(zs))
            p |= {f"conv{b}_{c}.weight": w, f"conv{b}_{c}.bias": bias}
            xs = [tf.nn.relu(z + bias) for z in zs]
        norm = {"gamma": rng.uniform(0.8, 1.2, c_out), "beta": rng.normal(0, 0.1, c_out),
                "mean": xs[0].numpy().mean((0, 1, 2)), "var": xs[0].numpy().var((0, 1, 2))}
        p |= {f"bn{b}.{part}": value for part, value in norm.items()}
        xs = [batch_norm_train(x, **norm)[0] for x in xs]
    p["out.weight"] = he_normal(rng, 1, 1, xs[0].shape[-1], Q)
    p["out.bias"] = rng.normal(0, 0.05, Q)
    return as_f32(p)


def main():
    rng = np.random.default_rng(SEED)
    sources, targets, bins = make_pictures(rng, BATCH, SIZE, Q)
    init = make_weights(rng, sources) | {"bins": bins, "prior": make_prior(targets, bins, smoothed=True)}
    settings = {"width": WIDTH, "size": SIZE, "batch": BATCH, "bins": Q}
    record("colournet", settings, init, sources, targets, KEPT_GRADIENTS, forward, UPSAMPLE, lr=1e-4)


if __name__ == "__main__":
    main()
