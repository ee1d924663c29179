"""Reads the frames of a run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError, ImageError
from waterbg.frames.badmap import Masks, fixed_bad, read_block
from waterbg.frames.cbf import CbfImage
from waterbg.frames.events import Event, TooFewParts
from waterbg.frames.files import UNWRITTEN, Dataset, Files
from waterbg.frames.flags import Flags
from waterbg.frames.frame import Frame
from waterbg.frames.hdf5 import HDF5_ERRORS, said
from waterbg.frames.headers import header_number
from waterbg.frames.kernels import unpack, unpack_and_judge
from waterbg.frames.kinds import CbfFile
from waterbg.frames.layout import Block, Misfit, blocks_in_one_array, blocks_of
from waterbg.frames.places import FileFinder
from waterbg.geometry import Detector, Length
from waterbg.geometry.detector import MOST_PIXELS

_Found = tuple[Block, Dataset | CbfImage, tuple[int, ...], tuple[int, ...]]
_OTHER_GEOMETRY = "; is the geometry that of these images?"
MOST_SHIFTED = 4  # maps kept for detectors that move from event to event


class FrameReader:
    """Reads events as CrystFEL does: HDF5 file and event, or CBF file, to pixels and bad pixels of all panels.

    Make one in each process that reads; ``close`` it before a fork, so that no file stays open in two processes. It may
    be used again after ``close``. Not for several threads at once.

    Parameters
    ----------
    detector : Detector
    geometry_path, stream_path : str or None
        Folders where relative masks and images are looked for, too.
    prefix, basename : str, bool
        As indexamajig's ``--prefix`` and ``--basename``.
    follow_external_links : bool
        Follow external links, virtual datasets and external raw storage out of the image's own folder.

    Attributes
    ----------
    warnings : list of str
        What was found where CrystFEL would not look, or ignored as CrystFEL ignores it; each once.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        geometry_path: str | os.PathLike[str] | None = None,
        stream_path: str | os.PathLike[str] | None = None,
        prefix: str = "",
        basename: bool = False,
        follow_external_links: bool = False,
    ) -> None:
        n_pixels = sum(panel.n_fs * panel.n_ss for panel in detector.panels)
        if not n_pixels:
            raise GeometryError("no panel has a pixel", path=detector.path)
        if n_pixels > MOST_PIXELS:
            raise GeometryError(f"{n_pixels} pixels are more than any detector has", path=detector.path)
        for panel in detector.panels:
            if not 0 < panel.pixel_size < math.inf:
                reason = f"panel {panel.name}: its pixels have no size (res)"
                raise GeometryError(reason, path=detector.path, line=panel.line)
        self.detector = detector
        self.warnings: list[str] = []
        self.files = Files(follow_external_links)
        self.finder = FileFinder(
            None if geometry_path is None else os.fspath(geometry_path),
            None if stream_path is None else os.fspath(stream_path),
            prefix,
            basename,
            self._complain,
        )
        self.blocks = blocks_of(detector, [panel.data for panel in detector.panels])
        # each with whether it takes parts of the same dataset as others do, one after the other
        named = [block.location for block in self.blocks]
        self._reads = [(block, named.count(block.location) > 1) for block in self.blocks]
        self._cbf_blocks = blocks_in_one_array(detector)
        self._flags = Flags(detector)
        self._masks = Masks(detector, self.files, self.finder.mask)
        self._fixed: dict[int, tuple[Detector, NDArray[np.uint8]]] = {}
        self._known: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._raw: dict[tuple[Any, ...], NDArray[Any]] = {}
        self._data: NDArray[np.float32] | None = None
        self._bad: NDArray[np.uint8] | None = None
        self._saturation: tuple[Any, NDArray[np.float32]] | None = None
        self._saturation_by_index = False  # found out when a map turns out to have one slice for each event

    def _complain(self, what: str) -> None:
        if what not in self.warnings:
            self.warnings.append(what)

    def close(self) -> None:
        """Close all files. Maps made from geometry and masks stay."""
        self.files.close()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def locate(self, filename: str | bytes) -> str:
        """Path of an image: as written, then with prefix and basename, then relative to the stream.

        Raises
        ------
        ImageError
            If it is nowhere, with the places tried.
        """
        return self.finder.image(filename)

    def check(self, filename: str | bytes, event: str | None = None) -> None:
        """Raise what :meth:`read` would for a missing or unfit image, without reading pixels.

        Raises
        ------
        ImageError
            If the file is missing or no image, lacks a dataset or the event, or is smaller than the geometry.
        """
        path = self.locate(filename)
        self.files.begin()
        for _ in self._find(path, event, Event.parse(event, path)):
            pass

    def read(
        self,
        filename: str | bytes,
        event: str | None = None,
        photon_energy_eV: float | None = None,
        *,
        camera_length: float | None = None,
        copy: bool = False,
    ) -> Frame:
        """Read one event.

        Parameters
        ----------
        filename : str or bytes
            As in the stream.
        event : str or None
            As in the stream; None for a file with one frame.
        photon_energy_eV : float or None
            eV; what indexamajig wrote to the stream. None: as the geometry says.
        camera_length : float or None
            m; used only when the geometry, read leniently, has none.
        copy : bool
            Give the frame arrays of its own. Without it they hold the next frame after the next ``read``.

        Returns
        -------
        Frame

        Raises
        ------
        ImageError
            If the image cannot be read or does not fit the geometry: names file, event, dataset.
        GeometryError
            If the geometry's camera length or wavelength makes no sense.
        """
        path = self.locate(filename)
        parsed = Event.parse(event, path)
        self.files.begin()
        try:
            return self._read(path, event, parsed, photon_energy_eV, camera_length, copy)
        except ImageError as err:
            if err.event is None:
                raise ImageError(err.reason, path=err.path, event=event, dataset=err.dataset) from None
            raise

    def _read(
        self,
        path: str,
        event: str | None,
        parsed: Event,
        photon_energy_eV: float | None,
        camera_length: float | None,
        copy: bool,
    ) -> Frame:
        energy = self._energy(path, parsed) if photon_energy_eV is None else self._unrounded(float(photon_energy_eV))
        clen = self._camera_length(path, parsed, camera_length)
        detector = self._shifted(path, parsed)
        found = list(self._find(path, event, parsed))
        known = self._known_bad(detector, path, parsed)
        data, bad = self._pixels(event, found, known, copy)
        return Frame(
            data=data,
            bad=bad,
            saturation=self._saturation_map(path, parsed),
            detector=detector,
            clen=clen,
            photon_energy_eV=energy,
            adu_per_photon=detector.adu_per_photon(energy),
            path=path,
            event=event or "//",
        )

    def together(self, filename: str | bytes, event: str | None = None) -> int:
        """How many frames the HDF5 chunk of one holds: more than 1 where reading one decodes its neighbours, too.

        Raises
        ------
        ImageError
            As :meth:`check`.
        """
        block, data, _, count = self._first(filename, event)
        chunk = data.chunk or count
        if len(block.dims) != len(chunk):
            return 1
        return math.prod(n for n, dim in zip(chunk, block.dims, strict=True) if dim == "%")

    def order(self, filename: str | bytes, event: str | None = None) -> tuple[Any, ...]:
        """Sort key of a frame within its file: in this order no HDF5 chunk is decoded twice.

        Raises
        ------
        ImageError
            As :meth:`check`.
        """
        _, data, start, count = self._first(filename, event)
        chunk = data.chunk or count
        return data.name, tuple(at // n for at, n in zip(start, chunk, strict=True)), start

    def _first(self, filename: str | bytes, event: str | None) -> _Found:
        path = self.locate(filename)
        self.files.begin()
        return next(self._find(path, event, Event.parse(event, path)))

    # Pixels ----------------------------------------------------------------------------------------------------------

    def _find(self, path: str, event: str | None, parsed: Event) -> Iterator[_Found]:
        """Each block with what it is read from for an event, and where there."""
        try:
            for block, part_of_chunk in self._reads:
                yield block, *self._in_hdf5(path, event, parsed, block, part_of_chunk)
        except CbfFile:
            image = CbfImage.open(path)
            for block in self._cbf_blocks:
                try:
                    yield block, image, *block.select(image.shape, parsed)
                except Misfit as problem:
                    raise ImageError(f"{problem}{_OTHER_GEOMETRY}", path=path, event=event) from None

    def _in_hdf5(
        self, path: str, event: str | None, parsed: Event, block: Block, part_of_chunk: bool
    ) -> tuple[Dataset, tuple[int, ...], tuple[int, ...]]:
        """Dataset, start and count of a block for an event."""
        name = block.location
        try:
            if len(parsed.parts) > name.count("%"):
                raise Misfit(f"the event has {len(parsed.parts)} path parts, the geometry's data path fewer '%'")
            name = parsed.substitute(name)
            data = self.files.dataset(path, name, part_of_chunk)
            if not data.is_number:
                raise Misfit("this dataset holds no numbers")
            try:
                start, count = block.select(data.shape, parsed)
            except Misfit:  # the file may have grown since it was opened
                self.files.close()
                data = self.files.dataset(path, name, part_of_chunk)
                start, count = block.select(data.shape, parsed)
            if data.sources:
                self.files.check_sources(data, start, count)
        except (Misfit, TooFewParts) as problem:
            hint = "" if "no frame" in str(problem) else _OTHER_GEOMETRY
            raise ImageError(f"{problem}{hint}", path=path, event=event, dataset=name) from None
        except ImageError as err:
            if isinstance(err, CbfFile) and err.path == path:  # and no link in an HDF5 file leads to it
                raise
            raise ImageError(err.reason, path=err.path, event=event, dataset=err.dataset) from None
        return data, start, count

    def _pixels(
        self, event: str | None, found: list[_Found], known: NDArray[np.uint8], copy: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if copy or self._data is None:
            # whatever no block reads stays zero
            data = np.zeros(self.detector.n_pixels, np.float32)
            self._data = self._data if copy else data
        else:
            data = self._data
        bad: NDArray[np.uint8] | None = None
        for block, dataset, start, count in found:
            raw = self._buffer(block.shape, dataset.raw)
            try:
                if dataset.lacks(start, count):
                    raise ImageError(UNWRITTEN, path=dataset.path, event=event, dataset=dataset.name)
                dataset.read(start, count, raw)
            except HDF5_ERRORS as problem:
                self.files.close()
                raise ImageError(
                    f"the pixels cannot be read, the file is damaged or still being written ({said(problem)})",
                    path=dataset.path,
                    event=event,
                    dataset=dataset.name,
                ) from None
            if dataset.is_float or self._flags.any:
                if bad is None:
                    bad = self._bad_buffer(known, copy)
                with np.errstate(over="ignore"):  # uncompiled: too large for float32 is infinite, and so bad
                    unpack_and_judge(raw, block.table, data, bad, known, *self._flags.arrays, dataset.is_float)
            else:
                unpack(raw, block.table, data)
        return data, known if bad is None else bad

    def _bad_buffer(self, known: NDArray[np.uint8], copy: bool) -> NDArray[np.uint8]:
        if copy:
            return known.copy()
        if self._bad is None:
            self._bad = np.empty(self.detector.n_pixels, np.uint8)
        if len(self.blocks) > 1:  # a block of integers without flags is not judged
            self._bad[:] = known
        return self._bad

    def _buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        key = (shape, dtype.str)
        found = self._raw.get(key)
        if found is None:
            if len(self._raw) >= 8:
                self._raw.clear()
            found = self._raw[key] = np.empty(shape, dtype)
        return found

    # What belongs to the event ---------------------------------------------------------------------------------------

    def _energy(self, path: str, event: Event) -> float:
        wavelength = self.detector.wavelength
        if wavelength is None:
            raise GeometryError("no wavelength in the geometry, and none in the stream", path=self.detector.path)
        energy = wavelength.photon_energy_eV(lambda place: header_number(self.files, path, event, place))
        if not (energy > 0 and math.isfinite(energy)):
            raise GeometryError(f"{path}: photon energy {energy} eV", path=self.detector.path, line=wavelength.line)
        return energy

    def _unrounded(self, energy: float) -> float:
        """The energy as CrystFEL has it from the geometry's number, when a stream's six decimals say the same.

        Its last bit is that of the ADU of a photon (``adu_per_eV``), and decides sigma where I is exactly minus one
        photon (rings), which is not rare where counts are whole.
        """
        wavelength = self.detector.wavelength
        if wavelength is None or wavelength.number is None:
            return energy
        exact = wavelength.photon_energy_eV(lambda place: math.nan)
        return exact if abs(exact - energy) < 1e-6 else energy

    def _camera_length(self, path: str, event: Event, fallback: float | None) -> float:
        length = self.detector.clen
        if length is None:
            return math.nan if fallback is None else float(fallback)
        clen = length.metres(lambda place: header_number(self.files, path, event, place))
        if not math.isfinite(clen):
            raise GeometryError(
                f"camera length '{length.text}' has no known unit or no value",
                path=self.detector.path,
                line=length.line,
            )
        if length.location is not None and not clen + self.detector.corners[:, 2].max() > 0:
            raise ImageError(
                f"a camera length of {clen:g} m puts the detector behind the sample", path=path, dataset=length.location
            )
        return clen

    def _shifted(self, path: str, event: Event) -> Detector:
        shift_x, shift_y = self.detector.shift_x, self.detector.shift_y
        if shift_x is None:  # CrystFEL looks at y only when there is an x (create_detgeom)
            return self.detector

        def read(length: Length) -> float:
            if length.scale is None:
                raise GeometryError(
                    f"detector shift '{length.text}' has no known unit", path=self.detector.path, line=length.line
                )
            return length.metres(lambda place: header_number(self.files, path, event, place))

        return self.detector.shifted(read(shift_x), 0.0 if shift_y is None else read(shift_y))

    def _fixed_bad(self, detector: Detector) -> NDArray[np.uint8]:
        kept = self._fixed.get(id(detector))
        if kept is None:
            if len(self._fixed) >= MOST_SHIFTED:
                del self._fixed[next(iter(self._fixed))]
            bad = fixed_bad(detector, self._complain)
            bad.flags.writeable = False
            kept = self._fixed[id(detector)] = detector, bad  # holds the detector, so that its id stays its own
        return kept[1]

    def _known_bad(self, detector: Detector, path: str, event: Event) -> NDArray[np.uint8]:
        """Bad pixels that do not depend on the pixels' values."""
        fixed, masked = self._fixed_bad(detector), self._masks.read(path, event)
        if masked is None:
            return fixed
        if self._known is None or self._known[0] is not fixed or self._known[1] is not masked:
            both = fixed | masked
            both.flags.writeable = False
            self._known = fixed, masked, both
        return self._known[2]

    def _saturation_map(self, path: str, event: Event) -> NDArray[np.float32] | None:
        panels = self.detector.panels
        if not any(panel.saturation_map is not None for panel in panels):
            return None
        if self._saturation is not None and self._saturation[0] == self._saturation_key(path, event):
            return self._saturation[1]
        levels = np.full(self.detector.n_pixels, np.inf, np.float32)
        for file in dict.fromkeys(p.saturation_map_file for p in panels if p.saturation_map is not None):
            where = path if file is None else self.finder.mask(file)
            self.files.open(where)
            for block in blocks_of(
                self.detector, [p.saturation_map if p.saturation_map_file == file else None for p in panels]
            ):
                try:
                    raw, per_event = read_block(self.files, where, block, event, np.dtype(np.float32), "saturation map")
                except ImageError as err:  # create_satmap of image.c wants the file, but not that it holds the map
                    self._complain(f"{block.location}: {err.reason}; it says of no pixel that it is saturated")
                    continue
                self._saturation_by_index |= per_event
                unpack(raw, block.table, levels)
        levels.flags.writeable = False
        self._saturation = self._saturation_key(path, event), levels
        return levels

    def _saturation_key(self, path: str, event: Event) -> Any:
        """What the saturation map belongs to: it is the same as long as this is."""
        if any(p.saturation_map is not None and p.saturation_map_file is None for p in self.detector.panels):
            return path, self.files.stamp(path), event
        return event.parts, event.indices if self._saturation_by_index else None
