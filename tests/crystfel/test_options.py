import pytest

from waterbg.crystfel.options import (
    INDEXAMAJIG,
    PARTIALATOR,
    PROCESS_HKL,
    Option,
    complete,
    has,
    mark_passed,
    override,
    parse_leniently,
    parse_line,
    parse_words,
    replace_value,
    value_of,
)
from waterbg.errors import UsageError


def test_a_header_line_gives_each_option_with_its_value():
    line = "indexamajig -i a.lst -g det.geom -j 8 --int-radius=3,4,5 --peaks peakfinder8 --multi -o out.stream"
    assert parse_line(line) == [
        Option("i", "a.lst"),
        Option("g", "det.geom"),
        Option("j", "8"),
        Option("int-radius", "3,4,5"),
        Option("peaks", "peakfinder8"),
        Option("multi"),
        Option("o", "out.stream"),
    ]


def test_the_command_line_of_every_golden_stream_is_read(data):
    for path in sorted((data / "golden").glob("*/*.stream")):
        line = path.read_bytes().split(b"\n")[2].decode()
        options = parse_line(line)
        assert value_of(options, "int-radius") == "3,5,7"
        assert has(options, "no-refine")
        assert all(option.name in INDEXAMAJIG for option in options)


def test_a_value_with_blanks_that_lost_its_quotes_is_put_together_again():
    options = parse_line("indexamajig -i my run/list of files.lst -g det.geom --copy-header=/a b --no-retry")
    assert value_of(options, "input") == "my run/list of files.lst"
    assert value_of(options, "copy-header") == "/a b"
    assert has(options, "no-retry")


def test_a_negative_value_is_not_an_option():
    assert value_of(parse_line("indexamajig --push-res -1.5 --min-res=-3 -j 2"), "push-res") == "-1.5"


def test_an_empty_value_after_an_equals_sign_takes_nothing_from_the_next_option():
    options = parse_line("indexamajig --prefix= -g det.geom")
    assert value_of(options, "prefix") == ""
    assert value_of(options, "geometry") == "det.geom"


def test_an_option_of_another_version_is_kept_with_what_follows():
    options = parse_line("indexamajig --brand-new 17 --old-thing=5 -j 2")
    assert options == [Option("brand-new", "17"), Option("old-thing", "5"), Option("j", "2")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-ifiles.lst"], [Option("i", "files.lst")]),
        (["-j8"], [Option("j", "8")]),
        (["--int-rad=3,4,5"], [Option("int-radius", "3,4,5")]),
        (["--output", "-"], [Option("output", "-")]),
        (["-o", "--odd name"], [Option("o", "--odd name")]),
        (["--", "-j8"], ["--", "-j8"]),
        (["word", "-h"], ["word", Option("h")]),
    ],
)
def test_words_are_read_as_getopt_reads_them(words, expected):
    assert parse_words(words, INDEXAMAJIG) == expected


@pytest.mark.parametrize(
    ("word", "option"),
    [
        ("--nonsense", Option("nonsense")),
        ("-k", Option("k")),
        ("--output", Option("output")),
        ("-o", Option("o")),
        ("--multi=3", Option("multi", "3")),
        ("--min-s=3", Option("min-s", "3")),
    ],
)
def test_words_that_getopt_would_refuse_are_taken_for_flags_and_kept(word, option):
    assert parse_words([word], INDEXAMAJIG) == [option]
    assert replace_value(["-j", "2", word], INDEXAMAJIG, "j", "3") == ["-j", "3", word]


def test_an_abbreviation_of_two_spellings_of_one_option_is_not_ambiguous():
    assert complete("min-squared", INDEXAMAJIG) == "min-squared-gradient"
    assert complete("copy-h", INDEXAMAJIG) in ("copy-hdf5-field", "copy-header")


def test_an_option_is_written_so_that_it_is_read_again():
    options = [Option("i", "a b.lst"), Option("int-radius", "3,4,5"), Option("multi"), Option("prefix", "")]
    words = [word for option in options for word in option.words()]
    assert words == ["-i", "a b.lst", "--int-radius=3,4,5", "--multi", "--prefix="]
    assert parse_words(words, INDEXAMAJIG) == options


def test_a_changed_option_replaces_all_its_spellings_and_its_opposite():
    header = [Option("z", "asdf"), Option("multi"), Option("int-radius", "3,4,5"), Option("copy-header", "/a")]
    changed = override(
        header,
        [Option("indexing", "file"), Option("no-multi"), Option("int-radius", "4,5,7"), Option("copy-header", "/b")],
    )
    assert changed == [
        Option("copy-header", "/a"),
        Option("indexing", "file"),
        Option("no-multi"),
        Option("int-radius", "4,5,7"),
        Option("copy-header", "/b"),
    ]


def test_the_last_of_two_equal_options_counts():
    assert value_of(parse_line("indexamajig --int-radius=3,4,5 --int-radius=4,5,7"), "int-radius") == "4,5,7"


def test_options_of_the_program_are_marked_and_own_ones_left_alone():
    words = ["in.stream", "-o", "out.stream", "--int-radius", "3,4,5", "--only=4", "-g", "x.geom", "--multi", "--huh"]
    assert mark_passed(words, INDEXAMAJIG, {"--dry-run": False, "-o": True, "--only": True, "--pass": True}) == [
        "in.stream",
        "-o",
        "out.stream",
        "--pass=--int-radius=3,4,5",
        "--only=4",
        "--pass=-g",
        "--pass=x.geom",
        "--pass=--multi",
        "--huh",
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("--int-radius", "needs a value"), ("-g", "needs a value"), ("--multi=1", "takes no value"), ("--no-re", "mean")],
)
def test_a_known_option_in_a_wrong_way_is_not_called_unknown(word, reason):
    with pytest.raises(UsageError, match=reason):
        mark_passed(["in.stream", word], INDEXAMAJIG, {})


def test_words_behind_two_dashes_are_all_passed():
    assert mark_passed(["a", "--", "--huh", "3"], PROCESS_HKL, {}) == ["a", "--pass=--huh", "--pass=3"]
    assert parse_leniently(["--huh", "3"], PROCESS_HKL) == [Option("huh", "3")]


def test_an_own_option_goes_before_one_of_the_program_with_the_same_name():
    assert mark_passed(["-y", "4/mmm", "-j", "2"], PARTIALATOR, {"-y": True}) == [
        "-y",
        "4/mmm",
        "--pass=-j",
        "--pass=2",
    ]
