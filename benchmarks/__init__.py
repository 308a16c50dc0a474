"""Measurements against large CRLs, and the CRLs to measure with."""
