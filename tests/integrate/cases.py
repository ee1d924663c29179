"""Small frames of every kind that CrystFEL's rings can meet, made from nothing, for the real indexamajig and for ours.

Pixels come from an integer hash, so that they are the same with every version of NumPy; what indexamajig made of them
lies in ``recorded/``, written by ``python -m tests.integrate.record`` (see ``recorded/README.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

ENERGY = 9500.0
BEAM = f"photon_energy = {ENERGY} eV\nadu_per_photon = 2.5\n"
STACK = "data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
MASK = "mask0_data = /mask\nmask0_file = mask.h5\nmask0_goodbits = 0x0\nmask0_badbits = 0x1\n"


@dataclass(frozen=True)
class Case:
    """One run of indexamajig.

    ``crystals`` holds, for each frame, lines as ``lattice_line`` makes them; ``spots`` are (fs, ss) of bright spots.
    """

    name: str
    geometry: str
    shape: tuple[int, int]
    crystals: tuple[tuple[str, ...], ...]
    integration: str = "rings-nocen-nosat-nograd"
    int_radius: str = "3,4,6"
    profile_radius: float = 0.01
    options: tuple[str, ...] = ()
    level: float = 20.0
    floats: bool = False
    bad_share: float = 0.0
    spots: tuple[tuple[float, float], ...] = ((61.4, 83.7), (90.2, 30.1))  # without any, indexamajig does not index

    @property
    def arguments(self) -> list[str]:
        """What indexamajig is called with, in the folder of the case."""
        fixed = (
            "-i frames.lst -g det.geom -o out.stream -j 1 --indexing=file --no-refine --no-retry --no-check-cell"
            " --no-check-peaks --peaks=peakfinder8 --threshold=50 --min-snr=5 --min-pix-count=2 --max-pix-count=40"
            " --local-bg-radius=4"
        )
        return [
            *fixed.split(),
            f"--fix-profile-radius={self.profile_radius}e9",
            f"--integration={self.integration}",
            f"--int-radius={self.int_radius}",
            *self.options,
        ]

    def write(self, folder: Path) -> None:
        """Write images, mask, geometry, list and solutions."""
        frames = np.stack([self._pixels(number) for number in range(len(self.crystals))])
        with h5py.File(folder / "images.h5", "w") as file:
            file["data"] = frames
        with h5py.File(folder / "mask.h5", "w") as file:
            file["mask"] = (uniform(self.shape, 977) < self.bad_share).astype(np.uint8)
        with h5py.File(folder / "saturation.h5", "w") as file:
            file["map"] = (40 + 60 * uniform(self.shape, 31)).astype(np.float32)
        (folder / "det.geom").write_text(self.geometry)
        (folder / "frames.lst").write_text("".join(f"images.h5 //{n}\n" for n in range(len(self.crystals))))
        lines = [f"images.h5 //{n} {line}\n" for n, crystals in enumerate(self.crystals) for line in crystals]
        (folder / "truth.sol").write_text("".join(lines))

    def _pixels(self, frame: int) -> np.ndarray:
        noise = sum(uniform(self.shape, 100 * frame + n) for n in range(6)) * np.sqrt(2) - 3 * np.sqrt(2)
        pixels = self.level + np.sqrt(2.5 * self.level) * noise
        ss, fs = np.mgrid[: self.shape[0], : self.shape[1]] + 0.5
        pixels += 0.02 * self.level * fs / self.shape[1] * ss / 8  # not flat, so that planes matter
        for x, y in self.spots:
            pixels += 70 * np.exp(-0.5 * ((fs - x) ** 2 + (ss - y) ** 2) / 1.1**2)
        if self.floats:
            pixels = (pixels - self.level).astype(np.float32)
            pixels[uniform(self.shape, 51 + frame) < 0.002] = np.nan
            pixels[uniform(self.shape, 57 + frame) < 0.002] = np.inf
            return pixels
        return np.clip(np.rint(pixels), 0, 65000).astype(np.uint16)


def uniform(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Evenly distributed numbers in [0, 1): splitmix64 of the pixel's number."""
    x = np.arange(1, shape[0] * shape[1] + 1, dtype=np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(float).reshape(shape) / 2.0**53


def lattice_line(cell: tuple[float, ...], turn: tuple[float, float, float], shift=(0.0, 0.0), lattice="aP") -> str:
    """Line of a solution: nine components of the reciprocal axes in nm⁻¹, det_shift in mm, lattice.

    ``cell`` in Å and degrees, ``turn`` angles about x, y, z in degrees.
    """
    a, b, c = (length / 10 for length in cell[:3])
    al, be, ga = np.radians(cell[3:] if len(cell) > 3 else (90, 90, 90))
    cx, cy = np.cos(be), (np.cos(al) - np.cos(be) * np.cos(ga)) / np.sin(ga)
    direct = np.array(
        [[a, 0, 0], [b * np.cos(ga), b * np.sin(ga), 0], [c * cx, c * cy, c * np.sqrt(1 - cx**2 - cy**2)]]
    )
    for axis, angle in enumerate(np.radians(turn)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        rotation = np.eye(3)
        rotation[i, i] = rotation[j, j] = np.cos(angle)
        rotation[i, j], rotation[j, i] = -np.sin(angle), np.sin(angle)
        direct = direct @ rotation.T
    numbers = " ".join(f"{component:+.10f}" for component in np.linalg.inv(direct).T.ravel())
    return f"{numbers} {shift[0]:.6f} {shift[1]:.6f} {lattice}"


def one_panel(size: int, extra: str = "", clen: float = 0.05) -> str:
    """Square panel around the beam."""
    return (
        f"{BEAM}{STACK}{MASK}{extra}clen = {clen}\nres = 8000\n"
        f"p/min_fs = 0\np/max_fs = {size - 1}\np/min_ss = 0\np/max_ss = {size - 1}\n"
        f"p/corner_x = {-size / 2 + 1.3}\np/corner_y = {-size / 2 - 2.6}\np/fs = +1.0x\np/ss = +1.0y\n"
    )


def _panel(name: str, row: int, size: tuple[int, int], vectors: str, rest: str) -> str:
    fs, ss = vectors.split("|")
    return (
        f"{name}/min_fs = 0\n{name}/max_fs = {size[0] - 1}\n"
        f"{name}/min_ss = {row}\n{name}/max_ss = {row + size[1] - 1}\n"
        f"{name}/fs = {fs}\n{name}/ss = {ss}\n" + "".join(f"{name}/{line}\n" for line in rest.split(";"))
    )


TILTED = (
    BEAM
    + STACK
    + "clen = 0.06\nres = 6000\n"
    # rotated by 31 degrees and tilted; mirrored; behind; on the side, up to 2θ beyond 90 degrees; a line of pixels
    + _panel("a", 0, (150, 120), "+0.857x +0.515y|-0.5x +0.832y +0.24z", "corner_x = 20;corner_y = -70")
    + _panel("b", 120, (150, 120), "-1.0x +0.02y|+0.02x +1.0y", "corner_x = -15;corner_y = -60;coffset = 0.004")
    + _panel("c", 240, (150, 120), "+1.0x|+1.0y", "corner_x = -160;corner_y = -130;coffset = 0.02;res = 5000")
    + _panel("d", 360, (150, 200), "+1.0y|-1.0z", "corner_x = 260;corner_y = -75;coffset = -0.028")
    + _panel("e", 560, (150, 1), "+1.0x|+1.0y", "corner_x = -75;corner_y = -170")
)
_SHIFT = (0.0214, -0.0337)
_TRICLINIC = (61.0, 72.0, 83.0, 82.0, 99.0, 105.0)
_CENTRINGS = ("aA", "aB", "mCb", "oI", "cF", "hHc", "rR", "aP")

CASES = {
    case.name: case
    for case in (
        Case("tilted-grad", TILTED, (561, 150), ((lattice_line(_TRICLINIC, (20, 40, 70), _SHIFT),),), "rings-grad"),
        Case(
            "three-crystals",
            one_panel(256),
            (256, 256),
            (
                tuple(
                    lattice_line((95.0, 95.0, 130.0), turn, shift, "tIc")
                    for turn, shift in (((5, 8, 3), (0, 0)), ((60, 20, 10), (0.01, 0.02)), ((33, 44, 55), _SHIFT))
                ),
            ),
            int_radius="2,3,5",
            profile_radius=0.004,
        ),
        Case(
            "masked-grad",
            one_panel(256, "mask_edge_pixels = 3\n"),
            (256, 256),
            ((lattice_line(_TRICLINIC, (10, 35, 81), _SHIFT),),),
            "rings-grad",
            int_radius="2,3,7",
            bad_share=0.05,
        ),
        *(
            Case(
                f"saturated-{word}",
                one_panel(256, "max_adu = 55\nsaturation_map = /map\nsaturation_map_file = saturation.h5\n"),
                (256, 256),
                ((lattice_line((50, 60, 70), (15, 25, 35), _SHIFT),),),
                f"rings-{word}-grad",
                int_radius="3.5,4.2,6.7",
            )
            for word in ("sat", "nosat")
        ),
        Case(
            "centrings",
            one_panel(200),
            (200, 200),
            tuple(
                (lattice_line((58, 64, 71), (7 * n + 3, 50 - n, 5 * n), _SHIFT, c),) for n, c in enumerate(_CENTRINGS)
            ),
        ),
        Case(
            "bandwidth",
            one_panel(256, "bandwidth = 0.02\n"),
            (256, 256),
            ((lattice_line(_TRICLINIC, (70, 11, 23), _SHIFT),),),
            profile_radius=0.005,
        ),
        Case(
            "overpredict",
            one_panel(256),
            (256, 256),
            ((lattice_line((52, 60, 66), (31, 41, 59), _SHIFT),),),
            profile_radius=0.002,
            options=("--overpredict",),
        ),
        Case(
            "overpredict-bandwidth",
            one_panel(256, "bandwidth = 0.01\n"),
            (256, 256),
            ((lattice_line((52, 60, 66), (31, 41, 59), _SHIFT),),),
            profile_radius=0.002,
            options=("--overpredict",),
        ),
        Case(
            "highres",
            one_panel(256),
            (256, 256),
            ((lattice_line(_TRICLINIC, (10, 35, 81), _SHIFT),),),
            options=("--highres=5.5",),
        ),
        Case(
            "no-mask-data",
            one_panel(256),
            (256, 256),
            ((lattice_line(_TRICLINIC, (10, 35, 81), _SHIFT),),),
            bad_share=0.05,
            options=("--no-mask-data",),
        ),
        Case(
            "push-res",
            one_panel(256),
            (256, 256),
            ((lattice_line((52, 60, 66), (31, 41, 59), (0, 0)),),),
            options=("--push-res=0.4",),
            # where reflections are, so that there is a resolution limit
            spots=(
                (162.7, 123.1),
                (143.4, 85.4),
                (164.0, 89.0),
                (123.7, 190.7),
                (159.3, 74.0),
                (64.8, 98.5),
                (133.8, 55.2),
            ),
        ),
        Case(
            "floats",
            one_panel(256),
            (256, 256),
            ((lattice_line(_TRICLINIC, (44, 15, 3), _SHIFT),),),
            "rings-grad",
            floats=True,
        ),
    )
}
