"""What people look at: previews, reports, the page of `augmentor explore`.

May import: every folder but `cli`, `tuning` and `integrations`.
"""
