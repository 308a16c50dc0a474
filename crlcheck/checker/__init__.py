"""Whether a certificate is revoked: the published set in use, the path, the verdict."""
