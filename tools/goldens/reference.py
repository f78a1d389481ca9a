"""The formulas of ColourNet as short TensorFlow functions, at any float type.

Written from the formulas alone, not from huetape's code: what these say is what huetape is held to.
Layout NHWC, kernels HWIO. Lab is CIE Lab under D65; ab in -110..110; sRGB in 0..1.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # f64 on the CPU: the same numbers everywhere

import numpy as np
import tensorflow as tf
from safetensors.numpy import save as to_safetensors

NEIGHBOURS = 5  # soft encoding: this many nearest centres,
SIGMA = 5.0  # weighted by a Gaussian of this width
LAMBDA = 0.5  # rebalancing: share of the uniform distribution
LOG_EPS = 1e-4  # inside the loss's logarithm
TEMPERATURE = 0.38  # of the annealed mean
BN_MOMENTUM, BN_EPS = 0.99, 1e-3


def save(path, tensors):
    """Writes a safetensors file: floats as f32, integers as i32, no metadata (its order would vary)."""
    def stored(x):
        x = np.asarray(x)
        return np.ascontiguousarray(x, np.int32 if x.dtype.kind in "iu" else np.float32)

    data = to_safetensors({name: stored(x) for name, x in tensors.items()})
    path.write_bytes(data)
    print(f"{path.name}: {len(tensors)} tensors, {len(data)} bytes")


# Layers ---------------------------------------------------------------------------------------------------------------


def conv2d(x, w, b=None, stride=1, dilation=1, padding="SAME", relu=False):
    y = tf.nn.convolution(x, w, strides=stride, padding=padding, dilations=dilation)
    y = y if b is None else y + b
    return tf.nn.relu(y) if relu else y


def conv2d_transpose(x, w, b=None, stride=1):
    """"Same" padding; w is [h, w, in, out], where TensorFlow's is [h, w, out, in]."""
    shape = [x.shape[0], x.shape[1] * stride, x.shape[2] * stride, w.shape[3]]
    y = tf.nn.conv2d_transpose(x, tf.transpose(w, [0, 1, 3, 2]), shape, stride, "SAME")
    return y if b is None else y + b


def leaky_relu(x, slope):
    return tf.where(x < 0, slope * x, x)


def bce(logits, target):
    """The mean binary cross-entropy; the target is a number or a tensor."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target * tf.ones_like(logits), logits))


def batch_norm_train(x, gamma, beta, mean, var):
    """-> (y, running mean, running variance): biased variance in both the output and the running statistics."""
    m = tf.reduce_mean(x, [0, 1, 2])
    v = tf.reduce_mean((x - m) ** 2, [0, 1, 2])
    y = gamma * (x - m) / tf.sqrt(v + BN_EPS) + beta
    return y, BN_MOMENTUM * mean + (1 - BN_MOMENTUM) * m, BN_MOMENTUM * var + (1 - BN_MOMENTUM) * v


def batch_norm_infer(x, gamma, beta, mean, var):
    return gamma * (x - mean) / tf.sqrt(var + BN_EPS) + beta


def upsample_nearest(x, k=2):
    return tf.repeat(tf.repeat(x, k, axis=1), k, axis=2)


def bilinear_matrix(n, k, dtype):
    """[k*n, n]: half-pixel centres, edges clamped. (`tf.image.resize` computes in f32 whatever it is given.)"""
    at = (np.arange(k * n) + 0.5) / k - 0.5
    low = np.floor(at).astype(int)
    m = np.zeros((k * n, n))
    np.add.at(m, (np.arange(k * n), np.clip(low, 0, n - 1)), 1 - (at - low))
    np.add.at(m, (np.arange(k * n), np.clip(low + 1, 0, n - 1)), at - low)
    return tf.constant(m, dtype)


def upsample_bilinear(x, k=4):
    rows, columns = (bilinear_matrix(x.shape[axis], k, x.dtype) for axis in (1, 2))
    return tf.einsum("yh,xw,nhwc->nyxc", rows, columns, x)


# Colour ---------------------------------------------------------------------------------------------------------------

XYZ_FROM_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1.0, 1.08883])
KNEE = 6 / 29  # of the cube root in Lab


def srgb_to_lab(rgb, xp=tf):
    """sRGB 0..1 [..., 3] -> Lab. `xp` is tf, or np for f64 NumPy arrays."""
    power = tf.pow if xp is tf else np.power
    linear = xp.where(rgb > 0.04045, power((rgb + 0.055) / 1.055, 2.4), rgb / 12.92)
    matrix = (XYZ_FROM_RGB / WHITE[:, None]).T
    t = xp.tensordot(linear, tf.constant(matrix, rgb.dtype) if xp is tf else matrix, 1)
    f = xp.where(t > KNEE**3, power(xp.maximum(t, 1e-12), 1 / 3), t / (3 * KNEE**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_srgb(lab):
    """Lab [..., 3] (NumPy f64) -> sRGB, clamped to 0..1."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > KNEE, f**3, 3 * KNEE**2 * (f - 4 / 29)) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(XYZ_FROM_RGB).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


# Classification -------------------------------------------------------------------------------------------------------


def squared_distances(ab, bins):
    return tf.reduce_sum((ab[..., None, :] - bins) ** 2, -1)


def soft_encode(ab, bins):
    """[..., 2], [Q, 2] -> (indices of the nearest centres, nearest first; weights of sum 1), both [..., 5]."""
    negative, index = tf.math.top_k(-squared_distances(ab, bins), NEIGHBOURS)
    # Relative to the nearest centre: the same weights, but a colour far from every centre does not underflow to 0 / 0.
    weight = tf.exp((negative - negative[..., :1]) / (2 * SIGMA**2))
    return index, weight / tf.reduce_sum(weight, -1, keepdims=True)


def class_weights(prior):
    """w_q proportional to 1 / ((1 - lambda) p_q + lambda / Q), scaled so that sum p_q w_q = 1."""
    w = 1 / ((1 - LAMBDA) * prior + LAMBDA / prior.shape[0])
    return w / tf.reduce_sum(prior * w)


def rebalanced_cross_entropy(logits, target_ab, bins, prior, upsample=4):
    """Logits [N, h, w, Q] against ab at `upsample` times the size [N, kh, kw, 2] -> the mean over pixels."""
    zhat = upsample_bilinear(tf.nn.softmax(logits), upsample)
    index, z = soft_encode(target_ab, bins)
    pixel_weight = tf.gather(class_weights(prior), index[..., 0])  # that of the most likely, the nearest, bin
    chosen = tf.gather(zhat, index, batch_dims=3)
    return -tf.reduce_mean(pixel_weight * tf.reduce_sum(z * tf.math.log(chosen + LOG_EPS), -1))


def annealed_mean(logits, bins, upsample=4):
    """Logits [N, h, w, Q] -> ab [N, kh, kw, 2] at `upsample` times the size: softmax(log(zhat) / T) over the bins, times the centres."""
    zhat = upsample_bilinear(tf.nn.softmax(logits), upsample)
    return tf.tensordot(tf.nn.softmax(tf.math.log(zhat) / TEMPERATURE), bins, 1)


# Optimisers -----------------------------------------------------------------------------------------------------------


def adam(p, m, v, g, step, lr, beta1, beta2, eps, weight_decay=0.0):
    """One update, `step` counted from 1 -> (p, m, v). `weight_decay` is decoupled: it also takes lr * wd * p off p."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)) ** 0.5 + eps)
    return p - lr * weight_decay * p - lr * update, m, v


def sgd(p, v, g, lr, momentum):
    """PyTorch's convention: v = momentum * v + g; p = p - lr * v -> (p, v)."""
    v = momentum * v + g
    return p - lr * v, v
