"""Reads frames with the real libcrystfel and stores what it made of them.

Run in a process of its own (libcrystfel and h5py bring different HDF5 libraries):
``crystfel_image.py LIBRARY GEOMETRY OUT.npz FILE EVENT [FILE EVENT ...]``; an event may be ``-`` for none.
It looks at dp, bad, sat, detgeom, lambda of struct image (image.h) and at struct detgeom_panel (detgeom.h) of CrystFEL
0.12.
"""

import ctypes
import sys

import numpy as np

DETGEOM, WAVELENGTH = 56, 1152  # bytes into struct image


class Panel(ctypes.Structure):
    """struct detgeom_panel"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        *(
            (n, ctypes.c_double)
            for n in ["cnx", "cny", "cnz", "pitch", "adu", "max_adu", "fsx", "fsy", "fsz", "ssx", "ssy", "ssz"]
        ),
        ("w", ctypes.c_int),
        ("h", ctypes.c_int),
        ("group", ctypes.c_void_p),
    ]


def main(library, geometry, out, *frames):
    crystfel = ctypes.CDLL(library)
    crystfel.data_template_new_from_file.restype = ctypes.c_void_p
    crystfel.image_read.restype = ctypes.c_void_p
    crystfel.image_read.argtypes = (
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p] + [ctypes.c_int] * 2 + [ctypes.c_void_p]
    )
    template = crystfel.data_template_new_from_file(geometry.encode())
    found = {"read": np.zeros(len(frames) // 2, bool)}
    for number, (file, event) in enumerate(zip(frames[::2], frames[1::2], strict=True)):
        image = crystfel.image_read(template, file.encode(), None if event == "-" else event.encode(), 0, 0, None)
        if image:
            found["read"][number] = True
            for name, values in frame(image).items():
                found[f"{name}{number}"] = values
    np.savez(out, **found)


def frame(image):
    dp, bad, sat = (ctypes.c_void_p.from_address(image + 8 * i).value for i in range(3))
    detgeom = ctypes.c_void_p.from_address(image + DETGEOM).value
    n = ctypes.c_int.from_address(detgeom + 8).value
    panels = (Panel * n).from_address(ctypes.c_void_p.from_address(detgeom).value)

    def gather(pointers, kind):
        parts = []
        for i, panel in enumerate(panels):
            start = ctypes.c_void_p.from_address(pointers + 8 * i).value
            parts.append(np.ctypeslib.as_array((kind * (panel.w * panel.h)).from_address(start)).copy())
        return np.concatenate(parts)

    out = {
        "data": gather(dp, ctypes.c_float),
        "bad": gather(bad, ctypes.c_int),
        "lambda": ctypes.c_double.from_address(image + WAVELENGTH).value,
        "panels": np.array([[p.cnx, p.cny, p.cnz * p.pitch, p.adu, p.max_adu] for p in panels]),
    }
    if sat:
        out["saturation"] = gather(sat, ctypes.c_float)
    return out


if __name__ == "__main__":
    main(*sys.argv[1:])
