"""What a run says at its end."""

from collections import Counter

from waterbg.run import Summary
from waterbg.subtract import Tally


def test_the_summary_says_of_what_it_counts_and_how_many():
    tally = Tally(chunks=3, crystals=2, reflections=90, integrated=80, own_rings=1)
    tally.dropped = Counter({"I < -5 sigma": 4, "saturated": 6})
    tally.fallbacks = Counter({"no spots": 2})
    assert Summary(tally, output="out").text().splitlines() == [
        "out: 3 chunks, 2 crystals, 80 reflections integrated, 10 dropped, 0.0 s",
        "  dropped: 6 saturated",
        "  dropped: 4 I < -5 sigma",
        "  background of 1 reflection from the own ring, where the frame's model does not hold",
        "  fallback on 2 frames: no spots",
    ]


def test_the_summary_says_when_discs_are_too_small_for_many_and_when_radii_are_those_of_another_stream():
    few, many = Tally(reflections=1000, cut=50), Tally(reflections=1000, cut=51, other_radii=2)
    assert len(Summary(few, output="out").text().splitlines()) == 1
    _, radii, disc = Summary(many, output="out").text().splitlines()
    assert radii == "  2 of the file's streams had another --int-radius than was used: subtract one stream at a time"
    assert disc.startswith("  the peak disc holds less than 7/8 of the spots of 51 reflections")


def test_the_summary_says_when_many_reflections_have_the_highest_pixel_of_all():
    tally = Tally()
    for highest, times in ((900.0, 30), (32767.0, 4), (32767.0, 6), (30000.0, 50)):
        tally.add(Tally(highest=highest, at_highest=times))
    _, said = Summary(tally, output="out").text().splitlines()
    assert said.startswith(
        "  the highest pixel of 10 reflections is 32767, and no other's is higher: if nothing counts"
    )
    for fewer in (Tally(highest=32767.0, at_highest=9), Tally(highest=150.0, at_highest=80)):  # chance
        assert len(Summary(fewer, output="out").text().splitlines()) == 1


def test_the_summary_says_when_the_stream_has_nothing_to_integrate():
    nothing = Tally(chunks=3, crystals=3)
    _, said = Summary(nothing, output="out").text().splitlines()
    assert said.startswith("  the stream has no reflections: ")
    unreadable = Tally(chunks=3, crystals=3, images=Counter({"kept as they were": 3}))
    for summary in (Summary(unreadable), Summary(nothing, chunks_before=2), Summary(Tally())):
        assert "no reflections" not in summary.text()


def test_tallies_of_workers_add_up():
    tally = Tally(own_rings=2, fallbacks=Counter({"no spots": 1}))
    tally.add(Tally(own_rings=3, fallbacks=Counter({"no spots": 1})))
    assert tally.own_rings == 5
    assert tally.fallbacks == {"no spots": 2}


def test_a_file_that_is_missing_is_named_once_for_all_its_frames():
    tally = Tally()
    for reason in ("a.h5: no such file", "a.h5: no such file", "b.h5: no such file"):
        tally.add(Tally(images=Counter({"kept as they were": 1}), unreadable=[reason]))
    _, *lines = Summary(tally, output="out").text().splitlines()
    assert lines == ["  images unreadable: 3 kept as they were", "    a.h5: no such file", "    b.h5: no such file"]
