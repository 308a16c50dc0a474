"""
Keep how one run of the command writes: as text or as JSON, and how much of it.

``Command`` sets it from the options that every command has, and the writers in ``text``
and ``status`` obey it, so that no command looks at these options itself.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass

_LIBRARY = "crlcheck"


@dataclass(slots=True)
class Output:
    """
    How a run writes, and what it has written.

    ``answered`` tells that the run's JSON document is written.
    """

    as_json: bool = False
    quiet: bool = False
    verbosity: int = 0
    debug: bool = False
    answered: bool = False

    @property
    def shows_text(self) -> bool:
        """Whether standard output takes text: it does not beside JSON, nor in a quiet run."""
        return not (self.as_json or self.quiet)

    def shows_log(self, logger: str, level: int) -> bool:
        """Whether a log record is shown: warnings are, and more of crlcheck's own by ``-v``."""
        if self.quiet:
            return level >= logging.ERROR
        if logger == _LIBRARY or logger.startswith(f"{_LIBRARY}."):
            return level >= library_level(self)
        return level >= logging.WARNING


def library_level(output: Output) -> int:
    """Return the least level of crlcheck's own log records that are shown."""
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(output.verbosity, 2)]


CURRENT: ContextVar[Output] = ContextVar("crlcheck_output")
"""The output of this run. ``main`` sets a new one for each."""


def output() -> Output:
    """Return how this run writes; outside of a run it is text."""
    try:
        return CURRENT.get()
    except LookupError:
        return Output()
