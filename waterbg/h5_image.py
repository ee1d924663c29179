"""One 2-D image out of an HDF5 file, without a geometry: for the tools that look at arrays and not at panels."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import ImageError

if TYPE_CHECKING:
    import h5py

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


def read_image(filename: str | os.PathLike[str], dataset: str | None = None, frame: int = 0) -> NDArray[Any]:
    """Read one image as the file holds it.

    Parameters
    ----------
    filename : str or path
    dataset : str, optional
        Path of the data inside the file; default: the usual places, then the only dataset that can be an image.
    frame : int
        Which image of a stack (first axis of a 3-D dataset); 0 is the first.

    Returns
    -------
    (n_ss, n_fs) array
        In the type of the file; row = ss, column = fs.

    Raises
    ------
    ImageError
        When the file is missing, no HDF5 file, damaged, or has no such dataset or frame, or none that is an image.
    """
    path = os.fspath(filename)
    with open_h5(path) as file:
        name = dataset if dataset is not None else find_dataset(file, path)
        data = get_dataset(file, name, path)
        if not _may_be_image(data):
            raise ImageError(f"not an image: shape {data.shape}, type {data.dtype}", path=path, dataset=name)
        lead = data.shape[:-2]
        n = int(np.prod(lead))
        if not 0 <= frame < n:
            raise ImageError(f"no frame {frame}: it has {n} (0 is the first)", path=path, dataset=name)
        if sum(length > 1 for length in lead) > 1:
            raise ImageError(
                f"shape {data.shape}: more than one axis beside rows and columns; such stacks need a geometry",
                path=path,
                dataset=name,
            )
        try:
            return np.asarray(data[np.unravel_index(frame, lead)] if lead else data[()])
        except OSError as err:
            raise ImageError(f"cannot be read ({_first_line(err)})", path=path, dataset=name) from None


def open_h5(path: str) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    ImageError
    """
    import h5py
    import hdf5plugin  # noqa: F401 (registers bitshuffle/LZ4 and its like)

    if not os.path.exists(path):
        raise ImageError("no such file", path=path)
    if os.path.isdir(path):
        raise ImageError("is a folder", path=path)
    try:
        with open(path, "rb"):
            pass
        if not h5py.is_hdf5(path):
            raise ImageError("not an HDF5 file", path=path)
        return h5py.File(path, "r")
    except OSError as err:
        raise ImageError(f"cannot be opened ({err.strerror or _first_line(err)})", path=path) from None


def get_dataset(file: h5py.File, name: str, path: str) -> h5py.Dataset:
    """Get a dataset by its name.

    Raises
    ------
    ImageError
        When there is none, it is a group, or it lies in another file outside this one's folder.
    """
    import h5py

    _refuse_foreign(file, name, path)
    try:
        found = file[name]
    except (KeyError, ValueError, OSError):
        there = image_datasets(file)
        hint = f"; it has {', '.join(there[:5])}" if there else "; it has no dataset that could be an image"
        raise ImageError(f"no such dataset{hint}", path=path, dataset=name) from None
    if not isinstance(found, h5py.Dataset):
        raise ImageError("is a group, not a dataset", path=path, dataset=name)
    return found


def find_dataset(file: h5py.File, path: str) -> str:
    """Name of the dataset that holds the images: a usual place, or the only candidate.

    Raises
    ------
    ImageError
        When there is none, or several and nothing to choose by.
    """
    import h5py

    for name in PLACES:
        link = file.get(name, getlink=True) if _exists(file, name) else None
        if link is not None:
            _refuse_foreign(file, name, path)
            found = file.get(name)
            if isinstance(found, h5py.Dataset) and _may_be_image(found):
                return name
    there = image_datasets(file)
    if len(there) == 1:
        return there[0]
    if not there:
        raise ImageError("no dataset in it that could be an image (two axes or more, numbers)", path=path)
    raise ImageError(f"several datasets could be the image ({', '.join(there[:8])}): name one", path=path)


def image_datasets(file: h5py.File) -> list[str]:
    """Names of all datasets with two axes or more and numbers in them."""
    import h5py

    found: list[str] = []

    def look(name: str, thing: object) -> None:
        if isinstance(thing, h5py.Dataset) and _may_be_image(thing):
            found.append(f"/{name}")

    file.visititems(look)
    return found


def _may_be_image(data: h5py.Dataset) -> bool:
    return data.ndim >= 2 and data.dtype.kind in "iuf" and min(data.shape[-2:]) > 1


def _exists(file: h5py.File, name: str) -> bool:
    """Whether a link is there, also one that leads nowhere; no link is followed for the last part of the name."""
    import h5py

    place: Any = file
    parts = PurePosixPath(name).parts[1:]
    for depth, part in enumerate(parts):
        if not isinstance(place, h5py.Group) or place.get(part, getlink=True) is None:
            return False
        if depth < len(parts) - 1:
            if isinstance(place.get(part, getlink=True), h5py.ExternalLink):
                return True
            place = place.get(part)
    return True


def _refuse_foreign(file: h5py.File, name: str, path: str) -> None:
    """Refuse a link into a file outside the image's own folder: an image must not make us read any file it names."""
    import h5py

    place: Any = file
    home = os.path.dirname(os.path.realpath(path))
    for part in name.strip("/").split("/"):
        if not isinstance(place, h5py.Group):
            return
        link = place.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            target = os.path.realpath(os.path.join(home, link.filename))
            if os.path.commonpath([home, target]) != home:
                raise ImageError(f"lies in another folder's file, {link.filename}", path=path, dataset=name)
        try:
            place = place.get(part)
        except (OSError, KeyError):
            return


def _first_line(err: BaseException) -> str:
    return str(err).splitlines()[0] if str(err) else type(err).__name__
