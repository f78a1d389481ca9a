#!/usr/bin/env python3
"""Times TensorFlow on ColourNet (graph mode, f32, CPU): the figure that `huetape profile colournet` stands beside.

  colournet_tf.py --pass forward|train --size 256 --batch 1 --iters 10 [--width 1.0] [--json FILE]

`forward` ends with the low-resolution probabilities; `train` is forward, upsampling, loss, backward and Adam. The targets' soft encoding is done
beforehand, and the loss gathers its five bins of Q, which is quicker and smaller here (1.2 GiB) than dense targets (1.6 GiB): TensorFlow at its best.
JSON: seconds_median, seconds (each). Peak memory is measured from outside, for both programs alike, by `beside.py`.
"""

import argparse
import json
import statistics
import time

from keras_colournet import FILTERS, LOG_EPS, build  # sets TensorFlow's environment, so it comes first

import keras
import tensorflow as tf

Q = 274


def passes(width, size, batch):
    """-> the two passes as functions without arguments that end when their result is there."""
    model = build([max(4, 4 * int(n * width / 4 + 0.5)) for n in FILTERS], Q)
    optimizer = keras.optimizers.Adam(1e-4, beta_1=0.9, beta_2=0.99, epsilon=1e-8)
    optimizer.build(model.trainable_variables)
    source = tf.random.uniform((batch, size, size, 1), -0.5, 0.5, seed=0)
    index = tf.random.uniform((batch, size, size, 5), 0, Q, tf.int32, seed=1)
    z = tf.random.uniform((batch, size, size, 5), seed=2)  # soft encoding times class weight
    probabilities = keras.Model(model.input, model.get_layer("out").output)

    @tf.function
    def forward():
        return probabilities(source, training=False)

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            chosen = tf.gather(model(source, training=True), index, batch_dims=3)
            loss = -tf.reduce_mean(tf.reduce_sum(z * tf.math.log(chosen + LOG_EPS), -1))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    return {"forward": lambda: forward().numpy(), "train": lambda: train().numpy()}


def time_passes(doc, passes):
    """The command line that the programs here share. `passes(width, size, batch)` gives functions without arguments by the name of the pass."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pass", dest="which", choices=["forward", "train"], required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--iters", type=int, default=10)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--json")
    args = parser.parse_args()

    once = passes(args.width, args.size, args.batch)[args.which]
    once(), once()  # tracing, and the first run's allocations
    seconds = []
    for _ in range(args.iters):
        start = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - start)
    result = {"program": f"TensorFlow {tf.__version__}", "pass": args.which, "size": args.size, "batch": args.batch,
              "width": args.width, "seconds_median": statistics.median(seconds), "seconds": seconds}
    print(f"{result['program']} {args.which} {args.size}x{args.size} batch {args.batch}: {result['seconds_median']:.4f} s")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file)


if __name__ == "__main__":
    time_passes(__doc__, passes)
