"""Certificates and signatures: reading, verifying, and what they say of keys and CRLs."""
