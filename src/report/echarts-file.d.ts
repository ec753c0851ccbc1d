/** `import path from '...' with { type: 'file' }`: where the file is, inside the executable or beside the source. */
declare module '*/echarts.esm.min.js' {
  const path: string
  export default path
}
declare module '*.wasm' {
  const path: string
  export default path
}
declare module '*.ttf' {
  const path: string
  export default path
}
