-- The list leaves archived conversations out, or has nothing else, and costs the same however many there are of the other;
-- so does that of the pinned ones.
DROP INDEX conversations_by_update;
CREATE INDEX conversations_by_update ON conversations (listed, archived, updated_at, id);
CREATE INDEX conversations_pinned ON conversations (listed, archived, updated_at, id) WHERE pinned;

-- How many messages right before its seq were its input.
ALTER TABLE responses ADD COLUMN inputs INTEGER NOT NULL DEFAULT 0;
