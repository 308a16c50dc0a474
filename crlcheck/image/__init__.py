"""The .crlx file: what it says of itself, looking serial numbers up, and comparing two."""
