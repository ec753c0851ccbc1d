import * as api from '../steps/user/api.ts' with { type: 'text' }

// As text, the page of types is its own default export.
const { default: page } = api as unknown as { default: string }

/** `import ptx from './kernel.ptx' with { type: 'text' }` */
const PTX = ["declare module '*.ptx' {", '  const text: string', '  export default text', '}', '']

/** Declarations of the module 'rnb', which steps, selectors and iterators of the user's import types from. */
export function declarations(): string {
  const lines = page.trimEnd().split('\n')
  const body = lines.map(line => (line === '' ? '' : `  ${line}`))
  return [...PTX, "declare module 'rnb' {", ...body, '}', ''].join('\n')
}
