#!/usr/bin/env python3
"""pix2pix in PyTorch: the figure beside huetape on the same GPU. Needs PyTorch alone.

  pix2pix_torch.py --cases forward:256:1,train:256:16 [--iters 20] [--precisions f32,tf32,bf16,f16] [--width 1.0] [--seconds 150] [--json FILE]
  pix2pix_torch.py --check       the golden training run (tests/goldens) in f32: is this the same network?

A case is PASS:SIZE:BATCH; the size is 256 or a multiple. f32 has TF32 off, tf32 has it on; bf16 and f16 are autocast over f32 weights. channels_last,
cuDNN's autotuner on, fused Adam. `forward` is the generator under running statistics; `train` a whole update of both networks, as huetape does it:
the generator once, the discriminator on the true and on the made picture, both gradients from these passes, then both Adams.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from colournet_torch import main, precision_of, read_safetensors, time_passes
from torch import nn

DOWN, UP, PATCH = [64, 128, 256, 512, 512, 512, 512, 512], [512, 512, 512, 512, 256, 128, 64], [64, 128, 256, 512]
SLOPE, LAMBDA_L1, LR = 0.3, 100.0, 2e-4


def scaled(channels, width):
    return max(4, 4 * int(channels * width / 4 + 0.5))


def norm(channels):
    # PyTorch's running variance is the unbiased one: it plays no part in training.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Generator(nn.Module):
    """[N, 1, S, S] -> [N, 3, S, S]. Modules are named as huetape names its tensors."""

    def __init__(self, width=1.0, dropout=0.5):
        super().__init__()
        self.dropout = dropout
        down, up = ([scaled(c, width) for c in channels] for channels in (DOWN, UP))
        c_in = 1
        for k, c_out in enumerate(down, 1):
            self.add_module(f"down{k}", nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False))
            if k > 1:
                self.add_module(f"down{k}_bn", norm(c_out))
            c_in = c_out
        for k, c_out in enumerate(up, 1):
            self.add_module(f"up{k}", nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False))
            self.add_module(f"up{k}_bn", norm(c_out))
            c_in = c_out + down[7 - k]
        self.out = nn.ConvTranspose2d(c_in, 3, 4, 2, 1)

    def forward(self, x):
        skips = []
        for k in range(1, 9):
            x = getattr(self, f"down{k}")(x)
            if k > 1:
                x = self.normalised(f"down{k}_bn", x)
            x = F.leaky_relu(x, SLOPE)
            skips.append(x)
        for k in range(1, 8):
            x = self.normalised(f"up{k}_bn", getattr(self, f"up{k}")(x))
            x = F.dropout(x, self.dropout, self.training) if k <= 3 else x
            x = torch.cat([F.relu(x), skips[7 - k]], 1)
        return torch.tanh(self.out(x))

    def normalised(self, name, x):
        layer = getattr(self, name)
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            # PyTorch refuses statistics of one value; they make beta of anything.
            return x * 0 + layer.bias[None, :, None, None]
        return layer(x)


class Discriminator(nn.Module):
    """Source [N, 1, S, S] and picture [N, 3, S, S] -> logits of patches."""

    def __init__(self, width=1.0):
        super().__init__()
        c_in = 4
        for k, channels in enumerate(PATCH, 1):
            c_out = scaled(channels, width)
            self.add_module(f"conv{k}", nn.Conv2d(c_in, c_out, 4, 2 if k < 4 else 1, 1, bias=False))
            if k > 1:
                self.add_module(f"conv{k}_bn", norm(c_out))
            c_in = c_out
        self.out = nn.Conv2d(c_in, 1, 4, 1, 1)

    def forward(self, source, picture):
        x = torch.cat([source, picture], 1)
        for k in range(1, 5):
            x = getattr(self, f"conv{k}")(x)
            x = F.leaky_relu(getattr(self, f"conv{k}_bn")(x) if k > 1 else x, SLOPE)
        return self.out(x)


def losses(generator, discriminator, source, target):
    """-> the generator's, the discriminator's."""
    made = generator(source)
    real, fake = discriminator(source, target), discriminator(source, made)
    bce = lambda logits, label: F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, label, dtype=torch.float32))
    g_loss = bce(fake, 1.0) + LAMBDA_L1 * (target - made.float()).abs().mean()
    return g_loss, bce(real, 1.0) + bce(fake, 0.0)


def step(networks, optimizers, scaler, autocast, source, target):
    with autocast:
        both = losses(*networks, source, target)
    # Both gradients from the same passes, each for its own network.
    for i, (network, loss) in enumerate(zip(networks, both)):
        network.zero_grad()
        scaler.scale(loss).backward(inputs=list(network.parameters()), retain_graph=i == 0)
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    return [loss.item() for loss in both]


def measure(which, size, batch, precision, width, iters, device):
    """-> {seconds_median, seconds, peak_bytes} of one pass."""
    torch.manual_seed(0)
    layout = {"device": device, "memory_format": torch.channels_last}
    networks = [Generator(width).to(**layout), Discriminator(width).to(**layout)]
    source, target = (torch.rand(batch, bands, size, size, device=device).to(memory_format=torch.channels_last) * 2 - 1 for bands in (1, 3))
    autocast, scaler = precision_of(precision, device)
    if which == "forward":
        networks[0].eval()

        def once():
            with torch.inference_mode(), autocast:
                networks[0](source)
    else:
        optimizers = [torch.optim.Adam(n.parameters(), LR, (0.5, 0.999), 1e-8, fused=device == "cuda") for n in networks]

        def once():
            step(networks, optimizers, scaler, autocast, source, target)

    return time_passes(once, iters, device)


def pictures(number, size=256):
    """The pictures of a golden step, see tools/goldens/pix2pix.py."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    grey = (3 * x + 5 * y + 40 * number + (x * y) % 31) % 256
    colour = torch.stack([(grey // 2 + (7 - c) * x + 2 * c * y) % 256 for c in range(3)])
    unit = lambda v: 2 * (v.float() / 255) - 1
    return unit(grey)[None, None], unit(colour)[None]


def check(device):
    folder = Path(__file__).resolve().parents[2] / "tests" / "goldens"
    golden = json.loads((folder / "pix2pix_steps.json").read_text())
    init = read_safetensors(folder / "pix2pix_init.safetensors")
    width = golden["settings"]["width"]
    networks = {"g": Generator(width, dropout=0.0), "d": Discriminator(width)}
    names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
    for which, network in networks.items():
        state = {}
        for name, tensor in init.items():
            first, _, rest = name.partition(".")
            if first == which:
                layer, _, part = rest.replace(".bn.", "_bn.").rpartition(".")
                # Kernels are [Kh, Kw, C, O]; PyTorch has [O, C, Kh, Kw], of a transposed convolution [C, O, Kh, Kw].
                order = (2, 3, 0, 1) if which == "g" and not layer.startswith("down") else (3, 2, 0, 1)
                state[f"{layer}.{names.get(part, part)}"] = tensor.permute(order) if tensor.dim() == 4 else tensor
        network.load_state_dict(state, strict=False)  # not there: num_batches_tracked
        network.to(device)
    networks = [networks["g"], networks["d"]]
    optimizers = [torch.optim.Adam(network.parameters(), LR, (0.5, 0.999), 1e-8) for network in networks]
    autocast, scaler = precision_of("f32", device)
    agrees = True
    for number, (expected, tolerance) in enumerate(zip(golden["losses"], golden["tolerances"]), 1):
        found = step(networks, optimizers, scaler, autocast, *(picture.to(device) for picture in pictures(number)))
        for name, loss in zip(("g_loss", "d_loss"), found):
            agrees &= abs(loss - expected[name]) <= tolerance[name]
            print(f"step {number:2}  {name}  PyTorch {loss:.7f}  golden {expected[name]:.7f}  of {tolerance[name]:.1e}")
    print("agrees" if agrees else "DIFFERS")
    raise SystemExit(0 if agrees else 1)


if __name__ == "__main__":
    main(__doc__, measure, check)
