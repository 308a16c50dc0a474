"""Verify a CRL and compile it into an image."""
