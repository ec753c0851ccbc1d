/** What is wrong with a JSON text, and where (both from 1). */
export interface JsonFault {
  line: number
  column: number
  message: string
}

const SPACE = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const WORD = /true|false|null/y
const STRING = /"(?:[ !#-[\]-\u{10ffff}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy

/** No pipeline file comes near it; the scanner recurses. */
const DEEPEST = 100

class Fault extends Error {
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message)
  }
}

/** Reads JSON (RFC 8259) for its faults only; a key that an object holds twice counts as one. */
class Scanner {
  #at = 0
  #depth = 0

  constructor(readonly text: string) {}

  document(): void {
    this.#value('a value')
    if (this.#at < this.text.length) throw this.#unexpected('the end of the file')
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #take(mark: string): boolean {
    this.#match(SPACE)
    if (this.text[this.#at] !== mark) return false
    this.#at++
    return true
  }

  #unexpected(wanted: string): Fault {
    this.#match(SPACE)
    const found = this.#at < this.text.length ? JSON.stringify(this.text[this.#at]) : 'the end of the file'
    return new Fault(this.#at, `${wanted} is expected, not ${found}`)
  }

  #value(wanted: string): void {
    this.#match(SPACE)
    if (++this.#depth > DEEPEST) throw new Fault(this.#at, `more than ${DEEPEST} levels deep`)
    if (this.#take('{')) this.#members()
    else if (this.#take('[')) this.#elements()
    else if (this.text[this.#at] === '"') this.#string(wanted)
    else if (this.#match(NUMBER) === undefined && this.#match(WORD) === undefined)
      throw this.#unexpected(wanted)
    this.#match(SPACE)
    this.#depth--
  }

  #string(wanted: string): string {
    this.#match(SPACE)
    if (this.text[this.#at] !== '"') throw this.#unexpected(wanted)
    const found = this.#match(STRING)
    if (found === undefined)
      throw new Fault(this.#at, 'a string without end, or with a character that JSON escapes')
    return JSON.parse(found) as string
  }

  #members(): void {
    if (this.#take('}')) return
    const seen = new Set<string>()
    do {
      this.#match(SPACE)
      const start = this.#at
      const key = this.#string('a key in double quotes')
      if (seen.has(key)) throw new Fault(start, `key ${JSON.stringify(key)} stands here twice`)
      seen.add(key)
      if (!this.#take(':')) throw this.#unexpected('":"')
      this.#value('a value')
    } while (this.#take(','))
    if (!this.#take('}')) throw this.#unexpected('"," or "}"')
  }

  #elements(): void {
    if (this.#take(']')) return
    do this.#value('a value')
    while (this.#take(','))
    if (!this.#take(']')) throw this.#unexpected('"," or "]"')
  }
}

/** The first fault of a JSON text, or undefined if it has none. JSON.parse itself names no place. */
export function jsonFault(text: string): JsonFault | undefined {
  try {
    new Scanner(text).document()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const before = text.slice(0, error.offset).split('\n')
    return { line: before.length, column: before.at(-1)!.length + 1, message: error.message }
  }
}
