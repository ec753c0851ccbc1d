/** `import source from './x.c' with { type: 'text' }` */
declare module '*.c' {
  const source: string
  export default source
}
