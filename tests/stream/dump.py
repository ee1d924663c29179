"""What our reader makes of a stream, in the schema of the conformance oracle."""

import math

import numpy as np

from waterbg.errors import WaterbgError
from waterbg.geometry import parse_geometry
from waterbg.stream import StreamFile


def number(x):
    return x if math.isfinite(x) else "nan" if math.isnan(x) else "inf" if x > 0 else "-inf"


def latin(text):
    return None if text is None else text.encode("utf-8", "surrogateescape").decode("latin-1")


def dump(path):
    try:
        with StreamFile(path) as stream:
            detector = parse_geometry(stream.geometry_text)
    except WaterbgError as err:
        return {"opened": False, "reason": str(err)}
    chunks = []
    with StreamFile(path) as stream:
        for chunk in stream.chunks():
            known = detector.panel_numbers(chunk.peak_panel_names) >= 0
            chunks.append(
                {
                    "filename": latin(chunk.filename),
                    "event": latin(chunk.event),
                    "serial": chunk.serial or 0,
                    "photon_energy_eV": number(chunk.photon_energy_eV),
                    "n_peaks": int(known[chunk.peaks["panel"]].sum()) if len(known) else 0,
                    "headers": [[latin(name), kind, value] for name, kind, value in chunk.headers],
                    "crystals": [crystal(c, detector) for c in chunk.crystals],
                }
            )
    return {
        "opened": True,
        "ended": "error" if stream.ended and stream.ended.check != "cut" else "eof",
        "chunks": chunks,
    }


def crystal(c, detector):
    rows = c.reflections
    known = detector.panel_numbers(c.panel_names)[rows["panel"]] if len(rows) else np.zeros(0, int)
    finite = {name: rows[name][np.isfinite(rows[name])] for name in ("I", "sigma", "peak", "background")}
    out = {
        "n_reflections": None if c.lost or not c.has_list else len(rows),
        "sums": {
            **{name: int(rows[name].sum()) for name in "hkl"},
            **{name: float(values.sum()) for name, values in finite.items()},
        },
        "panels": {},
    }
    for panel in known:
        name = str(max(int(panel), 0))
        out["panels"][name] = out["panels"].get(name, 0) + 1
    if c.axes is None or np.isfinite(c.axes).all():
        out["reciprocal_per_nm"] = None if c.axes is None else [float(x) for x in c.axes.ravel()]
    return out
