"""Which chunk and which reflection ``waterbg view`` shows."""

from dataclasses import replace

import numpy as np
import pytest

from waterbg.errors import StreamError
from waterbg.stream import StreamFile

pytest.importorskip("matplotlib")

from waterbg.plots.look import WATER, Wanted, choose_chunk, choose_reflection


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(Wanted(), 2), (Wanted(number=3), 3), (Wanted(serial=1), 2), (Wanted(event="//0"), 2), (Wanted(event="0"), 2)],
)
def test_a_chunk_is_found_by_position_serial_number_or_event(stream, wanted, number):
    assert choose_chunk(stream, wanted)[0] == number


def test_a_chunk_is_found_by_its_image(stream):
    number, chunk = choose_chunk(stream, Wanted(image="images.h5", event="//0"))
    assert number == 2
    assert choose_chunk(stream, Wanted(image=chunk.filename, number=3))[0] == 3


def test_a_chunk_without_crystals_is_refused_with_its_place(stream):
    with pytest.raises(StreamError, match=r"chunk 1 \(.*images.h5 //1\) has no crystals: there is nothing") as caught:
        choose_chunk(stream, Wanted(number=1))
    with StreamFile(stream) as file:
        assert caught.value.offset == file.header_end


def test_the_default_reflection_is_the_surest_under_the_water_ring(look):
    row = choose_reflection(look, None, None)
    result, spots = look.found.result, look.scene.spots
    assert WATER[0] <= spots["inv_d"][row] <= WATER[1]
    rows = look.scene.rows[0]
    rival = [
        result["I"][r] / result["sigma"][r]
        for r in rows
        if WATER[0] <= spots["inv_d"][r] <= WATER[1] and result["status"][r] == 0
    ]
    assert result["I"][row] / result["sigma"][row] == max(rival)


def test_without_any_under_the_ring_the_surest_of_all_is_taken(look, monkeypatch):
    monkeypatch.setattr("waterbg.plots.look.WATER", (100.0, 101.0))
    row = choose_reflection(look, None, 1)
    result, rows = look.found.result, look.scene.rows[0]
    kept = rows[result["status"][rows] == 0]
    assert result["I"][row] / result["sigma"][row] == max(result["I"][kept] / result["sigma"][kept])


def test_a_reflection_that_is_not_listed_is_refused_by_name(look):
    with pytest.raises(StreamError, match="reflection 99,2,3 is not in the list of crystal 1 of chunk 2"):
        choose_reflection(look, (99, 2, 3), 1)
    with pytest.raises(StreamError, match="chunk 2 has 1 crystal, but no crystal 2"):
        choose_reflection(look, None, 2)


def test_the_same_indices_of_two_crystals_are_told_apart(look):
    scene = look.scene
    rows, n = scene.rows[0], len(scene.spots)
    double = replace(
        scene,
        spots=np.concatenate([scene.spots, scene.spots]),
        crystal=np.concatenate([scene.crystal, scene.crystal + 1]),
        rows=(rows, rows + n),
        crystals=scene.crystals * 2,
    )
    found = replace(look.found, result=np.concatenate([look.found.result] * 2))
    two = replace(look, scene=double, found=found)
    spot = scene.spots[rows[5]]
    hkl = (spot["h"], spot["k"], spot["l"])
    assert choose_reflection(two, hkl, None) == rows[5]
    assert choose_reflection(two, hkl, 2) == rows[5] + n


def test_a_stream_without_any_reflections_says_so(stream, tmp_path):
    with StreamFile(stream) as file:
        blank = next(iter(file.chunks())).bytes
        (tmp_path / "blank.stream").write_bytes(file.header + blank + blank)
    with pytest.raises(StreamError, match="has 2 chunks, none of them with reflections"):
        choose_chunk(str(tmp_path / "blank.stream"), Wanted())


def test_a_reflection_beside_the_detector_is_refused(look):
    spots = look.scene.spots.copy()
    row = int(look.scene.rows[0][3])
    spots["panel"][row] = -1
    hkl = tuple(int(spots[name][row]) for name in "hkl")
    beside = replace(look, scene=replace(look.scene, spots=spots))
    with pytest.raises(StreamError, match="falls beside the detector"):
        choose_reflection(beside, hkl, None)
    assert choose_reflection(beside, None, None) != row
