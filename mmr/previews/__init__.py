"""From a page to its preview: pure functions, and the pool that runs them.

Everything in here reads what strangers wrote. It never touches the network, and all of
it that parses runs in a confined worker process (`mmr.previews.pool`, R23).
"""
