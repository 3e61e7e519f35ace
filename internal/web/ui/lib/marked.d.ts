// The part of marked that the page uses.
export interface Token {
  type: string;
  raw: string;
  text?: string;
  href?: string;
  title?: string | null;
  depth?: number;
  lang?: string;
  codeBlockStyle?: string;
  ordered?: boolean;
  start?: number | "";
  loose?: boolean;
  checked?: boolean;
  tokens?: Token[];
  items?: Token[];
  header?: Cell[];
  align?: (string | null)[];
  rows?: Cell[][];
}
export interface Cell {
  text: string;
  tokens: Token[];
  align: string | null;
}
export class Marked {
  constructor(options: {
    gfm?: boolean;
    tokenizer?: Record<string, (src: string) => Token | false | undefined>;
  });
  defaults: object;
  use(options: {
    extensions: {
      name: string;
      level: string;
      start: (src: string) => number | undefined;
      tokenizer: (src: string) => Token | undefined;
    }[];
  }): void;
}
export class Lexer {
  constructor(options: object);
  tokens: { links: Record<string, unknown> };
  lex(src: string): Token[];
  inlineTokens(src: string): Token[];
}
