"""The downstream edge: sockets, TLS, HTTP/1.1 and HTTP/2, drain and signals. Nothing here knows what the relay does.

A guided tour, outermost first::

    listen.py              serve(): lifespan, listeners, accept loop, drain            one per process
      drain.py             the three moments of a shutdown, and the signals that cause them
      hypercorn_compat.py  everything we rely on inside Hypercorn
      client_connection.py one connection's life: TLS, which protocol, the barrier for errors
        http1.py           one task reads, one task runs the request
        http2.py           one task reads, one task per stream
          client_request.py  one request, from its head to its end: what everybody above holds of it
          stream.py        its two directions: the body as it arrives, the response as it leaves
          context.py       what all connections of a server share, and how the application is called
    request_head.py, request_body.py, response_head.py, h2_frames.py    bytes in, values out, no I/O

The two halves meet in one rule: **reading never stops while a response runs**, because a client that leaves says so
in the bytes it sends, and **writing never holds anything**, because a client that does not read says nothing at all.
"""
