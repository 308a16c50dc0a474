"""Names of stores that are spelt wrong are refused with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.errors import ReadOnlyStoreError
from crlcheck.settings import S3Location, read_settings
from crlcheck.stores import LocalStore, open_store
from crlcheck.stores.https import HttpsStore
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
    "http://b.s3.amazonaws.com/p": "s3://b/p",
    "http://b.s3-website.eu-central-1.amazonaws.com/p": "s3://b/p",
    "http://b.s3-eu-west-1.amazonaws.com/p": "s3://b/p",
    "http://s3.eu-central-1.amazonaws.com/b/p": "s3://b/p",
    "http://my.b.s3.dualstack.eu-central-1.amazonaws.com": "s3://my.b",
    "b.s3.amazonaws.com/p": "s3://b/p",
    "s3://b.s3.amazonaws.com/p": "s3://b/p",
    "https://s3.console.aws.amazon.com/s3/buckets/b?region=eu-central-1&prefix=p/": "s3://b/p/",
    "https://eu-central-1.console.aws.amazon.com/s3/buckets/b?tab=objects": "s3://b",
    "http://example.com/crls": "https://example.com/crls",
    "HTTP://example.com:8080/crls": "https://example.com:8080/crls",
    "http://10.0.0.1/crls": "https://10.0.0.1/crls",
    "http://localhost.example.com/crls": "https://localhost.example.com/crls",
    "https://example.com/crls/catalog.json": "https://example.com/crls",
    " https://example.com/crls": "https://example.com/crls",
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
    "https://": "without a valid host",
    "https:///crls": "without a valid host",
    "https://:443/crls": "without a valid host",
    "https://example.com:99999/crls": "without a valid host and port",
    "https://example.com:0/crls": "without a valid host and port",
    "https://example.com:port/crls": "without a valid host and port",
    "https://[::1/crls": "without a valid host and port",
    "https://exa\\mple.com/crls": "without a valid host",
    "https://.example.com/crls": "without a valid host",
    "https://exam ple.com/crls": "without a valid host",
    "https://example.com/crls/../other": "..",
    "https://example.com/crls/%2e%2E/other": "..",
    "https://example.com/./crls": ". or ..",
    "https://example.com/ca.crl": "the URL of a file: 'crlcheck fetch'",
    "https://example.com/crls/Root.CRL/": "the URL of a file",
    "https://example.com/ca.pem": "the URL of a file",
    "https://MC4C@example.com/crls": "a user name or a password",
    "https://user:MC4C@example.com/crls": "a user name or a password",
    "https://user:MC4C/MC4C@example.com/crls": "without a valid host",
    "https://user:MC4C#@example.com/crls": "without a valid host",
    "https://@example.com/crls": "a user name or a password",
    "https://example.com/crls?sig=MC4C": "a query",
    "https://example.com/crls?": "a query",
    "https://example.com/crls#MC4C": "a fragment",
    "http://user:MC4C@localhost/crls": "a user name or a password",
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


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com/a/b//", "https://example.com/a/b"),
        ("HTTPS://Example.COM:443/Crls", "https://example.com/Crls"),
        ("https://example.com:8443/crls", "https://example.com:8443/crls"),
        ("https://example.com./crls", "https://example.com/crls"),
        ("https://[2001:DB8::1]:8443/crls", "https://[2001:db8::1]:8443/crls"),
        ("https://bücher.example/crls", "https://xn--bcher-kva.example/crls"),
        ("https://example.com/a b/ü", "https://example.com/a%20b/%C3%BC"),
        ("https://example.com/a%20b/%C3%BC", "https://example.com/a%20b/%C3%BC"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("https://10.0.0.1/crls", "https://10.0.0.1/crls"),
        ("http://localhost:8080/crls", "http://localhost:8080/crls"),
        ("http://site.localhost/crls", "http://site.localhost/crls"),
        ("http://127.0.0.1:80/crls", "http://127.0.0.1/crls"),
        ("http://[::1]:8080/crls", "http://[::1]:8080/crls"),
        ("https://b.s3.eu-central-1.amazonaws.com/p", "https://b.s3.eu-central-1.amazonaws.com/p"),
        ("https://storage.googleapis.com/b/p", "https://storage.googleapis.com/b/p"),
    ],
)
def test_urls_of_web_servers(given: str, url: str) -> None:
    """
    Each opens a store, whose own URL opens it again; a bucket that is public may be read so.
    """
    store = open_store(given)
    assert isinstance(store, HttpsStore)
    assert store.url == url
    assert open_store(url).url == url


def test_a_path_that_was_a_web_url_is_refused() -> None:
    """
    pathlib takes the second slash of https://.
    """
    with pytest.raises(ValueError, match="found a URL"):
        open_store(Path("https://example.com/crls"))


def test_a_bucket_s_url_leads_to_the_bucket() -> None:
    """
    Where it is not public, or is to be written, the error says how it is named.
    """
    store = open_store("https://b.s3.eu-central-1.amazonaws.com/p")
    with pytest.raises(ReadOnlyStoreError, match="did you mean s3://b/p?"):
        store.write("a", b"")
    assert isinstance(store, HttpsStore)
    assert "is read as s3://b/p" in str(store._refused("catalog.json", 403))


@pytest.mark.parametrize(
    "name",
    [
        "https://u:MC4C@h/p",
        "https://h/p?sig=MC4C",
        "htps://u:MC4C@h/p",
        " https://u:MC4C@h/p",
        "http://u:MC4C@h/p",
        "http://h/p#MC4C",
    ],
)
@pytest.mark.parametrize("variable", ["CRLCHECK_STORE", "CRLCHECK_ISSUERS"])
def test_settings_repeat_no_secret(variable: str, name: str) -> None:
    """
    What is in the log of a function is read by many.
    """
    environ = {"CRLCHECK_STORE": "s3://x/p", "CRLCHECK_ISSUERS": "s3://y/p"}
    with pytest.raises(ValueError, match=variable) as caught:
        read_settings(PreprocessorSettings, {**environ, variable: name})
    assert "MC4C" not in str(caught.value)


@pytest.mark.parametrize("variable", ["CRLCHECK_STORE", "CRLCHECK_ISSUERS"])
def test_a_preprocessor_cannot_use_a_web_server(variable: str) -> None:
    """
    It must write the one and list the other.
    """
    environ = {"CRLCHECK_STORE": "s3://x/p", "CRLCHECK_ISSUERS": "s3://y/p"}
    with pytest.raises(ValueError, match=f"{variable} is 'https://h/p': expected s3://"):
        read_settings(PreprocessorSettings, {**environ, variable: "https://h/p"})


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
    "name", ["s3:/b/p", "arn:aws:s3:::b/p", "gs://b", "http://b.s3.amazonaws.com/", "http://h/p"]
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
