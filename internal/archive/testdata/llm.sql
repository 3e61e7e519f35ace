CREATE TABLE [conversations] ([id] TEXT PRIMARY KEY, [name] TEXT, [model] TEXT);
CREATE TABLE [responses] ([id] TEXT PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT, [options_json] TEXT, [response] TEXT,
  [response_json] TEXT, [conversation_id] TEXT REFERENCES [conversations]([id]), [duration_ms] INTEGER, [datetime_utc] TEXT,
  [input_tokens] INTEGER, [output_tokens] INTEGER, [token_details] TEXT);
INSERT INTO conversations VALUES ('01h0', 'names for a server', 'gpt-4o-mini');
INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc, input_tokens, output_tokens) VALUES
  ('01h1', 'gpt-4o-mini', 'a name?', 'be short', 'otter', '01h0', '2025-05-14T16:25:01.123456+00:00', 9, 2),
  ('01h2', 'gpt-4o', 'another?', 'be short', 'heron', '01h0', '2025-05-14T16:26:01.000000', NULL, NULL),
  ('01h3', 'gpt-4o', 'alone', NULL, 'yes', NULL, '2025-05-15T00:00:00.000000', NULL, NULL);
