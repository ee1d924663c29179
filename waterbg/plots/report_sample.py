"""What some frames of a run say when their images are read again: water ring, reasons to drop, decoys, an example."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background import Noise, frame_rays
from waterbg.background.estimators import flag_pixels
from waterbg.background.masks import NOT_CLEAN
from waterbg.background.noise import lowest_level, starting_noise
from waterbg.background.rays import Rays, column_middles, trace_row
from waterbg.errors import ImageError, UsageError
from waterbg.kernel import kernel
from waterbg.model import Quality, RunModel, check_model
from waterbg.plots.look import Look, learn_leniently, look_with, surface_of
from waterbg.plots.report_numbers import Numbers, Place, Provenance
from waterbg.predict import wavenumber
from waterbg.run.job import model_beside
from waterbg.run.worker import Worker
from waterbg.small_file import read_small_file
from waterbg.stream import Chunk, StreamFile
from waterbg.subtract import Tally

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.run import Job

BINS = 160  # of 1/d, of the radial profile
WINDOW = (2.0, 4.2)  # nm⁻¹, from 5 to 2.4 Å: where a ring of water or of lipid is looked for
NEEDED = 3.6  # nm⁻¹: a detector that reaches less far does not show the whole ring
OUTLIER = 10.0  # standard deviations: a stray spot or zinger, not background
LEAST_RISE = 0.05  # of the level beside it: less is no ring


@dataclass
class Profile:
    """Radial background of some frames, photons a pixel; NaN in bins without a clean pixel.

    Attributes
    ----------
    edges : (n + 1,) float64
        1/d in nm⁻¹.
    observed : (n_frames, n) float64
        Mean of the pixels clear of everything that may scatter.
    expected : (n_frames, n) float64 or None
        Mean of the frame's background model there; None for CrystFEL's rings, which have none.
    """

    edges: NDArray[np.float64]
    observed: NDArray[np.float64]
    expected: NDArray[np.float64] | None

    @property
    def middles(self) -> NDArray[np.float64]:
        """1/d in nm⁻¹."""
        return (self.edges[1:] + self.edges[:-1]) / 2


@dataclass(frozen=True)
class WaterRing:
    """Where the mean profile stands highest above the straight line across the window.

    Attributes
    ----------
    inv_d : float
        nm⁻¹.
    level, rise : float
        Photons a pixel: there, and above that line.
    """

    inv_d: float
    level: float
    rise: float


@dataclass
class Sample:
    """What the sample's frames say.

    Attributes
    ----------
    wanted : int
        Frames that were chosen.
    read : list of int
        Positions in the stream, from 1 on, of those that could be read.
    unreadable : list of str
        Why the others could not.
    again : Tally
        Of integrating them once more.
    differ : int
        How many came out with other bytes than the second stream has.
    profile : Profile or None
    quality : Quality or None
        Decoys of these frames, or (``quality_is_models``) those the run model was learnt with.
    quality_is_models : bool
    model : RunModel or None
    model_path : str or None
        Where it was read; None when it had to be learnt again.
    model_sum : str or None
        First digits of its SHA-256.
    model_lacks : str
        What is the matter with the file that nobody named: why it was not read.
    example : Look or None
    """

    wanted: int = 0
    read: list[int] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    again: Tally = field(default_factory=Tally)
    differ: int = 0
    profile: Profile | None = None
    quality: Quality | None = None
    quality_is_models: bool = False
    model: RunModel | None = None
    model_path: str | None = None
    model_sum: str | None = None
    model_lacks: str = "was not there"
    example: Look | None = None


def take_sample(job: Job, numbers: Numbers, provenance: Provenance, model_path: str | None) -> Sample:
    """Look at the chosen frames again; what needs images is left out where they cannot be read.

    Parameters
    ----------
    job : Job
        Of the first stream, with the settings of the second.
    numbers : Numbers
    provenance : Provenance
    model_path : str, optional
        Run model. Default: the one beside the second stream, or learnt anew when that is not there or not usable.

    Raises
    ------
    GeometryError, UsageError
    """
    sample = Sample(wanted=len(numbers.sample))
    uses_model = provenance.settings.uses_model
    if uses_model:
        _read_model(sample, model_path, model_beside(numbers.after))
        sample.model = sample.model and sample.model.under(job.settings)
    worker = Worker(job)
    try:
        readable = [pair for pair in _chunks(numbers) if _can_be_read(worker, pair, sample)]
        if readable and uses_model and sample.model is None:
            sample.model = learn_leniently(job)
        worker.subtractor.model = sample.model
        walk = _Walk(worker, readable, numbers.after, sample)
        if sample.model is None:
            for _ in walk:
                pass
        elif readable:
            sample.quality = check_model(walk, sample.model, job.settings)
        sample.profile = walk.profile()
    finally:
        worker.close()
    model = sample.model
    if model is not None and (sample.quality is None or not sample.quality.decoys):
        sample.quality, sample.quality_is_models = model.quality, True
    if model is not None and readable:
        place, chunk = max(readable, key=lambda pair: pair[1].n_reflections)
        look = look_with(job, place.number, chunk, lambda: model)
        if (look.scene.spots["panel"][np.concatenate(look.scene.rows)] >= 0).any():
            sample.example = look
    return sample


def _read_model(sample: Sample, named: str | None, beside: str) -> None:
    """Read the run model the user named, or the one beside the second stream, which may be lacking or spoilt."""
    path = beside if named is None else named
    if named is None and not os.path.exists(path):
        return
    try:
        sample.model, sample.model_path = RunModel.load(path), path
        sample.model_sum = hashlib.sha256(read_small_file(path)).hexdigest()[:12]
    except UsageError as err:
        if named is not None:
            raise
        # what it advises is about an option that was not given
        sample.model_lacks = str(err).removeprefix(f"--model={path}: ").partition(";")[0]


def _chunks(numbers: Numbers) -> Iterator[tuple[Place, Chunk]]:
    with StreamFile(numbers.before) as stream:
        for place in numbers.sample:
            yield place, Chunk(stream.read(*place.before), place.before[0])


def _can_be_read(worker: Worker, pair: tuple[Place, Chunk], sample: Sample) -> bool:
    try:
        worker.subtractor.load(pair[1])
    except ImageError as err:
        sample.unreadable.append(str(err))
        return False
    sample.read.append(pair[0].number)
    return True


class _Walk:
    """(Frame, Scene) of chunks; what is seen on the way is kept."""

    def __init__(self, worker: Worker, pairs: list[tuple[Place, Chunk]], after: str, sample: Sample) -> None:
        self.worker, self.pairs, self.after, self.sample = worker, pairs, after, sample
        self.edges = np.zeros(0)
        self.curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def __iter__(self) -> Iterator[tuple[Frame, Scene]]:
        subtractor = self.worker.subtractor
        with StreamFile(self.after) as after:
            for place, chunk in self.pairs:
                text = subtractor.chunk(chunk, self.sample.again)
                self.sample.differ += text != after.read(*place.after)
                frame, scene = subtractor.load(chunk)
                self._look(frame, scene)
                yield frame, scene

    def _look(self, frame: Frame, scene: Scene) -> None:
        settings = self.worker.job.settings
        rays = frame_rays(frame, scene, settings.polarisation)
        model = self.sample.model
        if model:
            frame = model.applied(frame)
        flags = flag_pixels(frame, scene, settings.int_radius)
        noise = model.noise if model else starting_noise(frame, flags, rays, lowest_level(frame, flags))
        frame = frame.without(noise.pedestal - frame.pedestal)
        surface = surface_of(frame, flags, rays, noise, settings)
        expected = surface.everywhere(frame.detector.shapes)
        if not len(self.edges):
            self.edges = np.linspace(0, _inv_d(rays, np.array([rays.n_bins]), frame.photon_energy_eV)[0], BINS + 1)
        self.curves.append(radial_means(frame, flags, expected, rays, self.edges, noise))

    def profile(self) -> Profile | None:
        """Of all frames with a clean pixel; None without any, or without a resolution that all of them have."""
        curves = [curve for curve in self.curves if np.isfinite(curve[0]).any()]
        if not curves:
            return None
        observed, expected = (np.stack(part) for part in zip(*curves, strict=True))
        if not np.isfinite(observed).all(axis=0).any():
            return None
        return Profile(self.edges, observed, expected if self.sample.model is not None else None)


def _inv_d(rays: Rays, r: NDArray, energy: float) -> NDArray[np.float64]:
    """1/d in nm⁻¹ at distances r, in pixels, from the beam on the plane across it."""
    return 2 * wavenumber(energy) * np.sin(np.arctan(r / rays.length) / 2)


def radial_means(
    frame: Frame,
    flags: NDArray[np.uint8],
    expected: NDArray[np.float32],
    rays: Rays,
    edges: NDArray[np.float64],
    noise: Noise,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of what was observed, and of what is expected, over the clean pixels of each bin of 1/d.

    Parameters
    ----------
    frame : Frame
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`.
    expected : (n_pixels,) float32
        Photons.
    rays : Rays
    edges : (n + 1,) float64
        Ascending 1/d in nm⁻¹.
    noise : Noise
        Pixels more than OUTLIER of its standard deviations above what is expected are left out.

    Returns
    -------
    observed, expected : (n,) float64
        Photons a pixel; NaN where there is no clean pixel.
    """
    sums = np.zeros((3, rays.n_bins))
    detector = frame.detector
    _add_up(
        frame.data, frame.photons_per_adu, flags, expected, detector.offsets, detector.shapes, rays.panel, rays.length,
        noise.gain, noise.read2, sums,
    )  # fmt: skip
    at = np.searchsorted(edges, _inv_d(rays, np.arange(rays.n_bins) + 0.5, frame.photon_energy_eV), "right") - 1
    inside = (at >= 0) & (at < len(edges) - 1)
    number, observed, model = (np.bincount(at[inside], part[inside], len(edges) - 1) for part in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        return observed / number, model / number


@kernel
def _add_up(data, constant, flags, expected, offsets, shapes, rays, length, gain, read2, sums):
    """Number, counts and expected counts of the clean pixels by distance from the beam, in pixels."""
    nothing = np.zeros(3)
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        r, g, columns = np.empty(n_fs, np.float32), np.empty(n_fs, np.float32), column_middles(n_fs)
        for j in range(n_ss):
            trace_row(rays[p], j, columns, length, nothing, r, g)
            for i in range(n_fs):
                at = offsets[p] + j * n_fs + i
                if flags[at] & NOT_CLEAN or not np.isfinite(data[at]) or not np.isfinite(expected[at]):
                    continue
                counts = data[at] * constant[p]
                if counts > expected[at] + OUTLIER * np.sqrt(gain * max(expected[at], 1.0) + read2):
                    continue
                k = min(int(r[i]), sums.shape[1] - 1)
                sums[0, k] += 1
                sums[1, k] += counts
                sums[2, k] += expected[at]


def find_ring(inv_d: NDArray[np.float64], level: NDArray[np.float64]) -> WaterRing | None:
    """Find the water ring on a radial profile; None where none stands out, or the detector does not reach it.

    Parameters
    ----------
    inv_d : (n,) float64
        nm⁻¹, ascending.
    level : (n,) float64
        Photons a pixel.
    """
    known = np.isfinite(level) & (inv_d >= WINDOW[0]) & (inv_d <= WINDOW[1])
    x, y = inv_d[known], level[known]
    if len(x) < 15 or x[-1] < NEEDED or x[0] > WINDOW[0] + 0.4:
        return None
    smooth = np.convolve(np.pad(y, 2, mode="edge"), np.full(5, 0.2), "valid")
    line = np.interp(x, [x[0], x[-1]], [smooth[0], smooth[-1]])
    top = int(np.argmax(smooth - line))
    rise = float(smooth[top] - line[top])
    if not 2 < top < len(x) - 3 or rise < LEAST_RISE * max(float(line[top]), 1e-9):
        return None
    return WaterRing(float(x[top]), float(smooth[top]), rise)
