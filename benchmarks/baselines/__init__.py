"""
What crlcheck is compared with: one module for each peer, one interface for all.
"""
