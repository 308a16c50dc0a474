"""Read .crlx images: their metadata, their entries, and the difference of two."""
