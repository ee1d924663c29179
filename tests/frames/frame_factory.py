"""Small images of every layout, with the geometry that goes with them."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "bitshuffle": dict(hdf5plugin.Bitshuffle()),
    "lz4": dict(hdf5plugin.LZ4()),
}


@dataclass
class Run:
    """An image file, its geometry and what should be read from it.

    ``expected[event]`` is the flat frame; ``truth`` is filled by the layouts below.
    """

    path: Path
    geometry: str
    expected: dict[str | None, np.ndarray] = field(default_factory=dict)


def pixels(rng, shape, dtype):
    """Random values that are exact in float32 and within the type."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        return rng.integers(-500, 5000, shape).astype(dtype) / 8
    low = 0 if dtype.kind == "u" else -100
    return rng.integers(low, min(np.iinfo(dtype).max, 60000), shape).astype(dtype)


def geometry(panels, *, head="", dims=("ss", "fs"), data="/entry/data", tail="", energy="9000 eV", clen="0.1 m"):
    """Text of a geometry: ``panels`` maps names to dicts of statements; extents as (min_fs, max_fs, min_ss, max_ss)."""
    lines = [f"photon_energy = {energy}", f"clen = {clen}", "res = 10000", "adu_per_photon = 2", head]
    lines += [f"data = {data}"] if data else []
    lines += [f"dim{i} = {dim}" for i, dim in enumerate(dims)]
    for number, (name, panel) in enumerate(panels.items()):
        panel = {"corner_x": f"{-40 + 17 * number}", "corner_y": f"{-30 + 11 * number}"} | panel
        panel = {"fs": "+1x +0y", "ss": "+0x +1y"} | panel
        extent = panel.pop("extent")
        for key, value in zip(("min_fs", "max_fs", "min_ss", "max_ss"), extent, strict=True):
            lines.append(f"{name}/{key} = {value}")
        lines += [f"{name}/{key} = {value}" for key, value in panel.items()]
    return "\n".join([*lines, tail, ""])


def flat(*panels):
    """Panels one after the other, as CrystFEL has them in float32."""
    return np.concatenate([np.asarray(p).astype(np.float32).ravel() for p in panels])


def stack(folder, rng, dtype="u2", filters="none", n=3, **options):
    """Frames in a 3-D stack, two panels above each other."""
    data = pixels(rng, (n, 20, 12), dtype)
    path = Path(folder) / "stack.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=data, chunks=(1, 20, 12), **FILTERS[filters])
    panels = {"a": {"extent": (0, 11, 0, 9)}, "b": {"extent": (0, 11, 10, 19), "fs": "-1x", "ss": "-1y"}}
    run = Run(path, geometry(panels, dims=("%", "ss", "fs"), **options))
    run.expected = {f"//{i}": flat(data[i]) for i in range(n)}
    return run


def single(folder, rng, dtype="i4"):
    """One frame in a file, one panel that leaves out some of the pixels."""
    data = pixels(rng, (20, 15), dtype)
    path = Path(folder) / "single.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = data
    run = Run(path, geometry({"p0": {"extent": (2, 13, 1, 18)}}))
    run.expected = dict.fromkeys(("//", None), flat(data[1:19, 2:14]))
    return run


def panel_stack(folder, rng, dtype="f4"):
    """4-D: frames, panels, rows, columns, as AGIPD and JUNGFRAU have them."""
    data = pixels(rng, (2, 6, 8, 10), dtype)
    path = Path(folder) / "panels.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=data, chunks=(2, 3, 8, 10), compression="gzip")
    panels = {}
    for k in (3, 0, 5):  # not all, not in order
        panels[f"m{k}a"] = {"extent": (0, 9, 0, 3), "dim1": k}
        panels[f"m{k}b"] = {"extent": (0, 9, 4, 7), "dim1": k}
    run = Run(path, geometry(panels, dims=("%", "0", "ss", "fs")))
    run.expected = {f"//{i}": flat(*(data[i, k] for k in (3, 0, 5))) for i in range(2)}
    return run


def own_datasets(folder, rng, dtype="u2"):
    """Each panel in a dataset of its own, each frame in a group of its own."""
    path = Path(folder) / "own.h5"
    run = Run(path, "")
    with h5py.File(path, "w") as file:
        for tag in ("tag-1", "tag-22"):
            parts = []
            for k in range(3):
                parts.append(pixels(rng, (6 + k, 9), dtype))
                file[f"runs/{tag}/module_{k}/data"] = parts[-1]
            run.expected[f"{tag}//"] = flat(*parts)
    panels = {f"d{k}": {"data": f"/runs/%/module_{k}/data", "extent": (0, 8, 0, 5 + k)} for k in range(3)}
    run.geometry = geometry(panels, data=None)
    return run


def path_and_index(folder, rng, dtype="i2"):
    """Frames by two path parts and two indices; a fixed index between ss and fs."""
    path = Path(folder) / "both.h5"
    run = Run(path, "")
    with h5py.File(path, "w") as file:
        for a, b in (("r1", "x"), ("r2", "y")):
            data = pixels(rng, (2, 3, 7, 4, 5), dtype)
            file[f"all/{a}/{b}/image"] = data
            for i in range(2):
                for j in range(3):
                    run.expected[f"{a}/{b}//{i}/{j}"] = flat(data[i, j, :, 2], data[i, j, 1:4, 0, 2:4])
    panels = {"p": {"extent": (0, 4, 0, 6), "dim3": 2}, "q": {"extent": (2, 3, 1, 3), "dim3": 0}}
    run.geometry = geometry(panels, data="/all/%/%/image", dims=("%", "%", "ss", "0", "fs"))
    return run


def scattered(folder, rng, dtype="u1"):
    """Small panels far from each other in a large dataset, and panels that share pixels."""
    data = pixels(rng, (2, 60, 50), dtype)
    path = Path(folder) / "scattered.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=data, chunks=(2, 60, 50), compression="gzip")
    corners = {"w": (0, 3, 0, 4), "x": (45, 49, 50, 59), "y": (2, 6, 3, 8), "z": (20, 20, 30, 30)}
    panels = {name: {"extent": extent} for name, extent in corners.items()}
    run = Run(path, geometry(panels, dims=("%", "ss", "fs")))
    for i in range(2):
        run.expected[f"//{i}"] = flat(*(data[i, c[2] : c[3] + 1, c[0] : c[1] + 1].ravel() for c in corners.values()))
    return run


def offsets_in_bytes(data):
    """Pixels as what each differs by from the one before, as CBF files have them ("byte offset")."""
    coded = bytearray()
    for step in np.diff(data.astype(np.int64).ravel(), prepend=0).tolist():
        for width in (1, 2, 4, 8):
            lowest = -(1 << (8 * width - 1))
            if width == 8 or lowest < step < -lowest:
                coded += step.to_bytes(width, "little", signed=True)
                break
            coded += lowest.to_bytes(width, "little", signed=True)
    return bytes(coded)


CBF_TYPES = {
    "u1": "unsigned 8-bit integer",
    "i1": "signed 8-bit integer",
    "u2": "unsigned 16-bit integer",
    "i2": "signed 16-bit integer",
    "u4": "unsigned 32-bit integer",
    "i4": "signed 32-bit integer",
    "f4": "signed 32-bit real IEEE",
    "f8": "signed 64-bit real IEEE",
}


def cbf_bytes(data, coded=True):
    """A CBF file as a Pilatus writes it; without ``coded`` its pixels are as they are."""
    pixels = offsets_in_bytes(data) if coded else data.tobytes()
    lines = [
        "###CBF: VERSION 1.5, CBFlib v0.7.8 - PILATUS detectors",
        "",
        "data_frame_0001",
        "",
        '_array_data.header_convention "PILATUS_1.2"',
        "_array_data.header_contents",
        ";",
        "# Detector_distance 0.35100 m",
        ";",
        "",
        "_array_data.data",
        ";",
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream;",
        *(['     conversions="x-CBF_BYTE_OFFSET"'] if coded else []),
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(pixels)}",
        "X-Binary-ID: 1",
        f'X-Binary-Element-Type: "{CBF_TYPES[data.dtype.str[1:]]}"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"X-Binary-Number-of-Elements: {data.size}",
        f"X-Binary-Size-Fastest-Dimension: {data.shape[1]}",
        f"X-Binary-Size-Second-Dimension: {data.shape[0]}",
        "X-Binary-Size-Padding: 64",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode() + b"\x0c\x1a\x04\xd5"
    return head + pixels + bytes(64) + b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"


def cbf(folder, rng, dtype="i4", coded=True):
    """One frame in a CBF file, two panels that leave out some of the pixels."""
    data = pixels(rng, (20, 15), dtype)
    path = Path(folder) / "frame_0001.cbf"
    path.write_bytes(cbf_bytes(data, coded))
    panels = {"a": {"extent": (2, 13, 1, 9)}, "b": {"extent": (0, 14, 10, 19), "fs": "-1x", "ss": "-1y"}}
    run = Run(path, geometry(panels))
    run.expected = dict.fromkeys(("//", None), flat(data[1:10, 2:14], data[10:]))
    return run


LAYOUTS = (cbf, single, stack, panel_stack, own_datasets, path_and_index, scattered)


def everything(folder, rng, dtype="f4"):
    """Every source of bad pixels at once, header values for each event, a saturation map."""
    folder = Path(folder)
    data = np.remainder(pixels(rng, (2, 40, 30), dtype), 650).astype(dtype)
    if np.dtype(dtype).kind == "f":
        data[0, 3, 4], data[0, 25, 7], data[1, 8, 8] = np.nan, np.inf, -np.inf
    data[:, 5, 5:9], data[:, 6, 6] = (np.array([-1, 0, 1, 2], float)).astype(dtype), 100
    path = folder / "everything.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = data
        file["entry/mask"] = rng.integers(0, 8, (40, 30)).astype("u2")  # one for all events
        file["entry/mask_each"] = (rng.random((2, 40, 30)) < 0.05).astype("u1")
        file["entry/saturation"] = rng.integers(500, 900, (40, 30)).astype("f4")
        file["header/energy"] = np.array([9000.0, 9111.5])
        file["header/distance"] = np.array([[100], [101]], "i4")
        file["header/shift"] = b"0.4"
        file["header/shift_y"] = -0.0003
    with h5py.File(folder / "mask.h5", "w") as file:
        file["m"] = rng.choice(np.array([0, 1, 3, 0x8001, 0xFFFFFFFF], "u4"), (40, 30), p=[0.9, 0.04, 0.02, 0.02, 0.02])
        file["floats"] = rng.choice([0.0, 0.9, 1.2], (40, 30), p=[0.9, 0.05, 0.05])
    panels = {
        "top": {"extent": (0, 29, 0, 12), "flag_morethan": 600, "fs": "+0.998x +0.06y", "ss": "-0.06x +0.998y"},
        "left": {"extent": (0, 13, 13, 39), "mask_edge_pixels": 2, "flag_lessthan": 1, "mask3_badbits": "0x2"},
        "right": {
            "extent": (14, 29, 13, 39),
            "mask_edge_pixels": 9,
            "max_adu": 600,
            "fs": "-0.5x+0.8y",
            "ss": "-0.8x-0.5y",
        },
        "small": {"extent": (3, 5, 14, 15), "mask_edge_pixels": 0, "mask0_goodbits": 0, "mask0_badbits": 0},
    }
    head = f"""flag_equal = 0
flag_equal = 77
mask = /entry/mask
mask_good = 0
mask_bad = 0x4
mask1_data = /entry/mask_each
mask1_badbits = 1
mask2_data = /m
mask2_file = {folder / "mask.h5"}
mask2_badbits = 0x8000
mask3_data = /floats
mask3_file = {folder / "mask.h5"}
mask3_badbits = 1
saturation_map = /entry/saturation
detector_shift_x = /header/shift mm
detector_shift_y = /header/shift_y"""
    tail = """bad_stop/min_x = -31.5
bad_stop/max_x = -20
bad_stop/min_y = -21
bad_stop/max_y = -10.25
bad_row/panel = top
bad_row/min_fs = 3
bad_row/max_fs = 27
bad_row/min_ss = 11
bad_row/max_ss = 11
bad_open/min_x = 0
bad_open/max_x = 100"""
    text = geometry(
        panels, head=head, dims=("%", "ss", "fs"), tail=tail, energy="/header/energy", clen="/header/distance"
    )
    return Run(path, text.replace("adu_per_photon = 2", "adu_per_eV = 0.001"), dict.fromkeys(("//0", "//1")))
