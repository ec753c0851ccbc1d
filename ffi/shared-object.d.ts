/** `import path from './x.so.1' with { type: 'file' }`: where the file is, inside the executable or beside the source. */
declare module '*.so.1' {
  const path: string
  export default path
}
