"""HDF5 event, or CBF file, -> pixels and bad pixels: ``FrameReader(detector).read(filename, event) -> Frame``."""

from waterbg.frames.frame import Frame
from waterbg.frames.reader import FrameReader

__all__ = ["Frame", "FrameReader"]
