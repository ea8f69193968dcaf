"""Where the space goes: what `du` counts, and how it is shown.

It takes a cache and a policy, and gives lines, documents or a page.

- `surveying`: scans a cache, and asks for sizes.
- `units`: images with all that belongs to them. `repositories`: their names. `placing`: in which
  row each file is counted. `rows`: rows that add up. `ages`: what pruning by age would free.
- `report`, `table`: documents and lines. `tree`, `page`: what the page shows. `page_template`: the
  page as HTML; its parts are in `html/`.
"""
