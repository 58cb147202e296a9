"""Readers of image containers: sizes and metadata, without decoding a pixel.

They run before the image library sees a file: they find its true size (R30), take what
we use of its metadata, and drop the rest (R32). Pure Python, no image library: the
server checks results with them too (R39).
"""
