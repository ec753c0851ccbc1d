/** Keeps how to free what was made, and frees it in the reverse order: what was made of something goes before it. */
export class Owner {
  readonly #frees: (() => void)[] = []

  /** Takes over something that was just made. */
  own<T>(made: T, free: (made: T) => void): T {
    this.#frees.push(() => free(made))
    return made
  }

  /** Frees everything, once; a failure does not keep the rest. @throws the first failure */
  close(): void {
    const failures: unknown[] = []
    for (const free of this.#frees.splice(0).reverse()) {
      try {
        free()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
