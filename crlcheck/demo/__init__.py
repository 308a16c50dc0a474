"""A small certificate authority and a tour of crlcheck, for trying it out."""
