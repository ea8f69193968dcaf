"""Why one image goes or stays, and what holds its blobs.

It takes an index, a row of it and perhaps a plan, and gives lines or a document.

- `lookup`: finds an image by a part of its name. `explaining`: the facts about it.
  `report`: shows them.
"""
