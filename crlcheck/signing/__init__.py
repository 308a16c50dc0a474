"""Sign the root of a published set, and verify its signatures."""
