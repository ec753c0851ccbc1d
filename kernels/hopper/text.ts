/** Types of registers. */
type RegisterType = 'pred' | 'b16' | 'b32' | 'b64' | 'f32'

/**
 * Writes one kernel's PTX line by line. Registers are declared by being asked for: each name is one register of the
 * kernel, so that a reader meets the same name for the same thing throughout.
 */
export class Text {
  readonly #lines: string[] = []
  readonly #registers = new Map<RegisterType, Set<string>>()
  #labels = 0

  #register(type: RegisterType, name: string): string {
    const names = this.#registers.get(type) ?? new Set()
    this.#registers.set(type, names.add(name))
    return `%${name}`
  }

  p = (name: string): string => this.#register('pred', name)
  r = (name: string): string => this.#register('b32', name)
  d = (name: string): string => this.#register('b64', name)
  f = (name: string): string => this.#register('f32', name)

  /** Instructions, one a line; without its semicolon. */
  do(...instructions: string[]): void {
    for (const instruction of instructions) this.#lines.push(`    ${instruction};`)
  }

  comment(text: string): void {
    this.#lines.push(`    // ${text}`)
  }

  /** A label that no other has. */
  label(stem: string): string {
    return `${stem}_${this.#labels++}`
  }

  place(label: string): void {
    this.#lines.push(`${label}:`)
  }

  /** `body` while the predicate that `test` leaves holds; it is tested before each turn. */
  while(stem: string, test: () => string, body: () => void): void {
    const [again, end] = [this.label(stem), this.label(`${stem}_end`)]
    this.place(again)
    const holds = test()
    this.do(`@!${holds} bra ${end}`)
    body()
    this.do(`bra ${again}`)
    this.place(end)
  }

  /** Skips `body` where the predicate does not hold. */
  when(holds: string, stem: string, body: () => void): void {
    const end = this.label(stem)
    this.do(`@!${holds} bra ${end}`)
    body()
    this.place(end)
  }

  /** The kernel's body: declarations, then what was written. */
  body(): string {
    const declarations = [...this.#registers].flatMap(([type, names]) => {
      const all = [...names].map(name => `%${name}`)
      const rows = Array.from({ length: Math.ceil(all.length / 12) }, (_, i) =>
        all.slice(12 * i, 12 * i + 12),
      )
      return rows.map(row => `    .reg .${type} ${row.join(', ')};`)
    })
    return [...declarations, '', ...this.#lines].join('\n')
  }
}
