CREATE INDEX IF NOT EXISTS idx_user_id_media ON media (user_id);
