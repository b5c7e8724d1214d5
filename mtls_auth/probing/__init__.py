"""Forged certificate headers, sent to a running deployment: what gets past its proxy, and whom it makes believed.

`tricks` and `http2_tricks` are the ways to forge, `forgeries` what is forged, `target`, `http1` and `http2` send it,
`judgement` says what an answer means, `probe` runs them all, `report` shows it. The application says whom it believes
through `mtls_auth.diagnostics`. Nothing but GET and POST to that one path is sent, and the POST's body is discarded.

What a clean report does not prove:

- that other paths of the same host are safe: a location, a virtual host or a port of its own may forward otherwise;
- that other ways to the application are closed: it looks at the URLs that it is given, from where it runs;
- that a header is not smuggled in a second request on one connection, or by tricks that are not in the tables;
- that the proxy verifies certificates, revokes them, or keeps TLS sessions of its names apart;
- anything about an application that reads certificate headers beside this package.
"""
