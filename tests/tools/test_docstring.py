from __future__ import annotations

import pytest

from anthropix_actors.tools.docstring import read_docstring

WHOLE = """Tell the weather.

    From the nearest station.

    Args:
        city (str): Its name,
            in English.

        days: How many.
        *rest: More.
        unit:
        url: http://example.org: a place.

    Returns:
        The temperature.

    Raises:
        ValueError: never.

    Note:
        It may be old.

    Example:
        >>> get_weather("Bergen")

    Beware of fog.
    """


def test_the_model_is_told_what_is_for_it() -> None:
    description, arguments = read_docstring(WHOLE)
    assert description == (
        "Tell the weather.\n\nFrom the nearest station.\n\nReturns:\n    The temperature.\n\n"
        "Note:\n    It may be old.\n\nBeware of fog."
    )
    assert arguments == {
        "city": "Its name, in English.",
        "days": "How many.",
        "rest": "More.",
        "url": "http://example.org: a place.",
    }


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_description_is_none(text: str | None) -> None:
    assert read_docstring(text) == (None, {})


def test_parameters_alone_are_enough() -> None:
    assert read_docstring("\nArgs:\n    city: Its name.\n      In English.") == (
        None,
        {"city": "Its name. In English."},
    )


def test_what_describes_no_parameter_is_no_harm() -> None:
    assert read_docstring("Look.\n\nArgs:\n    none at all\n    days: One.") == ("Look.", {"days": "One."})


def test_a_colon_at_the_end_of_a_line_in_the_middle_is_no_heading() -> None:
    assert read_docstring("Find one of these:\nan apple") == ("Find one of these:\nan apple", {})
