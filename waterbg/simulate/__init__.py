"""Frames with known truth, from a seed: images, geometry, cell, solution file, stream and truth table."""

from waterbg.simulate.bound import cramer_rao_bound
from waterbg.simulate.dataset import Dataset, write_dataset
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame, simulate_frame, true_background
from waterbg.simulate.presets import PRESETS, preset
from waterbg.simulate.truth import Truth

__all__ = [
    "PRESETS",
    "Dataset",
    "Experiment",
    "SimulatedFrame",
    "Truth",
    "cramer_rao_bound",
    "preset",
    "simulate_frame",
    "true_background",
    "write_dataset",
]
