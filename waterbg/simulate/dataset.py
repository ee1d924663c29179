"""A simulated run on disk: images, geometry, cell, solutions, truth and stream."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

import waterbg
from waterbg.errors import OutputError, UsageError
from waterbg.simulate.detector import assemble, dead_pixels, geometry_text, largest_inverse_d
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame, simulate_frame
from waterbg.simulate.text import cell_text, chunk_text, solution_lines, stream_header
from waterbg.simulate.truth import TruthWriter, write_hkl


@dataclass(frozen=True)
class Dataset:
    """Files of a simulated run.

    Attributes
    ----------
    folder : Path
    name : str
        Stem of all names in the folder.
    images : Path
        Multi-event HDF5.
    int_radius : tuple of int
        Radii of the rings integration, pixels.
    """

    folder: Path
    name: str
    images: Path
    int_radius: tuple[int, int, int] = (3, 5, 7)

    def _beside(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"

    @property
    def geometry(self) -> Path:
        """Geometry file."""
        return self._beside(".geom")

    @property
    def cell(self) -> Path:
        """Cell file."""
        return self._beside(".cell")

    @property
    def solutions(self) -> Path:
        """Orientations, for ``indexamajig --indexing=file``."""
        return self._beside(".sol")

    @property
    def list(self) -> Path:
        """Name of the image file, for ``indexamajig -i``."""
        return self._beside(".lst")

    @property
    def truth(self) -> Path:
        """Truth table; :class:`waterbg.simulate.truth.Truth` reads it."""
        return self._beside(".truth.h5")

    @property
    def structure(self) -> Path:
        """The |F|² that were used, as a CrystFEL reflection list; not always written."""
        return self._beside(".truth.hkl")

    @property
    def stream(self) -> Path:
        """Stream with CrystFEL's own integration by rings."""
        return self._beside(".stream")

    @property
    def image_name(self) -> str:
        """The image file as stream and list call it: relative to the folder."""
        return Path(os.path.relpath(self.images, self.folder)).as_posix()


def indexamajig_words(dataset: Dataset, experiment: Experiment) -> list[str]:
    """Command that finds the same numbers in the same images, to be run in the data set's folder.

    The file names are as the stream's header says them; indexamajig 0.12 itself wants the absolute path of the
    solution file.
    """
    return [
        "indexamajig",
        *("-i", dataset.list.name, "-g", dataset.geometry.name, "-p", dataset.cell.name),
        *("-o", dataset.stream.name, "-j", "1"),
        "--indexing=file",
        f"--fromfile-input-file={dataset.solutions.name}",
        *("--no-refine", "--no-retry", "--no-check-cell", "--no-check-peaks"),
        *("--peaks=peakfinder8", "--threshold=20", "--min-snr=5", "--min-pix-count=2", "--max-pix-count=40"),
        "--local-bg-radius=4",
        f"--fix-profile-radius={experiment.profile_radius:g}e9",
        "--integration=rings-nocen-nosat-nograd",
        "--int-radius=" + ",".join(f"{radius:g}" for radius in dataset.int_radius),
    ]


def write_dataset(
    experiment: Experiment,
    n_frames: int,
    folder: str | Path,
    name: str = "run",
    *,
    images: str | Path | None = None,
    made_by: str = "",
    int_radius: tuple[int, int, int] = (3, 5, 7),
    structure: bool = False,
    force: bool = False,
    on_frame: Callable[[SimulatedFrame], None] | None = None,
) -> Dataset:
    """Simulate a run and write all its files; each appears under its name when all are complete.

    Parameters
    ----------
    experiment : Experiment
    n_frames : int
    folder : str or Path
        Made if it does not exist.
    name : str
        Stem of the files' names.
    images : str or Path, optional
        Image file, if it shall lie elsewhere than in the folder; the stream names it relative to the folder.
    made_by : str
        Command that repeats the run; goes into the header of the stream.
    int_radius : 3 ints
        Radii in pixels of the rings integration in the stream.
    structure : bool
        Write the |F|² that were used, too, as a CrystFEL reflection list.
    force : bool
        Replace existing files.
    on_frame : callable, optional
        Called with every frame when it is stored.

    Returns
    -------
    Dataset

    Raises
    ------
    OutputError
        If a file exists, or cannot be written.
    """
    if n_frames < 1:
        raise UsageError(f"{n_frames} frames are none")
    if not name or "/" in name:
        raise UsageError(f"{name!r} cannot begin the names of files in a folder")
    folder = Path(folder)
    dataset = Dataset(folder, name, Path(images) if images else folder / f"{name}.h5", int_radius)
    files = [
        dataset.images,
        dataset.geometry,
        dataset.cell,
        dataset.solutions,
        dataset.list,
        dataset.truth,
        dataset.stream,
        *([dataset.structure] if structure else []),
    ]
    existing = [path for path in files if path.exists()]
    if existing and not force:
        raise OutputError("exists already; choose another folder or --name, or --force", path=str(existing[0]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset.images.parent.mkdir(parents=True, exist_ok=True)
        with _Parts([path for path in files if path != dataset.stream]) as part:
            text = _write(experiment, n_frames, dataset, part, made_by, on_frame)
        # last, because its numbers come from the other files as a reader finds them
        with _Parts([dataset.stream]) as part:
            part[dataset.stream].write_text(text)
            part[dataset.stream].write_bytes(integrate_by_rings(part[dataset.stream], int_radius))
    except OSError as err:
        raise OutputError(f"cannot be written: {err}", path=str(getattr(err, "filename", None) or folder)) from err
    return dataset


class _Parts:
    """Temporary names beside the final ones; renamed together when the work is done, removed when it fails."""

    def __init__(self, files: list[Path]) -> None:
        self._parts = {path: path.with_name(f".{path.name}.part") for path in files}

    def __enter__(self) -> dict[Path, Path]:
        return self._parts

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for path, part in self._parts.items():
            if kind is None:
                part.replace(path)
            else:
                part.unlink(missing_ok=True)


def _write(
    experiment: Experiment,
    n_frames: int,
    dataset: Dataset,
    part: dict[Path, Path],
    made_by: str,
    on_frame: Callable[[SimulatedFrame], None] | None,
) -> str:
    """Write all files but the stream; gives the stream's text, its reflections predicted and not yet integrated."""
    geometry = geometry_text(experiment)
    part[dataset.geometry].write_text(geometry)
    part[dataset.cell].write_text(cell_text(experiment))
    # indexamajig cannot open a list of less than eight bytes (is_hdf5_file), and passes over blank lines
    part[dataset.list].write_text((dataset.image_name + "\n").ljust(8, "\n"))
    if dataset.structure in part:
        write_hkl(part[dataset.structure], experiment, largest_inverse_d(experiment))

    chunks = []
    with (
        ImageWriter(part[dataset.images], experiment, n_frames) as pictures,
        TruthWriter(part[dataset.truth], experiment) as truth,
        part[dataset.solutions].open("w") as solutions,
    ):
        for number in range(n_frames):
            frame = simulate_frame(experiment, number)
            pictures.add(frame)
            truth.add(number, frame.spots)
            solutions.write(solution_lines(experiment, frame, dataset.image_name))
            chunks.append(chunk_text(experiment, frame, dataset.image_name, number + 1))
            if on_frame:
                on_frame(frame)
    provenance = f"waterbg {waterbg.__version__}: {made_by or 'simulated frames'}"
    command = " ".join(indexamajig_words(dataset, experiment))
    header = stream_header(experiment, geometry, provenance, command)
    return header + "".join(chunks)


def integrate_by_rings(stream: Path, int_radius: tuple[int, int, int]) -> bytes:
    """Give a stream, in its own folder, with CrystFEL's own rings numbers; what CrystFEL drops is dropped."""
    # here, because numba costs half a second
    from waterbg.frames import FrameReader
    from waterbg.geometry import parse_geometry
    from waterbg.run.job import Images
    from waterbg.settings import Settings
    from waterbg.stream import StreamFile
    from waterbg.subtract import Subtractor, Tally

    settings = Settings(
        integration="rings", int_radius=(float(int_radius[0]), float(int_radius[1]), float(int_radius[2]))
    )
    with StreamFile(stream) as text:
        reader = FrameReader(parse_geometry(text.geometry_text), stream_path=str(stream))
        work = Subtractor(reader, settings, Images(), None)
        parts, at = [text.header], text.header_end
        try:
            for chunk in text.chunks():
                parts += [text.read(at, chunk.start), work.chunk(chunk, Tally())]
                at = chunk.stop
        finally:
            reader.close()
    return b"".join(parts)


class ImageWriter:
    """Writes the multi-event HDF5 file; a context manager.

    Parameters
    ----------
    path : Path
    experiment : Experiment
    n_frames : int
    """

    def __init__(self, path: Path, experiment: Experiment, n_frames: int) -> None:
        mask = assemble(experiment, dead_pixels(experiment))
        added = experiment.read_noise or experiment.pedestal or experiment.pedestal_scatter
        counting = experiment.adu_per_photon == 1 and not added
        self._file = h5py.File(path, "w")
        options = {"compression": "gzip", "compression_opts": 6, "shuffle": True, "track_times": False}
        self._file.create_dataset("/entry/data/mask", data=mask, **options)
        self._pictures = self._file.create_dataset(
            "/entry/data/data",
            (n_frames, *mask.shape),
            np.uint16 if counting else np.int32,
            chunks=(1, *mask.shape),
            **options,
        )
        self._energies = self._file.create_dataset("/entry/photon_energy", (n_frames,), np.float64, track_times=False)
        self._energies.attrs["units"] = "eV"
        self._experiment = experiment

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, frame: SimulatedFrame) -> None:
        """Store a frame under its number."""
        self._pictures[frame.number] = assemble(self._experiment, frame.counts)
        self._energies[frame.number] = frame.pulse.photon_energy
