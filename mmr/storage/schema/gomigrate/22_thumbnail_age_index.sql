CREATE INDEX IF NOT EXISTS idx_creation_ts_thumbnails ON thumbnails (creation_ts);
