"""Kill the main job at random moments, resume it, and compare the outcome with an undisturbed run, byte for byte.

    python benchmarks/kills.py [--kills 200] [--seed 1]

Prints one line a finished run and a total; exit status 1 if any byte differed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "tests/data/golden/small"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("images.h5", "mask.h5"):
            shutil.copy(GOLDEN / name, folder)
        text = (GOLDEN / "rings-nocen-nosat-nograd.stream").read_bytes()
        at = text.index(b"----- Begin chunk")
        stream = folder / "run.stream"
        stream.write_bytes(text[:at] + text[at:] * 30)
        command = [sys.executable, "-m", "waterbg", "subtract", stream, "-j", "2"]
        whole = folder / "whole.stream"
        subprocess.run([*command, "-o", whole], check=True, stderr=subprocess.DEVNULL)
        out, kills, runs, different = folder / "out.stream", 0, 0, 0
        while kills < given.kills:
            out.unlink(missing_ok=True)
            since = kills
            while not out.exists():
                process = subprocess.Popen(
                    [*command, "-o", out, "--resume"], stderr=subprocess.DEVNULL, start_new_session=True
                )
                try:
                    process.wait(timeout=rng.uniform(0.1, 4.5))
                except subprocess.TimeoutExpired:
                    # now and then only the parent, as the out-of-memory killer does
                    os.kill(process.pid, signal.SIGKILL) if rng.random() < 0.3 else os.killpg(
                        process.pid, signal.SIGKILL
                    )
                    process.wait()
                    kills += 1
                else:
                    if process.returncode:
                        print(f"exit status {process.returncode} of a resumed run")
                        return 1
            runs += 1
            same = out.read_bytes() == whole.read_bytes()
            different += not same
            print(f"run {runs}: {kills - since} kills, {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
        print(f"{kills} kills in {runs} runs, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
