-- matrix-media-repo 1.3: migrations 1 to 29.
CREATE TABLE gomigrate (id SERIAL PRIMARY KEY, migration_id BIGINT UNIQUE NOT NULL);
INSERT INTO gomigrate (migration_id) SELECT generate_series(1, 29);

CREATE TABLE media (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, upload_name TEXT NOT NULL,
    content_type TEXT NOT NULL, user_id TEXT NOT NULL, sha256_hash TEXT NOT NULL,
    size_bytes BIGINT NOT NULL, location TEXT NOT NULL, creation_ts BIGINT NOT NULL,
    quarantined BOOLEAN NOT NULL DEFAULT FALSE, datastore_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX media_index ON media (media_id, origin);
CREATE INDEX idx_sha256_hash_media ON media (sha256_hash);
CREATE INDEX idx_origin_media ON media (origin);
CREATE INDEX idx_origin_user_id_media ON media (origin, user_id);
CREATE INDEX idx_user_id_media ON media (user_id);
CREATE TABLE thumbnails (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, width INT NOT NULL,
    height INT NOT NULL, method TEXT NOT NULL, content_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL, location TEXT NOT NULL, creation_ts BIGINT NOT NULL,
    animated BOOLEAN NOT NULL DEFAULT FALSE, sha256_hash TEXT NOT NULL,
    datastore_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX thumbnails_index
    ON thumbnails (media_id, origin, width, height, method, animated);
CREATE INDEX idx_sha256_hash_thumbnails ON thumbnails (sha256_hash);
CREATE INDEX idx_origin_thumbnails ON thumbnails (origin);
CREATE TABLE url_previews (
    url TEXT NOT NULL, error_code TEXT NOT NULL, bucket_ts BIGINT NOT NULL,
    site_url TEXT NOT NULL, site_name TEXT NOT NULL, resource_type TEXT NOT NULL,
    description TEXT NOT NULL, title TEXT NOT NULL, image_mxc TEXT NOT NULL,
    image_type TEXT NOT NULL, image_size BIGINT NOT NULL, image_width INT NOT NULL,
    image_height INT NOT NULL, language_header TEXT DEFAULT NULL
);
CREATE UNIQUE INDEX url_previews_index ON url_previews (url, error_code, bucket_ts);
CREATE TABLE last_access (sha256_hash TEXT NOT NULL, last_access_ts BIGINT NOT NULL);
CREATE UNIQUE INDEX last_access_index ON last_access (sha256_hash);
CREATE TABLE datastores (
    datastore_id TEXT NOT NULL, ds_type TEXT NOT NULL, uri TEXT NOT NULL
);
CREATE UNIQUE INDEX datastores_index ON datastores (datastore_id);
CREATE TABLE background_tasks (
    id SERIAL PRIMARY KEY, task TEXT NOT NULL, params JSON NOT NULL,
    start_ts BIGINT NOT NULL, end_ts BIGINT NOT NULL, error TEXT NOT NULL DEFAULT ''
);
CREATE TABLE reserved_media (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE UNIQUE INDEX reserved_media_index ON reserved_media (media_id, origin);
CREATE TABLE exports (export_id TEXT PRIMARY KEY NOT NULL, entity TEXT NOT NULL);
CREATE TABLE export_parts (
    export_id TEXT NOT NULL, index INT NOT NULL, size_bytes BIGINT NOT NULL,
    file_name TEXT NOT NULL, datastore_id TEXT NOT NULL, location TEXT NOT NULL
);
CREATE UNIQUE INDEX export_parts_index ON export_parts (export_id, index);
CREATE TABLE media_attributes (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, purpose TEXT NOT NULL
);
CREATE UNIQUE INDEX idx_media_attributes ON media_attributes (media_id, origin);
CREATE INDEX idx_media_attributes_purpose ON media_attributes (purpose);
CREATE TABLE user_stats (
    user_id TEXT PRIMARY KEY NOT NULL, uploaded_bytes BIGINT NOT NULL
);
CREATE FUNCTION track_update_user_media() RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO user_stats (user_id, uploaded_bytes) VALUES (NEW.user_id, NEW.size_bytes)
            ON CONFLICT (user_id) DO UPDATE SET uploaded_bytes = user_stats.uploaded_bytes + NEW.size_bytes;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE user_stats SET uploaded_bytes = uploaded_bytes - OLD.size_bytes WHERE user_id = OLD.user_id;
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER media_change_for_user AFTER INSERT OR UPDATE OR DELETE ON media
    FOR EACH ROW EXECUTE PROCEDURE track_update_user_media();

CREATE TABLE expiring_media (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
CREATE UNIQUE INDEX idx_expiring_media ON expiring_media (media_id, origin);
CREATE INDEX idx_expiring_media_user_id ON expiring_media (user_id);
CREATE INDEX idx_expiring_media_expires_ts ON expiring_media (expires_ts);
CREATE TABLE media_id_hold (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, reason TEXT NOT NULL,
    held_ts BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX idx_media_id_hold ON media_id_hold (media_id, origin);
CREATE INDEX idx_creation_ts_thumbnails ON thumbnails (creation_ts);
CREATE INDEX idx_datastore_id_location_media ON media (datastore_id, location);
CREATE INDEX idx_datastore_id_location_thumbnails ON thumbnails (datastore_id, location);
CREATE INDEX idx_datastore_id_media ON media (datastore_id);
CREATE INDEX idx_datastore_id_thumbnails ON thumbnails (datastore_id);
CREATE TABLE restricted_media (
    origin TEXT NOT NULL, media_id TEXT NOT NULL, condition_type TEXT NOT NULL,
    condition_value TEXT NOT NULL
);
CREATE UNIQUE INDEX idx_restricted_media ON restricted_media (origin, media_id);

INSERT INTO media VALUES
    ('example.org', 'one', 'cat.png', 'image/png', '@alice:example.org',
     repeat('a', 64), 1000, 'aa/bb/one', 1600000000000, FALSE, 'store1'),
    ('example.org', 'two', '.', 'image/png; charset=utf-8', '@bob:example.org',
     repeat('a', 64), 1000, 'aa/bb/one', 1600000000001, FALSE, 'store1'),
    ('remote.example', 'three', 'download', 'text/plain', '',
     repeat('b', 64), 50, 'cc/dd/three', 1600000000002, TRUE, 'store2'),
    ('example.org', 'empty', '', 'application/octet-stream', '@alice:example.org',
     repeat('e', 64), 0, 'ee/ff/empty', 1600000000003, FALSE, 'store2');
INSERT INTO thumbnails VALUES
    ('example.org', 'one', 96, 96, 'crop', 'image/png', 300, 'ff/ee/thumb',
     1600000000004, FALSE, repeat('c', 64), 'store1'),
    ('example.org', 'two', 96, 96, 'crop', 'image/png', 300, 'ff/ee/thumb',
     1600000000005, TRUE, repeat('c', 64), 'store1');
INSERT INTO url_previews VALUES
    ('https://example.com/', '', 1600000000000, 'https://example.com/', 'Example',
     'website', 'A page', 'Title', 'mxc://example.org/one', 'image/png', 1000, 10, 10,
     NULL);
INSERT INTO last_access VALUES (repeat('a', 64), 1600000000006);
INSERT INTO datastores VALUES ('store1', 'file', '/var/media'),
    ('store2', 's3', 's3://s3.example.com/bucket');
INSERT INTO reserved_media VALUES ('example.org', 'gone', 'purged / deleted');
INSERT INTO exports VALUES ('export1', '@alice:example.org');
INSERT INTO export_parts VALUES
    ('export1', 1, 500, 'export-part-1.tgz', 'store3', '11/22/part');
INSERT INTO media_attributes VALUES ('example.org', 'two', 'pinned');
INSERT INTO background_tasks (task, params, start_ts, end_ts, error) VALUES
    ('export_data', '{"export_id": "export1"}', 1600000000007, 1600000000008, 'failed');
INSERT INTO expiring_media VALUES
    ('example.org', 'soon', '@alice:example.org', 1900000000000);
INSERT INTO media_id_hold VALUES ('example.org', 'held', 'media_create', 1600000000009);
INSERT INTO restricted_media VALUES
    ('example.org', 'one', 'io.t2bot.requires_authentication', 'true');
