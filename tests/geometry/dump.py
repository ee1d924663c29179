"""A detector in the words of the geometry oracle (readable units, JSON)."""

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry


def dump(text):
    """What the parser makes of a geometry; {"ok": False} when it refuses."""
    try:
        det = parse_geometry(text)
    except GeometryError:
        return {"ok": False}
    return {
        "ok": True,
        "wavelength": {"value": det.wavelength.value, "unit": det.wavelength.unit},
        "clen": det.clen.text,
        "bandwidth": det.bandwidth,
        "peak_list": det.peak_list,
        "detector_shift_x": det.shift_x and det.shift_x.text,
        "detector_shift_y": det.shift_y and det.shift_y.text,
        "groups": {name: list(members) for name, members in det.groups.items()},
        "bad": [_region(region, det) for region in det.bad_regions],
        "panels": [_panel(panel) for panel in det.panels],
    }


def _region(region, det):
    if region.panel is None:
        return {"name": region.name, **{k: _number(getattr(region, k)) for k in ("min_x", "max_x", "min_y", "max_y")}}
    extent = {k: getattr(region, k) for k in ("min_fs", "max_fs", "min_ss", "max_ss")}
    return {"name": region.name, "panel": det.panels[region.panel].name, **extent}


def _panel(panel):
    plain = "name min_fs max_fs min_ss max_ss corner_x corner_y coffset pixel_size data adu adu_per no_index"
    out = {key: getattr(panel, key) for key in plain.split()}
    return out | {
        "fs": list(panel.fs),
        "ss": list(panel.ss),
        "dims": list(panel.dims),
        "max_adu": _number(panel.max_adu),
        "mask_edge_pixels": panel.mask_edge_pixels,
        "flags": [list(flag) for flag in panel.flags],
        "masks": {
            str(m.number): {"data": m.data, "file": m.file, "goodbits": m.good_bits, "badbits": m.bad_bits}
            for m in panel.masks
        },
        "saturation_map": panel.saturation_map,
        "saturation_map_file": panel.saturation_map_file,
    }


def _number(value):
    return value if abs(value) < float("inf") else str(value)
