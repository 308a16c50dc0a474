"""Read certificates and distribution points, and verify the signatures of CRLs."""
