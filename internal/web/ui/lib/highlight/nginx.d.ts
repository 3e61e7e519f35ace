import type { Grammar } from "./highlight";
declare const grammar: Grammar;
export default grammar;
