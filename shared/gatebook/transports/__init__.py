"""The three ways a client reaches a server: stdio, streamable HTTP and HTTP with server-sent events.

`stdio` and `http` each run one process to its end; `conversation` serves one client over a pair of streams, `ending`
decides when and with which code the process ends, `auth` holds the bearer token. All serve both protocol eras.
"""
