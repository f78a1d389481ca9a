#!/usr/bin/env python3
"""huetape beside TensorFlow on the CPU: ColourNet, forward and training step, one after the other several times over.

Both programs are timed in the same minutes, since a ratio taken on different days says little. Peak memory is each process's
largest resident set, as the system counts it. Started by `tools/peers/run`, which brings TensorFlow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(command):
    """Runs a program that writes JSON to its last argument -> (that JSON, peak resident bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        process = subprocess.Popen([*command, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"error: {' '.join(command)}: failed: {errors.strip()[-500:] or status}")
        return json.loads(file.read_text()), usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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

    peer = Path(__file__).with_name("colournet_tf.py")
    shape = ["--size", args.size, "--batch", args.batch, "--width", args.width, "--iters", args.iters]
    table = {}
    for which in ("forward", "train"):
        programs = {
            "huetape": [args.huetape, "profile", "colournet", "--pass", which, *shape, "--device", args.device, "--json"],
            "tensorflow": [sys.executable, str(peer), "--pass", which, *shape, "--json"],
        }
        seconds, peak = {name: [] for name in programs}, {name: 0 for name in programs}
        for _ in range(args.rounds):
            for name, command in programs.items():
                result, resident = measure(command)
                seconds[name].append(result["seconds_median"])
                peak[name] = max(peak[name], resident)
        table[which] = {"seconds": seconds, "peak_resident_bytes": peak}

    print(f"ColourNet, width {args.width}, {args.size}x{args.size}, batch {args.batch}, f32, {os.cpu_count()} cores; medians of {args.rounds} runs")
    print(f"{'':8} {'huetape':>10} {'TensorFlow':>11} {'ratio':>6}   {'peak memory':>12} {'TensorFlow':>12}")
    for which, row in table.items():
        ours, theirs = (statistics.median(row["seconds"][name]) for name in ("huetape", "tensorflow"))
        row["ratio"] = ours / theirs
        our_peak, their_peak = (row["peak_resident_bytes"][name] / 2**20 for name in ("huetape", "tensorflow"))
        print(f"{which:8} {ours:8.4f} s {theirs:9.4f} s {ours / theirs:6.2f}   {our_peak:8.0f} MiB {their_peak:8.0f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"settings": vars(args), "passes": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
