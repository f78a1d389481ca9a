#!/usr/bin/env python3
"""on_gpu_summary.py WORK OUT: from what the stages of `tools/on-gpu run` left in WORK, writes OUT/on-gpu.json and OUT/on-gpu.md.

Reads WORK/stages.tsv (name, exit code, seconds), NAME.log, profile-PASS-SIZE-BATCH.json, torch.json, steps-DEVICE/metrics.jsonl and train/metrics.jsonl;
whatever is not there is left out.
"""

import json
import re
import sys
from pathlib import Path

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

torch = json_or_none("torch.json")
rows = {}  # (pass, size, batch) -> {program: seconds}
for file in sorted(work.glob("profile-*.json")):
    which, size, batch = file.stem.split("-")[1:]
    if result := json_or_none(file.name):
        rows.setdefault((which, int(size), int(batch)), {})["huetape f32"] = result["seconds_median"]
for case in torch["cases"] if torch else []:
    if "seconds_median" in case:
        key = (case["pass"], case["size"], case["batch"])
        rows.setdefault(key, {})[f"PyTorch {case['precision']}"] = case["seconds_median"]

cpu, gpu = metrics("steps-cpu"), metrics("steps-gpu")
steps = [{"step": a["step"], "cpu": a["loss"], "gpu": b["loss"], "relative": abs(a["loss"] - b["loss"]) / abs(a["loss"])} for a, b in zip(cpu, gpu)]
trained = metrics("train") or metrics("demo/run")
result = {
    "gpu": text("gpu.txt").strip() or None,
    "stages": stages,
    "profiles": {file.stem: json_or_none(file.name) for file in sorted(work.glob("profile-*.json"))},
    "torch": torch,
    "steps_cpu_gpu": steps,
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
if rows:
    programs = ["huetape f32", "PyTorch f32", "PyTorch bf16", "PyTorch f16"]
    page += ["", f"ColourNet, full width, medians in ms; {torch['program'] if torch else 'no PyTorch'}", "",
             "| pass | size | batch | " + " | ".join(programs) + " | huetape / PyTorch f32 |", "|---" * (len(programs) + 4) + "|"]
    for (which, size, batch), seconds in sorted(rows.items()):
        cells = [f"{1000 * seconds[p]:.2f}" if p in seconds else "" for p in programs]
        both = programs[0] in seconds and programs[1] in seconds
        cells.append(f"{seconds[programs[0]] / seconds[programs[1]]:.2f}" if both else "")
        page.append(f"| {which} | {size} | {batch} | " + " | ".join(cells) + " |")
if steps:
    page += ["", f"Five steps from the same weights, GPU against CPU: losses differ by at most {max(s['relative'] for s in steps):.1e} of their size."]
if trained:
    page += ["", f"Training: {len(trained)} steps, loss {trained[0]['loss']:.4f} -> {trained[-1]['loss']:.4f}, "
                 f"{trained[-1].get('images_per_s', 0):.1f} images/s at the end."]
(out / "on-gpu.md").write_text("\n".join(page) + "\n")
print("\n".join(page))
