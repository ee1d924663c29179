"""The CrystFEL programs through plumbum: find, run, rerun from a stream, merge and compare."""

from waterbg.crystfel.programs import Finished, Program, Running, find_program, run_program

__all__ = ["Finished", "Program", "Running", "find_program", "run_program"]
