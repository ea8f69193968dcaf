"""Where the space goes: what `du` counts, and how it is shown.

Units are images with all that belongs to them; `placing` says in which row each file is counted,
`rows` makes rows that add up, `report`, `table` and `page` show them.
"""
