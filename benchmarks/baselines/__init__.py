"""
Run the peers that crlcheck is compared with: one module for each, one interface for all.
"""
