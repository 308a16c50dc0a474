"""
A small S3 server over a dict that breaks one promise or another, as real servers do.

It speaks as much of S3 as a store asks for: GET with conditions and a range, HEAD, PUT
with conditions, DELETE, a listing, and whether the bucket keeps versions.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_TIME_TO_STORE = 0.2


@dataclass
class WeakS3:
    """
    A server and what it does wrong; ``objects`` are its keys, with body, ETag and metadata.

    ignored: the conditions of a PUT that it passes over, by header and value: "if-match"
        or "if-none-match".
    checks_first: it checks the conditions of a PUT, then takes the body, and stores it
        without a lock; with checks_if_match_first only those with If-Match.
    old_etag: a PUT answers with the ETag of the object before.
    one_etag: all states of an object have one ETag.
    creates: If-Match of an object that does not exist creates it.
    stores_refused: what it refuses with 412 is stored all the same.
    always_304, never_304: what it answers to If-None-Match.
    old_reads: a GET answers with the object before.
    past_end: the status for a range whose end is past the object's; 206 is right.
    ranges: whether it knows of ranges.
    title_case: it changes the case of metadata.
    quoted: whether ETags have quotes.
    denied: methods that it answers 403.
    gets: the status for every GET of an object, 0 for the right one.
    answers: the status for a PUT with a condition, whatever the object's state.
    skew: the seconds by which its clock is ahead.
    versioning: "Enabled", "Suspended" or "".
    expires: whether a lifecycle rule removes noncurrent versions.
    missing: the status for a GET of an object that does not exist.
    drops_metadata: user metadata are not kept.
    """

    endpoint: str = ""
    ignored: frozenset[str] = frozenset()
    checks_first: bool = False
    checks_if_match_first: bool = False
    old_etag: bool = False
    one_etag: bool = False
    creates: bool = False
    stores_refused: bool = False
    always_304: bool = False
    never_304: bool = False
    old_reads: bool = False
    past_end: int = 206
    ranges: bool = True
    title_case: bool = False
    quoted: bool = True
    denied: frozenset[str] = frozenset()
    gets: int = 0
    answers: int = 0
    skew: float = 0.0
    versioning: str = ""
    expires: bool = False
    missing: int = 404
    drops_metadata: bool = False
    objects: dict[str, tuple[bytes, str, dict[str, str]]] = field(default_factory=dict)
    before: dict[str, tuple[bytes, str, dict[str, str]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def become(self, other: WeakS3) -> None:
        """Take over everything of *other* but where it is."""
        for one in fields(self):
            if one.name != "endpoint":
                setattr(self, one.name, getattr(other, one.name))


@contextlib.contextmanager
def weak_s3(server: WeakS3 | None = None) -> Iterator[WeakS3]:
    """Serve on a free port of this machine; every bucket exists."""
    made = server or WeakS3()

    class Handler(_Handler):
        weak = made
        lock = threading.Lock()

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    made.endpoint = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    weak: WeakS3
    lock: threading.Lock

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output to itself."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        moment = time.time() if timestamp is None else timestamp
        return email.utils.formatdate(moment + self.weak.skew, usegmt=True)

    def do_PUT(self) -> None:
        if self._is_denied():
            return
        weak, key = self.weak, self._key()
        length = int(self.headers.get("Content-Length", 0))
        is_match = "If-Match" in self.headers
        if weak.checks_first or (weak.checks_if_match_first and is_match):
            refused = self._refusal(key)
            time.sleep(_TIME_TO_STORE)
            body = self.rfile.read(length)
            self._store(key, body, refused)
        else:
            body = self.rfile.read(length)
            with self.lock:
                self._store(key, body, self._refusal(key))

    def do_GET(self) -> None:
        if self._is_denied():
            return
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if "list-type" in query:
            self._list(query)
        elif "versioning" in query:
            status = self.weak.versioning
            inner = f"<Status>{status}</Status>" if status else ""
            self._answer(
                200, f"<VersioningConfiguration>{inner}</VersioningConfiguration>".encode()
            )
        elif "lifecycle" in query:
            self._answer_lifecycle()
        else:
            self._get()

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        if not self._is_denied():
            with self.lock:
                self.weak.objects.pop(self._key(), None)
            self._answer(204)

    # ---- what is answered ----------------------------------------------------------

    def _refusal(self, key: str) -> int:
        """Return the status that refuses a PUT, 0 for none."""
        weak = self.weak
        found = weak.objects.get(key)
        if_match, if_none_match = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if weak.answers and (if_match or if_none_match):
            return weak.answers
        if if_match is not None and "if-match" not in weak.ignored:
            if found is None:
                return 0 if weak.creates else 404
            if self._etag(found[1]) != if_match:
                return 412
        if if_none_match is not None and "if-none-match" not in weak.ignored and found is not None:
            return 412
        return 0

    def _store(self, key: str, body: bytes, refused: int) -> None:
        weak = self.weak
        before = weak.objects.get(key)
        etag = "0" * 32 if weak.one_etag else hashlib.md5(body).hexdigest()
        metadata = {
            name: value
            for name, value in self.headers.items()
            if name.lower().startswith("x-amz-meta-") and not weak.drops_metadata
        }
        if not refused or weak.stores_refused:
            if before is not None:
                weak.before[key] = before
            weak.objects[key] = (body, etag, metadata)
        if refused:
            self._refuse(refused, "PreconditionFailed" if refused == 412 else "NoSuchKey")
            return
        if weak.old_etag and before is not None:
            etag = before[1]
        self._answer(200, headers={"ETag": self._etag(etag)})

    def _get(self) -> None:
        weak, key = self.weak, self._key()
        with self.lock:
            found = weak.objects.get(key)
            if weak.old_reads:
                found = weak.before.get(key, found)
        if weak.gets:
            self._refuse(weak.gets, "InvalidRequest")
            return
        if found is None:
            self._refuse(weak.missing, "NoSuchKey" if weak.missing == 404 else "AccessDenied")
            return
        body, etag, metadata = found
        headers = {"ETag": self._etag(etag)}
        for name, value in metadata.items():
            headers[name.title() if weak.title_case else name] = value
        condition = self.headers.get("If-None-Match")
        is_same = weak.always_304 or condition == headers["ETag"]
        if condition is not None and is_same and not weak.never_304:
            self._answer(304, headers=headers)
            return
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None or not weak.ranges:
            self._answer(200, body, headers)
            return
        if asked[1]:
            start, end = int(asked[1]), int(asked[2] or len(body) - 1)
        else:
            start, end = max(0, len(body) - int(asked[2])), len(body) - 1
        if start >= len(body):
            self._refuse(416, "InvalidRange")
        elif end >= len(body) and weak.past_end != 206:
            self._refuse(weak.past_end, "InvalidArgument")
        else:
            end = min(end, len(body) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            self._answer(206, body[start : end + 1], headers)

    def _answer_lifecycle(self) -> None:
        if not self.weak.expires:
            self._refuse(404, "NoSuchLifecycleConfiguration")
            return
        rule = (
            "<ID>a</ID><Status>Enabled</Status><NoncurrentVersionExpiration>"
            "<NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>"
        )
        body = f"<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>"
        self._answer(200, body.encode())

    def _list(self, query: dict[str, list[str]]) -> None:
        bucket = urlsplit(self.path).path.strip("/")
        prefix = f"{bucket}/{query.get('prefix', [''])[0]}"
        keys = sorted(key for key in self.weak.objects if key.startswith(prefix))
        entries = "".join(
            f"<Contents><Key>{escape(key.removeprefix(f'{bucket}/'))}</Key></Contents>"
            for key in keys
        )
        self._answer(200, f"<ListBucketResult>{entries}</ListBucketResult>".encode())

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _etag(self, etag: str) -> str:
        return f'"{etag}"' if self.weak.quoted else etag

    def _is_denied(self) -> bool:
        self.weak.requests.append(f"{self.command} {self.path}")
        kind = self.command
        for question, name in (("list-type", "LIST"), ("versioning", "VERSIONING")):
            if f"?{question}" in self.path or f"&{question}" in self.path:
                kind = name
        if kind not in self.weak.denied:
            return False
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._refuse(403, "AccessDenied")
        return True

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)
