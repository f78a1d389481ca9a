#!/usr/bin/env python3
"""Golden training run of Window8 with 20 bins: ten steps in f64, and how far the same steps drift in f32.

The network: eight 3x3 "valid" convolutions with bias; the k-th has floor(k Q / 8 + 1/2) filters; ReLU after the first seven. A
window of 32x32 gives logits [N, 16, 16, Q] for its centre, pixels 8..24 of both axes. The loss is the rebalanced cross-entropy
of the target's ab there, without upsampling: mean over N x 16 x 16 pixels, lambda 0.5, eps 1e-4 inside the logarithm. The
prior holds the soft counts of all target pixels, unsmoothed. Adam; every tensor of `init` but bins and prior is trained.

Writes to tests/goldens/:
  window8_init.safetensors   `conv1.weight` [3, 3, C, O], `conv1.bias` [O], ... `conv8.bias`; `bins` [Q, 2], `prior` [Q]
  window8_batch.safetensors  inputs, and results that are tensors:
      source0, source1  [N, 32, 32, 1]  grey 0..1; the network reads source - 0.5. Step k (from 1) takes batch (k - 1) % 2
      target0, target1  [N, 32, 32, 3]  sRGB 0..1
      grad.NAME         gradient of step 1 for some parameters
      ab                [N, 16, 16, 2]  batch 0 decoded by the annealed mean after the last step
  window8_steps.json         losses (each before its update), tolerances, sums of every tensor after the last step
"""

from classification import *

SIZE, BATCH, Q, LAYERS, UPSAMPLE = 32, 2, 20, 8, 1
SEED = 19  # of 1 to 19, the run that rounding disturbs least
KEPT_GRADIENTS = ["conv1.weight", "conv1.bias", "conv2.weight", "conv4.weight", "conv5.bias", "conv8.weight", "conv8.bias"]


def logits(p, source, watch=unwatched):
    x = source - 0.5  # l = (L - 50) / 100 with L = 100 * source
    for k in range(1, LAYERS + 1):
        x = conv2d(x, p[f"conv{k}.weight"], p[f"conv{k}.bias"], padding="VALID")
        x = tf.nn.relu(watch(f"conv{k}", x)) if k < LAYERS else x
    return x


def forward(p, source, training):
    """The same in training, and no running statistics."""
    return logits(p, source), {}


def make_weights(rng, sources):
    filters = [1] + [math.floor(k * Q / LAYERS + 0.5) for k in range(1, LAYERS + 1)]
    p = {f"conv{k}.weight": he_normal(rng, 3, 3, *filters[k - 1 : k + 1]) for k in range(1, LAYERS + 1)}
    p |= {f"conv{k}.bias": rng.normal(0, 0.05, filters[k]) for k in range(1, LAYERS + 1)}
    calm_biases(p, [f"conv{k}" for k in range(1, LAYERS)], lambda p, watch: [logits(p, x, watch) for x in sources.astype(np.float64)])
    return as_f32(p)


def main():
    rng = np.random.default_rng(SEED)
    sources, targets, bins = make_pictures(rng, BATCH, SIZE, Q)
    init = make_weights(rng, sources) | {"bins": bins, "prior": make_prior(targets, bins, smoothed=False)}
    settings = {"size": SIZE, "batch": BATCH, "bins": Q}
    record("window8", settings, init, sources, targets, KEPT_GRADIENTS, forward, UPSAMPLE, lr=1e-3)


if __name__ == "__main__":
    main()
