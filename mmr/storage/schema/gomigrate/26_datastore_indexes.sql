CREATE INDEX IF NOT EXISTS idx_datastore_id_media ON media (datastore_id);
CREATE INDEX IF NOT EXISTS idx_datastore_id_thumbnails ON thumbnails (datastore_id);
