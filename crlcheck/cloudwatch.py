"""State what CloudWatch takes as the namespace and the dimensions of metrics."""

from __future__ import annotations

import re

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html and
# its page of namespaces; AWS keeps what begins with "AWS/" for its own services.
_NAMESPACE = re.compile(r"(?!AWS/)[A-Za-z0-9._/#:-][A-Za-z0-9._/#: -]{0,254}")
_MAX_DIMENSION = 1024


def read_namespace(text: str) -> str:
    """
    Read a setting that is the namespace of metrics.

    Raises:
        ValueError: CloudWatch would refuse it, and so lose every metric.
    """
    if _NAMESPACE.fullmatch(text) is None:
        raise ValueError(
            "expected a namespace of CloudWatch: up to 255 letters, digits and ._/#:- that do "
            "not begin with AWS/"
        )
    return text


def dimension(text: str) -> str:
    """
    Return *text* as the value of a dimension.

    CloudWatch takes up to 1,024 characters of ASCII. Others are written as escapes.
    """
    return text.encode("ascii", "backslashreplace").decode("ascii")[:_MAX_DIMENSION]
