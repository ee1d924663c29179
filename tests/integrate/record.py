"""Run the real indexamajig on every case and keep its streams: ``python -m tests.integrate.record`` (CrystFEL on PATH).

Read the difference before committing it: these streams are what our rings are measured by.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from .cases import CASES, Case

RECORDED = Path(__file__).parent / "recorded"


def run_indexamajig(case: Case, folder: Path) -> bytes:
    """Stream that indexamajig writes for a case, its command line without the folder."""
    case.write(folder)
    solution = f"--fromfile-input-file={folder / 'truth.sol'}"
    # it may end with an abort in its own clean-up, after the last chunk is complete
    subprocess.run(
        ["indexamajig", *case.arguments, solution], cwd=folder, capture_output=True, timeout=120, check=False
    )
    stream = (folder / "out.stream").read_bytes()
    if stream.count(b"----- End chunk -----") != len(case.crystals):
        raise RuntimeError(f"{case.name}: indexamajig did not finish")
    return stream.replace(solution.encode(), b"--fromfile-input-file=truth.sol")


def main() -> None:
    """Write ``recorded/NAME.stream`` for all cases, or those named."""
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            (RECORDED / f"{name}.stream").write_bytes(run_indexamajig(CASES[name], Path(folder)))
        print(name)


if __name__ == "__main__":
    main()
