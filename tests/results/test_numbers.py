"""Numbers as text."""

import pytest

from omsweep.results.numbers import MISSING, counted, fixed, short, with_error

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "digits", "signed", "expected"),
    [
        (1.256, 2, False, "1.26"),
        (1.2, 2, True, "+1.20"),
        (-1.2, 2, True, "\u22121.20"),
        (-0.001, 2, True, "0.00"),
        (0.0, 2, True, "0.00"),
        (3, 0, False, "3"),
        (None, 2, False, MISSING),
        (NAN, 2, True, MISSING),
        (True, 2, False, MISSING),
        ("1", 2, False, MISSING),
    ],
)
def test_fixed(value, digits, signed, expected):
    assert fixed(value, digits, signed=signed) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0003824, "3.82e\u22124"),
        (0.0004, "4e\u22124"),
        (-2e-7, "\u22122e\u22127"),
        (0.00155, "0.00155"),
        (0.5, "0.5"),
        (0.0, "0"),
        (1234567.0, "1.23e6"),
        (12, "12"),
        (-3, "\u22123"),
        (True, "yes"),
        (False, "no"),
        (None, MISSING),
        (NAN, MISSING),
        ("equations", "equations"),
        ([0.9, 0.999], "[0.9, 0.999]"),
    ],
)
def test_short(value, expected):
    assert short(value) == expected


def test_an_error_is_a_95_percent_half_width():
    assert with_error(0.5, 0.1) == "+0.50 ± 0.20"
    assert with_error(0.5, None) == "+0.50"
    assert with_error(None, None) == MISSING


def test_counted():
    assert [counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
