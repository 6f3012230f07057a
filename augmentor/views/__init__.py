"""What people look at: previews, reports, and the page of `augmentor explore`.

May import `training` and what is below it.
"""
