"""Eight characters as one word: the fast arithmetic equals the plain one on every word."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.stream.words import number_words, read_whole, write_whole

WORDS = st.one_of(
    st.integers(-9_999_999, 99_999_999).map(lambda n: b"%8d" % n),
    st.text(" -0123456789", min_size=8, max_size=8).map(str.encode),
    st.text(st.characters(max_codepoint=127), min_size=8, max_size=8).map(str.encode),
)


def as_words(texts):
    return np.frombuffer(b"".join(texts), "<u8")


@given(WORDS)
@settings(max_examples=2000)
def test_a_word_is_read_when_printf_could_have_written_it(text):
    found = read_whole(as_words([text]))
    plain = re.fullmatch(rb" *-?(?:[1-9][0-9]*|0)", text)
    assert (found is not None) == (plain is not None)
    if found is not None:
        value, negative = found
        sign = -1 if negative is not None and negative[0] else 1
        assert sign * int(value[0]) == int(text)
        assert (negative is not None) == (b"-" in text)


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_one_odd_word_refuses_them_all(texts):
    each = [read_whole(as_words([text])) for text in texts]
    assert (read_whole(as_words(texts)) is None) == any(found is None for found in each)


@given(st.lists(st.tuples(st.integers(0, 99_999_999), st.booleans()), min_size=1, max_size=20))
def test_whole_numbers_are_written_as_printf_writes_them(numbers):
    value, negative = (np.array(column) for column in zip(*numbers))
    words, full = write_whole(value.astype("<u8"), negative)
    for word, no_room, (number, minus) in zip(words, full, numbers):
        text = b"%8s" % (b"-" * minus + b"%d" % number)
        assert no_room == (len(text) > 8)
        assert no_room or word.tobytes() == text


@given(st.lists(st.binary(min_size=8, max_size=24), min_size=1, max_size=60))
def test_texts_are_numbered_by_first_use(texts):
    texts = [text.ljust(24, b"\0") for text in texts]
    number, firsts = number_words(np.frombuffer(b"".join(texts), "<u8").reshape(-1, 3).T)
    unique = list(dict.fromkeys(texts))
    assert [texts[first] for first in firsts] == unique
    assert number.tolist() == [unique.index(text) for text in texts]


def test_more_texts_than_slots_are_still_told_apart():
    texts = np.random.default_rng(5).permutation(np.arange(30_000) % 9000).astype("<u8")
    number, firsts = number_words(texts[None])
    assert (texts[firsts][number] == texts).all()
    assert len(firsts) == 9000
    assert (np.diff(firsts) > 0).all()
