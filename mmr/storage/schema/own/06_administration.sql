-- What admins did: one row an action, never deleted. `finished_ts` is 0 while it runs,
-- and stays so after a crash.
CREATE TABLE mmr_admin_audit (
    id BIGINT PRIMARY KEY NOT NULL,
    started_ts BIGINT NOT NULL,
    finished_ts BIGINT NOT NULL DEFAULT 0,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    affected BIGINT NOT NULL DEFAULT 0,
    bytes BIGINT NOT NULL DEFAULT 0,
    skipped BIGINT NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX mmr_admin_audit_actor ON mmr_admin_audit (actor, id);
CREATE INDEX mmr_admin_audit_action ON mmr_admin_audit (action, id);
CREATE INDEX mmr_admin_audit_target ON mmr_admin_audit (target, id);

-- The orders in which admin actions walk through media, and quarantined media, of
-- which there are few.
CREATE INDEX mmr_media_created ON media (creation_ts, media_id, origin);
CREATE INDEX mmr_media_origin_created ON media (origin, creation_ts, media_id);
CREATE INDEX mmr_media_user_created ON media (user_id, creation_ts, media_id, origin);
CREATE INDEX mmr_media_quarantined ON media (creation_ts, media_id, origin)
    WHERE quarantined;
