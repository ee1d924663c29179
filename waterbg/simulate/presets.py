"""Named experiments: each changes what its name says, against the nominal one."""

from __future__ import annotations

from waterbg.errors import UsageError
from waterbg.simulate.experiment import Experiment

_QUARTER_MEGAPIXEL = {
    "panel_shape": (252, 512),
    "gap": 8.0,
    "camera_length": 0.0765,
    "dead_pixels": 60,
    "hot_pixels": 6,
    "zingers": 3,
    "beamstop": 16.0,
    "detector_shift": 0.3,
}

PRESETS = {
    # lysozyme on a one-megapixel detector, a jet of very different thickness from frame to frame
    "nominal": Experiment(seed=777),
    # ice-like rings of 1.5 px width on top of the water ring
    "sharp": Experiment(seed=888, sharp_rings=1.0),
    # spots with tails and different widths, a third of a pixel beside their place; a less round ring
    "rough": Experiment(seed=666, width=1.0, width_scatter=0.08, tail=0.20, position_jitter=0.35, modulation=0.08),
    # predictions wrong by nearly a pixel, smoothly over the detector, as real ones are
    "misplaced": Experiment(seed=667, position_smooth=0.8),
    # crystals of turned blocks, which show each reflection beside its place, and wider in some directions (the widest
    # still within a disc of three pixels)
    "turned": Experiment(
        seed=668, position_smooth=0.4, block_turns=0.5, width=0.9, width_slope=0.2, width_direction=0.15
    ),
    # spots that large pixels see: a third of a pixel wide, and longer along the radius at high resolution
    "narrow": Experiment(seed=671, width=0.35, width_slope=0.35, max_adu=5000.0),
    # a large cell: neighbours inside the background ring
    "crowded": Experiment(
        seed=999,
        cell=(130.0, 130.0, 110.0, 90.0, 90.0, 90.0),
        profile_radius=0.01,
        width_slope=0.20,
        position_jitter=0.10,
    ),
    # three to five crystals in a frame: discs meet, also those of reflections that are in no list
    "lattices": Experiment(seed=670, crystals=(3, 5)),
    # 0.1 to 3 photons of background per pixel
    "lowbg": Experiment(seed=555, scattering=200.0, water=1.4, air=1.0),
    # air scatter only: the method must do no harm
    "noring": Experiment(seed=333, water=0.0, air=60.0),
    # weak diffraction on the full water background
    "weak": Experiment(seed=444, scattering=220.0),
    # lysozyme again on a quarter of a megapixel, to 2.2 Angstrom in the corners: for tests and samples
    "small": Experiment(seed=20240, **_QUARTER_MEGAPIXEL),  # type: ignore[arg-type]
    # an integrating detector: ADU, read noise, panels of different gain, saturation
    "gain": Experiment(
        seed=20241,
        **{  # type: ignore[arg-type]
            **_QUARTER_MEGAPIXEL,
            "panel_grid": (2, 2),
            "panel_shape": (252, 254),
            "adu_per_photon": 12.5,
            "panel_gain": 0.10,
            "read_noise": 0.4,
            "saturation": 300.0,
            "max_adu": 3125.0,
            "water": 14.0,
            "air": 10.0,
        },
    ),
    # faint light on an integrating detector whose chips lost more than their dark level, each frame another one
    "pedestal": Experiment(
        seed=669,
        panel_grid=(4, 2),
        panel_shape=(252, 512),
        dead_pixels=75,
        hot_pixels=5,
        zingers=3,
        adu_per_photon=20.0,
        max_adu=5000.0,
        read_noise=0.3,
        pedestal=-0.6,
        pedestal_scatter=0.3,
        scattering=200.0,
        water=3.0,
        air=2.0,
    ),
    # several crystals in a frame, many turned and tilted panels in a third dimension, every pulse of another energy
    "multi": Experiment(
        seed=20242,
        **{  # type: ignore[arg-type]
            **_QUARTER_MEGAPIXEL,
            "panel_grid": (4, 2),
            "panel_shape": (124, 252),
            "panel_turn": 0.3,
            "panel_tilt": 0.3,
            "layout": "modules",
            "energy_spread": 0.002,
            "dead_pixels": 15,
            "hot_pixels": 2,
            "zingers": 1,
            "cell": (62.0, 44.0, 51.0, 90.0, 104.0, 90.0),
            "lattice_type": "monoclinic",
            "unique_axis": "b",
            "centering": "C",
            "point_group": "2/m_uab",
            "crystals": (1, 3),
            "position_smooth": 0.2,
        },
    ),
    # no symmetry at all
    "triclinic": Experiment(
        seed=20243,
        **{  # type: ignore[arg-type]
            **_QUARTER_MEGAPIXEL,
            "cell": (41.0, 47.0, 53.0, 82.0, 95.0, 104.0),
            "lattice_type": "triclinic",
            "unique_axis": "?",
            "point_group": "-1",
        },
    ),
}


def preset(name: str) -> Experiment:
    """Return the experiment of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"no preset {name!r}; there are: {', '.join(PRESETS)}") from None
