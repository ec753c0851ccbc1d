/** Instructions without indentation and semicolons, labels, comments, and blank lines. */
export type Lines = readonly (string | Lines)[]

/** 0 to n - 1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** Instructions, indented, with operands in a column; comments and labels as they are. */
export function write(lines: Lines): string {
  const flat = (lines as unknown[]).flat(Number.POSITIVE_INFINITY) as string[]
  return flat
    .map(line => {
      if (line === '' || /^[A-Z]/.test(line)) return line
      if (line.startsWith('//')) return `    ${line}`
      if (line.startsWith('.')) return `    ${line};`
      const found = /^(@\S+ )?(\S+)(?: (.*))?$/.exec(line)!
      const head = `${found[1] ?? ''}${found[2]}`
      return found[3] === undefined ? `    ${head};` : `    ${head.padEnd(11)} ${found[3]};`
    })
    .join('\n')
}

/** What a file begins with. */
export const header = (comment: string): string => `${comment}
.version 7.0
.target sm_80
.address_size 64
`

/** The declaration of a kernel. */
export function entry(name: string, parameters: Readonly<Record<string, string>>, threads: number): string {
  const declared = Object.entries(parameters).map(
    ([parameter, type]) => `    .param .${type === 'pointer' ? 'u64' : type} p_${parameter}`,
  )
  return `.visible .entry ${name}(\n${declared.join(',\n')})\n.maxntid ${threads}, 1, 1`
}

/** Loads a parameter. */
export const parameter = (name: string, register = `%${name}`): string =>
  `ld.param.u32 ${register}, [p_${name}]`
/** Loads a pointer to global memory. */
export const pointer = (name: string): string[] => [
  `ld.param.u64 %${name}, [p_${name}]`,
  `cvta.to.global.u64 %${name}, %${name}`,
]

/** Registers `%of[from]` to `%of[from + 3]` as a vector. */
export const four = (of: string, from: number): string =>
  `{${range(4)
    .map(i => `%${of}${from + i}`)
    .join(', ')}}`
