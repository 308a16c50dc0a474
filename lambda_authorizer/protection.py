"""
Protect a load balancer's Lambda target, which has no authorizer before it.

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
    Return a handler for a load balancer's Lambda target: what is allowed goes on to
    *target*, with the decision's scalars as ``event["requestContext"]["authorizer"]``;
    everything else is answered 403.

    Settings are read at once on Lambda, so that a bad one stops the deployment, and
    elsewhere at the first request. *target* itself is ``__wrapped__``.

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
