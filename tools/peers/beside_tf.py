#!/usr/bin/env python3
"""huetape beside TensorFlow on the CPU: forward and training step of a model, one program after the other several times over.

Both programs are timed in the same minutes, since a ratio taken on different days says little. Each round is a process of its own, and its figure the
median of its passes; the ratio is that of the medians, and on a machine that others use too, that of the best is closer to the truth. Peak memory is each
process's largest resident set, as the system counts it. Started by `tools/peers/run`, which brings TensorFlow.

pix2pix has the training step alone, which huetape times itself in a short run (`metrics.jsonl`) on pictures made here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PASSES = {"colournet": ("forward", "train"), "pix2pix": ("train",)}
WARM_UP = 2  # steps of a run that do not count, as in the other programs


def run(command):
    """Runs a program -> its peak resident bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"error: {' '.join(command)}: failed: {errors.strip()[-500:] or status}")
    return usage.ru_maxrss * 1024


def measure(command):
    """Runs a program that writes JSON to its last argument -> (median seconds, peak resident bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        peak = run([*command, str(file)])
        return json.loads(file.read_text())["seconds_median"], peak


def measure_run(args):
    """A short run of huetape -> (median seconds of a step, peak resident bytes)."""
    rng = np.random.default_rng(0)
    size, batch = int(args.size), int(args.batch)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, shape in (("source", (size, size)), ("target", (size, size, 3))):
            (folder / name).mkdir()
            for i in range(batch):
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name / f"{i}.png")
        peak = run([args.huetape, "train", args.model, "--source", f"{folder}/source", "--target", f"{folder}/target", "--out", f"{folder}/run",
                    "--size", args.size, "--batch", args.batch, "--width", args.width, "--device", args.device,
                    "--steps", str(int(args.iters) + WARM_UP)])
        steps = [json.loads(line)["seconds"] for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        return statistics.median(steps[WARM_UP:]), peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="colournet", choices=PASSES)
    parser.add_argument("--huetape", default="target/release/huetape", help="the release binary")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="256")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--width", default="1.0")
    parser.add_argument("--iters", default="10", help="timed passes in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each program, alternating")
    parser.add_argument("--json", help="also write every number there")
    args = parser.parse_args()
    if not Path(args.huetape).is_file():
        raise SystemExit(f"error: {args.huetape}: not there: build it with `cargo build --release`")

    peer = Path(__file__).with_name(f"{args.model}_tf.py")
    shape = ["--size", args.size, "--batch", args.batch, "--width", args.width, "--iters", args.iters]
    table = {}
    for which in PASSES[args.model]:
        profile = [args.huetape, "profile", args.model, "--pass", which, *shape, "--device", args.device, "--json"]
        tensorflow = [sys.executable, str(peer), "--pass", which, *shape, "--json"]
        programs = {
            "huetape": lambda: measure_run(args) if args.model == "pix2pix" else measure(profile),
            "tensorflow": lambda: measure(tensorflow),
        }
        seconds, peak = {name: [] for name in programs}, {name: 0 for name in programs}
        for _ in range(args.rounds):
            for name, program in programs.items():
                median, resident = program()
                seconds[name].append(median)
                peak[name] = max(peak[name], resident)
        table[which] = {"seconds": seconds, "peak_resident_bytes": peak}

    print(f"{args.model}, width {args.width}, {args.size}x{args.size}, batch {args.batch}, f32, {os.cpu_count()} cores; medians of {args.rounds} runs")
    print(f"{'':8} {'huetape':>10} {'TensorFlow':>11} {'ratio':>6} {'of best':>8}   {'peak memory':>12} {'TensorFlow':>12}")
    for which, row in table.items():
        ours, theirs = (statistics.median(row["seconds"][name]) for name in ("huetape", "tensorflow"))
        row["ratio"] = ours / theirs
        row["ratio_of_best"] = min(row["seconds"]["huetape"]) / min(row["seconds"]["tensorflow"])
        our_peak, their_peak = (row["peak_resident_bytes"][name] / 2**20 for name in ("huetape", "tensorflow"))
        print(f"{which:8} {ours:8.4f} s {theirs:9.4f} s {ours / theirs:6.2f} {row['ratio_of_best']:8.2f}   {our_peak:8.0f} MiB {their_peak:8.0f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"settings": vars(args), "passes": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
