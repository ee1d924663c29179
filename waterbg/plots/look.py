"""One chunk of a stream looked at closely: its frame, its background, and all that subtract finds on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background import Noise, frame_rays
from waterbg.background.estimators import flag_pixels
from waterbg.background.rays import Rays
from waterbg.background.surface import Surface, fit_surface
from waterbg.errors import StreamError
from waterbg.figure_file import shortened
from waterbg.integrate import Status
from waterbg.model import RunModel
from waterbg.model.frame import FrameResult, integrate_frame
from waterbg.run.local import learn_run_model
from waterbg.run.worker import Worker
from waterbg.stream import Chunk, StreamFile
from waterbg.stream.lacking import no_reflections

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.run import Job
    from waterbg.settings import Settings

WATER = (2.8, 3.6)  # nm^-1, 1/d about the top of the water ring (3.2 Å): from 3.6 to 2.8 Å


@dataclass(frozen=True)
class Wanted:
    """Which chunk: its position in the stream from 1 on, serial number, image or event; all that are given must fit.

    With nothing given it is the first with reflections.
    """

    number: int | None = None
    serial: int | None = None
    image: str | None = None
    event: str | None = None

    def fits(self, number: int, chunk: Chunk) -> bool:
        """Whether the chunk at this position is meant."""
        if self == Wanted():
            return chunk.n_reflections > 0
        name = chunk.filename
        return (
            self.number in (None, number)
            and self.serial in (None, chunk.serial)
            and self.image in (None, name, os.path.basename(name))
            and self.event in (None, chunk.event, (chunk.event or "").removeprefix("//"))
        )

    def __str__(self) -> str:
        given = (("number", self.number), ("serial number", self.serial), ("image", self.image), ("event", self.event))
        return "chunk with " + ", ".join(f"{name} {value}" for name, value in given if value is not None)


def choose_chunk(path: str, wanted: Wanted) -> tuple[int, Chunk]:
    """Find a chunk with reflections.

    Returns
    -------
    number : int
        Its position in the stream, from 1 on.
    chunk : Chunk

    Raises
    ------
    StreamError
        When there is none, or it has no crystals or no reflections.
    """
    number = 0
    with StreamFile(path) as stream:
        for number, chunk in enumerate(stream.chunks(), 1):
            if not wanted.fits(number, chunk):
                continue
            if not chunk.n_reflections:
                lacking = "no reflections" if chunk.crystals else "no crystals"
                raise StreamError(
                    f"chunk {number} ({chunk.filename} {chunk.event or ''}".rstrip()
                    + f") has {lacking}: there is nothing to integrate; choose another, or none for the first indexed",
                    path=path,
                    offset=chunk.start,
                )
            return number, chunk
        size = stream.header_end if not number else chunk.stop
    if wanted == Wanted():
        raise no_reflections(path)
    raise StreamError(f"has {number} chunk{'s' * (number != 1)}, but no {wanted}", path=path, offset=size)


@dataclass
class Look:
    """What is known about one chunk; arrays are aligned with ``scene.spots``.

    Attributes
    ----------
    path : str
        Of the stream.
    number : int
        Position of the chunk in the stream, from 1 on.
    chunk : Chunk
    frame : Frame
    scene : Scene
    settings : Settings
    model : RunModel
        As `waterbg subtract` uses it.
    found : FrameResult
        What `waterbg subtract` finds on this frame.
    rays : Rays
    surface : Surface or None
        The frame's background as a whole; None when there is too little to learn it from.
    """

    path: str
    number: int
    chunk: Chunk
    frame: Frame
    scene: Scene
    settings: Settings
    model: RunModel
    found: FrameResult
    rays: Rays
    surface: Surface | None

    @property
    def title(self) -> str:
        """Stream, chunk and image in words."""
        serial = f" (serial number {self.chunk.serial})" if self.chunk.serial is not None else ""
        image = f"{_short(self.chunk.filename)} {readable(self.chunk.event or '')}".rstrip()
        return f"{_short(self.path)}, chunk {self.number}{serial}: {image}"


def readable(text: str) -> str:
    """Text that can be drawn: bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()


def _short(path: str) -> str:
    """Name of a file without its folder; the middle of a long one is left out."""
    return shortened(readable(os.path.basename(path)))


def look_at(job: Job, number: int, chunk: Chunk, model_path: str | None = None) -> Look:
    """Do for one chunk what `waterbg subtract` does for all, and keep everything.

    Parameters
    ----------
    job : Job
        ``integration`` must not be CrystFEL's own rings, which have no model.
    number : int
    chunk : Chunk
    model_path : str, optional
        Run model that `waterbg subtract` wrote. Default: learnt from the first frames, as `waterbg subtract` does;
        those whose images cannot be read are left out.

    Raises
    ------
    ImageError, GeometryError, UsageError
    """

    def model() -> RunModel:
        return RunModel.load(model_path).under(job.settings) if model_path else learn_leniently(job)

    return look_with(job, number, chunk, model)


def learn_leniently(job: Job) -> RunModel:
    """Learn a run's model as `waterbg subtract` does, but from those images that can be read."""
    lenient = replace(job, images=replace(job.images, on_missing="keep"))
    return learn_run_model(Worker(lenient), None, None) or RunModel()


def look_with(job: Job, number: int, chunk: Chunk, model_of: Callable[[], RunModel]) -> Look:
    """Do what :func:`look_at` does, with a model that is asked for once the image is known to be readable."""
    worker = Worker(job)
    try:
        frame, scene = worker.subtractor.load(chunk)
    finally:
        worker.close()
    settings, model = job.settings, model_of()
    frame = model.applied(frame)
    found = integrate_frame(frame, scene, model, settings)
    rays = frame_rays(frame, scene, settings.polarisation)
    flags = flag_pixels(frame, scene, settings.int_radius)
    surface = surface_of(frame, flags, rays, model.noise, settings)
    return Look(
        job.input, number, chunk, frame, scene, settings, model, found, rays, surface if surface.usable else None
    )


def surface_of(frame: Frame, flags: NDArray[np.uint8], rays: Rays, noise: Noise, settings: Settings) -> Surface:
    """Background of a whole frame, as the run with these settings models it."""
    surface = fit_surface(frame, flags, rays, (noise.gain, noise.read2))
    if settings.background == "radial":
        surface.ratio[:] = 1
    return surface


def choose_reflection(look: Look, hkl: tuple[int, int, int] | None, crystal: int | None) -> int:
    """Row among ``look.scene.spots`` of a reflection of the stream.

    Without indices: of the reflections that are kept and have 1/d within WATER the one with the largest I/sigma; if
    there are none, of all that are kept; if nothing is kept, the first listed.

    Parameters
    ----------
    look : Look
    hkl : 3 ints, optional
    crystal : int, optional
        Number in the chunk, from 1 on; default: the first that has it, or any.

    Raises
    ------
    StreamError
        When the list does not have it, or the chunk not so many crystals.
    """
    scene, result = look.scene, look.found.result
    number = len(scene.crystals)
    wrong = partial(StreamError, path=look.path, offset=look.chunk.start)
    if crystal is not None and crystal > number:
        raise wrong(f"chunk {look.number} has {number} crystal{'s' * (number != 1)}, but no crystal {crystal}")
    rows = np.unique(np.concatenate([part for i, part in enumerate(scene.rows) if crystal in (None, i + 1)]))
    where = f"chunk {look.number}" if crystal is None else f"crystal {crystal} of chunk {look.number}"
    named = "{},{},{}".format(*hkl) if hkl is not None else ""
    if hkl is not None:
        spots = scene.spots[rows]
        rows = rows[(spots["h"] == hkl[0]) & (spots["k"] == hkl[1]) & (spots["l"] == hkl[2])]
        if not len(rows):
            raise wrong(f"reflection {named} is not in the list of {where}")
    rows = rows[scene.spots["panel"][rows] >= 0]
    if not len(rows):
        raise wrong(
            f"reflection {named} of {where} falls beside the detector"
            if named
            else f"{where} has no reflections on the detector"
        )
    if named:
        return int(rows[0])
    kept = rows[result["status"][rows] == Status.OK]
    inv_d = scene.spots["inv_d"][kept]
    under_ring = kept[(inv_d >= WATER[0]) & (inv_d <= WATER[1])]
    for choice in (under_ring, kept):
        if len(choice):
            return int(choice[np.argmax(result["I"][choice] / result["sigma"][choice])])
    return int(rows[0])
