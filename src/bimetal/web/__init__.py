"""Machines that stay, for browsers and other programs that speak HTTP (docs/web.md).

What can be asked for is what `bimetal.control` has: `api` makes a route for each of its verbs and
commands, `openapi` describes them. `guard` decides who is let in, `page` is what a person sees,
and `serving` opens the socket.
"""
