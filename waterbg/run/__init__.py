"""How the main job is spread: workers over byte ranges, resume, follow a growing stream, Slurm."""

from waterbg.run.follow import Follow, wait_for_first_chunk
from waterbg.run.job import Images, Job, resolve_job
from waterbg.run.local import run_subtract
from waterbg.run.summary import Summary

__all__ = ["Follow", "Images", "Job", "Summary", "resolve_job", "run_subtract", "wait_for_first_chunk"]
