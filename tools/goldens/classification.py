"""Golden training runs of the classification networks: what ColourNet's and Window8's have in common."""

from trajectory import *

BETA1, BETA2, ADAM_EPS = 0.9, 0.99, 1e-8


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


def fullest_bins(targets, count):
    """The fullest cells of a 10-wide grid over ab, by their centres, in order of (a, b)."""
    ab = srgb_to_lab(targets.astype(np.float64), np)[..., 1:].reshape(-1, 2)
    cells, pixels = np.unique(np.floor(ab / 10).astype(int), axis=0, return_counts=True)
    chosen = cells[np.argsort(-pixels, kind="stable")[:count]]
    return (chosen[np.lexsort(chosen.T[::-1])] * 10 + 5).astype(np.float32)


def make_prior(targets, bins, smoothed):
    """Soft counts of the targets; `smoothed` by a Gaussian in the ab plane; sum 1."""
    bins = bins.astype(np.float64)
    index, weight = soft_encode(srgb_to_lab(targets.astype(np.float64), np)[..., 1:], bins)
    p = np.bincount(index.numpy().ravel(), weight.numpy().ravel(), minlength=len(bins))
    if smoothed:
        p = np.exp(-squared_distances(bins, bins).numpy() / (2 * SIGMA**2)) @ p
    return (p / p.sum()).astype(np.float32)


def make_pictures(rng, batch, size, bins):
    """-> (sources [2, N, S, S, 1], targets [2, N, S, S, 3], the bin centres): two batches.

    A source knows something of its target: it is its lightness with more contrast, and noise.
    """
    targets = smooth_pictures(rng, 2 * batch, size).reshape(2, batch, size, size, 3)
    centres = fullest_bins(targets, bins)
    targets = off_ties(targets, centres, rng)
    lightness = srgb_to_lab(targets.astype(np.float64), np)[..., :1] / 100
    sources = 0.5 + 2 * (lightness - 0.5) + rng.normal(0, 0.15, lightness.shape)
    return eight_bit(sources), targets, centres


def train(dtype, init, sources, targets, forward, upsample, lr):
    """The ten steps in `dtype` -> (losses, first gradients, tensors after the last step, ab of batch 0).

    `forward(p, source, training)` gives logits, and the running statistics as this batch updates them. `upsample` times as
    large, the logits are the centre of the picture.
    """
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
            margin = (target.shape[1] - upsample * logits.shape[1]) // 2
            centre = target[:, margin : target.shape[1] - margin, margin : target.shape[2] - margin]
            loss = rebalanced_cross_entropy(logits, srgb_to_lab(centre)[..., 1:], bins, prior, upsample)
        gradients = dict(zip(trained, tape.gradient(loss, [p[k] for k in trained])))
        first = first or gradients
        losses.append(float(loss))
        for k in trained:
            p[k], *moments[k] = adam(p[k], *moments[k], gradients[k], step, lr, BETA1, BETA2, ADAM_EPS)
        p |= statistics
    logits, _ = forward(p, tf.constant(sources[0], dtype), training=False)
    ab = annealed_mean(logits, bins, upsample)
    return losses, as_f64(first), as_f64(p), ab.numpy().astype(np.float64)


def record(name, settings, init, sources, targets, kept_gradients, forward, upsample, lr):
    """Runs the golden run and its roundings, and writes the three files of a classification network."""
    def run(dtype, start):
        return train(dtype, start, sources, targets, forward, upsample, lr)

    losses, gradients, after, ab = run(tf.float64, init)
    starts = roundings(init, 5, fixed=("bins", "prior"))
    rounded = [run(tf.float32, start) for start in starts]
    gaps, tolerances = drift(losses, [r[0] for r in rounded])
    steps = {
        "settings": settings | {"lr": lr, "beta1": BETA1, "beta2": BETA2, "adam_eps": ADAM_EPS, "temperature": TEMPERATURE},
        "loss": losses,
        "loss_gap_f32": gaps.tolist(),
        "loss_tolerance": tolerances.tolist(),
        "gradient": {
            k: {"max_abs": np.abs(gradients[k]).max(), "gap_f32": max(np.abs(r[1][k] - gradients[k]).max() for r in rounded)}
            for k in kept_gradients
        },
        "ab_gap_f32": max(np.abs(r[3] - ab).max() for r in rounded),
        "after": compare_after(after, [r[2] for r in rounded], starts),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    save(OUT / f"{name}_init.safetensors", init)
    batch = {f"source{i}": sources[i] for i in (0, 1)} | {f"target{i}": targets[i] for i in (0, 1)}
    save(OUT / f"{name}_batch.safetensors", batch | {f"grad.{k}": gradients[k] for k in kept_gradients} | {"ab": ab})
    save_steps(name, steps)
    for k in range(STEPS):
        print(f"step {k + 1:2}  loss {losses[k]:.9f}  f32 gap {gaps[k]:.1e}")
    print(f"ab {np.min(ab):.1f}..{np.max(ab):.1f}, f32 gap {steps['ab_gap_f32']:.1e}")
