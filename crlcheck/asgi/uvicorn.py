"""
Give an application under uvicorn the client's certificate of a TLS connection.

uvicorn ends TLS, and says nothing of it to the application. Its protocol class can be chosen:

    uvicorn app:app --http crlcheck.asgi.uvicorn:TlsProtocol --ssl-cert-reqs 2 ...
"""

from __future__ import annotations

import asyncio
import ssl

from uvicorn.protocols.http.h11_impl import H11Protocol

from crlcheck.asgi.middleware import STATE


class TlsProtocol(H11Protocol):
    """
    uvicorn's HTTP/1.1 by h11, with the certificate in the state of each request.

    ``RevocationMiddleware`` finds it there. A WebSocket that begins on the connection has it
    too.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep what the TLS extension of ASGI says of the client's certificate."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is None:
            return
        der = connection.getpeercert(binary_form=True)
        is_verified = connection.context.verify_mode is not ssl.CERT_NONE
        tls = {
            "client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)],
            "client_cert_error": None if der is None or is_verified else "not verified",
        }
        self.app_state = {**self.app_state, STATE: tls}
