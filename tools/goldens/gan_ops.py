#!/usr/bin/env python3
"""Golden values of the GANs' operations, computed by TensorFlow in f64 from f32 inputs -> tests/goldens/gan_ops.safetensors.

Tensors are named `case.argument`. Layout NHWC; all kernels are HWIO, a transposed convolution's too (I is what it reads).
`dy` is the gradient that comes in, `dNAME` those that go out.

  case                           arguments                      what it is
  conv_transpose_4x4_stride2     x w b y dy dx dw db            Keras' Conv2DTranspose, "same"
  conv_transpose_4x4_no_bias     x w y dy dx dw                 the same on an odd size, without a bias
  conv_transpose_3x3_relu        x w b y dy dx dw db            3x3/1 "same", ReLU
  conv2d_4x4_valid               x w y dy dx dw                 4x4/1 without padding, no bias
  leaky_relu elu tanh sigmoid    x y dy dx                      slope 0.3 (Keras' default); alpha 1
  rrelu_test                     x y dy dx                      x / 5.5 where x < 0
  prelu                          x a y dy dx da                 a slope a channel
  max_pool2d                     x y dy dx                      2x2/2 "valid" on 5x7; no ties
  global_avg_pool                x y dy dx                      mean over each picture
  dense                          x w b y dy dx dw db
  concat                         a b y dy da db                 along the channels
  zero_pad                       x y dy dx                      one pixel on all sides
  convex_mix                     x z s y dy dx dz ds            sigmoid(s) x + (1 - sigmoid(s)) z
  bce_0 bce_1 bce_tensor         x (t) y dy dx                  means; logits to 20, against 0, 1 or t
  l1 squared_error               x t y dy dx
  edges                          x y                            Sobel magnitude and Laplacian, borders reflected
"""

from pathlib import Path

from reference import *

OUT = Path(__file__).resolve().parents[2] / "tests" / "goldens"
rng = np.random.default_rng(11)
golden = {}


def normal(*shape, scale=1.0):
    """f32 values, as the tests will read them, held in f64."""
    return rng.normal(0, scale, shape).astype(np.float32).astype(np.float64)


def off_zero(x):
    """Away from a kink at 0."""
    return np.where(np.abs(x) < 0.01, x + 0.125, x)


def record_op(case, function, gradients, **inputs):
    """Records inputs, y = function(inputs in order), a random dy, and a gradient `dNAME` for each name in `gradients`."""
    inputs = {k: tf.constant(v) for k, v in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch([inputs[k] for k in gradients])
        y = function(*inputs.values())
        y = y if y.shape.rank else y[None]  # a loss
        dy = tf.constant(normal(*y.shape))
        through = tf.reduce_sum(y * dy)
    found = tape.gradient(through, [inputs[k] for k in gradients])
    results = {"y": y, "dy": dy, **{f"d{k}": g for k, g in zip(gradients, found)}}
    golden.update({f"{case}.{k}": v.numpy() for k, v in (inputs | results).items()})


def conv_transpose(stride, relu=False):
    def run(x, w, b=None):
        y = conv2d_transpose(x, w, b, stride)
        return tf.nn.relu(y) if relu else y

    return run


def conv_transpose_case(case, x_shape, w_shape, stride, bias=True, relu=False):
    inputs = {"x": normal(*x_shape), "w": normal(*w_shape, scale=0.3)} | ({"b": normal(w_shape[-1], scale=0.3)} if bias else {})
    z = conv_transpose(stride)(**{k: tf.constant(v) for k, v in inputs.items()})
    assert tf.reduce_min(tf.abs(z)) > 1e-4, f"{case}: a value lies on the ReLU's bend, choose other inputs"
    layer = tf.keras.layers.Conv2DTranspose(w_shape[3], w_shape[:2], stride, "same", use_bias=bias, dtype="float64")
    layer.build(x_shape)
    layer.set_weights([np.transpose(inputs["w"], [0, 1, 3, 2])] + ([inputs["b"]] if bias else []))
    assert np.allclose(layer(inputs["x"]), z), f"{case}: not what Keras does"
    record_op(case, conv_transpose(stride, relu), list(inputs), **inputs)


conv_transpose_case("conv_transpose_4x4_stride2", (2, 3, 4, 8), (4, 4, 8, 4), 2)
conv_transpose_case("conv_transpose_4x4_no_bias", (1, 3, 5, 5), (4, 4, 5, 3), 2, bias=False)
conv_transpose_case("conv_transpose_3x3_relu", (2, 5, 6, 3), (3, 3, 3, 4), 1, relu=True)
record_op("conv2d_4x4_valid", lambda x, w: conv2d(x, w, padding="VALID"), ["x", "w"], x=normal(1, 7, 6, 4), w=normal(4, 4, 4, 3, scale=0.3))

x = off_zero(2 * normal(3, 4, 11))
record_op("leaky_relu", tf.keras.layers.LeakyReLU(dtype="float64"), ["x"], x=x)
record_op("elu", tf.nn.elu, ["x"], x=x)
record_op("tanh", tf.tanh, ["x"], x=x)
record_op("sigmoid", tf.sigmoid, ["x"], x=x)
record_op("rrelu_test", lambda x: tf.where(x < 0, x / 5.5, x), ["x"], x=x)
record_op("prelu", lambda x, a: tf.where(x < 0, a * x, x), ["x", "a"], x=off_zero(normal(2, 3, 4, 5)), a=normal(5, scale=0.3))

record_op("max_pool2d", lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), ["x"], x=normal(2, 5, 7, 3))
record_op("global_avg_pool", lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), ["x"], x=normal(2, 5, 7, 3))
record_op("dense", lambda x, w, b: x @ w + b, ["x", "w", "b"], x=normal(6, 33), w=normal(33, 5), b=normal(5))
record_op("concat", lambda a, b: tf.concat([a, b], -1), ["a", "b"], a=normal(2, 3, 4, 5), b=normal(2, 3, 4, 3))
record_op("zero_pad", tf.keras.layers.ZeroPadding2D(dtype="float64"), ["x"], x=normal(2, 3, 4, 3))
mix = lambda x, z, s: tf.sigmoid(s) * x + (1 - tf.sigmoid(s)) * z
record_op("convex_mix", mix, ["x", "z", "s"], x=normal(2, 3, 4, 3), z=normal(2, 3, 4, 3), s=normal(1))

logits = 5 * normal(2, 6, 6, 1)
logits[0, 0, :2, 0] = 20, -20
record_op("bce_0", lambda x: bce(x, 0.0), ["x"], x=logits)
record_op("bce_1", lambda x: bce(x, 1.0), ["x"], x=logits)
record_op("bce_tensor", bce, ["x"], x=logits, t=rng.uniform(0, 1, logits.shape).astype(np.float32).astype(np.float64))
record_op("l1", lambda x, t: tf.reduce_mean(tf.abs(t - x)), ["x"], x=normal(2, 4, 4, 3), t=normal(2, 4, 4, 3))
record_op("squared_error", lambda x, t: tf.reduce_mean((t - x) ** 2), ["x"], x=normal(2, 4, 4, 3), t=normal(2, 4, 4, 3))

grey = tf.constant(normal(2, 6, 5, 1))
gy, gx = tf.unstack(tf.image.sobel_edges(grey), axis=-1)
cross = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64)[..., None, None]
laplacian = tf.nn.conv2d(tf.pad(grey, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), cross, 1, "VALID")
golden |= {"edges.x": grey.numpy(), "edges.y": tf.concat([tf.sqrt(gx**2 + gy**2), laplacian], -1).numpy()}

OUT.mkdir(parents=True, exist_ok=True)
save(OUT / "gan_ops.safetensors", golden)
