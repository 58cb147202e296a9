-- Exports beyond what MMR's tables have room for. `task_id` is 0 for exports of MMR's,
-- of whose parts nobody knows what is in them.
CREATE TABLE mmr_exports (
    export_id TEXT PRIMARY KEY NOT NULL,
    task_id BIGINT NOT NULL,
    created_ts BIGINT NOT NULL,
    checkpoint TEXT NOT NULL DEFAULT ''
);
CREATE INDEX mmr_exports_created ON mmr_exports (created_ts);
CREATE INDEX mmr_exports_entity ON exports (entity);

-- Which media is in which part: for the manifest, and so that a part isn't given out
-- any more when one of them is quarantined.
CREATE TABLE mmr_export_entries (
    export_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    number BIGINT NOT NULL,
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    sha256_hash TEXT NOT NULL,
    file_name TEXT NOT NULL,
    PRIMARY KEY (export_id, part, number)
);
