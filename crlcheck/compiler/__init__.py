"""From a CRL to its image."""
