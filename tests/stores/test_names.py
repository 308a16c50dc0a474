"""Names of stores that are spelt wrong are refused with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.settings import S3Location, read_settings
from crlcheck.stores import LocalStore, open_store
from preprocessor.settings import Settings as PreprocessorSettings

MEANT = {
    "s3:/b/p": "s3://b/p",
    "s3//b/p": "s3://b/p",
    "s3:b/p": "s3://b/p",
    "s3;//b/p": "s3://b/p",
    "S3://b/p": "s3://b/p",
    "S3:/b": "s3://b",
    "s3a://b/p": "s3://b/p",
    "s3n://b/p": "s3://b/p",
    "s3:///b/p": "s3://b/p",
    "s3:////b": "s3://b",
    "s3:\\b\\p": "s3://b/p",
    "s3://s3://b/p": "s3://b/p",
    "'s3://b/p'": "s3://b/p",
    "s3:": "s3://bucket/prefix",
    "s3://": "s3://bucket/prefix",
    "arn:aws:s3:::b": "s3://b",
    "arn:aws-cn:s3:::b/p": "s3://b/p",
    "s3://arn:aws:s3:::b/p": "s3://b/p",
    "https://b.s3.amazonaws.com/p": "s3://b/p",
    "https://b.s3.eu-central-1.amazonaws.com/p": "s3://b/p",
    "https://b.s3-eu-west-1.amazonaws.com/p": "s3://b/p",
    "https://s3.eu-central-1.amazonaws.com/b/p": "s3://b/p",
    "http://my.b.s3.dualstack.eu-central-1.amazonaws.com": "s3://my.b",
    "b.s3.amazonaws.com/p": "s3://b/p",
    "s3://b.s3.amazonaws.com/p": "s3://b/p",
    "https://s3.console.aws.amazon.com/s3/buckets/b?region=eu-central-1&prefix=p/": "s3://b/p/",
    "https://eu-central-1.console.aws.amazon.com/s3/buckets/b?tab=objects": "s3://b",
    "file:///srv/crls": "/srv/crls",
    "file:/srv/crls": "/srv/crls",
    "file://localhost/srv/crls": "/srv/crls",
    "s3://b/p ": "s3://b/p",
    " s3://b/p": "s3://b/p",
    "published ": "published",
}
REFUSED = {
    "arn:aws:s3:eu-central-1:123456789012:accesspoint/name": "access point: give its alias",
    "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/name": "access point",
    "arn:aws:s3-outposts:eu-central-1:1:outpost/op/accesspoint/n": "access point",
    "arn:aws:lambda:eu-central-1:1:function:f": "an ARN",
    "gs://b/p": "another service",
    "gs:/b": "another service",
    "az://b/p": "another service",
    "abfss://c@a.dfs.core.windows.net/p": "another service",
    "https://example.com/crls": "a URL",
    "https:/example.com/crls": "a URL",
    "ftp://example.com/crls": "a URL",
    "ldap://example.com": "a URL",
    "C:\\crls": "another system",
    "C:/crls": "another system",
    "host:/srv/crls": "another system",
    "~": "the shell did not expand",
    "~/crls": "the shell did not expand",
    "~operator/crls": "the shell did not expand",
    "a\0b": "a control character",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw": "a control character",
}


@pytest.mark.parametrize("name", MEANT)
def test_what_was_meant_is_said(name: str) -> None:
    """
    The message ends with the name that would do.
    """
    with pytest.raises(ValueError, match="store") as caught:
        open_store(name)
    assert f"did you mean {MEANT[name]}?" in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_opened_is_refused(name: str) -> None:
    """
    With the reason, and without repeating text that may be a key.
    """
    with pytest.raises(ValueError, match="store") as caught:
        open_store(name)
    assert REFUSED[name] in str(caught.value)
    assert "MC4C" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in {**MEANT, **REFUSED} if "\0" not in name])
def test_a_directory_of_that_name_can_be_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By ./ and by its absolute path; a name with white space at its end must be there.
    """
    monkeypatch.chdir(tmp_path)
    if name != name.strip():
        (tmp_path / name).mkdir(parents=True)
    for path in (f"./{name}", f"{tmp_path}/{name}"):
        assert isinstance(open_store(path), LocalStore)


@pytest.mark.parametrize(
    "name", ["s3", "s3/b", "s3x:y", "published", "a b", "arn", "x~", "gs", "archive.s3", "ä", "."]
)
def test_other_names_are_paths(name: str) -> None:
    """
    Whatever no URL begins with.
    """
    assert isinstance(open_store(name), LocalStore)
    assert isinstance(open_store(Path(name)), LocalStore)


def test_a_path_that_was_a_url_is_refused() -> None:
    """
    pathlib takes the second slash of s3://.
    """
    with pytest.raises(ValueError, match="did you mean s3://b/p"):
        open_store(Path("s3://b/p"))


@pytest.mark.parametrize(
    "url", ["s3://b", "s3://b/p/q/", "s3://b/s3:/x", "s3://b/~x", "s3://b/a b"]
)
def test_good_urls_stay_good(url: str) -> None:
    """
    Whatever their prefix is.
    """
    assert S3Location.parse(url).bucket == "b"


@pytest.mark.parametrize("name", ["s3:/b/p", "arn:aws:s3:::b/p", "~/p", "s3//b/p"])
@pytest.mark.parametrize("variable", ["CRLCHECK_STORE", "CRLCHECK_ISSUERS"])
def test_settings_refuse_them(variable: str, name: str) -> None:
    """
    When they are read, with the variable's name.
    """
    environ = {"CRLCHECK_STORE": "s3://x/p", "CRLCHECK_ISSUERS": "s3://y/p"}
    with pytest.raises(ValueError, match=f"{variable} is '"):
        read_settings(PreprocessorSettings, {**environ, variable: name})


@pytest.mark.parametrize(
    "name", ["s3:/b/p", "arn:aws:s3:::b/p", "gs://b", "https://b.s3.amazonaws.com/"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "{}", "c.pem"],
        ["inspect", "{}"],
        ["publish", "c.crl", "--issuer", "c.pem", "--to", "{}"],
        ["scope", "list", "{}"],
        ["deny", "list", "{}"],
        ["mirror", "{}", "there"],
        ["mirror", "there", "{}"],
        ["clean", "{}"],
        ["export", "{}", "--format", "sample-json", "-o", "out"],
    ],
)
def test_the_command_refuses_them(
    arguments: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """
    As wrong usage, and nothing is made in the working directory.
    """
    monkeypatch.chdir(tmp_path)
    for file in ("c.pem", "c.crl"):
        (tmp_path / file).write_bytes(b"x")
    assert main([one.format(name) for one in arguments]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.crl", "c.pem"]
