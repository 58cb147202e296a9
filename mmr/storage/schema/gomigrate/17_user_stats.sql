CREATE TABLE IF NOT EXISTS user_stats (
    user_id TEXT PRIMARY KEY NOT NULL,
    uploaded_bytes BIGINT NOT NULL
);
CREATE OR REPLACE FUNCTION track_update_user_media() RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND NEW.user_id = OLD.user_id AND NEW.size_bytes = OLD.size_bytes THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO user_stats (user_id, uploaded_bytes)
            VALUES (OLD.user_id, -OLD.size_bytes)
            ON CONFLICT (user_id) DO UPDATE
            SET uploaded_bytes = user_stats.uploaded_bytes + EXCLUDED.uploaded_bytes;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO user_stats (user_id, uploaded_bytes)
            VALUES (NEW.user_id, NEW.size_bytes)
            ON CONFLICT (user_id) DO UPDATE
            SET uploaded_bytes = user_stats.uploaded_bytes + EXCLUDED.uploaded_bytes;
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
DROP TRIGGER IF EXISTS media_change_for_user ON media;
CREATE TRIGGER media_change_for_user
    AFTER INSERT OR UPDATE OR DELETE ON media
    FOR EACH ROW EXECUTE PROCEDURE track_update_user_media();
