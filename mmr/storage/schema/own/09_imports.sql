-- Archives that are being imported. The import id is a secret.
CREATE TABLE mmr_imports (
    import_id TEXT PRIMARY KEY NOT NULL,
    task_id BIGINT NOT NULL,
    touched_ts BIGINT NOT NULL,
    is_closed BOOLEAN NOT NULL DEFAULT FALSE
);

-- Their parts, while they wait and as long as they are needed: each is an object that
-- nothing else names.
CREATE TABLE mmr_import_parts (
    import_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    datastore_id TEXT NOT NULL,
    location TEXT NOT NULL,
    is_read BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (import_id, number)
);
CREATE INDEX mmr_import_parts_location ON mmr_import_parts (datastore_id, location);
