-- SQLite. MMR's tables as they are in PostgreSQL after its migration 29: the same
-- names, columns in the same order, indexes and effects of triggers.

CREATE TABLE gomigrate (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    migration_id BIGINT UNIQUE NOT NULL
);

CREATE TABLE media (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    upload_name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    user_id TEXT NOT NULL,
    sha256_hash TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    location TEXT NOT NULL,
    creation_ts BIGINT NOT NULL,
    quarantined BOOLEAN NOT NULL DEFAULT FALSE,
    datastore_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX media_index ON media (media_id, origin);
CREATE INDEX idx_sha256_hash_media ON media (sha256_hash);
CREATE INDEX idx_origin_media ON media (origin);
CREATE INDEX idx_origin_user_id_media ON media (origin, user_id);
CREATE INDEX idx_user_id_media ON media (user_id);
CREATE INDEX idx_datastore_id_location_media ON media (datastore_id, location);
CREATE INDEX idx_datastore_id_media ON media (datastore_id);

CREATE TABLE thumbnails (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    width INT NOT NULL,
    height INT NOT NULL,
    method TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    location TEXT NOT NULL,
    creation_ts BIGINT NOT NULL,
    animated BOOLEAN NOT NULL DEFAULT FALSE,
    sha256_hash TEXT NOT NULL,
    datastore_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX thumbnails_index
    ON thumbnails (media_id, origin, width, height, method, animated);
CREATE INDEX idx_sha256_hash_thumbnails ON thumbnails (sha256_hash);
CREATE INDEX idx_origin_thumbnails ON thumbnails (origin);
CREATE INDEX idx_creation_ts_thumbnails ON thumbnails (creation_ts);
CREATE INDEX idx_datastore_id_location_thumbnails
    ON thumbnails (datastore_id, location);
CREATE INDEX idx_datastore_id_thumbnails ON thumbnails (datastore_id);

CREATE TABLE url_previews (
    url TEXT NOT NULL,
    error_code TEXT NOT NULL,
    bucket_ts BIGINT NOT NULL,
    site_url TEXT NOT NULL,
    site_name TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    description TEXT NOT NULL,
    title TEXT NOT NULL,
    image_mxc TEXT NOT NULL,
    image_type TEXT NOT NULL,
    image_size BIGINT NOT NULL,
    image_width INT NOT NULL,
    image_height INT NOT NULL,
    language_header TEXT DEFAULT NULL
);
CREATE UNIQUE INDEX url_previews_index ON url_previews (url, error_code, bucket_ts);

CREATE TABLE last_access (
    sha256_hash TEXT NOT NULL,
    last_access_ts BIGINT NOT NULL
);
CREATE UNIQUE INDEX last_access_index ON last_access (sha256_hash);

CREATE TABLE datastores (
    datastore_id TEXT NOT NULL,
    ds_type TEXT NOT NULL,
    uri TEXT NOT NULL
);
CREATE UNIQUE INDEX datastores_index ON datastores (datastore_id);

CREATE TABLE background_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    params JSON NOT NULL,
    start_ts BIGINT NOT NULL,
    end_ts BIGINT NOT NULL,
    error TEXT NOT NULL DEFAULT ''
);

CREATE TABLE reserved_media (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE UNIQUE INDEX reserved_media_index ON reserved_media (media_id, origin);

CREATE TABLE exports (
    export_id TEXT PRIMARY KEY NOT NULL,
    entity TEXT NOT NULL
);

CREATE TABLE export_parts (
    export_id TEXT NOT NULL,
    "index" INT NOT NULL,
    size_bytes BIGINT NOT NULL,
    file_name TEXT NOT NULL,
    datastore_id TEXT NOT NULL,
    location TEXT NOT NULL
);
CREATE UNIQUE INDEX export_parts_index ON export_parts (export_id, "index");

CREATE TABLE media_attributes (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    purpose TEXT NOT NULL
);
CREATE UNIQUE INDEX idx_media_attributes ON media_attributes (media_id, origin);
CREATE INDEX idx_media_attributes_purpose ON media_attributes (purpose);

CREATE TABLE user_stats (
    user_id TEXT PRIMARY KEY NOT NULL,
    uploaded_bytes BIGINT NOT NULL
);

CREATE TABLE expiring_media (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
CREATE UNIQUE INDEX idx_expiring_media ON expiring_media (media_id, origin);
CREATE INDEX idx_expiring_media_user_id ON expiring_media (user_id);
CREATE INDEX idx_expiring_media_expires_ts ON expiring_media (expires_ts);

CREATE TABLE media_id_hold (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    held_ts BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX idx_media_id_hold ON media_id_hold (media_id, origin);

CREATE TABLE restricted_media (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    condition_type TEXT NOT NULL,
    condition_value TEXT NOT NULL
);
CREATE UNIQUE INDEX idx_restricted_media ON restricted_media (origin, media_id);

CREATE TRIGGER media_change_for_user_insert AFTER INSERT ON media
BEGIN
    INSERT INTO user_stats (user_id, uploaded_bytes)
        VALUES (NEW.user_id, NEW.size_bytes)
        ON CONFLICT (user_id) DO UPDATE
        SET uploaded_bytes = uploaded_bytes + excluded.uploaded_bytes;
END;

CREATE TRIGGER media_change_for_user_delete AFTER DELETE ON media
BEGIN
    INSERT INTO user_stats (user_id, uploaded_bytes)
        VALUES (OLD.user_id, -OLD.size_bytes)
        ON CONFLICT (user_id) DO UPDATE
        SET uploaded_bytes = uploaded_bytes + excluded.uploaded_bytes;
END;

CREATE TRIGGER media_change_for_user_update AFTER UPDATE OF user_id, size_bytes ON media
BEGIN
    INSERT INTO user_stats (user_id, uploaded_bytes)
        VALUES (OLD.user_id, -OLD.size_bytes)
        ON CONFLICT (user_id) DO UPDATE
        SET uploaded_bytes = uploaded_bytes + excluded.uploaded_bytes;
    INSERT INTO user_stats (user_id, uploaded_bytes)
        VALUES (NEW.user_id, NEW.size_bytes)
        ON CONFLICT (user_id) DO UPDATE
        SET uploaded_bytes = uploaded_bytes + excluded.uploaded_bytes;
END;

INSERT INTO gomigrate (migration_id) VALUES
    (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15),
    (16), (17), (18), (19), (20), (21), (22), (23), (24), (25), (26), (27), (28), (29);
