-- Usage is summed up from an index without times: half as much to read. The one of
-- step 7 had taken the place of the lists' index, which comes back.
-- Databases made between two releases may have it so already.
DROP INDEX IF EXISTS mmr_media_usage;
CREATE INDEX mmr_media_usage ON media (origin, user_id, size_bytes);
CREATE INDEX IF NOT EXISTS mmr_media_origin_created
    ON media (origin, creation_ts, media_id);
