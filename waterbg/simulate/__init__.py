"""Frames with known truth, from a seed: images, geometry, cell, solution file, stream and truth table."""

from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame, simulate_frame, true_background
from waterbg.simulate.presets import PRESETS, preset

__all__ = ["PRESETS", "Experiment", "SimulatedFrame", "preset", "simulate_frame", "true_background"]
