INSERT INTO user_stats (user_id, uploaded_bytes)
    SELECT user_id, SUM(size_bytes) FROM media
    WHERE NOT EXISTS (SELECT 1 FROM user_stats)
    GROUP BY user_id;
