/** `import text from './x.ptx' with { type: 'text' }` */
declare module '*.ptx' {
  const text: string
  export default text
}
