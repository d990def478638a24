"""Fields of JSON objects are read with types, and what is wrong is told with its place."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable

import pytest

from innkeeper.errors import ErrorCode, JsonError, NewerVersion
from innkeeper.wire import json_fields
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import JsonObject


class Colour(enum.StrEnum):
    """A closed set."""

    RED = "red"


def _disk(value: Json) -> int:
    return json_fields.get_int(json_fields.as_object(value), "size")


def _disks(of: JsonObject, key: str) -> object:
    return json_fields.get_list(of, key, _disk)


def _row(of: JsonObject, key: str) -> object:
    return json_fields.get(of, key, lambda value: json_fields.as_row(value, 2, 3))


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (json_fields.get_str, "a", "a"),
        (json_fields.get_int, 3, 3),
        (json_fields.get_float, 3, 3.0),
        (json_fields.get_float, 0.5, 0.5),
        (json_fields.get_bool, False, False),
        (json_fields.get_object, {"a": 1}, {"a": 1}),
        (json_fields.get_strs, ["a", "b"], ("a", "b")),
        (_disks, [{"size": 1}, {"size": 2}], (1, 2)),
        (_row, ["a", 1], ("a", 1)),
        (json_fields.get_bytes, "AP8=", b"\x00\xff"),
        (
            json_fields.get_moment,
            "2026-01-10T20:00:00+00:00",
            dt.datetime(2026, 1, 10, 20, tzinfo=dt.UTC),
        ),
        (lambda of, key: json_fields.get_enum(of, key, Colour), "red", Colour.RED),
        (lambda of, key: json_fields.get_enum_name(of, key, Colour), "RED", Colour.RED),
    ],
)
def test_a_field_is_read_as_its_type(
    read: Callable[[JsonObject, str], object], value: Json, expected: object
) -> None:
    """The getter's value, and nothing converted in silence."""
    assert read({"x": value}, "x") == expected


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        (json_fields.get_str, 3, "x is an integer instead of text."),
        (json_fields.get_str, None, "x is null instead of text."),
        (json_fields.get_int, True, "x is true or false instead of an integer."),
        (json_fields.get_int, 0.5, "x is a number instead of an integer."),
        (json_fields.get_float, "3", "x is text instead of an integer."),
        (json_fields.get_bool, 1, "x is an integer instead of true or false."),
        (json_fields.get_object, ["a"], "x is a list instead of an object."),
        (json_fields.get_strs, {"a": 1}, "x is an object instead of a list."),
        (json_fields.get_strs, ["a", 1], "x[1] is an integer instead of text."),
        (_disks, [{"size": 1}, {"size": "2"}], "x[1].size is text instead of an integer."),
        (_disks, [{}], "x[0].size is missing."),
        (_row, ["a"], "x has 1 items instead of 2 or 3."),
        (json_fields.get_bytes, "AP8", "x is 'AP8', which is not bytes in base 64."),
        (json_fields.get_moment, "noon", "x is 'noon', which is not a point in time."),
        (lambda of, key: json_fields.get_enum(of, key, Colour), "blue", "x is 'blue', which is not Colour."),
        (
            lambda of, key: json_fields.get_enum_name(of, key, Colour),
            "red",
            "x is 'red', which is not Colour.",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_path(
    read: Callable[[JsonObject, str], object], value: Json, sentence: str
) -> None:
    """Who reads the log finds the place without a debugger."""
    with pytest.raises(JsonError) as caught:
        read({"x": value}, "x")
    assert caught.value.sentence == sentence
    assert caught.value.code is ErrorCode.ERROR_INVALID_DATA


def test_a_missing_field_is_named() -> None:
    """It is no KeyError."""
    with pytest.raises(JsonError, match=r"^machine is missing\.$"):
        json_fields.get_str({}, "machine")


def test_a_field_that_may_be_missing_has_a_default() -> None:
    """Missing and null are the same; anything else must be right."""
    assert json_fields.get_or({}, "x", json_fields.as_int, 7) == 7
    assert json_fields.get_or({"x": None}, "x", json_fields.as_int, 7) == 7
    assert json_fields.get_optional({}, "x", json_fields.as_int) is None
    with pytest.raises(JsonError):
        json_fields.get_optional({"x": "7"}, "x", json_fields.as_int)


@pytest.mark.parametrize(("value", "version"), [({}, 0), ({"version": 1}, 1), ({"version": 2}, 2)])
def test_versions_up_to_the_newest_are_read(value: JsonObject, version: int) -> None:
    """An object without a version is of the first release."""
    assert json_fields.refuse_newer(value, 2) == version


def test_a_newer_version_is_refused_with_a_sentence() -> None:
    """It says who wrote it, and what to do; seen from outside it has its place too."""
    with pytest.raises(NewerVersion) as caught:
        json_fields.get({"plan": {"version": 3}}, "plan", _versioned)
    assert caught.value.sentence == (
        "plan was written by a newer Innkeeper: it has version 3, and this one reads up to version 2."
    )
    assert caught.value.code is ErrorCode.ERROR_REVISION_MISMATCH
    assert caught.value.advice


def _versioned(value: Json) -> int:
    return json_fields.refuse_newer(json_fields.as_object(value), 2)
