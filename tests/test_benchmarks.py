"""The benchmarks run; what they find is in docs/."""

import json
import subprocess
import sys

from tests.conftest import ROOT

# the checkout last, for the installed package is what is measured
START = "import sys; sys.path.append(sys.argv.pop(1)); from benchmarks.accuracy.__main__ import main; sys.exit(main())"


def test_the_accuracy_benchmark_scores_methods_against_the_same_fit_with_the_true_background(tmp_path):
    words = ["--sets=nominal", "--methods=CrystFEL rings,water,true background", "--frames=2", "--json=scores.json"]
    subprocess.run([sys.executable, "-c", START, str(ROOT), *words], cwd=tmp_path, check=True)
    scores = json.loads((tmp_path / "scores.json").read_text())["nominal"]
    rmse = {method: scores[method]["top"]["rmse"] for method in ("CrystFEL rings", "water", "true background")}
    assert 0.8 < rmse["true background"] < 1.2 < rmse["CrystFEL rings"]
    assert abs(rmse["water"] - rmse["true background"]) < 0.1
