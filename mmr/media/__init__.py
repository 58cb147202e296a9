"""The pipelines: upload, download, thumbnail, information, and what keeps them true."""
