/** Edits (insert, delete, replace, swap neighbours) that turn one word into the other. */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let best = Math.min(replaced, last[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, before[j - 2]! + 1)
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length]!
}

const plain = (word: string): string => word.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/** The known word that was probably meant: a few typing errors away, or containing what was written. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const written = plain(word)
  let best: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const other = plain(candidate)
    const distance = editDistance(written, other)
    const close = distance <= Math.min(3, Math.max(1, Math.floor(Math.max(written.length, other.length) / 3)))
    const part = written.length >= 3 && other.includes(written)
    if ((close || part) && distance < least) {
      best = candidate
      least = distance
    }
  }
  return best
}

/** `did you mean "x"?`, or what is known where nothing is near: `listed`, without other names for the same. */
export function didYouMean(word: string, known: readonly string[], listed = known): string {
  const near = nearest(word, known)
  return near === undefined ? `known: ${listed.join(', ')}` : `did you mean "${near}"?`
}
