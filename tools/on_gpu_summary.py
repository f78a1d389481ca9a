#!/usr/bin/env python3
"""on_gpu_summary.py WORK OUT | --readme ON-GPU.JSON README.MD

The first: from what the stages of `tools/on-gpu run` left in WORK, writes OUT/on-gpu.json and OUT/on-gpu.md.

Reads WORK/stages.tsv (name, exit code, seconds), NAME.log, profile-NETWORK-PASS-SIZE-BATCH.json (and tuned-...), torch-NETWORK.json, cache/*.json,
steps-DEVICE/metrics.jsonl and train/metrics.jsonl; whatever is not there is left out.
The second puts the table of such a JSON into a page, between the lines `<!-- on-gpu -->` and `<!-- /on-gpu -->`.
"""

import json
import re
import sys
from pathlib import Path

PROGRAMS = ["huetape f32", "huetape tuned", "huetape f16", *(f"PyTorch {precision}" for precision in ("f32", "tf32", "bf16", "f16"))]


def table(result):
    """The lines of the table beside PyTorch."""
    rows = {}  # (network, pass, size, batch) -> {program: seconds}
    for name, profile in result["profiles"].items():
        kind, _, case = name.partition("profile-")
        network, which, size, batch = case.split("-")
        if profile:
            row = rows.setdefault((network, which, int(size), int(batch)), {})
            row[f"huetape {kind.rstrip('-') or 'f32'}"] = profile["seconds_median"]
    for network, found in result["torch"].items():
        for case in found["cases"]:
            if "seconds_median" in case:
                row = rows.setdefault((network, case["pass"], case["size"], case["batch"]), {})
                row[f"PyTorch {case['precision']}"] = case["seconds_median"]
    # In f16 only where it was measured.
    ratios = [precision for precision in ("f32", "f16") if precision == "f32" or any("huetape f16" in row for row in rows.values())]
    programs = [program for program in PROGRAMS if any(program in row for row in rows.values())]
    versions = sorted({found["program"] for found in result["torch"].values()})
    widths = sorted({profile["width"] for profile in result["profiles"].values() if profile})
    lines = [f"Medians in ms, width {' and '.join(map(str, widths))}; {', '.join(versions) or 'no PyTorch'}", "",
             "| network | pass | size | batch | " + " | ".join(programs + [f"huetape / PyTorch {precision}" for precision in ratios]) + " |",
             "|---" * (len(programs) + 4 + len(ratios)) + "|"]
    for (network, which, size, batch), seconds in sorted(rows.items()):
        cells = [f"{1000 * seconds[p]:.2f}" if p in seconds else "" for p in programs]
        for precision in ratios:
            pair = [seconds.get(f"{program} {precision}") for program in ("huetape", "PyTorch")]
            cells.append(f"{pair[0] / pair[1]:.2f}" if all(pair) else "")
        lines.append(f"| {network} | {which} | {size} | {batch} | " + " | ".join(cells) + " |")
    return lines if rows else []


if sys.argv[1] == "--readme":
    result, page = json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    before, mark, rest = page.read_text().partition("<!-- on-gpu -->\n")
    _, end, after = rest.partition("<!-- /on-gpu -->\n")
    if not (mark and end):
        sys.exit(f"{page}: has no lines <!-- on-gpu --> and <!-- /on-gpu -->")
    lines = [f"**On a GPU:** {result['gpu'] or 'no name known'}, by `tools/on-gpu`. {table(result)[0]}", *table(result)[1:]]
    page.write_text(before + mark + "\n".join(lines) + "\n" + end + after)
    sys.exit()

work, out = Path(sys.argv[1]), Path(sys.argv[2])


def text(name):
    file = work / name
    return file.read_text(errors="replace") if file.is_file() else ""


def json_or_none(name):
    try:
        return json.loads(text(name))
    except json.JSONDecodeError:
        return None


def metrics(run):
    try:
        return [json.loads(line) for line in text(f"{run}/metrics.jsonl").splitlines()]
    except json.JSONDecodeError:
        return []


def tests(log):
    """Sums over every `test result:` line, and the names that failed."""
    counts = [tuple(map(int, found)) for found in re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed", log)]
    failed = re.findall(r"^test (.+?) \.\.\. FAILED$", log, re.M)
    return {"passed": sum(c[0] for c in counts), "failed": sum(c[1] for c in counts), "names": failed} if counts else None


stages = [dict(zip(("stage", "rc", "seconds"), (name, int(rc), int(seconds))))
          for name, rc, seconds in (line.split("\t") for line in text("stages.tsv").splitlines())]
for stage in stages:
    log = text(f"{stage['stage']}.log")
    if found := tests(log):
        stage["tests"] = found
    if stage["rc"]:
        stage["last_lines"] = log.splitlines()[-8:]

torch = {name: found for name in ("colournet", "pix2pix") if (found := json_or_none(f"torch-{name}.json"))}
profiles = {file.stem: json_or_none(file.name) for file in sorted(work.glob("*profile-*.json"))}
# Of the profiles, in which it stands: what the device can do at best.
roofline = next((profile["roofline"] for profile in profiles.values() if profile and profile.get("roofline")), None)

def beside(cpu, gpu):
    return [{"step": a["step"], "cpu": a["loss"], "gpu": b["loss"], "relative": abs(a["loss"] - b["loss"]) / abs(a["loss"])} for a, b in zip(cpu, gpu)]


steps, in_f16 = (beside(metrics("steps-cpu"), metrics(f"steps-{name}")) for name in ("gpu", "f16"))
trained = metrics("train") or metrics("demo/run")
result = {
    "gpu": text("gpu.txt").strip() or None,
    "stages": stages,
    "profiles": profiles,
    "torch": torch,
    "roofline": roofline,
    "tuned": json_or_none("cache/tune.json"),
    "steps_cpu_gpu": steps,
    "steps_cpu_f16": in_f16,
    "training": {"steps": len(trained), "first": trained[0], "last": trained[-1]} if trained else None,
    "doctor": text("doctor.log").splitlines(),
}
(out / "on-gpu.json").write_text(json.dumps(result, indent=1) + "\n")

page = [f"# On a GPU: {result['gpu'] or 'no name known'}", "", "| stage | exit code | seconds | tests |", "|---|---|---|---|"]
for stage in stages:
    found = stage.get("tests")
    page.append(f"| {stage['stage']} | {stage['rc']} | {stage['seconds']} | {'%d passed, %d failed' % (found['passed'], found['failed']) if found else ''} |")
for stage in stages:
    if stage["rc"]:
        page += ["", f"`{stage['stage']}` ended with:", "", "```", *stage["last_lines"], "```"]
        page += [f"- failed: `{name}`" for name in stage.get("tests", {}).get("names", [])]
if roofline:
    page += ["", f"Measured: {roofline['gflops']:.0f} GFLOP/s, {roofline['gbs']:.0f} GB/s, {roofline['launch_us']:.1f} microseconds a launch."]
if lines := table(result):
    page += ["", *lines]
if steps:
    page += ["", f"Five steps from the same weights, GPU against CPU: losses differ by at most {max(s['relative'] for s in steps):.1e} of their size."]
if in_f16:
    page += ["", f"The same in f16: at most {max(s['relative'] for s in in_f16):.1e}."]
if trained:
    page += ["", f"Training: {len(trained)} steps, loss {trained[0]['loss']:.4f} -> {trained[-1]['loss']:.4f}, "
                 f"{trained[-1].get('images_per_s', 0):.1f} images/s at the end."]
(out / "on-gpu.md").write_text("\n".join(page) + "\n")
print("\n".join(page))
