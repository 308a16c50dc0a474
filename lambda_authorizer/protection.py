"""
Protect a load balancer's Lambda target, to which no authorizer can be attached.

Importing this module reads no setting, so a protected function can be imported
by a unit test.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from lambda_authorizer.environment import start

Handler = Callable[[Any, Any], Any]


def protect(target: Handler) -> Handler:
    """
    Return a handler for a load balancer's Lambda target.

    It passes an allowed request on to *target*, with the decision's scalars as
    ``event["requestContext"]["authorizer"]``. It answers every other with 403.

    On Lambda the settings are read at once, so that a bad one stops the deployment.
    Elsewhere they are read at the first request. ``__wrapped__`` is *target* itself.

    Raises:
        ValueError: a setting is missing or wrong; the message names the variable.
    """
    # Every runtime client of Lambda needs this variable to get its events.
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        start()

    @functools.wraps(target)
    def protected(event: Any, context: Any) -> Any:
        return start().pass_on(target, event, context)

    return protected
