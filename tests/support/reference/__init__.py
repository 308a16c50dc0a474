"""
A second opinion on revocation, slow and plain: RFC 5280 6.3.3 read with pyasn1
and written down without a line of crlcheck.
"""
