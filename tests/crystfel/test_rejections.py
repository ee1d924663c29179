from waterbg.crystfel.rejections import read_rejections

SAID = """Rejecting run.h5 //0 crystal 0 because profile radius is obviously too big (1.720000e+07 3.282464e+07).
Rejecting run.h5 //1 crystal 0 because profile radius is obviously too big (1.836000e+07 3.282359e+07).
Rejecting run.h5 //7 crystal 1 because profile radius is zero or negatve, and we are using xsphere.
\rInitial partiality calculation...
2 bad crystals:
  98 OK
  2 negative delta CC½
Scaling and refinement cycle 1 of 1
Log residual went from 8.676313e+01 to 8.676307e+01, 2 crystals
7 bad crystals:
  93 OK
  5 negative delta CC½
  2 B too big
Residuals:  linear          linear free     log             log free
"""


def test_crystals_left_out_are_counted_by_reason_after_the_last_cycle():
    assert read_rejections(SAID) == {
        "profile radius is obviously too big": 2,
        "profile radius is zero or negatve, and we are using xsphere": 1,
        "negative delta CC½": 5,
        "B too big": 2,
    }


def test_none_is_left_out_where_nothing_is_said_of_it():
    assert read_rejections("Initial scaling...\nMean B = 1e-25\n") == {}
