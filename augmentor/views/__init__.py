"""Visual output: previews, reports, and the page of `augmentor explore`.

This package may import `training` and the layers below it.
"""
