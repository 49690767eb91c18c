#!/usr/bin/env bash
# Shows that the tests of monshm-core's lock word can fail: weakens it in a copy of the crate, one line of
# ci/mutate-lock-word.toml at a time, and names the test that notices. It judges no other file and changes none here.
#
#   ci/mutate-lock-word.sh [EXPRESSION]     every mutant, or those whose name the regular expression finds
#
# Ends with 1 when a mutant is noticed by no test and the table gives no reason, when one is noticed that the table
# says cannot be, or when the table no longer fits the source. Needs python3 (3.11). LOOM_MAX_PREEMPTIONS is 2 unless
# set; CARGO_TARGET_DIR is a temporary directory unless set.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$root/monshm-core" "$root/Cargo.lock" "$copy/"
export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-2} RUSTFLAGS="--cfg loom" RUST_BACKTRACE=0
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$copy/target}
python3 - "$root" "$copy" "${1:-}" <<'PYTHON'
import json, pathlib, re, subprocess, sys, tomllib

root, copy, wanted = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
manifest = (root / "Cargo.toml").read_text()
manifest = re.sub(r"(?ms)^(default-)?members = \[.*?\]\n", "", manifest)
manifest = manifest.replace("[workspace]\n", '[workspace]\nmembers = ["monshm-core"]\n', 1)
(copy / "Cargo.toml").write_text(manifest)
file = copy / "monshm-core/src/lock/word.rs"
source = file.read_text()
TEST = ["cargo", "test", "-q", "-p", "monshm-core", "--all-features", "--release"]
SECONDS = 120


def build():
    """The test programs by their names, and what the compiler said."""
    command = [*TEST, "--no-run", "--lib", "--test", "loom", "--message-format=json-render-diagnostics"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    programs = {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}
    return (programs if run.returncode == 0 else None), run.stderr


def verdict():
    """The first test that fails, None when all pass; a build that fails ends the run."""
    programs, said = build()
    if programs is None:
        sys.exit(f"does not build:\n{said}")
    # One thread and no capture: loom ends the process on a deadlock, and the last name printed is then the one.
    for name, filters in (("monshm_core", ["lock::word::"]), ("loom", [])):
        command = ["timeout", str(SECONDS), programs[name], *filters, "--test-threads=1"]
        run = subprocess.run(command, cwd=copy, capture_output=True, text=True, errors="replace")
        if run.returncode != 0:
            outcomes = re.findall(r"^test (\S+) \.\.\. (\S*)", run.stdout, re.M)
            failed = [test for test, outcome in outcomes if outcome not in ("ok", "ignored")]
            if not failed:
                sys.exit(f"ended with {run.returncode} in no test:\n{run.stdout}{run.stderr}")
            return failed[0] + (" (no end)" if run.returncode == 124 else "")
    return None


file.write_text(source + "compile_error!();")
if build()[0] is not None:
    sys.exit("what is built is not the copy")
file.write_text(source)
wrong = 0
found = verdict()
if found:
    sys.exit(f"fails before any mutation: {found}")
for mutant in tomllib.loads((root / "ci/mutate-lock-word.toml").read_text())["mutant"]:
    name, argued = mutant["name"], mutant.get("survives")
    if not re.search(wanted, name):
        continue
    if source.count(mutant["from"]) != 1:
        print(f"STALE     {name}: {source.count(mutant['from'])} places", flush=True)
        wrong += 1
        continue
    file.write_text(source.replace(mutant["from"], mutant["to"]))
    found = verdict()
    file.write_text(source)
    wrong += bool(found) == bool(argued)
    if found:
        print(f"{'MISTAKEN' if argued else 'killed':<10}{name}: {found}", flush=True)
    else:
        print(f"{'argued' if argued else 'SURVIVED':<10}{name}", flush=True)
sys.exit(1 if wrong else 0)
PYTHON
