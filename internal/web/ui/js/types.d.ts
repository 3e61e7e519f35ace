// The wire types of the API, as far as the page reads them.

export interface ListPage<T> {
  object: "list";
  data: T[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}

export interface Conversation {
  id: string;
  object: "conversation";
  created_at: number;
  updated_at: number;
  title: string | null;
  model: string | null;
  message_count: number;
  pinned: boolean;
  archived: boolean;
  /** Changes with every message. */
  head: number | string | null;
  metadata: Record<string, string> | null;
  /** The reply being written; a list does not tell. */
  running_response_id: string | null;
}

export interface ContentPart {
  type: string;
  text?: string;
  refusal?: string;
  image_url?: string;
  filename?: string;
  file_data?: string;
}

export interface Item {
  id: string;
  type: string;
  role: "user" | "assistant" | "system" | "developer";
  status: "completed" | "incomplete" | "in_progress";
  content: ContentPart[];
  created_at: number;
  response_id: string | null;
  /** The reply that it asked for, where that ended without a word. */
  silent_response_id?: string;
  model?: string;
  summary?: ContentPart[];
  /** Of a call: which tool, and what it is told. */
  name?: string;
  arguments?: string;
  /** Of the result of a call. */
  output?: string;
  branch?: Branch;
}

/** Which of the items that continue the same one an item is. */
export interface Branch {
  index: number;
  count: number;
  ids: string[];
}

export interface Response {
  id: string;
  status: "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";
  error: { code?: string; message?: string } | null;
  incomplete_details: { reason?: string } | null;
  model?: string;
  created_at?: number;
  completed_at?: number | null;
  usage?: { input_tokens: number; output_tokens: number } | null;
  conversation?: { id: string } | null;
}

export interface StreamEvent {
  type: string;
  sequence_number?: number;
  response?: Response;
  item?: Item;
  item_id?: string;
  part?: ContentPart;
  output_index?: number;
  content_index?: number;
  delta?: string;
  text?: string;
  refusal?: string;
  code?: string | null;
  message?: string;
  error?: { code?: string; message?: string };
  /** Of hwlab.wait: what for, since when, how far. */
  phase?: "loading" | "reading" | "waiting";
  seconds?: number;
  percent?: number;
}

export interface Model {
  id: string;
  owned_by?: string;
  default?: boolean;
  /** Whether it takes images; absent where its server does not say. */
  vision?: boolean;
  /** The tokens it takes; absent where its server does not say. */
  context_length?: number;
  /** It goes on with a reply that was interrupted. */
  continues?: boolean;
}

/** A message that was found, or without item_id a conversation, by its title. */
export interface Hit {
  conversation_id: string;
  title: string;
  item_id: string | null;
  role: string | null;
  model: string | null;
  created_at: number;
  snippet: string;
  /** In characters of the snippet, not in UTF-16 units. */
  marks: { start_index: number; end_index: number }[];
}

export interface SearchResult {
  data: Hit[];
  has_more: boolean;
  next_cursor: string | null;
  /** Nothing older than this was looked at; null: all was. */
  searched_since: number | null;
}

export interface Lab {
  configured: boolean;
  budget: number;
  /** Why the notes could not be read. */
  problem?: string;
  notes: { name: string; bytes: number; included: boolean; reason?: string }[];
  sources: { name: string; url: string; models: number; error?: string }[];
}
