-- A conversation that was deleted and can still be brought back. Its rows lie where only an undo looks for them, so it is
-- not there for anybody; with the row of deletions they are gone. A column that is added to one of the three tables is
-- added to its twin as well, in the same place.
CREATE TABLE deletions (
    conversation_id TEXT    NOT NULL PRIMARY KEY,
    erase_at        INTEGER NOT NULL                             -- from then on nothing brings it back
) STRICT;
CREATE INDEX deletions_by_time ON deletions (erase_at);
CREATE TABLE deleted_conversations (
    id            TEXT    NOT NULL PRIMARY KEY REFERENCES deletions(conversation_id) ON DELETE CASCADE,
    started_at    INTEGER NOT NULL,
    model         TEXT    NOT NULL,
    head          INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    title         TEXT    NOT NULL,
    metadata      TEXT    NOT NULL,
    pinned        INTEGER NOT NULL,
    archived      INTEGER NOT NULL,
    listed        INTEGER NOT NULL
) STRICT;
CREATE TABLE deleted_messages (
    n               INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL REFERENCES deletions(conversation_id) ON DELETE CASCADE,
    seq             INTEGER,
    idx             INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    role            TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    parent_id       TEXT,
    response_id     TEXT,
    content         TEXT    NOT NULL,
    item            TEXT
) STRICT;
CREATE INDEX deleted_messages_of ON deleted_messages (conversation_id);
CREATE TABLE deleted_responses (
    id                   TEXT    NOT NULL PRIMARY KEY,
    conversation_id      TEXT    NOT NULL REFERENCES deletions(conversation_id) ON DELETE CASCADE,
    previous_response_id TEXT,
    seq                  INTEGER NOT NULL,
    parent_id            TEXT,
    status               TEXT    NOT NULL,
    model                TEXT    NOT NULL,
    server_id            TEXT    NOT NULL,
    cancel_requested     INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    ended_at             INTEGER,
    incomplete_reason    TEXT    NOT NULL,
    usage                TEXT,
    error                TEXT,
    request              TEXT    NOT NULL,
    log                  TEXT    NOT NULL,
    inputs               INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_responses_of ON deleted_responses (conversation_id);

-- From here on every number of a conversation's order has a message or a reply, so that a gap is a loss. A reply that said
-- nothing and was deleted left one until now: its place is marked as that of a deleted message.
WITH RECURSIVE short (id, head, at) AS (
    SELECT c.id, c.head, c.updated_at FROM conversations c
     WHERE c.head > (SELECT count(*) FROM (SELECT seq FROM messages WHERE conversation_id = c.id
                                           UNION SELECT seq FROM responses WHERE conversation_id = c.id))
), places (id, head, at, seq) AS (
    SELECT id, head, at, 1 FROM short
    UNION ALL
    SELECT id, head, at, seq + 1 FROM places WHERE seq < head
)
INSERT INTO messages (conversation_id, seq, role, content, status, created_at)
SELECT id, seq, 'assistant', '', 'deleted', at FROM places
 WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = places.id AND m.seq = places.seq)
   AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.conversation_id = places.id AND r.seq = places.seq);
