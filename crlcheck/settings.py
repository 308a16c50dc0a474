"""
Read settings strictly from ``CRLCHECK_*`` environment variables.

A settings class is a frozen dataclass: its field ``image_memory`` is the
variable ``CRLCHECK_IMAGE_MEMORY``, and a field without a default must be set.
Unclear values are refused when the settings are read, so that a typing error stops a
deployment instead of weakening it. ``read_policy`` reads the rules of a policy the same
way from texts.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from crlcheck.types import Policy, StaleRule, several

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PREFIX = "CRLCHECK_"
"""The prefix of every variable's name."""

# A hundred years: longer times overflow when they are added to a date, or in a timer.
_MAX_DURATION = timedelta(days=36_500)

SettingsT = TypeVar("SettingsT", bound="DataclassInstance")


class LogLevel(enum.Enum):
    """How much is logged; the names are those of ``logging``."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def is_s3_url(text: str) -> bool:
    """Whether *text* is an S3 URL, perhaps a malformed one, rather than a path."""
    return text[:5].lower() == "s3://"


def is_http_url(text: str) -> bool:
    """Whether *text* is an http:// or https:// URL, perhaps one that is refused."""
    return _HTTP.match(text) is not None


_HTTP = re.compile(r"https?://", re.IGNORECASE)

# Spellings that begin like a URL or an ARN, but for what is no store, or is one spelt wrong.
_S3_SCHEME = re.compile(r"[\"']?s3[an]?(?:[:;]+[/\\]*|//+|\\+)", re.IGNORECASE)
_S3_ARN = re.compile(r"arn:aws[a-z-]*:s3:::([^/:*]+)(/[^*]*)?")
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3[a-z-]*:.*accesspoint")
_S3_HOST = re.compile(
    r"(?:https?:/+|s3:/+)?(?:([a-z0-9][a-z0-9.-]{0,62})\.)?s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?"
    r"(?::[0-9]+)?(?:/(.*))?",
    re.IGNORECASE | re.DOTALL,
)
_S3_CONSOLE = re.compile(
    r"https?://[a-z0-9.-]*console\.(?:aws\.amazon\.com|amazonaws\.cn)/s3/buckets/([^/?#]+)"
    r"(?:\?(?:.*&)?prefix=([^&#]*))?.*",
    re.IGNORECASE | re.DOTALL,
)
_FILE_URL = re.compile(r"file:(?://(?:localhost)?)?(/.*)", re.IGNORECASE | re.DOTALL)
_OTHER_CLOUD = re.compile(
    r"(?:gs|gcs|az|azure|abfss?|wasbs?|adl|oss|cos|b2|r2|swift):", re.IGNORECASE
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*:(?:/|\\)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EXPECTED_STORE = "expected a path, s3://bucket/prefix or https://host/path"
_EXPECTED_HTTPS = "expected https://host/path"


def check_store_name(text: str) -> None:
    """
    Refuse the name of a store that looks like a URL, an ARN or a path that the shell
    should have expanded, but cannot be opened as any of them.

    A directory that has such a name is given by its absolute path, or with ``./`` before it.

    Raises:
        ValueError: it is refused; the message says what was probably meant.
    """
    refusal = _refusal(text)
    if refusal is not None:
        name = (
            repr(without_credentials(text)) if text.isprintable() else f"of {len(text)} characters"
        )
        raise ValueError(f"store {name}: {refusal}")


def read_store_name(text: str) -> str:
    """
    Read a setting that is the name of a store, or the path of a file in its place.

    Raises:
        ValueError: as ``check_store_name``.
    """
    refusal = _refusal(text)
    if refusal is not None:
        raise ValueError(refusal)
    return text


def looks_like_store(text: str) -> bool:
    """Whether *text* is meant as a store's URL, perhaps a mistyped one, rather than a path."""
    is_url = text.startswith("s3://") or is_http_url(text)
    return not _is_explicit(text) and (is_url or _why_no_store(text) is not None)


def without_credentials(text: str) -> str:
    """Return *text*; of a URL without what may be a password or a token."""
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() == "s3":
        return text
    user, at, rest = rest.rpartition("@")
    place = re.split("[?#]", rest, maxsplit=1)
    rest = place[0] + (f"{rest[len(place[0])]}***" if len(place) > 1 else "")
    return f"{scheme}://{'***@' if at or user else ''}{rest}"


def _is_explicit(text: str) -> bool:
    return text.startswith(("/", "./", "../"))


def _refusal(text: str) -> str | None:
    """Return what was expected instead of *text*, what was found, and what was meant."""
    is_explicit = _is_explicit(text)
    if "\0" in text or (not is_explicit and _CONTROL.search(text) is not None):
        return f"{_EXPECTED_STORE}, found a control character"
    if text != text.strip():
        if is_explicit and os.path.isdir(text):  # noqa: PTH112 - pathlib is slow to import
            return None
        return f"{_EXPECTED_STORE}, found white space around it{_meant(text.strip())}"
    reason = None if is_explicit else _why_no_store(text)
    if reason is None:
        return None
    if _S3_SCHEME.match(text) is not None:
        return f"expected s3://bucket/prefix, {reason}"
    if is_http_url(text):
        return f"{_EXPECTED_HTTPS}, {reason}"
    return (
        f"{_EXPECTED_STORE}, {reason} (a directory of that name is ./{without_credentials(text)})"
    )


def _meant(url: str) -> str:
    return f": did you mean {without_credentials(url)}?"


def _why_no_store(text: str) -> str | None:
    """Return why *text* is no name of a store; None for a path or a URL of S3."""
    place = text.removeprefix("s3://")
    arn = _S3_ARN.fullmatch(place)
    if arn is not None:
        return "found the ARN of a bucket" + _meant(f"s3://{arn[1]}{arn[2] or ''}")
    if _ACCESS_POINT.match(place) is not None:
        return "found the ARN of an access point: give its alias, as in s3://alias/prefix"
    if place.startswith("arn:"):
        return "found an ARN"
    console = _S3_CONSOLE.fullmatch(place)
    if console is not None:
        return "found a URL of S3 for browsers" + _meant(_s3_url(console))
    if is_http_url(text):
        return _why_no_http_store(text)
    host = _S3_HOST.fullmatch(place)
    if host is not None:
        return "found a URL of S3 for browsers" + _meant(_s3_url(host))
    if text.lower().startswith("s3://s3:"):
        return "found the scheme twice" + _meant(text[5:])
    if _S3_SCHEME.match(text) is not None and re.match("s3://[^/]", text) is None:
        location = _S3_SCHEME.sub("", text, count=1).strip("\"'").replace("\\", "/").lstrip("/")
        return "found a URL that is spelt wrong" + _meant(f"s3://{location or 'bucket/prefix'}")
    return _why_no_path(text)


def _s3_url(found: re.Match[str]) -> str:
    return "s3://" + "/".join(part for part in found.groups() if part)


def s3_url_of(url: str) -> str | None:
    """Return the s3:// URL of a place whose https:// URL is one of Amazon S3, else None."""
    found = _S3_HOST.fullmatch(url)
    return None if found is None else _s3_url(found)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or its address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_FILE_SUFFIXES = (".crl", ".crlx", ".pem", ".der", ".cer", ".crt", ".p7b", ".p7c")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


def _why_no_http_store(text: str) -> str | None:
    """Return why a store cannot be read at an http:// or https:// URL, None if it can."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        return "found a URL without a valid host and port"
    path = text.partition("://")[2].partition("/")[2]
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return (
            "found a user name or a password: they would be in every log; give a URL that "
            "needs none, and let the server admit this machine by its address"
        )
    if "?" in text or "#" in text:
        return (
            "found a query or a fragment: an object's name is appended to the path; give a URL "
            "without it, and let the server admit this machine in another way than by a token"
        )
    is_name = "]" in parts.netloc or _HOST_NAME.fullmatch(ascii_host) is not None
    if not is_name or port == 0 or "\\" in text:
        return "found a URL without a valid host and port"
    if parts.scheme == "http" and not is_loopback(host):
        s3_url = s3_url_of(text)
        return "found http://, where anybody on the way can change what is revoked" + _meant(
            s3_url if s3_url is not None else f"https://{text.partition('://')[2]}"
        )
    segments = [unquote(segment) for segment in path.rstrip("/").split("/")]
    if any(segment in (".", "..") for segment in segments):
        return "found a . or .. in the path: give the path that it leads to"
    if segments[-1].lower().endswith(_FILE_SUFFIXES):
        return (
            "found the URL of a file: 'crlcheck fetch' publishes a CRL from its URL, and curl "
            "downloads it"
        )
    if segments[-1] == "catalog.json":
        return "found the URL of the catalog" + _meant(text.rstrip("/").rpartition("/")[0])
    return None


def _why_no_path(text: str) -> str | None:
    if text.startswith("s3://"):
        return None
    file = _FILE_URL.fullmatch(text)
    if file is not None:
        return "found the URL of a file" + _meant(file[1])
    if _OTHER_CLOUD.match(text) is not None:
        return "found a store of another service than S3, which is not supported"
    if _URL.match(text) is not None:
        return "found a URL or a path of another system"
    if text.startswith("~"):
        return "found a ~ that the shell did not expand: give the path of the home directory"
    return None


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and the part of it whose keys begin with ``prefix``, which ends with ``/``."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> S3Location:
        """
        Read ``s3://bucket/prefix``.

        Raises:
            ValueError: it has another scheme or no bucket, or is spelt wrong.
        """
        check_store_name(url)
        scheme, _, location = url.partition("://")
        bucket, _, prefix = location.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError(f"store {url!r}: expected s3://bucket/prefix")
        return cls(bucket, f"{prefix.strip('/')}/".lstrip("/"))

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, without a slash at the end."""
        return f"s3://{self.bucket}/{self.prefix}".removesuffix("/")

    def holds(self, bucket: str, key: str) -> bool:
        """Whether the object *key* of *bucket* lies here."""
        return self.bucket == bucket and key.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class HttpLocation:
    """
    The place of a store at an https:// URL, or at an http:// URL of this machine.

    ``host`` has the port where it is not the scheme's own, and ``path`` is encoded, without
    a slash at the end.
    """

    scheme: str
    host: str
    path: str

    @classmethod
    def parse(cls, url: str) -> HttpLocation:
        """
        Read ``https://host/path``.

        Raises:
            ValueError: it has another scheme or no host, a user name, a password, a query
                or a fragment; or it is http:// and no host of this machine.
        """
        from urllib.parse import quote, urlsplit

        check_store_name(url)
        if not is_http_url(url):
            raise ValueError(f"store {url!r}: {_EXPECTED_HTTPS}")
        parts = urlsplit(url)
        name, port = (parts.hostname or "").rstrip("."), parts.port
        if not name.isascii():
            name = name.encode("idna").decode("ascii")
        host = f"[{name}]" if ":" in name else name
        if port not in (None, 443 if parts.scheme == "https" else 80):
            host += f":{port}"
        # "%" is kept, so that nothing is encoded twice.
        return cls(parts.scheme, host, quote(parts.path, safe=_SAFE_IN_PATHS).rstrip("/"))

    @property
    def url(self) -> str:
        """``https://host/path``, without a slash at the end."""
        return f"{self.scheme}://{self.host}{self.path}"


_SAFE_IN_PATHS = "%/:=&~+!$,;'@()*"


def read_settings(cls: type[SettingsT], environ: Mapping[str, str]) -> SettingsT:
    """
    Return *cls*, a frozen dataclass, filled from the variables in *environ*.

    Values are read by the type of their field: ``str``; ``int`` (decimal, not
    negative); ``bool`` (``true``, ``false``, ``1`` or ``0``); ``timedelta`` (a
    number and its unit: ``30s``, ``5m``, ``12h``, ``7d``; a hundred years at most);
    an enum (one of its values). A field whose metadata has ``"read"`` is read by that function,
    which raises ValueError saying what it expected. ``X | None`` is read as X
    and may stay unset.

    Raises:
        ValueError: a variable is missing, empty, malformed or unknown. The
            message names every such variable.
        TypeError: a field of *cls* has a type that cannot be read.
    """
    return _read_fields(cls, environ, lambda name: PREFIX + name.upper(), _unknown_variables)


def read_policy(rules: Iterable[str]) -> Policy:
    """
    Return the policy that texts such as ``hold=allow`` describe; the rest of it denies.

    Each is a field of ``Policy`` and its value, read by the type of the field as
    ``read_settings`` reads it. ``stale=grace:24h`` stands for ``stale=grace`` and
    ``stale_grace=24h``. Dashes in names count as underscores.

    Raises:
        ValueError: a rule is malformed, unknown or given twice, or a value is. The message
            names every such rule.
    """
    given: dict[str, str] = {}
    for rule in several("rules", rules):
        name, equals, value = rule.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"{rule!r}: expected a rule and its value, such as hold=allow")
        read = {name: value}
        if name == "stale" and ":" in value:
            read["stale"], _, read["stale_grace"] = value.partition(":")
        twice = sorted(given.keys() & read.keys())
        if twice:
            raise ValueError(f"{twice[0]} is given twice")
        given |= read
    policy = _read_fields(Policy, given, str, _unknown_rules)
    if (policy.stale is StaleRule.GRACE) != (policy.stale_grace > timedelta(0)):
        raise ValueError(
            f"stale is {policy.stale.value!r} and stale_grace is {policy.stale_grace}: expected "
            "both, as in stale=grace:24h, or neither"
        )
    return policy


def grace_problems(stale: StaleRule, stale_grace: timedelta) -> list[str]:
    """Return what is wrong with the two settings of the grace period: it needs both, or neither."""
    if (stale is StaleRule.GRACE) == (stale_grace > timedelta(0)):
        return []
    return [
        f"{PREFIX}STALE is {stale.value!r} and {PREFIX}STALE_GRACE is {stale_grace}: expected "
        "both, 'grace' and a duration, or neither"
    ]


def _read_fields(
    cls: type[SettingsT],
    given: Mapping[str, str],
    spelled: Callable[[str], str],
    unknown: Callable[[Mapping[str, str], Collection[str]], list[str]],
) -> SettingsT:
    """
    Return *cls* filled from texts.

    *spelled* turns a field's name into that of its text, and *unknown* returns what is
    wrong with texts that belong to no field.
    """
    hints = typing.get_type_hints(cls)
    fields = {spelled(field.name): field for field in dataclasses.fields(cls)}
    readers = {
        name: field.metadata.get("read") or _reader(hints[field.name])
        for name, field in fields.items()
    }
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, field in fields.items():
        try:
            if name in given:
                values[field.name] = _read(given[name], readers[name])
            elif _is_required(field):
                raise ValueError(f"is not set and has no default{_expected(readers[name])}")
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += unknown(given, fields)
    if problems:
        raise ValueError("; ".join(problems))
    return cls(**values)


def _read(text: str, reader: Callable[[str], Any]) -> Any:
    if not text:
        raise ValueError("is empty")
    if text != text.strip():
        raise ValueError(
            f"is {without_credentials(text)!r}: expected no white space around the value"
        )
    try:
        return reader(text)
    except ValueError as error:
        raise ValueError(f"is {without_credentials(text)!r}: {error}") from error


def _expected(reader: Callable[[str], Any]) -> str:
    """Return what a reader expects, which it says of an empty text."""
    try:
        reader("")
    except ValueError as error:
        return f": {error}"
    return ""


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _unknown_variables(environ: Mapping[str, str], known: Collection[str]) -> list[str]:
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return [f"{name} is not a setting{_near(name, known)}" for name in unknown]


def _unknown_rules(given: Mapping[str, str], known: Collection[str]) -> list[str]:
    unknown = sorted(given.keys() - set(known))
    return [
        f"{name!r} is no rule of the policy{_near(name, known)} (there are {', '.join(known)})"
        for name in unknown
    ]


def _near(name: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _reader(hint: Any) -> Callable[[str], Any]:
    alternatives = [part for part in typing.get_args(hint) if part is not NoneType]
    kind = alternatives[0] if len(alternatives) == 1 else hint
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda text: _member(kind, text)
    reader = _READERS.get(kind)
    if reader is None:
        raise TypeError(f"a setting cannot have the type {hint!r}")
    return reader


def _member(kind: type[enum.Enum], text: str) -> enum.Enum:
    members = {str(member.value): member for member in kind}
    if text.lower() not in members:
        raise ValueError(f"expected one of {', '.join(members)}")
    return members[text.lower()]


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"expected one of {', '.join(words)}")
    return words[text.lower()]


def read_seconds(text: str) -> int:
    """
    Read a whole number of seconds that every clock and timer can count.

    Raises:
        ValueError: it is none, or more than a hundred years.
    """
    seconds = _integer(text)
    if seconds > _MAX_DURATION.total_seconds():
        raise ValueError(f"expected at most {_MAX_DURATION.total_seconds():.0f} seconds")
    return seconds


def _integer(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise ValueError("expected a whole number in decimal digits")
    return int(text)


def read_duration(text: str) -> timedelta:
    """
    Read a number and its unit, as in ``12h``.

    Raises:
        ValueError: it is none, or more than a hundred years.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise ValueError("expected a number and its unit (s, m, h or d), such as 30s or 12h")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    try:
        found = timedelta(**{unit: int(match[1])})
    except OverflowError:
        found = timedelta.max
    if found > _MAX_DURATION:
        raise ValueError(f"expected at most {_MAX_DURATION.days}d")
    return found


_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _integer,
    bool: _boolean,
    timedelta: read_duration,
}
