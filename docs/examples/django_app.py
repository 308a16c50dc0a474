"""
A Django application under gunicorn, which ends TLS and verifies the client certificates.

In a project, the last lines stand in its wsgi.py.

    CRLCHECK_STORE=published gunicorn django_app:application --bind 0.0.0.0:8443 \
        --certfile server.pem --keyfile server.key --ca-certs clients.pem --cert-reqs 2
"""

from __future__ import annotations

import os
from datetime import timedelta

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

import crlcheck
from crlcheck.wsgi import RevocationMiddleware


def hello(request: HttpRequest) -> JsonResponse:
    """Greet a client that is not revoked."""
    return JsonResponse({"verdict": request.META["crlcheck.decision"].cause})


urlpatterns = [path("hello", hello)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"])

checker = crlcheck.RevocationChecker(
    os.environ["CRLCHECK_STORE"],
    refresh_after=timedelta(seconds=1),
    background_refresh=True,
    max_catalog_age=timedelta(hours=12),
)
application = RevocationMiddleware(get_wsgi_application(), checker, verified_by="server")
