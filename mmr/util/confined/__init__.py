"""Long-lived worker processes that read what strangers wrote, with few rights (R35).

Import from the modules themselves: the workers import this package too, and must not
load Twisted.
"""
