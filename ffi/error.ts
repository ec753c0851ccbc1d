/** A native call that failed: which library and function, the status by number and by name, and its text. */
export class NativeError extends Error {
  override readonly name = 'NativeError'
  constructor(
    readonly library: string,
    readonly call: string,
    readonly status: number,
    readonly statusName: string,
    text = '',
  ) {
    super(`${library}: ${call} returned ${statusName} (${status})${text ? `: ${text}` : ''}`)
  }
}

/** A shared library that is nowhere to be found, or lacks what rnb calls. */
export class LibraryError extends Error {
  override readonly name = 'LibraryError'
  constructor(
    readonly library: string,
    readonly tried: readonly string[],
    readonly hint: string,
    reason = 'not found',
  ) {
    super(`${library}: ${reason} (looked for ${tried.join(', ')}). ${hint}`)
  }
}
