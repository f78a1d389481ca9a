#!/usr/bin/env python3
"""Licences of what a build of huetape contains, from Cargo's own data, offline.

tools/licences.py check                                  every licence is one of ALLOWED, every crate from the registry
tools/licences.py texts FILE [--features F] [--package P]   the licence texts of the crates within
tools/licences.py sbom FILE [--features F] [--package P]    a bill of materials: CycloneDX 1.5, JSON

Without --features: the default ones. Crates that only build or test are left out; so are macros, which leave no code of their own.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Permissive, or, in the last line, of a file each (MPL) that only tests use.
ALLOWED = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Zlib", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Unlicense", "Unicode-3.0"}
ONLY_IN_TESTS = {"MPL-2.0"}
NAMES = ("LICEN", "COPYING", "UNLICENSE", "NOTICE")


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def metadata():
    """All packages by (name, version), and the checksums of the lock file by the same."""
    packages = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--all-features"))["packages"]
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    key = lambda package: (package["name"], package["version"])
    return {key(p): p for p in packages}, {key(p): p.get("checksum") for p in lock}


def within(package, features):
    """The edges between the crates of a build, [(depth, (name, version))] in the order of Cargo's tree."""
    chosen = [] if features is None else ["--no-default-features", "--features", features]
    text = cargo("tree", "-p", package, "-e", "normal,no-proc-macro", "--locked", "--no-dedupe", "--prefix", "depth", "-f", " {p}", *chosen)
    rows = re.findall(r"^(\d+) (\S+) v(\S+)", text, re.M)
    return [(int(depth), (name, version)) for depth, name, version in rows]


def alternatives(expression):
    """The ways to satisfy a licence expression, each a set of licences."""
    words = re.findall(r"\(|\)|[^\s()/]+|/", expression)

    def either():
        found = both()
        while words and words[0] in ("OR", "/"):
            words.pop(0)
            found = found + both()
        return found

    def both():
        found = one()
        while words and words[0] == "AND":
            words.pop(0)
            other = one()
            found = [a | b for a in found for b in other]
        return found

    def one():
        word = words.pop(0)
        if word == "(":
            found = either()
            words.pop(0)
            return found
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return [{word}]

    return either()


def check():
    packages, _ = metadata()
    shipped = {key for package in ("huetape", "huetape-capi") for _, key in within(package, None)}
    wrong = []
    for key, package in sorted(packages.items()):
        allowed = ALLOWED if key in shipped else ALLOWED | ONLY_IN_TESTS
        if not any(licences <= allowed for licences in alternatives(package["license"] or "none")):
            wrong.append(f"{key[0]} {key[1]}: {package['license']}")
        source = package["source"]
        if source is not None and not source.startswith("registry+"):
            wrong.append(f"{key[0]} {key[1]} comes from {source}")
    if wrong:
        sys.exit("error: crates that cannot be passed on: " + "; ".join(wrong))
    print(f"{len(packages)} crates, {len(shipped)} of them in what is passed on: licences and origins are fine")


def texts(file, package, features):
    packages, _ = metadata()
    keys = sorted({key for depth, key in within(package, features) if depth > 0 and packages[key]["source"]})
    parts = [
        "What is within, and under which licences.\n\n"
        "huetape itself: MIT OR Apache-2.0. The weights that come along: see `huetape weights`.\n"
        f"The Rust standard library ({cargo('--version').split()[1]}): MIT OR Apache-2.0, https://github.com/rust-lang/rust.\n"
        "A program that is linked statically holds parts of the GNU C Library (LGPL-2.1-or-later, https://www.gnu.org/software/libc);\n"
        "whoever wants to link it anew has the sources and tools/static-program. One for glibc 2.28 holds LLVM's libunwind and\n"
        "compiler-rt (Apache-2.0 WITH LLVM-exception).\n"
    ]
    common = {}
    for name, version in keys:
        found = packages[name, version]
        folder = Path(found["manifest_path"]).parent
        files = sorted(f for f in folder.iterdir() if f.is_file() and f.name.upper().startswith(NAMES))
        lines = [f"{name} {version}: {found['license']}", f"  {found['repository'] or ''}"]
        if not files:
            lines.append("  (the crate brings no text of its licence)")
        for path in files:
            text = path.read_text(errors="replace").strip()
            number = common.setdefault(text, (len(common) + 1, path.name))[0]
            lines.append(f"  {path.name}: text {number}")
        parts.append("\n".join(lines) + "\n")
    for text, (number, name) in common.items():
        parts.append(f"{'=' * 100}\ntext {number} ({name})\n{'=' * 100}\n{text}\n")
    Path(file).write_text("\n".join(parts))


def sbom(file, package, features):
    packages, checksums = metadata()
    reference = lambda key: f"pkg:cargo/{key[0]}@{key[1]}"
    edges, path = {}, []
    for depth, key in within(package, features):
        path[depth:] = [key]
        edges.setdefault(key, set())
        if depth:
            edges[path[depth - 1]].add(key)

    def component(key):
        found = packages[key]
        made = {
            "type": "library",
            "bom-ref": reference(key),
            "name": key[0],
            "version": key[1],
            "purl": reference(key),
            "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", found["license"])}],
        }
        if checksums.get(key):
            made["hashes"] = [{"alg": "SHA-256", "content": checksums[key]}]
        if found["repository"]:
            made["externalReferences"] = [{"type": "vcs", "url": found["repository"]}]
        return made

    root = next(key for key in edges if key[0] == package)
    made_of = [component(key) for key in sorted(edges) if key != root]
    # The same build has the same number.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([features, made_of], sort_keys=True))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": component(root) | {"type": "application" if package == "huetape" else "library"}},
        "components": made_of,
        "dependencies": [{"ref": reference(key), "dependsOn": sorted(map(reference, on))} for key, on in sorted(edges.items())],
    }
    Path(file).write_text(json.dumps(bill, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "texts", "sbom"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--package", default="huetape")
    parser.add_argument("--features")
    given = parser.parse_args()
    if given.what == "check":
        check()
    elif given.file is None:
        parser.error("name the file to write")
    else:
        {"texts": texts, "sbom": sbom}[given.what](given.file, given.package, given.features)


main()
