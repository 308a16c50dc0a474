"""
Leave out of messages what is secret: private keys, and passwords in URLs.

A message repeats what was given, because that is what is wrong. People give a key in the
place of a path, and what a cron job or a pipeline writes is kept and read by others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# How a private key begins in base64: a SEQUENCE with a length, and the version 0 or 1
# (RFC 5958 section 2, RFC 8017 A.1.2, RFC 5915 section 3).
_KEY = r"M(?:[A-Za-z0-9+/]{2}CAQ[AE]|I[GH][A-Za-z0-9+/]AgE[AB]|II[A-Za-z0-9+/]{2}[AQgw]IB[AQ])"
# Of such a key, the rest may be in lines, of which the ends may be written out.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}KEY-----|\Z)"
    rf"|{_KEY}(?:[A-Za-z0-9+/=\s]|\\[nr])*",
    re.DOTALL,
)
# Behind any slash, because the scheme may be mistyped. A port is no password.
_USER_INFO = re.compile(r"(?<=/)([^/\s:@]{0,200}):(?!\d+/)[^@\s]{1,200}(?=@)")
_SIGNATURE = re.compile(
    r"([?&](?:X-Amz-(?:Signature|Security-Token)|Signature|sig|token|access_token|password)=)"
    r"[^&\s'\"]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return *text* with every private key and every password in a URL replaced."""
    text = _PRIVATE_KEY.sub("(a private key)", text)
    return _SIGNATURE.sub(r"\1***", _USER_INFO.sub(r"\1:***", text))


def members_without_secrets(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a JSON document with ``without_secrets`` for each text in them."""
    return {name: _without(value) for name, value in members.items()}


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return members_without_secrets(value)
    return [_without(one) for one in value] if isinstance(value, list | tuple) else value
