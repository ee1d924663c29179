"""One 2-D image out of an HDF5 file, without a geometry: for the tools that look at arrays and not at panels."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import ImageError
from waterbg.geometry.detector import MOST_PIXELS

if TYPE_CHECKING:
    from waterbg.frames.files import Dataset, Files

# where detectors and CrystFEL's own tools put images, most common first
PLACES = (
    "/entry/data/data",
    "/entry/data/data_000001",
    "/entry/instrument/detector/data",
    "/entry_1/data_1/data",
    "/entry_1/instrument_1/detector_1/data",
    "/data/data",
    "/data/rawdata0",
    "/data/correcteddata",
    "/data",
)


class ImageStack:
    """The images of one HDF5 dataset, read one at a time; use as a context.

    Parameters
    ----------
    filename : str or path
    dataset : str, optional
        Path of the data inside the file; default: the usual places, then the only dataset that can be an image.

    Attributes
    ----------
    path, dataset : str
    shape : (int, int)
        Rows (ss) and columns (fs) of an image.

    Raises
    ------
    ImageError
        When the file is missing, no HDF5 file, damaged, or has no such dataset, or none that is an image.
    """

    def __init__(self, filename: str | os.PathLike[str], dataset: str | None = None) -> None:
        from waterbg.frames.files import Files
        from waterbg.frames.kinds import CbfFile

        self.path = os.fspath(filename)
        self._files: Files = Files(advice=", which is not followed here; give the file itself")
        try:
            self._files.open(self.path)
            self.dataset = dataset if dataset is not None else _find(self._files, self.path)
            self._data: Dataset = self._files.dataset(self.path, self.dataset)
            shape = self._data.shape
            if not _may_be_image(shape):
                raise self._wrong(f"is not an image: its shape is {shape}")
            if math.prod(shape[-2:]) > MOST_PIXELS:
                raise self._wrong(f"is no image: no detector has {shape[-2]} x {shape[-1]} pixels")
            if sum(length > 1 for length in shape[:-2]) > 1:
                raise self._wrong(f"has more axes than images, rows and columns ({shape}); such stacks need a geometry")
        except BaseException as err:
            self._files.close()
            if isinstance(err, CbfFile):
                raise ImageError("is a CBF file, and HDF5 alone is read here; convert it", path=err.path) from None
            raise
        self.shape = shape[-2:]

    def __enter__(self) -> ImageStack:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __len__(self) -> int:
        return math.prod(self._data.shape[:-2])

    def read(self, frame: int = 0) -> NDArray[Any]:
        """Read one image.

        Returns
        -------
        (n_ss, n_fs) array
            In the type of the file; row = ss, column = fs.

        Raises
        ------
        ImageError
            When there is no such frame (0 is the first), or it cannot be read.
        """
        from waterbg.frames.hdf5 import said

        if not 0 <= frame < len(self):
            raise self._wrong(f"has no frame {frame}: there are {len(self)}, and 0 is the first")
        lead = self._data.shape[:-2]
        start = (*(int(i) for i in np.unravel_index(frame, lead)), 0, 0) if lead else (0, 0)
        count = (*(1 for _ in lead), *self.shape)
        image = np.empty(self.shape, self._data.raw)
        try:
            self._files.check_sources(self._data, start, count)
            self._data.read(start, count, image)
        except (OSError, RuntimeError) as err:
            raise self._wrong(f"cannot be read ({said(err)})") from None
        return image

    def is_first_of_several(self) -> bool:
        """Whether it is the first of a master file's datasets: ``data_000001``, ``data_000002`` …"""
        following = self.dataset.replace("/data_000001", "/data_000002")
        return following != self.dataset and _leads_to_data(self._files.open(self.path).file, following)

    def read_all(self) -> NDArray[Any]:
        """Read all images: (n_images, n_ss, n_fs)."""
        return np.stack([self.read(frame) for frame in range(len(self))])

    def _wrong(self, reason: str) -> ImageError:
        return ImageError(reason, path=self.path, dataset=self.dataset)


def read_image(filename: str | os.PathLike[str], dataset: str | None = None, frame: int = 0) -> NDArray[Any]:
    """Read one image; see `ImageStack`."""
    with ImageStack(filename, dataset) as stack:
        return stack.read(frame)


def read_whole(filename: str | os.PathLike[str], dataset: str | None = None) -> NDArray[Any]:
    """Read a mask or a dark frame: 2-D, or 3-D for detectors whose panels are a stack."""
    with ImageStack(filename, dataset) as stack:
        return stack.read_all() if len(stack) > 1 else stack.read()


def _find(files: Files, path: str) -> str:
    """Name of the dataset that holds the images: a usual place, or the only candidate."""
    import h5py

    candidates: list[str] = []

    def look(name: str, thing: object) -> None:
        if isinstance(thing, h5py.Dataset) and thing.dtype.kind in "iuf" and _may_be_image(thing.shape or ()):
            candidates.append(f"/{name}")

    file = files.open(path).file
    for name in PLACES:
        if _leads_to_data(file, name) and _may_be_image(files.dataset(path, name).shape):
            return name
    file.visititems(look)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ImageError("holds no dataset that could be an image: two axes or more, numbers", path=path)
    raise ImageError(f"several datasets could be the image ({', '.join(candidates[:8])}): name one", path=path)


def _may_be_image(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 2 and min(shape[-2:]) > 1 and 0 not in shape


def _leads_to_data(file: Any, name: str) -> bool:
    """Whether a name is a dataset of the file, or passes a link (which the reader judges); nothing else is opened."""
    import h5py

    place = file
    for part in name.strip("/").split("/"):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            return False
        if not isinstance(link, h5py.HardLink):
            return True
        place = place[part]
    return isinstance(place, h5py.Dataset)
