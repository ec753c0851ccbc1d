const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** Text as it stands in HTML and SVG, in attributes too. */
export const escaped = (text: string): string => text.replace(/[&<>"]/g, character => ENTITIES[character]!)
