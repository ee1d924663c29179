"""What the tests of job arrays share."""

from pathlib import Path

from waterbg.cli.base import run


def waterbg(*words):
    return run(["waterbg", *map(str, words)])


def make(stream, *words, block=5):
    out = stream.with_name("out.stream")
    status = waterbg("subtract", stream, "-o", out, "--slurm", "--no-submit", f"--block-size={block}", *words)
    return out, Path(f"{out}.slurm"), status
