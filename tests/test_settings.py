"""
Settings from environment variables: what is read, and that the rest is refused.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crlcheck import Policy
from crlcheck.settings import read_settings
from lambda_authorizer.settings import Settings as AuthorizerSettings
from preprocessor.settings import Settings as PreprocessorSettings


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


def _even(text: str) -> int:
    if int(text) % 2:
        raise ValueError("expected an even number")
    return int(text)


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    size: int = 7
    strict: bool = True
    wait: timedelta = timedelta(0)
    colour: Colour = Colour.RED
    limit: int | None = None
    even: int = field(default=0, metadata={"read": _even})


def _read(**variables: str) -> Sample:
    named = {f"CRLCHECK_{name.upper()}": value for name, value in variables.items()}
    return read_settings(Sample, {"CRLCHECK_NAME": "n", "PATH": "/bin", **named})


def test_every_kind_of_field_is_read_from_its_variable() -> None:
    """
    Each field takes the value of the variable named after it, by its type.
    """
    settings = _read(
        name="x y", size="12", strict="False", wait="90s", colour="Green", limit="3", even="4"
    )
    assert settings == Sample("x y", 12, False, timedelta(seconds=90), Colour.GREEN, 3, 4)


def test_fields_that_are_not_set_keep_their_defaults() -> None:
    """
    Only a field without a default needs its variable.
    """
    assert _read() == Sample("n")
    with pytest.raises(ValueError, match="CRLCHECK_NAME is not set and has no default"):
        read_settings(Sample, {})


def test_a_setting_that_is_missing_is_told_with_what_is_expected() -> None:
    """
    So that nobody has to look the possible values up.
    """

    @dataclasses.dataclass(frozen=True)
    class Needs:
        colour: Colour

    with pytest.raises(ValueError, match="no default: expected one of "):
        read_settings(Needs, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("False", False), ("0", False)],
)
def test_booleans_mean_what_they_say(text: str, expected: bool) -> None:
    """
    "False" is false: a text is never taken for true because it is not empty.
    """
    assert _read(strict=text).strict is expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("45s", 45), ("5m", 300), ("12h", 43_200), ("7d", 604_800)]
)
def test_durations_have_a_unit(text: str, seconds: int) -> None:
    """
    A duration is a number and its unit, up to days.
    """
    assert _read(wait=text).wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("field_name", "text"),
    [
        ("name", ""),
        ("name", " n"),
        ("name", "n\n"),
        ("size", "-1"),
        ("size", "1_000"),
        ("size", "1e3"),
        ("size", "٣"),
        ("size", "9" * 40),
        ("strict", "yes"),
        ("strict", "maybe"),
        ("wait", "30"),
        ("wait", "-1s"),
        ("wait", "1.5h"),
        ("wait", "9999999999d"),
        ("wait", "999999999d"),
        ("wait", "36501d"),
        ("wait", "1e400s"),
        ("size", "1e400"),
        ("size", "1" + "0" * 30),
        ("colour", "blue"),
        ("limit", "none"),
        ("even", "3"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(field_name: str, text: str) -> None:
    """
    A value that its type does not admit is an error that names the variable.
    """
    with pytest.raises(ValueError, match=f"^CRLCHECK_{field_name.upper()} is "):
        _read(**{field_name: text})


def test_an_unknown_variable_is_refused_with_the_name_that_was_meant() -> None:
    """
    A misspelt variable would silently leave its default in force, so it is an error.
    """
    with pytest.raises(ValueError, match="CRLCHECK_STRCIT is not a setting: did you mean CRLCHECK"):
        _read(strcit="true")


def test_all_problems_are_told_at_once() -> None:
    """
    One failed deployment shows everything there is to correct.
    """
    with pytest.raises(ValueError, match="CRLCHECK_SIZE .*; CRLCHECK_WAIT .*; CRLCHECK_ZZZ "):
        _read(size="x", wait="y", zzz="1")


def test_a_field_that_cannot_be_read_is_a_programming_error() -> None:
    """
    A settings class with a field of another type fails however the environment looks.
    """

    @dataclass(frozen=True)
    class Unreadable:
        ratio: float = 0.5

    with pytest.raises(TypeError, match="float"):
        read_settings(Unreadable, {})


def test_the_authorizer_is_strictest_unless_told_otherwise() -> None:
    """
    With the store alone set, every request polls and nothing is waived.
    """
    settings = read_settings(AuthorizerSettings, {"CRLCHECK_STORE": "s3://bucket/published"})
    assert settings.refresh_after == timedelta(0)
    assert settings.policy.stale.value == "deny"
    assert settings.response.value == "iam"


@pytest.mark.parametrize(
    "variables",
    [{"CRLCHECK_STALE": "grace"}, {"CRLCHECK_STALE_GRACE": "1h"}],
    ids=["no duration", "no rule"],
)
def test_a_grace_period_needs_both_its_settings(variables: dict[str, str]) -> None:
    """
    Half of a grace period would be a setting without effect.
    """
    with pytest.raises(ValueError, match=r"CRLCHECK_STALE is .* CRLCHECK_STALE_GRACE is "):
        read_settings(AuthorizerSettings, {"CRLCHECK_STORE": "/images", **variables})


def test_a_grace_period_reaches_the_policy() -> None:
    """
    CRLCHECK_STALE and CRLCHECK_STALE_GRACE are what the checker's policy says.
    """
    variables = {"CRLCHECK_STALE": "grace", "CRLCHECK_STALE_GRACE": "2h"}
    settings = read_settings(AuthorizerSettings, {"CRLCHECK_STORE": "/images", **variables})
    assert settings.policy.stale.value == "grace"
    assert settings.policy.stale_grace == timedelta(hours=2)


@pytest.mark.parametrize("prefix", ["crl", "/crl/", "/"])
def test_a_crl_prefix_is_a_whole_folder(prefix: str) -> None:
    """
    The prefix "crl" would take in "crl-old/", and no key begins with a slash.
    """
    with pytest.raises(ValueError, match="^CRLCHECK_CRL_PREFIX is "):
        read_settings(
            PreprocessorSettings,
            {
                "CRLCHECK_STORE": "s3://bucket/published",
                "CRLCHECK_ISSUERS": "s3://bucket/issuers",
                "CRLCHECK_CRL_PREFIX": prefix,
            },
        )


@pytest.mark.parametrize(
    ("store", "issuers"),
    [
        ("s3://bucket/published", "s3://bucket/published"),
        ("s3://bucket/published", "s3://bucket/published/issuers/"),
        ("s3://bucket/trust/published", "s3://bucket/trust"),
        ("s3://bucket", "s3://bucket/issuers"),
    ],
)
def test_images_and_issuers_are_kept_apart(store: str, issuers: str) -> None:
    """
    Whoever may write images must not be able to add a trusted issuer, or the reverse.
    """
    with pytest.raises(ValueError, match=r"CRLCHECK_STORE .* CRLCHECK_ISSUERS .* within"):
        read_settings(PreprocessorSettings, {"CRLCHECK_STORE": store, "CRLCHECK_ISSUERS": issuers})


@pytest.mark.parametrize("issuers", ["s3://", "s3:///prefix", "S3://bucket/issuers"])
def test_an_s3_url_that_is_none_is_refused(issuers: str) -> None:
    """
    When the settings are read, rather than be taken for a path that is not there.
    """
    environ = {"CRLCHECK_STORE": "s3://bucket/published", "CRLCHECK_ISSUERS": issuers}
    with pytest.raises(ValueError, match="expected s3://bucket/prefix"):
        read_settings(PreprocessorSettings, environ)


def test_neighbouring_prefixes_are_apart() -> None:
    """
    Prefixes are compared by whole segments: "published" does not hold "published-issuers".
    """
    settings = read_settings(
        PreprocessorSettings,
        {
            "CRLCHECK_STORE": "s3://bucket/published",
            "CRLCHECK_ISSUERS": "s3://bucket/published-issuers",
        },
    )
    published, issuers = settings.own_locations
    assert published.holds("bucket", "published/catalog.json")
    assert not published.holds("bucket", "published-issuers/ca.pem")
    assert not issuers.holds("another", "published-issuers/ca.pem")


def test_every_waiver_is_a_setting() -> None:
    """
    What a policy can waive, the authorizer's settings can, by the same name.
    """
    variables = {
        "CRLCHECK_STORE": "s3://bucket/published",
        "CRLCHECK_STALE": "grace",
        "CRLCHECK_STALE_GRACE": "1h",
        "CRLCHECK_UNKNOWN_ISSUER": "allow",
        "CRLCHECK_NO_DISTRIBUTION_POINT": "allow",
        "CRLCHECK_PATH_DEPTH": "0",
        "CRLCHECK_HOLD": "allow",
        "CRLCHECK_EXPIRED_CERTIFICATE": "allow",
        "CRLCHECK_CLOCK_SKEW": "1m",
        "CRLCHECK_UNPUBLISHED_ISSUERS": "issuers.pem",
    }
    policy = read_settings(AuthorizerSettings, variables).policy
    strict = read_settings(AuthorizerSettings, {"CRLCHECK_STORE": "s3://bucket/published"}).policy
    assert strict == Policy()
    for rule in dataclasses.fields(Policy):
        assert getattr(policy, rule.name) != getattr(strict, rule.name), rule.name


def test_a_checker_without_room_for_images_is_refused() -> None:
    """
    The function stops when it is deployed, not at the first request.
    """
    variables = {"CRLCHECK_STORE": "x", "CRLCHECK_IMAGE_MEMORY": "0"}
    with pytest.raises(ValueError, match="CRLCHECK_IMAGE_MEMORY"):
        read_settings(AuthorizerSettings, variables)


@pytest.mark.parametrize("text", ["3153600001", "9" * 18, "1" + "0" * 30, "1e400", "-1", "inf"])
@pytest.mark.parametrize("name", ["CRLCHECK_REFRESH_SECONDS", "CRLCHECK_LOAD_SECONDS"])
def test_seconds_that_no_timer_can_count_stop_the_authorizer(name: str, text: str) -> None:
    """
    Where they are read, by the variable's name, instead of at the first request.
    """
    store = {"CRLCHECK_STORE": "s3://bucket/published"}
    with pytest.raises(ValueError, match=f"^{name} is "):
        read_settings(AuthorizerSettings, {**store, name: text})
    longest = read_settings(AuthorizerSettings, {**store, name: "3153600000"})
    assert longest.refresh_after <= timedelta(days=36_500)


DURATIONS = [
    (function, one.name)
    for function in (AuthorizerSettings, PreprocessorSettings)
    for one in dataclasses.fields(function)
    if one.type == "timedelta" and one.name != "stale_grace"  # which needs another setting
]


@pytest.mark.parametrize(("function", "name"), DURATIONS)
def test_no_duration_overflows_a_date(function: type[Any], name: str) -> None:
    """
    The longest that is taken can be added to any date of these years.
    """
    variable = f"CRLCHECK_{name.upper()}"
    given = {"CRLCHECK_STORE": "s3://bucket/published"}
    if function is PreprocessorSettings:
        given["CRLCHECK_ISSUERS"] = "ca.pem"
    with pytest.raises(ValueError, match=f"^{variable} is "):
        read_settings(function, {**given, variable: "999999999d"})
    longest = getattr(read_settings(function, {**given, variable: "36500d"}), name)
    assert datetime.now(UTC) + longest < datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["AWS/Lambda", " crlcheck", "crl,check", "é", "x" * 256])
@pytest.mark.parametrize("function", [AuthorizerSettings, PreprocessorSettings])
def test_a_namespace_that_cloudwatch_would_refuse_stops_the_function(
    function: type[Any], text: str
) -> None:
    """
    Every metric would be lost, and no alarm would tell.
    """
    given = {"CRLCHECK_STORE": "s3://bucket/published"}
    if function is PreprocessorSettings:
        given["CRLCHECK_ISSUERS"] = "ca.pem"
    with pytest.raises(ValueError, match="^CRLCHECK_METRICS_NAMESPACE is "):
        read_settings(function, {**given, "CRLCHECK_METRICS_NAMESPACE": text})
    longest = "x" * 255
    settings = read_settings(function, {**given, "CRLCHECK_METRICS_NAMESPACE": longest})
    assert settings.metrics_namespace == longest
