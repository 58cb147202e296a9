"""Cold thumbnails of every format beside the naive renderer: CPU, likeness, memory."""
