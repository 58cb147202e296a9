-- What a task needs to go on that is too long for `params`, and until when (ms) the
-- process that makes it keeps it for itself.
ALTER TABLE mmr_task_progress ADD COLUMN memo TEXT NOT NULL DEFAULT '';
ALTER TABLE mmr_task_progress ADD COLUMN held_until_ts BIGINT NOT NULL DEFAULT 0;

-- Each media that was quarantined or released, in the order of the commits; never
-- deleted. `audit_id` is the action in `mmr_admin_audit`.
CREATE TABLE mmr_quarantine_changes (
    id BIGINT PRIMARY KEY NOT NULL,
    audit_id BIGINT NOT NULL,
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    quarantined BOOLEAN NOT NULL
);
CREATE INDEX mmr_quarantine_changes_origin ON mmr_quarantine_changes (origin, id);

-- Usage is summed up from these alone, without the tables. The first one replaces an
-- index with fewer columns.
CREATE INDEX mmr_media_usage
    ON media (origin, creation_ts, media_id, user_id, size_bytes);
DROP INDEX mmr_media_origin_created;
CREATE INDEX mmr_thumbnails_usage ON thumbnails (origin, size_bytes);
