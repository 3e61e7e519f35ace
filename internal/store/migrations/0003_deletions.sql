-- A conversation that was deleted and can still be brought back. Its rows lie where only an undo looks for them, so it is
-- not there for anybody; with the row of deletions they are gone. A column that is added to one of the three tables is
-- added to its twin as well.
CREATE TABLE deletions (
    conversation_id UUID        PRIMARY KEY,
    erase_at        TIMESTAMPTZ NOT NULL                         -- from then on nothing brings it back
);
CREATE INDEX deletions_by_time ON deletions (erase_at);
CREATE TABLE deleted_conversations (LIKE conversations,
    PRIMARY KEY (id), FOREIGN KEY (id) REFERENCES deletions(conversation_id) ON DELETE CASCADE);
CREATE TABLE deleted_messages (LIKE messages,
    PRIMARY KEY (id), FOREIGN KEY (conversation_id) REFERENCES deletions(conversation_id) ON DELETE CASCADE);
CREATE INDEX deleted_messages_of ON deleted_messages (conversation_id);
CREATE TABLE deleted_responses (LIKE responses,
    PRIMARY KEY (id), FOREIGN KEY (conversation_id) REFERENCES deletions(conversation_id) ON DELETE CASCADE);
CREATE INDEX deleted_responses_of ON deleted_responses (conversation_id);

-- From here on every number of a conversation's order has a message or a reply, so that a gap is a loss. A reply that said
-- nothing and was deleted left one until now: its place is marked as that of a deleted message.
WITH taken AS (
    SELECT conversation_id, count(*) AS n
      FROM (SELECT conversation_id, seq FROM messages UNION SELECT conversation_id, seq FROM responses) t
     GROUP BY conversation_id
)
INSERT INTO messages (conversation_id, seq, role, content, status, created_at)
SELECT c.id, g.seq, 'assistant', '', 'deleted', c.updated_at
  FROM conversations c LEFT JOIN taken t ON t.conversation_id = c.id, generate_series(1, c.head) g(seq)
 WHERE c.head > coalesce(t.n, 0)
   AND NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id AND m.seq = g.seq)
   AND NOT EXISTS (SELECT FROM responses r WHERE r.conversation_id = c.id AND r.seq = g.seq);
