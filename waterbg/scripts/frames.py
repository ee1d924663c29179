"""Frames named by a stream or a list, added up: raw, less a dark frame, or less their water background."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.crystfel.solution import frame_of
from waterbg.errors import ImageError, UsageError
from waterbg.h5_image import ImageStack
from waterbg.scripts.layout import ImageLayout, stream_detector
from waterbg.stream import Chunk, StreamFile
from waterbg.stream.grammar import VERSION
from waterbg.stream.reader import is_pipe

if TYPE_CHECKING:
    from waterbg.frames import Frame, FrameReader


LONGEST_LINE = 1 << 16  # letters, in a list of frames


@dataclass
class FrameSum:
    """A sum of frames, in ADU.

    Attributes
    ----------
    datasets : dict
        Dataset name -> sum, in the layout of the data files.
    counts : dict
        Dataset name -> (same shape) int64: frames that count for each pixel.
    frames : int
    files : set of str
        Where they were read.
    """

    datasets: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    frames: int = 0
    files: set[str] = field(default_factory=set)

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """Sum over frames; 0 where no frame counts."""
        return {name: values / np.maximum(self.counts[name], 1) for name, values in self.datasets.items()}


@dataclass(frozen=True)
class Named:
    """A frame: file and event as they are written, and the chunk that names them, if one does."""

    filename: str
    event: str | None
    chunk: Chunk | None = None


def is_stream(path: str) -> bool:
    """Whether a file, or standard input, begins as a stream does; a named pipe, whose bytes come once, is a list."""
    if path == "-":
        waiting: bytes = sys.stdin.buffer.peek(len(VERSION))  # type: ignore[union-attr]
        return waiting.startswith(VERSION)
    if is_pipe(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(VERSION)) == VERSION
    except OSError as err:
        raise UsageError(f"{path}: cannot be read ({err.strerror})") from None


def listed_frames(path: str) -> Iterator[Named]:
    """Frames of a list: ``file`` or ``file event`` on each line; ``-`` is standard input."""
    with ExitStack() as stack:
        file = sys.stdin if path == "-" else stack.enter_context(open(path, errors="surrogateescape"))
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise UsageError(f"{path}: a line of more than {LONGEST_LINE} letters names no image")
            if line.startswith(VERSION.decode()):
                raise UsageError(f"{path}: a stream from a pipe is read as standard input: give - for it")
            if line.strip():
                yield Named(*frame_of(line))


@contextmanager
def open_frames(
    path: str, geometry: str | None, prefix: str = "", basename: bool = False
) -> Iterator[tuple[Iterator[Named], FrameReader | None]]:
    """Frames that a stream or list names, and what reads them.

    Parameters
    ----------
    path : str
        Stream or list; ``-`` is standard input.
    geometry : str or None
        Geometry file; None is the stream's own, and none for a list.
    prefix, basename
        As indexamajig's.

    Yields
    ------
    frames : iterator of Named
    reader : FrameReader or None
        None without a geometry.
    """
    from waterbg.frames import FrameReader
    from waterbg.frames.places import FileFinder
    from waterbg.scripts.geometry_text import read_geometry

    with ExitStack() as stack:
        detector = read_geometry(geometry)[1] if geometry else None
        beside = None
        if is_stream(path):
            stream = stack.enter_context(StreamFile(path))
            detector, beside = detector or stream_detector(stream), None if path == "-" else path
            frames = stream_frames(stream)
        else:
            frames = listed_frames(path)
        if detector is None:
            finder = FileFinder(None, None, prefix, basename, lambda what: None)
            yield (Named(finder.image(one.filename), one.event) for one in frames), None
            return
        reader = FrameReader(detector, geometry_path=geometry, stream_path=beside, prefix=prefix, basename=basename)
        yield frames, stack.enter_context(reader)


def stream_frames(stream: StreamFile) -> Iterator[Named]:
    """Frames of a stream, in its order; a frame that stands twice comes twice."""
    for chunk in stream.chunks():
        yield Named(chunk.filename, chunk.event, chunk)


def sum_plain(
    frames: Iterator[Named], dataset: str | None, dark: NDArray[Any] | None, say: Callable[[str], None]
) -> FrameSum:
    """Add up images as they are, without a geometry; not finite pixels count as nothing.

    Parameters
    ----------
    frames : iterator of Named
        An event like ``//3`` is the number of an image in a stack; without one, all of the stack are added.
    dataset : str or None
        Where images are in the files; None finds out.
    dark : (n_ss, n_fs) array or None
        Taken off each image.
    say : callable
        Told of each frame.

    Raises
    ------
    ImageError
    """
    total = FrameSum()
    for frame in frames:
        total.files.add(frame.filename)
        with ImageStack(frame.filename, dataset) as stack:
            if dataset is None and stack.is_first_of_several():
                raise ImageError(
                    "has images in several datasets, data_000001 and on: name one with --data, list the data files "
                    "instead, or give events and a geometry",
                    path=frame.filename,
                )
            for number in _numbers(frame, stack):
                image = _less_dark(stack.read(number).astype(np.float64), dark, frame)
                _add(total, {"/data": image}, frame)
        say(f"Summed {frame.filename} {frame.event or ''}".rstrip())
    return total


def _numbers(frame: Named, stack: ImageStack) -> range:
    left, _, right = (frame.event or "//").partition("//")
    if left or "/" in right or not (right.isdecimal() or not right):
        raise ImageError("such an event needs a geometry", path=frame.filename, event=frame.event)
    if right:
        return range(int(right), int(right) + 1)
    return range(len(stack))


def _less_dark(image: NDArray[np.float64], dark: NDArray[Any] | None, frame: Named) -> NDArray[np.float64]:
    if dark is None:
        return image
    if dark.shape != image.shape:
        raise ImageError(f"is of shape {image.shape}, the dark image of {dark.shape}", path=frame.filename)
    return image - dark


def _add(total: FrameSum, images: dict[str, NDArray[np.float64]], frame: Named) -> None:
    for name, image in images.items():
        if name not in total.datasets:
            total.datasets[name] = np.zeros(image.shape)
            total.counts[name] = np.zeros(image.shape, np.int64)
        if total.datasets[name].shape != image.shape:
            before = total.datasets[name].shape
            raise ImageError(f"is of shape {image.shape}, those before of {before}", path=frame.filename)
        known = np.isfinite(image)
        total.datasets[name] += np.where(known, image, 0)
        total.counts[name] += known
    total.frames += 1


def sum_with_geometry(
    frames: Iterator[Named],
    reader: FrameReader,
    *,
    dark: NDArray[Any] | None,
    subtract: bool,
    say: Callable[[str], None],
) -> FrameSum:
    """Add up frames with their bad pixels left out.

    Parameters
    ----------
    frames : iterator of Named
    reader : FrameReader
    dark : array or None
        In the layout of the images; taken off each frame.
    subtract : bool
        Take the water background off each frame: the model of ``waterbg subtract`` for the whole frame.
    say : callable
        Told of each frame.

    Raises
    ------
    ImageError, GeometryError
    """
    total = FrameSum()
    layout = ImageLayout(reader.detector)
    dark_flat = None if dark is None else flatten(layout, dark)
    for named in frames:
        total.files.add(reader.locate(named.filename))
        for event in _events(named, reader):
            said = named.chunk
            energy, length = (said.photon_energy_eV, said.camera_length) if said is not None else (None, None)
            frame = reader.read(named.filename, event, energy, camera_length=length, copy=True)
            if dark_flat is not None:
                frame.data -= dark_flat
            image = np.where(frame.bad != 0, np.nan, frame.data)
            if subtract:
                image -= whole_background(frame, named.chunk)
            _add(total, spread(layout, image), named)
        say(f"Summed {named.filename} {named.event or ''}".rstrip())
    return total


def _events(named: Named, reader: FrameReader) -> list[str | None]:
    """The event, or all of the file when none is named."""
    panel = reader.detector.panels[0]
    if named.event is not None or named.chunk is not None or "%" in panel.data or "%" not in panel.dims:
        return [named.event]
    with ImageStack(reader.locate(named.filename), panel.data) as stack:
        return [f"//{number}" for number in range(len(stack))]


def flatten(layout: ImageLayout, image: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels of all panels one after the other, out of an image in the layout of the data files.

    Raises
    ------
    UsageError
        When it does not have the size.
    """
    array = next(iter(layout.arrays.values()))
    if len(layout.arrays) != 1 or image.ndim != array.ndim or any(m < n for m, n in zip(image.shape, array.shape)):
        raise UsageError(f"the dark image is of shape {image.shape}; the geometry needs {array.shape}")
    flat = np.empty(layout.detector.n_pixels, np.float32)
    for number, place in enumerate(layout.places):
        flat[layout.detector.offsets[number] : layout.detector.offsets[number + 1]] = place.of(image).ravel()
    return flat


def spread(layout: ImageLayout, flat: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Put pixels of all panels one after the other into the layout of the data files; NaN where no panel is."""
    images = {name: np.full(array.shape, np.nan) for name, array in layout.arrays.items()}
    for number, place in enumerate(layout.places):
        part = place.of(images[place.dataset])
        part[:] = flat[layout.detector.offsets[number] : layout.detector.offsets[number + 1]].reshape(part.shape)
    return images


def whole_background(frame: Frame, chunk: Chunk | None = None) -> NDArray[np.float32]:
    """Model of the background of a whole frame: radial profile and smooth two-dimensional ratio.

    Parameters
    ----------
    frame : Frame
    chunk : Chunk, optional
        Its crystals' reflections are kept out of the model; without it, only what sticks out is.

    Returns
    -------
    (n_pixels,) float32
        ADU.
    """
    from waterbg.background.estimators import flag_pixels, frame_rays
    from waterbg.background.surface import fit_surface
    from waterbg.predict import build_scene

    crystals = [crystal for crystal in (chunk.crystals if chunk is not None else []) if crystal.axes is not None]
    scene = build_scene(crystals, frame.detector, frame.clen, frame.photon_energy_eV)
    flags = flag_pixels(frame, scene, (4.0, 5.0, 7.0))
    surface = fit_surface(frame, flags, frame_rays(frame, scene, "horiz"), (1.0, 0.0))
    detector = frame.detector
    adu = np.repeat(np.asarray(frame.adu_per_photon, np.float32), np.diff(detector.offsets))
    return surface.everywhere(detector.shapes) * adu
