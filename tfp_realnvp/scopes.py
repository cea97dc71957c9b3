"""Modes of a computation: context variables with a value for the length of a scope."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TypeVar

Value = TypeVar("Value")


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[Value], value: Value) -> Iterator[None]:
    """A scope in which a context variable has this value, in this thread.

    Args:
      variable: `contextvars.ContextVar`.
      value: its value until the scope ends.

    Example: `with setting(mode, True): ...`
    """
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
