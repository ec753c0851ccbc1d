/** What JSON could not hold in a value, and where: `values[0].energy is a Float32Array`; undefined if it can hold all. */
export function jsonFault(value: unknown, at: string): string | undefined {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return undefined
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `${at} is ${value}`
  if (Array.isArray(value)) {
    for (const [i, entry] of value.entries()) {
      const fault = jsonFault(entry, `${at}[${i}]`)
      if (fault) return fault
    }
    return undefined
  }
  if (typeof value !== 'object') return `${at} is ${value === undefined ? 'undefined' : `a ${typeof value}`}`
  const kind = Object.getPrototypeOf(value)?.constructor?.name ?? 'Object'
  if (kind !== 'Object') return `${at} is a ${kind}${ArrayBuffer.isView(value) ? '; use Array.from' : ''}`
  for (const [key, entry] of Object.entries(value)) {
    const fault = jsonFault(entry, `${at}.${key}`)
    if (fault) return fault
  }
  return undefined
}
