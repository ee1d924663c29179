"""The CrystFEL programs through plumbum: find, run, stand in for, rerun from a stream, merge; and compare streams."""

from waterbg.crystfel.compare import Comparison, compare_streams
from waterbg.crystfel.merge import merge_streams
from waterbg.crystfel.merge_report import MergeReport
from waterbg.crystfel.programs import Finished, Program, Running, find_program, run_program
from waterbg.crystfel.rerun import Plan, Result, plan_rerun, run_plan
from waterbg.crystfel.selection import Selection

__all__ = [
    "Comparison",
    "Finished",
    "MergeReport",
    "Plan",
    "Program",
    "Result",
    "Running",
    "Selection",
    "compare_streams",
    "find_program",
    "merge_streams",
    "plan_rerun",
    "run_plan",
    "run_program",
]
