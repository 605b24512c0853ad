from __future__ import annotations

from anthropix_actors._checks.call_errors import unknown_problems


def test_unknown_names_are_named_with_a_hint() -> None:
    known = ["model", "messages", "extra_body"]
    assert unknown_problems(known, known) == []
    problems = [str(problem) for problem in unknown_problems(["modle", "colour"], known)]
    assert problems == [
        "modle: unknown parameter; did you mean model?",
        'colour: unknown parameter; if the API knows it, pass it as extra_body={"...": ...}',
    ]
    assert str(unknown_problems(["x"], ("beta", "timeout"))[0]) == "x: unknown parameter; expected one of beta, timeout"


def test_a_name_may_be_anything() -> None:
    assert unknown_problems([5], ["5"])[0].place == "5"  # type: ignore[list-item]


def test_a_name_that_is_the_beginning_of_another_is_taken_for_that() -> None:
    assert str(unknown_problems(["stop"], ["top_p", "stop_sequences"])[0]).endswith("did you mean stop_sequences?")
