"""Bytes in, thumbnail out: size picking, one renderer a family, the worker pool.

Import from the modules themselves: worker processes import this package too, and must
not load Twisted.
"""
