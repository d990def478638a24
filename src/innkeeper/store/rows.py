"""Rows for SQLite's driver, with statements compiled once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import SQLCompiler

#: A row's values by the names that its statement has for them.
Row = Mapping[str, object]


class RowStatement:
    """A compiled statement, and the conversion of a row's values for the driver.

    What SQLAlchemy does anew at each execution (look the statement up, ask for its types, make a result)
    costs more than SQLite's work on a few rows: here it is done once.
    """

    def __init__(self, statement: sa.UpdateBase, dialect: sa.Dialect, names: Sequence[str]) -> None:
        """``names`` are the rows' columns, the same for each."""
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        self._text = compiled.string
        self._returns = bool(compiled.effective_returning)
        self._values = [_value(compiled, name, dialect, names) for name in compiled.positiontup or ()]

    def write(self, connection: sa.Connection, rows: Sequence[Row]) -> Sequence[object]:
        """Write rows; of each, the number that the statement returns, where it returns one
        and changes a row.

        Raises SQLAlchemy's errors, as its own executions do.
        """
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        values = [[value(row) for value in self._values] for row in rows]
        with _sqlalchemy_errors(self._text):
            if self._returns:
                return [_first(driver.execute(self._text, each).fetchone()) for each in values]
            driver.executemany(self._text, values)
        return [None] * len(rows)


def _first(row: Sequence[object] | None) -> object:
    """What the statement returned of a row; ``None`` where it changed none."""
    return None if row is None else row[0]


def _value(
    compiled: SQLCompiler, name: str, dialect: sa.Dialect, names: Sequence[str]
) -> Callable[[Row], object]:
    """Return the function that finds a parameter's value in a row, as the driver takes it."""
    bind = compiled.binds[name]
    process = bind.type.dialect_impl(cast(DefaultDialect, dialect)).bind_processor(dialect)
    if name not in names:
        fixed = bind.effective_value if process is None else process(bind.effective_value)
        return lambda row: fixed
    if process is None:
        return lambda row: row[name]
    return lambda row: process(row[name])


@contextlib.contextmanager
def _sqlalchemy_errors(text: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as problem:
        raise sa.exc.IntegrityError(text, None, problem) from problem
    except sqlite3.Error as problem:
        raise sa.exc.DBAPIError(text, None, problem) from problem
