#!/usr/bin/env python3
"""Times TensorFlow on pix2pix (graph mode, f32, CPU): the figure that a step of `huetape train pix2pix` stands beside.

  pix2pix_tf.py --pass forward|train --size 256 --batch 1 --iters 10 [--width 1.0] [--json FILE]

`forward` is the generator by running statistics; `train` is one update of both networks by one forward pass, as in TensorFlow's tutorial: gradients of
both losses, then Adam twice, dropout included. JSON: seconds_median, seconds (each). Peak memory is measured from outside by `beside.py`.
"""

from colournet_tf import time_passes  # sets TensorFlow's environment, so it comes first
from keras_pix2pix import discriminator, generator, losses

import keras
import tensorflow as tf


def passes(width, size, batch):
    """-> the two passes as functions without arguments that end when their result is there."""
    g, d = generator(width, dropout=0.5), discriminator(width)
    optimizers = [keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.999, epsilon=1e-8) for _ in "gd"]
    for optimizer, network in zip(optimizers, (g, d)):
        optimizer.build(network.trainable_variables)
    source = tf.random.uniform((batch, size, size, 1), -1, 1, seed=0)
    target = tf.random.uniform((batch, size, size, 3), -1, 1, seed=1)

    @tf.function
    def forward():
        return g(source, training=False)

    @tf.function
    def train():
        with tf.GradientTape(persistent=True) as tape:
            g_loss, d_loss, l1 = losses(g, d, source, target)
        for network, optimizer, loss in ((g, optimizers[0], g_loss), (d, optimizers[1], d_loss)):
            variables = network.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return g_loss, d_loss, l1

    return {"forward": lambda: forward().numpy(), "train": lambda: [loss.numpy() for loss in train()]}


if __name__ == "__main__":
    time_passes(__doc__, passes)
