"""Change a published set: publish and fetch CRLs, mirror, clean up, and change it by hand."""
