#!/usr/bin/env python3
"""huetape beside TensorFlow or burn: forward and training step of a model, one program after the other several times over.

Both programs are timed in the same minutes, since a ratio taken on different days says little. Each round is a process of its own, and its figure the
median of its passes; the ratio is that of the medians, and on a machine that others use too, that of the best is closer to the truth. Peak memory is each
process's largest resident set, as the system counts it. Started by `tools/peers/run`, which brings the peer.

TensorFlow runs on the CPU. burn has ColourNet alone, on the CPU (its backend flex) or, with `--device gpu`, by Vulkan. pix2pix has the training step
alone, which huetape times itself in a short run (`metrics.jsonl`) on pictures made here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PASSES = {"colournet": ("forward", "train"), "pix2pix": ("train",)}
PEERS = {"tensorflow": "TensorFlow", "burn": "burn"}
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
    import numpy as np  # not needed, nor installed, for burn
    from PIL import Image

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
    parser.add_argument("--peer", default="tensorflow", choices=PEERS)
    parser.add_argument("--huetape", default="target/release/huetape", help="the release binary")
    parser.add_argument("--burn", default="target/peers-burn/release/burn-peer", help="the release binary of tools/peers/burn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pass", dest="which", choices=["forward", "train"], help="one pass alone")
    parser.add_argument("--size", default="256")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--width", default="1.0")
    parser.add_argument("--iters", default="10", help="timed passes in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each program, alternating")
    parser.add_argument("--json", help="also write every number there")
    args = parser.parse_args()
    if not Path(args.huetape).is_file():
        raise SystemExit(f"error: {args.huetape}: not there: build it with `cargo build --release`")

    if args.peer == "burn":
        if args.model != "colournet":
            raise SystemExit("error: burn has colournet alone")
        program = [args.burn, "--backend", "flex" if args.device == "cpu" else "vulkan"]
    else:
        program = [sys.executable, str(Path(__file__).with_name(f"{args.model}_tf.py"))]
    shape = ["--size", args.size, "--batch", args.batch, "--width", args.width, "--iters", args.iters]
    table = {}
    for which in (args.which,) if args.which else PASSES[args.model]:
        profile = [args.huetape, "profile", args.model, "--pass", which, *shape, "--device", args.device, "--json"]
        peer = [*program, "--pass", which, *shape, "--json"]
        programs = {
            "huetape": lambda: measure_run(args) if args.model == "pix2pix" else measure(profile),
            args.peer: lambda: measure(peer),
        }
        seconds, peak = {name: [] for name in programs}, {name: 0 for name in programs}
        for _ in range(args.rounds):
            for name, timed in programs.items():
                median, resident = timed()
                seconds[name].append(median)
                peak[name] = max(peak[name], resident)
        table[which] = {"seconds": seconds, "peak_resident_bytes": peak}

    print(f"{args.model}, width {args.width}, {args.size}x{args.size}, batch {args.batch}, f32, {os.cpu_count()} cores; medians of {args.rounds} runs")
    name = PEERS[args.peer]
    print(f"{'':8} {'huetape':>10} {name:>11} {'ratio':>6} {'of best':>8}   {'peak memory':>12} {name:>12}")
    for which, row in table.items():
        ours, theirs = (statistics.median(row["seconds"][name]) for name in ("huetape", args.peer))
        row["ratio"] = ours / theirs
        row["ratio_of_best"] = min(row["seconds"]["huetape"]) / min(row["seconds"][args.peer])
        our_peak, their_peak = (row["peak_resident_bytes"][name] / 2**20 for name in ("huetape", args.peer))
        print(f"{which:8} {ours:8.4f} s {theirs:9.4f} s {ours / theirs:6.2f} {row['ratio_of_best']:8.2f}   {our_peak:8.0f} MiB {their_peak:8.0f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"settings": vars(args), "passes": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
