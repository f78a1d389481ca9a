#!/usr/bin/env python3
"""ColourNet in PyTorch: the figure beside huetape on the same GPU. Needs PyTorch alone.

  colournet_torch.py --cases forward:256:1,train:256:8 [--iters 20] [--precisions f32,tf32,bf16,f16] [--width 1.0] [--seconds 150] [--json FILE]
  colournet_torch.py --check       the golden training run (tests/goldens) in f32: is this the same network?

A case is PASS:SIZE:BATCH. f32 has TF32 off, tf32 has it on; bf16 and f16 are autocast over f32 weights. channels_last, cuDNN's autotuner on, fused Adam.
`forward` ends with the low-resolution probabilities; `train` is forward, loss, backward and Adam. Like huetape's, the loss reads 5 bins x 4
low-resolution neighbours a pixel and never makes Q channels at full size.
"""

import argparse
import json
import statistics
import struct
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

FILTERS = [64, 128, 256, 512, 512, 512, 256, 128]
STRIDES = [(1, 2), (1, 2), (1, 1, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)]
Q, LOG_EPS = 274, 1e-4


class ColourNet(nn.Module):
    """[N, 1, H, W] -> probabilities [N, Q, H/4, W/4]. Modules are named as huetape names its tensors."""

    def __init__(self, width=1.0, q=Q):
        super().__init__()
        c_in = 1
        for block, (filters, strides) in enumerate(zip(FILTERS, STRIDES), 1):
            c_out = max(4, 4 * int(filters * width / 4 + 0.5))
            for i, stride in enumerate(strides, 1):
                dilation = 2 if block in (5, 6) else 1
                conv = nn.Conv2d(c_in, c_out, 3, stride, padding=dilation if stride == 1 else 0, dilation=dilation)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.bias)
                self.add_module(f"conv{block}_{i}", conv)
                c_in = c_out
            # PyTorch's running variance is the unbiased one: it plays no part in training.
            self.add_module(f"bn{block}", nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01))
        self.out = nn.Conv2d(c_in, q, 1)

    def forward(self, x):
        for block, strides in enumerate(STRIDES, 1):
            x = F.interpolate(x, scale_factor=2) if block == 8 else x
            for i, stride in enumerate(strides, 1):
                if stride == 2:  # "same" on an even size: nothing before, one row and column after
                    x = F.pad(x, (0, 1, 0, 1))
                x = F.relu(getattr(self, f"conv{block}_{i}")(x), inplace=True)
            x = getattr(self, f"bn{block}")(x)
        return self.out(x).float().softmax(1)


def corners(h, w, device):
    """For each pixel at four times h x w: its four low-resolution neighbours [4h, 4w, 4] (row-major) and their weights."""
    def axis(n):
        at = (torch.arange(4 * n, dtype=torch.float64) + 0.5) / 4 - 0.5
        low = at.floor()
        near = torch.stack([low, low + 1], -1).clamp(0, n - 1).long()
        return near, torch.stack([1 - (at - low), at - low], -1)

    (rows, row_weights), (columns, column_weights) = axis(h), axis(w)
    index = rows[:, None, :, None] * w + columns[None, :, None, :]
    weight = row_weights[:, None, :, None] * column_weights[None, :, None, :]
    return index.reshape(4 * h, 4 * w, 4).to(device), weight.reshape(4 * h, 4 * w, 4).float().to(device)


class Loss:
    """Rebalanced cross-entropy against soft targets: `bins`, `z` [N, 4h, 4w, 5], z already times the pixel's class weight."""

    def __init__(self, bins, z, q):
        n, big_h, big_w, _ = bins.shape
        index, self.weight = corners(big_h // 4, big_w // 4, bins.device)
        places = torch.arange(n, device=bins.device)[:, None, None, None] * (big_h // 4 * (big_w // 4)) + index
        self.index, self.z = places[..., :, None] * q + bins[..., None, :], z  # index: [N, 4h, 4w, 4, 5]

    def __call__(self, probabilities):
        flat = probabilities.permute(0, 2, 3, 1).reshape(-1)
        zhat = (flat[self.index] * self.weight[..., None]).sum(-2)
        return -(self.z * torch.log(zhat + LOG_EPS)).sum(-1).mean()


# Timing ---------------------------------------------------------------------------------------------------------------


def precision_of(name, device):
    """-> (autocast, scaler) of f32, tf32, bf16 or f16; whether TF32 is used is set."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    kind = {"bf16": torch.bfloat16, "f16": torch.float16}.get(name)
    # Weights in a type that autocast does not take stay as they are.
    autocast = torch.autocast(device, dtype=kind or torch.bfloat16, enabled=kind is not None)
    return autocast, torch.amp.GradScaler(device, enabled=kind is torch.float16)


def time_passes(once, iters, device):
    """-> {seconds_median, seconds, peak_bytes} of calls of `once`."""
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):  # cuDNN tries its algorithms, the allocator fills
        once()
    seconds = []
    for _ in range(iters):
        synchronize()
        start = time.perf_counter()
        once()
        synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return {"seconds_median": statistics.median(seconds), "seconds": seconds, "peak_bytes": peak}


def measure(which, size, batch, precision, width, iters, device):
    """-> {seconds_median, seconds, peak_bytes} of one pass."""
    torch.manual_seed(0)
    model = ColourNet(width).to(device, memory_format=torch.channels_last)
    x = (torch.rand(batch, 1, size, size, device=device) - 0.5).to(memory_format=torch.channels_last)
    autocast, scaler = precision_of(precision, device)

    if which == "forward":
        model.eval()

        def once():
            with torch.inference_mode(), autocast:
                model(x)
    else:
        bins = torch.randint(Q, (batch, size, size, 5), device=device)
        loss_of = Loss(bins, torch.rand(batch, size, size, 5, device=device), Q)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4, (0.9, 0.99), 1e-8, fused=device == "cuda")

        def once():
            optimizer.zero_grad()
            with autocast:
                probabilities = model(x)
            scaler.scale(loss_of(probabilities)).backward()
            scaler.step(optimizer)
            scaler.update()

    return time_passes(once, iters, device)


# The golden run -------------------------------------------------------------------------------------------------------


def read_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return tensors


def srgb_to_ab(rgb):
    matrix = torch.tensor([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    t = linear @ matrix.T / torch.tensor([0.95047, 1, 1.08883])
    f = torch.where(t > 216 / 24389, t ** (1 / 3), (24389 / 27 * t + 16) / 116)
    return torch.stack([500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def check(device):
    folder = Path(__file__).resolve().parents[2] / "tests" / "goldens"
    golden = json.loads((folder / "colournet_steps.json").read_text())
    init, batch = (read_safetensors(folder / f"colournet_{name}.safetensors") for name in ("init", "batch"))
    bins, prior = init.pop("bins"), init.pop("prior")
    model = ColourNet(golden["settings"]["width"], len(bins))
    names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
    state = {}
    for name, tensor in init.items():
        layer, part = name.split(".")
        state[f"{layer}.{names.get(part, part)}"] = tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor
    model.load_state_dict(state, strict=False)  # not there: num_batches_tracked
    model.to(device)

    class_weights = 1 / (0.5 * prior + 0.5 / len(prior))
    class_weights /= (prior * class_weights).sum()
    losses = []
    for i in (0, 1):
        distance, nearest = ((srgb_to_ab(batch[f"target{i}"])[..., None, :] - bins) ** 2).sum(-1).topk(5, largest=False)
        z = torch.softmax(-distance / (2 * 5.0**2), -1) * class_weights[nearest[..., :1]]
        losses.append(Loss(nearest.to(device), z.to(device), len(bins)))
    sources = [(batch[f"source{i}"] - 0.5).permute(0, 3, 1, 2).to(device) for i in (0, 1)]
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, (0.9, 0.99), 1e-8)
    agrees = True
    for step, (expected, tolerance) in enumerate(zip(golden["loss"], golden["loss_tolerance"])):
        optimizer.zero_grad()
        loss = losses[step % 2](model(sources[step % 2]))
        loss.backward()
        optimizer.step()
        agrees &= abs(loss.item() - expected) <= tolerance
        print(f"step {step + 1:2}  PyTorch {loss.item():.7f}  golden {expected:.7f}  difference {abs(loss.item() - expected):.1e} of {tolerance:.1e}")
    print("agrees" if agrees else "DIFFERS")
    raise SystemExit(0 if agrees else 1)


def main(what, measure, check):
    """The command line of a network: `what` it does, how a case is measured, and how it is checked."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--cases", default="forward:256:1,train:256:1")
    parser.add_argument("--precisions", default="f32,tf32,bf16,f16")
    parser.add_argument("--iters", type=int, default=20)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=1e9, help="start no further case after this long")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.check:
        check(device)
    torch.backends.cudnn.benchmark = True

    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    result = {"program": f"PyTorch {torch.__version__}", "device": name, "width": args.width, "cases": []}
    begun = time.perf_counter()
    for case in args.cases.split(","):
        which, size, batch = case.split(":")
        for precision in args.precisions.split(","):
            row = {"pass": which, "size": int(size), "batch": int(batch), "precision": precision}
            if time.perf_counter() - begun > args.seconds:
                row["error"] = "not run: out of time"
            else:
                try:
                    row |= measure(which, int(size), int(batch), precision, args.width, args.iters, device)
                except RuntimeError as error:  # out of memory, most likely: the other cases still run
                    row["error"] = str(error).splitlines()[0]
            print(case, precision, row.get("error") or f"{row['seconds_median']:.5f} s", flush=True)
            result["cases"].append(row)
            if args.json:
                Path(args.json).write_text(json.dumps(result))


if __name__ == "__main__":
    main(__doc__, measure, check)
