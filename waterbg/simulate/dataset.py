"""A simulated run on disk: images, geometry, cell, solutions, truth and stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

import waterbg
from waterbg.errors import OutputError, UsageError
from waterbg.interrupts import checkpoint
from waterbg.simulate.detector import assemble, dead_pixels, geometry_text, largest_inverse_d
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame, simulate_frame
from waterbg.simulate.h5_part import H5Part
from waterbg.simulate.text import cell_text, chunk_text, solution_lines, stream_header
from waterbg.simulate.truth import TruthWriter, hkl_text
from waterbg.stream import OutputFile
from waterbg.stream.grammar import LONGEST_PIECE

INT_RADIUS = (3.0, 5.0, 7.0)  # px, of the rings integration in the stream


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
    """

    folder: Path
    name: str
    images: Path

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
        f"--fix-profile-radius={experiment.profile_radius:.15g}e9",
        "--integration=rings-nocen-nosat-nograd",
        "--int-radius=" + ",".join(f"{radius:g}" for radius in INT_RADIUS),
    ]


def write_dataset(
    experiment: Experiment,
    n_frames: int,
    folder: str | Path,
    name: str = "run",
    *,
    images: str | Path | None = None,
    made_by: str = "",
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
    dataset = Dataset(folder, name, Path(images) if images else folder / f"{name}.h5")
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
    with _Outputs(files, force) as out:
        _write(experiment, n_frames, dataset, out, made_by, on_frame)
    return dataset


class _Outputs:
    """Files, with their folders, that get their names together when the work is done, and are gone when it fails."""

    def __init__(self, files: list[Path], force: bool) -> None:
        self._files, self._force = files, force
        self._out: dict[Path, OutputFile] = {}
        self._made: list[Path] = []

    def __enter__(self) -> dict[Path, OutputFile]:
        try:
            for path in self._files:
                self._make_folder(path.parent)
                self._out[path] = OutputFile(path, force=self._force).begin()
        except BaseException:
            self._discard()
            raise
        return self._out

    def _make_folder(self, folder: Path) -> None:
        missing = [above for above in (folder, *folder.parents) if not above.exists()]
        for one in reversed(missing):
            try:
                one.mkdir(exist_ok=True)
            except OSError as err:
                raise OutputError(f"cannot be written ({err.strerror})", path=str(one)) from None
            self._made.append(one)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                for out in self._out.values():
                    out.flush()  # all are on disk before the first gets its name
                for out in self._out.values():
                    out.finish()
        finally:
            self._discard()

    def _discard(self) -> None:
        """Remove what is not finished; folders that hold something stay."""
        for out in self._out.values():
            out.discard()
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()


def _write(
    experiment: Experiment,
    n_frames: int,
    dataset: Dataset,
    out: dict[Path, OutputFile],
    made_by: str,
    on_frame: Callable[[SimulatedFrame], None] | None,
) -> None:
    def write(path: Path, text: str) -> None:
        out[path].write(text.encode("utf-8", "surrogateescape"))

    geometry = geometry_text(experiment)
    write(dataset.geometry, geometry)
    write(dataset.cell, cell_text(experiment))
    # indexamajig cannot open a list of less than eight bytes (is_hdf5_file), and passes over blank lines
    write(dataset.list, (dataset.image_name + "\n").ljust(8, "\n"))
    if dataset.structure in out:
        write(dataset.structure, hkl_text(experiment, largest_inverse_d(experiment)))

    chunks = []
    with (
        ImageWriter(out[dataset.images], experiment, n_frames) as pictures,
        TruthWriter(out[dataset.truth], experiment) as truth,
    ):
        for number in range(n_frames):
            checkpoint()
            frame = simulate_frame(experiment, number)
            pictures.add(frame)
            truth.add(number, frame.spots)
            write(dataset.solutions, solution_lines(experiment, frame, dataset.image_name))
            chunks.append(chunk_text(experiment, frame, dataset.image_name, number + 1))
            if on_frame:
                on_frame(frame)
    by = f"waterbg {waterbg.__version__}: "
    # CrystFEL takes a longer line for several; the truth says it, too
    fits = len(f"Generated by {by}{made_by}\n") < LONGEST_PIECE
    provenance = by + (made_by if made_by and fits else "simulated frames")
    command = " ".join(indexamajig_words(dataset, experiment))
    write(dataset.stream, stream_header(experiment, geometry, provenance, command))
    # last, because its numbers come from the other files as a reader finds them
    for chunk in integrate_by_rings(chunks, geometry, out[dataset.images].partial):
        out[dataset.stream].write(chunk)


def integrate_by_rings(chunks: list[str], geometry: str, images: Path) -> Iterator[bytes]:
    """Give chunks CrystFEL's own rings numbers; what CrystFEL drops is dropped.

    Parameters
    ----------
    chunks : list of str
    geometry : str
        Text of the geometry file.
    images : Path
        Where the images are, whatever the chunks call them.
    """
    # here, because numba costs half a second
    from waterbg.frames import FrameReader
    from waterbg.geometry import parse_geometry
    from waterbg.settings import Settings
    from waterbg.stream import Chunk
    from waterbg.subtract import Subtractor, Tally

    class Reader(FrameReader):
        def locate(self, filename: str | bytes) -> str:
            return str(images)

    settings = Settings(integration="rings", int_radius=INT_RADIUS)
    with Reader(parse_geometry(geometry)) as reader:
        work = Subtractor(reader, settings, "fail", None)
        for chunk in chunks:
            yield work.chunk(Chunk(chunk.encode("utf-8", "surrogateescape"), 0), Tally())


class ImageWriter(H5Part):
    """Writes the multi-event HDF5 file; a context manager.

    Parameters
    ----------
    out : OutputFile
    experiment : Experiment
    n_frames : int
    """

    def __init__(self, out: OutputFile, experiment: Experiment, n_frames: int) -> None:
        super().__init__(out)
        mask = assemble(experiment, dead_pixels(experiment))
        more = experiment.read_noise, experiment.light_spread, experiment.pedestal, experiment.pedestal_scatter
        counting = experiment.adu_per_photon == 1 and not any(more)
        options = {"compression": "gzip", "compression_opts": 6, "shuffle": True, "track_times": False}
        with self.writing() as file:
            file.create_dataset("/entry/data/mask", data=mask, **options)
            self._pictures = file.create_dataset(
                "/entry/data/data",
                (n_frames, *mask.shape),
                np.uint16 if counting else np.int32,
                chunks=(1, *mask.shape),
                **options,
            )
            self._energies = file.create_dataset("/entry/photon_energy", (n_frames,), np.float64, track_times=False)
            self._energies.attrs["units"] = "eV"
        self._experiment = experiment

    def add(self, frame: SimulatedFrame) -> None:
        """Store a frame under its number."""
        with self.writing():
            self._pictures[frame.number] = assemble(self._experiment, frame.counts)
            self._energies[frame.number] = frame.pulse.photon_energy
