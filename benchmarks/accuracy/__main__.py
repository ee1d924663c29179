"""How accurate are the intensities? Simulated sets with known truth, every method, against what is possible.

python -m benchmarks.accuracy                          all sets, 12 frames each
python -m benchmarks.accuracy --sets nominal,weak --frames 24
python -m benchmarks.accuracy --frames 24 --write      also into docs/accuracy.md
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from functools import reduce
from pathlib import Path

import numpy as np

from benchmarks.accuracy import methods, report, tables
from benchmarks.accuracy.metrics import judged, score
from benchmarks.accuracy.targets import RMSE
from waterbg.simulate import preset, write_dataset


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default=",".join(RMSE), help="comma-separated (default: %(default)s)")
    parser.add_argument("--methods", default=",".join(methods.ALL), help="comma-separated (default: all)")
    parser.add_argument("--frames", type=int, default=12, help="frames a set (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="instead of each preset's own")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the sets here, and leave them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores here")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accuracy.md")
    options = parser.parse_args(argv)

    all_results, texts = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sets.split(","):
            folder = (options.keep or Path(scratch)) / name
            experiment = preset(name)
            if options.seed is not None:
                experiment = experiment.replace(seed=options.seed)
            results, n = measure(experiment, name, options.frames, folder, options.methods.split(","))
            title = f"{name}: seed {experiment.seed}, {options.frames} frames, {n} reflections"
            texts.append(f"### {title}\n\n{tables.table(name, results)}\n")
            print(f"\n{texts[-1]}", flush=True)
            all_results[name] = results
    missed = [sentence for name, results in all_results.items() for sentence in tables.misses(name, results)]
    print("\n".join(["not reached:", *missed] if missed else ["everything reached"]))
    if options.json:
        plain = {
            s: {m: {b: dataclasses.asdict(x) for b, x in bins.items()} for m, bins in r.items()}
            for s, r in all_results.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))
    if options.write:
        report.write(texts, missed, sys.argv[1:] if argv is None else argv)
    return 0


def measure(experiment, name, n_frames, folder, wanted):
    """Simulate a set, run the methods on it and score them by the reflections that all of them kept."""
    truth = []
    dataset = write_dataset(
        experiment, n_frames, folder, name, on_frame=lambda f: truth.append(judged(experiment, f)), force=True
    )
    truth = np.concatenate(truth)
    found = {}
    for method in wanted:
        began = time.process_time()
        found[method] = methods.run(method, dataset, experiment, folder)
        print(f"{name}: {method}, {time.process_time() - began:.1f} s", file=sys.stderr, flush=True)
    common = reduce(np.intersect1d, [result["key"] for result in found.values()])
    n = int(np.isin(truth["key"], common).sum())
    return {method: score(truth, result, common) for method, result in found.items()}, n


if __name__ == "__main__":
    sys.exit(main())
