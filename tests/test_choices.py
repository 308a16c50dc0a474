"""Whatever is one of a few words lists them where it is given another."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import typing
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner

import crlcheck
from crlcheck import DenialsFrom, ImageLoading, Policy, RevocationChecker, restore_store
from crlcheck.cli.root import root
from crlcheck.settings import read_policy, read_settings
from lambda_authorizer.settings import Settings as AuthorizerSettings
from preprocessor.settings import Settings as PreprocessorSettings
from support.memory_store import MemoryStore

ARGUMENTS: dict[str, tuple[type[enum.Enum], Callable[[Any], object]]] = {
    "image_loading": (
        ImageLoading,
        lambda given: RevocationChecker(MemoryStore(), image_loading=given),
    ),
    "denials": (DenialsFrom, lambda given: restore_store(MemoryStore(), denials=given)),
}


@pytest.mark.parametrize("given", ["page", "", None, 1, "x" * 1000])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_lists_its_choices(name: str, given: object) -> None:
    """The values are listed, because they are what one writes."""
    kind, call = ARGUMENTS[name]
    with pytest.raises(ValueError, match=f"{name}: expected one of ") as caught:
        call(given)
    assert all(repr(one.value) in str(caught.value) for one in kind)
    assert len(str(caught.value)) < 200


def test_every_argument_that_is_an_enum_is_tried() -> None:
    """Of every public function and class that takes one."""
    enums = {name for name in vars(crlcheck.types) if _is_enum(getattr(crlcheck.types, name))}
    enums |= {"DenialsFrom"}
    found = {
        argument.name
        for name in crlcheck.__all__
        if callable(function := getattr(crlcheck, name)) and not _is_value(function)
        for argument in inspect.signature(function).parameters.values()
        if set(str(argument.annotation).split(" | ")) & enums
    }
    assert found == ARGUMENTS.keys()


def _is_enum(one: object) -> bool:
    return isinstance(one, enum.EnumType)


def _is_value(one: Any) -> bool:
    """Whether crlcheck itself makes objects of a class, or raises them."""
    is_error = isinstance(one, type) and issubclass(one, Exception)
    return dataclasses.is_dataclass(one) or _is_enum(one) or is_error


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Policy)])
def test_a_field_of_the_policy_lists_its_rules(name: str) -> None:
    """As members, because a word is none."""
    kind = typing.get_type_hints(Policy)[name]
    given: dict[str, Any] = {name: "maybe"}
    if _is_enum(kind):
        with pytest.raises(TypeError, match=f"{name}: expected ") as caught:
            Policy(**given)
        assert all(str(one) in str(caught.value) for one in kind)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (settings, field.name)
        for settings in (AuthorizerSettings, PreprocessorSettings, Policy)
        for field in dataclasses.fields(settings)
        if _is_enum(typing.get_type_hints(settings)[field.name])
    ],
)
def test_a_setting_lists_its_choices(settings: Any, name: str) -> None:
    """In an environment variable, and in a rule of ``check --policy``."""
    kind = typing.get_type_hints(settings)[name]
    with pytest.raises(ValueError, match="is 'maybe': expected one of ") as caught:
        _read(settings, name)
    assert all(one.value in str(caught.value) for one in kind)


def _read(settings: Any, name: str) -> object:
    if settings is Policy:
        return read_policy([f"{name}=maybe"])
    return read_settings(settings, {"CRLCHECK_STORE": "s", f"CRLCHECK_{name.upper()}": "maybe"})


def _choices(
    command: click.Command, words: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Parameter]]:
    found = [(words, one) for one in command.params if isinstance(one.type, click.Choice)]
    for name, below in (command.commands if isinstance(command, click.Group) else {}).items():
        found += _choices(below, (*words, name))
    return found


@pytest.mark.parametrize(("words", "parameter"), _choices(root))
def test_an_option_lists_its_choices(words: tuple[str, ...], parameter: click.Parameter) -> None:
    """In its help, and where it is given another."""
    assert isinstance(parameter.type, click.Choice)
    given = ["maybe"] if isinstance(parameter, click.Argument) else [parameter.opts[0], "maybe"]
    refused = CliRunner().invoke(root, [*words, *given, "a", "b"])
    helped = CliRunner().invoke(root, [*words, "--help"]).output
    for one in parameter.type.choices:
        assert one in refused.output
        assert one in helped
