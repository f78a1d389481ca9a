"""Golden training runs of the GANs: what they have in common."""

from trajectory import *

LOSSES = ("g_loss", "d_loss", "l1")


def save_init(name, init):
    OUT.mkdir(parents=True, exist_ok=True)
    save(OUT / f"{name}_init.safetensors", init)


def train_alternately(dtype, init, batches, generator, d_loss, g_loss, optimizer):
    """Ten steps in `dtype`, the discriminator's before the generator's -> (losses, tensors after the last step, picture).

    Step k (from 1) takes batch (k - 1) % 2 of `batches`, pairs (source, target) which are cast to `dtype` and passed on:

      fake = generator(p, source)             by the weights before the step
      d_loss(p, target, fake)                 its gradient updates D alone: the fake is a constant
      g_loss(p, target, generator(...), k)    -> (loss, plain distance); by the updated D, and its gradient updates G alone

    `optimizer` is (number of state tensors, {"g.": lr, "d.": lr}, f(p, *state, gradient, step, lr) -> (p, *state)). The picture
    is the generator's output for the source of batch 0 after the last step.
    """
    slots, rates, update = optimizer
    p = {k: tf.constant(v, dtype) for k, v in init.items()}
    state = {k: [tf.zeros_like(v)] * slots for k, v in p.items()}
    batches = [[tf.constant(x, dtype) for x in batch] for batch in batches]
    history = []

    def descend(net, step, loss):
        names = [k for k in p if k.startswith(net)]
        with tf.GradientTape() as tape:
            tape.watch([p[k] for k in names])
            value, *others = loss()
        for k, gradient in zip(names, tape.gradient(value, [p[k] for k in names])):
            p[k], *state[k] = update(p[k], *state[k], gradient, step, rates[net])
        return [float(x) for x in (value, *others)]

    for step in range(1, STEPS + 1):
        source, target = batches[(step - 1) % 2]
        fake = generator(p, source)
        (on_d,) = descend("d.", step, lambda: [d_loss(p, target, fake)])
        on_g, distance = descend("g.", step, lambda: g_loss(p, target, generator(p, source), step))
        history.append([on_g, on_d, distance])
    return history, as_f64(p), generator(p, batches[0][0]).numpy().astype(np.float64)


def record(name, settings, init, train, losses=LOSSES):
    """Runs the golden run and its roundings, and writes their comparison. `train(dtype, init)` gives the losses
    [step][g, d, distance], the tensors after the last step, and a picture [N, H, W, C] that they make then."""
    history, after, picture = train(tf.float64, init)
    starts = roundings(init, 3)
    rounded = [train(tf.float32, start) for start in starts]
    gaps, tolerances = drift(history, [r[0] for r in rounded])
    save_steps(name, {
        "settings": settings,
        "losses": [dict(zip(losses, row)) for row in history],
        "tolerances": [dict(zip(losses, row)) for row in tolerances.tolist()],
        "after": compare_after(after, [r[1] for r in rounded], starts),
        "picture": {"mean": picture.mean((0, 1, 2)).tolist(),
                    "mean_gap": max(np.abs((r[2] - picture).mean((0, 1, 2))).max() for r in rounded)},
    })
    for k in range(STEPS):
        print(f"step {k + 1:2}  {', '.join(losses)} {np.array(history[k])}  f32 gaps {gaps[k]}")
