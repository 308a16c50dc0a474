"""
Answer a proxy's question whether a client may pass, over HTTP.

``crlcheck serve`` starts it (extra ``[serve]``). docs/guides/serve.md tells how proxies ask.

``settings`` reads what an operator set, ``supervisor`` keeps the workers, ``worker`` is one of
them, ``application`` leads a request to what answers it.
"""
