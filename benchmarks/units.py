"""Figures as people read them."""

from __future__ import annotations


def seconds(value: float) -> str:
    """Return a time in the unit that suits it, with three digits."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{_digits(value * factor)} {unit}"
    return f"{_digits(value * 1e9)} ns"


def size(value: float) -> str:
    """Return an amount of memory or disk in binary units, with three digits."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if abs(value) >= 1 << shift:
            return f"{_digits(value / (1 << shift))} {unit}"
    return f"{value:.0f} B"


def entries(count: int) -> str:
    """Return a number of entries: 1 k, 10 M."""
    for factor, unit in ((1_000_000, " M"), (1_000, " k")):
        if count >= factor and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count:,}"


def _digits(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
