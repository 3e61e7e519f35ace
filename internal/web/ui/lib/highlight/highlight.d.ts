// The part of highlight.js that the page uses.
export type Grammar = (hljs: unknown) => unknown;
declare const hljs: {
  registerLanguage(name: string, grammar: Grammar): void;
  registerAliases(names: string[], options: { languageName: string }): void;
  getLanguage(name: string): object | undefined;
  highlight(code: string, options: { language: string; ignoreIllegals?: boolean }): { value: string };
};
export default hljs;
