#!/usr/bin/env python3
"""Golden values of single operations, computed by TensorFlow in f64 from f32 inputs -> tests/goldens/ops.safetensors.

Tensors are named `case.argument`. Layout NHWC, kernels HWIO; f32 but where marked i32. `dy` is the gradient that comes in,
`dx`, `dw`, `db`, `dgamma`, `dbeta` those that go out.

  case                      arguments                                             what it is
  conv2d_same               x w b y dy dx dw db                                   3x3, bias
  conv2d_same_relu          the same; y is after the ReLU                         3x3, bias and ReLU
  conv2d_stride2_even       the same                                              3x3/2 on 6x8: pads 0 before, 1 after; ReLU
  conv2d_stride2_odd        the same                                              3x3/2 on 7x5: pads 1 and 1
  conv2d_dilation2          the same                                              3x3 d2, ReLU
  conv2d_valid              the same                                              3x3 without padding, ReLU
  conv2d_4x4_stride2        x w y dy dx dw                                        4x4/2 "same", no bias
  conv2d_one_channel        x w b y dy dx dw db                                   3x3 of one channel, ReLU
  conv2d_1x1                the same                                              1x1, bias
  batch_norm_train          x gamma beta mean var y new_mean new_var dy dx dgamma dbeta
  batch_norm_infer          x gamma beta mean var y                               running statistics
  nearest                   x y dy dx                                             x2
  bilinear                  x y dy dx                                             x4, half-pixel centres, edges clamped
  softmax                   x y dy dx                                             over the last axis
  encode                    ab bins index(i32) weight                             5 nearest centres, nearest first
  weights                   prior w                                               class rebalancing
  loss                      logits ab bins prior loss dlogits                     softmax, bilinear x4, rebalanced cross-entropy
  annealed_mean             logits bins ab                                        T = 0.38, bilinear x4 before
  lab                       srgb lab                                              0..1 -> L 0..100, a, b
  srgb                      lab srgb                                              colours outside the gamut are clamped
  adam, adamw               p0 g1 g2 g3 p1 p2 p3 m3 v3                            three steps, lr .01, betas .9 .99, eps 1e-8; adamw: decay .1
  sgd                       p0 g1 g2 g3 p1 p2 p3 v3                               three steps, lr .1, momentum .9
"""

from pathlib import Path

from reference import *
from skimage import color

OUT = Path(__file__).resolve().parents[2] / "tests" / "goldens"
rng = np.random.default_rng(7)
golden = {}


def normal(*shape, scale=1.0):
    """f32 values, as the tests will read them, held in f64."""
    return rng.normal(0, scale, shape).astype(np.float32).astype(np.float64)


def uniform(low, high, *shape):
    return rng.uniform(low, high, shape).astype(np.float32).astype(np.float64)


def record(case, **tensors):
    golden.update({f"{case}.{k}": v.numpy() if hasattr(v, "numpy") else v for k, v in tensors.items()})


def record_op(case, function, gradients, **inputs):
    """Records inputs, y = function(inputs), a random dy, and a gradient `d<name>` for each name in `gradients`."""
    inputs = {k: tf.constant(v) for k, v in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch([inputs[k] for k in gradients])
        y = function(**inputs)
        dy = tf.constant(normal(*y.shape))
        through = tf.reduce_sum(y * dy)
    found = tape.gradient(through, [inputs[k] for k in gradients])
    record(case, **inputs, y=y, dy=dy, **{f"d{k}": g for k, g in zip(gradients, found)})


def conv_case(case, x_shape, w_shape, bias=True, **options):
    inputs = {"x": normal(*x_shape), "w": normal(*w_shape, scale=0.3)} | ({"b": normal(w_shape[-1], scale=0.3)} if bias else {})
    z = conv2d(**inputs, **options | {"relu": False})
    assert tf.reduce_min(tf.abs(z)) > 1e-4, f"{case}: a value lies on the ReLU's bend, choose other inputs"
    record_op(case, lambda **i: conv2d(**i, **options), list(inputs), **inputs)


conv_case("conv2d_same", (2, 5, 6, 3), (3, 3, 3, 5))
conv_case("conv2d_same_relu", (2, 5, 6, 4), (3, 3, 4, 8), relu=True)
conv_case("conv2d_stride2_even", (2, 6, 8, 4), (3, 3, 4, 4), stride=2, relu=True)
conv_case("conv2d_stride2_odd", (1, 7, 5, 3), (3, 3, 3, 6), stride=2, relu=True)
conv_case("conv2d_dilation2", (2, 6, 7, 4), (3, 3, 4, 5), dilation=2, relu=True)
conv_case("conv2d_valid", (1, 7, 6, 3), (3, 3, 3, 4), padding="VALID", relu=True)
conv_case("conv2d_4x4_stride2", (1, 8, 7, 4), (4, 4, 4, 4), bias=False, stride=2)
conv_case("conv2d_one_channel", (2, 6, 5, 1), (3, 3, 1, 4), relu=True)
conv_case("conv2d_1x1", (2, 3, 4, 6), (1, 1, 6, 7))

norm = {"x": 2 * normal(2, 3, 5, 6) + 1, "gamma": uniform(0.5, 1.5, 6), "beta": normal(6), "mean": normal(6), "var": uniform(0.5, 2, 6)}
record_op("batch_norm_train", lambda **i: batch_norm_train(**i)[0], ["x", "gamma", "beta"], **norm)
_, new_mean, new_var = batch_norm_train(**norm)
record("batch_norm_train", new_mean=new_mean, new_var=new_var)
record("batch_norm_infer", **norm, y=batch_norm_infer(**norm))

record_op("nearest", upsample_nearest, ["x"], x=normal(2, 3, 4, 5))
x = normal(2, 3, 4, 5)
assert np.allclose(upsample_bilinear(tf.constant(x)), tf.image.resize(x, (12, 16), "bilinear"), atol=1e-5)
record_op("bilinear", upsample_bilinear, ["x"], x=x)
record_op("softmax", lambda x: tf.nn.softmax(x), ["x"], x=3 * normal(3, 4, 11))

bins = np.array([[a, b] for a in range(-25, 30, 10) for b in range(-15, 20, 10)], np.float64)
ab = uniform(-40, 40, 2, 8, 12, 2)
distances = np.sort(squared_distances(ab, bins).numpy(), -1)
assert np.diff(distances)[..., : NEIGHBOURS].min() > 1e-3, "two centres are nearly as near: choose other colours"
index, weight = soft_encode(ab, bins)
record("encode", ab=ab, bins=bins, index=index, weight=weight)
prior = uniform(0.1, 1, len(bins)) ** 3
prior = (prior / prior.sum()).astype(np.float32).astype(np.float64)
record("weights", prior=prior, w=class_weights(prior))

logits = tf.constant(2 * normal(2, 2, 3, len(bins)))
with tf.GradientTape() as tape:
    tape.watch(logits)
    loss = rebalanced_cross_entropy(logits, ab, bins, prior)
record("loss", logits=logits, ab=ab, bins=bins, prior=prior, loss=loss, dlogits=tape.gradient(loss, logits))
record("annealed_mean", logits=logits, bins=bins, ab=annealed_mean(logits, tf.constant(bins)))

corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)], np.float64)
dark = np.array([[0.002, 0.004, 0.001], [0.04, 0.0405, 0.03], [0.5, 0.5, 0.5]], np.float32).astype(np.float64)
srgb = np.concatenate([corners, dark, uniform(0, 1, 53, 3)])
lab = srgb_to_lab(srgb, np)
record("lab", srgb=srgb, lab=lab)
lab = np.concatenate([lab, np.stack([uniform(0, 100, 64), uniform(-110, 110, 64), uniform(-110, 110, 64)], -1)])
lab = lab.astype(np.float32).astype(np.float64)
record("srgb", lab=lab, srgb=lab_to_srgb(lab))
# scikit-image has the same matrix and white. It rounds the constants of the linear part near black, and clamps Z where it is negative.
assert np.abs(color.rgb2lab(srgb) - srgb_to_lab(srgb, np)).max() < 2e-3
real = (lab[:, 0] + 16) / 116 - lab[:, 2] / 200 > 0
assert np.abs(color.lab2rgb(lab[real]) - lab_to_srgb(lab[real])).max() < 2e-4

for case, decay in (("adam", 0.0), ("adamw", 0.1)):
    p, m, v = normal(13), np.zeros(13), np.zeros(13)
    record(case, p0=p)
    for step in (1, 2, 3):
        g = normal(13) * 10.0 ** rng.integers(-4, 2, 13)  # over decades
        g = g.astype(np.float32).astype(np.float64)
        p, m, v = adam(p, m, v, g, step, 0.01, 0.9, 0.99, 1e-8, decay)
        record(case, **{f"g{step}": g, f"p{step}": p})
    record(case, m3=m, v3=v)
p, v = normal(13), np.zeros(13)
record("sgd", p0=p)
for step in (1, 2, 3):
    g = normal(13)
    p, v = sgd(p, v, g, 0.1, 0.9)
    record("sgd", **{f"g{step}": g, f"p{step}": p})
record("sgd", v3=v)

OUT.mkdir(parents=True, exist_ok=True)
save(OUT / "ops.safetensors", golden)
