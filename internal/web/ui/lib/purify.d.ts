// The part of DOMPurify that the page uses.
declare const DOMPurify: {
  sanitize(
    html: string,
    options: { ALLOWED_TAGS: string[]; ALLOWED_ATTR: string[]; RETURN_DOM_FRAGMENT: true },
  ): DocumentFragment;
};
export default DOMPurify;
