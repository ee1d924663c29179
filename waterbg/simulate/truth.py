"""The truth table of a simulated run: written beside the images, read by whoever wants to know how good a method is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from waterbg.errors import ImageError
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import true_background
from waterbg.simulate.h5_part import H5Part
from waterbg.simulate.spots import TRUE_SPOT
from waterbg.simulate.structure import all_reflections, structure_factors
from waterbg.stream import OutputFile

COLUMNS = ("frame", *(name for name in TRUE_SPOT.names or ()))


class TruthWriter(H5Part):
    """Writes ``truth.h5``: /reflections, one row per reflection in the images; a context manager.

    Parameters
    ----------
    out : OutputFile
    experiment : Experiment
    """

    def __init__(self, out: OutputFile, experiment: Experiment) -> None:
        super().__init__(out)
        with self.writing() as file:
            file.attrs["experiment"] = experiment.to_json()
            self._rows = file.create_dataset(
                "reflections",
                (0, len(COLUMNS)),
                maxshape=(None, len(COLUMNS)),
                dtype=np.float32,
                chunks=(4096, len(COLUMNS)),
                compression="gzip",
                shuffle=True,
                track_times=False,
            )
            self._rows.attrs["columns"] = " ".join(COLUMNS)

    def add(self, number: int, spots: np.ndarray) -> None:
        """Append the reflections of a frame."""
        start = len(self._rows)
        with self.writing():
            self._rows.resize(start + len(spots), axis=0)
            self._rows[start:] = np.column_stack([np.full(len(spots), number), *(spots[name] for name in COLUMNS[1:])])


class Truth:
    """What is true of a simulated run.

    Parameters
    ----------
    path : str or Path
        A ``truth.h5``.

    Attributes
    ----------
    experiment : Experiment
    reflections : (n,) structured array
        ``frame`` (i4) and the fields of TRUE_SPOT; units there.

    Raises
    ------
    ImageError
        If it is no truth table.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            with h5py.File(path, "r") as f:
                self.experiment = Experiment.from_json(f.attrs["experiment"])
                columns = f["reflections"].attrs["columns"].split()
                rows = f["reflections"][()]
        except (OSError, KeyError) as err:
            raise ImageError(f"not a truth table of simulated frames ({err})", path=str(path)) from err
        self.reflections = np.zeros(len(rows), np.dtype([("frame", "i4"), *TRUE_SPOT.descr]))
        for i, name in enumerate(columns):
            self.reflections[name] = rows[:, i]

    def background(self, frame: int) -> list[np.ndarray]:
        """Noise-free background of a frame: photons per pixel, one (n_ss, n_fs) array per panel, before its gain."""
        return true_background(self.experiment, frame)


def hkl_text(experiment: Experiment, largest_inverse_d: float) -> str:
    """The |F|² that were used, as a CrystFEL reflection list.

    Parameters
    ----------
    experiment : Experiment
    largest_inverse_d : float
        How far the list goes, nm^-1.
    """
    indices = all_reflections(experiment, largest_inverse_d)
    intensities = structure_factors(experiment, indices)
    lines = [
        "CrystFEL reflection list version 2.0",
        f"Symmetry: {experiment.point_group}",
        "   h    k    l          I    phase   sigma(I)   nmeas",
    ]
    lines += [
        f"{h:4d} {k:4d} {m:4d} {value:10.2f} {'-':>8s} {1.0:10.2f} {1:7d}"
        for (h, k, m), value in zip(indices.tolist(), intensities.tolist(), strict=True)
    ]
    return "\n".join([*lines, "End of reflections", ""])
