-- Two servers that indexed the same title at once took it out of the index. Those that are in neither are queued again.
INSERT INTO search_titles (conversation_id)
    SELECT id FROM conversations c WHERE listed AND title <> ''
       AND NOT EXISTS (SELECT FROM search_index i WHERE i.conversation_id = c.id AND i.message_id = c.id)
    ON CONFLICT DO NOTHING;
