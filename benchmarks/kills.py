"""Kill the main job at random moments and resume it, and run it beside a stream that grows in odd pieces: equal bytes?

    python benchmarks/kills.py [--kills 200] [--follows 5] [--seed 1]

Prints one line a finished run and a total; exit status 1 if any byte differed from an undisturbed run's.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from waterbg.run.job import model_beside

GOLDEN = Path(__file__).resolve().parents[1] / "tests/data/golden/small"


def resumed(command, out, rng, longest):
    """Kill and resume until the output is there: how many kills it took; a try gets up to ``longest`` seconds."""
    kills = 0
    while not out.exists():
        process = subprocess.Popen([*command, "-o", out, "--resume"], stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=rng.uniform(0.1, longest))
        except subprocess.TimeoutExpired:
            # now and then only the parent, as the out-of-memory killer does
            alone = rng.random() < 0.3
            os.kill(process.pid, signal.SIGKILL) if alone else os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            longest *= 1.05  # until a try gets far enough to write something
        else:
            if process.returncode:
                raise SystemExit(f"exit status {process.returncode} of a resumed run")
    return kills


def followed(command, growing, text, out, rng):
    """Write a stream in odd pieces while the main job follows it: how many pieces it was."""
    growing.unlink(missing_ok=True)
    growing.touch()
    process = subprocess.Popen([*command, "-o", out, "--follow", "--until-idle=3"], stderr=subprocess.DEVNULL)
    pieces = at = 0
    with growing.open("ab", buffering=0) as file:
        while at < len(text):
            size = int(rng.choice([1, 7, 333, 4096, 50_001, 200_003]))
            file.write(text[at : at + size])
            at, pieces = at + size, pieces + 1
            time.sleep(rng.uniform(0, 0.06))
    if process.wait(timeout=300):
        raise SystemExit(f"exit status {process.returncode} of a run beside a growing stream")
    return pieces


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--follows", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("images.h5", "mask.h5"):
            shutil.copy(GOLDEN / name, folder)
        text = (GOLDEN / "rings-nocen-nosat-nograd.stream").read_bytes()
        at = text.index(b"----- Begin chunk")
        text = text[:at] + text[at:] * 30
        stream, out = folder / "run.stream", folder / "out.stream"
        stream.write_bytes(text)
        command = [sys.executable, "-m", "waterbg", "subtract"]
        whole = folder / "whole.stream"
        began = time.monotonic()
        subprocess.run([*command, stream, "-j", "2", "-o", whole], check=True, stderr=subprocess.DEVNULL)
        longest = 0.8 * (time.monotonic() - began)
        kills = runs = different = 0

        def judge(what):
            nonlocal runs, different
            same = out.read_bytes() == whole.read_bytes()
            out.unlink()
            Path(model_beside(str(out))).unlink()  # a run that is not resumed does not replace it
            runs, different = runs + 1, different + (not same)
            print(f"run {runs}: {what}, {'the same bytes' if same else 'OTHER BYTES'}", flush=True)

        while kills < given.kills:
            here = resumed([*command, stream, "-j", "2"], out, rng, longest)
            kills += here
            # some kills a run, on a machine that may be busy now and idle later
            longest *= 0.7 if here < 4 else 1.3 if here > 12 else 1
            judge(f"{here} kills")
        for jobs in range(given.follows):
            growing = folder / "growing.stream"
            pieces = followed([*command, growing, "-j", str(1 + jobs % 3)], growing, text, out, rng)
            judge(f"followed in {pieces} pieces with {1 + jobs % 3} workers")
        print(f"{kills} kills and {given.follows} growing streams in {runs} runs, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
