"""Which names a store takes, held to the rule written out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.stores.object_store import check_name, check_prefix, is_object_name

# A letter, what separates, what must not stand first, and what must not stand anywhere.
TELLING = "a/. \n\x1f\x7f\x80\ud800\udfff\ue000\U0010ffff"


def may_name_an_object(name: str) -> bool:
    """
    The rule of ObjectStore, one condition after the other: segments between "/"
    that are not empty, do not start with a dot and have no control character, in
    UTF-8.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    for segment in name.split("/"):
        if not segment or segment.startswith("."):
            return False
    return not any(ord(character) < 0x20 or ord(character) == 0x7F for character in name)


def test_short_names_hold_to_the_rule() -> None:
    """
    Every name of up to five characters that tell, the empty one included.
    """
    for length in range(6):
        for characters in itertools.product(TELLING, repeat=length):
            name = "".join(characters)
            assert is_object_name(name) == may_name_an_object(name), ascii(name)


def test_every_character_holds_to_the_rule() -> None:
    """
    Each character of the basic plane, and the ends of the others, wherever in a segment it stands.
    """
    ends = (plane << 16 | end for plane in range(1, 17) for end in (0, 1, 0xFFFE, 0xFFFF))
    for character in map(chr, itertools.chain(range(0x10000), ends)):
        for name in (character, f"a{character}", f"a/{character}b"):
            assert is_object_name(name) == may_name_an_object(name), ascii(name)


@given(st.text(st.characters() | st.sampled_from(TELLING)))
def test_any_text_holds_to_the_rule(name: str) -> None:
    """
    Longer names, and a prefix is one with or without a slash at its end.
    """
    holds = may_name_an_object(name)
    assert is_object_name(name) == holds
    for check, text in ((check_name, name), (check_prefix, f"{name}/")):
        if holds:
            check(text)
        else:
            with pytest.raises(ValueError, match="object name"):
                check(text)
