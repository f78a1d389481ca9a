"""Metrics of pictures as scikit-image has them: tests/goldens/quality.json.

What scikit-image lacks (the spectral angle, the area under the ab-error curve, colourfulness) is written out below in NumPy. The pictures
are two formulas, `picture` and `near`, which the test knows too.

    pip install scikit-image==0.26.0 numpy
    python tools/goldens/quality.py
"""

import json
from pathlib import Path

import numpy as np
from skimage.color import deltaE_cie76, deltaE_ciede2000, rgb2lab
from skimage.metrics import (
    mean_squared_error,
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

OUT = Path(__file__).parents[2] / "tests" / "goldens" / "quality.json"

# A classifier's bins and the share of each; the third never occurs.
BINS = np.array([[-10.0, 20.0], [0.0, -20.0], [300.0, 300.0], [30.0, -50.0], [70.0, 30.0]])
PRIOR = np.array([0.1, 0.6, 0.0, 0.05, 0.25])


def picture(height, width, bands, k):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(bands), indexing="ij")
    return ((7 * x + 3 * y + 40 * c + k * ((x * y + 13 * c) % 23)) % 256).astype(np.uint8)


def near(a):
    noise = (np.arange(a.size).reshape(a.shape) * 37) % 29 - 14
    return np.clip(a.astype(int) + noise, 0, 255).astype(np.uint8)


def ssim(a, b):
    # Below 11 pixels scikit-image refuses; with a window of 1 it keeps the Gaussian and drops the crop.
    small = {"win_size": 1} if min(a.shape[:2]) < 11 else {}
    return structural_similarity(
        a, b, gaussian_weights=True, use_sample_covariance=False, data_range=255, channel_axis=2, **small
    )


def spectral_angle(made, truth):
    a, b = made.reshape(-1, made.shape[2]).astype(float), truth.reshape(-1, truth.shape[2]).astype(float)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    a, b, norms = a[norms > 0], b[norms > 0], norms[norms > 0]
    return np.degrees(np.arccos(np.minimum((a * b).sum(1) / norms, 1))).mean()


def area_under_curve(distance, weight):
    within = [(weight * (distance <= t)).sum() / weight.sum() for t in range(151)]
    return np.trapezoid(within) / 150


def colourfulness(a):
    r, g, b = a.astype(float).transpose(2, 0, 1)
    rg, yb = r - g, (r + g) / 2 - b
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def scores(made, truth, copy):
    found = {
        "mse": mean_squared_error(truth, made),
        "mae": np.abs(truth.astype(float) - made).mean(),
        "psnr": peak_signal_noise_ratio(truth, made, data_range=255),
        "ssim": ssim(truth, made),
        "nrmse": normalized_root_mse(truth, made, normalization="euclidean"),
        "copy_ratio": np.abs(copy.astype(float) - made).mean() / np.abs(truth.astype(float) - made).mean(),
    }
    if made.shape[2] > 1:
        found["spectral_angle"] = spectral_angle(made, truth)
    if made.shape[2] == 3:
        lab_made, lab_truth = rgb2lab(made), rgb2lab(truth)
        distance = np.linalg.norm(lab_made[..., 1:] - lab_truth[..., 1:], axis=2).ravel()
        nearest = np.linalg.norm(lab_truth[..., None, 1:] - BINS, axis=3).argmin(2).ravel()
        weight = 1 / np.maximum(PRIOR, PRIOR[PRIOR > 0].min())
        found |= {
            "delta_e_76": deltaE_cie76(lab_truth, lab_made).mean(),
            "delta_e_2000": deltaE_ciede2000(lab_truth, lab_made).mean(),
            "ab_error": distance.mean(),
            "ab_auc": area_under_curve(distance, np.ones_like(distance)),
            "ab_auc_rebalanced": area_under_curve(distance, weight[nearest]),
            "colourfulness": colourfulness(made),
        }
    return {name: float(value) for name, value in found.items()}


def main():
    cases = []
    for height, width, bands in [(11, 11, 3), (24, 31, 3), (40, 16, 3), (7, 5, 3), (1, 1, 3), (17, 12, 1), (13, 20, 4)]:
        truth, copy = picture(height, width, bands, 1), picture(height, width, bands, 2)
        for kind, made in [("far", picture(height, width, bands, 3)), ("near", near(truth))]:
            case = {"height": height, "width": width, "bands": bands, "made": kind}
            cases.append(case | {"scores": scores(made, truth, copy)})
    golden = {"bins": BINS.tolist(), "prior": PRIOR.tolist(), "cases": cases}
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
