"""What a running server says, and what it is asked to do.

It takes image URLs and the server's answers, and gives requests and listings. Only `client` does
I/O.

- `asked`: `Server`, the protocol that everything else uses. `client`: `ServerClient`, which speaks
  HTTP; httpx is imported only there. `address`: what `--server` gives. `answers`: what is wrong
  with an answer, in words.
- `listing`: the server's list of manifests as a `ServerListing`. `expressions`: regular expressions
  that match exactly one image URL each, and how many of them fit a request. `unlisted`: image URLs
  that a server can know and never lists.
"""
