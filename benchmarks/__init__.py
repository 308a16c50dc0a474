"""Measure crlcheck with large CRLs, and make those CRLs."""
