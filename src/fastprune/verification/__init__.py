"""What is damaged in a cache, and what a repair moves to the trash.

It takes a cache, and gives findings and a repair plan.

- `verifier`: scans, measures, looks twice at odd files. `blob_reading`: reads blobs, the largest
  first. `findings`: what is damaged.
- `served`, `comparing`: what of it a running server has in memory.
- `repair_plan`: what goes to the trash, and why. `report`, `repair_report`: show it.
"""
