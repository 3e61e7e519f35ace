-- The epoch becomes part of a key, as which PostgreSQL locks a row: who holds the key of a server's row (FOR KEY SHARE) keeps it from
-- being taken over, and lets its owner raise the counter. A busy server was else mistaken for a dead one: of those who hold a row
-- the next may come before the last has gone, and a change of the row waits for all of them.
CREATE UNIQUE INDEX servers_fence ON servers (id, epoch);
